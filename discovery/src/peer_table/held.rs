//! What keeps a node out of the pool although it could be used, and when nodes were in use.

use std::time::Duration;

use tokio::time::Instant;
use wakumix_role_api::directory::PoolState;

use super::node::Node;

/// What makes an outage: so large a part of the nodes used in the last hour is gone, more than one in two ...
const GONE: usize = 2;
/// ... within this time.
const SUDDEN: Duration = Duration::from_secs(60);
/// Nodes that were in use so lately count.
const USED: Duration = Duration::from_secs(60 * 60);
/// Fewer used nodes are no pool that could be lost: no path can be made of them.
const FEWEST: usize = 4;
/// How long strangers stay out in an outage, and how long before it somebody must have been heard of not to be one.
pub(crate) const HOLD: Duration = Duration::from_secs(10 * 60);
/// The longest wait between two tries of a known node while most are gone: 100 nodes are ten dials per second.
pub(super) const LONGEST_WAIT_IN_OUTAGE: Duration = Duration::from_secs(10);

/// The rule of the pool that keeps a node out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It came lately, and most of the nodes known before are gone at once: whoever can take them away could take their
    /// place.
    Unverified,
    /// Another node, known longer, has the same mix key.
    SameKey,
    /// Its /24 has its share of the pool.
    Subnet,
    /// Its family has its share of the pool.
    Family,
    /// The one source that tells of it has its share of the pool.
    Source,
}

impl Held {
    /// What people read.
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Unverified => "heard of lately, while most of the nodes known before are gone; it waits ten minutes",
            Self::SameKey => "another node, known longer, has its mix key",
            Self::Subnet => "its /24 has its share of the pool",
            Self::Family => "its family has its share of the pool",
            Self::Source => "the only source that tells of it has its share of the pool",
        }
    }
}

/// When a node was in use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Use {
    first: Option<Instant>,
    last: Option<Instant>,
    /// Since when it cannot be reached any more.
    gone: Option<Instant>,
}

impl Use {
    /// Notes what the node can be used for.
    pub(super) fn note(&mut self, state: Option<PoolState>, now: Instant) {
        match state {
            Some(PoolState::Usable) => {
                self.first.get_or_insert(now);
                self.last = Some(now);
                self.gone = None;
            }
            Some(PoolState::Unreachable | PoolState::Expired) if self.last.is_some() => {
                self.gone.get_or_insert(now);
            }
            _ => {}
        }
    }
}

/// Nodes that were in use.
#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    used: usize,
    gone: usize,
    suddenly: usize,
}

impl Losses {
    fn count(&mut self, node: &Node, now: Instant) {
        self.used += 1;
        if let Some(left) = node.used.gone {
            self.gone += 1;
            self.suddenly += usize::from(since(left, now) <= SUDDEN);
        }
    }

    fn are_most(&self, lost: usize) -> bool {
        self.used >= FEWEST && lost * GONE > self.used
    }
}

/// Whether most of the pool is gone.
#[derive(Debug, Default)]
pub(super) struct Outage {
    last: Option<Began>,
    /// Most of the nodes used in the last hour are gone now, however long.
    is_on: bool,
}

#[derive(Clone, Copy, Debug)]
struct Began {
    at: Instant,
    /// Most of those that went were no older than a stranger: there is nobody who is known better than whoever was in use.
    is_of_young: bool,
}

impl Outage {
    /// Looks at all nodes. Those known for long are looked at by themselves, too: strangers that have just been reached do
    /// not make up for them.
    pub(super) fn look<'a>(&mut self, nodes: impl Iterator<Item = &'a Node>, now: Instant) {
        let (mut all, mut known) = (Losses::default(), Losses::default());
        for node in nodes.filter(|node| node.used.last.is_some_and(|last| since(last, now) <= USED)) {
            all.count(node, now);
            if !is_young(node, now) {
                known.count(node, now);
            }
        }
        self.is_on = all.are_most(all.gone) || known.are_most(known.gone);
        let is_held = self.last.is_some_and(|began| since(began.at, now) < HOLD);
        let (are_all, are_known) = (all.are_most(all.suddenly), known.are_most(known.suddenly));
        if (are_all || are_known) && !is_held {
            let is_of_young = !are_known && known.suddenly * 2 <= all.suddenly;
            self.last = Some(Began { at: now, is_of_young });
        }
    }

    /// Whether most nodes are gone.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether a node has to wait until the outage is over.
    pub(super) fn holds(&self, node: &Node, now: Instant) -> bool {
        let Some(Began { at, is_of_young }) = self.last.filter(|began| since(began.at, now) < HOLD) else {
            return false;
        };
        let was_used = node.used.first.is_some_and(|first| first < at);
        is_young(node, at) && !(is_of_young && was_used)
    }
}

/// Whether a node was heard of only lately, and neither the operator nor an earlier run knew it.
fn is_young(node: &Node, now: Instant) -> bool {
    !node.is_entry() && !node.is_remembered && since(node.heard, now) < HOLD
}

fn since(earlier: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(earlier)
}
