//! The caller's end of a request.

use std::sync::Arc;

use tokio::sync::oneshot;
use wakumix_role_api::sender::{Answer, PushFailure};

use crate::{admission::Admission, metrics::Metrics};

/// Always told something: dropping it says that the sender stops, or that it failed.
pub(crate) struct Caller {
    reply: Option<oneshot::Sender<Result<Answer, PushFailure>>>,
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
}

impl Caller {
    pub(crate) fn new(
        reply: oneshot::Sender<Result<Answer, PushFailure>>,
        admission: &Arc<Admission>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        Self { reply: Some(reply), admission: Arc::clone(admission), metrics: Arc::clone(metrics) }
    }

    /// Tells the outcome and counts it.
    pub(crate) fn tell(mut self, outcome: Result<Answer, PushFailure>) {
        self.close(outcome);
    }

    /// Waits until the caller goes away.
    ///
    /// Cancel safe: yes.
    pub(crate) async fn gone(&mut self) {
        match &mut self.reply {
            Some(reply) => reply.closed().await,
            None => std::future::pending().await,
        }
    }

    fn close(&mut self, outcome: Result<Answer, PushFailure>) {
        let Some(reply) = self.reply.take() else { return };
        if reply.is_closed() {
            self.metrics.record_caller_gone();
            return;
        }
        self.metrics.record(&outcome);
        // A caller that goes away in this moment needs no outcome.
        let _ = reply.send(outcome);
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let restarted =
            PushFailure::Internal("the sender failed and was restarted; the message may have been published");
        self.close(Err(if self.admission.is_closed() { PushFailure::Stopped } else { restarted }));
    }
}
