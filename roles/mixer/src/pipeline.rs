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

/// What to do with a packet that was accepted.
pub(crate) enum Decision {
    /// Pass it on after a delay.
    Forward { delay: Duration, outbound: OutboundPacket },
    /// Its path ends here.
    Exit(ExitPacket),
    /// It answers a request of this node.
    Reply(ReplyPacket),
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

/// A packet whose header says that it goes on.
struct Onward {
    packet: Packet,
    to: HopAddress,
    delay_ms: u16,
}

impl Pipeline {
    /// Decides about each packet of a batch. Packets without a decision are settled.
    pub(crate) fn process(&self, batch: Vec<Packet>) -> Vec<Decision> {
        let mut decisions = Vec::with_capacity(batch.len());
        let mut onward = Vec::with_capacity(batch.len());
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
        let mut fresh = Vec::with_capacity(packets.len());
        let mut tags = lock(&self.tags);
        for (packet, authenticated) in packets {
            match tags.insert(authenticated.tag()) {
                Ok(()) => fresh.push((packet, authenticated)),
                Err(error) => packet.reject(error.drop_reason()),
            }
        }
        fresh
    }

    fn open(
        &self,
        mut packet: Packet,
        authenticated: Authenticated,
        decisions: &mut Vec<Decision>,
        onward: &mut Vec<(Onward, Blinding)>,
    ) {
        let opened = match self.format.open(packet.bytes_mut(), authenticated) {
            Ok(opened) => opened,
            Err(reject) => return packet.reject(reject.into()),
        };
        packet.opened_as(HopKind::from(&opened));
        match opened {
            Opened::Forward { next, delay_ms, blinding } => match self.next_hop(&next) {
                Ok(to) => onward.push((Onward { packet, to, delay_ms }, blinding)),
                Err(reason) => packet.reject(reason),
            },
            Opened::Exit { destination, body } => {
                decisions.push(Decision::Exit(ExitPacket { destination, packet, body }));
            }
            Opened::Reply { id } => decisions.push(Decision::Reply(ReplyPacket { id, packet })),
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
    fn pass_on(&self, onward: Vec<(Onward, Blinding)>, decisions: &mut Vec<Decision>) {
        let (mut onward, blindings): (Vec<Onward>, Vec<Blinding>) = onward.into_iter().unzip();
        let mut results = Vec::with_capacity(onward.len());
        let buffers = onward.iter_mut().map(|onward| onward.packet.bytes_mut());
        self.format.blind_batch(buffers.zip(blindings), &mut results);
        for (Onward { packet, to, delay_ms }, result) in onward.into_iter().zip(results) {
            match result {
                Ok(()) => {
                    let delay = self.draw_delay(delay_ms);
                    decisions.push(Decision::Forward { delay, outbound: OutboundPacket { to, packet, done: None } });
                }
                Err(reject) => packet.reject(reject.into()),
            }
        }
    }

    fn draw_delay(&self, encoded: u16) -> Duration {
        self.law.sample(&mut *lock(&self.rng), encoded).min(self.max_delay)
    }
}

/// A panic cannot leave the set or the generator half changed in a way that matters: use them all the same.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
