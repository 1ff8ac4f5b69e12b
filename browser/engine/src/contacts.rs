//! Which peers the page is connected to, and which it dials: guards, nodes that may become guards, and bootstrap peers.
//!
//! | peer | dialled when |
//! |---|---|
//! | guard in use | it is not connected |
//! | mix node with a WebSocket address | it was not reached yet, until [`CHECKED`] were: guards are drawn from what can be reached |
//! | bootstrap peer | the pool is too small and no peer is connected that could tell of others |
//!
//! What fails is tried again after a pause that doubles.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use libp2p_identity::PeerId;

use crate::pool::Seen;

/// Nodes that are reached before guards are taken from them as they are: twice the smallest sample.
pub(crate) const CHECKED: usize = 12;
/// Peers that are dialled at a time.
const DIALLING: usize = 4;
/// The first pause after a failure; it doubles, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a dial may take before another is begun in its place; the page gives up sooner.
const DIAL_LIMIT: Duration = Duration::from_secs(30);

/// What is known of connections to peers. Bound: the peers of the pool and of the bootstrap list; others are not kept but for
/// being connected.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    connected: BTreeSet<PeerId>,
    contacts: BTreeMap<PeerId, Contact>,
}

/// One peer. Ephemeral.
#[derive(Debug, Default)]
struct Contact {
    is_reached: bool,
    failures: u32,
    /// Not to be dialled before.
    paused_until: Duration,
    /// Being dialled since.
    dialled: Option<Duration>,
    /// The engine had it dialled, and the connection is still that one.
    is_ours: bool,
}

impl Contacts {
    pub(crate) fn connected(&self) -> &BTreeSet<PeerId> {
        &self.connected
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.contains(peer)
    }

    /// A connection has come about.
    pub(crate) fn connect(&mut self, peer: PeerId) {
        self.connected.insert(peer);
        let contact = self.contacts.entry(peer).or_default();
        contact.is_ours = contact.dialled.take().is_some();
        contact.is_reached = true;
        contact.failures = 0;
    }

    /// The last connection is gone.
    pub(crate) fn disconnect(&mut self, peer: &PeerId) {
        self.connected.remove(peer);
        if let Some(contact) = self.contacts.get_mut(peer) {
            contact.is_ours = false;
        }
    }

    /// A dial has failed.
    pub(crate) fn fail(&mut self, peer: &PeerId, now: Duration) {
        let Some(contact) = self.contacts.get_mut(peer) else { return };
        contact.dialled = None;
        let pause = FIRST_PAUSE.saturating_mul(1 << contact.failures.min(5)).min(LONGEST_PAUSE);
        contact.failures = contact.failures.saturating_add(1);
        contact.paused_until = now.saturating_add(pause);
    }

    /// The network is back: no pause counts any more.
    pub(crate) fn forgive(&mut self) {
        for contact in self.contacts.values_mut() {
            (contact.failures, contact.paused_until) = (0, Duration::ZERO);
        }
    }

    /// What the pool is to know of a peer.
    pub(crate) fn seen(&self, peer: &PeerId) -> Seen {
        let Some(contact) = self.contacts.get(peer) else { return Seen::default() };
        let is_connected = self.is_connected(peer);
        Seen { is_reached: contact.is_reached, has_failed: !is_connected && contact.failures > 0 }
    }

    /// Whether a peer may be dialled now: it is not connected, not being dialled, and no pause holds it back.
    pub(crate) fn may_dial(&self, peer: &PeerId, now: Duration) -> bool {
        let is_free = |contact: &Contact| contact.dialled.is_none() && contact.paused_until <= now;
        !self.is_connected(peer) && self.dialling() < DIALLING && self.contacts.get(peer).is_none_or(is_free)
    }

    /// A peer is being dialled from now on.
    pub(crate) fn dial(&mut self, peer: PeerId, now: Duration) {
        self.contacts.entry(peer).or_default().dialled = Some(now);
    }

    /// How many are being dialled.
    pub(crate) fn dialling(&self) -> usize {
        self.contacts.values().filter(|contact| contact.dialled.is_some()).count()
    }

    /// Peers that the engine had dialled, that are connected and not among these.
    pub(crate) fn only_looked_at(&self, keep: &[PeerId]) -> Vec<PeerId> {
        let is_spare =
            |peer: &&PeerId| self.contacts.get(peer).is_some_and(|contact| contact.is_ours) && !keep.contains(peer);
        self.connected.iter().filter(is_spare).copied().collect()
    }

    /// The connection to a peer is being closed.
    pub(crate) fn hang_up(&mut self, peer: &PeerId) {
        if let Some(contact) = self.contacts.get_mut(peer) {
            contact.is_ours = false;
        }
    }

    /// Drops what is known of peers that nobody needs, and dials that have gone on for too long; whether there were any.
    pub(crate) fn expire(&mut self, is_needed: impl Fn(&PeerId) -> bool, now: Duration) -> bool {
        let connected = &self.connected;
        self.contacts.retain(|peer, _| connected.contains(peer) || is_needed(peer));
        let is_late = |contact: &Contact| contact.dialled.is_some_and(|since| now.saturating_sub(since) >= DIAL_LIMIT);
        let late: Vec<_> =
            self.contacts.iter().filter(|(_, contact)| is_late(contact)).map(|(peer, _)| *peer).collect();
        late.iter().for_each(|peer| self.fail(peer, now));
        !late.is_empty()
    }

    /// When the next pause, or the next dial, ends.
    pub(crate) fn next_wake(&self, now: Duration) -> Option<Duration> {
        let ends = |(peer, contact): (&PeerId, &Contact)| match contact.dialled {
            Some(since) => Some(since.saturating_add(DIAL_LIMIT)),
            None => Some(contact.paused_until).filter(|until| *until > now && !self.is_connected(peer)),
        };
        self.contacts.iter().filter_map(ends).min()
    }
}
