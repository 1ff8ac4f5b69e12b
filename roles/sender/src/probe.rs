//! One loop from its packet to its outcome: a task of its own.

use std::{sync::Arc, time::Duration};

use rand::rngs::StdRng;
use tokio::{sync::oneshot, time::Instant};
use wakumix_mix::{DropReason, MixNode, Packet};
use wakumix_role_api::{
    mixer::LocalPacket,
    sender::{LoopOutcome, PushFailure},
};
use wakumix_sphinx::PATH_LEN;

use crate::{admission::Slot, exchange::Shared, seal::seal_loop, under_way::UnderWay};

/// Takes the outcome of a loop.
pub(crate) type LoopSink = oneshot::Sender<Result<LoopOutcome, PushFailure>>;

/// A loop whose decisions are all taken.
pub(crate) struct Probe {
    pub(crate) shared: Arc<Shared>,
    pub(crate) slot: Slot,
    pub(crate) plan: LoopPlan,
    /// An empty buffer for the packet.
    pub(crate) packet: Packet,
    pub(crate) deadline: Instant,
    /// From acceptance to `deadline`.
    pub(crate) limit: Duration,
    pub(crate) reply: LoopSink,
}

/// How the packet of a loop is made and sent.
pub(crate) struct LoopPlan {
    pub(crate) path: [MixNode; PATH_LEN],
    pub(crate) delay_ms: u16,
    pub(crate) hold: Duration,
    pub(crate) rng: StdRng,
}

impl Probe {
    /// Builds, sends and waits.
    pub(crate) async fn run(self) {
        let Self { shared, slot, plan, packet, deadline, limit, mut reply } = self;
        let departure = {
            let shared = Arc::clone(&shared);
            move || depart(&shared, plan, packet)
        };
        let departed = shared.workers.run(departure).await;
        let departed = departed.unwrap_or(Err(PushFailure::Internal("building the packet failed")));
        let ended = match departed {
            Ok(under_way) => under_way.outcome(reply.closed(), &shared.admission, deadline, limit).await,
            Err(failure) => Err(failure),
        };
        let outcome = match ended {
            Ok((_, round_trip)) => Ok(LoopOutcome::Returned(round_trip)),
            Err(PushFailure::Timeout { .. }) => Ok(LoopOutcome::Lost),
            Err(failure) => Err(failure),
        };
        // The slot first: a caller that has its outcome finds room for its next loop.
        drop(slot);
        tell(&shared, reply, outcome);
    }
}

/// Counts the outcome of a loop and tells the caller.
pub(crate) fn tell(shared: &Shared, reply: LoopSink, outcome: Result<LoopOutcome, PushFailure>) {
    shared.metrics.record_loop(&outcome);
    // A caller that went away needs no outcome.
    let _ = reply.send(outcome);
}

/// Makes the packet and hands it to the mixer, all on a worker.
fn depart(shared: &Arc<Shared>, plan: LoopPlan, mut packet: Packet) -> Result<UnderWay, PushFailure> {
    let LoopPlan { path, delay_ms, hold, mut rng } = plan;
    let Some(served) = shared.formats.of(&packet) else {
        packet.reject(DropReason::Abandoned);
        return Err(PushFailure::Internal("a buffer of no format"));
    };
    let sealed = seal_loop(&*served.format, &mut rng, &path, delay_ms, packet.bytes_mut());
    let Ok(keys) = sealed else {
        packet.reject(DropReason::Abandoned);
        return Err(PushFailure::Internal("the loop does not fit its packet"));
    };
    let [first, ..] = path;
    UnderWay::start(shared, vec![keys], LocalPacket { to: first.address, packet, hold, done: None })
}
