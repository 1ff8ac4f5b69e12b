//! Start scripts of `wakunode2`: each option does what it did there, or is refused with the reason and the nearest way.

use wakumix_role_api::{exit, mixer, relay, sender};

use super::{MIX, NODE, Setup};
use crate::config::{ConfigSource, Loaded, ShowFormat, presets, show};

/// Flags as a start script has them.
fn script(flags: &[&str]) -> Setup {
    flags.iter().fold(Setup::new(), |setup, flag| {
        let (name, value) = flag.split_once('=').unwrap();
        setup.flag(name, value)
    })
}

/// Loads a script that must not be refused.
fn starts(flags: &[&str]) -> Loaded {
    script(flags).load()
}

/// Asserts that a script is refused for one thing, and that all of `parts` are said.
#[track_caller]
fn is_refused(flags: &[&str], parts: &[&str]) {
    let said = script(flags).problem();
    for part in parts.iter().chain(&["\n  help: "]) {
        assert!(said.contains(part), "{flags:?} should say {part:?}:\n{said}");
    }
}

/// What the start scripts of both releases have in common.
const COMMON: [&str; 14] = [
    "relay=true",
    "filter=true",
    "peer-exchange=true",
    "keep-alive=true",
    "max-connections=150",
    "discv5-discovery=true",
    "discv5-udp-port=9005",
    "discv5-enr-auto-update=True",
    "log-level=DEBUG",
    "metrics-server=True",
    "rest=true",
    "rest-admin=true",
    "rest-allow-origin=localhost:*",
    "nat=extip:203.0.113.7",
];

