//! One request from its service to its replies, in a task of its own: the effects.

use std::{sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rand::rngs::StdRng;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::timeout,
};
use wakumix_role_api::{
    InboundRequest, Requester, Served, Service, Workers,
    host::{HostHandle, ReadRule, RequestFailure},
};
use wakumix_sphinx::Surb;
use wakumix_waku::frame;

use crate::{
    metrics::{Metrics, RequestOutcome},
    policy::READ_RULE,
    reply::Replier,
    tally::Tally,
};

/// What every task needs.
pub(crate) struct Shared {
    pub(crate) replier: Replier,
    pub(crate) host: HostHandle,
    pub(crate) workers: Workers,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tally: Arc<Tally>,
    /// How long a service may take.
    pub(crate) limit: Duration,
}

/// A request whose way is decided.
pub(crate) struct Exchange {
    pub(crate) shared: Arc<Shared>,
    pub(crate) errand: Errand,
    /// The format of the request, which is that of its answers.
    pub(crate) served: Served,
    pub(crate) surbs: Vec<Surb>,
    pub(crate) rng: StdRng,
    /// Its place among the requests at work.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// What is to be done before the replies leave.
pub(crate) enum Errand {
    /// Ask a service of this node.
    Local { service: Service, body: Vec<u8> },
    /// Ask a service elsewhere.
    Remote { peer: PeerId, addresses: Vec<Multiaddr>, codec: String, bytes: Vec<u8> },
    /// Nothing: the request was refused, and an empty answer says so.
    Refuse(RequestOutcome),
}

impl Exchange {
    /// Asks and answers. Where there is no answer, an empty one tells the sender not to wait (`spec/mix-wire.md §11.1`).
    pub(crate) async fn run(self) {
        let Self { shared, errand, served, surbs, mut rng, permit } = self;
        let asked = match errand {
            Errand::Local { service, body } => ask_here(&service, body, shared.limit).await,
            Errand::Remote { peer, addresses, codec, bytes } => {
                let read = if surbs.is_empty() { ReadRule::Nothing } else { READ_RULE };
                let asked = shared.host.request(peer, addresses, &codec, bytes, read, shared.limit);
                timeout(shared.limit, asked)
                    .await
                    .unwrap_or(Err(RequestFailure::Timeout))
                    .map_err(|error| outcome(&error))
            }
            Errand::Refuse(outcome) => Err(outcome),
        };
        shared.metrics.record_request(asked.as_ref().err().copied().unwrap_or(RequestOutcome::Served));
        if !surbs.is_empty() {
            let answer = asked.unwrap_or_default();
            let replier = shared.replier.clone();
            // A panicking job loses its packets, which the ledger counts as abandoned.
            let _ = shared.workers.run(move || replier.send(&mut rng, &served, surbs, &answer)).await;
        }
        shared.tally.finish();
        drop(permit);
    }
}

/// The answer of a local service with its length in front, as it would stand on a stream.
async fn ask_here(service: &Service, body: Vec<u8>, limit: Duration) -> Result<Vec<u8>, RequestOutcome> {
    let (respond, answer) = oneshot::channel();
    service.submit(InboundRequest { protocol: service.protocol, from: Requester::Anonymous, body, respond });
    match timeout(limit, answer).await {
        Ok(Ok(answer)) => Ok(frame::encode(&answer)),
        Ok(Err(_)) => Err(RequestOutcome::NoAnswer),
        Err(_) => Err(RequestOutcome::TimedOut),
    }
}

fn outcome(failure: &RequestFailure) -> RequestOutcome {
    match failure {
        RequestFailure::DialFailed | RequestFailure::Unsupported => RequestOutcome::Unreachable,
        RequestFailure::Stream(_) => RequestOutcome::NoAnswer,
        RequestFailure::Timeout => RequestOutcome::TimedOut,
        RequestFailure::Busy | RequestFailure::Stopped => RequestOutcome::Busy,
    }
}
