//! A digest over the decisions of 1,000 seeded requests, so that a change of the code that decides shows whether it changed a
//! decision: services, hops, layouts, holds, times of waiting, outcomes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};
use wakumix_mix::{DelayLaw, Reliability, random};
use wakumix_sphinx::{PrivateKey, Profile, Sphinx, Weaknesses};
use wakumix_waku::{
    frame,
    lightpush::{StatusCode, V3_PROTOCOL, text, v3},
};

use crate::{
    Anonymity, Client, ClientConfig, DirectorySnapshot, Dispatch, Input, Moment, Observation, Output, OwnNode,
    Reachability, Request, RequestId, SendFailure, ServiceEntry, ServiceKind,
    dispatch::Content,
    lightpush::PushReader,
    testing::{node, peer, rng},
};

const REQUESTS: u32 = 1_000;
const SERVICES: u8 = 3;
const NODES: u8 = 14;

/// What the network does, from its own generator.
struct Net(ChaCha20Rng);

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
        let relay_peer_count = status.is_success().then_some(3);
        let response =
            v3::Response { request_id: id.to_owned(), status_code: status, status_desc: words, relay_peer_count };
        frame::encode(&response.encode())
    }

    /// Carries the packets of a try: what becomes of them, and when.
    fn carry(&mut self, at: Duration, dispatch: &Dispatch, id: &str) -> Vec<(Duration, Input)> {
        let Content::Request { pairs, layout, .. } = &dispatch.content else { panic!("a loop") };
        let mut events = Vec::new();
        let (mut arrived, mut surbs, mut latest) = (0, 0, Duration::ZERO);
        for (pair, hold) in pairs.iter().zip(&dispatch.holds) {
            let left = if self.happens(3) { Err(SendFailure::DialFailed) } else { Ok(()) };
            events.push((at + *hold, Input::FirstHop { id: dispatch.id, to: pair.forward[0].peer(), left }));
            if left.is_ok() && self.passes() {
                arrived += 1;
                surbs += pair.reply.len();
                latest = latest.max(*hold);
            }
        }
        if arrived >= pairs.len() - layout.spare() {
            let data = self.response(id);
            let mut replies = Vec::new();
            for _ in 0..surbs {
                let took = self.held();
                replies.extend(self.passes().then_some(at + latest + took));
            }
            // The first that opens takes the try's other credentials with it.
            events.extend(replies.iter().min().map(|first| (*first, Input::Reply(dispatch.id, Some(data)))));
        }
        events
    }
}

struct Run {
    client: Client,
    reliability: Reliability,
    rng: ChaCha20Rng,
    net: Net,
    digest: Sha256,
    now: Duration,
}

impl Run {
    fn new() -> Self {
        let mut mix_nodes: Vec<_> = (0..NODES).map(node).collect();
        mix_nodes[..2].iter_mut().for_each(|node| node.reassembles = true);
        let service = |seed| ServiceEntry {
            kind: ServiceKind::LIGHTPUSH,
            peer: peer(seed),
            address: Some(node(seed).address),
            shards: None,
        };
        let services = (0..SERVICES).map(service).collect();
        let directory = DirectorySnapshot { mix_nodes, services, ..DirectorySnapshot::default() };
        let own = OwnNode {
            peer: peer(99),
            address: Some(node(99).address),
            key: PrivateKey::from_bytes([100; 32]).public(),
            reachability: Reachability::Public,
        };
        let formats = vec![Arc::new(Sphinx::new(Profile::default())) as _];
        let client = Client::new(ClientConfig::default(), formats, own, Duration::ZERO, Weaknesses::NONE);
        let (rng, net) = (rng(1), Net(rng(2)));
        let mut run =
            Self { client, reliability: Reliability::default(), rng, net, digest: Sha256::new(), now: Duration::ZERO };
        run.handle(Input::Directory(Arc::new(directory)));
        run
    }

    fn note(&mut self, what: &str) {
        self.digest.update(what);
        self.digest.update(b"\n");
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        let moment = Moment { now: self.now, rng: &mut self.rng, reliability: &mut self.reliability };
        self.client.handle(moment, input, &mut outputs);
        outputs
    }

    fn note_try(&mut self, dispatch: &Dispatch) {
        let Content::Request { pairs, layout, .. } = &dispatch.content else { panic!("a loop") };
        let service = pairs[0].forward[2].peer();
        let mut text = format!("try {service} {:?} {}/{}", dispatch.kind, layout.spare(), layout.surbs());
        for (pair, hold) in pairs.iter().zip(&dispatch.holds) {
            text += &format!(" | {hold:?}");
            pair.forward.iter().for_each(|node| text += &format!(" {}", node.peer()));
            for path in &pair.reply {
                path.iter().for_each(|node| text += &format!(" < {}", node.peer()));
            }
        }
        self.note(&text);
    }

    fn request(&mut self, number: u32) {
        let id = RequestId(number.into());
        let name = format!("{number:020x}");
        let len = if number.is_multiple_of(10) { 4300 } else { 200 };
        let reader = PushReader::of_request(&name);
        let request = Request {
            service: ServiceKind::LIGHTPUSH,
            codec: V3_PROTOCOL.into(),
            bytes: vec![0; len].into(),
            payload_len: 0,
            held_bytes: len,
            topic: None,
            exit: None,
            timeout: None,
            anonymity: Anonymity::Required,
            reader: Box::new(reader.clone()),
        };
        let started = self.now;
        let mut events: BTreeMap<(Duration, u64), Input> = BTreeMap::new();
        let (mut count, mut packets) = (0, 0);
        let mut outputs = self.handle(Input::Request(id, Box::new(request)));
        let outcome = loop {
            let mut ended = None;
            while let Some(output) = (!outputs.is_empty()).then(|| outputs.remove(0)) {
                match output {
                    Output::Dispatch(dispatch) => {
                        self.note_try(&dispatch);
                        assert!(dispatch.begin());
                        for (when, event) in self.net.carry(self.now, &dispatch, &name) {
                            events.insert((when, count), event);
                            count += 1;
                        }
                        outputs.extend(self.handle(Input::Dispatched(dispatch.id)));
                    }
                    Output::Observed(Observation::Exposed(exposure)) => packets = exposure.packets,
                    Output::Ended(of, outcome) => {
                        assert_eq!(of, id);
                        ended = Some(outcome);
                    }
                    Output::Observed(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            if let Some(outcome) = ended {
                break outcome;
            }
            let wake = self.client.next_wake().unwrap();
            self.note(&format!("wake {:?}", wake - started));
            let next = events.first_key_value().map(|(key, _)| *key).filter(|(when, _)| *when <= wake);
            self.now = next.map_or(wake, |(when, _)| when);
            let input = next.and_then(|key| events.remove(&key)).unwrap_or(Input::Tick);
            outputs = self.handle(input);
        };
        let text = match reader.outcome(outcome) {
            Ok(answer) => format!("{} {:?}", answer.status, answer.relay_peer_count),
            Err(failure) => failure.kind().to_owned(),
        };
        self.note(&format!("{text} after {:?}, {packets} packets", self.now - started));
        self.now += Duration::from_millis(100);
    }
}

#[test]
fn the_decisions_of_a_thousand_requests_are_as_before() {
    let mut run = Run::new();
    (0..REQUESTS).for_each(|number| run.request(number));
    let digest: String = run.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "e6a2dab5df0e26010b392d978f7d58540cd695e684f13dadbf47917c6e01bc57");
}
