//! Loop cover: packets that this node sends to itself through two others (`spec/mix-wire.md §16`).
//!
//! A loop is built like a request, with the same length and delays, and its body is nwaku's cover: the codec and random
//! bytes. The first 16 of those are its [`LoopId`], which nobody but this node ever sees: they lie inside the innermost
//! layer. So a loop that comes back is known for one's own, and how long it took.
//!
//! The reference sends on a fixed grid, which sets its cover apart from everything else that leaves a node (§21 W12). Here
//! the [`gap`] between two loops is exponential: a Poisson process, which adds to the requests of users without a seam.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use libp2p_identity::PeerId;
use rand_core::CryptoRng;

use crate::message::MixMessage;
use crate::{COVER_CODEC, random};

/// Bytes of a [`LoopId`]: none is guessed or drawn twice.
pub const LOOP_ID_LEN: usize = 16;

/// The time until the next loop, exponential with this mean; at most 37 means, what 52 random bits can say.
#[must_use]
pub fn gap<R: CryptoRng + ?Sized>(rng: &mut R, mean: Duration) -> Duration {
    mean.mul_f64(-libm::log(random::open_unit(rng)))
}

/// What tells one's own loops from each other and from the cover of others.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoopId([u8; LOOP_ID_LEN]);

/// What the body of a packet that is cover says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoverBody {
    /// The id, if the packet has room for one. Whether it is one's own is for [`LoopsInFlight`] to say.
    pub id: Option<LoopId>,
}

impl CoverBody {
    /// Reads a body; `None` if it is no cover.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let MixMessage { codec, rest } = MixMessage::decode(body).ok()?;
        (codec == COVER_CODEC.as_bytes()).then(|| Self { id: rest.first_chunk().copied().map(LoopId) })
    }
}

wakumix_sphinx::redacted!(LoopId);

/// A loop on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentLoop {
    /// The nodes that it passes, the first of them first.
    pub hops: Vec<PeerId>,
    /// When it was sent.
    pub sent_at: Duration,
    /// Whether its first hop has taken it: before that, nobody on its way can have lost it.
    pub has_left: bool,
}

/// The loops that are on their way, in memory only: those that a restart forgets come back as cover of nobody.
#[derive(Debug)]
pub struct LoopsInFlight {
    limits: LoopLimits,
    loops: HashMap<LoopId, SentLoop>,
    /// Ids in the order of sending, those that have come back included.
    order: VecDeque<(Duration, LoopId)>,
}

/// Bounds of [`LoopsInFlight`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopLimits {
    /// Loops on their way; beyond it no more are sent.
    pub loops: usize,
    /// After this time a loop is lost.
    pub response_timeout: Duration,
}

/// As many loops are on their way as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many loops are on their way")]
pub struct TooManyLoops;

impl LoopsInFlight {
    /// None.
    #[must_use]
    pub fn new(limits: LoopLimits) -> Self {
        Self { limits, loops: HashMap::new(), order: VecDeque::new() }
    }

    /// Enters a loop before it is sent.
    ///
    /// # Errors
    /// [`TooManyLoops`].
    pub fn send(&mut self, id: LoopId, sent: SentLoop) -> Result<(), TooManyLoops> {
        if self.order.len() >= self.limits.loops {
            return Err(TooManyLoops);
        }
        self.order.push_back((sent.sent_at, id));
        self.loops.insert(id, sent);
        Ok(())
    }

    /// The first hop of a loop has taken it.
    pub fn left(&mut self, id: &LoopId) {
        if let Some(sent) = self.loops.get_mut(id) {
            sent.has_left = true;
        }
    }

    /// Takes out a loop that has come back, or that never left. `None` for an id that is not, or no longer, on its way.
    pub fn take(&mut self, id: &LoopId) -> Option<SentLoop> {
        self.loops.remove(id)
    }

    /// Takes out the loops that have been on their way for too long.
    pub fn expire(&mut self, now: Duration) -> Vec<SentLoop> {
        let mut lost = Vec::new();
        while let Some((sent_at, id)) = self.order.front()
            && now.saturating_sub(*sent_at) >= self.limits.response_timeout
        {
            lost.extend(self.loops.remove(id));
            self.order.pop_front();
        }
        lost
    }

