//! A digest over the decisions of 1,000 seeded requests, so that a change of the code that decides shows whether it changed a
//! decision: services, hops, layouts, holds, times of waiting, outcomes.

use std::{collections::BTreeMap, time::Duration};

use libp2p_identity::PeerId;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};
use wakumix_mix::{DelayLaw, Reliability, random};
use wakumix_role_api::{Directory, Formats, directory::ServiceNode, host::SendFailure, sender::PushFailure};
use wakumix_sphinx::{Profile, Sphinx, Weaknesses};
use wakumix_waku::{
    frame,
    lightpush::{StatusCode, text, v3},
};

use crate::{
    answer::{Meaning, Verdict, read},
    fit::Protection,
    patience::Conditions,
    progress::{Progress, Sent, Step},
    route::{Route, Surroundings, Wanted, choose},
    testing::{node, peer},
    way_back::WayBack,
};

const REQUESTS: u32 = 1_000;
const LIMIT: Duration = Duration::from_secs(10);
const SERVICES: u8 = 3;
const NODES: u8 = 14;

/// What the net does, from a generator of its own.
struct Net(ChaCha20Rng);

/// What happens to a try.
enum Event {
    /// To a packet in front of its first hop.
    FirstHop {
        number: usize,
        to: PeerId,
        failure: Option<SendFailure>,
    },
    Reply {
        number: usize,
        data: Vec<u8>,
    },
}

impl Net {
    fn happens(&mut self, in_a_hundred: u64) -> bool {
        random::below(&mut self.0, 100) < in_a_hundred
    }

    fn held(&mut self) -> Duration {
        let law = DelayLaw::default();
        (0..5).map(|_| law.sample(&mut self.0, law.encode())).sum()
    }

    fn passes(&mut self) -> bool {
        (0..3).all(|_| !self.happens(6))
    }

    fn response(&mut self, id: &str) -> Vec<u8> {
        let (status, words) = match random::below(&mut self.0, 20) {
            0 => (StatusCode::NO_PEERS_TO_RELAY, Some(text::NO_PEERS.to_owned())),
            1 => (StatusCode::TOO_MANY_REQUESTS, None),
            2 => (StatusCode::SERVICE_NOT_AVAILABLE, Some("exit: timed_out".to_owned())),
            3 => (StatusCode::SERVICE_NOT_AVAILABLE, Some("exit: busy".to_owned())),
            4 => (StatusCode::INVALID_MESSAGE, Some(text::DUPLICATE.to_owned())),
            5 => return Vec::new(),
            6 => (StatusCode::INTERNAL_SERVER_ERROR, None),
            _ => (StatusCode::SUCCESS, None),
        };
        let response = v3::Response {
            request_id: id.to_owned(),
            status_code: status,
            status_desc: words,
            relay_peer_count: status.is_success().then_some(3),
        };
        frame::encode(&response.encode())
    }

    /// Carries the packets of a try.
    fn carry(
        &mut self,
        at: Duration,
        number: usize,
        route: &Route,
        holds: &[Duration],
        id: &str,
    ) -> Vec<(Duration, Event)> {
        let mut events = Vec::new();
        let (mut arrived, mut surbs, mut latest) = (0, 0, Duration::ZERO);
        for (leg, hold) in route.legs.iter().zip(holds) {
            let to = leg.path[0].peer();
            let failure = self.happens(3).then_some(SendFailure::DialFailed);
            events.push((at + *hold, Event::FirstHop { number, to, failure }));
            if failure.is_none() && self.passes() {
                arrived += 1;
                surbs += leg.reply_paths.len();
                latest = latest.max(*hold);
            }
        }
        if arrived >= route.legs.len() - route.carriage.spare() {
            let data = self.response(id);
            let mut replies: Vec<_> = (0..surbs)
                .filter_map(|_| {
                    let took = self.held();
                    self.passes().then_some(at + latest + took)
                })
                .collect();
            replies.sort_unstable();
            // The first that opens takes the try's other credentials with it.
            events.extend(replies.first().map(|first| (*first, Event::Reply { number, data })));
        }
        events
    }
}

struct Run {
    directory: Directory,
    formats: Formats,
    way_back: WayBack,
    conditions: Conditions,
    publishers: Vec<PeerId>,
    reliability: Reliability,
    rng: ChaCha20Rng,
    net: Net,
    digest: Sha256,
    /// The time since the run began.
    now: Duration,
}

impl Run {
    fn new() -> Self {
        let mut mix_nodes: Vec<_> = (0..NODES).map(node).collect();
        mix_nodes[..2].iter_mut().for_each(|node| node.reassembles = true);
        let service = |seed| ServiceNode::new(peer(seed), vec![node(seed).address.multiaddr()]);
        let law = DelayLaw::default();
        Self {
            directory: Directory { mix_nodes, lightpush: (0..SERVICES).map(service).collect(), ..Directory::default() },
            formats: Formats::one(Sphinx::new(Profile::default()), 1),
            way_back: WayBack::from_anywhere(node(99)),
            conditions: Conditions::new(law, law),
            publishers: Vec::new(),
            reliability: Reliability::default(),
            rng: ChaCha20Rng::seed_from_u64(1),
            net: Net(ChaCha20Rng::seed_from_u64(2)),
            digest: Sha256::new(),
            now: Duration::ZERO,
        }
    }

    fn note(&mut self, what: &str) {
        self.digest.update(what);
        self.digest.update(b"\n");
    }

