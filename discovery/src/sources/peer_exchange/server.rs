//! The server: which records it sends, and to which peers.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use libp2p_identity::PeerId;
use rand::{
    Rng,
    rngs::StdRng,
    seq::{IteratorRandom, SliceRandom},
};
use tokio::time::Instant;
use wakumix_mix::Refill;
use wakumix_records::{
    node_record,
    peer_exchange::{MAX_RECORDS, Response, Status, decode_request},
};
use wakumix_role_api::Requester;

use crate::{
    peer_report::{KnownRecord, PeerReport, SignedRecord, Standing},
    sources::budget::Budget,
};

/// Records that are kept to be given away, a random sample of what is known: four answers' worth. Each is decoded when it is
/// chosen first, which takes some 0.2 ms, most of it for its signature.
pub(super) const MAX_SHAREABLE: usize = 256;

/// Records whose soundness is remembered, 16 bytes each; then all are forgotten.
const MAX_REMEMBERED: usize = 16_384;
/// Records that are decoded without letting others run.
const AT_ONCE: usize = 8;

/// js-waku asks every 30 s, nodes of nwaku every minute; both start several times in a row when they restart.
const OWN_PACE: Refill = Refill::of(5, Duration::from_secs(5));
/// An answer has at most 19 KiB: one MiB/s.
const PACE_OF_ALL: Refill = Refill::of(200, Duration::from_millis(20));

/// A record that can be given away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shareable {
    pub(super) peer: PeerId,
    pub(super) record: Vec<u8>,
    /// Whether this node has reached its node lately.
    pub(super) is_alive: bool,
}

/// The server.
#[derive(Debug)]
pub(super) struct Server {
    records: Vec<Shareable>,
    budget: Budget,
    rng: StdRng,
}

wakumix_sphinx::named_enum! {
    /// What became of a request.
    pub(super) enum Outcome {
        /// It was sent records.
        Served = "served",
        /// There were none to tell.
        Empty = "empty",
        /// It was no request.
        Malformed = "malformed",
        /// Its sender asks too often.
        Throttled = "throttled",
    }
}

impl Server {
    /// A server that knows nobody.
    pub(super) fn new(rng: StdRng) -> Self {
        Self { records: Vec::new(), budget: Budget::new(PACE_OF_ALL, OWN_PACE), rng }
    }

    /// Gives these records away from now on.
    pub(super) fn replace(&mut self, records: Vec<Shareable>) {
        self.records = records;
    }

    /// Answers a request. Who asks when nobody is known gets an empty success, as from nwaku's servers.
    pub(super) fn answer(&mut self, from: Requester, body: &[u8], now: Instant) -> (Outcome, Response) {
        if !self.budget.admit(from, now) {
            return (Outcome::Throttled, Response::failure(Status::TooManyRequests, "asked too often"));
        }
        let asked = match decode_request(body) {
            Ok(asked) => usize::try_from(asked).unwrap_or(MAX_RECORDS).min(MAX_RECORDS),
            Err(error) => return (Outcome::Malformed, Response::failure(Status::BadRequest, &error.to_string())),
        };
        let records = self.sample(from, asked);
        let outcome = if records.is_empty() { Outcome::Empty } else { Outcome::Served };
        (outcome, Response::success(records))
    }

    /// A random sample of the records of reached nodes, and of at most a quarter of others.
    fn sample(&mut self, from: Requester, count: usize) -> Vec<Vec<u8>> {
        let Self { records, rng, .. } = self;
        let others = records.iter().filter(|shareable| Requester::Peer(shareable.peer) != from);
        let (alive, unknown): (Vec<_>, Vec<_>) = others.partition(|shareable| shareable.is_alive);
        let (reached, strangers) = Standing::shares(count, 0, alive.len(), unknown.len());
        let mut sample = alive.into_iter().sample(rng, reached);
        sample.extend(unknown.into_iter().sample(rng, strangers));
        sample.into_iter().map(|shareable| shareable.record.clone()).collect()
    }
}

/// What can be given away of what is known: node records of this cluster, each with an address and without a field that its
/// reader could stumble over, for js-waku throws a whole answer away when it cannot decode one record. Those of reached nodes
/// come first, those of nodes that were tried in vain are left out.
pub(super) async fn shareable(
    known: &[KnownRecord],
    cluster: u16,
    looked_at: &mut LookedAt,
    rng: &mut impl Rng,
) -> Vec<Shareable> {
    let worth_telling =
        known.iter().filter(|known| known.standing != Standing::Failed && is_of(&known.report, cluster));
    let (mut candidates, mut others): (Vec<_>, Vec<_>) =
        worth_telling.partition(|known| known.standing == Standing::Reached);
    candidates.shuffle(rng);
    others.shuffle(rng);
    candidates.extend(others);
    candidates.truncate(MAX_SHAREABLE);
    let mut records = Vec::new();
    for (index, KnownRecord { report, standing }) in candidates.into_iter().enumerate() {
        if index % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let is_alive = *standing == Standing::Reached;
        let sound = looked_at.sound(report, cluster).cloned();
        records.extend(sound.map(|record| Shareable { peer: report.peer, record, is_alive }));
    }
    records
}

fn is_of(report: &PeerReport, cluster: u16) -> bool {
    matches!(report.record, Some(SignedRecord::NodeRecord(_)))
        && report.shards.as_ref().is_some_and(|shards| shards.cluster == cluster)
}

/// Which records were looked at, by their hashes, and what was found: none is decoded twice.
#[derive(Debug, Default)]
pub(super) struct LookedAt {
    hasher: RandomState,
    sound: HashMap<u64, bool>,
}

impl LookedAt {
    /// The record of a peer report, if it can be given away.
    fn sound<'f>(&mut self, report: &'f PeerReport, cluster: u16) -> Option<&'f Vec<u8>> {
        let Some(SignedRecord::NodeRecord(bytes)) = &report.record else { return None };
        if self.sound.len() >= MAX_REMEMBERED {
            self.sound.clear();
        }
        let hash = self.hasher.hash_one((report.peer, bytes));
        let is_sound = *self.sound.entry(hash).or_insert_with(|| is_sound(report, bytes, cluster));
        is_sound.then_some(bytes)
    }
}

/// The record itself says whose it is and of which cluster: other sources may have told the rest of the peer report.
fn is_sound(report: &PeerReport, bytes: &[u8], cluster: u16) -> bool {
    let Ok(record) = node_record::decode(bytes) else { return false };
    record.peer == report.peer
        && record.encoded == bytes
        && record.skipped.is_empty()
        && record.fields.shards.as_ref().is_some_and(|shards| shards.cluster == cluster)
        && !record.fields.addresses().is_empty()
}

#[cfg(test)]
mod tests;
