//! One request from its service to its replies, in its own task: the effects.

use std::{sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rand::rngs::StdRng;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, sleep_until, timeout},
};
use wakumix_mix::{
    ExitStatus,
    exit::{ReplyContent, fit},
};
use wakumix_role_api::{
    InboundRequest, Requester, Served, Service, Workers,
    host::{HostHandle, ReadRule, RequestFailure},
};
use wakumix_sphinx::Surb;
use wakumix_waku::{frame, lightpush::refusal::RefusalForm};

use crate::{
    metrics::{Metrics, RequestOutcome},
    policy::READ_RULE,
    refusal::refusal,
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
    pub(crate) call: ServiceCall,
    /// How it is refused if it comes to nothing.
    pub(crate) form: RefusalForm,
    pub(crate) answering: Answering,
}

/// What is to be done before the replies leave.
pub(crate) enum ServiceCall {
    /// Ask a service of this node.
    Local { service: Service, body: Vec<u8> },
    /// Ask a service elsewhere.
    Remote { peer: PeerId, addresses: Vec<Multiaddr>, is_stranger: bool, codec: String, bytes: Vec<u8> },
}

/// What it takes to answer.
pub(crate) struct Answering {
    pub(crate) shared: Arc<Shared>,
    /// The format of the request, which is that of its answers.
    pub(crate) served: Served,
    pub(crate) surbs: Vec<Surb>,
    pub(crate) rng: StdRng,
    /// Its place among the requests, or refusals, at work.
    pub(crate) permit: OwnedSemaphorePermit,
}

impl Exchange {
    /// Sends the request to the service and the answer to the sender; without an answer, a reply that says why.
    pub(crate) async fn run(self) {
        let Self { call, form, answering } = self;
        let shared = &answering.shared;
        let (began, is_one_way, is_stranger) = (Instant::now(), answering.surbs.is_empty(), call.is_for_stranger());
        let asked = call.run(shared, is_one_way).await;
        let (outcome, reply) = match asked.and_then(|answer| answering.fitted(answer)) {
            Ok(answer) => (RequestOutcome::Served, ReplyContent::Answer(answer)),
            Err(status) => (RequestOutcome::Failed(status), refusal(&form, status)),
        };
        shared.metrics.record_request(outcome);
        if is_stranger && !is_one_way && outcome.is_silence() {
            // An address of the sender's choice that refuses is told when one is that never answers: else the moment of the
            // refusal would say which ports of others are open.
            sleep_until(began + shared.limit).await;
        }
        answering.send(reply).await;
    }
}

impl ServiceCall {
    /// Whether it is the sender that chose the address.
    fn is_for_stranger(&self) -> bool {
        matches!(self, Self::Remote { is_stranger: true, .. })
    }

    async fn run(self, shared: &Shared, is_one_way: bool) -> Result<Vec<u8>, ExitStatus> {
        match self {
            Self::Local { service, body } => ask_here(&service, body, shared.limit).await,
            Self::Remote { peer, addresses, codec, bytes, .. } => {
                let read = if is_one_way { ReadRule::Nothing } else { READ_RULE };
                let asked = shared.host.request(peer, addresses, &codec, bytes, read, shared.limit);
                let asked = timeout(shared.limit, asked).await.unwrap_or(Err(RequestFailure::Timeout));
                asked.map_err(|error| status(&error))
            }
        }
    }
}

impl Answering {
    /// An answer that one reply can carry.
    fn fitted(&self, answer: Vec<u8>) -> Result<Vec<u8>, ExitStatus> {
        fit(&*self.served.format, self.surbs.len(), answer)
    }

    /// Sends the replies, if there are ways for them, and frees the place.
    pub(crate) async fn send(self, reply: ReplyContent) {
        let Self { shared, served, surbs, mut rng, permit } = self;
        if !surbs.is_empty() {
            let replier = shared.replier.clone();
            // A panicking job loses its packets, which the ledger counts as abandoned.
            let _ = shared.workers.run(move || replier.send(&mut rng, &served, surbs, &reply)).await;
        }
        shared.tally.finish();
        drop(permit);
    }
}

/// The answer of a local service with its length in front, as it would stand on a stream.
async fn ask_here(service: &Service, body: Vec<u8>, limit: Duration) -> Result<Vec<u8>, ExitStatus> {
    let (respond, answer) = oneshot::channel();
    service.submit(InboundRequest { protocol: service.protocol, from: Requester::Anonymous, ip: None, body, respond });
    match timeout(limit, answer).await {
        Ok(Ok(answer)) => Ok(frame::encode(&answer)),
        Ok(Err(_)) => Err(ExitStatus::NoAnswer),
        Err(_) => Err(ExitStatus::TimedOut),
    }
}

fn status(failure: &RequestFailure) -> ExitStatus {
    match failure {
        RequestFailure::DialFailed | RequestFailure::Unsupported => ExitStatus::Unreachable,
        RequestFailure::Stream(_) => ExitStatus::NoAnswer,
        RequestFailure::Timeout => ExitStatus::TimedOut,
        RequestFailure::Busy | RequestFailure::Stopped => ExitStatus::Busy,
    }
}