    fn route(&mut self, progress: &Progress, len: usize) -> Result<Route, PushFailure> {
        let protected = usize::from(progress.next_number() > 1 || self.conditions.is_lossy());
        let protection = Protection { surbs: 1 + protected, parity: u8::from(protected > 0) };
        let (reliability, now) = (&self.reliability, self.now);
        let around = Surroundings {
            directory: &self.directory,
            way_back: &self.way_back,
            formats: &self.formats,
            weight: &|peer| reliability.weight(now, peer),
        };
        choose(&mut self.rng, around, Wanted { exit: None, topic: None, len }, protection, progress.history())
    }

    fn note_try(&mut self, route: &Route, holds: &[Duration]) {
        let mut text =
            format!("try {} {:?} {}/{}", route.service, route.kind, route.carriage.spare(), route.carriage.surbs());
        for (leg, hold) in route.legs.iter().zip(holds) {
            text += &format!(" | {hold:?}");
            leg.path.iter().for_each(|node| text += &format!(" {}", node.peer()));
            for path in &leg.reply_paths {
                path.iter().for_each(|node| text += &format!(" < {}", node.peer()));
            }
        }
        self.note(&text);
    }

    fn request(&mut self, number: u32) {
        let id = format!("{number:020x}");
        let len = if number.is_multiple_of(10) { 4300 } else { 200 };
        let started = self.now;
        let mut progress = Progress::new(LIMIT, self.conditions.floor());
        let mut events: BTreeMap<(Duration, u64), Event> = BTreeMap::new();
        let mut count = 0;
        let mut answers_before = 0;
        let outcome: Result<Verdict, PushFailure> = 'ended: {
            if let Err(problem) = self.route(&progress, len) {
                break 'ended Err(problem);
            }
            loop {
                let at = self.now - started;
                let wake = match progress.step(at) {
                    Step::Try => {
                        let route = match self.route(&progress, len) {
                            Ok(route) => route,
                            Err(problem) => match progress.no_route(at, problem, false) {
                                Some(outcome) => break 'ended outcome,
                                None => continue,
                            },
                        };
                        let hold = DelayLaw::default();
                        let holds: Vec<_> =
                            route.legs.iter().map(|_| hold.sample(&mut self.rng, hold.encode())).collect();
                        self.note_try(&route, &holds);
                        let index = progress.next_index();
                        for (when, event) in self.net.carry(at, index, &route, &holds, &id) {
                            events.insert((when, count), event);
                            count += 1;
                        }
                        let patience = self.conditions.patience(progress.next_number(), LIMIT);
                        answers_before = self.conditions.answers();
                        let sent = Sent {
                            service: route.service,
                            hops: route.hops().collect(),
                            packets: route.legs.len(),
                            spare: route.carriage.spare(),
                        };
                        progress.sent(at, sent, patience);
                        continue;
                    }
                    Step::WaitUntil(until) => until.min(LIMIT),
                    Step::Wait => LIMIT,
                    Step::Unreachable(failure) => break 'ended Err(PushFailure::FirstHop(failure)),
                };
                self.note(&format!("wake {wake:?}"));
                let next = events.first_key_value().map(|(key, _)| *key).filter(|(when, _)| *when <= wake);
                let Some(key) = next else {
                    self.now = started + wake;
                    if wake >= LIMIT {
                        break 'ended progress.at_deadline();
                    }
                    let conditions = self.conditions.clone();
                    if progress.end_patience(wake, |number, waited| {
                        conditions.patience_after(waited, number, LIMIT, 1, answers_before)
                    }) {
                        self.conditions.lost();
                    }
                    continue;
                };
                self.now = started + key.0;
                let at = key.0;
                match events.remove(&key).unwrap() {
                    Event::FirstHop { to, failure: None, .. } => self.reliability.first_hop_reached(&to),
                    Event::FirstHop { number, to, failure: Some(failure) } => {
                        self.reliability.first_hop_failed(self.now, &to);
                        progress.not_left(at, number, to, failure);
                    }
                    Event::Reply { number, data } => {
                        let Some((round_trip, service)) = progress.round_trip(number, at) else { continue };
                        if progress.is_silent(number) {
                            self.conditions.answered_late(round_trip);
                        } else {
                            self.conditions.answered(round_trip);
                        }
                        let is_trusted = self.publishers.contains(&service);
                        let meaning = read(&data, &id, Weaknesses::NONE);
                        if matches!(meaning, Meaning::Published(_)) && !is_trusted {
                            self.publishers.push(service);
                        }
                        let jitter = random::open_unit(&mut self.rng);
                        if let Some(verdict) = progress.answered(at, number, meaning, is_trusted, jitter) {
                            break 'ended Ok(verdict);
                        }
                    }
                }
            }
        };
        let outcome = match outcome {
            Ok(verdict) => format!("{} {:?}", verdict.status, verdict.relay_peer_count),
            Err(failure) => failure.kind().to_owned(),
        };
        self.note(&format!(
            "{outcome} after {:?}, {} tries, {} packets",
            self.now - started,
            progress.tries_left(),
            progress.packets()
        ));
        self.now += Duration::from_millis(100);
    }
}

#[test]
fn the_decisions_of_a_thousand_requests_are_as_before() {
    let mut run = Run::new();
    (0..REQUESTS).for_each(|number| run.request(number));
    let digest: String = run.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "5da62d19f36eb8c620edc7c1115530fb3faa4d8b67680e1620c1cd5d804827a6");
}
