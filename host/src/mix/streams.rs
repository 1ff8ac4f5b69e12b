//! How many streams a peer may have open towards this node in one packet format.
//!
//! One is enough, and ten are what the network's nodes allow each other. Their senders open one for each packet that is under
//! way while a connection is fresh, and keep them (`spec/live-behaviour.md §6`); whatever they write on
//! a stream that is one too many is lost. So a peer may have many more for a while. All peers share those further places, and
//! each may have a quarter of what the others leave: there is always something left for the next.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::config::MixLimits;

/// The part of the free places that one peer may have.
const PART: usize = 4;

/// Places beyond those that each peer has anyway. Shared by all peers.
#[derive(Debug, Default)]
pub(super) struct FurtherStreams(AtomicUsize);

/// Streams of one peer over all its connections.
#[derive(Debug, Default)]
pub(super) struct PeerStreams {
    open: AtomicUsize,
    /// That it has ever opened.
    opened: AtomicU64,
}

/// One stream; gives its place back when dropped.
#[derive(Debug)]
pub(super) struct StreamPlace {
    peer: Arc<PeerStreams>,
    further: Option<Arc<FurtherStreams>>,
    /// The streams that the peer opened before this one.
    number: u64,
    /// Those that it has anyway.
    own: usize,
}

impl PeerStreams {
    /// A place for one more, if there is one.
    pub(super) fn take(self: &Arc<Self>, further: &Arc<FurtherStreams>, limits: &MixLimits) -> Option<StreamPlace> {
        let own = limits.inbound_streams;
        let most = own.max(limits.burst_streams);
        let below = |most: usize| move |open: usize| (open < most).then_some(open + 1);
        let open = self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, below(most)).ok()?;
        let number = self.opened.fetch_add(1, Ordering::AcqRel);
        let mut place = StreamPlace { peer: Arc::clone(self), further: None, number, own };
        if open >= own {
            // Where there is none, dropping the place gives back what was taken.
            if !further.take(open - own, limits.further_streams) {
                return None;
            }
            place.further = Some(Arc::clone(further));
        }
        Some(place)
    }
}

impl FurtherStreams {
    /// One more place for a peer that has `held` of them.
    fn take(&self, held: usize, all: usize) -> bool {
        let one_more = |taken: usize| (held < all.saturating_sub(taken) / PART).then_some(taken + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }
}

impl StreamPlace {
    /// Whether the peer has since opened as many as it has anyway: it does not need this one.
    pub(super) fn is_superseded(&self) -> bool {
        let newer = self.peer.opened.load(Ordering::Acquire).saturating_sub(self.number + 1);
        usize::try_from(newer).unwrap_or(usize::MAX) >= self.own
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.peer.open.fetch_sub(1, Ordering::AcqRel);
        if let Some(further) = &self.further {
            further.0.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> MixLimits {
        MixLimits { inbound_streams: 10, burst_streams: 256, further_streams: 4096, ..MixLimits::default() }
    }

    fn take_all(further: &Arc<FurtherStreams>) -> Vec<StreamPlace> {
        let peer = Arc::default();
        std::iter::from_fn(|| PeerStreams::take(&peer, further, &limits())).collect()
    }

    #[test]
    fn a_burst_finds_places_and_a_crowd_leaves_some_for_the_next() {
        let further = Arc::default();
        let crowd: Vec<_> = (0..100).map(|_| take_all(&further)).collect();
        assert_eq!(crowd[0].len(), 256);
        assert!(crowd.is_sorted_by(|one, next| one.len() >= next.len()));
        // A quarter of the free places each: 4096 · (3/4)^n are free after n of them.
        assert!(crowd[99].len() >= 10, "{}", crowd[99].len());
        assert!(further.0.load(Ordering::Relaxed) <= 4096);
        drop(crowd);
        assert_eq!(further.0.load(Ordering::Relaxed), 0);
        assert_eq!(take_all(&further).len(), 256);
    }

    #[test]
    fn the_ten_newest_streams_are_not_superseded() {
        let places = take_all(&Arc::default());
        assert_eq!(places.iter().filter(|place| !place.is_superseded()).count(), 10);
        assert!(places[..246].iter().all(StreamPlace::is_superseded));
    }
}
