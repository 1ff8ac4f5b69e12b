//! `wakumix testnet --gossip`: relays alone, in a star or a full mesh, that publish so many messages per second, and of which some
//! may be killed. It shows whether every message comes to every relay: a peer whose gossip no longer arrives does not show in
//! a net of a few messages.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    io::Write as _,
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use parking_lot::Mutex;
use rand::seq::IndexedRandom as _;
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{Rng as _, SeedableRng as _},
};
use serde::Serialize;
use tokio::{
    sync::broadcast::error::RecvError,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use wakumix_node::{
    config::{Problem, Problems},
    node::Node,
};
use wakumix_role_api::relay::RelayHandle;
use wakumix_waku::{MessageHash, lightpush::StatusCode};

use super::{
    START_LIMIT, STOP_LIMIT, TestnetError, choices::Shape, options::Options, plan::message, settings::node_plan,
};
use crate::{Kind, Net, TOPIC};

/// Messages a second and how long, unless something else is asked for.
const RATE: u32 = 400;
const LASTING: Duration = Duration::from_secs(60);
/// Messages that a relay may hold for its follower: what comes while a busy machine does something else.
const FOLLOW: &str = "100000";
/// How long relays may lag behind the last message.
const FINISH_LIMIT: Duration = Duration::from_secs(30);
/// Messages published so shortly before a kill may have been on their way over relays that are gone.
const BEFORE_KILL: Duration = Duration::from_secs(1);
/// Readiness has no event of its own.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How it went.
#[derive(Debug, Serialize)]
struct Report {
    /// Who was connected to whom.
    shape: &'static str,
    relays: usize,
    killed: usize,
    /// Messages handed to relays, and those that they took.
    published: u64,
    accepted: u64,
    /// Why the others were not, by status.
    refused: HashMap<u32, u64>,
    /// Living relays times messages that were accepted by relays that live; how many of these came.
    expected: u64,
    received: u64,
    /// Those that did not come, those of the last second before the kill apart.
    missing: u64,
    missing_of_last_second: u64,
    /// By relay.
    missing_at: HashMap<String, u64>,
    /// Peers that relays parted with because gossip for them did not get away.
    deaf_peers: u64,
    /// Of one message of each relay after all that, to each other one: how many came.
    afterwards_expected: u64,
    afterwards_received: u64,
    seconds: f64,
}

impl Report {
    fn passed(&self) -> bool {
        self.missing == 0
            && self.refused.is_empty()
            && self.published > 0
            && self.afterwards_received == self.afterwards_expected
    }

    fn render(&self) -> String {
        let mut text = String::new();
        // Formatting into a String cannot fail, here and below.
        let _ = writeln!(
            text,
            "\n{} relays in a {}, {} killed; published {}, accepted {}, in {:.1} s",
            self.relays, self.shape, self.killed, self.published, self.accepted, self.seconds
        );
        for (status, count) in &self.refused {
            let _ = writeln!(text, "refused: {count} × {status}");
        }
        let _ = writeln!(text, "received by relays that live: {} of {}", self.received, self.expected);
        if self.killed > 0 {
            let _ = writeln!(
                text,
                "not received, published less than a second before the kill: {}",
                self.missing_of_last_second
            );
        }
        for (relay, count) in &self.missing_at {
            let _ = writeln!(text, "not received by {relay}: {count}");
        }
        if self.deaf_peers > 0 {
            let _ = writeln!(text, "peers that no longer heard a relay and were disconnected: {}", self.deaf_peers);
        }
        let _ = writeln!(
            text,
            "one message of each relay afterwards: {} of {} received",
            self.afterwards_received, self.afterwards_expected
        );
        text.push_str(if self.passed() {
            "every message came to every relay\n"
        } else {
            "NOT every message was accepted and came to every relay\n"
        });
        text
    }
}

/// What was published and what came.
#[derive(Default)]
struct Seen {
    /// By hash: which relay published it, and when.
    published: HashMap<MessageHash, (usize, Instant)>,
    /// Of each relay.
    received: Vec<HashSet<MessageHash>>,
    attempts: u64,
    refused: HashMap<u32, u64>,
}

/// What is wrong with the options.
fn problems(options: &Options) -> Vec<Problem> {
    let killed = killed(options);
    let mut problems = Vec::new();
    if options.relays < 2 {
        problems.push(Problem::new(
            format!("--relays {}: nobody would receive what one publishes", options.relays),
            "use at least 2",
        ));
    } else if killed + 2 > options.relays {
        let what = format!(
            "--kill-relays: of {} relays {} would be left",
            options.relays,
            options.relays.saturating_sub(killed)
        );
        problems.push(Problem::new(what, "kill fewer, or start more; two have to be left"));
    }
    problems
}

fn killed(options: &Options) -> u16 {
    options.kill_relays.map_or(0, |share| share.of(options.relays))
}

/// Runs it. True when it passed.
pub(super) async fn run(options: &Options, shape: Shape) -> Result<bool, TestnetError> {
    let problems = problems(options);
    if !problems.is_empty() {
        return Err(TestnetError::Options(Problems(problems)));
    }
    let seed = options.seed.unwrap_or_else(|| rand::rng().next_u64());
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let rate = options.rate.unwrap_or(RATE);
    let lasting = options.lasting.map_or(LASTING, |lasting| Duration::from_millis(lasting.as_millis()));
    let (relays, payload) = (options.relays, &options.payload);
    eprintln!(
        "starting {relays} relays in a {}; {rate} messages of {payload} a second for {} s, seed {seed}",
        shape.as_str(),
        lasting.as_secs()
    );
    let mut net = started(options, shape, &mut rng).await?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let followers = follow(&net, &seen).await;
    let begun = Instant::now();
    let victims = victims(&net, killed(options), shape, &mut rng);
    let kill_at = (!victims.is_empty()).then(|| begun + lasting / 2);
    publish(options, &mut net, &seen, Course { begun, lasting, rate, kill_at, victims: &victims }, &mut rng).await;
    let living: Vec<usize> = places(&net).map(|(place, _)| place).collect();
    let _ = timeout(FINISH_LIMIT, all_received(&seen, &living, kill_at)).await;
    let mut report = report(options, &net, &seen.lock(), shape, (kill_at, victims.len()), begun.elapsed());
    (report.afterwards_received, report.afterwards_expected) = afterwards(options, &net, &seen, &mut rng).await;
    report.deaf_peers = places(&net).map(|(_, node)| deaf_peers(node)).sum();
    drop(followers);
    net.stop(STOP_LIMIT).await;
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        out.write_all(report.render().as_bytes())?;
    }
    out.flush()?;
    Ok(report.passed())
}

