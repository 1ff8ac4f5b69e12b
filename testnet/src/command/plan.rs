//! What a test net is made of: checked options with everything random drawn from the seed.

use std::time::Duration;

use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use wakumix_node::config::{Problem, Problems};
use wakumix_waku::{PubsubTopic, WakuMessage};

use super::{
    TestnetError,
    check::problems,
    options::Options,
    settings::{node_plan, with_ports},
};
use crate::{CLUSTER, NodeKind, NodePlan, SHARD};

/// Where the test messages go.
pub(super) const CONTENT_TOPIC: &str = "/wakumix/1/testnet/proto";
/// Requests that one sender has open at a time, unless something else is asked for.
const OPEN_REQUESTS: usize = 8;

/// Who is killed, and when.
pub(super) struct Kill {
    /// Messages sent before.
    pub(super) after: u32,
    /// The names of the nodes, mixers first.
    pub(super) victims: Vec<String>,
}

/// When messages are handed to senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// While fewer than this many wait for their answers, in turn to each sender.
    Open(usize),
    /// One in each such time, in turn to each sender.
    Every(Duration),
    /// All at once, to the first sender.
    AtOnce,
}

impl Pace {
    fn of(options: &Options) -> Self {
        match options {
            Options { burst: Some(_), .. } => Self::AtOnce,
            Options { rate: Some(rate), .. } => Self::Every(Duration::from_secs(1) / *rate),
            Options { one_by_one: true, .. } => Self::Open(1),
            Options { senders, .. } => Self::Open(OPEN_REQUESTS * usize::from(*senders)),
        }
    }
}

/// Checked options with everything random drawn from the seed.
pub(super) struct Plan {
    pub(super) options: Options,
    pub(super) messages: u32,
    pub(super) pace: Pace,
    pub(super) seed: u64,
    pub(super) nodes: Vec<(NodeKind, NodePlan)>,
    pub(super) kill: Option<Kill>,
    pub(super) topic: PubsubTopic,
}

impl Plan {
    /// Checks the options, all at once, and draws the keys.
    pub(super) fn new(options: &Options) -> Result<Self, TestnetError> {
        let problems = problems(options);
        if !problems.is_empty() {
            return Err(TestnetError::Options(Problems(problems)));
        }
        let seed = options.seed.unwrap_or_else(|| rand::rng().next_u64());
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let numbered = |kind| (1..=options.count(kind)).map(move |number| (kind, number));
        let nodes: Vec<_> = NodeKind::ALL
            .into_iter()
            .flat_map(numbered)
            .map(|(kind, number)| (kind, node_plan(options, kind, number, &mut rng)))
            .enumerate()
            .map(|(place, (kind, plan))| (kind, with_ports(plan, options.port_base, place)))
            .collect();
        check_nodes(&nodes)?;
        let topic =
            PubsubTopic::new(CLUSTER, SHARD).map_err(|error| Problems::from(Problem::bare(error.to_string())))?;
        let kill = kill(options, &nodes, &mut rng);
        let messages = options.messages();
        Ok(Self { options: options.clone(), messages, pace: Pace::of(options), seed, nodes, kill, topic })
    }

    /// Says what is started.
    pub(super) fn headline(&self) -> String {
        let Options { relays, mixers, exits, senders, payload, delay, discovery, .. } = &self.options;
        format!(
            "starting {relays} relays, {mixers} mixers, {exits} exits, {senders} senders, {}; {} messages of \
             {payload}{}, mean delay {delay}, profile {}{}, seed {}",
            discovery.describe(),
            self.messages,
            self.describe_pace(),
            self.options.profiles(),
            self.describe_trouble(),
            self.seed
        )
    }

    fn describe_pace(&self) -> String {
        match self.pace {
            Pace::AtOnce => ", all at once from one sender".to_owned(),
            Pace::Open(1) => ", one by one".to_owned(),
            Pace::Open(_) => String::new(),
            Pace::Every(_) => format!(", {} a second", self.options.rate.unwrap_or_default()),
        }
    }

