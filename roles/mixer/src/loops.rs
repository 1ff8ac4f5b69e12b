//! The loops of this node, from sending to return, and what they tell of the nodes on their way.

use std::sync::Arc;
use std::time::Duration;

use libp2p_identity::PeerId;
use parking_lot::Mutex;
use tokio::time::Instant;
use wakumix_mix::{
    Reliability, Trip,
    cover::{LoopId, LoopLimits, LoopsInFlight, SentLoop, TooManyLoops},
};
use wakumix_role_api::host::SendFailure;

use crate::metrics::LoopMetrics;

/// Loops on their way at most: twice what the shortest mean gap and nwaku's delays make, 100 ms and 11 s.
const MAX_LOOPS: usize = 256;

/// How long a loop may take beyond its delays: two dials and what waits in three queues. A loop that comes later than this
/// would have been an answer too late for its caller as well.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is shared between the task that sends loops and the workers that recognise them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Loops {
    in_flight: Arc<Mutex<LoopsInFlight>>,
    reliability: Arc<Mutex<Reliability>>,
    /// What times count from, here and in `reliability`.
    epoch: Instant,
    pub(crate) metrics: LoopMetrics,
}

impl Loops {
    /// No loops yet; none is delayed by more than `longest_delay` in all.
    pub(crate) fn new(
        longest_delay: Duration,
        reliability: Arc<Mutex<Reliability>>,
        epoch: Instant,
        metrics: LoopMetrics,
    ) -> Self {
        let limits = LoopLimits { loops: MAX_LOOPS, response_timeout: RESPONSE_TIMEOUT + longest_delay };
        Self { in_flight: Arc::new(Mutex::new(LoopsInFlight::new(limits))), reliability, epoch, metrics }
    }

    /// Enters a loop that is about to be handed over.
    pub(crate) fn enter(&self, id: LoopId, hops: Vec<PeerId>) -> Result<(), TooManyLoops> {
        self.in_flight.lock().send(id, SentLoop { hops, sent_at: self.now(), has_left: false })
    }

    /// The host has said how a loop left.
    pub(crate) fn left(&self, id: &LoopId, first_hop: &PeerId, result: Result<(), SendFailure>) {
        let Err(failure) = result else {
            self.metrics.sent.increment(1);
            self.in_flight.lock().left(id);
            return self.reliability.lock().first_hop_reached(first_hop);
        };
        self.metrics.not_sent.increment(1);
        let _ = self.in_flight.lock().take(id);
        if is_of_the_peer(failure) {
            self.reliability.lock().first_hop_failed(self.now(), first_hop);
        }
    }

    /// Cover has ended here. Only one that is on its way says anything, and only once: cover of others, and a copy of one's
    /// own, are nothing but cover.
    pub(crate) fn returned(&self, id: &LoopId) {
        let now = self.now();
        let Some(SentLoop { hops, sent_at, .. }) = self.in_flight.lock().take(id) else { return };
        let latency = now.saturating_sub(sent_at);
        self.metrics.returned.increment(1);
        self.metrics.latency.record(latency);
        self.reliability.lock().looped(now, &hops, Trip::Returned(latency));
    }

    /// Gives up the loops that have been on their way for too long.
    pub(crate) fn expire(&self) {
        let now = self.now();
        let lost = self.in_flight.lock().expire(now);
        for SentLoop { hops, .. } in lost.into_iter().filter(|lost| lost.has_left) {
            self.metrics.lost.increment(1);
            self.reliability.lock().looped(now, &hops, Trip::Lost);
        }
    }

    /// When the next loop may be lost.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.in_flight.lock().next_expiry().map(|expiry| self.epoch + expiry)
    }

    /// Nodes that are drawn less often because of what was lost.
    pub(crate) fn down_weighted(&self) -> usize {
        self.reliability.lock().marked(self.now())
    }

    fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.epoch)
    }
}

/// Whether a failure tells of the peer; a full queue or a stop tells of this node.
fn is_of_the_peer(failure: SendFailure) -> bool {
    matches!(failure, SendFailure::DialFailed | SendFailure::NotConnected | SendFailure::WriteFailed)
}
