//! What a test net is made of.

use std::{num::NonZeroU16, time::Duration};

use libp2p_identity::{Keypair, secp256k1};
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use wakumix_mix::{DelayLaw, MIN_POOL};
use wakumix_sphinx::{PrivateKey, WireFormat};
use wakumix_waku::{PubsubTopic, WakuMessage, frame, lightpush};

use super::{
    TestnetError,
    choices::{Discovery, Share},
};
use crate::config::{ByteSize, MixDelay, Problem, Problems};

/// The customary cluster of isolated tests (`spec/waku.md §7`).
pub(super) const CLUSTER: u16 = 66;
/// The only shard of a test net.
pub(super) const SHARD: u16 = 0;
/// Where the test messages go.
pub(super) const CONTENT_TOPIC: &str = "/wakumix/1/testnet/proto";
/// Requests that one sender has open at a time.
pub(super) const OPEN_REQUESTS: usize = 8;
/// Four tries in five meet a dead mixer while a third of them is dead and nobody has noticed; this many do so for one
/// message in 10⁵.
const MOST_TRIES: u32 = 50;
/// How long an answer that nothing delays may take on a busy machine, where tries are repeated.
const SHORTEST_LIMIT: Duration = Duration::from_secs(2);
/// The six holds of a round trip take longer than this many means once in 10⁸.
const LIMIT_MEANS: u32 = 30;
/// More nodes than this in one process run into the limit of open files.
const MOST_NODES: u16 = 256;

/// Flags of `wakumix testnet`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Relay nodes: gossipsub subscribers that count what they receive
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub relays: u16,
    /// Mixer nodes
    #[arg(long, default_value_t = 6, value_name = "N")]
    pub mixers: u16,
    /// Exit nodes; each also relays and serves lightpush
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub exits: u16,
    /// Sender nodes
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub senders: u16,
    /// Messages to send, in turn from each sender
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub messages: u32,
    /// Size of each message's payload
    #[arg(long, default_value = "1KiB", value_name = "SIZE")]
    pub payload: ByteSize,
    /// Mean delay at each hop, or none
    #[arg(long, default_value = "50ms", value_name = "TIME")]
    pub delay: MixDelay,
    /// Wire profile: aes-ctr/seq, lioness/seq, lioness/pad, or a preset's name
    #[arg(long, default_value_t = WireFormat::default(), value_name = "PROFILE")]
    pub profile: WireFormat,
    /// How nodes find each other: discv5, from the record of the first relay alone, or static, told by the test net
    #[arg(long, default_value_t = Discovery::default(), value_enum, hide_possible_values = true, value_name = "WAY")]
    pub discovery: Discovery,
    /// Send each message when the one before has its answer
    #[arg(long)]
    pub one_by_one: bool,
    /// Kill that many mixers at once and without warning: a number, or a part such as 1/3; what fails is sent again
    #[arg(long, value_name = "N|PART")]
    pub kill_mixers: Option<Share>,
    /// Messages sent before the kill; a quarter of all when left out
    #[arg(long, value_name = "M", requires = "kill_mixers")]
    pub kill_after: Option<u32>,
    /// Makes the same keys and payloads again, and kills the same mixers; random when left out
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Keep the net up until Ctrl-C, with REST and metrics on every node
    #[arg(long)]
    pub hold: bool,
}

/// What a node of the net is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Relay,
    Mixer,
    Exit,
    Sender,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Relay, Self::Mixer, Self::Exit, Self::Sender];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Mixer => "mixer",
            Self::Exit => "exit",
            Self::Sender => "sender",
        }
    }
}

/// One node to be built.
pub(super) struct NodePlan {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) identity: Keypair,
    pub(super) mix_key: PrivateKey,
}

/// Who is killed, and when.
pub(super) struct Kill {
    /// Messages sent before.
    pub(super) after: u32,
    /// The names of the mixers.
    pub(super) victims: Vec<String>,
}

