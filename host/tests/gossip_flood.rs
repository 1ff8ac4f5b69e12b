//! Small valid messages in a flood: what a relay keeps of them, and what honest peers lose.
//!
//! The counting allocator sees the whole process, so one test function keeps other tests out of the count.
#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers fail the test")]

mod support;

use std::{
    alloc::System,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use futures::{AsyncWriteExt as _, future::join_all};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{
    raw::{Muxer, RawPeer, frame},
    relay::{Listener, RELAY, publication},
    until,
};
use wakumix_host::GossipLimits;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const HOSTILE: usize = 6;
const HONEST: usize = 8;
/// Messages of the flood that the relay reads, while honest ones pass and where it is alone.
const FLOODS: (u64, u64) = (4000, 20_000);
/// Bytes of each.
const MESSAGE_LEN: usize = 60;

/// What one message costs in gossipsub's tables at least, and at most, when they have just doubled.
const BYTES_PER_MESSAGE: (u64, u64) = (300, 1200);
/// What sockets, streams and queues of six peers take besides.
const BESIDES: u64 = 8 << 20;

/// What a flood left.
struct Outcome {
    /// Messages that the relay took as new.
    taken: u64,
    /// How long it lasted, rounded up.
    seconds: u64,
    /// Bytes on the heap more than before.
    grown: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_small_messages_is_kept_in_bounds_and_takes_nothing_from_honest_peers() {
    // A tenth of the usual rates, since nine slow hosts share the machine with the flood.
    let usual = GossipLimits::default();
    let limits = GossipLimits {
        messages_per_second: usual.messages_per_second / 10,
        copies_per_second: usual.copies_per_second / 10,
        read_messages_per_second: usual.read_messages_per_second / 10,
        ..usual.clone()
    };
    let honest = Honest::start(&limits, HONEST).await;
    let outcome = flood(&honest, FLOODS.0).await;
    outcome.assert_within(&limits);
    honest.hear_each_other().await;
    drop(honest);

    let relay = Honest::start(&usual, 0).await;
    let outcome = flood(&relay, FLOODS.1).await;
    println!("with the usual limits: {} messages taken, {} bytes more", outcome.taken, outcome.grown);
    outcome.assert_within(&usual);
    assert!(outcome.grown < outcome.taken * BYTES_PER_MESSAGE.1 + BESIDES, "{} bytes more", outcome.grown);
    drop(relay);

    // Without limits: otherwise there was nothing to be kept in bounds.
    let most = u32::MAX;
    let none = GossipLimits {
        messages_per_second: most,
        bytes_per_second: most.into(),
        read_messages_per_second: most,
        read_bytes_per_second: most.into(),
        control_bytes_per_second: most.into(),
        ..usual
    };
    let outcome = flood(&Honest::start(&none, 0).await, FLOODS.1).await;
    println!("without limits: {} messages taken, {} bytes more", outcome.taken, outcome.grown);
    assert!(outcome.taken >= FLOODS.1, "{}", outcome.taken);
    assert!(outcome.grown > outcome.taken * BYTES_PER_MESSAGE.0, "{} bytes more", outcome.grown);
}

impl Outcome {
    fn assert_within(&self, limits: &GossipLimits) {
        let allowed = u64::from(limits.messages_per_second) * (self.seconds + 2 * limits.burst.as_secs());
        assert!(self.taken <= allowed, "{} of {allowed}", self.taken);
    }
}

/// A relay, and honest ones that hear of each other through it.
struct Honest {
    relay: Listener,
    others: Vec<Listener>,
}

impl Honest {
    async fn start(limits: &GossipLimits, others: usize) -> Self {
        let start = || Listener::start_with(|config| config.gossip = limits.clone());
        let (relay, others) = (start().await, join_all((0..others).map(|_| start())).await);
        for other in &others {
            other.node.connect(relay.node.full_address(0)).await;
        }
        if let [first, second, ..] = &others[..] {
            until(async || relay.node.metric("libp2p_gossipsub_healthy_peers_topics") == 1).await;
            first.reaches(second).await;
        }
        Self { relay, others }
    }

    /// One publishes, if there is one; it reaches the relay, and through it another.
    async fn pass(&self, data: Vec<u8>) {
        if let [first, second, ..] = &self.others[..] {
            assert!(first.publish(data.clone()).await.is_ok());
            self.relay.sees(&data).await;
            second.sees(&data).await;
        }
    }

    /// Nobody was blamed, and what one says reaches all.
    async fn hear_each_other(&self) {
        self.relay.node.peers(HONEST).await;
        let data = b"after the flood".to_vec();
        assert!(self.others[0].publish(data.clone()).await.is_ok());
        join_all(self.others.iter().skip(1).chain([&self.relay]).map(|listener| listener.sees(&data))).await;
    }
}

/// Six identities write as fast as the relay reads; twelve honest messages pass meanwhile.
async fn flood(honest: &Honest, messages: u64) -> Outcome {
    let (region, start) = (Region::new(ALLOCATOR), Instant::now());
    let number = Arc::new(AtomicU64::new(0));
    let mut floods = Vec::new();
    for _ in 0..HOSTILE {
        floods.push(Flooder::start(&honest.relay, &number).await);
    }
    for round in 1..=12 {
        until(async || read(&honest.relay) >= messages * round / 12).await;
        honest.pass(format!("honest {round}").into_bytes()).await;
    }
    let change = region.change();
    let taken = honest.relay.node.metric("waku_mix_gossip_admission_messages_total{outcome=\"new\"}");
    Outcome {
        taken,
        seconds: start.elapsed().as_secs() + 1,
        grown: u64::try_from(change.bytes_allocated.saturating_sub(change.bytes_deallocated)).unwrap(),
    }
}

/// Messages that a relay has read.
fn read(relay: &Listener) -> u64 {
    ["new", "copy", "peer_rate", "node_rate", "copy_rate"]
        .map(|outcome| format!("waku_mix_gossip_admission_messages_total{{outcome=\"{outcome}\"}}"))
        .iter()
        .map(|series| relay.node.metric(series))
        .sum()
}

/// An identity that sends valid messages, each of them new, as fast as they are read.
struct Flooder {
    _peer: RawPeer,
    _accepted: libp2p_stream::IncomingStreams,
    task: tokio::task::JoinHandle<()>,
}

impl Flooder {
    async fn start(relay: &Listener, number: &Arc<AtomicU64>) -> Self {
        let mut peer = RawPeer::start(Muxer::Yamux).await;
        let accepted = peer.accept(RELAY);
        peer.connect(relay.node.full_address(0)).await;
        let mut stream = peer.open(relay.node.peer(), RELAY).await;
        let number = number.clone();
        let task = tokio::spawn(async move {
            loop {
                let mut data = [7; MESSAGE_LEN];
                data[..8].copy_from_slice(&number.fetch_add(1, Ordering::Relaxed).to_le_bytes());
                if stream.write_all(&frame(&publication(&data))).await.is_err() {
                    return;
                }
            }
        });
        Self { _peer: peer, _accepted: accepted, task }
    }
}

impl Drop for Flooder {
    fn drop(&mut self) {
        self.task.abort();
    }
}
