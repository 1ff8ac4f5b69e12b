//! How often the network is walked, and what a walk looks for.

use std::time::Duration;

use discv5::Enr;
use wakumix_records::node_record;
use wakumix_waku::record::{Capabilities, Shards};

/// Between two walks while they find nodes. A walk has some 250 signatures to check, 40 ms of a core, and the nodes of a test
/// net share theirs.
const SHORTEST: Duration = Duration::from_secs(2);
/// Between two walks of a node that knows its network. Nwaku's nodes walk every 5 s (`spec/waku.md §6.1`); who joins
/// makes itself known by its own walks.
const LONGEST: Duration = Duration::from_secs(15);
/// Mix nodes of a pool from which nobody needs to hurry: a good pool has more than 100 (`spec/waku.md §5.4`).
const ENOUGH: usize = 128;

/// The time between walks: short while they bring news and nodes are wanted, then longer each time.
#[derive(Debug)]
pub(super) struct Pace {
    wait: Duration,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { wait: SHORTEST }
    }

    /// The wait after a walk; `random` is uniform in 0..1 and spreads it by a fifth either way, so that nodes that start
    /// together do not walk together.
    pub(super) fn next(&mut self, has_news: bool, usable: usize, random: f64) -> Duration {
        self.wait = if usable >= ENOUGH {
            LONGEST
        } else if has_news {
            SHORTEST
        } else {
            (2 * self.wait).min(LONGEST)
        };
        self.wait.mul_f64(0.8 + 0.4 * random)
    }
}

/// Whether a walk that looks for nodes of this net wants this one: it mixes, or serves lightpush, in the cluster, and a
/// service has a shard in common. It is asked for every record of every answer, so it reads no more than that.
pub(super) fn is_wanted(record: &Enr, wanted: &Shards) -> bool {
    let (Some(capabilities), Some(shards)) = node_record::offer(record) else { return false };
    let shares = || wanted.shards.is_empty() || shards.shards.iter().any(|shard| wanted.shards.contains(shard));
    let serves = Capabilities::RELAY | Capabilities::LIGHTPUSH;
    shards.cluster == wanted.cluster
        && (capabilities.contains(Capabilities::MIX) || capabilities.contains(serves) && shares())
}

#[cfg(test)]
mod tests {
    use enr::CombinedKey;
    use wakumix_records::node_record::RecordFields;

    use super::*;

    #[test]
    fn hurries_while_there_is_news_and_need() {
        let mut pace = Pace::new();
        let mut waits = |has_news, usable| pace.next(has_news, usable, 0.5);
        assert_eq!(waits(true, 0), SHORTEST);
        assert_eq!([waits(false, 3), waits(false, 3)], [2 * SHORTEST, 4 * SHORTEST]);
        assert_eq!(waits(true, 3), SHORTEST);
        assert_eq!(waits(true, ENOUGH), LONGEST);
        assert_eq!(waits(false, 0), LONGEST, "it is the longest wait");
        assert_eq!(pace.next(true, 0, 0.0), SHORTEST.mul_f64(0.8));
    }

    #[test]
    fn wants_mixers_of_the_cluster_and_services_of_a_shard() {
        let wanted = Shards { cluster: 2, shards: vec![1, 2] };
        let key = CombinedKey::generate_secp256k1();
        let record = |bits, cluster, shards: &[u16]| {
            let shards = Some(Shards { cluster, shards: shards.to_vec() });
            let capabilities = Some(Capabilities::from_bits(bits));
            RecordFields { capabilities, shards, ..RecordFields::default() }.sign(1, &key).unwrap().record
        };
        let table: [(u8, u16, &[u16], bool); 7] = [
            (0b10_0000, 2, &[9], true),
            (0b10_0000, 3, &[1], false),
            (0b00_1001, 2, &[2, 9], true),
            (0b00_1001, 2, &[9], false),
            (0b00_1000, 2, &[2], false),
            (0b00_0001, 2, &[2], false),
            (0, 2, &[2], false),
        ];
        for (bits, cluster, shards, expected) in table {
            assert_eq!(is_wanted(&record(bits, cluster, shards), &wanted), expected, "{bits:b} {cluster} {shards:?}");
        }
        assert!(!is_wanted(&Enr::empty(&key).unwrap(), &wanted));
    }
}