/// Checked options with everything random drawn from the seed.
pub(super) struct Plan {
    pub(super) options: Options,
    pub(super) seed: u64,
    pub(super) nodes: Vec<NodePlan>,
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
        let nodes: Vec<NodePlan> = Kind::ALL
            .into_iter()
            .flat_map(|kind| (1..=options.count(kind)).map(move |number| (kind, number)))
            .map(|(kind, number)| NodePlan {
                kind,
                name: format!("{}-{number}", kind.as_str()),
                identity: identity(&mut rng),
                mix_key: PrivateKey::generate(&mut rng),
            })
            .collect();
        let topic =
            PubsubTopic::new(CLUSTER, SHARD).map_err(|error| Problems::from(Problem::bare(error.to_string())))?;
        let kill = kill(options, &nodes, &mut rng);
        Ok(Self { options: options.clone(), seed, nodes, kill, topic })
    }

    /// How often a message is handed to its sender at most: again only where nodes are killed.
    pub(super) fn most_tries(&self) -> u32 {
        if self.kill.is_some() { MOST_TRIES } else { 1 }
    }

    /// How long an answer is waited for; `None` is what a sender does by itself.
    pub(super) fn answer_limit(&self) -> Option<Duration> {
        self.kill.as_ref()?;
        let mean = match self.options.delay.0 {
            DelayLaw::Exponential { mean_ms } => Duration::from_millis(mean_ms.into()),
            _ => Duration::ZERO,
        };
        Some(SHORTEST_LIMIT + mean * LIMIT_MEANS)
    }

    /// One line that says what is started.
    pub(super) fn headline(&self) -> String {
        let Options { relays, mixers, exits, senders, messages, payload, delay, profile, discovery, .. } =
            &self.options;
        format!(
            "starting {relays} relays, {mixers} mixers, {exits} exits, {senders} senders, {}; {messages} messages of \
             {payload}, mean delay {delay}, profile {profile}, seed {}",
            discovery.describe(),
            self.seed
        )
    }

    /// The message with this number; the same for the same seed, but for its time.
    pub(super) fn message(&self, number: u32) -> WakuMessage {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed ^ (u64::from(number) + 1).rotate_left(32));
        let mut payload = vec![0; payload_bytes(&self.options)];
        rng.fill_bytes(&mut payload);
        message(payload)
    }
}

/// Draws who is killed.
fn kill(options: &Options, nodes: &[NodePlan], rng: &mut ChaCha20Rng) -> Option<Kill> {
    let count = usize::from(options.killed()?);
    let mixers: Vec<&NodePlan> = nodes.iter().filter(|node| node.kind == Kind::Mixer).collect();
    let mut victims: Vec<&NodePlan> = mixers.sample(rng, count).copied().collect();
    victims.sort_by_key(|node| mixers.iter().position(|mixer| mixer.name == node.name));
    Some(Kill { after: options.kill_after(), victims: victims.into_iter().map(|node| node.name.clone()).collect() })
}

impl Options {
    /// Mixers to kill, if any are to be.
    fn killed(&self) -> Option<u16> {
        self.kill_mixers.map(|share| share.of(self.mixers)).filter(|count| *count > 0)
    }

    fn kill_after(&self) -> u32 {
        self.kill_after.unwrap_or(self.messages / 4)
    }

    pub(super) fn count(&self, kind: Kind) -> u16 {
        match kind {
            Kind::Relay => self.relays,
            Kind::Mixer => self.mixers,
            Kind::Exit => self.exits,
            Kind::Sender => self.senders,
        }
    }
}

/// Shards under auto-sharding: one, so that the topic may be left out.
pub(super) const SHARDS: Option<NonZeroU16> = NonZeroU16::new(1);

fn message(payload: Vec<u8>) -> WakuMessage {
    WakuMessage {
        payload,
        content_topic: CONTENT_TOPIC.to_owned(),
        version: 0,
        timestamp: Some(crate::clock::unix_nanoseconds()),
        meta: Vec::new(),
        rate_limit_proof: Vec::new(),
        ephemeral: false,
    }
}

fn payload_bytes(options: &Options) -> usize {
    options.payload.as_len()
}

/// A secp256k1 identity from the seed.
fn identity(rng: &mut ChaCha20Rng) -> Keypair {
    loop {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        // All but about one in 2^128 values are keys.
        if let Ok(secret) = secp256k1::SecretKey::try_from_bytes(&mut bytes) {
            return secp256k1::Keypair::from(secret).into();
        }
    }
}

