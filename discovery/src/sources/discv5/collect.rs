//! Records that were seen: without repetitions, in batches.

use std::{collections::HashMap, time::Duration};

use discv5::Enr;
use enr::NodeId;
use tokio::time::Instant;
use wakumix_records::node_record::NodeRecord;

use crate::{node_record::report, peer_report::PeerReport};

/// Records that wait for the next batch. A walk brings some 100; what goes beyond is counted as refused.
const MAX_WAITING: usize = 1024;
/// Records that are remembered as told, some 64 bytes each. When there is no room, all are forgotten, and then told once
/// more.
const MAX_TOLD: usize = 16_384;
/// A record is reported again after this time, so that its peer counts as still present.
const AGAIN: Duration = Duration::from_secs(60);

/// What was seen and is to be reported.
#[derive(Debug, Default)]
pub(super) struct Collector {
    waiting: HashMap<NodeId, PeerReport>,
    /// The newest record of each node that was read, good or bad, and when.
    told: HashMap<NodeId, (u64, Instant)>,
    malformed: u64,
    overflown: u64,
}

/// What is to be reported at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) reports: Vec<PeerReport>,
    pub(super) malformed: u64,
    pub(super) overflown: u64,
}

impl Collector {
    /// Takes a record; whether its node is one that was not seen before. The same records come again with every answer
    /// of every node, so what is known is not read again: checking a mix key costs as much as a signature.
    pub(super) fn add(&mut self, record: &Enr, now: Instant) -> bool {
        let (node, seq) = (record.node_id(), record.seq());
        let told = self.told.get(&node);
        let is_newer = told.is_none_or(|(told, _)| *told < seq);
        let is_due = told.is_some_and(|(told, at)| *told == seq && now.duration_since(*at) >= AGAIN);
        let waiting = self.waiting.get(&node).map(|waiting| waiting.version);
        if !(is_newer || is_due) || waiting.is_some_and(|waiting| waiting >= seq) {
            return false;
        }
        let is_news = told.is_none() && waiting.is_none();
        if self.waiting.len() >= MAX_WAITING && waiting.is_none() {
            self.overflown += 1;
            return false;
        }
        match NodeRecord::of(record) {
            Ok(record) => {
                self.waiting.insert(node, report(&record));
                is_news
            }
            Err(_) => {
                self.malformed += 1;
                self.remember(node, seq, now);
                false
            }
        }
    }

    fn remember(&mut self, node: NodeId, seq: u64, now: Instant) {
        if self.told.len() >= MAX_TOLD && !self.told.contains_key(&node) {
            self.told.clear();
        }
        self.told.insert(node, (seq, now));
    }

    /// What has come since the last batch.
    pub(super) fn take(&mut self, now: Instant) -> Batch {
        let waiting = std::mem::take(&mut self.waiting);
        let mut reports = Vec::with_capacity(waiting.len());
        for (node, report) in waiting {
            self.remember(node, report.version, now);
            reports.push(report);
        }
        Batch {
            reports,
            malformed: std::mem::take(&mut self.malformed),
            overflown: std::mem::take(&mut self.overflown),
        }
    }
}

#[cfg(test)]
mod tests {
    use enr::CombinedKey;

    use super::*;

    fn record(key: u32, seq: u64) -> Enr {
        let mut secret = [1; 32];
        secret[..4].copy_from_slice(&key.to_be_bytes());
        let key = CombinedKey::secp256k1_from_bytes(&mut secret).unwrap();
        Enr::builder().seq(seq).build(&key).unwrap()
    }

    fn versions(batch: &Batch) -> Vec<u64> {
        let mut versions: Vec<_> = batch.reports.iter().map(|report| report.version).collect();
        versions.sort_unstable();
        versions
    }

    #[test]
    fn tells_each_record_once_and_the_newest_of_a_peer() {
        let (mut collector, now) = (Collector::default(), Instant::now());
        for (key, seq, is_news) in [(1, 5, true), (1, 4, false), (1, 6, false), (2, 1, true), (2, 1, false)] {
            assert_eq!(collector.add(&record(key, seq), now), is_news, "{key} {seq}");
        }
        assert_eq!(versions(&collector.take(now)), [1, 6]);
        assert!(!collector.add(&record(1, 6), now) && !collector.add(&record(1, 5), now));
        assert_eq!(collector.take(now), Batch::default());
        assert!(!collector.add(&record(1, 7), now), "the node is no news");
        assert_eq!(versions(&collector.take(now)), [7]);
    }

    #[test]
    fn tells_a_record_again_after_a_while_but_no_older_one() {
        let (mut collector, now) = (Collector::default(), Instant::now());
        collector.add(&record(1, 5), now);
        collector.take(now);
        let later = now + AGAIN;
        assert!(!collector.add(&record(1, 5), later), "it is no news");
        assert!(!collector.add(&record(1, 4), later));
        assert_eq!(versions(&collector.take(later)), [5]);
    }

    #[test]
    fn ten_thousand_records_at_once_are_bounded_and_counted_and_an_honest_one_comes_through_after_them() {
        let (mut collector, now) = (Collector::default(), Instant::now());
        for key in 0..10_000 {
            collector.add(&record(key, 1), now);
        }
        let batch = collector.take(now);
        assert_eq!((batch.reports.len(), batch.overflown), (MAX_WAITING, 10_000 - MAX_WAITING as u64));
        assert!(collector.told.len() <= MAX_TOLD);
        assert!(collector.add(&record(10_000, 1), now));
        assert_eq!(collector.take(now).reports.len(), 1);
    }

    #[test]
    fn a_record_of_another_kind_of_key_is_counted() {
        let mut collector = Collector::default();
        let record = Enr::builder().build(&CombinedKey::generate_ed25519()).unwrap();
        let now = Instant::now();
        assert!(!collector.add(&record, now) && !collector.add(&record, now));
        assert_eq!(collector.take(now).malformed, 1, "the second time it is not read");
    }
}