/// The relays, connected, each with its mesh.
async fn started(options: &Options, shape: Shape, rng: &mut ChaCha20Rng) -> Result<Net, TestnetError> {
    let mut net = Net::default();
    for number in 1..=options.relays {
        net.add(node_plan(options, Kind::Relay, number, rng).with("relay.follow-capacity", FOLLOW)).await?;
    }
    net.link_as(|from, to| match shape {
        Shape::Star => to == 0 && from > 0,
        Shape::Mesh => from > to,
    })
    .await;
    let ready = async {
        loop {
            let waiting = match shape {
                Shape::Mesh => net.without_mesh().await,
                Shape::Star => net.without_centre().await,
            };
            if waiting.is_empty() {
                return;
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    let waiting = "the relays to be connected and to have their meshes".to_owned();
    timeout(START_LIMIT, ready).await.map_err(|_| TestnetError::NotReady { limit: START_LIMIT, waiting })?;
    Ok(net)
}

/// The relays that run, with their places.
fn places(net: &Net) -> impl Iterator<Item = (usize, &Node)> {
    net.members().iter().enumerate().filter_map(|(place, member)| Some((place, member.node()?)))
}

/// Names of relays to kill; the middle of a star stays.
fn victims(net: &Net, count: u16, shape: Shape, rng: &mut ChaCha20Rng) -> Vec<String> {
    let names: Vec<_> =
        net.members().iter().skip(usize::from(shape == Shape::Star)).map(|member| member.plan().name()).collect();
    names.sample(rng, count.into()).map(|name| (*name).to_owned()).collect()
}

/// Notes what each relay receives, until the tasks are dropped.
#[expect(clippy::disallowed_methods, reason = "what watches a test net is no part of a node")]
async fn follow(net: &Net, seen: &Arc<Mutex<Seen>>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    seen.lock().received.resize_with(net.members().len(), HashSet::new);
    for (place, relay) in places(net).filter_map(|(place, node)| Some((place, node.relay()?))) {
        let Ok(mut messages) = relay.follow().await else { continue };
        let seen = Arc::clone(seen);
        tasks.spawn(async move {
            loop {
                match messages.recv().await {
                    Ok(message) => _ = seen.lock().received[place].insert(message.hash),
                    // What was missed shows in the report as not received.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }
    tasks
}

/// When messages are published, and when relays are killed.
struct Course<'a> {
    begun: Instant,
    lasting: Duration,
    rate: u32,
    kill_at: Option<Instant>,
    victims: &'a [String],
}

/// Publishes in turn at each relay that lives.
#[expect(clippy::disallowed_methods, reason = "what drives a test net is no part of a node")]
async fn publish(options: &Options, net: &mut Net, seen: &Arc<Mutex<Seen>>, course: Course<'_>, rng: &mut ChaCha20Rng) {
    let Course { begun, lasting, rate, mut kill_at, victims } = course;
    let handles = |net: &Net| -> Vec<(usize, RelayHandle)> {
        places(net).filter_map(|(place, node)| Some((place, node.relay()?))).collect()
    };
    let mut relays = handles(net);
    let mut open = JoinSet::new();
    let messages = u32::try_from(u128::from(rate) * lasting.as_millis() / 1000).unwrap_or(u32::MAX);
    for number in 0..messages {
        let at = begun + lasting.mul_f64(f64::from(number) / f64::from(messages));
        if kill_at.take_if(|kill| *kill <= at).is_some() {
            let nodes: Vec<Node> = victims.iter().filter_map(|name| net.take(name)).collect();
            join_all(nodes.into_iter().map(Node::kill)).await;
            relays = handles(net);
        }
        sleep_until(at).await;
        let (place, relay) = relays[usize::try_from(number).unwrap_or_default() % relays.len()].clone();
        let (message, seen) = (message(options, rng), Arc::clone(seen));
        open.spawn(async move {
            let sent = Instant::now();
            let published = relay.publish(Some(TOPIC.to_owned()), message).await;
            let mut seen = seen.lock();
            seen.attempts += 1;
            match published {
                Some(published) if StatusCode(published.status).is_success() => {
                    let Some(hash) = published.hash else { return };
                    seen.published.insert(hash, (place, sent));
                    seen.received[place].insert(hash);
                }
                refused => *seen.refused.entry(refused.map_or(0, |published| published.status)).or_default() += 1,
            }
        });
        while open.try_join_next().is_some() {}
    }
    while open.join_next().await.is_some() {}
}

/// Publishes one message at each relay; of the other relays together, how many received it and how many should.
async fn afterwards(options: &Options, net: &Net, seen: &Mutex<Seen>, rng: &mut ChaCha20Rng) -> (u64, u64) {
    let living: Vec<(usize, RelayHandle)> =
        places(net).filter_map(|(place, node)| Some((place, node.relay()?))).collect();
    let mut published = Vec::new();
    for (place, relay) in &living {
        let answer = relay.publish(Some(TOPIC.to_owned()), message(options, rng)).await;
        published.push((*place, answer.and_then(|answer| answer.hash)));
    }
    let received = || -> u64 {
        let seen = seen.lock();
        let came = |(from, hash): &(usize, Option<MessageHash>)| -> u64 {
            let Some(hash) = hash else { return 0 };
            let others = living.iter().filter(|(place, _)| place != from);
            others.filter(|(place, _)| seen.received[*place].contains(hash)).count() as u64
        };
        published.iter().map(came).sum()
    };
    let expected = (living.len() * living.len().saturating_sub(1)) as u64;
    let all = async {
        while received() < expected {
            sleep(LOOK_AGAIN).await;
        }
    };
    let _ = timeout(FINISH_LIMIT, all).await;
    (received(), expected)
}

/// Messages of relays that live, and whether they were published a moment before the kill.
fn of_the_living<'a>(
    seen: &'a Seen,
    living: &'a [usize],
    kill_at: Option<Instant>,
) -> impl Iterator<Item = (&'a MessageHash, bool)> {
    seen.published.iter().filter(|(_, (publisher, _))| living.contains(publisher)).map(move |(hash, (_, sent))| {
        let is_late = kill_at.is_some_and(|kill| *sent < kill && kill.saturating_duration_since(*sent) <= BEFORE_KILL);
        (hash, is_late)
    })
}

/// Waits until every relay has everything.
async fn all_received(seen: &Mutex<Seen>, living: &[usize], kill_at: Option<Instant>) {
    loop {
        let is_whole = {
            let seen = seen.lock();
            let mut wanted = of_the_living(&seen, living, kill_at);
            wanted.all(|(hash, _)| living.iter().all(|place| seen.received[*place].contains(hash)))
        };
        if is_whole {
            return;
        }
        sleep(LOOK_AGAIN * 10).await;
    }
}

fn deaf_peers(node: &Node) -> u64 {
    let page = node.telemetry().render();
    let value = page.lines().find_map(|line| line.strip_prefix("waku_mix_gossip_slow_peers_total "));
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn report(
    options: &Options,
    net: &Net,
    seen: &Seen,
    shape: Shape,
    (kill_at, killed): (Option<Instant>, usize),
    elapsed: Duration,
) -> Report {
    let living: Vec<(usize, &str)> =
        places(net).map(|(place, _)| (place, net.members()[place].plan().name())).collect();
    let alive: Vec<usize> = living.iter().map(|(place, _)| *place).collect();
    let (mut expected, mut missing, mut missing_of_last_second, mut missing_at) = (0, 0, 0, HashMap::new());
    for (hash, is_late) in of_the_living(seen, &alive, kill_at) {
        for (place, name) in &living {
            expected += 1;
            if seen.received[*place].contains(hash) {
                continue;
            }
            if is_late {
                missing_of_last_second += 1;
            } else {
                missing += 1;
                *missing_at.entry((*name).to_owned()).or_default() += 1;
            }
        }
    }
    Report {
        shape: shape.as_str(),
        relays: options.relays.into(),
        killed,
        published: seen.attempts,
        accepted: seen.published.len() as u64,
        refused: seen.refused.clone(),
        expected,
        received: expected - missing - missing_of_last_second,
        missing,
        missing_of_last_second,
        missing_at,
        deaf_peers: 0,
        afterwards_expected: 0,
        afterwards_received: 0,
        seconds: elapsed.as_secs_f64(),
    }
}
