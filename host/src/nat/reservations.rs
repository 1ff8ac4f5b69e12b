//! Where this node reserves a place behind a circuit relay, and when it tries again.
//!
//! The library renews a reservation by itself and closes its listener when that fails. Here is decided at which relays to
//! reserve, and what becomes of a lost reservation.

use std::{collections::HashMap, time::Duration};

use libp2p::{Multiaddr, PeerId, core::transport::ListenerId, multiaddr::Protocol};
use tokio::time::Instant;
use wakumix_mix::HopAddress;

use crate::kept::back_off;

/// Reservations at relays that were found. The second one is for the time in which the first is gone.
const MAX_FOUND: usize = 2;

/// Configured relays; further ones are left out with a warning.
const MAX_CONFIGURED: usize = 8;

/// A reservation that lasted this long was a success: the relay is tried again at once.
const LASTING: Duration = Duration::from_secs(60);

/// Addresses that a relay names for itself and are looked at.
const MAX_TOLD: usize = 8;

/// The relays that are known. Bound: `MAX_CONFIGURED` and the connected peers.
#[derive(Debug)]
pub(crate) struct Reservations {
    me: PeerId,
    relays: HashMap<PeerId, Relay>,
}

#[derive(Debug)]
struct Relay {
    /// Where it is, without `/p2p`.
    address: Multiaddr,
    configured: bool,
    connected: bool,
    failures: u32,
    due: Instant,
    held: Option<Held>,
}

/// A reservation that is asked for or granted.
#[derive(Debug)]
struct Held {
    listener: ListenerId,
    granted: Option<Instant>,
    /// What the relay says its addresses are, in the relayed form.
    told: Vec<Multiaddr>,
}

impl Reservations {
    pub(crate) fn new(me: PeerId, configured: &[Multiaddr], now: Instant) -> Self {
        let mut relays = HashMap::new();
        for full in configured {
            let mut address = full.clone();
            let Some(Protocol::P2p(peer)) = address.pop() else {
                tracing::warn!(address = %full, "a relay is left out: its address must end in /p2p/<relay>");
                continue;
            };
            if relays.len() >= MAX_CONFIGURED {
                tracing::warn!(address = %full, "a relay is left out: {MAX_CONFIGURED} are enough");
                continue;
            }
            let relay = Relay { address, configured: true, connected: false, failures: 0, due: now, held: None };
            relays.entry(peer).or_insert(relay);
        }
        Self { me, relays }
    }

    /// A connected peer relays circuits; `addresses` are where it may be dialled, the surest first.
    pub(crate) fn found(&mut self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>, now: Instant) {
        if let Some(relay) = self.relays.get_mut(&peer) {
            relay.connected = true;
            return;
        }
        let address = addresses.into_iter().find(|address| self.fits(&relayed(address.clone(), peer)));
        if let Some(address) = address {
            let relay = Relay { address, configured: false, connected: true, failures: 0, due: now, held: None };
            self.relays.insert(peer, relay);
        }
    }

    /// The last connection to a peer is gone.
    pub(crate) fn lost(&mut self, peer: &PeerId) {
        if let Some(relay) = self.relays.get_mut(peer) {
            relay.connected = false;
        }
        self.relays.retain(|_, relay| relay.configured || relay.connected || relay.held.is_some());
    }

    /// The relays at which to reserve now, each with the address to listen on. `needed` says whether nobody can dial this
    /// node. Each must be followed by [`Self::asked`] or [`Self::refused`].
    pub(crate) fn due(&self, needed: bool, now: Instant) -> Vec<(PeerId, Multiaddr)> {
        let has_configured = self.relays.values().any(|relay| relay.configured);
        let held = self.relays.values().filter(|relay| relay.held.is_some()).count();
        let room = match (has_configured, needed) {
            (true, _) => MAX_CONFIGURED,
            (false, true) => MAX_FOUND.saturating_sub(held),
            (false, false) => 0,
        };
        let is_due = |relay: &Relay| relay.held.is_none() && relay.due <= now && relay.configured == has_configured;
        let mut due: Vec<_> = self.relays.iter().filter(|(_, relay)| is_due(relay)).collect();
        due.sort_by_key(|(_, relay)| relay.failures);
        due.into_iter().take(room).map(|(peer, relay)| (*peer, relayed(relay.address.clone(), *peer))).collect()
    }

    /// The reservations that are no longer needed.
    pub(crate) fn superfluous(&self, needed: bool) -> Vec<ListenerId> {
        let found = self.relays.values().filter(|relay| !relay.configured && !needed);
        found.filter_map(|relay| relay.held.as_ref().map(|held| held.listener)).collect()
    }

