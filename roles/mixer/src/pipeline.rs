//! What becomes of a received packet: pure decisions about a batch, in the order of `spec/mix-wire.md` §10 with the
//! countermeasures of §21.
//!
//! authenticate (all) → replay tags (all, one lock) → open (each) → blind (those that go on). What fails on the way is
//! dropped and counted here; nobody on the wire is told. Tags are inserted after the MAC check, so a damaged copy of a
//! packet cannot keep the good one out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libp2p_identity::PeerId;
use rand::rngs::StdRng;
use wakumix_keyring::{KeyRing, MixKey};
use wakumix_mix::{DelayLaw, DropReason, HopAddress, HopKind, Packet};
use wakumix_role_api::{Formats, exit::ExitPacket, host::OutboundPacket, sender::ReplyPacket};
use wakumix_sphinx::{AddressBytes, Authenticated, Blinding, Opened, Reject};

use crate::delay_queue::Delayed;

/// What to do with the packets of a batch that were accepted. A list that stays empty takes no memory.
#[derive(Default)]
pub(crate) struct Decisions {
    /// Pass on now.
    pub(crate) at_once: Vec<OutboundPacket>,
    /// Pass on after a delay.
    pub(crate) later: Vec<Delayed>,
    /// Their paths end here.
    pub(crate) exits: Vec<ExitPacket>,
    /// They answer requests of this node.
    pub(crate) replies: Vec<ReplyPacket>,
}

/// Rules and memory of unwrapping. Shared by all workers.
pub(crate) struct Pipeline {
    pub(crate) me: PeerId,
    pub(crate) formats: Formats,
    /// Keys and tags outlive the actor; whether they outlive the process is the ring's to say.
    pub(crate) keys: KeyRing,
    pub(crate) forward: bool,
    pub(crate) law: DelayLaw,
    pub(crate) max_delay: Duration,
    pub(crate) rng: Mutex<StdRng>,
}

/// A packet whose header is authentic for one of this node's keys.
struct Authentic {
    packet: Packet,
    authenticated: Authenticated,
    key: Arc<MixKey>,
}

/// The packets whose headers say that they go on, and for each the scalar of its next α.
#[derive(Default)]
struct Onward {
    packets: Vec<OnwardPacket>,
    blindings: Vec<Blinding>,
}

struct OnwardPacket {
    packet: Packet,
    to: HopAddress,
    delay_ms: u16,
}

impl Pipeline {
    /// Decides about each packet of a batch. Packets without a decision are settled.
    pub(crate) fn process(&self, batch: Vec<Packet>) -> Decisions {
        let (mut decisions, mut onward) = (Decisions::default(), Onward::default());
        for (packet, authenticated) in refuse_replays(self.authenticate(batch)) {
            self.open(packet, authenticated, &mut decisions, &mut onward);
        }
        self.pass_on(onward, &mut decisions);
        decisions
    }

    fn authenticate(&self, batch: Vec<Packet>) -> Vec<Authentic> {
        let keys = self.keys.keys();
        let authentic = |packet: Packet| match self.authenticate_with_any(&keys, &packet) {
            Ok((authenticated, key)) => Some(Authentic { packet, authenticated, key: Arc::clone(key) }),
            Err(reject) => {
                packet.reject(reject.into());
                None
            }
        };
        batch.into_iter().filter_map(authentic).collect()
    }

