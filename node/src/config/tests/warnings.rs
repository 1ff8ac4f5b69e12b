//! What works and is probably not meant: a warning that names the key, and none where there is nothing to warn of.

use super::{MIX, NODE, PEER, Setup, mixnode, write_private};

/// Asserts that one warning for a file of this text has this part.
fn warns(toml: &str, part: &str) {
    let warnings = Setup::new().toml(toml).load().warnings;
    assert_eq!(warnings.iter().filter(|warning| warning.contains(part)).count(), 1, "{part}: {warnings:?}");
}

/// Asserts that no warning for a file of this text has this part.
fn is_silent(toml: &str, part: &str) {
    let warnings = Setup::new().toml(toml).load().warnings;
    assert!(!warnings.iter().any(|warning| warning.contains(part)), "`{toml}`: {warnings:?}");
}

#[test]
fn warns_of_what_works_but_is_probably_not_meant() {
    warns("nat = 'any'", "maps no ports");
    warns("roles = ['mixer']", "no place for mix keys is set");
    is_silent("roles = ['mixer']\n[keys]\ndirectory = 'keys'", "mix key");
    warns(&format!("roles = ['mixer']\nmixkey = '{MIX}'"), "set keys.directory");
    is_silent(&format!("roles = ['sender']\nmixkey = '{MIX}'"), "set keys.directory");
    warns("roles = ['mixer']", "hop address");
    is_silent("roles = ['sender']", "hop address");
    warns(&format!("mixkey = '{MIX}'"), "no role of this node mixes");
    warns("roles = ['mixer']\n[mix]\nprofile = 'logos-testnet-0.2'", "a proof of 301 bytes");
    warns("filter = true", "`filter` in file");
}

#[test]
fn warns_of_rest_keys_that_do_nothing_and_of_pushes_that_cannot_be() {
    for key in
        ["rest-allow-host = ['a.example']", "rest-allow-origin = ['https://a.example']", "rest-token-file = 'token'"]
    {
        warns(&format!("rest = false\n{key}"), "has no effect: rest is off");
    }
    warns("roles = ['relay']\n[sender]\nallow-direct = false", "pushes nothing; add sender to roles");
    is_silent("roles = ['relay', 'sender']\n[sender]\nallow-direct = false", "pushes nothing");
    is_silent("roles = ['relay']", "pushes nothing");
}

#[test]
fn a_node_in_a_closed_network_that_it_does_not_serve_is_warned_with_the_line_to_write() {
    let part = "in a closed network that it does not serve";
    for roles in ["roles = ['mixer']", "roles = ['relay', 'exit']"] {
        for (place, network) in [
            ("nat = 'extip:192.168.77.9'", "192.168.77.0/24"),
            ("listen-address = '10.1.2.3'", "10.1.2.0/24"),
            ("ext-multiaddr = ['/ip4/172.16.0.9/tcp/60000']", "172.16.0.0/24"),
        ] {
            let toml = format!("{roles}\n{place}");
            warns(&toml, part);
            let line = format!("mix.networks = [\"{network}\"]");
            warns(&toml, &line);
            is_silent(&format!("{toml}\n{line}"), part);
            is_silent(&format!("preset = 'local'\n{toml}"), part);
        }
        // A net on one machine is served without being named.
        for place in [
            "listen-address = '127.0.0.1'\nnat = 'extip:127.0.0.1'",
            "",
            "nat = 'extip:203.0.113.9'",
            "nat = 'extip:100.64.0.9'",
        ] {
            is_silent(&format!("{roles}\n{place}"), part);
        }
    }
    is_silent("roles = ['sender']\nlisten-address = '127.0.0.1'", part);
    // Opened for packets by another key, and then for requests.
    let open = "listen-address = '10.1.2.3'\nmix-allow-all-addresses = true";
    is_silent(&format!("roles = ['mixer']\n{open}"), part);
    warns(&format!("roles = ['exit']\n{open}"), part);
    for exit in ["networks = ['10.0.0.0/8']", "allow-private-addresses = true", "forward = false"] {
        is_silent(&format!("roles = ['exit']\n{open}\n[exit]\n{exit}"), part);
    }
}

