//! Requests in both directions on one connection.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    io,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    InboundUpgrade, StreamProtocol,
    core::{UpgradeInfo, upgrade::ReadyUpgrade},
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, Stream, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use tokio::{sync::Semaphore, time::Instant};
use wakumix_role_api::{Services, host::RequestFailure};

use super::{
    bodies::Bodies,
    exchange::{Ask, Remote, serve},
};
use crate::{config::RequestLimits, limits::LastUse, slots::StreamSlots};

/// The protocols that this node answers; the upgrade tells which one was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Served(Vec<StreamProtocol>);

impl Served {
    pub(super) fn new(services: &Services) -> Self {
        Self(services.iter().map(|service| StreamProtocol::new(service.protocol)).collect())
    }
}

impl UpgradeInfo for Served {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Served {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

/// What all connections share for answering. Cheap to clone.
#[derive(Clone)]
pub(super) struct Serving {
    services: Services,
    served: Served,
    pub(super) limits: RequestLimits,
    /// Requests that may be answered at a time.
    pub(super) permits: Arc<Semaphore>,
    /// Their memory, and that of those being read.
    pub(super) bodies: Arc<Bodies>,
}

impl Serving {
    pub(super) fn new(services: Services, limits: RequestLimits) -> Self {
        Self {
            served: Served::new(&services),
            services,
            permits: Arc::new(Semaphore::new(limits.inbound)),
            bodies: Bodies::new(limits.body_bytes),
            limits,
        }
    }
}

/// The connection handler of request–response protocols.
pub(crate) struct Handler {
    remote: Remote,
    all: Serving,
    slots: Arc<StreamSlots>,
    last_use: LastUse,
    /// At most `limits.inbound_streams` of them per peer.
    serving: FuturesUnordered<BoxFuture<'static, io::Result<()>>>,
    /// Own requests that want a stream; with `asking`, at most `limits.outbound` over all peers.
    to_open: VecDeque<Ask>,
    asking: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Handler {
    pub(super) fn new(remote: Remote, all: Serving, slots: Arc<StreamSlots>, last_use: LastUse) -> Self {
        Self {
            remote,
            all,
            slots,
            last_use,
            serving: FuturesUnordered::new(),
            to_open: VecDeque::new(),
            asking: FuturesUnordered::new(),
        }
    }

    fn accept(&mut self, stream: Stream, protocol: &StreamProtocol) {
        let Some(service) = self.all.services.get(protocol.as_ref()) else { return };
        // One too many is reset by dropping it.
        let Some(slot) = self.slots.take(self.all.limits.inbound_streams) else { return };
        let serve = serve(stream, self.remote, service.clone(), self.all.clone(), self.last_use.clone());
        self.serving.push(
            async move {
                let _open = slot;
                serve.await
            }
            .boxed(),
        );
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Ask;
    type ToBehaviour = Infallible;
    type InboundProtocol = Served;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Ask;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(self.all.served.clone(), ())
    }

    fn on_behaviour_event(&mut self, ask: Ask) {
        self.to_open.push_back(ask);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        if let Some(ask) = self.to_open.pop_front() {
            let remaining = ask.deadline.saturating_duration_since(Instant::now());
            let upgrade = ReadyUpgrade::new(ask.protocol.clone());
            let protocol = SubstreamProtocol::new(upgrade, ask).with_timeout(remaining);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        while let Poll::Ready(Some(())) = self.asking.poll_next_unpin(cx) {}
        while let Poll::Ready(Some(served)) = self.serving.poll_next_unpin(cx) {
            if let Err(error) = served {
                tracing::debug!(%error, "a request was not answered");
            }
        }
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Ask>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol), ..
            }) => {
                self.accept(stream, &protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info: ask }) => {
                self.asking.push(ask.run(protocol, self.last_use.clone()).boxed());
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: ask, error }) => ask.fail(match error {
                StreamUpgradeError::Timeout => RequestFailure::Timeout,
                StreamUpgradeError::NegotiationFailed => RequestFailure::Unsupported,
                StreamUpgradeError::Io(error) => RequestFailure::Stream(error.to_string()),
                StreamUpgradeError::Apply(never) => match never {},
            }),
            _ => {}
        }
    }
}