    /// When the next loop may be lost; `None` while there is none.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        self.order.front().map(|(sent_at, _)| *sent_at + self.limits.response_timeout)
    }

    /// Loops on their way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.loops.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.loops.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encode_cover;
    use crate::testing::{peer, rng, sphinx};

    const LIMITS: LoopLimits = LoopLimits { loops: 3, response_timeout: Duration::from_secs(10) };

    fn id(n: u8) -> LoopId {
        LoopId([n; LOOP_ID_LEN])
    }

    fn sent(seconds: u64) -> SentLoop {
        SentLoop { hops: vec![peer(1), peer(2)], sent_at: Duration::from_secs(seconds), has_left: false }
    }

    #[test]
    fn gaps_are_those_of_a_poisson_process() {
        let mut rng = rng(3);
        let mean = Duration::from_secs(10);
        let gaps: Vec<_> = (0..40_000).map(|_| gap(&mut rng, mean)).collect();
        let average = gaps.iter().sum::<Duration>() / 40_000;
        // Standard error 0.05 s.
        assert!(average.abs_diff(mean) < Duration::from_millis(250), "{average:?}");
        // Without memory: of those longer than one mean the same share is longer than two, 1/e = 0.368 ± 0.004.
        let longer = |than: u32| gaps.iter().filter(|gap| **gap > mean * than).count() as f64;
        assert!((longer(2) / longer(1) - 0.368).abs() < 0.02);
    }

    #[test]
    fn the_body_of_cover_gives_its_id_and_two_are_never_alike() {
        let ids = [1, 2].map(|seed| CoverBody::read(&encode_cover(&mut rng(seed), &sphinx())).unwrap().id.unwrap());
        assert_ne!(ids[0], ids[1]);
        let body = encode_cover(&mut rng(1), &sphinx());
        assert_eq!(CoverBody::read(&body).unwrap().id, Some(ids[0]));
    }

    #[test]
    fn cover_of_others_may_be_short_and_what_is_no_cover_is_not_read() {
        let mut short = encode_cover(&mut rng(1), &sphinx());
        short.truncate(1 + COVER_CODEC.len() + LOOP_ID_LEN - 1);
        assert_eq!(CoverBody::read(&short), Some(CoverBody { id: None }));
        assert_eq!(CoverBody::read(b"\x05/pingpong"), None);
        assert_eq!(CoverBody::read(b""), None);
    }

    #[test]
    fn a_loop_comes_back_once() {
        let mut loops = LoopsInFlight::new(LIMITS);
        loops.send(id(1), sent(0)).unwrap();
        assert_eq!(loops.take(&id(2)), None);
        assert_eq!(loops.take(&id(1)), Some(sent(0)));
        assert_eq!(loops.take(&id(1)), None);
        assert!(loops.expire(Duration::from_secs(100)).is_empty());
    }

    #[test]
    fn loops_are_lost_in_the_order_of_sending_when_their_time_is_over() {
        let mut loops = LoopsInFlight::new(LIMITS);
        loops.send(id(1), sent(0)).unwrap();
        loops.send(id(2), sent(4)).unwrap();
        loops.left(&id(2));
        assert_eq!(loops.next_expiry(), Some(Duration::from_secs(10)));
        assert!(loops.expire(Duration::from_secs(9)).is_empty());
        assert_eq!(loops.expire(Duration::from_secs(10)), [sent(0)]);
        assert_eq!(loops.expire(Duration::from_secs(20)), [SentLoop { has_left: true, ..sent(4) }]);
        assert_eq!(loops.next_expiry(), None);
    }

    proptest! {
        #[test]
        fn no_more_loops_than_the_bound_are_remembered(steps in prop::collection::vec((0..4_u8, 0..20_u8), 0..60)) {
            let mut loops = LoopsInFlight::new(LIMITS);
            let mut now = Duration::ZERO;
            for (step, n) in steps {
                match step {
                    0 => now += Duration::from_secs(u64::from(n)),
                    1 => drop(loops.take(&id(n))),
                    2 => drop(loops.expire(now)),
                    _ => drop(loops.send(id(n), SentLoop { sent_at: now, ..sent(0) })),
                }
                prop_assert!(loops.order.len() <= LIMITS.loops && loops.len() <= loops.order.len());
            }
        }
    }
}
