//! Whether this machine's clock is wrong, by what other nodes date now.
//!
//! A node that is asked for its own descriptor answers with one that it made anew a quarter of its life ago at most. So an answer that
//! is older by this clock shows that the clock is fast, and one from the future that it is slow. One node may be wrong itself; more
//! than half of those that were asked are not. Those of one subnet have one observer, the last that spoke, or whoever has many
//! identities in one place would make a sender unready: all that follows from it is a line and a word in readiness.

use std::{collections::VecDeque, time::Duration};

use libp2p_identity::PeerId;
use wakumix_role_api::directory::ClockSkew;

use crate::{peer_report::UnixSeconds, peer_table::Block, sources::LONGEST_RENEWAL};

/// Who has a observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observer {
    /// An operator's entry, or a node of a closed network.
    Peer(PeerId),
    /// All others of a subnet together.
    Subnet(Block),
}

/// Observers whose last answer counts.
const MOST: usize = 64;
/// Fewer say nothing.
const LEAST: usize = 3;
/// What clocks that are set by the network never differ by, in seconds.
const TOLERANCE: i64 = 60;
/// The first of January 2024, before the network had mix nodes: a clock that shows an earlier time was never set.
const NEVER_SET: UnixSeconds = 1_704_067_200;

/// The ages of what nodes said of themselves last, by this clock, in seconds. Bound: [`MOST`].
#[derive(Debug, Default)]
pub(crate) struct SkewWatch {
    ages: VecDeque<(Observer, i64)>,
}

impl SkewWatch {
    /// A node has said of itself what it dates so.
    pub(crate) fn note(&mut self, observer: Observer, issued: UnixSeconds, now: UnixSeconds) {
        self.ages.retain(|(known, _)| *known != observer);
        if self.ages.len() >= MOST {
            self.ages.pop_front();
        }
        self.ages.push_back((observer, signed(now).saturating_sub(signed(issued))));
    }

    /// What is wrong with this clock, if anything is.
    pub(crate) fn skew(&self, now: UnixSeconds) -> Option<ClockSkew> {
        if now < NEVER_SET {
            return Some(ClockSkew::NeverSet);
        }
        let oldest = signed(LONGEST_RENEWAL.as_secs()).saturating_add(TOLERANCE);
        let by =
            |beyond: Vec<i64>| (self.ages.len() >= LEAST && beyond.len() * 2 > self.ages.len()).then(|| median(beyond));
        let slow = by(self.ages.iter().map(|(_, age)| -age).filter(|behind| *behind > TOLERANCE).collect());
        let fast =
            by(self.ages.iter().filter(|(_, age)| *age > oldest).map(|(_, age)| age - oldest + TOLERANCE).collect());
        slow.map(ClockSkew::Slow).or_else(|| fast.map(ClockSkew::Fast))
    }
}

fn signed(seconds: UnixSeconds) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn median(mut seconds: Vec<i64>) -> Duration {
    seconds.sort_unstable();
    let middle = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
    Duration::from_secs(middle.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = NEVER_SET + 1_000_000;

    /// Nodes that said so many seconds ago, by a right clock, what they are; this clock is so much ahead.
    fn watch(ages: &[u64], ahead: i64) -> Option<ClockSkew> {
        let mut watch = SkewWatch::default();
        let now = NOW.saturating_add_signed(ahead);
        ages.iter().for_each(|age| watch.note(Observer::Peer(PeerId::random()), NOW - age, now));
        watch.skew(now)
    }

    #[test]
    fn a_clock_is_fast_or_slow_where_most_nodes_say_so() {
        let ages = [0, 600, 5000, 10_000];
        for ahead in [0, 59, -59, 3000] {
            assert_eq!(watch(&ages, ahead), None, "{ahead}");
        }
        assert!(matches!(watch(&ages, -20_000), Some(ClockSkew::Slow(by)) if by.as_secs() > 9000));
        assert!(matches!(watch(&ages, 6 * 3600), Some(ClockSkew::Fast(by)) if by.as_secs() > 3 * 3600));
        assert_eq!(watch(&ages[..2], -20_000), None, "two are too few");
    }

    #[test]
    fn one_node_with_a_wrong_clock_says_nothing_and_only_the_last_word_of_each_counts() {
        let mut watch = SkewWatch::default();
        let peers: Vec<_> = (0..MOST).map(|_| Observer::Peer(PeerId::random())).collect();
        for _ in 0..3 {
            watch.note(peers[0], NOW + 9000, NOW);
        }
        assert_eq!(watch.skew(NOW), None);
        peers.iter().skip(1).take(2).for_each(|peer| watch.note(*peer, NOW, NOW));
        assert_eq!(watch.skew(NOW), None);
        peers.iter().for_each(|peer| watch.note(*peer, NOW + 9000, NOW));
        assert!(watch.skew(NOW).is_some());
        peers.iter().for_each(|peer| watch.note(*peer, NOW, NOW));
        assert_eq!((watch.skew(NOW), watch.ages.len()), (None, MOST));
    }

    #[test]
    fn many_identities_of_one_subnet_have_one_observer() {
        let mut watch = SkewWatch::default();
        let subnet = Observer::Subnet(Block::Subnet4([8, 8, 1]));
        (0..1000).for_each(|_| watch.note(subnet, NOW + 9000, NOW));
        (2..5).for_each(|other| watch.note(Observer::Subnet(Block::Subnet4([8, 8, other])), NOW, NOW));
        assert_eq!((watch.skew(NOW), watch.ages.len()), (None, 4));
    }

    #[test]
    fn a_clock_that_was_never_set_is_wrong_whatever_others_say() {
        assert_eq!(SkewWatch::default().skew(NEVER_SET - 1), Some(ClockSkew::NeverSet));
        assert_eq!(SkewWatch::default().skew(NEVER_SET), None);
    }
}
