//! A mixer, and the packets that it is sent.

use std::num::NonZeroUsize;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::runtime::Handle;
use wakumix_keyring::KeyRing;
use wakumix_mix::Outcome;
use wakumix_mixer::{Config, Mixer, RunningMixer};
use wakumix_role_api::{Formats, Supervisor, Tasks, Workers, host::HostMessage, mixer::MixerHandle};
use wakumix_role_testkit::{Queues, Surroundings, hop, mix_key, node};
use wakumix_sphinx::{ADDRESS_LEN, Opened, PathHop, PrivateKey, Sphinx};

/// Packets in the mixer at a time: less than any of its queues holds, so that none is refused.
const WINDOW: usize = 512;
/// Packets that are handed to the mixer at once.
pub(crate) const MESSAGE: usize = 32;
/// Bytes of the body of each packet.
const BODY: [u8; 3000] = [0xA5; 3000];

/// A running mixer between a feeder and a test double for the host.
pub(crate) struct Net {
    format: Sphinx,
    key: PrivateKey,
    path: [PathHop; 3],
    rng: StdRng,
    around: Surroundings,
    _running: RunningMixer,
}

impl Net {
    /// A mixer that will get `rounds` rounds of so many packets.
    pub(crate) fn start(profile: &str, rounds: usize, packets: usize) -> Self {
        let format = Sphinx::new(profile.parse().unwrap());
        let queues = Queues { host: 1024, ..Queues::default() };
        let mut around = Surroundings::new(&wakumix_mixer::METRICS, 1, Formats::one(format, 2 * WINDOW), queues);
        let context = &mut around.context;
        context.node.mix_keys = KeyRing::fixed(mix_key(1), (rounds * packets).max(1024));
        // As in a node: the actors have a thread.
        let (tasks, _) = Tasks::new(Handle::current(), context.telemetry.clone());
        context.workers = Workers::new(NonZeroUsize::MIN, tasks.clone());
        context.supervisor = Supervisor::new(tasks);
        let config = Config { max_waiting: 4096, capacity: 100_000, ..Config::default() };
        let mut mixer = Mixer::new(config, true).unwrap();
        around.open(&mut mixer);
        let running = mixer.start_mixer(&around.context).unwrap();
        Self {
            format,
            key: mix_key(1),
            path: [1, 2, 3].map(|seed| hop(&node(seed), 0)),
            rng: StdRng::seed_from_u64(1),
            around,
            _running: running,
        }
    }

    /// Packets that the mixer has not seen.
    pub(crate) fn build(&mut self, count: usize, delay_ms: u16) -> Vec<Vec<u8>> {
        let mut path = self.path;
        path[0].delay_ms = delay_ms;
        let mut build = || {
            let mut packet = vec![0; self.around.buffers().buffer_len()];
            self.format.build(&mut self.rng, &path, &[0; ADDRESS_LEN], &BODY, &mut packet).unwrap();
            packet
        };
        (0..count).map(|_| build()).collect()
    }

    /// The cryptography of a hop, and nothing else.
    pub(crate) fn open_all(&self, packets: &[Vec<u8>]) {
        let mut buffer = vec![0; self.around.buffers().buffer_len()];
        for packet in packets {
            buffer.copy_from_slice(packet);
            let authenticated = self.format.authenticate(&self.key, &buffer).unwrap();
            match self.format.open(&mut buffer, authenticated).unwrap() {
                Opened::Forward { blinding, .. } => self.format.blind(&mut buffer, blinding).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The whole way: hands packets to the mixer and takes them back from it, [`WINDOW`] of them on the way.
    pub(crate) async fn forward_all(&self, packets: &[Vec<u8>], message: usize) {
        let mixer: MixerHandle = self.around.context.ports.get().unwrap();
        let mut host = self.around.host.receiver().unwrap();
        let mut messages = packets.chunks(message);
        let (mut on_the_way, mut left) = (0, packets.len());
        while left > 0 {
            while on_the_way + message <= WINDOW
                && let Some(chunk) = messages.next()
            {
                on_the_way += chunk.len();
                chunk.iter().for_each(|bytes| assert!(mixer.receive(self.around.received(bytes))));
            }
            let Some(HostMessage::SendPackets(released)) = host.recv().await else { panic!("the mixer has ended") };
            on_the_way -= released.len();
            left -= released.len();
            released.into_iter().for_each(|outbound| outbound.packet.finish(Outcome::Forwarded));
        }
        assert_eq!(self.around.balance().dropped_total(), 0);
    }
}