#[test]
fn a_closed_network_that_is_found_at_the_start_is_warned_of_once() {
    let warned = |toml: &str, ip: &str| Setup::new().toml(toml).load().closed_network_warning(ip.parse().unwrap());
    let found = warned("roles = ['mixer']", "192.168.77.9").unwrap();
    assert!(found.ends_with("write mix.networks = [\"192.168.77.0/24\"]"), "{found}");
    assert_eq!(warned("roles = ['mixer']\nlisten-address = '192.168.77.9'", "192.168.77.9"), None, "said before");
    assert_eq!(warned("roles = ['mixer']", "8.8.8.8"), None);
    assert_eq!(warned("roles = ['relay']", "192.168.77.9"), None, "it passes nothing on");
}

#[test]
fn warns_of_secrets_that_others_can_see() {
    let flag = Setup::new().flag("nodekey", NODE).load().warnings;
    assert!(flag.len() == 1 && flag[0].contains("process list"), "{flag:?}");
    let env = Setup::new().env("WAKUMIX_NODEKEY", NODE).load().warnings;
    assert!(env.len() == 1 && env[0].contains("WAKUMIX_NODEKEY is passed on"), "{env:?}");
    let mut setup = Setup::new();
    let path = setup.path("private.toml");
    write_private(&path, &format!("nodekey = '{NODE}'"));
    setup.inputs.file = Some(path.clone());
    assert_eq!(setup.load().warnings, [""; 0]);
    #[cfg(unix)]
    {
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let open = setup.load().warnings;
        assert!(open.len() == 1 && open[0].contains("mode 0644"), "{open:?}");
    }
}

#[test]
fn an_overlap_that_ends_before_readers_of_records_know_the_new_key_is_warned_of() {
    let (part, keys) = ("`keys.overlap`", "[keys]\ndirectory = 'keys'\noverlap =");
    for found in ["discv5-discovery = true", "enable-kad-discovery = true"] {
        warns(&format!("roles = ['mixer']\n{found}\n{keys} '14m'"), part);
        is_silent(&format!("roles = ['mixer']\n{found}\n{keys} '15m'"), part);
        is_silent(&format!("roles = ['sender']\n{found}\n{keys} '14m'"), part);
        is_silent(&format!("roles = ['mixer']\nmixkey = '{MIX}'\n{found}\n{keys} '14m'"), part);
    }
    is_silent(&format!("roles = ['mixer']\n{keys} '14m'"), part);
}

/// A list of nodes (EIP-1459).
const LIST: &str = "enrtree://AKA3AM6LPBYEUDMVNU3BSVQJ5AD45Y7YPOHJLEF6W26QOE4VTUDPE@example.org";
/// The first vector of `spec/waku.md §6.3`.
const RECORD: &str = "enr:-NC4QKYtas8STkenlqBTJ3a1TTLzJA2DsGGbFlnxem9aSM2IXm-CSVZULdk2467bAyFnepnt8KP_QlfDzdaMXd_zqtwBgmlkgnY0gmlwhH8AAAGHbWl4LWtleaCdCc5iT3bo9gYmXtucyit96bQXcqbXhL3a-S_6j7p9LIptdWx0aWFkZHJzgIJyc4UAAgEAAIlzZWNwMjU2azGhA6RFtVJVBh0SYOoP8xrgnXSlpiFARmQkF9d8Rn4fSeiog3RjcILqYYN1ZHCCIymFd2FrdTIt";

/// The address of a peer.
fn peer() -> String {
    format!("/ip4/192.0.2.1/tcp/60000/p2p/{PEER}")
}

