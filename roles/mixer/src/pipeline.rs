//! What becomes of a received packet: the decisions of [`wakumix_mix::hop`] about a batch.
//!
//! [admit](admit) → open (each) → blind (those that go on). What fails on the way is dropped and counted here; nobody
//! on the wire is told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libp2p_identity::PeerId;
use rand::rngs::StdRng;
use wakumix_keyring::KeyRing;
use wakumix_mix::{
    DropReason, HopAddress, Outcome, Packet,
    cover::LoopId,
    hop::{self, ForwardDelay, HopDecision, NextHopPolicy, Reach},
};
use wakumix_role_api::{Formats, exit::ExitPacket, host::OutboundPacket, sender::ReplyPacket};
use wakumix_sphinx::{Blinding, Weaknesses};

use crate::delay_queue::Delayed;
use crate::policy::Policy;

mod admit;

use admit::Fresh;
pub(crate) use admit::Pending;

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
    /// What cover said that has ended here; the packets are settled.
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
}

/// The packets whose headers say that they go on, and for each the scalar of its next α.
#[derive(Default)]
struct OnwardBatch {
    packets: Vec<OnwardPacket>,
    blindings: Vec<Blinding>,
}

struct OnwardPacket {
    packet: Packet,
    to: HopAddress,
    reach: Reach,
    delay_ms: u16,
}

impl Pipeline {
    /// Decides about each packet of a batch. Packets without a decision are settled.
    pub(crate) fn dispatch(&self, batch: Vec<Fresh>) -> Decisions {
        let (mut decisions, mut onward) = (Decisions::default(), OnwardBatch::default());
        let next_hops = self.policy.next_hops();
        for fresh in batch {
            self.open(fresh, &next_hops, &mut decisions, &mut onward);
        }
        self.pass_on(onward, &mut decisions);
        decisions
    }

    fn open(&self, fresh: Fresh, next_hops: &NextHopPolicy, decisions: &mut Decisions, onward: &mut OnwardBatch) {
        let Fresh { mut packet, authenticated } = fresh;
        let Some(served) = self.formats.of(&packet) else { return packet.reject(DropReason::Size) };
        let known = |peer: &PeerId| self.policy.known(peer);
        let decision = hop::open(&*served.format, packet.bytes_mut(), authenticated, next_hops, &known);
        if let Some(kind) = decision.kind() {
            packet.opened_as(kind);
        }
        match decision {
            HopDecision::Forward(hop::Onward { to, reach, delay_ms, blinding }) => {
                onward.packets.push(OnwardPacket { packet, to, reach, delay_ms });
                onward.blindings.push(blinding);
            }
            HopDecision::Exit { destination, body } => decisions.exits.push(ExitPacket { destination, packet, body }),
            HopDecision::Cover { id } => {
                decisions.loops.extend(id);
                packet.settle(Outcome::Cover);
            }
            HopDecision::Reply { id } => decisions.replies.push(ReplyPacket { id, packet }),
            HopDecision::Refused { reason, .. } => packet.reject(reason),
        }
    }

    /// Writes the next α into the packets that go on and draws their delays.
    fn pass_on(&self, onward: OnwardBatch, decisions: &mut Decisions) {
        let OnwardBatch { packets, blindings } = onward;
        let expected = packets.len();
        for (OnwardPacket { mut packet, to, reach, delay_ms }, blinding) in packets.into_iter().zip(blindings) {
            let format = self.formats.of(&packet).map(|served| Arc::clone(&served.format)).ok_or(DropReason::Size);
            if let Err(reason) = format.and_then(|format| hop::blind(&*format, packet.bytes_mut(), blinding)) {
                packet.reject(reason);
                continue;
            }
            let outbound = OutboundPacket { to, reach, packet, done: None };
            match self.draw_delay(delay_ms) {
                Duration::ZERO => push_one_of(&mut decisions.at_once, outbound, expected),
                delay => push_one_of(&mut decisions.later, Delayed { delay, outbound }, expected),
            }
        }
    }

    fn draw_delay(&self, encoded: u16) -> Duration {
        self.delay.draw(&mut *lock(&self.rng), encoded)
    }
}

/// Appends to a list of up to `expected` items, which takes its memory with the first of them.
fn push_one_of<T>(list: &mut Vec<T>, item: T, expected: usize) {
    if list.is_empty() {
        list.reserve_exact(expected);
    }
    list.push(item);
}

/// A panic cannot leave the generator half changed in a way that matters: use it all the same.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