    /// A reservation is asked for; its fate is that of the listener.
    pub(crate) fn asked(&mut self, peer: &PeerId, listener: ListenerId) {
        if let Some(relay) = self.relays.get_mut(peer) {
            relay.held = Some(Held { listener, granted: None, told: Vec::new() });
        }
    }

    /// A reservation could not even be asked for.
    pub(crate) fn refused(&mut self, peer: &PeerId, now: Instant) {
        if let Some(relay) = self.relays.get_mut(peer) {
            relay.fail(now);
        }
    }

    /// A relay has granted or renewed a reservation.
    pub(crate) fn granted(&mut self, peer: &PeerId, now: Instant) {
        if let Some(held) = self.relays.get_mut(peer).and_then(|relay| relay.held.as_mut()) {
            held.granted.get_or_insert(now);
        }
    }

    /// A listener has an address; true if it is the listener of a reservation.
    pub(crate) fn told(&mut self, listener: ListenerId, address: &Multiaddr) -> bool {
        let address = without_peer(address, self.me);
        let Some(held) = self.of(listener).and_then(|(_, relay)| relay.held.as_mut()) else { return false };
        if held.told.len() < MAX_TOLD {
            held.told.push(address);
        }
        true
    }

    /// A listener is closed: if it was that of a reservation, it is lost or was refused.
    pub(crate) fn closed(&mut self, listener: ListenerId, now: Instant) {
        let Some((peer, relay)) = self.of(listener) else { return };
        let granted = relay.held.take().and_then(|held| held.granted);
        if granted.is_some_and(|since| now.saturating_duration_since(since) >= LASTING) {
            relay.failures = 0;
        }
        relay.fail(now);
        tracing::debug!(relay = %peer, was_granted = granted.is_some(), "a reservation ended");
        self.relays.retain(|_, relay| relay.configured || relay.connected || relay.held.is_some());
    }

    /// Forgets all relays, since the node stops; the reservations to give up.
    pub(crate) fn end(&mut self) -> Vec<ListenerId> {
        self.relays.drain().filter_map(|(_, relay)| relay.held.map(|held| held.listener)).collect()
    }

    /// The addresses at which others reach this node through its reservations, one a relay, without this node's own id:
    /// the address that this node itself uses if a header can carry it, else the first of the relay's own that one can.
    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        let mut addresses: Vec<_> = self.relays.iter().filter_map(|(peer, relay)| self.address(*peer, relay)).collect();
        addresses.sort();
        addresses
    }

    fn address(&self, peer: PeerId, relay: &Relay) -> Option<Multiaddr> {
        let held = relay.held.as_ref().filter(|held| held.granted.is_some())?;
        let own = relayed(relay.address.clone(), peer);
        let others = held.told.iter().filter(|told| names_relay(told, peer)).cloned();
        std::iter::once(own).chain(others).find(|address| self.fits(address))
    }

    fn fits(&self, address: &Multiaddr) -> bool {
        HopAddress::from_multiaddr(address, self.me).is_ok()
    }

    fn of(&mut self, listener: ListenerId) -> Option<(PeerId, &mut Relay)> {
        let is_it = |relay: &Relay| relay.held.as_ref().is_some_and(|held| held.listener == listener);
        self.relays.iter_mut().find(|(_, relay)| is_it(relay)).map(|(peer, relay)| (*peer, relay))
    }
}

impl Relay {
    fn fail(&mut self, now: Instant) {
        self.due = now + back_off(self.failures);
        self.failures = self.failures.saturating_add(1);
    }
}

fn relayed(address: Multiaddr, relay: PeerId) -> Multiaddr {
    address.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit)
}

fn names_relay(address: &Multiaddr, relay: PeerId) -> bool {
    address.iter().any(|part| part == Protocol::P2p(relay))
}

fn without_peer(address: &Multiaddr, peer: PeerId) -> Multiaddr {
    let mut address = address.clone();
    if address.iter().last() == Some(Protocol::P2p(peer)) {
        address.pop();
    }
    address
}

#[cfg(test)]
mod tests {
    use libp2p::identity::{Keypair, secp256k1};

    use super::*;

    const PLACE: &str = "/ip4/20.1.0.1/tcp/60000";