#[test]
fn a_sender_that_knows_too_few_and_cannot_find_more_is_warned() {
    let (few, no_service) = ("names 0 other nodes, a path needs a pool of 4", "no lightpushnode is set");
    for toml in [
        "",
        "discv5-discovery = false",
        // Nobody to ask.
        "descriptors = true\nrendezvous = true\npeer-exchange = true",
        // Nothing to ask the peers for.
        &format!("staticnode = ['{}']\ndescriptors = false\nrendezvous = false\npeer-exchange = false", peer()),
        // A list that is not read.
        &format!("dns-discovery = false\ndns-discovery-url = ['{LIST}']"),
    ] {
        let toml = format!("roles = ['sender']\n{toml}");
        warns(&toml, few);
        warns(&toml, no_service);
    }
    warns(&format!("roles = ['sender']\nmixnode = ['{}']", mixnode(1)), "names 1 other nodes");
}

#[test]
fn a_sender_that_can_find_nodes_is_not_warned_of_knowing_none() {
    for toml in [
        "discv5-discovery = true",
        "enable-kad-discovery = true",
        "local-storage-path = 'not-there-yet'",
        &format!("dns-discovery-url = ['{LIST}']"),
        &format!("kad-bootstrap-node = ['{}']", peer()),
        &format!("entry-node = ['{LIST}']"),
        &format!("entry-node = ['{}']", peer()),
        &format!("staticnode = ['{}']", peer()),
        &format!("peer-exchange-node = ['{}']", peer()),
    ] {
        let toml = format!("roles = ['sender']\n{toml}");
        is_silent(&toml, "a path needs a pool");
        is_silent(&toml, "no lightpushnode");
    }
}

#[test]
fn a_mixer_that_senders_would_take_for_an_exit_is_warned() {
    let part = "`roles` in file";
    warns("roles = ['relay', 'mixer']", "senders of nwaku take it for one");
    warns("roles = ['relay', 'mixer']", "set relay.lightpush = false");
    for toml in [
        "roles = ['relay', 'mixer', 'exit']",
        "roles = ['mixer']",
        "roles = ['relay', 'sender']",
        "roles = ['relay', 'mixer']\n[relay]\nlightpush = false",
    ] {
        is_silent(toml, part);
    }
}

#[test]
fn settings_of_a_kind_of_discovery_that_is_off_have_no_effect() {
    let cases = [
        (format!("enable-kad-discovery = false\nkad-bootstrap-node = ['{}']", peer()), "kad-bootstrap-node", ""),
        ("kad-random-lookup-interval = 5".to_owned(), "kad-random-lookup-interval", "enable-kad-discovery = true"),
        ("kad-service-lookup-interval = 5".to_owned(), "kad-service-lookup-interval", "enable-kad-discovery = true"),
        (format!("dns-discovery = false\ndns-discovery-url = ['{LIST}']"), "dns-discovery-url", ""),
        (
            "dns-addrs-name-server = ['192.0.2.53']".to_owned(),
            "dns-addrs-name-server",
            &format!("entry-node = ['{LIST}']"),
        ),
        (format!("discv5-discovery = false\ndiscv5-bootstrap-node = ['{RECORD}']"), "discv5-bootstrap-node", ""),
        ("discv5-enr-auto-update = true".to_owned(), "discv5-enr-auto-update", "discv5-discovery = true"),
        (format!("peer-exchange = false\npeer-exchange-node = ['{}']", peer()), "peer-exchange-node", ""),
    ];
    for (toml, key, turned_on) in cases {
        let said = format!("`{key}` in file");
        warns(&toml, &said);
        warns(&toml, "has no effect: ");
        let without_switch_off: Vec<_> = toml.lines().filter(|line| !line.ends_with("= false")).collect();
        is_silent(&format!("{}\n{turned_on}", without_switch_off.join("\n")), &said);
    }
    warns("dns-discovery = true", "`dns-discovery` in file");
    is_silent("", "has no effect");
}