    fn describe_trouble(&self) -> String {
        let Options { loss, rotate, cover, .. } = &self.options;
        let parts = [
            loss.map(|loss| format!(", {loss} of the packets lost at each hop")),
            rotate.map(|lifetime| format!(", new mix keys every {lifetime}")),
            (cover != "none").then(|| format!(", cover {cover}")),
        ];
        parts.into_iter().flatten().collect()
    }

    /// The message with this number; the same for the same seed, but for its time.
    pub(super) fn message(&self, number: u32) -> WakuMessage {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed ^ (u64::from(number) + 1).rotate_left(32));
        message(&self.options, &mut rng)
    }
}

/// A message of now with a random payload.
pub(super) fn message(options: &Options, rng: &mut ChaCha20Rng) -> WakuMessage {
    let mut payload = vec![0; options.payload.len()];
    rng.fill_bytes(&mut payload);
    WakuMessage {
        payload,
        content_topic: CONTENT_TOPIC.to_owned(),
        version: 0,
        timestamp: Some(wakumix_node::clock::unix_nanoseconds()),
        meta: Vec::new(),
        rate_limit_proof: Vec::new(),
        ephemeral: false,
    }
}

/// Asks one node of each kind what it says of its configuration. What is wrong with one is wrong with all of them.
fn check_nodes(nodes: &[(NodeKind, NodePlan)]) -> Result<(), Problems> {
    let mut problems: Vec<Problem> = Vec::new();
    for kind in NodeKind::ALL {
        let Some((_, plan)) = nodes.iter().find(|(of, _)| *of == kind) else { continue };
        for problem in plan.check().err().map(|problems| problems.0).unwrap_or_default() {
            let message = format!("{}: {}", plan.name(), problem.message);
            problems.push(Problem { message, ..problem });
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

/// Draws who is killed.
fn kill(options: &Options, nodes: &[(NodeKind, NodePlan)], rng: &mut ChaCha20Rng) -> Option<Kill> {
    let victims: Vec<String> =
        [NodeKind::Mixer, NodeKind::Exit].into_iter().flat_map(|kind| draw(options, kind, nodes, rng)).collect();
    (!victims.is_empty()).then(|| Kill { after: options.kill_after(), victims })
}

/// Draws the victims of a kind, in the order of the nodes.
fn draw(options: &Options, kind: NodeKind, nodes: &[(NodeKind, NodePlan)], rng: &mut ChaCha20Rng) -> Vec<String> {
    let places: Vec<usize> = (0..nodes.len()).filter(|place| nodes[*place].0 == kind).collect();
    let mut victims: Vec<usize> = places.sample(rng, options.killed(kind).into()).copied().collect();
    victims.sort_unstable();
    victims.into_iter().map(|place| nodes[place].1.name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::testing::options;

    #[test]
    fn the_defaults_make_a_plan() {
        let plan = Plan::new(&options(&[])).unwrap();
        assert_eq!((plan.nodes.len(), plan.messages, plan.pace), (12, 100, Pace::Open(16)));
        assert!(plan.headline().starts_with(
            "starting 2 relays, 6 mixers, 2 exits, 2 senders, one bootstrap record; 100 messages of 1KiB, mean delay 50ms, \
             profile lioness/pad, seed "
        ));
    }

    #[test]
    fn what_a_node_refuses_is_refused_before_any_starts() {
        for (flags, part) in [
            (&["--cover", "2h"][..], "mixer-1: `mixer.cover`"),
            (&["--profile", "lioness/pad,aes-ctr/seq"], "cannot be told apart on the wire"),
        ] {
            let said = Plan::new(&options(flags)).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains(part), "{flags:?}: {said}");
        }
    }

    #[test]
    fn ports_follow_each_other_from_the_first_on() {
        let plan = Plan::new(&options(&["--port-base", "9000", "--hold"])).unwrap();
        let port = |place: usize, key: &str| plan.nodes[place].1.get(key).unwrap().to_owned();
        let of =
            |place| ["tcp-port", "discv5-udp-port", "rest-port", "metrics-server-port"].map(|key| port(place, key));
        assert_eq!(of(0), ["9000", "9000", "9001", "9002"]);
        assert_eq!(of(11), ["9033", "9033", "9034", "9035"]);
    }

    #[test]
    fn messages_come_as_is_asked_for() {
        for (flags, messages, pace, said) in [
            (&["--one-by-one"][..], 100, Pace::Open(1), ", one by one,"),
            (&["--burst", "400"], 400, Pace::AtOnce, "400 messages of 1KiB, all at once from one sender,"),
            (&["--rate", "20"], 100, Pace::Every(Duration::from_millis(50)), "100 messages of 1KiB, 20 a second,"),
            (&["--rate", "5", "--for", "10m"], 3000, Pace::Every(Duration::from_millis(200)), "3000 messages"),
        ] {
            let plan = Plan::new(&options(flags)).unwrap();
            assert_eq!((plan.messages, plan.pace), (messages, pace), "{flags:?}");
            assert!(plan.headline().contains(said), "{}", plan.headline());
        }
    }

    #[test]
    fn says_what_is_made_difficult() {
        let flags = ["--loss", "0.5", "--rotate", "1m", "--cover", "2s", "--profile", "lioness/pad,sphinx-packet"];
        let plan = Plan::new(&options(&flags)).unwrap();
        let said =
            "profile lioness/pad,sphinx-packet, 0.5% of the packets lost at each hop, new mix keys every 1m, cover 2s";
        assert!(plan.headline().contains(said), "{}", plan.headline());
        assert!(plan.options.makes_trouble() && plan.options.makes_cover());
        let seeds: std::collections::HashSet<_> =
            plan.nodes.iter().map(|(_, node)| node.get("host.inject-loss-seed")).collect();
        assert_eq!(seeds.len(), plan.nodes.len());
    }

    #[test]
    fn draws_who_is_killed_from_the_mixers_and_exits_alone() {
        let plan = |seed: &str| {
            let kill = ["--kill-mixers", "1/3", "--kill-exits", "1", "--kill-after", "9"];
            Plan::new(&options(&[&["--mixers", "40", "--exits", "3", "--seed", seed], &kill[..]].concat())).unwrap()
        };
        let kill = plan("7").kill.unwrap();
        assert_eq!((kill.after, kill.victims.len()), (9, 14));
        let names: std::collections::HashSet<_> = kill.victims.iter().collect();
        assert_eq!(names.len(), 14);
        assert!(kill.victims[..13].iter().all(|name| name.starts_with("mixer-")), "{names:?}");
        assert!(kill.victims[13].starts_with("exit-"), "{names:?}");
        assert_eq!(plan("7").kill.unwrap().victims, kill.victims);
        assert_ne!(plan("8").kill.unwrap().victims, kill.victims);
        assert!(Plan::new(&options(&["--kill-mixers", "0"])).unwrap().kill.is_none());
        assert_eq!(Plan::new(&options(&["--kill-mixers", "2"])).unwrap().kill.unwrap().after, 25);
    }

    #[test]
    fn a_seed_makes_the_same_keys_and_payloads_again() {
        let plan = |seed| Plan::new(&options(&["--seed", seed])).unwrap();
        let (first, again, other) = (plan("7"), plan("7"), plan("8"));
        let keys = |plan: &Plan, key: &str| -> Vec<_> {
            plan.nodes.iter().filter_map(|(_, node)| node.get(key).map(str::to_owned)).collect()
        };
        for key in ["nodekey", "mixkey"] {
            assert_eq!(keys(&first, key), keys(&again, key));
            assert_ne!(keys(&first, key), keys(&other, key));
            assert_eq!(keys(&first, key).len(), 12);
        }
        assert_eq!(first.message(3).payload, again.message(3).payload);
        assert_ne!(first.message(3).payload, first.message(4).payload);
        assert_eq!(first.message(0).payload.len(), 1024);
    }
}