    /// Tries the keys in order. Only a wrong MAC can mean that a packet was made for another key.
    fn authenticate_with_any<'k>(
        &self,
        keys: &'k [Arc<MixKey>],
        packet: &Packet,
    ) -> Result<(Authenticated, &'k Arc<MixKey>), Reject> {
        let format = &self.formats.of(packet).ok_or(Reject::Size)?.format;
        let mut refused = Reject::Mac;
        for key in keys {
            match format.authenticate(key.private(), packet.bytes()) {
                Ok(authenticated) => return Ok((authenticated, key)),
                Err(Reject::Mac) => {}
                Err(reject) => refused = reject,
            }
        }
        Err(refused)
    }

    fn open(&self, mut packet: Packet, authenticated: Authenticated, decisions: &mut Decisions, onward: &mut Onward) {
        let Some(served) = self.formats.of(&packet) else { return packet.reject(DropReason::Size) };
        let opened = match served.format.open(packet.bytes_mut(), authenticated) {
            Ok(opened) => opened,
            Err(reject) => return packet.reject(reject.into()),
        };
        packet.opened_as(HopKind::from(&opened));
        match opened {
            Opened::Forward { next, delay_ms, blinding } => match self.next_hop(&next) {
                Ok(to) => {
                    onward.packets.push(OnwardPacket { packet, to, delay_ms });
                    onward.blindings.push(blinding);
                }
                Err(reason) => packet.reject(reason),
            },
            Opened::Exit { destination, body } => decisions.exits.push(ExitPacket { destination, packet, body }),
            Opened::Reply { id } => decisions.replies.push(ReplyPacket { id, packet }),
        }
    }

    /// Where a packet goes on. Paths never visit a node twice (`spec/mix-wire.md` §13), so a next hop that is this node
    /// was made to keep it busy and is refused like any other useless address.
    fn next_hop(&self, next: &AddressBytes) -> Result<HopAddress, DropReason> {
        if !self.forward {
            return Err(DropReason::NotForwarding);
        }
        let to = HopAddress::decode(next).map_err(|error| error.drop_reason())?;
        if to.peer() == self.me { Err(DropReason::InvalidDestination) } else { Ok(to) }
    }

    /// Writes the next α into the packets that go on and draws their delays.
    fn pass_on(&self, onward: Onward, decisions: &mut Decisions) {
        let Onward { packets, blindings } = onward;
        let expected = packets.len();
        for (OnwardPacket { mut packet, to, delay_ms }, blinding) in packets.into_iter().zip(blindings) {
            let format = self.formats.of(&packet).map(|served| Arc::clone(&served.format));
            let blinded = format.ok_or(Reject::Size).and_then(|format| format.blind(packet.bytes_mut(), blinding));
            if let Err(reject) = blinded {
                packet.reject(reject.into());
                continue;
            }
            let outbound = OutboundPacket { to, packet, done: None };
            match self.draw_delay(delay_ms) {
                Duration::ZERO => push_one_of(&mut decisions.at_once, outbound, expected),
                delay => push_one_of(&mut decisions.later, Delayed { delay, outbound }, expected),
            }
        }
    }

    fn draw_delay(&self, encoded: u16) -> Duration {
        self.law.sample(&mut *lock(&self.rng), encoded).min(self.max_delay)
    }
}

/// Drops the packets that were opened before. Those of one key, in most batches all, are looked up together.
fn refuse_replays(mut packets: Vec<Authentic>) -> Vec<(Packet, Authenticated)> {
    let mut fresh = Vec::with_capacity(packets.len());
    while let Some(first) = packets.first() {
        let key = Arc::clone(&first.key);
        let (of_key, others): (Vec<_>, Vec<_>) = packets.into_iter().partition(|other| Arc::ptr_eq(&other.key, &key));
        let tags: Vec<_> = of_key.iter().map(|packet| packet.authenticated.tag()).collect();
        for (Authentic { packet, authenticated, .. }, verdict) in of_key.into_iter().zip(key.admit(&tags).verdicts) {
            match verdict {
                Ok(()) => fresh.push((packet, authenticated)),
                Err(error) => packet.reject(error.drop_reason()),
            }
        }
        packets = others;
    }
    fresh
}

/// Appends to a list of up to `expected` items, which takes its memory with the first of them.
fn push_one_of<T>(list: &mut Vec<T>, item: T, expected: usize) {
    if list.is_empty() {
        list.reserve_exact(expected);
    }
    list.push(item);
}

/// A panic cannot leave the set or the generator half changed in a way that matters: use them all the same.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
