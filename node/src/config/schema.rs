//! The keys of a node: those that it has itself, and those of its roles.
//!
//! Flags, `--help`, the checks, `config show` and the documentation are made from them. Adding a key of the node takes one
//! entry here and one field in [`Config`](super::Config), and a test compares the two; a key of a role stands in the role's
//! table alone.

use std::sync::Arc;

use wakumix_role_api::config::{Key, ValueKind};

use super::{kind, presets};
use crate::roles::{Roles, RolesError};

/// The headings of the node's own keys, in the order of help and documentation; those of the roles follow.
const NODE: &str = "Node";
const IDENTITY: &str = "Identity";
const ADDRESSES: &str = "Addresses";
const PEERS: &str = "Peers";
const DISCOVERY: &str = "Discovery";
const WAKU: &str = "Waku";
const REST: &str = "REST, metrics, log";
const POOL: &str = "Mix pool";
const HOST: &str = "Host";
const MIX: &str = "Mix";
const MIX_KEYS: &str = "Mix keys";

/// Every key that a node of some roles has. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema {
    keys: Arc<[Key]>,
}

impl Schema {
    /// The keys of the node and of these roles.
    ///
    /// # Errors
    /// A key that two of them claim.
    pub fn new(roles: &Roles) -> Result<Self, RolesError> {
        roles.check()?;
        let mut keys = own(roles);
        let mut owners: Vec<&'static str> = vec!["the node"; keys.len()];
        for role in roles.iter() {
            for key in role.keys() {
                if let Some(at) = keys.iter().position(|known| clash(known, &key)) {
                    let other = owners.get(at).copied().unwrap_or_default();
                    let problem = format!("{other} and {} both have the key `{}`", role.name(), key.path);
                    return Err(RolesError { problem });
                }
                keys.push(key);
                owners.push(role.name().as_str());
            }
        }
        for role in roles.iter() {
            if let Some(key) = role.shared_keys().into_iter().find(|path| keys.iter().all(|key| key.path != *path)) {
                return Err(RolesError { problem: format!("{} reads the key `{key}`, which nobody has", role.name()) });
            }
        }
        Ok(Self { keys: keys.into() })
    }

    /// All of them, those of one heading together.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The headings, in order.
    pub(crate) fn groups(&self) -> Vec<&'static str> {
        let mut groups: Vec<&'static str> = Vec::new();
        for key in self.keys() {
            if !groups.contains(&key.group) {
                groups.push(key.group);
            }
        }
        groups
    }

    /// The key of a path.
    pub fn find(&self, path: &str) -> Option<&Key> {
        self.keys().iter().find(|key| key.path == path)
    }

    /// The key that is written with this name: its own, or another one.
    pub(crate) fn written_as(&self, name: &str) -> Option<&Key> {
        self.find(name).or_else(|| self.keys().iter().find(|key| key.aliases.contains(&name)))
    }

    /// Whether some key stands in the table of this name.
    pub(crate) fn is_table(&self, name: &str) -> bool {
        self.keys().iter().any(|key| key.split().0 == Some(name))
    }
}

/// Whether two keys have a name in common.
fn clash(first: &Key, second: &Key) -> bool {
    let names = |key: &Key| [&[key.path], key.aliases].concat();
    names(first).iter().any(|name| names(second).contains(name))
}

/// What a key means, as the beginning of a sentence.
#[must_use]
pub fn sentence(key: &Key) -> String {
    capitalised(key.doc)
}

/// A text with a capital letter in front.
#[must_use]
pub fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// One hour in milliseconds: more than anything here should ever wait.
const HOUR_MS: u64 = 3_600_000;

const fn number(min: u64, max: u64) -> ValueKind {
    ValueKind::Number { min, max }
}

const fn time(min_ms: u64, max_ms: u64) -> ValueKind {
    ValueKind::Time { min_ms, max_ms }
}

fn preset() -> ValueKind {
    ValueKind::Text { form: presets::FORM, placeholder: "PRESET", read: presets::read }
}

fn role(roles: &Roles) -> ValueKind {
    let names = roles.names().into_iter().map(|role| role.as_str()).collect();
    ValueKind::Name { what: "a role", placeholder: "ROLE", names }
}

