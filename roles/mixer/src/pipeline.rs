//! What becomes of a received packet: the decisions of [`wakumix_mix::hop`] about a batch.
//!
//! [admit](admit) → open (each) → blind (those that go on). What fails on the way is dropped and counted here; nobody
//! on the wire is told.

use std::time::Duration;

use libp2p_identity::PeerId;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use wakumix_keyring::KeyRing;
use wakumix_mix::{
    DropReason, Outcome,
    cover::LoopId,
    hop::{self, ForwardDelay, HopDecision},
};
use wakumix_role_api::{Formats, exit::ExitPacket, host::OutboundPacket, sender::ReplyPacket};
use wakumix_sphinx::{Blinding, Weaknesses};

use crate::delay_queue::Delayed;
use crate::policy::Policy;

mod admit;
mod unreadable;

use admit::Fresh;
pub(crate) use admit::Pending;
pub(crate) use unreadable::Unreadable;

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
    /// What cover said that has ended here; the packets are finished.
    pub(crate) loops: Vec<LoopId>,
}

/// Rules and memory of unwrapping. Shared by all workers.
pub(crate) struct Pipeline {
    pub(crate) formats: Formats,
    /// Keys and tags outlive the actor; whether they outlive the process is the ring's to say.
    pub(crate) keys: KeyRing,
    pub(crate) policy: Policy,
    pub(crate) delay: ForwardDelay,
    pub(crate) rng: Mutex<StdRng>,
    pub(crate) weaknesses: Weaknesses,
    pub(crate) unreadable: Unreadable,
}

/// Packets of a batch that go on, and for each the scalar of its next α: the same list of each, so that none is moved again.
struct OnwardBatch<T> {
    packets: Vec<T>,
    blindings: Vec<Blinding>,
    /// How many there may be.
    expected: usize,
}

impl<T: AsMut<OutboundPacket>> OnwardBatch<T> {
    /// None yet. It takes its memory with the first of them.
    fn of(expected: usize) -> Self {
        Self { packets: Vec::new(), blindings: Vec::new(), expected }
    }

    fn push(&mut self, packet: T, blinding: Blinding) {
        if self.packets.is_empty() {
            self.packets.reserve_exact(self.expected);
            self.blindings.reserve_exact(self.expected);
        }
        self.packets.push(packet);
        self.blindings.push(blinding);
    }

    /// Writes the next α into the packets. Those whose α cannot be are left out, and given back with the reason.
    fn blind(self, formats: &Formats) -> (Vec<T>, Vec<(T, DropReason)>) {
        let Self { mut packets, blindings, .. } = self;
        let (mut refused, mut at) = (Vec::new(), 0);
        for blinding in blindings {
            let Some(packet) = packets.get_mut(at).map(|next| &mut next.as_mut().packet) else { break };
            let format = formats.of(packet).map(|served| &served.format).ok_or(DropReason::Size);
            match format.and_then(|format| hop::blind(&**format, packet.bytes_mut(), blinding)) {
                Ok(()) => at += 1,
                Err(reason) => refused.push((packets.remove(at), reason)),
            }
        }
        (packets, refused)
    }
}

impl Pipeline {
    /// Decides about each packet of a batch. Packets without a decision are finished.
    pub(crate) fn dispatch(&self, batch: Vec<Fresh>) -> Decisions {
        let mut decisions = Decisions::default();
        let (mut at_once, mut later) = (OnwardBatch::of(batch.len()), OnwardBatch::of(batch.len()));
        for fresh in batch {
            let Some((outbound, delay, blinding)) = self.open(fresh, &mut decisions) else { continue };
            match delay {
                Duration::ZERO => at_once.push(outbound, blinding),
                delay => later.push(Delayed { delay, outbound }, blinding),
            }
        }
        let (packets, refused) = at_once.blind(&self.formats);
        decisions.at_once = packets;
        refused.into_iter().for_each(|(outbound, reason)| outbound.packet.reject(reason));
        let (packets, refused) = later.blind(&self.formats);
        decisions.later = packets;
        refused.into_iter().for_each(|(delayed, reason)| delayed.outbound.packet.reject(reason));
        decisions
    }

    /// What becomes of one packet; one that goes on comes back with its delay and the scalar of its next α.
    fn open(&self, fresh: Fresh, decisions: &mut Decisions) -> Option<(OutboundPacket, Duration, Blinding)> {
        let Fresh { mut packet, authenticated } = fresh;
        let Some(served) = self.formats.of(&packet) else {
            packet.reject(DropReason::Size);
            return None;
        };
        let known = |peer: &PeerId| self.policy.known(peer);
        let decision = hop::open(&*served.format, packet.bytes_mut(), authenticated, &self.policy.rules, &known);
        self.unreadable.note(&decision, served.format.wire());
        if let Some(kind) = decision.kind() {
            packet.opened_as(kind);
        }
        match decision {
            HopDecision::Forward(hop::Onward { to, reach, delay_ms, blinding }) => {
                let delay = self.draw_delay(delay_ms);
                return Some((OutboundPacket { to, reach, packet, done: None }, delay, blinding));
            }
            HopDecision::Exit { destination, body } => decisions.exits.push(ExitPacket { destination, packet, body }),
            HopDecision::Cover { id } => {
                decisions.loops.extend(id);
                packet.finish(Outcome::Cover);
            }
            HopDecision::Reply { id } => decisions.replies.push(ReplyPacket { id, packet }),
            HopDecision::Refused { reason, .. } => packet.reject(reason),
        }
        None
    }

    fn draw_delay(&self, encoded: u16) -> Duration {
        self.delay.draw(&mut *self.rng.lock(), encoded)
    }
}
