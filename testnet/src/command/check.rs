//! Whether options make a net: every problem at once, each with what would help.

use std::time::Duration;

use wakumix_keyring::{MAX_LIFETIME, MIN_LIFETIME};
use wakumix_mix::{MIN_POOL, fragment::MAX_PAYLOAD_LEN};
use wakumix_node::{
    config::{Problem, Schema, Timespan},
    roles::Roles,
};

use super::{choices::DiscoveryMethod, options::Options, page, settings::PORTS, targets};
use crate::NodeKind;

/// More nodes than this in one process run into the limit of open files.
const MOST_NODES: u16 = 256;

/// What is wrong with the options; nothing if they make a net.
pub(super) fn problems(options: &Options) -> Vec<Problem> {
    let of = [
        size_problems,
        pace_problem,
        kill_problems,
        payload_problem,
        rotate_problem,
        delay_problem,
        port_problem,
        file_problem,
        page_problem,
    ];
    of.iter().flat_map(|problems| problems(options)).collect()
}

/// Whether there is a page to serve.
fn page_problem(options: &Options) -> Vec<Problem> {
    if !options.websocket || page::is_page(&options.page) {
        return Vec::new();
    }
    let folder = options.page.display();
    vec![Problem::new(
        format!("--page {folder}: there is no {} in this folder", page::INDEX),
        "build the demo by browser/demo/build and name its folder browser/demo/dist, or name one with a page of yours"
            .to_owned(),
    )]
}

/// Whether there is enough of each kind of node, and not too much.
fn size_problems(options: &Options) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |what: String, help: String| problems.push(Problem::new(what, help));
    let Options { relays, mixers, exits, senders, .. } = *options;
    let messages = options.messages();
    let pool = usize::from(mixers) + usize::from(exits);
    if relays == 0 {
        refuse("--relays 0: nobody would receive the messages".to_owned(), "use at least 1".to_owned());
    }
    if exits == 0 {
        refuse("--exits 0: nobody would hand the messages to the relays".to_owned(), "use at least 1".to_owned());
    }
    if senders == 0 && messages > 0 {
        refuse(
            format!("--senders 0: nobody would send the {messages} messages"),
            "use at least 1, or --messages 0".to_owned(),
        );
    }
    if pool < MIN_POOL {
        refuse(
            format!(
                "--mixers {mixers} --exits {exits}: the mix pool has {pool} nodes, a path and its reply path need {MIN_POOL}"
            ),
            format!("use at least --mixers {}", MIN_POOL - usize::from(exits)),
        );
    }
    let nodes: u32 = NodeKind::ALL.into_iter().map(|kind| u32::from(options.count(kind))).sum();
    if nodes > u32::from(MOST_NODES) {
        refuse(format!("{nodes} nodes are too many for one process"), format!("use at most {MOST_NODES} in all"));
    }
    problems
}

/// Whether a time to send for comes with a pace.
fn pace_problem(options: &Options) -> Vec<Problem> {
    let lasting = options.lasting.filter(|_| options.rate.is_none());
    let problem = |lasting| Problem::new(format!("--for {lasting}: at no pace"), "add --rate, messages a second");
    lasting.map(problem).into_iter().collect()
}

/// Whether enough is left after a kill: nodes for paths, and messages to see what it does.
fn kill_problems(options: &Options) -> Vec<Problem> {
    let (mixers, exits) = (options.killed(NodeKind::Mixer), options.killed(NodeKind::Exit));
    let asked = [
        ("--kill-mixers", options.kill_mixers, mixers, options.mixers),
        ("--kill-exits", options.kill_exits, exits, options.exits),
    ];
    if mixers == 0 && exits == 0 {
        let unused = options.kill_after.filter(|_| options.kill_mixers.or(options.kill_exits).is_none());
        let problem = |after| {
            Problem::new(format!("--kill-after {after}: nobody is killed"), "add --kill-mixers or --kill-exits")
        };
        return unused.map(problem).into_iter().collect();
    }
    let flags = asked.iter().filter_map(|(flag, share, ..)| share.map(|share| format!("{flag} {share}")));
    let flags = flags.collect::<Vec<_>>().join(" ");
    let mut problems = Vec::new();
    for (flag, share, killed, all) in asked {
        if let Some(share) = share.filter(|_| killed > all) {
            let nodes = if flag == "--kill-exits" { "exits" } else { "mixers" };
            problems
                .push(Problem::new(format!("{flag} {share}: there are {all} {nodes}"), format!("use at most {all}")));
        }
    }
    if !problems.is_empty() {
        return problems;
    }
    let left = usize::from(options.mixers - mixers) + usize::from(options.exits - exits);
    if left < MIN_POOL {
        let what = format!("{flags}: {left} nodes of the mix pool are left, a path and its reply path need {MIN_POOL}");
        problems.push(Problem::new(what, "kill fewer, or start more"));
    }
    if options.exits > 0 && exits == options.exits {
        let what = format!("{flags}: no exit is left that hands messages to the relays");
        problems.push(Problem::new(what, "kill fewer exits, or start more"));
    }
    let (after, messages) = (options.kill_after(), options.messages());
    if after >= messages {
        let what = format!("--kill-after {after}: no message is sent after the kill");
        problems.push(Problem::new(what, format!("use less than the {messages} messages")));
    }
    problems
}

