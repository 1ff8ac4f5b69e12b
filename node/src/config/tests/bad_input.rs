//! Every kind of bad input: the message names the key, where it was written, and what to do.

use super::{MIX, NODE, Setup, mixnode, write_private};
use crate::{config::Problem, keys::parse_node_key};

/// The file that [`Setup::toml`] writes, as messages name it.
const FILE: &str = "node.toml";

/// Asserts that one problem stands in a file of this text, and that it says all of `parts`.
fn assert_says(toml: &str, parts: &[&str]) {
    let said = Setup::new().toml(toml).problem();
    for part in parts.iter().chain(&["\n  help: "]) {
        assert!(said.contains(part), "`{toml}` should say {part:?}:\n{said}");
    }
}

#[test]
fn names_an_unknown_key_its_source_and_the_nearest() {
    assert_says("tcp-prot = 1", &["unknown key `tcp-prot`", FILE, "did you mean `tcp-port`?"]);
    assert_says("tcp_port = 1", &["`tcp_port`", "`tcp-port`"]);
    assert_says("[mix]\ndelai = '1ms'", &["`mix.delai`", "`mix.delay`"]);
    assert_says("buffers = 99", &["`buffers`", "`mix.buffers`"]);
    assert_says("[mixr]\ndelay = '1ms'", &["`mixr`", "did you mean `mix`?"]);
    assert_says("zzzzzzzzzz = 1", &["`zzzzzzzzzz`", "config show --defaults"]);
    let said = Setup::new().env("WAKUMIX_TCP_PROT", "1").problem();
    assert!(said.contains("environment variable WAKUMIX_TCP_PROT"), "{said}");
    assert!(said.contains("did you mean `WAKUMIX_TCP_PORT`?"), "{said}");
    let said = Setup::new().env("WAKUMIX_MIX__DELAI", "1ms").problem();
    assert!(said.contains("did you mean `WAKUMIX_MIX__DELAY`?"), "{said}");
    let said = Setup::new().flag("tcp-prot", "1").problem();
    assert!(said.contains("flag --tcp-prot") && said.contains("`--tcp-port`"), "{said}");
}

#[test]
fn names_a_value_that_its_key_does_not_accept() {
    for (toml, parts) in [
        ("tcp-port = 'abc'", &["`tcp-port`", "`abc`", "from 0 to 65535", "default is 60000"][..]),
        ("tcp-port = 70000", &["`70000` is not a port"]),
        ("tcp-port = -1", &["`-1` is not a port"]),
        ("tcp-port = 1.5", &["`1.5` is not a port"]),
        ("tcp-port = [1]", &["`tcp-port`", "a list stands here"]),
        ("tcp-port = { a = 1 }", &["`tcp-port`", "a table stands here"]),
        ("rest = 'maybe'", &["`rest`", "`maybe`", "true or false"]),
        ("mix = 'maybe'", &["`mix`", "`maybe`", "write true or false"]),
        ("mix = [true]", &["`mix`", "a list stands here; expected true or false"]),
        ("roles = ['mixr']", &["`roles`", "`mixr`", "relay, mixer, exit, sender"]),
        ("preset = 'main'", &["`preset`", "`main`", "nwaku-2025-12", "twn", "local"]),
        ("log-level = 'loud'", &["`log-level`", "loud"]),
        ("listen-address = 'localhost'", &["`listen-address`", "`localhost`", "IPv4 or IPv6"]),
        ("nat = 'extip:'", &["`nat`", "extip:<IP address>"]),
        (
            "rest-allow-host = ['node.example.org:8645']",
            &["`rest-allow-host`", "node.example.org:8645", "without port"],
        ),
        ("rest-allow-host = ['*']", &["`rest-allow-host`", "a host name without port"]),
        ("max-msg-size = 100", &["`max-msg-size`", "no unit", "150KiB"]),
        ("drain-timeout = '9'", &["`drain-timeout`", "no unit", "20s"]),
        ("drain-timeout = '2h'", &["`drain-timeout`", "`2h` is not a time"]),
        ("rate-limit = ['lightpush']", &["`rate-limit`", "lightpush:100/1s"]),
        ("cluster-id = 70000", &["`cluster-id`", "from 0 to 65535"]),
        ("shard = [1024]", &["`shard`", "`1024`", "from 0 to 1023"]),
        ("staticnode = ['/ip4/127.0.0.1/tcp/1']", &["`staticnode`", "/p2p/<peer id>"]),
        ("ext-multiaddr = ['127.0.0.1:1']", &["`ext-multiaddr`", "not a multiaddr"]),
        ("nodekey = 'ab'", &["`nodekey`", "has 2 characters", "64 hex characters"]),
        ("mixkey = 'zz'", &["`mixkey`", "has 2 characters", "64 hex characters"]),
        ("[mix]\nprofile = 'rot13'", &["`mix.profile`", "rot13", "lioness/pad"]),
        ("[mix]\ndelay = '70s'", &["`mix.delay`", "`70s`", "65535ms"]),
        ("[mix]\nbuffers = 0", &["`mix.buffers`", "`0`", "from 16"]),
        ("[exit]\ncodecs = ['lightpush']", &["`exit.codecs`", "`lightpush`", "/vac/waku/lightpush/3.0.0"]),
        ("[mixer]\nmax-held = 0", &["`mixer.max-held`", "`0`", "from 1"]),
        ("[mixer]\ndelay-rule = 'fast'", &["`mixer.delay-rule`", "exponential, as-encoded"]),
    ] {
        assert_says(toml, parts);
        assert_says(toml, &[FILE]);
    }
}

