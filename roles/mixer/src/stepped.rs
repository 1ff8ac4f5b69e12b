//! The mixer one step at a time: the parts that a node runs, without the actor, workers and tasks that run them there.
//!
//! For the model in `fuzz/model`, which takes the steps in any order, and for nothing else.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{sync::watch, time::Instant};
use wakumix_keyring::KeyRing;
use wakumix_mix::{
    DelayLaw, HopAddress, Packet,
    hop::{ForwardDelay, NextHopPolicy},
};
use wakumix_role_api::{
    Address, DirectoryPublisher, Formats, Inbox, exit::ExitMessage, host::HostHandle, mixer::LocalPacket,
    sender::SenderHandle,
};
use wakumix_sphinx::{ReplayTag, Weaknesses};
use wakumix_telemetry::Telemetry;

use crate::delay_queue::{Bounds, DelayQueue, Releaser};
use crate::effects::Effects;
use crate::local::LocalPackets;
use crate::loops::Loops;
use crate::metrics::{DelayMetrics, LoopMetrics};
use crate::pipeline::{Pending, Pipeline, Unreadable};
use crate::policy::Policy;

/// What is around the mixer, and what of its configuration matters to its parts.
pub struct Setup<'a> {
    /// Where this node is.
    pub me: HopAddress,
    /// Its keys.
    pub keys: KeyRing,
    /// The formats that it serves.
    pub formats: &'a Formats,
    /// Whether packets of others are passed on.
    pub forward: bool,
    /// Packets held at most, in the preferred format.
    pub max_held: usize,
    /// No packet is held for longer.
    pub max_delay: Duration,
    /// Where packets go to peers.
    pub host: HostHandle,
    /// Where those go whose paths end here.
    pub exit: Address<ExitMessage>,
    /// What opens replies.
    pub sender: SenderHandle,
    /// The queue of packets made here; [`SteppedMixer::send`] goes past it.
    pub local: Inbox<LocalPacket>,
    /// Where its metrics are.
    pub telemetry: &'a Telemetry,
}

/// A mixer that does nothing by itself.
pub struct SteppedMixer {
    pipeline: Pipeline,
    local: LocalPackets,
    releaser: Releaser,
}

/// Packets whose tags are remembered, and kept on the disk sooner or later.
pub struct AdmittedBatch(Pending);

impl AdmittedBatch {
    /// Waits until the tags are kept. Packets whose tags cannot be are dropped.
    ///
    /// Cancel safe: yes; it goes on where it was.
    pub async fn committed(&mut self) {
        self.0.committed().await;
    }
}

impl SteppedMixer {
    /// A mixer that holds no packet. It knows no other node, and its delays are the same each time.
    #[must_use]
    pub fn new(setup: Setup<'_>) -> Self {
        let Setup { me, keys, formats, forward, max_held, max_delay, host, exit, sender, local, telemetry } = setup;
        let stop = watch::Sender::new(None).subscribe();
        let bounds = Bounds::new(max_held, formats);
        let (delays, releaser) = DelayQueue::new(bounds, host.clone(), DelayMetrics::new(telemetry), stop.clone());
        let loops = Loops::new(Duration::ZERO, Arc::default(), Instant::now(), LoopMetrics::new(telemetry));
        let (exit, sender) = (Some(exit), Some(sender));
        let effects = Effects { host, delays, exit, sender, formats: formats.clone(), loops };
        let local = LocalPackets { me: me.peer(), queue: local, effects, stop };
        let rules = NextHopPolicy { forward, ..NextHopPolicy::new(me.peer()) };
        let policy = Policy { rules, directory: DirectoryPublisher::new().1 };
        let pipeline = Pipeline {
            formats: formats.clone(),
            keys,
            policy,
            delay: ForwardDelay { law: DelayLaw::default(), max: max_delay },
            rng: Mutex::new(StdRng::from_seed([7; 32])),
            weaknesses: Weaknesses::NONE,
            unreadable: Unreadable::default(),
        };
        Self { pipeline, local, releaser }
    }

    /// The first step of a worker: authenticates packets and remembers their tags.
    #[must_use]
    pub fn admit(&self, batch: Vec<Packet>) -> AdmittedBatch {
        AdmittedBatch(self.pipeline.admit(batch))
    }

    /// Its second step, once the tags are kept: opens the packets and sends them on. `check` sees all their tags first.
    pub fn open(&self, batch: AdmittedBatch, check: impl FnOnce(&[ReplayTag])) {
        let fresh = batch.0.into_fresh();
        check(&fresh.iter().map(|fresh| fresh.authenticated.tag()).collect::<Vec<_>>());
        self.local.effects.carry_out(self.pipeline.dispatch(fresh));
    }

    /// Sends a packet made here.
    pub fn send(&self, packet: LocalPacket) {
        self.local.send(packet);
    }

    /// Hands everything to the host that is due.
    pub fn release_due(&self) {
        self.releaser.release_due();
    }

    /// How many packets are held, and their bytes.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        let delays = &self.local.effects.delays;
        (delays.len(), delays.bytes())
    }
}
