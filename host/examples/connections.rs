//! What connections cost a node: `cargo run -p wakumix-host --example connections -- 2000 0 yamux`.
//!
//! Senders from forty /24s of loopback connect to one host, and some of them then write on all streams that they may open and of
//! which nobody reads: they fill the mixer's buffers, or ask a service that does not answer. They run in their own process;
//! the resident memory of the host's is told after each step.
#![allow(clippy::disallowed_methods, reason = "no part of a node: a panic ends the program")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "no part of a node")]

use std::{
    io::{BufRead, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use futures::{AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    core::{Transport as _, upgrade::Version},
    identify,
    identity::Keypair,
    multiaddr::Protocol,
    noise, ping,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use parking_lot::Mutex;
use tokio::{sync::broadcast, task::JoinSet, time::sleep};
use wakumix_host::{ConnectionLimits, HostConfig, HostParts, METRICS, MixPort, start};
use wakumix_mix::Ledger;
use wakumix_role_api::{Formats, Service, Services, Tasks, host::HostHandle, mailbox, mixer::MixerHandle};
use wakumix_sphinx::WireFormat;
use wakumix_waku::lightpush::V3_PROTOCOL;

#[path = "../tests/support/from.rs"]
mod from;

/// Subnets that senders come from.
const SUBNETS: usize = 40;
/// As the host has it, while there are further places.
const MIX_STREAMS: usize = 256;
const REQUEST_STREAMS: usize = 16;
/// What hostile senders try to write on each stream.
const POURED: usize = 4 << 20;
/// From the last write to the last measurement.
const FINISH: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [address, senders, hostile, muxer] => {
            let address = address.parse().expect("an address");
            senders_of(address, number(senders), number(hostile), muxer == "mplex").await;
        }
        [senders, hostile, muxer] => node(senders, hostile, muxer).await,
        _ => println!("usage: connections SENDERS HOSTILE yamux|mplex"),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// The node, and the report.
async fn node(senders: &str, hostile: &str, muxer: &str) {
    let telemetry = wakumix_role_testkit::telemetry(&METRICS);
    let (host_address, inbox) = mailbox("host", 1024, &telemetry);
    let handle = HostHandle::new(host_address);
    // Nobody reads: every packet stays where it is.
    let (received, _packets) = mailbox("mixer", 8192, &telemetry);
    let (local, _local) = mailbox("mixer_local", 1, &telemetry);
    let (tasks, _fatal) = Tasks::new(tokio::runtime::Handle::current(), telemetry.clone());
    let formats = Formats::new([WireFormat::default().format()], 1024);
    let unanswered = Mutex::new(Vec::new());
    let service = Service::new(V3_PROTOCOL, 1024, move |request| unanswered.lock().push(request));
    let (events, _) = broadcast::channel(4096);
    let total = number(senders) * 4 / 3 + 8;
    let mut config = HostConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], ..HostConfig::default() };
    config.connections = ConnectionLimits { total, inbound: number(senders), ..ConnectionLimits::default() };
    let parts = HostParts {
        identity: Keypair::from(libp2p::identity::secp256k1::Keypair::generate()),
        inbox,
        mix: Some(MixPort {
            mixer: MixerHandle::new(received, local),
            lines: handle.lines().clone(),
            formats,
            ledger: Ledger::new(),
            pressure: Arc::default(),
        }),
        relay: None,
        services: Services::new([("test", vec![service])]).unwrap(),
        events,
        telemetry: telemetry.clone(),
        tasks,
    };
    let host = start(config, parts).await.expect("the host starts");
    let address = host.listen_addresses()[0].clone().with(Protocol::P2p(host.peer()));
    let before = resident();
    println!("at rest: {before} KiB");
    let program = std::env::current_exe().unwrap();
    let arguments = [&address.to_string(), senders, hostile, muxer].map(ToOwned::to_owned);
    let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let (told, mut tell) = tokio::sync::mpsc::channel(8);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let _ = told.blocking_send(line);
        }
    });
    while let Some(step) = tell.recv().await {
        let page = telemetry.render();
        let series = |name: &str| page.lines().find_map(|line| line.strip_prefix(name)).unwrap_or(" -").to_owned();
        let now = resident();
        println!(
            "{step}: {now} KiB, {} KiB more; connections{}",
            now.saturating_sub(before),
            series("waku_mix_inbound_connections")
        );
    }
    child.wait().unwrap();
}

/// KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[derive(NetworkBehaviour)]
struct Sender {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// The senders, which say on their standard output how far they are.
async fn senders_of(address: Multiaddr, senders: usize, hostile: usize, mplex: bool) {
    let Some(Protocol::P2p(node)) = address.iter().last() else { return };
    let mut all = Vec::new();
    for n in 0..senders {
        all.push(connected(&address, n, mplex).await);
    }
    sleep(FINISH).await;
    println!("{senders} senders");
    let mut pours = JoinSet::new();
    for control in all.into_iter().take(hostile) {
        let streams = std::iter::repeat_n(true, MIX_STREAMS).chain(std::iter::repeat_n(false, REQUEST_STREAMS));
        streams.for_each(|mix| _ = pours.spawn(pour(control.clone(), node, mix)));
    }
    if hostile > 0 {
        for _ in 0..4 {
            sleep(FINISH).await;
            println!("{hostile} of them write what nobody reads");
        }
    }
    std::io::stdout().flush().unwrap();
}

/// Connects a sender; it stays until the process ends.
async fn connected(address: &Multiaddr, n: usize, mplex: bool) -> libp2p_stream::Control {
    let identity = Keypair::from(libp2p::identity::secp256k1::Keypair::generate());
    let (subnet, member) = (n % SUBNETS, n / SUBNETS);
    let ip = format!("127.1.{subnet}.{}", member % 254 + 1).parse().unwrap();
    let tcp = from::From { ip, tcp: tcp::tokio::Transport::default() }
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&identity).unwrap());
    let behaviour = |key: &Keypair| Sender {
        identify: identify::Behaviour::new(identify::Config::new("ipfs/0.1.0".to_owned(), key.public())),
        ping: ping::Behaviour::default(),
        streams: libp2p_stream::Behaviour::new(),
    };
    let builder = SwarmBuilder::with_existing_identity(identity).with_tokio();
    let idle = |config: libp2p::swarm::Config| config.with_idle_connection_timeout(Duration::from_secs(3600));
    let mut swarm: Swarm<Sender> = if mplex {
        let transport = tcp.multiplex(libp2p_mplex::Config::new());
        let builder = builder.with_other_transport(|_| transport).unwrap().with_behaviour(behaviour).unwrap();
        builder.with_swarm_config(idle).build()
    } else {
        let transport = tcp.multiplex(yamux::Config::default());
        let builder = builder.with_other_transport(|_| transport).unwrap().with_behaviour(behaviour).unwrap();
        builder.with_swarm_config(idle).build()
    };
    swarm.dial(address.clone()).unwrap();
    loop {
        if let SwarmEvent::ConnectionEstablished { .. } = swarm.select_next_some().await {
            break;
        }
    }
    let control = swarm.behaviour().streams.new_control();
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    control
}

async fn pour(mut control: libp2p_stream::Control, node: PeerId, mix: bool) {
    let protocol = StreamProtocol::new(if mix { "/mix/1.0.0" } else { V3_PROTOCOL });
    let Ok(mut stream) = control.open_stream(node, protocol).await else { return };
    let length = if mix { 4608u32 } else { 8 };
    let mut buffer = unsigned_varint::encode::u32_buffer();
    let frame = [unsigned_varint::encode::u32(length, &mut buffer), &vec![7; length as usize]].concat();
    for _ in 0..POURED / frame.len() {
        if stream.write_all(&frame).await.is_err() {
            return;
        }
        let _ = stream.flush().await;
    }
}
