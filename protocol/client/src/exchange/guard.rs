//! The guard of a request: which of those in use it has, and when it gets another.

use libp2p_identity::PeerId;
use rand_core::CryptoRng;
use wakumix_mix::random;

use super::{Common, Exchange, Flow, Phase, Turn};
use crate::client::guards_in_use;

/// Silent tries in a row after which another guard is drawn rather than this one. With one packet in ten lost on every link that
/// is so of two to five guards in a hundred that are well, and ends with the next answer.
const MUTE: u32 = 4;

impl Common {
    /// The guards that requests may use now: the first few of the sample that are connected and in the pool. `None` for a node
    /// that draws its own first hops.
    pub(crate) fn guards_in_use(&self) -> Option<Vec<PeerId>> {
        let directory = self.network.directory();
        guards_in_use(directory, &self.connected, self.config.guards)
    }

    /// A try over a guard was not answered in time.
    pub(super) fn was_silent(&mut self, guard: PeerId) {
        let sample = self.network.directory().guards.as_deref().unwrap_or_default();
        self.silent.retain(|known, _| sample.contains(known));
        let silent = self.silent.entry(guard).or_default();
        *silent = silent.saturating_add(1);
    }

    /// Whether nothing has come over a guard for long.
    fn is_mute(&self, guard: &PeerId) -> bool {
        self.silent.get(guard).is_some_and(|silent| *silent >= MUTE)
    }
}

impl Exchange {
    /// Whether its tries go over this guard.
    pub(crate) fn is_over(&self, peer: &PeerId) -> bool {
        self.guard.as_ref() == Some(peer)
    }

    /// The connection to a peer is gone. Over a guard that is gone no answer comes: the next try goes out over another.
    pub(crate) fn disconnected<R: CryptoRng>(
        &mut self,
        peer: &PeerId,
        common: &mut Common,
        turn: &mut Turn<'_, R>,
    ) -> Flow {
        if self.phase != Phase::Active || !self.lose_guard(peer) {
            return Flow::Open;
        }
        self.tries.give_up();
        self.advance(common, turn)
    }

    /// Whether a peer was the guard; then it is that no longer.
    pub(super) fn lose_guard(&mut self, peer: &PeerId) -> bool {
        let is_lost = self.guard.take_if(|guard| guard == peer).is_some();
        if is_lost {
            self.lost_guards.insert(*peer);
        }
        is_lost
    }

    /// The guards that its next try may use, in this order: the one that it has, then those in use by their weights; behind them
    /// those over which nothing has come for long, and those that were lost under it. `None` for a node that has none.
    pub(super) fn guards<R: CryptoRng>(
        &self,
        common: &Common,
        weight: &dyn Fn(&PeerId) -> f64,
        rng: &mut R,
    ) -> Option<Vec<PeerId>> {
        let in_use = common.guards_in_use()?;
        let mut left: Vec<_> = in_use.into_iter().filter(|guard| Some(*guard) != self.guard).collect();
        let mut order: Vec<_> = self.guard.filter(|guard| common.connected.contains(guard)).into_iter().collect();
        while !left.is_empty() {
            let weights: Vec<_> = left.iter().map(weight).collect();
            let mut place = random::open_unit(rng) * weights.iter().sum::<f64>();
            let is_here = |weight: &f64| {
                place -= weight;
                place <= 0.0
            };
            let at = weights.iter().position(is_here).unwrap_or(0);
            order.push(left.swap_remove(at));
        }
        order.sort_by_key(|guard| (self.lost_guards.contains(guard), common.is_mute(guard)));
        Some(order)
    }
}
