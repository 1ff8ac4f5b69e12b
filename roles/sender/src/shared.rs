//! What every task of the sender needs.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libp2p_identity::PeerId;
use tokio::time::Instant;
use wakumix_mix::{Ledger, reliability::Reliability};
use wakumix_role_api::{DirectoryReader, Formats, LocalNode, Workers, mixer::MixerHandle, plain::PlainPush};
use wakumix_sphinx::Weaknesses;

use crate::{
    admission::Admission, book::Book, config::Config, metrics::Metrics, patience::Conditions, watch::Watchlist,
    window::Window,
};

/// Services that are known to have published. Overflow rule: forget all; what is lost is that a 505 is believed later.
const MAX_PUBLISHERS: usize = 256;

/// All of it is ephemeral: after a panic it is made anew, but for what counts open requests.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) node: LocalNode,
    pub(crate) directory: DirectoryReader,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) formats: Formats,
    pub(crate) workers: Workers,
    pub(crate) mixer: MixerHandle,
    pub(crate) plain: PlainPush,
    pub(crate) weaknesses: Weaknesses,
    pub(crate) book: Book,
    pub(crate) admission: Arc<Admission>,
    pub(crate) window: Arc<Window>,
    pub(crate) watchlist: Arc<Watchlist>,
    /// Whether this node has the relay role, so that messages can be seen there.
    pub(crate) is_relaying: bool,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) conditions: Mutex<Conditions>,
    pub(crate) publishers: Mutex<BTreeSet<PeerId>>,
    /// Shared with the other roles; its times count from `epoch`.
    pub(crate) reliability: Arc<Mutex<Reliability>>,
    pub(crate) epoch: Instant,
}

impl Shared {
    /// What is known of the net now.
    pub(crate) fn conditions(&self) -> Conditions {
        lock(&self.conditions).clone()
    }

    /// Learns from a try, and shows what is known.
    pub(crate) fn learn(&self, learn: impl FnOnce(&mut Conditions)) {
        let mut conditions = lock(&self.conditions);
        learn(&mut conditions);
        self.metrics.loss.set(conditions.loss());
    }

    /// Somebody on the way has too much to do.
    pub(crate) fn slow_down(&self) {
        let round_trip = self.conditions().round_trip();
        self.window.busy(Instant::now(), round_trip);
    }

    /// Lets `draw` use what is known of how well nodes carry packets.
    pub(crate) fn weighing<T>(&self, draw: impl FnOnce(&dyn Fn(&PeerId) -> f64) -> T) -> T {
        let (reliability, now) = (lock(&self.reliability), self.epoch.elapsed());
        draw(&|peer| reliability.weight(now, peer))
    }

    /// A first hop took a packet, or could not be reached: this node's own observation.
    pub(crate) fn observe_first_hop(&self, peer: &PeerId, is_reached: bool) {
        let mut reliability = lock(&self.reliability);
        if is_reached {
            reliability.first_hop_reached(peer);
        } else {
            reliability.first_hop_failed(self.epoch.elapsed(), peer);
        }
    }

    /// Whether a service has published for this sender.
    pub(crate) fn has_published(&self, service: &PeerId) -> bool {
        lock(&self.publishers).contains(service)
    }

    /// A service has published.
    pub(crate) fn remember_publisher(&self, service: PeerId) {
        let mut publishers = lock(&self.publishers);
        if publishers.len() >= MAX_PUBLISHERS {
            publishers.clear();
        }
        publishers.insert(service);
    }
}

/// No code panics while it holds one of these locks, so a poisoned value is still consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
