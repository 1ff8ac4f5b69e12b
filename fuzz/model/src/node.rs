//! A mixer of the parts that a node has, driven step by step.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::executor::block_on;
use parking_lot::Mutex;
use wakumix_keyring::KeyRing;
use wakumix_mix::{DropReason, Ledger, Origin, Outcome, Packet, Stage};
use wakumix_mixer::stepped::{AdmittedBatch, Setup, SteppedMixer};
use wakumix_role_api::{
    Formats, Inbox,
    exit::ExitMessage,
    host::{HostHandle, HostMessage},
    mailbox,
    mixer::{LocalPacket, MixerHandle},
    sender::SenderHandle,
};
use wakumix_sphinx::ReplayTag;
use wakumix_telemetry::Telemetry;

use super::keys::Keys;
use super::packets::{FORMATS, ME, OTHER};

/// Room of the queues: little, so that it is used up.
pub(super) const MAX_WAITING: usize = 6;
const MAX_HELD: usize = 3;
const AT_HOST: usize = 3;
const AT_EXIT: usize = 2;
/// Batches that wait for their tags.
const MAX_PENDING: usize = 4;
/// Buffers of each format.
const BUFFERS: usize = 24;
const MAX_DELAY: Duration = Duration::from_secs(1);

/// Nodes that share their telemetry.
const SHARED_BY: usize = 256;
static TELEMETRY: Mutex<Option<(usize, Telemetry)>> = Mutex::new(None);

pub(super) struct Node {
    /// `None` after a crash.
    parts: Option<Parts>,
    ledger: Arc<Ledger>,
    formats: Formats,
}

struct Parts {
    mixer: SteppedMixer,
    keys: KeyRing,
    handle: MixerHandle,
    queue: Inbox<Packet>,
    /// Batches, and how many keys were gone when they were admitted.
    pending: Vec<(AdmittedBatch, usize)>,
    host: Inbox<HostMessage>,
    exit: Inbox<ExitMessage>,
}

impl Node {
    pub(super) fn new(keys: KeyRing, forwards: bool) -> Self {
        let formats = Formats::new(FORMATS.iter().cloned(), BUFFERS);
        Self { parts: Some(Parts::new(keys, forwards, &formats)), ledger: Ledger::new(), formats }
    }

    /// All that is in memory is lost.
    pub(super) fn forget(&mut self) {
        self.parts = None;
    }

    fn parts(&self) -> &Parts {
        self.parts.as_ref().expect("it runs")
    }

    fn parts_mut(&mut self) -> &mut Parts {
        self.parts.as_mut().expect("it runs")
    }

    /// Takes bytes as the host does; without a buffer they are not read.
    pub(super) fn receive(&self, bytes: &[u8]) {
        let of_length =
            |bytes: &[u8]| self.formats.all().iter().find(|format| format.buffers.buffer_len() == bytes.len());
        let Some(buffer) = of_length(bytes).and_then(|served| served.buffers.take()) else {
            return self.ledger.refuse(DropReason::QueueFull);
        };
        let mut packet = Packet::received(buffer, &self.ledger);
        packet.bytes_mut().copy_from_slice(bytes);
        assert!(self.parts().handle.receive(packet), "the queue is open");
    }

    pub(super) fn receive_garbage(&self, format: usize, fill: u8) {
        let all = self.formats.all();
        self.receive(&vec![fill; all[format % all.len()].buffers.buffer_len()]);
    }

    /// A worker admits a batch.
    pub(super) fn work(&mut self, packets: usize, keys: &Keys) {
        let parts = self.parts_mut();
        if parts.pending.len() >= MAX_PENDING {
            return;
        }
        let mut queue = parts.queue.receiver().expect("nobody else reads it");
        let batch: Vec<_> = std::iter::from_fn(|| queue.try_recv()).take(packets).collect();
        drop(queue);
        if !batch.is_empty() {
            parts.pending.push((parts.mixer.admit(batch), keys.gone()));
        }
    }

    /// The tags of a batch are kept, or not, and its packets are opened or dropped.
    pub(super) fn commit(&mut self, which: usize, is_kept: bool, keys: &Keys, opened: &mut HashSet<ReplayTag>) {
        let parts = self.parts_mut();
        let Some(which) = which.checked_rem(parts.pending.len()) else { return };
        let (mut pending, gone) = parts.pending.swap_remove(which);
        let is_ready = keys.are_gated() && pending.committed().now_or_never().is_some();
        keys.decide(Some(is_kept));
        block_on(pending.committed());
        keys.decide(None);
        parts.mixer.open(pending, |tags| {
            assert!(!is_ready || tags.is_empty(), "packets are opened before anybody said that their tags are kept");
            assert!(is_kept || !keys.are_gated() || tags.is_empty(), "packets are opened whose tags are not kept");
            assert!(
                tags.is_empty() || keys.would_know(tags, gone),
                "packets are opened whose tags are not on the disk"
            );
            assert!(tags.iter().all(|tag| opened.insert(*tag)), "a packet is opened a second time");
        });
    }

