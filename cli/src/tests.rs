//! What the command line understands and prints.

use clap::FromArgMatches as _;
use wakumix_node::{
    config::{OPTIONS, SWITCHES, Schema},
    roles::Roles,
};

use super::{Cli, Failure};

/// Runs a command line and gives what it printed.
fn wakumix(arguments: &[&str]) -> Result<String, Failure> {
    let cli = parsed(arguments).unwrap();
    let mut out = Vec::new();
    cli.command.run(&Roles::built_in(), &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn parsed(arguments: &[&str]) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from([&["wakumix"], arguments].concat())?;
    Cli::from_arg_matches(&matches)
}

fn command() -> clap::Command {
    Cli::command_with(&Roles::built_in()).unwrap()
}

fn refused(arguments: &[&str]) -> clap::Error {
    parsed(arguments).unwrap_err()
}

#[test]
fn the_command_line_is_consistent() {
    command().debug_assert();
}

#[test]
fn every_subcommand_says_what_it_does() {
    let command = command();
    let says = |name: &str| command.find_subcommand(name).unwrap().get_about().unwrap().to_string();
    assert!(says("probe").starts_with("Test each mix node"), "{}", says("probe"));
    assert!(says("pool").starts_with("Show the mix nodes"), "{}", says("pool"));
    assert!(says("send").starts_with("Send a message"), "{}", says("send"));
}

#[test]
fn every_key_and_every_name_of_wakunode2_is_a_flag() {
    let command = command();
    let check = command.find_subcommand("config").unwrap().find_subcommand("check").unwrap();
    let flags: Vec<&str> = check.get_arguments().filter_map(|argument| argument.get_long()).collect();
    let schema = Schema::new(&Roles::built_in()).unwrap();
    let aliases = schema.keys().iter().flat_map(|key| key.aliases).copied();
    let others = aliases.chain(OPTIONS.iter().map(|option| option.name));
    let switches = SWITCHES.iter().map(|switch| switch.name);
    for name in schema.keys().iter().map(|key| key.path).chain(others).chain(switches) {
        assert!(flags.contains(&name), "{name}");
    }
}

#[test]
fn flags_take_values_as_wakunode2_writes_them() {
    let shown = wakumix(&[
        "config",
        "show",
        "--mix=true",
        "--relay",
        "True",
        "--rest=False",
        "--metrics-server",
        "--shard=0",
        "--shard",
        "1",
        "--nat=extip:10.0.0.7",
        "--keep-alive=true",
        "--mix.delay=7ms",
        "--lightpush=false",
    ])
    .unwrap();
    for line in [
        "roles = [\"relay\", \"mixer\", \"exit\"]",
        "rest = false  # flag --rest",
        "metrics-server = true",
        "shard = [0, 1]",
        "delay = \"7ms\"  # flag --mix.delay",
        "lightpush = false  # flag --lightpush",
    ] {
        assert!(shown.contains(line), "{line}:\n{shown}");
    }
    let shown = wakumix(&["config", "show", "--role", "relay,mixer", "--nat", "extip:10.0.0.7"]).unwrap();
    assert!(shown.contains("roles = [\"relay\", \"mixer\"]"), "{shown}");
}

#[test]
fn a_colon_stands_for_an_equals_sign_between_a_flag_and_its_value() {
    let peer = "/ip4/192.0.2.1/tcp/1/p2p/16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o";
    let named = format!("--staticnode:{peer}");
    let written = [
        "wakumix",
        "config",
        "show",
        "--ports-shift:1",
        &named,
        "--nat:extip:192.0.2.7",
        "--tcp-port=7",
        "--",
        "--a:b",
    ];
    let read = super::config_args::with_equals(written);
    let equal = format!("--staticnode={peer}");
    let expected = [
        "wakumix",
        "config",
        "show",
        "--ports-shift=1",
        &equal,
        "--nat=extip:192.0.2.7",
        "--tcp-port=7",
        "--",
        "--a:b",
    ];
    assert_eq!(read, expected);
    for kept in ["--rest-allow-origin=localhost:*", "/ip4/192.0.2.1:1", "--:", "hello: you"] {
        assert_eq!(super::config_args::with_equals([kept]), [kept]);
    }
}

#[test]
fn an_unknown_flag_is_refused_with_the_nearest() {
    let error = refused(&["config", "check", "--tcp-prot", "1"]);
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--tcp-port"), "{error}");
    assert_eq!(refused(&["config", "check", "--tcp-port", "1", "--tcp-port", "2"]).exit_code(), 2);
}

#[test]
fn check_prints_ok_and_who_the_node_is() {
    let key = "f98e3fba96c32e8d1967d460f1b79457380e1a895f7971cecc8528abe733781a";
    let said = wakumix(&["config", "check", "--nodekey", key]).unwrap();
    assert!(said.starts_with("ok\n"), "{said}");
    assert!(said.contains("16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o"), "{said}");
    assert!(said.contains("tcp 60000 (tcp-port)"), "{said}");
    assert!(!said.contains(&key[..16]));
}

#[test]
fn check_fails_with_every_problem_and_its_remedy() {
    let failure = wakumix(&["config", "check", "--tcp-port=x", "--rest-port=y"]).unwrap_err();
    assert_eq!(failure.code(), 1);
    let said = failure.to_string();
    assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 2, "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("  help: ")).count(), 2, "{said}");
}

#[test]
fn a_new_key_is_shown_by_its_public_half_only() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, line) in [("node", "peer id   16Uiu2HA"), ("mix", "mix key   ")] {
        let path = folder.path().join(kind);
        let path = path.to_str().unwrap();
        let made = wakumix(&["key", "new", "--kind", kind, "--output", path]).unwrap();
        let secret = std::fs::read_to_string(path).unwrap();
        let shown = wakumix(&["key", "show", path, "--kind", kind]).unwrap();
        for said in [&made, &shown] {
            assert!(said.contains(line), "{said}");
            assert!(said.contains(&format!("{kind}key-file = \"{path}\"")), "{said}");
            assert!(!said.contains(secret.trim()), "{said}");
        }
        assert!(wakumix(&["key", "show", path]).unwrap().contains(line));

        let failure = wakumix(&["key", "new", "--kind", kind, "--output", path]).unwrap_err();
        assert_eq!(failure.code(), 1);
        assert!(failure.to_string().contains("exists already"), "{failure}");
        assert_eq!(std::fs::read_to_string(path).unwrap(), secret);
    }
}