    fn peer() -> PeerId {
        Keypair::from(secp256k1::Keypair::generate()).public().to_peer_id()
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn found(count: usize, now: Instant) -> (Reservations, Vec<PeerId>) {
        let mut reservations = Reservations::new(peer(), &[], now);
        let relays: Vec<PeerId> = (0..count).map(|_| peer()).collect();
        relays.iter().for_each(|relay| reservations.found(*relay, [address(PLACE)], now));
        (reservations, relays)
    }

    #[test]
    fn reserves_at_two_relays_once_nobody_can_dial_this_node() {
        let now = Instant::now();
        let (mut reservations, _) = found(5, now);
        assert!(reservations.due(false, now).is_empty());
        let due = reservations.due(true, now);
        assert_eq!(due.len(), MAX_FOUND);
        for (relay, on) in due {
            assert_eq!(on, address(&format!("{PLACE}/p2p/{relay}/p2p-circuit")));
            reservations.asked(&relay, ListenerId::next());
        }
        assert!(reservations.due(true, now).is_empty());
        assert!(reservations.addresses().is_empty(), "none is granted yet");
    }

    #[test]
    fn a_granted_reservation_is_told_until_it_ends() {
        let now = Instant::now();
        let (mut reservations, relays) = found(1, now);
        let listener = ListenerId::next();
        reservations.asked(&relays[0], listener);
        reservations.granted(&relays[0], now);
        assert_eq!(reservations.addresses(), [address(&format!("{PLACE}/p2p/{}/p2p-circuit", relays[0]))]);
        reservations.closed(listener, now);
        assert!(reservations.addresses().is_empty());
    }

    #[test]
    fn a_lost_reservation_is_sought_elsewhere_first_and_there_again_later() {
        let now = Instant::now();
        let (mut reservations, relays) = found(3, now);
        let asked: Vec<_> = reservations.due(true, now).into_iter().map(|(relay, _)| relay).collect();
        let listeners = [ListenerId::next(), ListenerId::next()];
        asked.iter().zip(listeners).for_each(|(relay, listener)| reservations.asked(relay, listener));
        reservations.closed(listeners[0], now);
        let next: Vec<_> = reservations.due(true, now).into_iter().map(|(relay, _)| relay).collect();
        assert_eq!(next.len(), 1);
        assert!(!asked.contains(&next[0]) && relays.contains(&next[0]));
        let later = now + Duration::from_secs(1);
        let all = |reservations: &Reservations| reservations.relays.values().filter(|relay| relay.due <= later).count();
        assert_eq!(all(&reservations), 3);
    }

    #[test]
    fn configured_relays_are_used_always_and_alone() {
        let (now, configured, other) = (Instant::now(), peer(), peer());
        let full = address(PLACE).with(Protocol::P2p(configured));
        let nameless = address(PLACE);
        let mut reservations = Reservations::new(peer(), &[full, nameless], now);
        reservations.found(other, [address(PLACE)], now);
        let due = reservations.due(false, now);
        assert_eq!(due.iter().map(|(relay, _)| *relay).collect::<Vec<_>>(), [configured]);
        reservations.asked(&configured, ListenerId::next());
        reservations.lost(&configured);
        assert!(reservations.superfluous(false).is_empty(), "it is wanted whatever others find");
    }

    #[test]
    fn what_a_header_cannot_carry_is_no_relay() {
        let now = Instant::now();
        let mut reservations = Reservations::new(peer(), &[], now);
        reservations.found(peer(), [address("/ip6/2001:db8::1/tcp/1"), address("/ip4/20.1.0.1/tcp/1/ws")], now);
        reservations.found(Keypair::generate_ed25519().public().to_peer_id(), [address(PLACE)], now);
        assert!(reservations.due(true, now).is_empty());
    }

    #[test]
    fn forgets_relays_that_are_gone() {
        let now = Instant::now();
        let (mut reservations, relays) = found(2, now);
        let listener = ListenerId::next();
        reservations.asked(&relays[0], listener);
        relays.iter().for_each(|relay| reservations.lost(relay));
        assert_eq!(reservations.relays.len(), 1);
        reservations.closed(listener, now);
        assert!(reservations.relays.is_empty());
    }

    #[test]
    fn reservations_at_found_relays_are_given_up_when_this_node_can_be_dialled() {
        let now = Instant::now();
        let (mut reservations, relays) = found(1, now);
        let listener = ListenerId::next();
        reservations.asked(&relays[0], listener);
        assert!(reservations.superfluous(true).is_empty());
        assert_eq!(reservations.superfluous(false), [listener]);
    }

    #[test]
    fn of_a_relay_known_by_name_the_address_that_it_tells_is_taken() {
        let (now, relay) = (Instant::now(), peer());
        let named = address("/dns4/relay.example/tcp/60000").with(Protocol::P2p(relay));
        let mut reservations = Reservations::new(peer(), &[named], now);
        let (me, listener) = (reservations.me, ListenerId::next());
        reservations.asked(&relay, listener);
        reservations.granted(&relay, now);
        assert!(reservations.told(listener, &address(&format!("{PLACE}/p2p/{relay}/p2p-circuit/p2p/{me}"))));
        assert!(!reservations.told(ListenerId::next(), &address(PLACE)));
        assert_eq!(reservations.addresses(), [address(&format!("{PLACE}/p2p/{relay}/p2p-circuit"))]);
    }
}
