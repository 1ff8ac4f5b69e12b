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
use wakumix_mix::{DelayLaw, DropReason, HopAddress, HopKind, Packet, ReplayTags};
use wakumix_role_api::{exit::ExitPacket, host::OutboundPacket, sender::ReplyPacket};
use wakumix_sphinx::{AddressBytes, Authenticated, Blinding, Opened, PrivateKey, Sphinx};

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
    pub(crate) format: Sphinx,
    pub(crate) key: Arc<PrivateKey>,
    pub(crate) forward: bool,
    pub(crate) law: DelayLaw,
    pub(crate) max_delay: Duration,
    /// Ephemeral until tags are kept on disk: a restart of the process forgets them, one of the actor does not.
    pub(crate) tags: Mutex<ReplayTags>,
    pub(crate) rng: Mutex<StdRng>,
}

/// The packets whose headers say that they go on, and for each the scalar of its next α.
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
        let mut decisions = Decisions::default();
        let mut onward =
            Onward { packets: Vec::with_capacity(batch.len()), blindings: Vec::with_capacity(batch.len()) };
        for (packet, authenticated) in self.refuse_replays(self.authenticate(batch)) {
            self.open(packet, authenticated, &mut decisions, &mut onward);
        }
        self.pass_on(onward, &mut decisions);
        decisions
    }

    /// Replay tags remembered.
    pub(crate) fn tags(&self) -> usize {
        lock(&self.tags).len()
    }

    /// Replay tags that can be remembered.
    pub(crate) fn tag_capacity(&self) -> usize {
        lock(&self.tags).capacity()
    }

    fn authenticate(&self, batch: Vec<Packet>) -> Vec<(Packet, Authenticated)> {
        let mut results = Vec::with_capacity(batch.len());
        self.format.authenticate_batch(&self.key, batch.iter().map(Packet::bytes), &mut results);
        let mut passed = Vec::with_capacity(batch.len());
        for (packet, result) in batch.into_iter().zip(results) {
            match result {
                Ok(authenticated) => passed.push((packet, authenticated)),
                Err(reject) => packet.reject(reject.into()),
            }
        }
        passed
    }

    fn refuse_replays(&self, packets: Vec<(Packet, Authenticated)>) -> Vec<(Packet, Authenticated)> {
        let mut tags = lock(&self.tags);
        let fresh = |(packet, authenticated): (Packet, Authenticated)| match tags.insert(authenticated.tag()) {
            Ok(()) => Some((packet, authenticated)),
            Err(error) => {
                packet.reject(error.drop_reason());
                None
            }
        };
        packets.into_iter().filter_map(fresh).collect()
    }

    fn open(&self, mut packet: Packet, authenticated: Authenticated, decisions: &mut Decisions, onward: &mut Onward) {
        let opened = match self.format.open(packet.bytes_mut(), authenticated) {
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
        let Onward { mut packets, blindings } = onward;
        let mut results = Vec::with_capacity(packets.len());
        let buffers = packets.iter_mut().map(|onward| onward.packet.bytes_mut());
        self.format.blind_batch(buffers.zip(blindings), &mut results);
        let expected = packets.len();
        for (OnwardPacket { packet, to, delay_ms }, result) in packets.into_iter().zip(results) {
            if let Err(reject) = result {
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
