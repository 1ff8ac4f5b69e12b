//! The table of keys: the one place that knows each key's name, kind, default and meaning.
//!
//! Flags, `--help`, the checks, `config show` and the documentation are made from it. Adding a key takes one entry
//! here and one field in [`Config`](super::Config); a test compares the two.

use figment::value::Value;
use wakumix_waku::lightpush::{V2_PROTOCOL, V3_PROTOCOL};

use super::{
    kind::{Kind, list_items},
    values::ValueError,
};

/// The parts of the table, in the order of help and documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Node,
    Identity,
    Addresses,
    Peers,
    Discovery,
    Waku,
    Rest,
    Pool,
    Host,
    Mix,
    MixKeys,
    Mixer,
    Exit,
    Sender,
    Relay,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Its name as in a file; a dot separates a table from a key in it.
    pub(crate) path: &'static str,
    /// What it accepts.
    pub(crate) kind: Kind,
    /// Whether it takes a list of such values.
    pub(crate) many: bool,
    /// Its default as written in an environment variable; `None` when it is unset.
    pub(crate) default: Option<&'static str>,
    /// The part of the table that it stands in.
    pub(crate) group: Group,
    /// What it means, its unit, and what goes wrong at its ends.
    pub(crate) doc: &'static str,
}

impl Group {
    /// All groups in order.
    pub(crate) const ALL: [Self; 15] = [
        Self::Node,
        Self::Identity,
        Self::Addresses,
        Self::Peers,
        Self::Discovery,
        Self::Waku,
        Self::Rest,
        Self::Pool,
        Self::Host,
        Self::Mix,
        Self::MixKeys,
        Self::Mixer,
        Self::Exit,
        Self::Sender,
        Self::Relay,
    ];

    /// The heading in help and documentation.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Identity => "Identity",
            Self::Addresses => "Addresses",
            Self::Peers => "Peers",
            Self::Discovery => "Discovery",
            Self::Waku => "Waku",
            Self::Rest => "REST, metrics, log",
            Self::Pool => "Mix pool",
            Self::Host => "Host",
            Self::Mix => "Mix",
            Self::MixKeys => "Mix keys",
            Self::Mixer => "Mixer role",
            Self::Exit => "Exit role",
            Self::Sender => "Sender role",
            Self::Relay => "Relay role",
        }
    }
}

impl Key {
    const fn of(group: Group, path: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { path, kind, many: false, default: None, group, doc }
    }

    const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// A list, empty unless a default follows.
    const fn list(mut self) -> Self {
        self.many = true;
        self.default = Some("");
        self
    }

    /// A list that something else decides unless it is given.
    const fn unset_list(mut self) -> Self {
        self.many = true;
        self
    }

    /// Reads a written value into canonical form; one clause for each thing that is wrong.
    pub(crate) fn read(&self, raw: Value) -> Result<Value, Vec<ValueError>> {
        if !self.many {
            return self.kind.read(&raw).map_err(|error| vec![error]);
        }
        let mut values = Vec::new();
        let mut errors = Vec::new();
        for item in list_items(raw) {
            match self.kind.read(&item) {
                Ok(value) => values.push(value),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Value::from(values)) } else { Err(errors) }
    }

    /// What it accepts, list or not.
    pub(crate) fn form(&self) -> String {
        if self.many { format!("a list, each {}", self.kind.form()) } else { self.kind.form() }
    }

    /// What it means, as the beginning of a sentence.
    pub(crate) fn sentence(&self) -> String {
        capitalised(self.doc)
    }

    /// The table that the key stands in and its name there.
    pub(crate) fn split(&self) -> (Option<&'static str>, &'static str) {
        match self.path.split_once('.') {
            Some((table, name)) => (Some(table), name),
            None => (None, self.path),
        }
    }
}

/// A text with a capital letter in front.
pub(crate) fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// The key of a path.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether some key stands in the table of this name.
pub(crate) fn is_table(name: &str) -> bool {
    KEYS.iter().any(|key| key.split().0 == Some(name))
}

use Group::{
    Addresses, Discovery, Exit, Host, Identity, Mix, MixKeys, Mixer, Node, Peers, Pool, Relay, Rest, Sender, Waku,
};

/// One hour in milliseconds: more than anything here should ever wait.
const HOUR_MS: u64 = 3_600_000;

const fn number(min: u64, max: u64) -> Kind {
    Kind::Number { min, max }
}

const fn time(min_ms: u64, max_ms: u64) -> Kind {
    Kind::Time { min_ms, max_ms }
}