/// Whether a message may have this payload, told with size and limit.
fn payload_problem(options: &Options) -> Vec<Problem> {
    let asked = options.payload.len();
    let problem = (asked > MAX_PAYLOAD_LEN).then(|| {
        let what = format!("--payload: {asked} bytes are too many, a message carries at most {MAX_PAYLOAD_LEN}");
        Problem::new(what, format!("use at most --payload {MAX_PAYLOAD_LEN}"))
    });
    problem.into_iter().collect()
}

/// Whether a message and its answer can be on their way and back in time: it waits six times.
fn delay_problem(options: &Options) -> Vec<Problem> {
    let waits = Duration::from_millis(6 * u64::from(options.delay.0.encode()));
    let schema = Schema::new(&Roles::built_in()).ok();
    let limit = schema.and_then(|schema| schema.find("sender.timeout")?.default.as_deref()?.parse::<Timespan>().ok());
    let Some(limit) = limit.map(Timespan::as_duration).filter(|limit| waits >= *limit) else { return Vec::new() };
    let what = format!(
        "--delay {}: the six waits of a message and its answer take {waits:?} on average, and it has {limit:?}",
        options.delay
    );
    vec![Problem::new(what, format!("use less than --delay {}ms", limit.as_millis() / 6))]
}

/// Whether every node has its ports.
fn port_problem(options: &Options) -> Vec<Problem> {
    let Some(base) = options.port_base else { return Vec::new() };
    let nodes: u32 = NodeKind::ALL.into_iter().map(|kind| u32::from(options.count(kind))).sum();
    let last = u32::from(base) + PORTS * nodes - 1;
    let problem = (last > u32::from(u16::MAX)).then(|| {
        let what = format!("--port-base {base}: {nodes} nodes have ports up to {last}, and there is none above 65535");
        Problem::new(what, format!("use at most --port-base {}", u32::from(u16::MAX) + 1 - PORTS * nodes))
    });
    problem.into_iter().collect()
}

/// Whether the file can be written that Prometheus is to read.
fn file_problem(options: &Options) -> Vec<Problem> {
    let Some(path) = &options.prometheus_targets else { return Vec::new() };
    let problem = targets::write(path, []).err().map(|error| {
        let what = format!("--prometheus-targets {}: it cannot be written: {error}", path.display());
        Problem::new(what, "name a file in a directory that exists and that you may write to")
    });
    problem.into_iter().collect()
}

/// Whether keys can live so short, and senders would hear of new ones.
fn rotate_problem(options: &Options) -> Vec<Problem> {
    let Some(lifetime) = options.rotate else { return Vec::new() };
    let mut problems = Vec::new();
    let lives = MIN_LIFETIME..=MAX_LIFETIME;
    if !lives.contains(&lifetime.as_duration()) {
        let what = format!("--rotate {lifetime}: a mix key lives for 10s to 400 days");
        problems.push(Problem::new(what, "use at least --rotate 10s"));
    }
    if options.discovery == DiscoveryMethod::Static {
        let what = format!("--rotate {lifetime} --discovery static: nobody would hear of the new keys");
        problems.push(Problem::new(what, "leave out --discovery static"));
    }
    problems
}

#[cfg(test)]
pub(super) mod testing {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    pub(in crate::command) fn parse(flags: &[&str]) -> Result<Options, clap::Error> {
        Line::try_parse_from([&["testnet"], flags].concat()).map(|line| line.options)
    }

    pub(in crate::command) fn options(flags: &[&str]) -> Options {
        parse(flags).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        testing::{options, parse},
        *,
    };
    use wakumix_node::config::Problems;

    fn refusal(flags: &[&str]) -> String {
        let problems = problems(&options(flags));
        assert!(!problems.is_empty(), "{flags:?} should be refused");
        Problems(problems).to_string()
    }