    /// All that waits before the delay queue goes on.
    pub(super) fn finish(&mut self, keys: &Keys, opened: &mut HashSet<ReplayTag>) {
        while !self.parts().pending.is_empty() || !self.parts().handle.received().is_empty() {
            self.work(MAX_WAITING, keys);
            self.commit(0, true, keys, opened);
            self.be_emptied(true);
        }
    }

    /// What is due leaves.
    pub(super) fn release(&self) {
        self.parts().mixer.release_due();
    }

    /// This node sends its own packet, whose bytes play no part.
    pub(super) fn send(&self, to_itself: bool, hold: Duration) {
        let Some(buffer) = self.formats.preferred().and_then(|served| served.buffers.take()) else { return };
        let packet = Packet::originated(buffer, &self.ledger, Origin::Request);
        let to = if to_itself { ME.clone() } else { OTHER.clone() };
        self.parts().mixer.send(LocalPacket { to, packet, hold, done: None });
    }

    /// Host and exit take all that is there for them.
    pub(super) fn be_emptied(&self, succeeds: bool) {
        let Parts { host, exit, .. } = self.parts();
        let ended = |packet: Packet, outcome| {
            if succeeds { packet.finish(outcome) } else { packet.reject(DropReason::QueueFull) }
        };
        for message in drain(host) {
            let HostMessage::SendPackets(packets) = message else { continue };
            for outbound in packets {
                let outcome = match outbound.packet.origin() {
                    _ if !succeeds => Outcome::Dropped { stage: Stage::Egress, reason: DropReason::DialFailed },
                    Some(_) => Outcome::Sent,
                    None => Outcome::Forwarded,
                };
                outbound.packet.finish(outcome);
            }
        }
        for ExitMessage::Packet(packet) in drain(exit) {
            ended(packet.packet, Outcome::Delivered);
        }
    }

    /// No packet is lost, and none is counted twice.
    pub(super) fn check_balance(&self) {
        let balance = self.ledger.snapshot();
        let held = u64::try_from(self.formats.held()).unwrap();
        assert_eq!(balance.unaccounted(held), 0, "{balance:?}");
        assert!(balance.dropped.iter().all(|(_, reason, _)| *reason != DropReason::Abandoned), "{balance:?}");
    }

    /// No bound is passed.
    pub(super) fn check_bounds(&self) {
        let Parts { mixer, keys, handle, pending, .. } = self.parts();
        assert!(handle.received().len() <= MAX_WAITING && pending.len() <= MAX_PENDING);
        let (held, held_bytes) = mixer.held();
        let bytes = self.formats.preferred().map_or(0, |served| served.format.packet_len()) * MAX_HELD;
        assert!(held <= MAX_HELD && held_bytes <= bytes);
        assert!(keys.keys().iter().all(|key| key.tags() <= key.tag_capacity()));
    }

    /// Packets balance, and none is left.
    pub(super) fn check_empty(&self) {
        self.check_balance();
        assert_eq!((self.formats.held(), self.ledger.snapshot().unaccounted(0)), (0, 0));
    }
}

impl Parts {
    fn new(keys: KeyRing, forward: bool, formats: &Formats) -> Self {
        let telemetry = &telemetry();
        let (host_address, host) = mailbox("host", AT_HOST, telemetry);
        let (exit_address, exit) = mailbox("exit", AT_EXIT, telemetry);
        let (received, queue) = mailbox("mixer", MAX_WAITING, telemetry);
        let (local_address, local) = mailbox("mixer_local", 1, telemetry);
        let mixer = SteppedMixer::new(Setup {
            me: ME.clone(),
            keys: keys.clone(),
            formats,
            forward,
            max_held: MAX_HELD,
            max_delay: MAX_DELAY,
            host: HostHandle::new(host_address),
            exit: exit_address,
            sender: SenderHandle::new(mailbox("sender", 1, telemetry).0),
            local,
            telemetry,
        });
        let handle = MixerHandle::new(received, local_address);
        Self { mixer, keys, handle, queue, pending: Vec::new(), host, exit }
    }
}

/// To make one takes as long as a whole run, so runs share it; what they register with it piles up, so not forever.
fn telemetry() -> Telemetry {
    let mut shared = TELEMETRY.lock();
    drop(shared.take_if(|(uses, _)| *uses >= SHARED_BY));
    let (uses, telemetry) = shared.get_or_insert_with(|| {
        let catalogues = [&wakumix_role_api::METRICS, &wakumix_mixer::METRICS];
        (0, Telemetry::new(catalogues).expect("no name is in both"))
    });
    *uses += 1;
    telemetry.clone()
}

/// What waits in a queue.
fn drain<M: Send + 'static>(inbox: &Inbox<M>) -> Vec<M> {
    let mut receiver = inbox.receiver().expect("nobody else reads it");
    std::iter::from_fn(|| receiver.try_recv()).collect()
}
