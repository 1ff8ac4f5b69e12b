//! The callers' ends of requests and loops.

use std::sync::Arc;

use tokio::sync::oneshot;
use wakumix_client::{ClientError, Input, LoopOutcome, RequestId};
use wakumix_role_api::{
    Address,
    sender::{Answer, PushFailure, SenderMessage},
};

use crate::shell::{Shell, WorkGuard};

/// Always answered: dropping it says that the sender stops, or that it failed.
pub(crate) struct Caller {
    reply: Option<oneshot::Sender<Result<Answer, PushFailure>>>,
    shell: Arc<Shell>,
    _work: WorkGuard,
}

impl Caller {
    pub(crate) fn new(reply: oneshot::Sender<Result<Answer, PushFailure>>, shell: &Arc<Shell>) -> Self {
        Self { reply: Some(reply), _work: shell.work.request(), shell: Arc::clone(shell) }
    }

    /// Passes the outcome on and counts it.
    pub(crate) fn answer(mut self, outcome: Result<Answer, PushFailure>) {
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
            self.shell.metrics.record_caller_gone();
            return;
        }
        self.shell.metrics.record(&outcome);
        // A caller that goes away in this moment needs no outcome.
        let _ = reply.send(outcome);
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let restarted =
            ClientError::Internal("the sender failed and was restarted; the message may have been published");
        let failure = if self.shell.work.is_closed() { ClientError::Stopped } else { restarted };
        self.close(Err(failure.into()));
    }
}

/// Passes the outcome of a request on, or has it forgotten when the caller goes away.
pub(crate) async fn attend(
    mut caller: Caller,
    outcome: oneshot::Receiver<Result<Answer, PushFailure>>,
    id: RequestId,
    sender: Address<SenderMessage>,
) {
    tokio::select! {
        biased;
        outcome = outcome => if let Ok(outcome) = outcome { caller.answer(outcome) },
        () = caller.gone() => forget(id, &sender).await,
    }
}

/// The same for a loop.
pub(crate) async fn attend_loop(
    shell: Arc<Shell>,
    mut reply: oneshot::Sender<Result<LoopOutcome, ClientError>>,
    outcome: oneshot::Receiver<Result<LoopOutcome, ClientError>>,
    id: RequestId,
    sender: Address<SenderMessage>,
) {
    let _work = shell.work.request();
    let outcome = tokio::select! {
        biased;
        outcome = outcome => outcome.ok(),
        () = reply.closed() => {
            forget(id, &sender).await;
            Some(Err(ClientError::Stopped))
        }
    };
    // Without an outcome the sender has failed, and the end of the channel says so.
    if let Some(outcome) = outcome {
        shell.metrics.record_loop(&outcome);
        // A caller that went away needs no outcome.
        let _ = reply.send(outcome);
    }
}

async fn forget(id: RequestId, sender: &Address<SenderMessage>) {
    // A sender that has stopped has forgotten it.
    let _ = sender.send(SenderMessage::Client(Box::new(Input::Forget(id)))).await;
}