fn problems(options: &Options) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |what: String, help: String| problems.push(Problem::new(what, help));
    let Options { relays, mixers, exits, senders, messages, .. } = *options;
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
                "--mixers {mixers} --exits {exits}: the mix pool has {pool} nodes, a path and its way back need {MIN_POOL}"
            ),
            format!("use at least --mixers {}", MIN_POOL - usize::from(exits)),
        );
    }
    let nodes: u32 = Kind::ALL.into_iter().map(|kind| u32::from(options.count(kind))).sum();
    if nodes > u32::from(MOST_NODES) {
        refuse(format!("{nodes} nodes are too many for one process"), format!("use at most {MOST_NODES} in all"));
    }
    problems.extend(kill_problems(options));
    problems.extend(payload_problem(options));
    problems
}

/// Whether enough is left after a kill: mixers for paths, and messages to see what it does.
fn kill_problems(options: &Options) -> Vec<Problem> {
    let (Some(share), Some(killed)) = (options.kill_mixers, options.killed()) else { return Vec::new() };
    let mut problems = Vec::new();
    let left = usize::from(options.mixers.saturating_sub(killed)) + usize::from(options.exits);
    if killed > options.mixers {
        let what = format!("--kill-mixers {share}: there are {} mixers", options.mixers);
        problems.push(Problem::new(what, format!("use at most {}", options.mixers)));
    } else if left < MIN_POOL {
        let what = format!(
            "--kill-mixers {share}: {left} nodes of the mix pool are left, a path and its way back need {MIN_POOL}"
        );
        problems.push(Problem::new(what, "kill fewer, or start more".to_owned()));
    }
    if options.kill_after() >= options.messages {
        let what = format!("--kill-after {}: no message is sent after the kill", options.kill_after());
        problems.push(Problem::new(what, format!("use less than the {} of --messages", options.messages)));
    }
    problems
}

/// Whether a request with this payload fits one packet, told with both sizes.
fn payload_problem(options: &Options) -> Option<Problem> {
    let limit = wakumix_mix::request_capacity(&*options.profile.format(), lightpush::V3_PROTOCOL, 1)?;
    let asked = payload_bytes(options);
    let largest = largest_payload(limit)?;
    (asked > largest).then(|| {
        let what = format!(
            "--payload {}: {asked} bytes do not fit into one packet of profile {}, {largest} do",
            options.payload, options.profile
        );
        Problem::new(what, format!("use at most --payload {largest}B"))
    })
}

