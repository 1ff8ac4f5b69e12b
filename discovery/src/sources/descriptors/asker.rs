//! Which peers to ask for which descriptors, and when. No I/O: moments, randomness and outcomes come in.

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

use super::store::{DescriptorStore, KeyRollover, Known, ROLLOVER_PAUSE};
use crate::{clock::Now, entry::PeerAddress, peer_report::UnixSeconds};

/// Samples in a row without news after which the net counts as known. News and newcomers begin the count anew.
pub(super) const QUIET_SAMPLES: u32 = 3;
/// Samples at the quick pace at most; a net of 1000 nodes is known after some 250 of 32 drawn at random. Each later one
/// gives one back, so that whoever always tells news, or comes again and again, gains nothing in the long run.
const MAX_QUICK_SAMPLES: u32 = 256;
/// Between two samples until the net is known; afterwards it doubles. Every wait is drawn between half of its value and
/// the whole.
const QUICK_PAUSE: Duration = Duration::from_secs(2);
/// The longest wait between two samples while a mix node is known and its key is not.
const SEARCH_PAUSE: Duration = Duration::from_secs(30);
/// The longest wait between two samples.
const SLOW_PAUSE: Duration = Duration::from_secs(600);
/// The wait after the first failure of a peer; it doubles up to [`LONGEST_BACK_OFF`].
const FIRST_BACK_OFF: Duration = Duration::from_secs(5);
/// The longest wait after a failure.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30 * 60);
/// The wait after a peer has said that it does not speak the protocol; it may be updated.
const UNSUPPORTED_PAUSE: Duration = Duration::from_secs(6 * 60 * 60);
/// What such a peer counts as: it is asked itself, for it has not been silent.
const UNSUPPORTED: u32 = 2;
/// The wait after the first answer of a peer; it doubles up to [`LONGEST_REVISIT`]. A node that has just started answers
/// before its roles are ready and its addresses known, and has no descriptor, or one that does not tell all.
const FIRST_REVISIT: Duration = Duration::from_secs(3);
/// The longest wait after an answer.
const LONGEST_REVISIT: Duration = Duration::from_secs(10 * 60);
/// Nodes asked for this reason between two looks at what is known, those first that have waited longest: 1000 nodes that
/// rotate every minute are 17 per second, a look is a second or more.
const TURNS_A_LOOK: usize = 64;
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
    /// With valid descriptors of these peers, so many of which were new.
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
    /// In a row, and answers since then.
    failures: u32,
    answers: u32,
    /// The last change of its key after which it was asked.
    turn: UnixSeconds,
}

/// Connected peers that can be asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// All of them.
    pub(super) connected: Vec<PeerId>,
    /// Those that this node has dialled itself.
    pub(super) reached: Vec<PeerId>,
}

