//! Which value is in force, and what it may look like.

use wakumix_role_api::{exit, mixer, relay};

use super::{MIX, MIX_PUBLIC, NODE, PEER, Setup, mixnode, write_private};
use crate::config::ConfigSource;

#[test]
fn defaults_alone_are_a_relay_without_warnings() {
    let loaded = Setup::new().load();
    assert_eq!(loaded.config.roles, [relay::NAME]);
    assert_eq!(loaded.config.tcp_port, 60000);
    assert_eq!(loaded.config.max_msg_size.as_bytes(), 153_600);
    assert_eq!(loaded.config.profiles_text(), "lioness/pad");
    assert_eq!(loaded.values.get("mixer.delay-rule").unwrap(), ["exponential"]);
    assert!(loaded.keys.mix.is_none());
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn each_layer_wins_over_those_below() {
    let base = || Setup::new().toml("preset = 'local'\ntcp-port = 1001\n[mix]\ndelay = '7ms'\n");
    let file = base().load();
    assert_eq!((file.config.cluster_id, file.config.tcp_port), (66, 1001));
    assert_eq!(file.sources["cluster-id"], ConfigSource::Preset("local"));
    assert_eq!(file.sources["quic-port"], ConfigSource::Default);
    assert!(matches!(file.sources["mix.delay"], ConfigSource::File(_)));

    let cluster = Setup::new().toml("preset = 'local'\ncluster-id = 5\n").load();
    assert_eq!(cluster.config.cluster_id, 5);

    let env = || base().env("WAKUMIX_TCP_PORT", "1002").env("WAKUMIX_MIX__DELAY", "8ms");
    let loaded = env().load();
    assert_eq!((loaded.config.tcp_port, loaded.config.mix.delay.to_string().as_str()), (1002, "8ms"));
    assert_eq!(loaded.sources["tcp-port"], ConfigSource::Environment("WAKUMIX_TCP_PORT".to_owned()));

    let loaded = env().flag("tcp-port", "1003").load();
    assert_eq!(loaded.config.tcp_port, 1003);
    assert_eq!(loaded.sources["tcp-port"], ConfigSource::Flag("tcp-port".to_owned()));
    assert_eq!(loaded.config.mix.delay.to_string(), "8ms");
}

#[test]
fn the_preset_itself_may_come_from_any_layer() {
    let loaded = Setup::new().toml("preset = 'mix-2026-07'").env("WAKUMIX_PRESET", "nwaku-2025-12").load();
    assert_eq!(loaded.config.profiles_text(), "aes-ctr/seq");
    assert_eq!(loaded.config.mix.delay.to_string(), "none");
    assert_eq!(loaded.config.preset.as_deref(), Some("nwaku-2025-12"));
}

#[test]
fn toml_and_yaml_say_the_same() {
    let toml =
        Setup::new().toml("roles = ['relay']\nshard = [0, 3]\nmax-msg-size = '64KiB'\n[relay]\nlightpush = false\n");
    let yaml = Setup::new()
        .file("node.yaml", "roles: [relay]\nshard:\n  - 0\n  - 3\nmax-msg-size: 64KiB\nrelay:\n  lightpush: false\n");
    let (toml, yaml) = (toml.load(), yaml.load());
    assert_eq!(toml.values, yaml.values);
    assert_eq!(toml.config.shard, [0, 3]);
    assert_eq!(toml.values.get("relay.lightpush").unwrap(), ["false"]);
    assert_eq!(Setup::new().file("empty.yml", "\n").load().config.tcp_port, 60000);
}

#[test]
fn booleans_numbers_and_lists_are_read_from_text_too() {
    for (text, on) in [("True", true), ("true", true), ("False", false), ("FALSE", false)] {
        assert_eq!(Setup::new().flag("metrics-server", text).load().config.metrics_server, on);
        let quoted = format!("metrics-server = '{text}'");
        assert_eq!(Setup::new().toml(&quoted).load().config.metrics_server, on);
    }
    let loaded = Setup::new().toml("tcp-port = '60001'\nshard = 2\n").load();
    assert_eq!((loaded.config.tcp_port, loaded.config.shard), (60001, vec![2]));
    for text in ["0,1", "[0, 1]", " 0 , 1 "] {
        assert_eq!(Setup::new().env("WAKUMIX_SHARD", text).load().config.shard, [0, 1], "{text}");
    }
    // All digits, with one e: a YAML or environment reader that guesses would make a number of it.
    let digits = format!("1e{}", "1".repeat(62));
    let loaded = Setup::new().env("WAKUMIX_NODEKEY", &digits).load();
    assert_eq!(loaded.keys.peer(), crate::keys::parse_node_key(&digits).unwrap().public().to_peer_id());
}

#[test]
fn the_fleets_start_line_works() {
    let loaded = Setup::new()
        .flag("relay", "true")
        .flag("mix", "True")
        .flag("lightpush", "true")
        .flag("nodekey", NODE)
        .flag("mixkey", MIX)
        .flag("mixnode", &mixnode(60002))
        .flag("staticnode", &format!("/ip4/127.0.0.1/tcp/60002/p2p/{PEER}"))
        .flag("lightpushnode", &format!("/ip4/127.0.0.1/tcp/60002/p2p/{PEER}"))
        .flag("cluster-id", "2")
        .flag("shard", "0")
        .flag("ports-shift", "1")
        .flag("nat", "extip:10.0.0.7")
        .flag("max-relay-peers", "40")
        .flag("keep-alive", "true")
        .load();
    assert_eq!(loaded.config.roles, [relay::NAME, mixer::NAME, exit::NAME]);
    assert_eq!(loaded.keys.peer().to_string(), PEER);
    assert_eq!(loaded.keys.mix.as_ref().unwrap().public().to_string(), MIX_PUBLIC);
    let ports: Vec<_> = loaded.config.ports().iter().map(|port| (port.key, port.port)).collect();
    assert_eq!(ports, [("tcp-port", 60001), ("rest-port", 8646)]);
    let hop = loaded.config.hop_address(loaded.keys.peer()).unwrap();
    assert_eq!(hop.multiaddr().to_string(), "/ip4/10.0.0.7/tcp/60001");
    for name in ["max-relay-peers", "keep-alive"] {
        assert!(!loaded.warnings.iter().any(|warning| warning.contains(name)), "{:?}", loaded.warnings);
    }
    for name in ["`nodekey` is a secret", "`mixkey` is a secret"] {
        assert!(loaded.warnings.iter().any(|warning| warning.contains(name)), "{:?}", loaded.warnings);
    }
}

#[test]
fn a_switch_may_share_its_name_with_a_table() {
    let toml = "relay = true\nmix = true\nnat = 'extip:10.0.0.7'\n";
    assert_eq!(Setup::new().toml(toml).load().config.roles.len(), 3);
    let both = Setup::new()
        .toml("nat = 'extip:10.0.0.7'\n[mix]\ndelay = '9ms'\n")
        .env("WAKUMIX_MIX", "true")
        .env("WAKUMIX_RELAY", "false")
        .load();
    assert_eq!(both.config.roles, [mixer::NAME, exit::NAME]);
    assert_eq!(both.config.mix.delay.to_string(), "9ms");
}

#[test]
fn key_files_are_read() {
    let mut setup = Setup::new();
    let [node, mix, folder] = ["node.key", "mix.key", "keys"].map(|name| setup.path(name));
    write_private(&node, &format!("{NODE}\n"));
    write_private(&mix, &format!("{MIX}\n"));
    let loaded = setup
        .flag("roles", "mixer")
        .flag("nat", "extip:192.0.2.1")
        .flag("nodekey-file", node.to_str().unwrap())
        .flag("mixkey-file", mix.to_str().unwrap())
        .flag("keys.directory", folder.to_str().unwrap())
        .load();
    assert_eq!(loaded.keys.peer().to_string(), PEER);
    assert_eq!(loaded.keys.mix.unwrap().public().to_string(), MIX_PUBLIC);
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let mut setup = Setup::new().toml("tcp-port = 1234");
    let path = setup.inputs.file.take().unwrap();
    assert_eq!(setup.env("WAKUMIX_CONFIG", path.to_str().unwrap()).load().config.tcp_port, 1234);
    assert_eq!(Setup::new().env("WAKUMIX_CONFIG", "").load().config.tcp_port, 60000, "an empty variable is not set");
}

#[test]
fn service_links_of_kubernetes_and_empty_variables_are_no_keys() {
    let mut setup = Setup::new().env("WAKUMIX_NODEKEY", "").env("WAKUMIX_STATICNODE", "");
    for (name, value) in [
        ("WAKUMIX_SERVICE_HOST", "10.96.0.7"),
        ("WAKUMIX_SERVICE_PORT", "8645"),
        ("WAKUMIX_SERVICE_PORT_REST", "8645"),
        ("WAKUMIX_PORT", "tcp://10.96.0.7:8645"),
        ("WAKUMIX_PORT_8645_TCP", "tcp://10.96.0.7:8645"),
        ("WAKUMIX_PORT_8645_TCP_PROTO", "tcp"),
        ("WAKUMIX_PORT_8645_TCP_PORT", "8645"),
        ("WAKUMIX_PORT_8645_TCP_ADDR", "10.96.0.7"),
        ("WAKUMIX_REST_PORT", "tcp://10.96.0.7:8645"),
        ("PATH", "/bin"),
    ] {
        setup = setup.env(name, value);
    }
    assert_eq!(setup.load().config.rest_port, 8645);
}

#[test]
fn addresses_follow_from_ports_nat_and_ext_multiaddr() {
    let listen = |setup: &Setup| -> Vec<String> {
        setup.load().config.listen_addresses().iter().map(ToString::to_string).collect()
    };
    let announced = |setup: &Setup| -> Vec<String> {
        setup.load().config.announced_addresses().iter().map(ToString::to_string).collect()
    };
    let all = Setup::new()
        .toml("quic-support = true\nwebsocket-support = true\nports-shift = 2\nlisten-address = '127.0.0.1'\n");
    let expected = ["/ip4/127.0.0.1/tcp/60002", "/ip4/127.0.0.1/udp/60002/quic-v1", "/ip4/127.0.0.1/tcp/8002/ws"];
    assert_eq!(listen(&all), expected);
    assert_eq!(announced(&all), expected);
    assert_eq!(announced(&Setup::new()), [""; 0]);
    let external = Setup::new()
        .toml("nat = 'extip:192.0.2.1'\next-multiaddr = ['/dns4/example.org/tcp/443/wss', '/ip4/192.0.2.9/tcp/7']\n");
    assert_eq!(
        announced(&external),
        ["/dns4/example.org/tcp/443/wss", "/ip4/192.0.2.9/tcp/7", "/ip4/192.0.2.1/tcp/60000"]
    );
    let only = external.flag("ext-multiaddr-only", "true");
    assert_eq!(announced(&only), ["/dns4/example.org/tcp/443/wss", "/ip4/192.0.2.9/tcp/7"]);
    let loaded = only.load();
    assert_eq!(loaded.config.hop_address(loaded.keys.peer()).unwrap().port(), 7);
}
