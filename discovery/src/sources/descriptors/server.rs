//! Answers requests from what is at hand, without waiting for anybody.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{Arc, OnceLock},
    time::Duration,
};

use libp2p_identity::PeerId;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use tokio::time::Instant;
use wakumix_mix::Refill;
use wakumix_records::descriptor::{Request, Response};
use wakumix_role_api::InboundRequest;
use wakumix_telemetry::{Counter, Telemetry};

use super::store::DescriptorStore;
use crate::{metrics::Metric, peer_report::UnixSeconds, sources::budget::Budget};

/// Requests for this node's own descriptor: a thousand nodes that look after it every minute, three times over.
const OWN_OF_ALL: Refill = Refill::of(1000, Duration::from_millis(20));
/// The same of one peer.
const OWN_OF_ONE: Refill = Refill::of(10, Duration::from_secs(2));
/// Requests for others' descriptors, up to 48 KiB each: at most 1 MiB a second.
const OTHERS_OF_ALL: Refill = Refill::of(200, Duration::from_millis(50));
/// The same of one peer: a node that starts asks several times, and then every few minutes.
const OTHERS_OF_ONE: Refill = Refill::of(8, Duration::from_secs(15));

/// Own descriptors that are remembered, 8 bytes each: one per second at most, and one in three hours at least.
const MAX_MADE: usize = 4096;

/// The wall clock in Unix seconds.
pub(super) type Clock = Arc<dyn Fn() -> UnixSeconds + Send + Sync>;

/// The answering side.
pub(super) struct Server {
    state: Mutex<State>,
    clock: Clock,
    counters: OnceLock<Counters>,
}

struct State {
    /// Derivable: this node's descriptor and whose it is, if it has one.
    own: Option<(PeerId, Vec<u8>)>,
    /// Ephemeral: hashes of the descriptors that this node has made, the last [`MAX_MADE`], and when it made the first.
    made: VecDeque<u64>,
    first_made: Option<UnixSeconds>,
    hasher: RandomState,
    /// Derivable.
    store: Arc<DescriptorStore>,
    /// Ephemeral.
    own_budget: Budget,
    others_budget: Budget,
    rng: StdRng,
}

/// Requests by how they ended.
struct Counters {
    answered: Counter,
    refused: Counter,
    malformed: Counter,
}

impl Server {
    pub(super) fn new(rng: StdRng, clock: Clock) -> Self {
        let state = State {
            own: None,
            made: VecDeque::new(),
            first_made: None,
            hasher: RandomState::new(),
            store: Arc::default(),
            own_budget: Budget::new(OWN_OF_ALL, OWN_OF_ONE),
            others_budget: Budget::new(OTHERS_OF_ALL, OTHERS_OF_ONE),
            rng,
        };
        Self { state: Mutex::new(state), clock, counters: OnceLock::new() }
    }

    /// Counts requests from now on.
    pub(super) fn count_in(&self, telemetry: &Telemetry) {
        let counter = |outcome| {
            telemetry.counter(Metric::DiscoveryRequestsTotal, &[("protocol", "descriptor"), ("outcome", outcome)])
        };
        self.counters.get_or_init(|| Counters {
            answered: counter("answered"),
            refused: counter("refused"),
            malformed: counter("malformed"),
        });
    }

    /// This node's descriptor from now on.
    pub(super) fn set_own(&self, peer: PeerId, descriptor: Option<Vec<u8>>, issued: UnixSeconds) {
        let mut state = self.state.lock();
        if let Some(bytes) = &descriptor {
            let hash = state.hasher.hash_one(bytes);
            if state.made.len() >= MAX_MADE {
                state.made.pop_front();
            }
            state.made.push_back(hash);
            state.first_made.get_or_insert(issued);
        }
        state.own = descriptor.map(|bytes| (peer, bytes));
    }

    /// Whether a descriptor of this node, which its key has signed, was made by another process since this one made its first.
    pub(super) fn is_of_another_process(&self, issued: UnixSeconds, descriptor: &Vec<u8>) -> bool {
        let state = self.state.lock();
        let is_ours = state.made.contains(&state.hasher.hash_one(descriptor));
        !is_ours && state.made.len() < MAX_MADE && state.first_made.is_some_and(|first| first < issued)
    }

    /// What is known of others from now on.
    pub(super) fn show(&self, store: Arc<DescriptorStore>) {
        self.state.lock().store = store;
    }

    /// Answers, or drops the request if it makes no sense or there were too many.
    pub(super) fn answer(&self, request: InboundRequest) {
        let InboundRequest { from, body, respond, .. } = request;
        let Ok(wanted) = Request::decode(&body) else { return self.count(|counters| &counters.malformed) };
        let mut state = self.state.lock();
        let budget = if wanted == Request::Own { &mut state.own_budget } else { &mut state.others_budget };
        if !budget.admit(from, Instant::now()) {
            return self.count(|counters| &counters.refused);
        }
        let descriptors = state.find(&wanted, (self.clock)());
        drop(state);
        // Counted first: who has the answer finds it in the metrics.
        self.count(|counters| &counters.answered);
        // Who asked may be gone.
        let _ = respond.send(Response { descriptors }.encode());
    }

    fn count(&self, counter: impl Fn(&Counters) -> &Counter) {
        if let Some(counters) = self.counters.get() {
            counter(counters).increment(1);
        }
    }
}

impl State {
    fn find(&mut self, wanted: &Request, now: u64) -> Vec<Vec<u8>> {
        let own = |own: &Option<(PeerId, Vec<u8>)>| own.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>();
        match wanted {
            Request::Own => own(&self.own),
            Request::Peers(peers) => peers.iter().filter_map(|peer| self.of(peer, now)).collect(),
            Request::Sample(count) => {
                let mut found = own(&self.own);
                let told = found.len();
                found.extend(self.store.sample(count - told, told, now, &mut self.rng));
                found
            }
        }
    }

    fn of(&self, peer: &PeerId, now: u64) -> Option<Vec<u8>> {
        match &self.own {
            Some((me, bytes)) if me == peer => Some(bytes.clone()),
            _ => self.store.of(peer, now),
        }
    }
}
