//! Request–response services that a node offers: the same handler answers direct peers and requests that came out of
//! the mixnet.

use std::{net::IpAddr, sync::Arc};

use libp2p_identity::PeerId;
use tokio::sync::oneshot;

/// One request to a local service.
#[derive(Debug)]
pub struct InboundRequest {
    /// The protocol that was negotiated, or the codec of the mix message.
    pub protocol: &'static str,
    /// Who asks.
    pub from: Requester,
    /// Where its connection comes from; `None` behind a relay and behind the mixnet. What a peer says of its addresses is
    /// its word, this is not.
    pub ip: Option<IpAddr>,
    /// The request without its length prefix.
    pub body: Vec<u8>,
    /// Takes the answer without its length prefix. Dropping it means that there is none.
    pub respond: oneshot::Sender<Vec<u8>>,
}

/// Who asks a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// A peer over its own connection.
    Peer(PeerId),
    /// Somebody behind the mixnet. All of them are one requester: services give them their own budget
    /// (`spec/waku.md §4.2`).
    Anonymous,
}

type Sink = dyn Fn(InboundRequest) + Send + Sync;

/// A protocol that some role of this node answers.
#[derive(Clone)]
pub struct Service {
    /// The protocol id, e.g. `/vac/waku/lightpush/3.0.0`.
    pub protocol: &'static str,
    /// The longest request body that is read, in bytes.
    pub max_request: usize,
    sink: Arc<Sink>,
}

impl Service {
    /// A service whose requests go to `sink`. A sink must not wait: it queues a request, answers that it is overloaded,
    /// or drops it.
    pub fn new(
        protocol: &'static str,
        max_request: usize,
        sink: impl Fn(InboundRequest) + Send + Sync + 'static,
    ) -> Self {
        Self { protocol, max_request, sink: Arc::new(sink) }
    }

    /// Hands a request over. Its answer, if there is one, comes through [`InboundRequest::respond`].
    pub fn submit(&self, request: InboundRequest) {
        (self.sink)(request);
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("protocol", &self.protocol).field("max_request", &self.max_request).finish()
    }
}

/// Two parts of a node answer one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} and {} both answer {protocol}; turn one of the two off", .owners[0], .owners[1])]
pub struct ServiceConflict {
    /// The protocol.
    pub protocol: &'static str,
    /// Who answers it.
    pub owners: [&'static str; 2],
}

/// All services of a node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Services(Arc<[Service]>);

impl Services {
    /// Collects the services of these owners.
    ///
    /// # Errors
    /// When two of them answer one protocol.
    pub fn new(owned: impl IntoIterator<Item = (&'static str, Vec<Service>)>) -> Result<Self, ServiceConflict> {
        let mut services: Vec<Service> = Vec::new();
        let mut owners: Vec<&'static str> = Vec::new();
        for (owner, own) in owned {
            for service in own {
                if let Some(at) = services.iter().position(|known| known.protocol == service.protocol) {
                    let other = owners.get(at).copied().unwrap_or_default();
                    return Err(ServiceConflict { protocol: service.protocol, owners: [other, owner] });
                }
                services.push(service);
                owners.push(owner);
            }
        }
        Ok(Self(services.into()))
    }

    /// The service for a protocol id.
    pub fn get(&self, protocol: &str) -> Option<&Service> {
        self.0.iter().find(|service| service.protocol == protocol)
    }

    /// Every service.
    pub fn iter(&self) -> impl Iterator<Item = &Service> {
        self.0.iter()
    }
}
