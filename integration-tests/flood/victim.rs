//! The mixer that is flooded: the real program, from outside.

use std::{collections::BTreeMap, fmt, fs, net::SocketAddr, path::Path, time::Duration};

use libp2p::{Multiaddr, multiaddr::Protocol};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle, time::interval};
use wakumix_integration_tests::{
    http,
    net::{NodePlan, over_quic, parse_mix_node},
    process::Process,
};
use wakumix_mix::MixNode;
use wakumix_role_api::directory::ServiceNode;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// What admission and the mixer do with packets, by their names on the metrics page.
const SERIES: [&str; 2] = ["waku_mix_admission_frames_total", "waku_mix_packets_dropped_total"];

/// The process, before it says where it is.
pub(crate) struct Victim {
    process: Process,
    _keys: TempDir,
}

/// The mixer as others see it.
pub(crate) struct Target {
    /// Its entry in the pools of others.
    pub(crate) node: MixNode,
    /// Where it listens, for peers that know which it is.
    addresses: Vec<Multiaddr>,
    rest: SocketAddr,
    process: u32,
}

impl Victim {
    /// Starts the mixer with its default bounds, its keys on disk, on the processors of this thread.
    pub(crate) fn start(program: &Path) -> Self {
        Self::run(program, NodePlan::new("victim", &["mixer"]), &[])
    }

    /// The same with every door that a node has: TCP and QUIC, packets, lightpush and gossip; addresses of loopback count as
    /// those of strangers. It knows this pool and these relays.
    pub(crate) fn start_with_all_doors(program: &Path, pool: &[MixNode], relays: &[Multiaddr]) -> Self {
        let plan = over_quic(NodePlan::new("victim", &["relay", "mixer", "exit"])).without("host.shared-addresses");
        let pool = pool.iter().map(|node| {
            let address = node.address.multiaddr().with(Protocol::P2p(node.peer()));
            format!("--mixnode={address}:{}", node.key)
        });
        let relays = relays.iter().map(|relay| format!("--staticnode={relay}"));
        Self::run(program, plan, &pool.chain(relays).collect::<Vec<_>>())
    }

    fn run(program: &Path, plan: NodePlan, flags: &[String]) -> Self {
        let keys = TempDir::new().expect("a folder");
        let plan = ["mixer.capacity", "mix.delay", "mixkey"].into_iter().fold(plan, NodePlan::without);
        let plan = plan.with("rest", "true").with("keys.directory", keys.path().to_str().unwrap());
        let arguments = [&["node".to_owned()], plan.arguments().as_slice(), flags].concat();
        Self { process: Process::start(program, &arguments), _keys: keys }
    }

    /// Waits until it serves.
    pub(crate) async fn is_up(&mut self) -> Target {
        let said = self.process.says("REST on http://").await;
        let rest = said.split_whitespace().next().and_then(|address| address.parse().ok()).expect("an address");
        let info = http::get(rest, "/debug/v1/info").await.json();
        let addresses = info["listenAddresses"].as_array().expect("addresses").iter();
        let addresses = addresses.filter_map(|address| address.as_str()?.parse().ok()).collect();
        let address = over_tcp(&addresses);
        let key = info["mixPubKey"].as_str().expect("a mix key").trim_start_matches("0x");
        Target { node: parse_mix_node(&format!("{address}:{key}")), addresses, rest, process: self.process.id() }
    }
}

/// The first address over plain TCP.
fn over_tcp(addresses: &Vec<Multiaddr>) -> &Multiaddr {
    let is_tcp = |address: &&Multiaddr| matches!(address.iter().nth(1), Some(Protocol::Tcp(_)));
    addresses.iter().find(is_tcp).unwrap_or_else(|| panic!("no address over TCP in {addresses:?}"))
}

impl Target {
    /// Its address over TCP, with its peer id.
    pub(crate) fn tcp(&self) -> &Multiaddr {
        over_tcp(&self.addresses)
    }

    /// Its address over QUIC, with its peer id.
    pub(crate) fn quic(&self) -> &Multiaddr {
        let is_quic = |address: &&Multiaddr| address.iter().any(|part| part == Protocol::QuicV1);
        let found = self.addresses.iter().find(is_quic);
        found.unwrap_or_else(|| panic!("no address over QUIC in {:?}", self.addresses))
    }

    /// It as a lightpush service.
    pub(crate) fn service(&self) -> ServiceNode {
        ServiceNode::new(self.node.peer(), vec![self.node.address.multiaddr()])
    }

    /// Packets a second that it measured at its start.
    pub(crate) async fn capacity(&self) -> usize {
        let page = http::get(self.rest, "/metrics").await.body;
        let capacity = http::metric(&page, "waku_mix_capacity_packets_per_second").expect("a mixer tells its capacity");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let capacity = capacity as usize;
        capacity
    }

    /// What it has admitted, refused and dropped so far.
    pub(crate) async fn counts(&self) -> Counts {
        self.counts_of(&SERIES).await
    }

    /// The counters whose names begin so.
    pub(crate) async fn counts_of(&self, series: &[&str]) -> Counts {
        Counts::read(self.rest, series).await
    }

    /// Processor time that it has used.
    pub(crate) fn processor_time(&self) -> Duration {
        processor_time(self.process)
    }

    /// Begins to look at its memory.
    pub(crate) fn watch_memory(&self) -> MemoryWatch {
        MemoryWatch::of(self.process)
    }
}

/// Memory that is being watched.
pub(crate) struct MemoryWatch {
    stop: oneshot::Sender<()>,
    watch: JoinHandle<Memory>,
}

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// When the watch began.
    pub(crate) first: u64,
    /// The most that was seen.
    pub(crate) most: u64,
}

impl MemoryWatch {
    /// Begins to look at the memory of a process.
    pub(crate) fn of(process: u32) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let watch = tokio::spawn(async move {
            let (mut memory, mut ticks) = (Memory { first: resident(process), most: 0 }, interval(LOOK));
            while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                memory.most = memory.most.max(resident(process));
                ticks.tick().await;
            }
            memory
        });
        Self { stop, watch }
    }

    /// What was seen.
    pub(crate) async fn finish(self) -> Memory {
        self.stop.send(()).expect("the watch goes on until it is stopped");
        self.watch.await.expect("nothing panics in it")
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory of the node: {} MiB, at most {} MiB", self.first >> 20, self.most >> 20)
    }
}

/// Counters by their names.
pub(crate) struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// The counters whose names begin so, on the metrics page of a node.
    pub(crate) async fn read(rest: SocketAddr, series: &[&str]) -> Self {
        let page = http::get(rest, "/metrics").await.body;
        let ours = page.lines().filter(|line| series.iter().any(|series| line.starts_with(series)));
        let read = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        Self(ours.filter_map(read).collect())
    }

    /// How much each has grown.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let grown = |(name, count): (&String, &u64)| {
            let grown = count - before.0.get(name).copied().unwrap_or_default();
            (grown > 0).then(|| (name.clone(), grown))
        };
        Self(self.0.iter().filter_map(grown).collect())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, count)| writeln!(f, "  {count:>10} × {name}"))
    }
}

/// Resident memory of a process that runs, in bytes.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the node runs, on Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Processor time that a process that runs has used.
pub(crate) fn processor_time(process: u32) -> Duration {
    // proc(5): the 14th and 15th of the fields, of which the second, in parentheses, may contain spaces. A tick is a hundredth
    // of a second on every processor that Linux shows to programs.
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs, on Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}
