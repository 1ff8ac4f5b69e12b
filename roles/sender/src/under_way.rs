//! A packet that has left and whose reply is waited for: a request or a loop.

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};
use wakumix_mix::{DropReason, GroupId, Outcome, Stage};
use wakumix_role_api::{SendError, host::SendFailure, mixer::LocalPacket, sender::PushFailure};
use wakumix_sphinx::ReplyKeys;

use crate::{admission::Admission, exchange::Shared};

/// A packet that has been handed to the mixer.
pub(crate) struct UnderWay {
    started: Instant,
    answer: oneshot::Receiver<Vec<u8>>,
    first_hop: oneshot::Receiver<Result<(), SendFailure>>,
    /// Forgets the credentials when the wait ends.
    _credentials: Credentials,
}

struct Credentials {
    shared: Arc<Shared>,
    group: GroupId,
}

impl Drop for Credentials {
    fn drop(&mut self) {
        self.shared.book.cancel(self.group);
    }
}

impl UnderWay {
    /// Keeps the credentials that open the replies and hands the packet to the mixer.
    ///
    /// # Errors
    /// [`PushFailure::Busy`] when there is no room for either, [`PushFailure::Stopped`] when the mixer has.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        keys: Vec<ReplyKeys>,
        mut local: LocalPacket,
    ) -> Result<Self, PushFailure> {
        let (answer_sink, answer) = oneshot::channel();
        let Ok(group) = shared.book.insert(keys, answer_sink) else {
            shared.metrics.record_rejected_credentials();
            local.packet.reject(DropReason::QueueFull);
            return Err(PushFailure::Busy);
        };
        let credentials = Credentials { shared: Arc::clone(shared), group };
        let (done, first_hop) = oneshot::channel();
        local.done = Some(done);
        let started = Instant::now();
        shared.mixer.send(local).map_err(refused)?;
        Ok(Self { started, answer, first_hop, _credentials: credentials })
    }

    /// The answer's bytes and how long they took, or why there are none. `gone` ends when nobody waits any more.
    pub(crate) async fn outcome(
        mut self,
        gone: impl Future<Output = ()>,
        admission: &Admission,
        deadline: Instant,
        limit: Duration,
    ) -> Result<(Vec<u8>, Duration), PushFailure> {
        tokio::select! {
            biased;
            answer = &mut self.answer => match answer {
                Ok(data) => Ok((data, self.started.elapsed())),
                // The credentials outlived every limit and were swept.
                Err(_) => Err(PushFailure::Timeout { limit }),
            },
            failure = first_hop_failure(&mut self.first_hop) => Err(PushFailure::FirstHop(failure)),
            () = tokio::time::sleep_until(deadline) => Err(PushFailure::Timeout { limit }),
            // Nobody hears this; the wait ends.
            () = gone => Err(PushFailure::Stopped),
            () = admission.ending() => Err(PushFailure::Stopped),
        }
    }
}

fn refused(error: SendError<Box<LocalPacket>>) -> PushFailure {
    if error.is_full() {
        error.into_inner().packet.reject(DropReason::QueueFull);
        return PushFailure::Busy;
    }
    let outcome = Outcome::Dropped { stage: Stage::Shutdown, reason: DropReason::Stopped };
    error.into_inner().packet.settle(outcome);
    PushFailure::Stopped
}

/// Ends only if the packet did not leave.
async fn first_hop_failure(first_hop: &mut oneshot::Receiver<Result<(), SendFailure>>) -> SendFailure {
    match first_hop.await {
        Ok(Err(failure)) => failure,
        // It left, or nobody can tell: the answer or the time limit decides.
        Ok(Ok(())) | Err(_) => std::future::pending().await,
    }
}