#[test]
fn a_sender_has_no_more_reply_blocks_than_exits_answer_through() {
    let sender = "roles = ['sender']\n[sender]\nsurbs = 3\n";
    let parts = [
        "`sender.surbs` in file",
        "is 3, but exits answer a request through 2 reply blocks, by `exit.max-answers` (default)",
        "set sender.surbs to 2 or less",
    ];
    assert_says(sender, &parts);
    for fine in ["[sender]\nsurbs = 2", "[sender]\nsurbs = 3\n[exit]\nmax-answers = 3"] {
        Setup::new().toml(&format!("roles = ['sender']\n{fine}")).load();
    }
    Setup::new().toml("roles = ['mixer']\n[sender]\nsurbs = 3").load();
}

#[test]
fn names_a_mix_node_that_a_header_cannot_carry() {
    let ed25519 = mixnode(1).replace(super::PEER, "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA");
    for (entry, part) in [
        (mixnode(1).replace("/ip4/127.0.0.1", "/ip6/::1"), "a mix header carries only"),
        (mixnode(1).replace("/tcp/1", "/tcp/1/ws"), "a mix header carries only"),
        (ed25519, "secp256k1"),
        (mixnode(1).trim_end_matches("2c").to_owned(), "62 hex digits"),
        (mixnode(1).rsplit_once(':').unwrap().0.to_owned(), "the mix key is missing"),
    ] {
        assert_says(&format!("mixnode = ['{entry}']"), &["`mixnode`", FILE, part]);
    }
    let both = format!("mixnode = ['x', '{}', 'y']", mixnode(1));
    assert_eq!(Setup::new().toml(&both).problems().len(), 2);
    let twice = format!("mixnode = ['{}', '{}']", mixnode(1), mixnode(2));
    assert_says(&twice, &["`mixnode`", FILE, "two entries of peer", super::PEER]);
}

#[test]
fn names_both_of_two_keys_that_contradict() {
    let said = Setup::new().toml(&format!("nodekey = '{NODE}'")).env("WAKUMIX_NODEKEY_FILE", "/x").problem();
    for part in
        ["`nodekey` in file", "`nodekey-file` in environment variable WAKUMIX_NODEKEY_FILE", "keep nodekey-file"]
    {
        assert!(said.contains(part), "{said}");
    }
    let mixer = "roles = ['mixer']\nlisten-address = '127.0.0.1'\n";
    assert_says(&format!("{mixer}mixkey = '{MIX}'\nmixkey-file = 'x'"), &["`mixkey`", "`mixkey-file`"]);
    assert_says("roles = ['relay']\nmix = true", &["`mix = true`", "`roles = [relay]`", "remove `mix`"]);
    assert_says("roles = ['relay']\nrelay = false", &["`relay = false`", "`roles = [relay]`"]);
    assert_says("lightpush = true\n[relay]\nlightpush = false", &["`lightpush`", "`relay.lightpush`", "same key"]);
    assert_says("ext-multiaddr-only = true", &["`ext-multiaddr-only`", "`ext-multiaddr`"]);
    assert_says(
        "roles = ['relay', 'sender']\n[sender]\ntimeout = '2m'",
        &["`sender.timeout` in file", "is 120s", "may be asked for, 60s", "max-timeout"],
    );
    assert_says(
        "shard = [0, 8]\nnum-shards-in-network = 8",
        &["`shard` in file", "shard 8", "8 shards, 0 to 7", "the number of shards"],
    );
}