    #[test]
    fn says_what_a_net_lacks() {
        for (flags, parts) in [
            (&["--relays", "0"][..], &["--relays 0: nobody would receive", "use at least 1"][..]),
            (&["--exits", "0"], &["--exits 0: nobody would hand"]),
            (&["--senders", "0"], &["--senders 0: nobody would send the 100 messages", "or --messages 0"]),
            (&["--mixers", "1", "--exits", "1"], &["the mix pool has 2 nodes", "need 4", "use at least --mixers 3"]),
            (&["--mixers", "300"], &["306 nodes are too many", "use at most 256"]),
            (&["--rotate", "1m", "--discovery", "static"], &["nobody would hear of the new keys"]),
            (&["--rotate", "1s"], &["lives for 10s to 400 days"]),
            (&["--delay", "3s"], &["--delay 3s: the six waits", "take 18s on average", "less than --delay 1666ms"]),
            (&["--port-base", "65530"], &["12 nodes have ports up to 65565", "use at most --port-base 65500"]),
            (
                &["--hold", "--websocket", "--page", "/no/such"],
                &["--page /no/such: there is no index.html", "browser/demo/build"],
            ),
            (&["--hold", "--prometheus-targets", "/no/such/file"], &["/no/such/file: it cannot be written", "exists"]),
        ] {
            let said = refusal(flags);
            for part in parts {
                assert!(said.contains(part), "{part}: {said}");
            }
        }
        let all = refusal(&["--relays", "0", "--exits", "0", "--mixers", "0", "--payload", "1MiB"]);
        assert_eq!(all.lines().filter(|line| line.starts_with("error: ")).count(), 4, "{all}");
        assert!(problems(&options(&["--senders", "0", "--messages", "0"])).is_empty());
    }

    #[test]
    fn says_what_a_kill_would_leave() {
        for (flags, parts) in [
            (&["--kill-mixers", "7"][..], &["--kill-mixers 7: there are 6 mixers", "use at most 6"][..]),
            (&["--kill-exits", "3"], &["--kill-exits 3: there are 2 exits", "use at most 2"]),
            (&["--kill-mixers", "1/1"], &["--kill-mixers 1/1: 2 nodes of the mix pool are left", "need 4"]),
            (&["--kill-mixers", "4", "--kill-exits", "1"], &["--kill-mixers 4 --kill-exits 1: 3 nodes", "need 4"]),
            (&["--kill-exits", "1/1"], &["--kill-exits 1/1: no exit is left"]),
            (&["--kill-mixers", "1", "--kill-after", "100"], &["--kill-after 100: no message", "less than the 100"]),
            (&["--kill-exits", "1", "--burst", "9", "--kill-after", "9"], &["use less than the 9 messages"]),
            (&["--kill-after", "5"], &["--kill-after 5: nobody is killed", "add --kill-mixers"]),
        ] {
            let said = refusal(flags);
            for part in parts {
                assert!(said.contains(part), "{part}: {said}");
            }
        }
        assert!(problems(&options(&["--kill-mixers", "0", "--kill-after", "5"])).is_empty());
    }

    #[test]
    fn a_payload_of_4096_bytes_is_sent_in_every_profile_and_4097_are_refused_with_both_sizes() {
        for profile in ["aes-ctr/seq", "lioness/seq", "lioness/pad", "logos-testnet-0.2", "lioness/pad,sphinx-packet"] {
            for (size, problem) in [("4096", false), ("4KiB", false), ("0", false), ("4097", true)] {
                let found = problems(&options(&["--profile", profile, "--payload", size]));
                assert_eq!(!found.is_empty(), problem, "{profile} {size}");
            }
        }
        let said = refusal(&["--for", "1m"]);
        assert!(said.contains("add --rate"), "{said}");
        let said = refusal(&["--payload", "4097"]);
        assert!(said.contains("4097 bytes") && said.contains("at most 4096"), "{said}");
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for flags in [
            &["--burst", "4", "--messages", "5"][..],
            &["--burst", "4", "--one-by-one"],
            &["--burst", "4", "--rate", "5"],
            &["--gossip", "star", "--mixers", "3"],
            &["--kill-relays", "3"],
            &["--rate", "1", "--for", "1m", "--messages", "5"],
            &["--rate", "0"],
            &["--rate", "1", "--one-by-one"],
            &["--cover", "1s", "--hold"],
            &["--loss", "101"],
            &["--port-base", "80"],
            &["--prometheus-targets", "x.json"],
            &["--websocket"],
            &["--websocket", "--hold", "--port-base", "4000"],
            &["--page", "folder"],
        ] {
            assert!(parse(flags).is_err(), "{flags:?}");
        }
    }
}