#[test]
fn the_start_script_of_logos_delivery_joins_its_network_but_for_the_store() {
    let own = ["preset=logos.dev", "entry-layer=kernel", "lightpush=true", "mix=true", "tcp-port=30304"];
    let loaded = starts(&[&own[..], &COMMON].concat());
    assert_eq!(loaded.config.roles, [relay::NAME, mixer::NAME, exit::NAME]);
    assert_eq!((loaded.config.cluster_id, loaded.config.num_shards_in_network), (3, 8));
    assert_eq!(loaded.config.shard, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!((loaded.config.entry_node.len(), loaded.config.mixnode.len()), (6, 6));
    assert!(loaded.config.uses_kad());
    let about_filter = loaded.warnings.iter().filter(|warning| warning.contains("`filter` in flag --filter"));
    assert_eq!(about_filter.count(), 1, "{:?}", loaded.warnings);
    let about_profile =
        |loaded: &Loaded| loaded.warnings.iter().filter(|warning| warning.contains("mix.profile")).count();
    assert_eq!(about_profile(&loaded), 1);
    let named = starts(&[&own[..], &COMMON, &["mix.profile=mix-2026-09"]].concat());
    assert_eq!(about_profile(&named), 0);
    let about_operator =
        |flags: &[&str]| starts(flags).warnings.iter().filter(|warning| warning.contains("one operator")).count();
    assert_eq!(about_operator(&["preset=logos.dev", "roles=sender"]), 1);
    let another = format!("mixnode={}", super::mixnode(1));
    assert_eq!(about_operator(&["preset=logos.dev", "roles=sender", &another]), 0);

    let store = ["store=true", "store-message-db-url=postgres://a:secret@b/c"];
    is_refused(
        &[&own[..], &COMMON, &store].concat(),
        &["`store` in flag --store", "keeps no messages", "store = false"],
    );
    let off = starts(&[&own[..], &COMMON, &["store=false", "store-message-retention-policy=size:1GB"]].concat());
    assert!(!off.warnings.iter().any(|warning| warning.contains("store")), "{:?}", off.warnings);
}

#[test]
fn cluster_1_is_the_waku_network_where_a_relay_needs_proofs() {
    let parts =
        ["`cluster-id` in flag --cluster-id means the network twn", "RLN proofs", "mix = true", "rln-relay = false"];
    is_refused(&[&["cluster-id=1"][..], &COMMON].concat(), &parts);
    is_refused(&["preset=twn"], &["`preset` in flag --preset means the network twn"]);
    is_refused(&["preset=TWN", "num-shards-in-network=8"], &["means the network twn"]);
    // One refusal for one lack, and the credentials are not part of it.
    let rln = ["preset=twn", "rln-relay=true", "rln-relay-cred-password=hunter2", "rln-relay-eth-private-key=0xc0ffee"];
    is_refused(&rln, &["`rln-relay` in flag --rln-relay", "RLN proofs"]);
    let said = script(&rln).problem();
    assert!(!said.contains("hunter2") && !said.contains("c0ffee"), "{said}");

    for flags in [&["cluster-id=1"][..], &["preset=twn"], &["cluster-id=1", "preset=mix-2026-09"]] {
        let mixing = starts(&[flags, &["relay=false", "mix=true", "nat=extip:203.0.113.7", "rln-relay=true"]].concat());
        assert_eq!(mixing.config.roles, [mixer::NAME, exit::NAME]);
        assert_eq!((mixing.config.cluster_id, mixing.config.shard.len()), (1, 8));
        assert_eq!(mixing.config.discv5_bootstrap_node.len(), 3);
        assert_eq!(mixing.sources["num-shards-in-network"], ConfigSource::Preset("twn"));
    }
    let knowingly = starts(&["cluster-id=1", "rln-relay=false"]);
    assert_eq!(knowingly.config.shard.len(), 8);
    assert!(knowingly.warnings.iter().any(|warning| warning.contains("RLN proofs")), "{:?}", knowingly.warnings);
    let shown = show(&knowingly, ShowFormat::Toml);
    assert!(shown.starts_with("rln-relay = false  # flag --rln-relay\n"), "{shown}");
    assert_eq!(Setup::new().toml(&shown).load().values, knowingly.values);
    // A network that is named is the one that is meant.
    assert_eq!(starts(&["preset=local", "cluster-id=1"]).config.discv5_bootstrap_node.len(), 0);
}

#[test]
fn rln_is_refused_of_a_relay_and_says_nothing_where_it_is_off() {
    is_refused(&["rln-relay=true"], &["`rln-relay` in flag --rln-relay cannot be done", "set rln-relay = false"]);
    let off = ["rln-relay=false", "rln-relay-dynamic=True", "rln-relay-eth-private-key=", "rln-relay-epoch-sec=600"];
    assert_eq!(starts(&off).warnings, [""; 0]);
}

#[test]
fn presets_of_wakunode2_are_found_in_any_case_and_by_their_other_names() {
    for (name, cluster, shards) in
        [("logos.test", 2, 8), ("LogosTest", 2, 8), ("Status.Prod", 16, 1), ("logosdev", 3, 8)]
    {
        let loaded = starts(&[&format!("preset={name}")]);
        assert_eq!((loaded.config.cluster_id, loaded.config.shard.len()), (cluster, shards), "{name}");
        assert!(!loaded.config.entry_node.is_empty(), "{name}");
    }
    assert_eq!(starts(&["preset=logos.test", "cluster-id=9"]).config.cluster_id, 9);
    assert_eq!(starts(&["preset="]).config.cluster_id, 0);
}

#[test]
fn shards_are_those_that_are_named_and_else_all_of_the_network() {
    assert_eq!(starts(&[]).config.shard, [0]);
    assert_eq!(starts(&["num-shards-in-network=3"]).config.shard, [0, 1, 2]);
    assert_eq!(starts(&["num-shards-in-network=3", "shard=1"]).config.shard, [1]);
    // `spec/waku.md §2.5`: of 8 shards, /toychat/2 is on 3 and /waku/2 on 1.
    let topics = ["content-topic=/toychat/2/huilong/proto", "num-shards-in-network=8", "shard=1"];
    let loaded = starts(&topics);
    assert_eq!(loaded.config.shard, [1, 3]);
    assert_eq!(loaded.values.get("shard").unwrap(), ["1", "3"]);
    is_refused(&topics[..1], &["`content-topic` in flag", "`num-shards-in-network` (default)", "is 0"]);
    is_refused(&["content-topic=/toychat/2"], &["`content-topic`", "/toychat/2", "such as /app/1/chat/proto"]);
}

#[test]
fn a_cluster_that_brought_more_there_is_a_warning() {
    let about = |flags: &[&str]| starts(flags).warnings.iter().filter(|warning| warning.contains("logos.test")).count();
    assert_eq!(about(&["cluster-id=2"]), 1);
    assert_eq!(about(&["cluster-id=2", "num-shards-in-network=1"]), 0);
    assert_eq!(about(&["preset=logos.test"]), 0);
}

#[test]
fn options_that_change_what_a_user_gets_are_refused_when_they_ask_for_what_is_missing() {
    for (flag, off, part) in [
        ("storenode=/ip4/192.0.2.1/tcp/1/p2p/x", "storenode=", "GET /relay/v1/messages"),
        ("filternode=/ip4/192.0.2.1/tcp/1/p2p/x", "filternode=", "GET /relay/v1/messages"),
        ("protected-shard=0:02aa", "protected-shard=", "shards that are open"),
        ("reliability=true", "reliability=False", "sender.confirmations"),
        ("mode=Edge", "mode=Core", "roles = [\"sender\"]"),
        ("entry-layer=channels", "entry-layer=kernel", "POST /lightpush/v3/message"),
        ("peer-persistence=true", "peer-persistence=false", "set local-storage-path"),
        ("pubsub-topic=/waku/2/rs/0/1", "pubsub-topic=", "shard = ["),
        ("nat=upnp", "nat=none", "extip:<IP address>"),
    ] {
        let (name, _) = flag.split_once('=').unwrap();
        is_refused(&[flag], &[&format!("`{name}`"), &format!("flag --{name}"), part]);
        assert_eq!(starts(&[off]).warnings, [""; 0], "{off}");
    }
    starts(&["peer-persistence=true", "local-storage-path=/var/lib/wakumix"]);
}

#[test]
fn the_value_in_force_decides() {
    let file = || Setup::new().toml("store = true\nreliability = true\nstorenode = []\n");
    assert_eq!(file().problems().len(), 2);
    file().flag("store", "false").env("WAKUMIX_RELIABILITY", "false").load();
}

#[test]
fn variables_of_wakunode2_name_the_same_options() {
    let loaded = Setup::new()
        .env("WAKUNODE2_TCP_PORT", "30304")
        .env("WAKUNODE2_NODEKEY", NODE)
        .env("WAKUNODE2_IMAGE", "registry/wakunode2")
        .load();
    assert_eq!(loaded.config.tcp_port, 30304);
    assert_eq!(loaded.sources["tcp-port"], ConfigSource::Environment("WAKUNODE2_TCP_PORT".to_owned()));
    let unknown = loaded.warnings.iter().filter(|warning| warning.contains("WAKUNODE2_IMAGE"));
    assert_eq!(unknown.count(), 1, "{:?}", loaded.warnings);
    let said = Setup::new().env("WAKUNODE2_STORE", "true").problem();
    assert!(said.contains("`store` in environment variable WAKUNODE2_STORE"), "{said}");
}

#[test]
fn a_name_in_the_dns_is_announced_and_stands_in_no_header() {
    let flags = ["dns4-domain-name=node.example.org", "websocket-support=true"];
    let announced = |flags: &[&str]| -> Vec<String> {
        starts(flags).config.announced_addresses().iter().map(ToString::to_string).collect()
    };
    let names = ["/dns4/node.example.org/tcp/60000", "/dns4/node.example.org/tcp/8000/ws"];
    assert_eq!(announced(&flags), names);
    let with_address = [&flags[..], &["nat=extip:203.0.113.7"]].concat();
    assert_eq!(announced(&with_address)[..3], [names[0], names[1], "/ip4/203.0.113.7/tcp/60000"]);
    let mixing = [&flags[..], &["mix=true"]].concat();
    is_refused(&mixing, &["`dns4-domain-name`", "no address that a packet header can carry", "extip:"]);
    let loaded = starts(&[&with_address[..], &["mix=true"]].concat());
    let hop = loaded.config.hop_address(loaded.keys.peer()).unwrap();
    assert_eq!(hop.multiaddr().to_string(), "/ip4/203.0.113.7/tcp/60000");
    is_refused(&["dns4-domain-name=node.example.org:443"], &["`dns4-domain-name`", "without port"]);
}

#[test]
fn first_nodes_turn_their_kind_of_discovery_on() {
    let kad = format!("kad-bootstrap-node=/ip4/192.0.2.1/tcp/1/p2p/{}", super::PEER);
    let tree = "enrtree://AOGYWMBYOUIMOENHXCHILPKY3ZRFEULMFI4DOM442QSZ73TT2A7VI@test.waku.nodes.status.im";
    let lists = format!("dns-discovery-url={tree}");
    assert!(starts(&[&kad]).config.uses_kad());
    assert!(starts(&[&kad]).config.discovery().service_discovery.is_some());
    assert!(!starts(&[&kad, "enable-kad-discovery=false"]).config.uses_kad());
    assert!(starts(&["enable-kad-discovery=true"]).config.uses_kad());
    assert!(!starts(&[]).config.uses_kad());
    assert!(starts(&[&lists]).config.dns().is_some());
    assert!(starts(&[&lists, "dns-discovery=false"]).config.dns().is_none());
    assert_eq!(starts(&[&kad, &lists]).warnings, [""; 0]);
}

/// Of a node at 2001:db8::7.
const IP6_RECORD: &str = "enr:-K64QBoocbIA_gigqvHKdSALOS1cqB2gnAVGM9HHxmS_v_k4ErlCfo2Gqae6IeaGS0LCfTnn3E00QFwnmD8EYU82LuGEaw5nnoJpZIJ2NINpcDaQIAENuAAAAAAAAAAAAAAAB4Jyc4UAAAEAAIlzZWNwMjU2azGhA3xmXrmERphOdM6DMAZo3JIHe04xD2tq0kOBuPfOinIUhHRjcDaC6mCEdWRwNoIjKIV3YWt1Mgk";

#[test]
fn records_of_a_family_that_this_node_has_no_socket_of_are_refused() {
    let record = format!("discv5-bootstrap-node={IP6_RECORD}");
    let parts = [
        "`discv5-bootstrap-node` in flag",
        "1 of 1 records say IPv6 alone",
        "`listen-address` (default) is IPv4 alone",
        "\"::\"",
    ];
    is_refused(&[&record], &parts);
    is_refused(&[&format!("entry-node={IP6_RECORD}")], &["`entry-node` in flag", "IPv6 alone"]);
    for listen in ["listen-address=::", "listen-address=::1"] {
        assert!(starts(&[&record, listen]).config.uses_discv5());
    }
    // One of several is worth a word.
    let (first, _) = presets::find("twn")
        .unwrap()
        .values
        .iter()
        .find(|(key, _)| *key == "discv5-bootstrap-node")
        .unwrap()
        .1
        .split_once(',')
        .unwrap();
    let loaded = starts(&[&format!("{record},{first}")]);
    assert!(loaded.warnings.iter().any(|warning| warning.contains("1 of 2 records")), "{:?}", loaded.warnings);
}

/// A node of nwaku's own simulation, by the keys and shapes of its files.
fn simulated(number: u16, more: &str) -> Setup {
    Setup::new().toml(&format!(
        "log-level = \"TRACE\"\nrelay = true\nmix = true\nfilter = true\nlightpush = true\nmax-connections = 150\n\
         peer-exchange = false\nmetrics-logging = false\ncluster-id = 2\ndiscv5-discovery = false\n\
         discv5-udp-port = 9000\ndiscv5-enr-auto-update = true\nrest = true\nrest-admin = true\n\
         ports-shift = {number}\nnum-shards-in-network = 1\nshard = [0]\nagent-string = \"nwaku-mix\"\n\
         nodekey = \"{NODE}\"\nmixkey = \"{MIX}\"\nrendezvous = false\nlisten-address = \"127.0.0.1\"\n\
         nat = \"extip:127.0.0.1\"\next-multiaddr = [\"/ip4/127.0.0.1/tcp/{}\"]\next-multiaddr-only = true\n\
         ip-colocation-limit=0\n{more}",
        60000 + number
    ))
}

#[test]
fn a_node_of_the_simulation_is_in_a_net_on_one_machine() {
    let loaded = simulated(1, "store = true\nenable-kad-discovery = true\n").load();
    assert_eq!(loaded.config.roles, [relay::NAME, mixer::NAME, exit::NAME]);
    assert!(loaded.config.mix_allow_all_addresses && loaded.config.uses_kad());
    assert_eq!(loaded.sources["mix-allow-all-addresses"], ConfigSource::Derived);
    assert_eq!(loaded.values.get("mix.networks").unwrap(), ["127.0.0.0/8"]);
    assert!(loaded.warnings.iter().any(|warning| warning.contains("`store` in file")), "{:?}", loaded.warnings);
    let written = simulated(1, "mix-allow-all-addresses = false\n").load();
    assert!(!written.config.mix_allow_all_addresses);
}

#[test]
fn a_node_that_others_can_use_is_not_taken_for_one_on_one_machine() {
    let loopback = ["mix=true", "listen-address=127.0.0.1", "ext-multiaddr=/ip4/127.0.0.1/tcp/60000"];
    assert!(starts(&loopback).config.mix_allow_all_addresses);
    assert!(!starts(&loopback[..2]).config.mix_allow_all_addresses, "nobody has written it");
    for more in [
        "nat=extip:203.0.113.7",
        "ext-multiaddr=/ip4/203.0.113.7/tcp/60000",
        "preset=logos.test",
        "listen-address=0.0.0.0",
    ] {
        let key = more.split_once('=').unwrap().0;
        let others = loopback.iter().copied().filter(|flag| flag.split_once('=').unwrap().0 != key);
        let flags: Vec<&str> = others.chain([more]).collect();
        assert!(!starts(&flags).config.mix_allow_all_addresses, "{more}");
    }
    // It sends to anybody, from wherever it listens.
    let sends = starts(&["roles=sender", "listen-address=127.0.0.1"]);
    assert_eq!(sends.config.roles, [sender::NAME]);
    assert!(!sends.config.mix_allow_all_addresses);
}