#[test]
fn names_the_settings_that_claim_one_port() {
    assert_says("tcp-port = 8645", &["`tcp-port` in file", "`rest-port` (default)", "port 8645", "another port"]);
    assert_says("metrics-server = true\nmetrics-server-port = 8645", &["`rest-port`", "`metrics-server-port`"]);
    assert_says("websocket-support = true\nwebsocket-port = 60000", &["`tcp-port`", "`websocket-port`"]);
    assert_says("ports-shift = 10000", &["`tcp-port`", "`ports-shift`", "above 65535"]);
    // UDP beside TCP, another address, any free port.
    Setup::new().toml("quic-support = true").load();
    Setup::new().toml("tcp-port = 8645\nlisten-address = '127.0.0.2'").load();
    Setup::new().toml("tcp-port = 0\nrest-port = 0\nports-shift = 10000").load();
}

#[test]
fn a_role_with_nothing_to_do_is_refused() {
    assert_says("roles = []", &["`roles`", FILE, "relay, mixer, exit, sender"]);
    assert_says("relay = false", &["`roles`", "turns every role off"]);
    assert_says(
        "roles = ['mixer', 'exit']\nlisten-address = '127.0.0.1'\n[exit]\ncodecs = []",
        &["`exit.codecs`", FILE, "serves nothing"],
    );
    assert_says("shard = []", &["`shard`", FILE, "shard = [0]"]);
}