#[test]
fn a_new_key_goes_to_standard_output_only_when_asked() {
    let key = wakumix(&["key", "new", "--stdout"]).unwrap();
    assert_eq!((key.len(), key.ends_with('\n')), (65, true));
    assert!(wakumix_node::keys::parse_node_key(&key).is_ok());
    assert_eq!(refused(&["key", "new", "--stdout", "--output", "x"]).exit_code(), 2);
}

#[test]
fn showing_a_key_that_is_not_there_says_what_to_do() {
    let failure = wakumix(&["key", "show", "/does/not/exist"]).unwrap_err();
    assert_eq!(failure.code(), 1);
    let said = failure.to_string();
    assert!(said.contains("error: key file /does/not/exist") && said.contains("help: create it"), "{said}");
}

#[test]
fn a_generated_vector_file_passes_and_a_damaged_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.json");
    let good = good.to_str().unwrap();
    wakumix(&["conformance", "--generate", "7", "--profile", "aes-ctr/seq", "--output", good]).unwrap();
    let report = wakumix(&["conformance", good]).unwrap();
    assert!(report.contains("aes-ctr/seq") && report.contains("passed"), "{report}");
    let json: serde_json::Value = serde_json::from_str(&wakumix(&["conformance", "--json", good]).unwrap()).unwrap();
    assert_eq!((&json["ok"], json["files"].as_array().unwrap().len()), (&serde_json::Value::Bool(true), 1));

    let bad = folder.path().join("bad.json");
    std::fs::write(&bad, "{}").unwrap();
    let failure = wakumix(&["conformance", good, bad.to_str().unwrap()]).unwrap_err();
    assert_eq!(failure.code(), 1);
    assert!(
        failure.to_string().contains("1 of 2 vector files did not pass") && failure.to_string().contains("bad.json")
    );
}

#[test]
fn vectors_are_either_checked_or_written() {
    for arguments in [
        &["conformance"][..],
        &["conformance", "x.json", "--generate", "1"],
        &["conformance", "x.json", "--output", "y.json"],
        &["conformance", "--generate", "1", "--profile", "rot13"],
        &["conformance", "--generate", "1", "--json"],
    ] {
        assert_eq!(refused(arguments).exit_code(), 2, "{arguments:?}");
    }
}