/// The largest payload whose framed request is at most `limit` bytes.
fn largest_payload(limit: usize) -> Option<usize> {
    let framed = |payload: usize| {
        let request = lightpush::v3::Request {
            request_id: "0".repeat(20),
            pubsub_topic: PubsubTopic::new(CLUSTER, SHARD).ok().map(|topic| topic.as_str().to_owned()),
            message: message(vec![0; payload]),
        };
        frame::encode(&request.encode()).len()
    };
    let mut fits = limit.checked_sub(framed(0))?;
    // The lengths' own varints grow with the payload.
    while framed(fits) > limit {
        fits = fits.checked_sub(1)?;
    }
    Some(fits)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(flags: &[&str]) -> Options {
        Line::try_parse_from([&["testnet"], flags].concat()).unwrap().options
    }

    fn refusal(flags: &[&str]) -> String {
        match Plan::new(&options(flags)) {
            Err(TestnetError::Options(problems)) => problems.to_string(),
            _ => panic!("{flags:?} should be refused"),
        }
    }

    #[test]
    fn the_defaults_make_a_plan() {
        let plan = Plan::new(&options(&[])).unwrap();
        assert_eq!(plan.nodes.len(), 12);
        assert!(plan.headline().starts_with(
            "starting 2 relays, 6 mixers, 2 exits, 2 senders, one bootstrap record; 100 messages of 1KiB"
        ));
    }

    #[test]
    fn says_what_a_net_lacks() {
        for (flags, parts) in [
            (&["--relays", "0"][..], &["--relays 0: nobody would receive", "use at least 1"][..]),
            (&["--exits", "0"], &["--exits 0: nobody would hand"]),
            (&["--senders", "0"], &["--senders 0: nobody would send the 100 messages", "or --messages 0"]),
            (&["--mixers", "1", "--exits", "1"], &["the mix pool has 2 nodes", "need 4", "use at least --mixers 3"]),
            (&["--mixers", "300"], &["306 nodes are too many", "use at most 256"]),
        ] {
            let said = refusal(flags);
            for part in parts {
                assert!(said.contains(part), "{part}: {said}");
            }
        }
        for (flags, parts) in [
            (&["--kill-mixers", "7"][..], &["--kill-mixers 7: there are 6 mixers", "use at most 6"][..]),
            (&["--kill-mixers", "1/1"], &["--kill-mixers 1/1: 2 nodes of the mix pool are left", "need 4"]),
            (&["--kill-mixers", "1", "--kill-after", "100"], &["--kill-after 100: no message", "less than the 100"]),
        ] {
            let said = refusal(flags);
            for part in parts {
                assert!(said.contains(part), "{part}: {said}");
            }
        }
        let all = refusal(&["--relays", "0", "--exits", "0", "--mixers", "0", "--payload", "1MiB"]);
        assert_eq!(all.lines().filter(|line| line.starts_with("error: ")).count(), 4, "{all}");
        assert!(Plan::new(&options(&["--senders", "0", "--messages", "0"])).is_ok());
        assert!(Plan::new(&options(&["--payload", "0B"])).is_ok());
    }

    #[test]
    fn the_largest_payload_fits_one_packet_exactly() {
        for profile in ["aes-ctr/seq", "lioness/seq", "lioness/pad", "logos-testnet-0.2"] {
            let said = refusal(&["--profile", profile, "--payload", "5KiB"]);
            let (_, largest) = said.split_once("use at most --payload ").unwrap();
            let (number, _) = largest.split_once('B').unwrap();
            let more = format!("{}B", number.parse::<u32>().unwrap() + 1);
            let fits = Plan::new(&options(&["--profile", profile, "--payload", largest])).unwrap();
            let request = lightpush::v3::Request {
                request_id: "0".repeat(20),
                pubsub_topic: Some(fits.topic.as_str().to_owned()),
                message: fits.message(0),
            };
            let limit =
                wakumix_mix::request_capacity(&*fits.options.profile.format(), lightpush::V3_PROTOCOL, 1).unwrap();
            assert_eq!(frame::encode(&request.encode()).len(), limit, "{profile}");
            assert!(refusal(&["--profile", profile, "--payload", &more]).contains("do not fit into one packet"));
        }
    }

    #[test]
    fn draws_who_is_killed_from_the_mixers_alone() {
        let plan = |seed: &str| {
            let flags = ["--mixers", "40", "--kill-mixers", "1/3", "--kill-after", "9", "--seed", seed];
            Plan::new(&options(&flags)).unwrap()
        };
        let kill = plan("7").kill.unwrap();
        assert_eq!((kill.after, kill.victims.len()), (9, 13));
        let names: std::collections::HashSet<_> = kill.victims.iter().collect();
        assert!(names.len() == 13 && names.iter().all(|name| name.starts_with("mixer-")), "{names:?}");
        assert_eq!(plan("7").kill.unwrap().victims, kill.victims);
        assert_ne!(plan("8").kill.unwrap().victims, kill.victims);
    }

    #[test]
    fn messages_are_sent_again_only_where_nodes_are_killed() {
        let plan = Plan::new(&options(&[])).unwrap();
        assert_eq!((plan.most_tries(), plan.answer_limit()), (1, None));
        let plan = Plan::new(&options(&["--kill-mixers", "2"])).unwrap();
        assert_eq!((plan.most_tries(), plan.answer_limit()), (MOST_TRIES, Some(Duration::from_millis(3500))));
        assert_eq!(plan.kill.unwrap().after, 25);
        assert!(Plan::new(&options(&["--kill-mixers", "0"])).unwrap().kill.is_none());
    }

    #[test]
    fn a_seed_makes_the_same_keys_and_payloads_again() {
        let plan = |seed| Plan::new(&options(&["--seed", seed])).unwrap();
        let (first, again, other) = (plan("7"), plan("7"), plan("8"));
        let peers = |plan: &Plan| -> Vec<_> {
            plan.nodes.iter().map(|node| (node.identity.public(), node.mix_key.public())).collect()
        };
        assert_eq!(peers(&first), peers(&again));
        assert_ne!(peers(&first), peers(&other));
        assert_eq!(first.message(3).payload, again.message(3).payload);
        assert_ne!(first.message(3).payload, first.message(4).payload);
        assert_eq!(first.message(0).payload.len(), 1024);
    }
}