/// Decides which peers to ask. All of its state is ephemeral.
#[derive(Debug)]
pub(super) struct Asker {
    me: PeerId,
    entries: VecDeque<PeerAddress>,
    /// Peers that are being asked.
    open: HashSet<PeerId>,
    attempts: HashMap<PeerId, Attempt>,
    /// Mix nodes that are to be asked for their own descriptors.
    direct: Vec<Known>,
    /// Pool nodes that are to be asked because their key has changed, or is about to, with the moment to ask at. The
    /// earliest stands last.
    turning: Vec<(Instant, KeyRollover)>,
    /// Mix nodes that did not answer: others are asked for their descriptors.
    by_name: Vec<PeerId>,
    /// Connected peers that were there before. No more than there are protocol_peers.
    met: HashSet<PeerId>,
    quiet: u32,
    quick_samples: u32,
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
            turning: Vec::new(),
            by_name: Vec::new(),
            met: HashSet::new(),
            quiet: 0,
            quick_samples: 0,
            next_sample: now,
        }
    }

    /// This node.
    pub(super) fn me(&self) -> PeerId {
        self.me
    }

    /// Whether samples still bring news.
    pub(super) fn is_growing(&self) -> bool {
        self.quiet < QUIET_SAMPLES && self.quick_samples < MAX_QUICK_SAMPLES
    }

    /// Draws up anew which mix nodes are to be asked about.
    pub(super) fn plan(&mut self, now: Now, store: &DescriptorStore, rng: &mut impl Rng) {
        let due = store.wanted().iter().filter(|node| node.peer != self.me && self.is_due(&node.peer, now.at));
        let (by_name, direct): (Vec<_>, Vec<_>) = due.cloned().partition(|node| self.failures(&node.peer) % 2 == 1);
        self.direct = direct;
        self.direct.shuffle(rng);
        self.by_name = by_name.into_iter().map(|node| node.peer).collect();
        self.by_name.shuffle(rng);
        let is_new = |turn: &&KeyRollover| turn.node.peer != self.me && self.is_new_turn(turn);
        let turns = store.turns().iter().filter(is_new);
        self.turning = turns.map(|turn| (time_to_ask(turn, now, rng), turn.clone())).collect();
        self.turning.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        self.turning.drain(..self.turning.len().saturating_sub(TURNS_A_LOOK));
    }

    /// Whether a node has not been asked since this change of its key. One that did not answer is asked again at the pace
    /// of failures.
    fn is_new_turn(&self, turn: &KeyRollover) -> bool {
        self.attempts.get(&turn.node.peer).is_none_or(|attempt| attempt.failures == 0 && attempt.turn < turn.at)
    }

    /// The next request, if there is one to be made now.
    pub(super) fn next(
        &mut self,
        now: Instant,
        protocol_peers: &Asked,
        store: &DescriptorStore,
        rng: &mut impl Rng,
    ) -> Option<Ask> {
        self.meet(&protocol_peers.connected);
        let ask = self
            .entry(now)
            .or_else(|| self.newcomer(protocol_peers, store))
            .or_else(|| self.turning(now))
            .or_else(|| self.sample(now, protocol_peers, store, rng))
            .or_else(|| self.named(now, protocol_peers, store, rng))
            .or_else(|| self.direct(now))
            .or_else(|| self.revisit(now, &protocol_peers.connected))?;
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

    /// Forgets what was before a connection: who comes back may have started anew.
    fn meet(&mut self, protocol_peers: &[PeerId]) {
        for peer in protocol_peers.iter().filter(|peer| !self.met.contains(peer)) {
            self.attempts.remove(peer);
        }
        self.met = protocol_peers.iter().copied().collect();
    }

    /// Connected peers that were not asked since they came. They may know others; those that dialled in are asked for that
    /// only while nobody was reached.
    fn newcomer(&mut self, protocol_peers: &Asked, store: &DescriptorStore) -> Option<Ask> {
        let was_asked = |peer: &PeerId| self.open.contains(peer) || self.attempts.contains_key(peer);
        let peer = *protocol_peers.connected.iter().find(|peer| !was_asked(peer))?;
        let may_tell =
            protocol_peers.reached.contains(&peer) || (protocol_peers.reached.is_empty() && !store.has_reached());
        if may_tell {
            self.quiet = self.quiet.min(QUIET_SAMPLES - 1);
        }
        let request = if may_tell && self.is_growing() { Request::Sample(MAX_DESCRIPTORS) } else { Request::Own };
        Some(Ask { peer, addresses: Vec::new(), request })
    }

    /// Connected peers whose last answer was a while ago.
    fn revisit(&self, now: Instant, protocol_peers: &[PeerId]) -> Option<Ask> {
        let peer = *protocol_peers.iter().find(|peer| self.is_due(peer, now))?;
        Some(Ask { peer, addresses: Vec::new(), request: Request::Own })
    }

    fn sample(
        &mut self,
        now: Instant,
        protocol_peers: &Asked,
        store: &DescriptorStore,
        rng: &mut impl Rng,
    ) -> Option<Ask> {
        if self.next_sample > now {
            return None;
        }
        let Known { peer, addresses } = self.anybody(now, protocol_peers, store, rng)?;
        self.next_sample = now + jittered(self.pause(store), rng);
        Some(Ask { peer, addresses, request: Request::Sample(MAX_DESCRIPTORS) })
    }

    /// Between two samples.
    fn pause(&self, store: &DescriptorStore) -> Duration {
        if self.quick_samples >= MAX_QUICK_SAMPLES {
            return SLOW_PAUSE;
        }
        let longest = if store.misses_keys() { SEARCH_PAUSE } else { SLOW_PAUSE };
        doubled(QUICK_PAUSE, (self.quiet + 1).saturating_sub(QUIET_SAMPLES), longest)
    }

    fn named(
        &mut self,
        now: Instant,
        protocol_peers: &Asked,
        store: &DescriptorStore,
        rng: &mut impl Rng,
    ) -> Option<Ask> {
        if self.by_name.is_empty() {
            return None;
        }
        let Known { peer, addresses } = self.anybody(now, protocol_peers, store, rng)?;
        let left = self.by_name.len().saturating_sub(MAX_DESCRIPTORS);
        let peers = self.by_name.split_off(left);
        Some(Ask { peer, addresses, request: Request::Peers(peers) })
    }

    /// The node whose key has changed longest ago. If there is no answer, or still the old one, it is asked again as others
    /// are whose descriptor is old, but soon.
    fn turning(&mut self, now: Instant) -> Option<Ask> {
        while let Some((_, turn)) = self.turning.pop_if(|(at, _)| *at <= now) {
            let KeyRollover { node: Known { peer, addresses }, at, .. } = turn;
            if !self.open.contains(&peer) {
                self.set(peer, Attempt { again: now + FIRST_REVISIT, failures: 0, answers: 0, turn: at });
                return Some(Ask { peer, addresses, request: Request::Own });
            }
        }
        None
    }

    fn direct(&mut self, now: Instant) -> Option<Ask> {
        while let Some(Known { peer, addresses }) = self.direct.pop() {
            if self.is_due(&peer, now) {
                return Some(Ask { peer, addresses, request: Request::Own });
            }
        }
        None
    }

    /// A connected speaker or a node with a descriptor, as often the one as the other, of those that this node has reached:
    /// whoever opens many connections to this node, or is reported by many, does not decide what it learns. Others are asked
    /// while there is none of these. `None` if the one that was drawn is to be left alone now.
    fn anybody(
        &self,
        now: Instant,
        protocol_peers: &Asked,
        store: &DescriptorStore,
        rng: &mut impl Rng,
    ) -> Option<Known> {
        let connected = |peer: &PeerId| Known { peer: *peer, addresses: Vec::new() };
        let (near, held) = (protocol_peers.reached.choose(rng).map(connected), store.reached(rng));
        let chosen = if rng.random_bool(0.5) { near.or(held) } else { held.or(near) };
        let chosen = chosen.or_else(|| {
            let (near, held) = (protocol_peers.connected.choose(rng).map(connected), store.untried(rng));
            if rng.random_bool(0.5) { near.or(held) } else { held.or(near) }
        });
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
                self.succeed(ask.peer, now, rng);
                self.note_answer(&ask.request, told, *news, now, rng);
            }
            Outcome::Unsupported => {
                let again = now + jittered(UNSUPPORTED_PAUSE, rng);
                self.set(ask.peer, Attempt { again, failures: UNSUPPORTED, answers: 0, ..self.last(&ask.peer, now) });
            }
            Outcome::Failed => self.fail(ask.peer, now, rng),
            Outcome::NotAsked => {
                let again = now + jittered(FIRST_BACK_OFF, rng);
                self.set(ask.peer, Attempt { again, ..self.last(&ask.peer, now) });
            }
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
            Request::Sample(_) => self.note_sample(news, now, rng),
            Request::Peers(peers) => {
                for peer in peers.iter().filter(|peer| !told.contains(peer)) {
                    self.fail(*peer, now, rng);
                }
            }
        }
    }

    fn note_sample(&mut self, news: usize, now: Instant, rng: &mut impl Rng) {
        let has_spent_all = self.quick_samples >= MAX_QUICK_SAMPLES;
        let is_quick = self.is_growing();
        self.quick_samples = if is_quick { self.quick_samples + 1 } else { self.quick_samples.saturating_sub(1) };
        self.quiet = if news == 0 { self.quiet.saturating_add(1) } else { 0 };
        if self.is_growing() && !has_spent_all {
            self.next_sample = self.next_sample.min(now + jittered(QUICK_PAUSE, rng));
        }
    }

    /// Whether nobody is asking the peer and it need not be left alone.
    fn is_due(&self, peer: &PeerId, now: Instant) -> bool {
        !self.open.contains(peer) && self.attempts.get(peer).is_none_or(|attempt| attempt.again <= now)
    }

    /// What is remembered of asking a peer, if anything is.
    fn last(&self, peer: &PeerId, now: Instant) -> Attempt {
        let nothing = Attempt { again: now, failures: 0, answers: 0, turn: 0 };
        self.attempts.get(peer).copied().unwrap_or(nothing)
    }

    fn failures(&self, peer: &PeerId) -> u32 {
        self.attempts.get(peer).map_or(0, |attempt| attempt.failures)
    }

    fn fail(&mut self, peer: PeerId, now: Instant, rng: &mut impl Rng) {
        let failures = self.failures(&peer);
        let back_off = doubled(FIRST_BACK_OFF, failures, LONGEST_BACK_OFF);
        let again = now + jittered(back_off, rng);
        self.set(peer, Attempt { again, failures: failures.saturating_add(1), answers: 0, ..self.last(&peer, now) });
    }

    /// Plans when to ask the peer about itself again. An answer in between does not put that off.
    fn succeed(&mut self, peer: PeerId, now: Instant, rng: &mut impl Rng) {
        let before = self.attempts.get(&peer).filter(|attempt| attempt.failures == 0);
        if before.is_some_and(|attempt| attempt.again > now) {
            return;
        }
        let answers = before.map_or(0, |attempt| attempt.answers);
        let again = now + jittered(doubled(FIRST_REVISIT, answers, LONGEST_REVISIT), rng);
        self.set(peer, Attempt { again, failures: 0, answers: answers.saturating_add(1), ..self.last(&peer, now) });
    }

    /// Whether the outcome of asking this peer can be remembered.
    fn has_room(&mut self, peer: &PeerId, now: Instant) -> bool {
        if self.attempts.len() >= MAX_ATTEMPTS {
            self.attempts.retain(|_, attempt| attempt.again > now);
        }
        self.attempts.len() < MAX_ATTEMPTS || self.attempts.contains_key(peer)
    }

    fn set(&mut self, peer: PeerId, attempt: Attempt) {
        if self.attempts.len() < MAX_ATTEMPTS || self.attempts.contains_key(&peer) {
            self.attempts.insert(peer, attempt);
        }
    }
}

/// When to ask after a change of key: a while after it, at a moment that is each reader's own, or now if that is past.
fn time_to_ask(turn: &KeyRollover, now: Now, rng: &mut impl Rng) -> Instant {
    let pause =
        Duration::from_secs(ROLLOVER_PAUSE) + Duration::from_secs(turn.spread).mul_f64(rng.random_range(0.0..1.0));
    let due = Duration::from_secs(turn.at).saturating_add(pause);
    let wait = due.saturating_sub(Duration::from_secs(now.unix));
    // So far off that this machine cannot tell it is never within one look.
    now.at.checked_add(wait).unwrap_or(now.at + LONGEST_REVISIT)
}

/// A wait that doubles so often, up to the longest.
fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}

/// Between half of a time and the whole.
fn jittered(time: Duration, rng: &mut impl Rng) -> Duration {
    time.mul_f64(rng.random_range(0.5..1.0))
}
