//! Whom to ask for what, and when. No I/O: moments, randomness and outcomes come in.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rand::{
    Rng, RngExt as _,
    seq::{IndexedRandom as _, SliceRandom as _},
};
use tokio::time::Instant;
use wakumix_records::descriptor::{MAX_DESCRIPTORS, Request};

use super::shelf::{Known, Shelf};
use crate::entry::PeerAddress;

/// Samples in a row without news after which the net counts as known.
pub(super) const QUIET_SAMPLES: u32 = 3;
/// Samples at the quick pace at most; a net of 1000 nodes is known after some 250 of 32 drawn at random.
const MAX_QUICK_SAMPLES: u32 = 256;
/// Between two samples until the net is known. Every wait is drawn between half of its value and the whole.
const QUICK_PAUSE: Duration = Duration::from_secs(2);
/// Between two samples afterwards.
const SLOW_PAUSE: Duration = Duration::from_secs(600);
/// The wait after the first failure of a peer; it doubles up to [`LONGEST_BACK_OFF`].
const FIRST_BACK_OFF: Duration = Duration::from_secs(5);
/// The longest wait after a failure.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30 * 60);
/// The wait after a peer has said that it does not speak the protocol; it may be updated.
const UNSUPPORTED_PAUSE: Duration = Duration::from_secs(6 * 60 * 60);
/// What such a peer counts as: it is asked itself, for it has not been silent.
const UNSUPPORTED: u32 = 2;
/// The wait after an answer that did not bring what was wanted.
const ANSWERED_PAUSE: Duration = Duration::from_secs(10 * 60);
/// Peers whose last answer is remembered; while all of them are to be left alone, nobody new is asked. As many as the
/// directory holds by default.
const MAX_ATTEMPTS: usize = 16_384;

/// One request to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) peer: PeerId,
    /// Where it is; empty for connected peers.
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) request: Request,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With good descriptors of these peers, so many of whom were new.
    Answered { told: HashSet<PeerId>, news: usize },
    /// The peer does not speak the protocol.
    Unsupported,
    /// The peer did not answer.
    Failed,
    /// The host was too busy to ask.
    NotAsked,
}

/// What is remembered of asking one peer.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    again: Instant,
    failures: u32,
}

/// Decides whom to ask. All of its state is ephemeral.
#[derive(Debug)]
pub(super) struct Asker {
    me: PeerId,
    entries: VecDeque<PeerAddress>,
    /// Peers that are being asked.
    open: HashSet<PeerId>,
    attempts: HashMap<PeerId, Attempt>,
    /// Mix nodes that are to be asked for their own descriptors.
    direct: Vec<Known>,
    /// Mix nodes that did not answer: others are asked for their descriptors.
    by_name: Vec<PeerId>,
    quiet: u32,
    samples: u32,
    next_sample: Instant,
}

impl Asker {
    pub(super) fn new(me: PeerId, entries: Vec<PeerAddress>, now: Instant) -> Self {
        Self {
            me,
            entries: entries.into(),
            open: HashSet::new(),
            attempts: HashMap::new(),
            direct: Vec::new(),
            by_name: Vec::new(),
            quiet: 0,
            samples: 0,
            next_sample: now,
        }
    }

    /// This node.
    pub(super) fn me(&self) -> PeerId {
        self.me
    }

    /// Whether samples still bring news.
    pub(super) fn is_growing(&self) -> bool {
        self.quiet < QUIET_SAMPLES && self.samples < MAX_QUICK_SAMPLES
    }

    /// Draws up anew which mix nodes are to be asked about.
    pub(super) fn plan(&mut self, now: Instant, shelf: &Shelf, rng: &mut impl Rng) {
        let due = shelf.wanted().iter().filter(|node| node.peer != self.me && self.is_due(&node.peer, now));
        let (by_name, direct): (Vec<_>, Vec<_>) = due.cloned().partition(|node| self.failures(&node.peer) % 2 == 1);
        self.direct = direct;
        self.direct.shuffle(rng);
        self.by_name = by_name.into_iter().map(|node| node.peer).collect();
        self.by_name.shuffle(rng);
    }

    /// The next request, if there is one to be made now.
    pub(super) fn next(&mut self, now: Instant, speakers: &[PeerId], shelf: &Shelf, rng: &mut impl Rng) -> Option<Ask> {
        let ask = self
            .entry(now)
            .or_else(|| self.newcomer(speakers))
            .or_else(|| self.sample(now, speakers, shelf, rng))
            .or_else(|| self.named(now, speakers, shelf, rng))
            .or_else(|| self.direct(now))?;
        let has_room = self.has_room(&ask.peer, now);
        (has_room && self.open.insert(ask.peer)).then_some(ask)
    }

    /// Entries of the configuration until each has answered.
    fn entry(&mut self, now: Instant) -> Option<Ask> {
        let place = self.entries.iter().position(|entry| entry.peer != self.me && self.is_due(&entry.peer, now))?;
        let entry = self.entries.remove(place)?;
        self.entries.push_back(entry.clone());
        Some(Ask { peer: entry.peer, addresses: vec![entry.address], request: Request::Sample(MAX_DESCRIPTORS) })
    }

