//! One request from its packet to its outcome, and one reply from its packet to the request that it answers: the
//! effects, each in a task of its own. The rules are in `request`, `route`, `seal` and `answer`.

use std::{sync::Arc, time::Duration};

use rand::rngs::StdRng;
use tokio::{sync::oneshot, time::Instant};
use wakumix_mix::{DropReason, Outcome, Packet, decode_reply};
use wakumix_role_api::{
    Formats, Workers,
    mixer::{LocalPacket, MixerHandle},
    sender::{Answer, Certainty, PushFailure, ReplyPacket, Way},
};
use wakumix_sphinx::ReplyKeys;

use crate::{
    admission::{Admission, Slot},
    answer::interpret,
    book::Book,
    metrics::Metrics,
    request::Request,
    route::Route,
    seal::seal,
    under_way::UnderWay,
};

/// What every task needs.
pub(crate) struct Shared {
    pub(crate) formats: Formats,
    pub(crate) workers: Workers,
    pub(crate) mixer: MixerHandle,
    pub(crate) book: Book,
    pub(crate) admission: Arc<Admission>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The caller's end of a request. Always told something: dropping it says that the sender stops, or that it failed.
pub(crate) struct Caller {
    reply: Option<oneshot::Sender<Result<Answer, PushFailure>>>,
    shared: Arc<Shared>,
}

impl Caller {
    pub(crate) fn new(reply: oneshot::Sender<Result<Answer, PushFailure>>, shared: Arc<Shared>) -> Self {
        Self { reply: Some(reply), shared }
    }

    /// Tells the outcome and counts it.
    pub(crate) fn tell(mut self, outcome: Result<Answer, PushFailure>) {
        self.close(outcome);
    }

    /// Waits until the caller goes away.
    ///
    /// Cancel safe: yes.
    async fn gone(&mut self) {
        match &mut self.reply {
            Some(reply) => reply.closed().await,
            None => std::future::pending().await,
        }
    }

    fn close(&mut self, outcome: Result<Answer, PushFailure>) {
        let Some(reply) = self.reply.take() else { return };
        if reply.is_closed() {
            self.shared.metrics.record_caller_gone();
            return;
        }
        self.shared.metrics.record(&outcome);
        // A caller that goes away in this moment needs no outcome.
        let _ = reply.send(outcome);
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let is_stopping = self.shared.admission.is_closed();
        let restarted =
            PushFailure::Internal("the sender failed and was restarted; the message may have been published");
        self.close(Err(if is_stopping { PushFailure::Stopped } else { restarted }));
    }
}

/// A request whose decisions are all taken.
pub(crate) struct Exchange {
    pub(crate) shared: Arc<Shared>,
    pub(crate) caller: Caller,
    pub(crate) slot: Slot,
    pub(crate) request: Request,
    pub(crate) plan: Plan,
    /// An empty buffer for the packet.
    pub(crate) packet: Packet,
    pub(crate) deadline: Instant,
    /// From acceptance to `deadline`, for the caller's eyes.
    pub(crate) limit: Duration,
}

/// How the packet of a request is made and sent.
pub(crate) struct Plan {
    pub(crate) route: Route,
    pub(crate) delay_ms: u16,
    pub(crate) hold: Duration,
    pub(crate) rng: StdRng,
}

impl Exchange {
    /// Builds, sends and waits.
    pub(crate) async fn run(self) {
        let Self { shared, mut caller, slot, request, plan, packet, deadline, limit } = self;
        let surbs = plan.route.reply_paths.len();
        let Request { id, frame, hash, .. } = request;
        let departure = {
            let shared = Arc::clone(&shared);
            move || depart(&shared, plan, &frame, packet)
        };
        let departed = shared.workers.run(departure).await;
        let departed = departed.unwrap_or(Err(PushFailure::Internal("building the packet failed")));
        let outcome = match departed {
            Ok(under_way) => under_way.outcome(caller.gone(), &shared.admission, deadline, limit).await,
            Err(failure) => Err(failure),
        };
        if matches!(outcome, Err(PushFailure::Timeout { .. })) {
            shared.metrics.record_timeout(surbs);
        }
        let answer = outcome.and_then(|(data, round_trip)| {
            shared.metrics.record_round_trip(round_trip);
            let verdict = interpret(&data, &id)?;
            Ok(Answer {
                certainty: Certainty::Confirmed,
                way: Way::Mixnet,
                tries: 1,
                packets: 1,
                status: verdict.status,
                description: verdict.description,
                relay_peer_count: verdict.relay_peer_count,
                message_hash: hash,
                round_trip,
            })
        });
        // The slot first: a caller that has its answer finds room for its next request.
        drop(slot);
        caller.tell(answer);
    }
}

/// Makes the packet and hands it to the mixer, all on a worker: nothing is lost if the task that asked for it ends.
fn depart(shared: &Arc<Shared>, plan: Plan, frame: &[u8], mut packet: Packet) -> Result<UnderWay, PushFailure> {
    let Plan { route, delay_ms, hold, mut rng } = plan;
    let Some(served) = shared.formats.of(&packet) else {
        packet.reject(DropReason::Abandoned);
        return Err(PushFailure::Internal("a buffer of no format"));
    };
    let sealed = seal(&*served.format, &mut rng, &route, frame, delay_ms, packet.bytes_mut());
    let Ok(keys) = sealed else {
        packet.reject(DropReason::Abandoned);
        return Err(PushFailure::Internal("the request does not fit its packet"));
    };
    let [first, ..] = route.path;
    UnderWay::start(shared, keys, LocalPacket { to: first.address, packet, hold, done: None })
}

/// Opens a reply on a worker and hands its bytes to the request that waits for them.
pub(crate) async fn open_reply(shared: Arc<Shared>, reply: ReplyPacket, keys: ReplyKeys, slot: Slot) {
    let workers = shared.workers.clone();
    // A panicking job loses its packet, which the ledger counts as abandoned.
    let _ = workers.run(move || settle_reply(&shared, reply, &keys)).await;
    drop(slot);
}

/// A reply that does not open burns nothing: a good copy may still come through the same or another reply block
/// (`spec/mix-wire.md §21` W7).
fn settle_reply(shared: &Shared, reply: ReplyPacket, keys: &ReplyKeys) {
    let ReplyPacket { id, mut packet } = reply;
    let Some(served) = shared.formats.of(&packet) else { return packet.reject(DropReason::Size) };
    let data = match served.format.open_reply(keys, packet.bytes_mut()) {
        Ok(body) => {
            decode_reply(&packet.bytes()[body]).map(<[u8]>::to_vec).map_err(wakumix_mix::MessageError::drop_reason)
        }
        Err(error) => Err(error.into()),
    };
    match data.map(|data| (data, shared.book.complete(&id))) {
        Ok((data, Some(answer))) => {
            packet.settle(Outcome::Replied);
            // The request may have ended in this moment.
            let _ = answer.send(data);
        }
        Ok((_, None)) => packet.reject(DropReason::UnknownReply),
        Err(reason) => packet.reject(reason),
    }
}
