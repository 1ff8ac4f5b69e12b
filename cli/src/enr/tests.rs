//! What `wakumix enr` prints and refuses.

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use wakumix_node::config::Schema;

use super::{super::config_args::with_keys, *};

/// The first vector of `spec/waku.md §6.3`.
const SIMULATION: &str = "enr:-NC4QKYtas8STkenlqBTJ3a1TTLzJA2DsGGbFlnxem9aSM2IXm-CSVZULdk2467bAyFnepnt8KP_QlfDzdaMXd_zqtwBgmlkgnY0gmlwhH8AAAGHbWl4LWtleaCdCc5iT3bo9gYmXtucyit96bQXcqbXhL3a-S_6j7p9LIptdWx0aWFkZHJzgIJyc4UAAgEAAIlzZWNwMjU2azGhA6RFtVJVBh0SYOoP8xrgnXSlpiFARmQkF9d8Rn4fSeiog3RjcILqYYN1ZHCCIymFd2FrdTIt";
/// The second, without an address.
const BARE: &str = "enr:-Hy4QC73_E3B_FkZhsOakaD4pHe-U--UoGASdG9N0F3SFFUDY_jdQbud8EXVyrlOZ5pZ7VYFBDPMRCENwy87Lh74dFIBgmlkgnY0iXNlY3AyNTZrMaECvNt1jIWbWGpAWWdlLGYm1E1OjlkQk3ONoxDC5sfw8oOFd2FrdTID";

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: EnrCommand,
}

fn run(arguments: &[&str]) -> (String, Result<(), Failure>) {
    let schema = Schema::new(&Roles::built_in()).unwrap();
    let line = with_keys(Line::command(), &schema);
    let matches = line.try_get_matches_from([&["enr"], arguments].concat()).unwrap();
    let Line { command } = Line::from_arg_matches(&matches).unwrap();
    let mut out = Vec::new();
    let done = command.run(&Roles::built_in(), &mut out);
    (String::from_utf8(out).unwrap(), done)
}

#[test]
fn prints_what_a_record_says() {
    let (printed, done) = run(&["decode", SIMULATION]);
    done.unwrap();
    let expected = "\
peer id     16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o
sequence    1
size        210 of 300 bytes
ip          127.0.0.1
tcp         60001
udp         9001
waku2       relay, filter, lightpush, mix (0x2d)
cluster     2
shards      0
mix key     9d09ce624f76e8f606265edb9cca2b7de9b41772a6d784bddaf92ffa8fba7d2c
";
    assert_eq!(printed, expected);
}

#[test]
fn prints_json_with_what_the_record_says_and_no_more() {
    let (printed, done) = run(&["decode", "--json", SIMULATION, BARE]);
    done.unwrap();
    let records: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(records[0]["enr"], SIMULATION);
    assert_eq!(records[0]["capabilities"], serde_json::json!(["relay", "filter", "lightpush", "mix"]));
    assert_eq!((&records[0]["cluster"], &records[0]["udp"]), (&2.into(), &9001.into()));
    let keys: Vec<_> = records[1].as_object().unwrap().keys().map(String::as_str).collect();
    let said = ["bytes", "capabilities", "enr", "multiaddrs", "peerId", "seq", "shards", "unreadable", "waku2"];
    assert_eq!(keys, said);
}

#[test]
fn names_every_record_that_is_wrong_and_shows_the_others() {
    let forged = SIMULATION.replace("TIt", "TIs");
    let (printed, done) = run(&["decode", "enr:-NC4", SIMULATION, &forged]);
    assert!(printed.starts_with("peer id     16Uiu2HAmPi"), "{printed}");
    let Failure::Input(Problems(problems)) = done.unwrap_err() else { panic!("it is the input that is wrong") };
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert!(problems[0].contains("the record `enr:-NC4`: the record does not parse"), "{problems:?}");
    let second = "the record `enr:-NC4QKYtas8STkenlqBTJ3a1…`: the record's signature is wrong";
    assert!(problems[1].contains(second), "{problems:?}");
}

#[test]
fn the_record_of_a_configuration_says_its_roles_and_addresses() {
    let arguments = [
        "show",
        "--json",
        "--preset=local",
        "--roles=relay,mixer",
        "--mixkey=a87db88246ec0eedda347b9b643864bee3d6933eb15ba41e6d58cb678d813258",
        "--nat=extip:192.0.2.1",
        "--tcp-port=60000",
        "--discv5-discovery=true",
        "--discv5-udp-port=9005",
        "--cluster-id=2",
        "--num-shards-in-network=8",
        "--shard=0",
        "--shard=3",
    ];
    let (printed, done) = run(&arguments);
    done.unwrap();
    let record: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&record["ip"], &record["tcp"], &record["udp"]), (&"192.0.2.1".into(), &60_000.into(), &9005.into()));
    assert_eq!(record["capabilities"], serde_json::json!(["relay", "lightpush", "mix"]));
    assert_eq!(record["shards"], serde_json::json!([0, 3]));
    assert_eq!(record["mixKey"].as_str().map(str::len), Some(64));
}

#[test]
fn a_node_that_does_not_answer_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_, done) = run(&["show", "--via", &format!("http://{free}")]);
    let error = done.unwrap_err().to_string();
    assert!(error.contains(&free.to_string()), "{error}");
}
