//! One loop from its packet to its outcome: a task of its own.

use std::{sync::Arc, time::Duration};

use rand::rngs::StdRng;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use wakumix_mix::{DropReason, MixNode, Packet};
use wakumix_role_api::{
    host::SendFailure,
    mixer::LocalPacket,
    sender::{LoopOutcome, PushFailure},
};
use wakumix_sphinx::PATH_LEN;

use crate::{
    admission::Slot,
    departure::{Departed, FirstHop, NotDeparted, Reply, Sink, hand_over, room},
    seal::seal_loop,
    shared::Shared,
};

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
        let Self { shared, slot, plan, packet, deadline, mut reply } = self;
        let (sink, replies) = mpsc::channel(1);
        let departure = {
            let shared = Arc::clone(&shared);
            move || depart(&shared, plan, packet, Sink { number: 0, replies: sink })
        };
        let departed = shared.workers.run(departure).await;
        let departed =
            departed.unwrap_or(Err(NotDeparted::Failed(PushFailure::Internal("building the packet failed"))));
        let outcome = match departed {
            Ok(departed) => {
                tokio::select! {
                    biased;
                    outcome = returned(departed, replies) => outcome,
                    () = tokio::time::sleep_until(deadline) => Ok(LoopOutcome::Lost),
                    // Nobody hears this; the wait ends.
                    () = reply.closed() => Err(PushFailure::Stopped),
                    () = shared.admission.ending() => Err(PushFailure::Stopped),
                }
            }
            Err(NotDeparted::Congested | NotDeparted::Late) => Err(PushFailure::Busy),
            Err(NotDeparted::Failed(failure)) => Err(failure),
        };
        // The slot first: a caller that has its outcome finds room for its next loop.
        drop(slot);
        tell(&shared, reply, outcome);
    }
}

/// Waits for the packet. Its credentials go when the wait ends.
async fn returned(departed: Departed, mut replies: mpsc::Receiver<(usize, Reply)>) -> Result<LoopOutcome, PushFailure> {
    let Departed { credentials: _credentials, first_hops, .. } = departed;
    let started = Instant::now();
    tokio::select! {
        biased;
        reply = replies.recv() => match reply {
            Some((_, Reply::Opened(_))) => Ok(LoopOutcome::Returned(started.elapsed())),
            // The credentials outlived every limit and were swept.
            Some((_, Reply::Burned)) | None => Ok(LoopOutcome::Lost),
        },
        failure = first_hop_failure(first_hops) => Err(PushFailure::FirstHop(failure)),
    }
}

/// Ends only if the packet did not leave.
async fn first_hop_failure(first_hops: Vec<FirstHop>) -> SendFailure {
    for first_hop in first_hops {
        if let Ok(Err(failure)) = first_hop.left.await {
            return failure;
        }
    }
    // It left, or nobody can tell: the packet or the time limit decides.
    std::future::pending().await
}

/// Counts the outcome of a loop and tells the caller.
pub(crate) fn tell(shared: &Shared, reply: LoopSink, outcome: Result<LoopOutcome, PushFailure>) {
    shared.metrics.record_loop(&outcome);
    // A caller that went away needs no outcome.
    let _ = reply.send(outcome);
}

/// Makes the packet and hands it to the mixer, all on a worker.
fn depart(shared: &Arc<Shared>, plan: LoopPlan, mut packet: Packet, sink: Sink) -> Result<Departed, NotDeparted> {
    let LoopPlan { path, delay_ms, hold, mut rng } = plan;
    let room = match room(shared) {
        Ok(room) => room,
        Err(problem) => {
            packet.reject(DropReason::QueueFull);
            return Err(problem);
        }
    };
    let sealed = shared.formats.of(&packet).map(|served| {
        let format = Arc::clone(&served.format);
        seal_loop(&*format, &mut rng, &path, delay_ms, packet.bytes_mut())
    });
    let Some(Ok(keys)) = sealed else {
        packet.reject(DropReason::Abandoned);
        return Err(NotDeparted::Failed(PushFailure::Internal("the loop does not fit its packet")));
    };
    let [first, ..] = path;
    let local = LocalPacket { to: first.address, packet, hold, done: None };
    hand_over(shared, vec![keys], sink, vec![(room, local)])
}
