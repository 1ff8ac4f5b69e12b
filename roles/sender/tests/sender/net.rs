//! A mixnet played by the test: packets are really unwrapped, exits serve, and answers come back after the delays
//! that were asked for. Everything follows from a seed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test by panicking")]

use std::{collections::HashMap, time::Duration};

use futures::FutureExt;
use libp2p_identity::PeerId;
use rand::{SeedableRng, rngs::StdRng};
use tokio::time::Instant;
use wakumix_mix::{
    DelayLaw,
    fragment::{FRAGMENT_CODEC, Fragment, Limits, MAX_SET_BYTES, Progress, Reassembly},
};
use wakumix_role_api::{
    mixer::LocalPacket,
    sender::{Answer, PushFailure},
};
use wakumix_sphinx::Surb;
use wakumix_waku::{
    frame,
    lightpush::{StatusCode, V3_PROTOCOL, text, v3},
};

use crate::support::{AtSender, Landed, Outcomes, World};

/// What a service does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// Publishes to three peers; says of a message that it has that it has it.
    Serves,
    /// Publishes and never answers.
    Mute,
    /// Answers with this status.
    Refuses(StatusCode, &'static str),
    /// Serves so many requests per second, after as many at once, and has no time for more.
    Limited(u32),
}

/// The mixnet and its services.
pub(crate) struct Net {
    /// Until when everything is lost.
    pub(crate) dead_until: Instant,
    /// What every answer takes besides its holds.
    pub(crate) lag: Duration,
    conducts: HashMap<PeerId, Conduct>,
    /// What was published, and how often it was pushed.
    pub(crate) published: HashMap<Vec<u8>, u32>,
    /// Packets that came from the sender, with the way of each that reached an exit.
    pub(crate) packets: usize,
    pub(crate) ways: Vec<Vec<PeerId>>,
    reassembly: HashMap<PeerId, Reassembly>,
    tokens: (f64, Instant),
    due: Vec<(Instant, AtSender)>,
    epoch: Instant,
    rng: StdRng,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            dead_until: Instant::now(),
            lag: Duration::ZERO,
            conducts: HashMap::new(),
            published: HashMap::new(),
            packets: 0,
            ways: Vec::new(),
            reassembly: HashMap::new(),
            tokens: (0.0, Instant::now() - Duration::from_secs(1)),
            due: Vec::new(),
            epoch: Instant::now(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    pub(crate) fn with(mut self, service: PeerId, conduct: Conduct) -> Self {
        self.conducts.insert(service, conduct);
        self
    }

    /// How often a payload was pushed to a service that publishes.
    pub(crate) fn times_pushed(&self, payload: &[u8]) -> u32 {
        self.published.get(payload).copied().unwrap_or(0)
    }

    fn passes(&self) -> bool {
        Instant::now() >= self.dead_until
    }

    /// The time that a request and its answer are held: by two hops, the exit, two hops.
    fn held(&mut self) -> Duration {
        let law = DelayLaw::default();
        (0..5).map(|_| law.sample(&mut self.rng, law.encode())).sum()
    }

    /// A whole request at a service; its answer, if it has one.
    fn serve(&mut self, service: PeerId, data: &[u8]) -> Option<Vec<u8>> {
        let (body, _) = frame::decode(data, 8192).unwrap().unwrap();
        let request = v3::Request::decode(body).unwrap();
        let conduct = self.conducts.get(&service).copied().unwrap_or(Conduct::Serves);
        let (status, words, peers) = match conduct {
            Conduct::Refuses(status, words) => (status, Some(words), None),
            Conduct::Limited(rate) if !self.has_token(rate) => (StatusCode::TOO_MANY_REQUESTS, None, None),
            _ => {
                let times = self.published.entry(request.message.payload.clone()).or_default();
                *times += 1;
                if *times == 1 {
                    (StatusCode::SUCCESS, None, Some(3))
                } else {
                    (StatusCode::INVALID_MESSAGE, Some(text::DUPLICATE), None)
                }
            }
        };
        let response = v3::Response {
            request_id: request.request_id,
            status_code: status,
            status_desc: words.map(str::to_owned),
            relay_peer_count: peers,
        };
        (conduct != Conduct::Mute).then(|| frame::encode(&response.encode()))
    }

    fn has_token(&mut self, rate: u32) -> bool {
        let (tokens, since) = self.tokens;
        let rate = f64::from(rate);
        let tokens = (tokens + rate * since.elapsed().as_secs_f64()).min(rate);
        let is_there = tokens >= 1.0;
        self.tokens = (if is_there { tokens - 1.0 } else { tokens }, Instant::now());
        is_there
    }

    /// The request at an exit, once it is whole, and the reply blocks to answer through.
    fn whole(&mut self, landed: Landed) -> Option<(PeerId, Vec<u8>, Vec<Surb>)> {
        let Landed { exit, codec, data, surbs, .. } = landed;
        if codec != FRAGMENT_CODEC {
            assert_eq!(codec, V3_PROTOCOL);
            return Some((exit, data, surbs));
        }
        let limits = Limits { sets: 64, bytes: 64 * MAX_SET_BYTES, age: Duration::from_secs(30) };
        let reassembly = self.reassembly.entry(exit).or_insert_with(|| Reassembly::new(limits));
        let fragment = Fragment::decode(&data).unwrap();
        match reassembly.insert(self.epoch.elapsed(), fragment, surbs) {
            Progress::Complete { codec, data, surbs } => {
                assert_eq!(codec, V3_PROTOCOL);
                Some((exit, data, surbs))
            }
            Progress::Refused { reason, .. } => panic!("{reason}"),
            Progress::Incomplete | Progress::Duplicate | Progress::Late => None,
        }
    }
}

impl World {
    /// Plays the net until a request has its outcome.
    pub(crate) async fn play(&mut self, net: &mut Net, outcome: Outcomes) -> Result<Answer, PushFailure> {
        self.play_all(net, vec![outcome]).await.pop().unwrap()
    }

    /// Plays the net until every request has its outcome.
    pub(crate) async fn play_all(
        &mut self,
        net: &mut Net,
        outcomes: Vec<Outcomes>,
    ) -> Vec<Result<Answer, PushFailure>> {
        let mut all = futures::future::join_all(outcomes).fuse();
        loop {
            let next = net.due.iter().map(|(at, _)| *at).min();
            let next_due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                outcomes = &mut all => return outcomes.into_iter().map(Result::unwrap).collect(),
                message = self.mixer.recv() => {
                    let Some(local) = message else { panic!("the sender is gone") };
                    self.pass(net, local);
                }
                () = next_due => self.deliver(net).await,
            }
        }
    }

    fn pass(&mut self, net: &mut Net, local: LocalPacket) {
        net.packets += 1;
        let hold = local.hold;
        let landed = self.land(local);
        if !net.passes() {
            return;
        }
        net.ways.push(landed.way.clone());
        let Some((exit, data, surbs)) = net.whole(landed) else { return };
        let Some(answer) = net.serve(exit, &data) else { return };
        for surb in surbs {
            let reply = self.answer(surb, &answer);
            if net.passes() {
                let arrival = Instant::now() + hold + net.held() + net.lag;
                net.due.push((arrival, reply));
            }
        }
    }

    async fn deliver(&mut self, net: &mut Net) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut net.due).into_iter().partition(|(at, _)| *at <= now);
        net.due = later;
        let due: Vec<(Instant, AtSender)> = due;
        for (_, reply) in due {
            self.reply(&reply).await;
        }
    }
}