#[test]
fn key_files_say_what_is_wrong_with_them() {
    let missing = Setup::new().flag("nodekey-file", "/does/not/exist").problem();
    for part in ["`nodekey-file` in flag --nodekey-file", "/does/not/exist does not exist", "wakumix key new"] {
        assert!(missing.contains(part), "{missing}");
    }
    for (text, part) in [("abcd\n", "has 4 characters"), ("", "has 0 characters"), (&"x".repeat(64), "other than 0-9")]
    {
        let mut setup = Setup::new();
        let path = setup.path("node.key");
        write_private(&path, text);
        let said = setup.flag("nodekey-file", path.to_str().unwrap()).problem();
        assert!(said.contains("`nodekey-file`") && said.contains(part), "{said}");
        assert!(said.contains("wakumix key new"), "{said}");
    }
    let mut setup = Setup::new();
    let folder = setup.path(".");
    let said = setup.flag("nodekey-file", folder.to_str().unwrap()).problem();
    assert!(said.contains("cannot be read") && said.contains("help"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let mut setup = Setup::new();
    let path = setup.path("mix.key");
    std::fs::write(&path, format!("{MIX}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let toml = format!("roles = ['mixer']\nlisten-address = '127.0.0.1'\nmixkey-file = '{}'", path.display());
    let said = setup.toml(&toml).problem();
    for part in ["`mixkey-file` in file", "open to others (mode 0644)", "chmod 600"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn an_ed25519_identity_cannot_mix() {
    // A libp2p private key in protobuf form: type ed25519, 64 bytes of seed and public key (RFC 8032 §7.1, test 1).
    let identity = "08011240\
        9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\
        d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    Setup::new().toml(&format!("roles = ['relay']\nnodekey = '{identity}'")).load();
    assert_says(
        &format!("roles = ['relay', 'exit']\nlisten-address = '127.0.0.1'\nnodekey = '{identity}'"),
        &["`nodekey`", FILE, "ed25519", "exit need secp256k1", "wakumix key new --kind node"],
    );
}

#[test]
fn a_mix_role_needs_an_address_that_a_header_can_carry() {
    for (toml, key) in [
        ("listen-address = '::1'", "`listen-address`"),
        ("nat = 'extip:2001:db8::1'", "`nat`"),
        ("ext-multiaddr = ['/dns4/example.org/tcp/1']\next-multiaddr-only = true", "`ext-multiaddr`"),
    ] {
        assert_says(&format!("roles = ['mixer']\n{toml}"), &[key, FILE, "packet header", "IPv4"]);
        for roles in ["['relay']", "['sender']", "['relay', 'sender']"] {
            Setup::new().toml(&format!("roles = {roles}\n{toml}")).load();
        }
    }
    let both = Setup::new().toml("roles = ['mixer']\nlisten-address = '::'\n").load().config;
    let listens: Vec<_> = both.listen_addresses().iter().map(ToString::to_string).collect();
    assert_eq!(listens, ["/ip6/::/tcp/60000", "/ip4/0.0.0.0/tcp/60000"]);
    Setup::new().toml("roles = ['mixer']\nlisten-address = '127.0.0.1'\ntcp-port = 0").load();
}

#[test]
fn files_that_cannot_be_read_or_parsed_are_named() {
    let mut setup = Setup::new();
    setup.inputs.file = Some("/does/not/exist.toml".into());
    let said = setup.problem();
    assert!(said.contains("/does/not/exist.toml cannot be read") && said.contains("--config"), "{said}");
    let said = Setup::new().file("node.ini", "").problem();
    assert!(said.contains("node.ini") && said.contains(".toml"), "{said}");
    assert_says("tcp-port = 1\nrest == 2\n", &[FILE, "line 2"]);
    let said = Setup::new().file("node.yaml", "tcp-port: 1\n rest: 2\n").problem();
    assert!(said.contains("node.yaml") && said.contains("line 2"), "{said}");
}

#[test]
fn a_file_that_does_not_parse_gives_no_secret_away() {
    for (name, text) in [
        ("a.toml", format!("nodekey = '{NODE}' x")),
        ("b.toml", NODE.to_owned()),
        ("c.yaml", format!("nodekey: [{NODE}")),
        ("d.yaml", NODE.to_owned()),
        ("e.yaml", format!("- {NODE}")),
        ("f.toml", format!("nodkey = '{NODE}'")),
        ("g.toml", format!("nodekey = ['{NODE}']")),
        ("h.toml", format!("nodekey = '{NODE}00'")),
    ] {
        let said = format!("{:?}", Setup::new().file(name, &text).problems());
        assert!(said.contains(name), "{said}");
        assert!(!said.contains(&NODE[..16]), "{said}");
    }
}

#[test]
fn what_is_wrong_with_those_who_may_use_rest_names_its_key() {
    assert_says(
        "rest-allow-origin = ['https://app.example.org/page']",
        &["`rest-allow-origin`", "not an origin such as https:"],
    );
    assert_says("rest-allow-origin = '*'", &["`rest-allow-origin`", "`*` is not an origin"]);
    assert_says("rest-token-file = '/does/not/exist'", &["`rest-token-file`", FILE, "does not exist", "/dev/urandom"]);
    let mut setup = Setup::new();
    let path = setup.path("token");
    std::fs::write(&path, "a-token-of-the-tests\n").unwrap();
    #[cfg(unix)]
    {
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let setup = Setup::new().flag("rest-token-file", path.to_str().unwrap());
        assert!(setup.problem().contains("is open to others (mode 0644)"), "{}", setup.problem());
    }
    write_private(&path, "a-token-of-the-tests\n");
    let loaded = Setup::new().flag("rest-token-file", path.to_str().unwrap()).load();
    assert!(loaded.keys.token.unwrap().is(b"a-token-of-the-tests"));
    // What is not served needs no token.
    Setup::new().toml("rest = false\nrest-token-file = '/does/not/exist'").load();
}

#[test]
fn reports_all_problems_of_all_layers_at_once() {
    let problems = Setup::new()
        .toml("tcp-prot = 1\nrest-port = 'x'\nroles = []\n[mix]\nbuffers = 0\n")
        .env("WAKUMIX_QUIK_PORT", "1")
        .env("WAKUMIX_SHARD", "0,9999,x")
        .flag("log-format", "xml")
        .flag("nodekey-file", "/does/not/exist")
        .problems();
    let all = problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n");
    for part in [
        "`tcp-prot`",
        "`rest-port`",
        "`roles`",
        "`mix.buffers`",
        "`quik-port`",
        "`9999`",
        "`x`",
        "`xml`",
        "/does/not/exist",
    ] {
        assert!(all.contains(part), "{part}:\n{all}");
    }
    assert_eq!(problems.len(), 9, "{all}");
}

#[test]
fn the_other_layers_are_judged_even_when_the_file_is_broken() {
    let problems = Setup::new().toml("=").env("WAKUMIX_QUIK_PORT", "1").flag("rest-port", "x").problems();
    assert_eq!(problems.len(), 3, "{problems:#?}");
}

#[test]
fn digits_without_quotes_are_no_secret() {
    let said = Setup::new().file("node.yaml", "nodekey: 1111\n").problem();
    assert!(said.contains("`nodekey` in file") && said.contains("put it in quotes"), "{said}");
    // So many of them are a key, whatever YAML makes of them.
    let digits = "1".repeat(64);
    let loaded = Setup::new().file("node.yaml", &format!("nodekey: {digits}\n")).load();
    assert_eq!(loaded.keys.peer(), parse_node_key(&digits).unwrap().public().to_peer_id());
}

#[test]
fn a_file_that_is_no_text_or_too_long_is_refused() {
    let mut setup = Setup::new();
    let path = setup.path("node.toml");
    std::fs::write(&path, [b'#', 0xff, b'\n']).unwrap();
    setup.inputs.file = Some(path.clone());
    assert!(setup.problem().contains("node.toml cannot be read: invalid utf-8"), "{}", setup.problem());
    std::fs::write(&path, "#".repeat((8 << 20) + 1)).unwrap();
    assert!(setup.problem().contains("it has more than 8388608 bytes"), "{}", setup.problem());
    std::fs::write(&path, format!("tcp-port = 1{}", "#".repeat(8 << 20).get(12..).unwrap())).unwrap();
    assert_eq!(setup.load().config.tcp_port, 1);
}

#[test]
fn what_is_wrong_with_the_pool_names_its_keys() {
    let said = Setup::new().flag("roles", "sender").flag("pool.max-age", "1s").problem();
    assert!(said.contains("`pool.max-age` in flag --pool.max-age is shorter than"), "{said}");
    assert!(said.contains("use several times pool.check-interval"), "{said}");
}

#[test]
fn names_the_line_of_what_is_wrong_in_a_file() {
    for (name, text, at) in [
        ("node.toml", "rest = true\n\ntcp-port = 'x'\n", "node.toml line 3: `x`"),
        ("node.toml", "rest = true\n[mix]\n\ndelai = '1ms'\n", "unknown key `mix.delai` in file"),
        ("node.toml", "rest = true\n[mix]\n\ndelai = '1ms'\n", "node.toml line 4"),
        ("node.toml", "shard = [\n  0,\n  'x',\n]\n", "node.toml line 3: `x`"),
        ("node.toml", "\nmix = 'maybe'\n", "node.toml line 2: `maybe`"),
        ("node.toml", "\nrest-port = 70\ntcp-port = 70\n", "`tcp-port` in file"),
        ("node.toml", "\nrest-port = 70\ntcp-port = 70\n", "node.toml line 3 and `rest-port`"),
        ("node.yaml", "rest: true\nmix:\n  # mean\n  delay: 70s\n", "node.yaml line 4: `70s`"),
        ("node.yaml", "rest: true\nshard: [0,\n  x]\n", "node.yaml line 3: `x`"),
    ] {
        let said = Setup::new().file(name, text).problem();
        assert!(said.contains(at), "{text}\n{said}");
    }
    let said = Setup::new().toml(&format!("\nnodekey = '{NODE}'")).env("WAKUMIX_NODEKEY_FILE", "/x").problem();
    assert!(said.contains("node.toml line 2 and"), "{said}");
}

#[test]
fn a_key_that_a_yaml_file_has_twice_is_refused_with_its_line() {
    for (text, part) in [
        ("tcp-port: 1\nrest: true\ntcp-port: 2\n", "line 3: the key `tcp-port` stands there a second time"),
        ("mix:\n  delay: 1ms\n  delay: 2ms\n", "line 3: the key `delay`"),
    ] {
        let said = Setup::new().file("node.yaml", text).problem();
        assert!(said.contains(part) && said.contains("node.yaml"), "{said}");
    }
    Setup::new().file("node.yaml", "mix:\n  delay: 1ms\ntcp-port: 1\n").load();
}

#[test]
fn a_role_that_is_named_twice_is_refused() {
    assert_says("roles = [\n 'relay',\n 'relay',\n]", &["`roles` in file", "line 3 names relay twice"]);
    let said = Setup::new().flag("roles", "relay,mixer,relay").problem();
    assert!(said.contains("flag --roles names relay twice"), "{said}");
    let loaded = Setup::new().toml("shard = [0, 0]").load();
    assert!(loaded.warnings.iter().any(|said| said.contains("names 0 twice")), "{:?}", loaded.warnings);
}

#[test]
fn waits_that_are_longer_than_the_deadline_are_refused() {
    let sender = "roles = ['sender']\n";
    for (toml, part) in [
        (
            "[mix]\ndelay = '2s'",
            "`sender.timeout` (default) is 10s, and the six waits of a request and its answer take 10.05s",
        ),
        ("[sender]\nhold = '30s'", "take 30.25s on average"),
        ("[sender]\ntimeout = '200ms'\n", "line 3 is 200ms, and the six waits"),
    ] {
        assert_says(&format!("{sender}{toml}"), &[part, "lower sender.hold and mix.delay"]);
    }
    Setup::new().toml(&format!("{sender}[mix]\ndelay = '1500ms'")).load();
    Setup::new().toml("roles = ['mixer']\n[mix]\ndelay = '60s'").load();
}

#[test]
fn an_open_admin_interface_without_a_token_is_refused() {
    let open = "rest-address = '0.0.0.0'\nrest-admin = true\n";
    assert_says(open, &["`rest-admin` in file", "opens /admin on 0.0.0.0", "set rest-token-file"]);
    for fine in ["rest-address = '0.0.0.0'\n", "rest-admin = true\n", &format!("{open}rest = false\n")] {
        Setup::new().toml(fine).load();
    }
    let mut setup = Setup::new();
    let token = setup.path("token");
    write_private(&token, "a-token-of-the-tests");
    setup.toml(&format!("{open}rest-token-file = '{}'", token.display())).load();
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_used_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let mut setup = Setup::new();
    let (file, folder) = (setup.path("file"), setup.path("keys"));
    write_private(&file, "");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let of = |path: &std::path::Path| format!("roles = ['mixer']\n[keys]\ndirectory = '{}'", path.display());
    let storage = |path: &std::path::Path| format!("local-storage-path = '{}'", path.display());
    assert_says(&of(&file.join("keys")), &["`keys.directory` in file", "line 3: ", "file is not a directory"]);
    assert_says(&storage(&file.join("cache")), &["`local-storage-path` in file", "file is not a directory"]);
    assert_says(&of(&folder), &["is open to all (mode 0777)", "chmod o-w"]);
    Setup::new().toml(&storage(&folder)).load();
    Setup::new().toml(&of(&folder.join("new"))).load();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o2770)).unwrap();
    Setup::new().toml(&of(&folder)).load();
}

#[test]
fn a_long_list_of_wrong_items_is_cut_short() {
    let wrong = |count: usize| Setup::new().toml(&format!("staticnode = [{}]", "'x',\n".repeat(count))).problems();
    assert_eq!(wrong(20).len(), 20);
    let said = wrong(5000);
    assert_eq!(said.len(), 21);
    assert!(said[19].to_string().contains("line 20: `x`"), "{}", said[19]);
    assert!(said[20].to_string().contains("further items of the list are wrong: 4980"), "{}", said[20]);
}

#[test]
fn an_item_that_is_repeated_is_named_once() {
    let loaded = Setup::new().toml("cluster-id = 66\nshard = [0, 0, 0, 1]").load();
    let repeated: Vec<_> = loaded.warnings.iter().filter(|said| said.contains("twice")).collect();
    assert_eq!(repeated.len(), 1, "{repeated:?}");
}

#[test]
fn a_number_beyond_64_bits_is_said_to_be_too_large() {
    let said = Setup::new().toml("relay = true\ntcp-port = 999999999999999999999999").problem();
    assert!(said.contains("line 2: the number is too large") && !said.contains("i128"), "{said}");
}
