//! What becomes of a received packet: pure decisions about a batch, in the order of `spec/mix-wire.md` §10 with the
//! countermeasures of §21.
//!
//! [admit](crate::admit) → open (each) → blind (those that go on). What fails on the way is dropped and counted here; nobody
//! on the wire is told.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use wakumix_keyring::KeyRing;
use wakumix_mix::{
    DelayLaw, DropReason, HopAddress, HopKind, Outcome, Packet,
    address::is_absent,
    cover::{CoverBody, LoopId},
};
use wakumix_role_api::{
    Formats,
    exit::ExitPacket,
    host::{OutboundPacket, Reach},
    sender::ReplyPacket,
};
use wakumix_sphinx::{AddressBytes, Blinding, Opened, Reject, Weaknesses};

use crate::admit::Fresh;
use crate::delay_queue::Delayed;
use crate::policy::Policy;

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
    pub(crate) law: DelayLaw,
    pub(crate) max_delay: Duration,
    pub(crate) rng: Mutex<StdRng>,
    pub(crate) weaknesses: Weaknesses,
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
    reach: Reach,
    delay_ms: u16,
}

impl Pipeline {
    /// Decides about each packet of a batch. Packets without a decision are settled.
    pub(crate) fn dispatch(&self, batch: Vec<Fresh>) -> Decisions {
        let (mut decisions, mut onward) = (Decisions::default(), Onward::default());
        for fresh in batch {
            self.open(fresh, &mut decisions, &mut onward);
        }
        self.pass_on(onward, &mut decisions);
        decisions
    }

    fn open(&self, fresh: Fresh, decisions: &mut Decisions, onward: &mut Onward) {
        let Fresh { mut packet, authenticated } = fresh;
        let Some(served) = self.formats.of(&packet) else { return packet.reject(DropReason::Size) };
        let opened = match served.format.open(packet.bytes_mut(), authenticated) {
            Ok(opened) => opened,
            Err(reject) => return packet.reject(reject.into()),
        };
        packet.opened_as(HopKind::from(&opened));
        match opened {
            Opened::Forward { next, delay_ms, blinding } => match self.policy.next_hop(&next) {
                Ok((to, reach)) => {
                    onward.packets.push(OnwardPacket { packet, to, reach, delay_ms });
                    onward.blindings.push(blinding);
                }
                Err(reason) => packet.reject(reason),
            },
            Opened::Exit { destination, body } => end_path(destination, packet, body, decisions),
            Opened::Reply { id } => decisions.replies.push(ReplyPacket { id, packet }),
        }
    }

    /// Writes the next α into the packets that go on and draws their delays.
    fn pass_on(&self, onward: Onward, decisions: &mut Decisions) {
        let Onward { packets, blindings } = onward;
        let expected = packets.len();
        for (OnwardPacket { mut packet, to, reach, delay_ms }, blinding) in packets.into_iter().zip(blindings) {
            let format = self.formats.of(&packet).map(|served| Arc::clone(&served.format));
            let blinded = format.ok_or(Reject::Size).and_then(|format| format.blind(packet.bytes_mut(), blinding));
            if let Err(reject) = blinded {
                packet.reject(reject.into());
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
        self.law.sample(&mut *lock(&self.rng), encoded).min(self.max_delay)
    }
}

/// Cover ends here, whoever made it and whether or not this node is an exit (§16); everything else is the exit's.
fn end_path(destination: AddressBytes, packet: Packet, body: Range<usize>, decisions: &mut Decisions) {
    let read = |body: &Range<usize>| packet.bytes().get(body.clone()).and_then(CoverBody::read);
    match is_absent(&destination).then(|| read(&body)).flatten() {
        Some(cover) => {
            decisions.loops.extend(cover.id);
            packet.settle(Outcome::Cover);
        }
        None => decisions.exits.push(ExitPacket { destination, packet, body }),
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
