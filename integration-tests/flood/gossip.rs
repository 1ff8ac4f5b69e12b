//! Small valid gossip messages from six identities, as fast as a relay reads them: what it keeps of them.
//!
//!     cargo run --release -p wakumix-integration-tests --bin flood -- target/release/wakumix gossip 150
//!
//! gossipsub remembers ids for two minutes, so the most is there after some more than that. Exits with 1 if the relay took more
//! memory for it than docs/bounds.md says.

use std::{net::SocketAddr, path::Path, process::ExitCode, time::Duration};

use futures::{AsyncWriteExt as _, future::join_all};
use libp2p::{Multiaddr, PeerId, StreamProtocol, multiaddr::Protocol};
use tokio::time::{Instant, sleep, timeout_at};
use wakumix_integration_tests::{
    CLUSTER, TOPIC, http,
    net::NodePlan,
    peer::{Muxer, RawPeer},
    process::Process,
};
use wakumix_waku::{RELAY_PROTOCOL, frame};

use crate::{
    on_one_processor, verdict,
    victim::{Counts, MemoryWatch},
};

const PEERS: u64 = 6;
/// Bytes of what a message says; on the wire it has some 60.
const PAYLOAD_LEN: usize = 32;
/// What gossip may take: docs/bounds.md, "Memory of a mixer".
const CEILING: u64 = 92 << 20;
/// How long the relay is left alone afterwards.
const REST: Duration = Duration::from_secs(10);
const SERIES: [&str; 2] = ["waku_mix_gossip_admission_messages_total", "waku_mix_gossip_pauses_total"];

pub(crate) fn run(program: &Path, time: Duration) -> ExitCode {
    let plan = NodePlan::new("victim", &["relay"]).with("rest", "true");
    let arguments = [vec!["node".to_owned()], plan.arguments()].concat();
    let process = on_one_processor(|| Process::start(program, &arguments));
    let passed = wakumix_integration_tests::run(measure(process, time));
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(process: Process, time: Duration) -> bool {
    let said = process.says("REST on http://").await;
    let rest: SocketAddr = said.split_whitespace().next().and_then(|address| address.parse().ok()).expect("an address");
    let info = http::get(rest, "/debug/v1/info").await.json();
    let mut address: Multiaddr = info["listenAddresses"][0].as_str().expect("an address").parse().expect("one");
    let Some(Protocol::P2p(peer)) = address.pop() else { panic!("no peer in {info}") };

    let memory = MemoryWatch::of(process.id());
    let until = Instant::now() + time;
    let written = join_all((0..PEERS).map(|number| flood(number, peer, address.clone(), until))).await;
    let (counts, most) = (Counts::read(rest, &SERIES).await, memory.finish().await);
    sleep(REST).await;
    let after = MemoryWatch::of(process.id()).finish().await;
    println!("{PEERS} peers, {} s: {} messages written\n{counts}", time.as_secs(), written.iter().sum::<u64>());
    println!("{most}; {} s later {} MiB", REST.as_secs(), after.first >> 20);

    let grown = most.most.saturating_sub(most.first);
    let held = grown <= CEILING;
    println!("memory: {} MiB more, ceiling {} MiB; {}", grown >> 20, CEILING >> 20, verdict(held));
    held
}

/// Writes messages, each of them new, for as long as they are read; gives how many.
async fn flood(peer_number: u64, relay: PeerId, address: Multiaddr, until: Instant) -> u64 {
    const RELAY: StreamProtocol = StreamProtocol::new(RELAY_PROTOCOL);
    let peer = RawPeer::start(Muxer::Yamux, CLUSTER).await;
    let _streams = peer.accept(RELAY);
    peer.connect(relay, address).await;
    let mut stream = peer.open(relay, RELAY).await;
    let (mut number, mut batch) = (0, Vec::new());
    loop {
        batch.clear();
        for _ in 0..64 {
            number += 1;
            batch.extend(message(peer_number << 40 | number));
        }
        if !matches!(timeout_at(until, stream.write_all(&batch)).await, Ok(Ok(()))) {
            return number;
        }
    }
}

/// A frame with one message.
fn message(number: u64) -> Vec<u8> {
    let mut payload = [0; PAYLOAD_LEN];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    let data = [field(1, &payload), field(2, b"/f/1/f/proto")].concat();
    frame::encode(&field(2, &[field(2, &data), field(4, TOPIC.as_bytes())].concat()))
}

/// A protobuf field of bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], frame::encode(content).as_slice()].concat()
}