    /// Connected peers that were never asked.
    fn newcomer(&self, speakers: &[PeerId]) -> Option<Ask> {
        let was_asked = |peer: &PeerId| self.open.contains(peer) || self.attempts.contains_key(peer);
        let peer = *speakers.iter().find(|peer| !was_asked(peer))?;
        let request = if self.is_growing() { Request::Sample(MAX_DESCRIPTORS) } else { Request::Own };
        Some(Ask { peer, addresses: Vec::new(), request })
    }

    fn sample(&mut self, now: Instant, speakers: &[PeerId], shelf: &Shelf, rng: &mut impl Rng) -> Option<Ask> {
        if self.next_sample > now {
            return None;
        }
        let Known { peer, addresses } = self.anybody(now, speakers, shelf, rng)?;
        self.next_sample = now + jittered(if self.is_growing() { QUICK_PAUSE } else { SLOW_PAUSE }, rng);
        Some(Ask { peer, addresses, request: Request::Sample(MAX_DESCRIPTORS) })
    }

    fn named(&mut self, now: Instant, speakers: &[PeerId], shelf: &Shelf, rng: &mut impl Rng) -> Option<Ask> {
        if self.by_name.is_empty() {
            return None;
        }
        let Known { peer, addresses } = self.anybody(now, speakers, shelf, rng)?;
        let left = self.by_name.len().saturating_sub(MAX_DESCRIPTORS);
        let peers = self.by_name.split_off(left);
        Some(Ask { peer, addresses, request: Request::Peers(peers) })
    }

    fn direct(&mut self, now: Instant) -> Option<Ask> {
        while let Some(Known { peer, addresses }) = self.direct.pop() {
            if self.is_due(&peer, now) {
                return Some(Ask { peer, addresses, request: Request::Own });
            }
        }
        None
    }

    /// A connected speaker or a node with a descriptor, as often the one as the other: whoever opens many connections to
    /// this node does not decide alone what it learns. `None` if the one that was drawn is to be left alone now.
    fn anybody(&self, now: Instant, speakers: &[PeerId], shelf: &Shelf, rng: &mut impl Rng) -> Option<Known> {
        let connected = speakers.choose(rng).map(|peer| Known { peer: *peer, addresses: Vec::new() });
        let held = shelf.anybody(rng);
        let chosen = if rng.random_bool(0.5) { connected.or(held) } else { held.or(connected) };
        chosen.filter(|Known { peer, .. }| {
            let may_help = self.failures(peer) == 0 || self.is_due(peer, now);
            may_help && *peer != self.me && !self.open.contains(peer)
        })
    }

    /// Learns from how a request ended.
    pub(super) fn note(&mut self, ask: &Ask, outcome: &Outcome, now: Instant, rng: &mut impl Rng) {
        self.open.remove(&ask.peer);
        match outcome {
            Outcome::Answered { told, news } => {
                self.entries.retain(|entry| entry.peer != ask.peer);
                self.set(ask.peer, now + jittered(ANSWERED_PAUSE, rng), 0);
                self.note_answer(&ask.request, told, *news, now, rng);
            }
            Outcome::Unsupported => self.set(ask.peer, now + jittered(UNSUPPORTED_PAUSE, rng), UNSUPPORTED),
            Outcome::Failed => self.fail(ask.peer, now, rng),
            Outcome::NotAsked => self.set(ask.peer, now + jittered(FIRST_BACK_OFF, rng), self.failures(&ask.peer)),
        }
    }

    fn note_answer(
        &mut self,
        request: &Request,
        told: &HashSet<PeerId>,
        news: usize,
        now: Instant,
        rng: &mut impl Rng,
    ) {
        match request {
            Request::Own => {}
            Request::Sample(_) => {
                self.samples = self.samples.saturating_add(1);
                self.quiet = if news == 0 { self.quiet.saturating_add(1) } else { 0 };
            }
            Request::Peers(peers) => {
                for peer in peers.iter().filter(|peer| !told.contains(peer)) {
                    self.fail(*peer, now, rng);
                }
            }
        }
    }

    /// Whether nobody is asking the peer and it need not be left alone.
    fn is_due(&self, peer: &PeerId, now: Instant) -> bool {
        !self.open.contains(peer) && self.attempts.get(peer).is_none_or(|attempt| attempt.again <= now)
    }

    fn failures(&self, peer: &PeerId) -> u32 {
        self.attempts.get(peer).map_or(0, |attempt| attempt.failures)
    }

    fn fail(&mut self, peer: PeerId, now: Instant, rng: &mut impl Rng) {
        let failures = self.failures(&peer);
        let back_off = FIRST_BACK_OFF.saturating_mul(1 << failures.min(16)).min(LONGEST_BACK_OFF);
        self.set(peer, now + jittered(back_off, rng), failures.saturating_add(1));
    }

    /// Whether the outcome of asking this peer can be remembered.
    fn has_room(&mut self, peer: &PeerId, now: Instant) -> bool {
        if self.attempts.len() >= MAX_ATTEMPTS {
            self.attempts.retain(|_, attempt| attempt.again > now);
        }
        self.attempts.len() < MAX_ATTEMPTS || self.attempts.contains_key(peer)
    }

    fn set(&mut self, peer: PeerId, again: Instant, failures: u32) {
        if self.attempts.len() < MAX_ATTEMPTS || self.attempts.contains_key(&peer) {
            self.attempts.insert(peer, Attempt { again, failures });
        }
    }
}

/// Between half of a time and the whole.
fn jittered(time: Duration, rng: &mut impl Rng) -> Duration {
    time.mul_f64(rng.random_range(0.5..1.0))
}