/// Every key, grouped, tables last.
#[rustfmt::skip]
pub(crate) const KEYS: &[Key] = &[
    Key::of(Node, "preset", Kind::Preset,
        "bundle of values for a known network; stands between the defaults and the file"),
    Key::of(Node, "roles", Kind::Role,
        "what the node is; without it the fleet's switches decide: relay is on unless relay = false, mix = true adds mixer and exit. An exit forwards packets of others like a mixer: paths run through every node of a pool").unset_list(),
    Key::of(Node, "drain-timeout", time(0, HOUR_MS),
        "how long a stopping node may spend on sending what it holds; keep it below the supervisor's kill time").or("20s"),

    Key::of(Identity, "nodekey", Kind::NodeKey,
        "identity in libp2p; prefer nodekey-file: flags and environment are visible to others. Without either, each start makes a new one"),
    Key::of(Identity, "nodekey-file", Kind::File,
        "file with the identity, 64 hex characters, readable by its owner only"),
    Key::of(Identity, "mixkey", Kind::MixKey,
        "mix key; prefer mixkey-file. Without either, each start makes a new one and what other nodes know of this one goes stale"),
    Key::of(Identity, "mixkey-file", Kind::File,
        "file with the mix key, 64 hex characters, readable by its owner only"),

    Key::of(Addresses, "listen-address", Kind::Ip,
        "address that the transports bind; mix roles need IPv4, a packet header carries nothing else").or("0.0.0.0"),
    Key::of(Addresses, "tcp-port", Kind::Port,
        "TCP port of libp2p; 0 takes any free one").or("60000"),
    Key::of(Addresses, "quic-support", Kind::Bool,
        "listen on QUIC").or("false"),
    Key::of(Addresses, "quic-port", Kind::Port,
        "UDP port of QUIC; 0 takes any free one").or("60000"),
    Key::of(Addresses, "websocket-support", Kind::Bool,
        "listen on WebSocket").or("false"),
    Key::of(Addresses, "websocket-port", Kind::Port,
        "TCP port of WebSocket; 0 takes any free one").or("8000"),
    Key::of(Addresses, "ports-shift", number(0, 65_535),
        "added to every port of this node except 0").or("0"),
    Key::of(Addresses, "nat", Kind::Nat,
        "how others reach this node: extip:<IP> announces that address with the ports of this node; any, upnp and pmp are accepted and map no ports").or("none"),
    Key::of(Addresses, "ext-multiaddr", Kind::Address,
        "addresses to announce before all others; the first one that a header can carry is this node's hop address").list(),
    Key::of(Addresses, "ext-multiaddr-only", Kind::Bool,
        "announce ext-multiaddr and nothing else").or("false"),
    Key::of(Addresses, "autonat", Kind::Bool,
        "let other nodes try whether they can dial this one, and try it for them").or("true"),
    Key::of(Addresses, "circuit-relay", Kind::Bool,
        "relay connections for nodes that nobody can dial; costs their traffic twice, so only for nodes with a public address").or("false"),
    Key::of(Addresses, "relay-reservation", Kind::Peer,
        "relays to be reachable through; without any, a node that nobody can dial asks relays that it finds").list(),

    Key::of(Peers, "staticnode", Kind::Peer,
        "peers to stay connected to").list(),
    Key::of(Peers, "lightpushnode", Kind::Peer,
        "lightpush services in order of preference; one that is also a mixnode is exit and destination at once").list(),
    Key::of(Peers, "mixnode", Kind::MixNode,
        "static mix pool; the node itself may be in the list and is skipped, so one list can serve a whole network").list(),
    Key::of(Peers, "max-connections", number(1, 100_000),
        "libp2p connections, incoming and outgoing; further ones are refused").or("150"),
    Key::of(Peers, "ip-colocation-limit", number(0, 100_000),
        "peers on one IP address before gossipsub marks them down; 0 turns the rule off, as needed behind bridges and on one machine").or("5"),

    Key::of(Discovery, "entry-node", Kind::EntryNode,
        "nodes to find the network from, each as a node record, a multiaddr or a DNS list; each is handed to the kinds of discovery that can use it, which turns discv5 or DNS lists on").list(),
    Key::of(Discovery, "discv5-discovery", Kind::Bool,
        "find nodes, and be found, by Node Discovery v5; unset means on when there is a record to begin from"),
    Key::of(Discovery, "discv5-udp-port", Kind::Port,
        "UDP port of discv5; 0 takes any free one").or("9000"),
    Key::of(Discovery, "discv5-bootstrap-node", Kind::NodeRecord,
        "records of the nodes that discv5 asks first").list(),
    Key::of(Discovery, "discv5-enr-auto-update", Kind::Bool,
        "let the own record take the address that most others see; off where addresses are configured").or("false"),
    Key::of(Discovery, "descriptors", Kind::Bool,
        "ask nodes for signed mix descriptors and serve them; they carry keys that do not fit a node record, and their changes").or("true"),
    Key::of(Discovery, "rendezvous", Kind::Bool,
        "Waku rendezvous: register with, ask and be a rendezvous point").or("true"),
    Key::of(Discovery, "peer-exchange", Kind::Bool,
        "ask nodes for records of others and answer such requests").or("true"),
    Key::of(Discovery, "peer-exchange-node", Kind::Peer,
        "nodes to ask for records first").list(),
    Key::of(Discovery, "enable-kad-discovery", Kind::Bool,
        "Kademlia service discovery, as newer nodes of the fleet use it to find mix keys").or("false"),
    Key::of(Discovery, "kad-bootstrap-node", Kind::Peer,
        "nodes that Kademlia service discovery asks first; none for the first node of a network").list(),
    Key::of(Discovery, "kad-random-lookup-interval", number(1, 86_400),
        "seconds between two random walks of Kademlia service discovery").or("60"),
    Key::of(Discovery, "kad-service-lookup-interval", number(1, 86_400),
        "seconds between two look-ups of mix nodes by Kademlia service discovery").or("60"),
    Key::of(Discovery, "dns-discovery", Kind::Bool,
        "read lists of nodes from DNS (EIP-1459)").or("false"),
    Key::of(Discovery, "dns-discovery-url", Kind::DnsTree,
        "the lists, enrtree://<key>@<domain>").list(),
    Key::of(Discovery, "dns-addrs-name-server", Kind::Ip,
        "name servers that are asked for lists; without any, those of the system").list(),
    Key::of(Discovery, "mix-allow-all-addresses", Kind::Bool,
        "take nodes at private and loopback addresses: for test nets and closed fleets only, a stranger could make this node dial what lies behind it").or("false"),
    Key::of(Discovery, "local-storage-path", Kind::File,
        "folder for what the node learns: the last good directory, which lets a restarted node begin where it stopped. Without it nothing is kept"),
    Key::of(Discovery, "operator", Kind::Tag,
        "name of who runs this node, published with it; no path has two nodes of one name"),
    Key::of(Discovery, "family", Kind::PeerId,
        "peer ids of other nodes of the same operator, published; counts where the others say the same. No path of this node has two of them").list(),

    Key::of(Waku, "cluster-id", number(0, 65_535),
        "network of the node; peers of another cluster are disconnected").or("0"),
    Key::of(Waku, "shard", number(0, 1023),
        "shards that the relay joins").list().or("0"),
    Key::of(Waku, "num-shards-in-network", number(0, 1024),
        "shards of the cluster, for deriving a shard from a content topic; 0 turns that off, then requests must name the pubsub topic").or("0"),
    Key::of(Waku, "max-msg-size", Kind::Size { min: 1024, max: 16 << 20 },
        "largest encoded message that is published here; what others publish is passed on up to 150KiB with its envelope, which is what nodes of the network read").or("150KiB"),
    Key::of(Waku, "rate-limit", Kind::RateLimit,
        "requests that a service takes: lightpush for peers, each of whom gets three quarters, mix for all who come through the mixnet together; a service without an entry takes all").list().or("lightpush:5/1s,mix:100/1s"),

    Key::of(Rest, "rest", Kind::Bool,
        "serve the REST interface").or("true"),
    Key::of(Rest, "rest-address", Kind::Ip,
        "address of the REST interface; it has no access control, keep it on loopback or behind a proxy").or("127.0.0.1"),
    Key::of(Rest, "rest-port", Kind::Port,
        "TCP port of the REST interface; 0 takes any free one").or("8645"),
    Key::of(Rest, "rest-admin", Kind::Bool,
        "serve /admin on an address that is not loopback; there it always is").or("false"),
    Key::of(Rest, "rest-allow-host", Kind::HostName,
        "names by which programs reach REST besides IP addresses and localhost; requests to other names are refused, a web page could have made them").list(),
    Key::of(Rest, "rest-relay-cache-capacity", number(1, 1_000_000),
        "messages kept for each subscription made by REST; the oldest go first").or("50"),
    Key::of(Rest, "metrics-server", Kind::Bool,
        "serve /metrics and /health on a port of their own").or("false"),
    Key::of(Rest, "metrics-server-address", Kind::Ip,
        "address of the metrics server").or("127.0.0.1"),
    Key::of(Rest, "metrics-server-port", Kind::Port,
        "TCP port of the metrics server; 0 takes any free one").or("8008"),
    Key::of(Rest, "log-level", Kind::LogLevel,
        "least severe events of this program that are logged, and target=level for others, as in info,libp2p_swarm=debug; libraries are kept to warnings until named").or("info"),
    Key::of(Rest, "log-format", Kind::Choice(&["text", "json"]),
        "form of log lines").or("text"),

    Key::of(Pool, "pool.check-interval", time(1000, HOUR_MS),
        "between two checks of a pool node that answers, at most; long intervals keep dead nodes longer, short ones cost every pool node a request").or("1m"),
    Key::of(Pool, "pool.max-age", time(1000, 24 * HOUR_MS),
        "how long a node is believed to be alive after it was last reached").or("30m"),

    Key::of(Host, "host.require-metadata", Kind::Bool,
        "disconnect peers that do not answer metadata, as the fleet does; mix nodes without Waku are such peers").or("false"),
    Key::of(Host, "host.queue-packets", number(1, 65_536),
        "packets that wait for one peer; further ones are dropped and counted").or("256"),
    Key::of(Host, "host.inject-loss", Kind::Percent,
        "share of its packets that the node loses on purpose instead of writing them: for tests of what senders do about it, nothing else").or("0%"),
    Key::of(Host, "host.inject-loss-seed", number(0, 0xffff_ffff),
        "makes the same losses again").or("0"),

    Key::of(Mix, "mix.profile", Kind::Profile,
        "wire profiles that the node serves, the one for its own packets first; at most one besides sphinx-packet. Every node of a path must run the same, and a mismatch shows as silence").list().or("lioness/pad"),
    Key::of(Mix, "mix.delay", Kind::Delay,
        "mean wait at each hop that packets made here ask for; none asks for no waiting, as nodes of nwaku 2025-12 need").or("50ms"),
    Key::of(Mix, "mix.buffers", number(16, 1_000_000),
        "packets that the node holds at once, 4.6 kB each; when all are in use, packets are dropped and counted").or("16384"),

    Key::of(MixKeys, "keys.directory", Kind::File,
        "folder for mix keys and their replay tags, for this node alone. Without it both end with the process, and what was recorded could be replayed to a mixkey that is used again"),
    Key::of(MixKeys, "keys.lifetime", time(10_000, 400 * 24 * HOUR_MS),
        "how long a mix key is current before the next one, which is announced, takes its place; a mixkey that is set is never replaced. Short lives cost everybody a new record, long ones keep recorded packets openable").or("24h"),
    Key::of(MixKeys, "keys.overlap", time(0, 30 * 24 * HOUR_MS),
        "how long a mix key still opens packets after its successor took its place; below what a packet takes on its way, honest ones are lost").or("1h"),
    Key::of(MixKeys, "keys.tag-sync", time(0, 60_000),
        "how long a replay tag may take to reach the disk after its packet went on; 0 lets no packet go on before. Survives kill -9 in any case, a power failure only up to this time").or("0ms"),
    Key::of(MixKeys, "keys.replay-tags", number(1024, 1 << 30),
        "packets of one mix key that are remembered against replay; when all are used, packets are refused until the next key").or("3670016"),

    Key::of(Mixer, "mixer.delay-rule", Kind::Choice(&["exponential", "as-encoded"]),
        "how long a packet is held: a draw around the mean that it carries, or exactly what it carries, as the fleet did until mid 2026").or("exponential"),
    Key::of(Mixer, "mixer.max-delay", time(1, 65_535),
        "longest that a packet is held; low values break the law that senders count on, high ones let a packet keep its buffer for long").or("10s"),
    Key::of(Mixer, "mixer.max-held", number(1, 1 << 20),
        "packets held for their delay; low values drop honest packets, high ones let a flood take memory").or("8192"),
    Key::of(Mixer, "mixer.max-waiting", number(1, 1 << 20),
        "packets that wait to be unwrapped; low values drop packets of a burst, high ones let all of it wait").or("1024"),
    Key::of(Mixer, "mixer.max-batch", number(1, 1024),
        "packets that one worker takes at a time; high values add latency").or("32"),
    Key::of(Mixer, "mixer.cover", Kind::Cover,
        "mean time between two packets that the node sends through two others to itself: by-role is 10s for nodes that forward and none for others. Short times cost bandwidth, three packets for each, long ones hide and show little").or("by-role"),
    Key::of(Mixer, "mixer.capacity", number(0, 10_000_000),
        "packets a second that the node takes from its peers together, shared between those who send; 0 measures it at the start. Too low refuses what could be done; too high is noticed in work, after some packets are lost").or("0"),

    Key::of(Exit, "exit.codecs", Kind::Choice(&[V3_PROTOCOL, V2_PROTOCOL]),
        "protocols that requests out of the mixnet may use; everything else is dropped and counted").list()
        .or("/vac/waku/lightpush/3.0.0,/vac/waku/lightpush/2.0.0-beta1"),
    Key::of(Exit, "exit.forward", Kind::Bool,
        "pass requests on to services of other nodes, not only to this node's own").or("true"),
    Key::of(Exit, "exit.allow-private-addresses", Kind::Bool,
        "pass requests on to every private and loopback address; without it only to those of the closed network that the node itself is in. It opens what lies behind the exit").or("false"),
    Key::of(Exit, "exit.networks", Kind::Network,
        "networks that requests may be passed on to besides public addresses and the node's own closed network").list(),
    Key::of(Exit, "exit.ports", Kind::Ports,
        "ports that requests may be passed on to; services of the directory are asked at any. Ports below 1024 are where a machine's own services are").list().or("443,1024-65535"),
    Key::of(Exit, "exit.max-requests", number(1, 65_536),
        "requests at work at a time, up to 8 kB each; further ones are dropped and counted").or("256"),
    Key::of(Exit, "exit.service-timeout", time(1, HOUR_MS),
        "wait for the answer of a service; above the senders' own limit nobody hears it").or("5s"),
    Key::of(Exit, "exit.hold", Kind::Delay,
        "mean wait of each answer before it leaves; none shows which answers belong together").or("50ms"),
    Key::of(Exit, "exit.max-fragment-sets", number(0, 65_536),
        "requests in fragments that may be incomplete at a time, for each packet format; beyond them the oldest is given up. 0 takes no fragments").or("1024"),
    Key::of(Exit, "exit.max-fragment-bytes", Kind::Size { min: 64 << 10, max: 1 << 30 },
        "memory of incomplete requests, for each packet format; beyond it the oldest is given up").or("4MiB"),
    Key::of(Exit, "exit.fragment-timeout", time(1, HOUR_MS),
        "time from the first fragment of a request to its last").or("10s"),

    Key::of(Sender, "sender.timeout", time(1, HOUR_MS),
        "wait for the answer to a request that names no limit of its own; short ones give up on messages that were published").or("10s"),
    Key::of(Sender, "sender.max-timeout", time(1, HOUR_MS),
        "longest wait that a request may ask for; what opens its answer is kept as long").or("1m"),
    Key::of(Sender, "sender.surbs", number(1, 5),
        "reply blocks in a request; the exit answers through all of them, and each costs 734 bytes of payload").or("1"),
    Key::of(Sender, "sender.parity", number(0, 4),
        "fragments beyond those needed, in each request that does not fit one packet: as many may get lost; each costs a packet").or("0"),
    Key::of(Sender, "sender.in-flight", number(1, 65_536),
        "requests that may wait for their answers, about 4 kB each; further ones are refused as busy").or("512"),
    Key::of(Sender, "sender.queue-bytes", Kind::Size { min: 8 << 10, max: 1 << 30 },
        "memory of requests that wait for their answers; further ones are refused as busy").or("4MiB"),
    Key::of(Sender, "sender.window", number(1, 65_536),
        "requests under way in the mixnet at a time; the others wait their turn. High values make bursts that hops and services refuse").or("64"),
    Key::of(Sender, "sender.hold", Kind::Delay,
        "mean wait of packets made here before they leave; none shows the first link when a request was made").or("50ms"),

    Key::of(Relay, "relay.lightpush", Kind::Bool,
        "serve lightpush v3 and v2 to peers and, with the exit role, to the mixnet").or("true"),
    Key::of(Relay, "relay.follow-capacity", number(1, 1_000_000),
        "messages that a local reader may lag behind before it loses the oldest").or("1024"),
    Key::of(Relay, "relay.max-in-flight", number(1, 100_000),
        "publications in progress; further ones are refused with status 429").or("64"),
];