/// The node's own keys, grouped, tables last.
#[rustfmt::skip]
fn own(roles: &Roles) -> Vec<Key> {
    vec![
        Key::new(NODE, "preset", preset(),
            "bundle of values for a known network; stands between the defaults and the file"),
        Key::new(NODE, "roles", role(roles),
            "what the node is; without it nwaku's switches decide: relay is on unless relay = false, mix = true adds mixer and exit. An exit forwards packets of others like a mixer: paths run through every node of a pool").also(&["role"]).unset_list(),
        Key::new(NODE, "drain-timeout", time(0, HOUR_MS),
            "how long a stopping node may spend on sending what it holds; keep it below the supervisor's kill time").or("20s"),
        Key::new(NODE, "core-dumps", ValueKind::Bool,
            "let the system write the memory of the node, with its keys, to a file when it crashes, and let debuggers and profilers of the same user look at it").or("false"),

        Key::new(IDENTITY, "nodekey", kind::node_key(),
            "identity in libp2p; prefer nodekey-file: flags and environment are visible to others. Without either, each start makes a new one"),
        Key::new(IDENTITY, "nodekey-file", ValueKind::File,
            "file with the identity, 64 hex characters, readable by nobody but its owner and own group"),
        Key::new(IDENTITY, "mixkey", kind::mix_key(),
            "mix key; prefer mixkey-file. Without either, each start makes a new one and what other nodes know of this one goes stale"),
        Key::new(IDENTITY, "mixkey-file", ValueKind::File,
            "file with the mix key, 64 hex characters, readable by nobody but its owner and own group"),

        Key::new(ADDRESSES, "listen-address", ValueKind::Ip,
            "address that the transports bind; :: is all of IPv6 and IPv4. Nodes that forward packets need IPv4, a packet header carries nothing else; a sender needs neither").or("0.0.0.0"),
        Key::new(ADDRESSES, "tcp-port", ValueKind::Port,
            "TCP port of libp2p; 0 takes any free one").or("60000"),
        Key::new(ADDRESSES, "quic-support", ValueKind::Bool,
            "listen on QUIC").or("false"),
        Key::new(ADDRESSES, "quic-port", ValueKind::Port,
            "UDP port of QUIC; 0 takes any free one").or("60000"),
        Key::new(ADDRESSES, "websocket-support", ValueKind::Bool,
            "listen on WebSocket").or("false"),
        Key::new(ADDRESSES, "websocket-port", ValueKind::Port,
            "TCP port of WebSocket; 0 takes any free one").or("8000"),
        Key::new(ADDRESSES, "websocket-secure-support", ValueKind::Bool,
            "listen on WebSocket over TLS, which pages of https need: at websocket-port and instead of plain WebSocket, as wakunode2 does, unless websocket-secure-port is set").or("false"),
        Key::new(ADDRESSES, "websocket-secure-port", ValueKind::Port,
            "TCP port of WebSocket over TLS, beside plain WebSocket; 0 takes any free one"),
        Key::new(ADDRESSES, "websocket-secure-cert-path", ValueKind::File,
            "file with the certificate of WebSocket in PEM, its chain behind it; looked at every ten seconds, so a renewed one needs no restart"),
        Key::new(ADDRESSES, "websocket-secure-key-path", ValueKind::File,
            "file with the private key of that certificate in PEM, readable by nobody but its owner and own group"),
        Key::new(ADDRESSES, "ports-shift", number(0, 65_535),
            "added to every port of this node except 0").or("0"),
        Key::new(ADDRESSES, "nat", kind::nat(),
            "how others reach this node: extip:<IP> announces that address with the ports of this node, once they are bound; any is what nwaku writes for whatever works, and maps no ports here").or("none"),
        Key::new(ADDRESSES, "ext-multiaddr", kind::address(),
            "addresses to announce before all others; the first one that a header can carry is this node's hop address").list(),
        Key::new(ADDRESSES, "ext-multiaddr-only", ValueKind::Bool,
            "announce ext-multiaddr and nothing else").or("false"),
        Key::new(ADDRESSES, "dns4-domain-name", kind::host_name(),
            "name of this node in the DNS, announced with its ports after ext-multiaddr; the certificate of WebSocket must cover it. Packet headers carry no names, so a node that forwards needs nat or an ext-multiaddr with its IPv4 address as well"),
        Key::new(ADDRESSES, "autonat", ValueKind::Bool,
            "let other nodes try whether they can dial this one, and try it for them").or("true"),
        Key::new(ADDRESSES, "circuit-relay", ValueKind::Bool,
            "relay connections for nodes that nobody can dial; costs their traffic twice, so only for nodes with a public address").or("false"),
        Key::new(ADDRESSES, "relay-reservation", kind::peer(),
            "relays to be reachable through; without any, a node that nobody can dial asks relays that it finds").list(),

        Key::new(PEERS, "staticnode", kind::peer(),
            "peers to stay connected to").list(),
        Key::new(PEERS, "lightpushnode", kind::peer(),
            "lightpush services in order of preference; one that is also a mixnode is exit and destination at once").list(),
        Key::new(PEERS, "mixnode", kind::mix_node(),
            "static mix pool; the node itself may be in the list and is skipped, so one list can serve a whole network").list(),
        Key::new(PEERS, "max-connections", number(1, 100_000),
            "libp2p connections, incoming and outgoing; a quarter is for those that the node opens, and when the others are taken the one goes that was longest of no use. Unset, as many as 160 MiB and the open files of the process allow"),
        Key::new(PEERS, "ip-colocation-limit", number(0, 100_000),
            "peers on one IP address before gossipsub marks them down; 0 turns the rule off, as needed behind bridges and on one machine").or("5"),

        Key::new(DISCOVERY, "entry-node", kind::entry_node(),
            "nodes to find the network from, each as a node record, a multiaddr or a DNS list; each is handed to the kinds of discovery that can use it, which turns discv5 or DNS lists on").list(),
        Key::new(DISCOVERY, "discv5-discovery", ValueKind::Bool,
            "find nodes, and be found, by Node Discovery v5; unset means on when there is a record to begin from"),
        Key::new(DISCOVERY, "discv5-udp-port", ValueKind::Port,
            "UDP port of discv5; 0 takes any free one").or("9000"),
        Key::new(DISCOVERY, "discv5-bootstrap-node", kind::node_record(),
            "records of the nodes that discv5 asks first").list(),
        Key::new(DISCOVERY, "discv5-enr-auto-update", ValueKind::Bool,
            "let the own record take the address that most others see; off where addresses are configured").or("false"),
        Key::new(DISCOVERY, "descriptors", ValueKind::Bool,
            "ask nodes for signed mix descriptors and serve them; they carry keys that do not fit a node record, and their changes").or("true"),
        Key::new(DISCOVERY, "rendezvous", ValueKind::Bool,
            "Waku rendezvous: register with, ask and be a rendezvous point").or("true"),
        Key::new(DISCOVERY, "peer-exchange", ValueKind::Bool,
            "ask nodes for records of others and answer such requests").or("true"),
        Key::new(DISCOVERY, "peer-exchange-node", kind::peer(),
            "nodes to ask for records first").list(),
        Key::new(DISCOVERY, "enable-kad-discovery", ValueKind::Bool,
            "Kademlia service discovery, as nodes of nwaku use it since June 2026 to find mix keys; unset means on when there is a kad-bootstrap-node"),
        Key::new(DISCOVERY, "kad-bootstrap-node", kind::peer(),
            "nodes that Kademlia service discovery asks first; none for the first node of a network").list(),
        Key::new(DISCOVERY, "kad-random-lookup-interval", number(1, 86_400),
            "seconds between two random walks of Kademlia service discovery").or("60"),
        Key::new(DISCOVERY, "kad-service-lookup-interval", number(1, 86_400),
            "seconds between two look-ups of mix nodes by Kademlia service discovery").or("60"),
        Key::new(DISCOVERY, "dns-discovery", ValueKind::Bool,
            "read lists of nodes from DNS (EIP-1459); unset means on when there is a list"),
        Key::new(DISCOVERY, "dns-discovery-url", kind::dns_tree(),
            "the lists, enrtree://<key>@<domain>").list(),
        Key::new(DISCOVERY, "dns-addrs-name-server", ValueKind::Ip,
            "name servers that are asked for lists; without any, those of the system").also(&["dns-discovery-name-server"]).list(),
        Key::new(DISCOVERY, "mix-allow-all-addresses", ValueKind::Bool,
            "take nodes at private and loopback addresses: for test nets and closed fleets only, a stranger could make this node dial what lies behind it").or("false"),
        Key::new(DISCOVERY, "local-storage-path", ValueKind::File,
            "folder for what the node learns: the last good directory, which lets a restarted node begin where it stopped. Without it nothing is kept"),
        Key::new(DISCOVERY, "operator", kind::tag(),
            "name of who runs this node, published with it; no path has two nodes of one name"),
        Key::new(DISCOVERY, "family", kind::peer_id(),
            "peer ids of other nodes of the same operator, published; counts where the others say the same. No path of this node has two of them").list(),

        Key::new(WAKU, "cluster-id", number(0, 65_535),
            "network of the node; peers of another cluster are disconnected").or("0"),
        Key::new(WAKU, "shard", number(0, 1023),
            "shards that the relay joins; unset, all of num-shards-in-network, and shard 0 where that is 0").unset_list(),
        Key::new(WAKU, "content-topic", kind::content_topic(),
            "content topics whose shards the relay joins besides").list(),
        Key::new(WAKU, "num-shards-in-network", number(0, 1024),
            "shards of the cluster, for deriving a shard from a content topic; 0 turns that off, then requests must name the pubsub topic").or("0"),
        Key::new(WAKU, "max-msg-size", ValueKind::Size { min: 1024, max: 16 << 20 },
            "largest encoded message that is published here; what others publish is passed on up to 150KiB with its envelope, which is what nodes of the network read").or("150KiB"),
        Key::new(WAKU, "rate-limit", kind::rate_limit(),
            "requests that a service takes: lightpush for peers, each of whom gets three quarters, mix for all who come through the mixnet together; a service without an entry takes all").list().or("lightpush:20/1s,mix:100/1s"),

        Key::new(REST, "rest", ValueKind::Bool,
            "serve the REST interface").or("true"),
        Key::new(REST, "rest-address", ValueKind::Ip,
            "address of the REST interface; outside loopback it is read-only until rest-tls-cert-path, rest-token-file or rest-allow-insecure is set").or("127.0.0.1"),
        Key::new(REST, "rest-port", ValueKind::Port,
            "TCP port of the REST interface; 0 takes any free one").or("8645"),
        Key::new(REST, "rest-admin", ValueKind::Bool,
            "serve /admin on an address that is not loopback; there it always is, and where clients show certificates").or("false"),
        Key::new(REST, "rest-allow-host", kind::host_name(),
            "names by which programs reach REST besides IP addresses and localhost; requests to other names are refused, a web page could have made them").list(),
        Key::new(REST, "rest-allow-origin", kind::origin(),
            "web pages that may use REST, by their origin; pages of others are refused. They may do what programs may, so set rest-token-file as well").list(),
        Key::new(REST, "rest-token-file", ValueKind::File,
            "file with a token, readable by nobody but its owner and own group, that /admin and pushes with anonymity none or preferred need, as Authorization: Bearer; without it they need none"),
        Key::new(REST, "rest-tls-cert-path", ValueKind::File,
            "file with the certificate of REST and metrics in PEM, its chain behind it: both then speak https alone; looked at every ten seconds, so a renewed one needs no restart"),
        Key::new(REST, "rest-tls-key-path", ValueKind::File,
            "file with the private key of that certificate in PEM, readable by nobody but its owner and own group"),
        Key::new(REST, "rest-tls-client-ca-path", ValueKind::File,
            "file with the authorities of client certificates in PEM: REST and metrics then serve those who show one, and /admin as well; others get /health alone"),
        Key::new(REST, "rest-allow-insecure", ValueKind::Bool,
            "let everybody who reaches REST outside loopback publish, subscribe and change things without TLS and without rest-token-file; presets of public networks set it, whose tools expect it").or("false"),
        Key::new(REST, "rest-relay-cache-capacity", number(1, 1_000_000),
            "messages kept for each subscription made by REST; the oldest go first").or("50"),
        Key::new(REST, "metrics-server", ValueKind::Bool,
            "serve /metrics and /health on their own port").or("false"),
        Key::new(REST, "metrics-server-address", ValueKind::Ip,
            "address of the metrics server").or("127.0.0.1"),
        Key::new(REST, "metrics-server-port", ValueKind::Port,
            "TCP port of the metrics server; 0 takes any free one").or("8008"),
        Key::new(REST, "log-level", kind::log_level(),
            "least severe events of this program that are logged, and target=level for others, as in info,libp2p_swarm=debug; libraries are kept to warnings until named").or("info"),
        Key::new(REST, "log-format", ValueKind::choice(&["text", "json"]),
            "form of log lines; with json, what ends the program is an object as well").or("text"),
        Key::new(REST, "log-name", kind::tag(),
            "name at the beginning of each log line, or in its field node, which tells nodes in one terminal or collector apart"),

        Key::new(POOL, "pool.check-interval", time(1000, HOUR_MS),
            "between two checks of a pool node that answers, at most; long intervals keep dead nodes longer, short ones cost every pool node a request").or("1m"),
        Key::new(POOL, "pool.max-age", time(1000, 24 * HOUR_MS),
            "how long a node is believed to be alive after it was last reached").or("30m"),

        Key::new(HOST, "host.require-metadata", ValueKind::Bool,
            "disconnect peers that do not answer metadata, as nwaku does; mix nodes without Waku are such peers").or("false"),
        Key::new(HOST, "host.queue-packets", number(1, 65_536),
            "packets that wait for one peer; further ones are dropped and counted").or("256"),
        Key::new(HOST, "host.shared-addresses", kind::network(),
            "networks whose addresses many users share, such as that of a reverse proxy; from any other address come at most a quarter of the connections, and from one /24 or IPv6 /56 half").list(),
        Key::new(HOST, "host.inject-loss", kind::percent(),
            "share of its packets that the node loses on purpose instead of writing them: for tests of what senders do about it, nothing else").or("0%"),
        Key::new(HOST, "host.inject-loss-seed", number(0, 0xffff_ffff),
            "makes the same losses again").or("0"),

        Key::new(MIX, "mix.profile", kind::profile(),
            "wire profiles that the node serves, the one for its own packets first; at most one besides sphinx-packet. Every node of a path must run the same, and a mismatch shows as silence").list().or("lioness/pad"),
        Key::new(MIX, "mix.delay", kind::delay(),
            "mean wait at each hop that packets made here ask for; none asks for no waiting, as nodes of nwaku 2025-12 need").or("50ms"),
        Key::new(MIX, "mix.networks", kind::network(),
            "closed networks that this node serves: packets and requests of strangers are passed on to their addresses as to public ones. An address of this node there does not suffice; nodes of the directory are reached in any case. It opens what listens in these networks, at mixer.ports and exit.ports").list(),
        Key::new(MIX, "mix.buffers", number(16, 1_000_000),
            "packets that the node holds at once, 4.6 kB each; when all are in use, packets are dropped and counted").or("16384"),

        Key::new(MIX_KEYS, "keys.directory", ValueKind::File,
            "folder for mix keys and their replay tags, for this node alone. Without it both end with the process, and what was recorded could be replayed to a mixkey that is used again"),
        Key::new(MIX_KEYS, "keys.lifetime", time(10_000, 400 * 24 * HOUR_MS),
            "how long a mix key is current before the next one, which is announced, takes its place; a mixkey that is set is never replaced. Short lives cost everybody a new record, long ones keep recorded packets openable").or("24h"),
        Key::new(MIX_KEYS, "keys.overlap", time(0, 30 * 24 * HOUR_MS),
            "how long a mix key still opens packets after its successor took its place; below what a packet takes on its way, honest ones are lost").or("1h"),
        Key::new(MIX_KEYS, "keys.tag-sync", time(0, 60_000),
            "how long a replay tag may take to reach the disk after its packet went on; 0 lets no packet go on before. Survives kill -9 in any case, a power failure only up to this time").or("0ms"),
        Key::new(MIX_KEYS, "keys.replay-tags", number(1024, 1 << 30),
            "packets of one mix key that are remembered against replay; when all are used, packets are refused until the next key").or("3670016"),
    ]
}
