//! Properties of sets: what is cut comes back from any sufficient part, and nothing else does.

mod bounds;
mod wire;

use std::time::Duration;

use proptest::prelude::*;
use wakumix_sphinx::PacketFormat;

use super::*;
use crate::testing::{rng, sphinx, surb};

const LIGHTPUSH: &str = "/vac/waku/lightpush/3.0.0";
const NOW: Duration = Duration::from_secs(1000);
const AGE: Duration = Duration::from_secs(10);
/// More room than any fragment needs.
const ROOM: usize = 8192;

fn limits() -> ReassemblyLimits {
    ReassemblyLimits { sets: 16, bytes: 4 * MAX_SET_BYTES, age: AGE }
}

fn reassembly() -> Reassembly {
    Reassembly::new(limits())
}

/// The fragments of `data` as a sender makes them with this seed.
fn pieces(seed: u64, data: &[u8], shards: ShardCounts) -> Vec<Vec<u8>> {
    cut(&mut rng(seed), LIGHTPUSH, data, shards, ROOM).unwrap()
}

/// A message of this length that is the same nowhere.
fn message(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect()
}

fn insert(reassembly: &mut Reassembly, piece: &[u8]) -> Progress {
    reassembly.insert(NOW, Fragment::decode(piece).unwrap(), Vec::new())
}

fn refusal(progress: &Progress) -> Option<SetRefusal> {
    match progress {
        Progress::Refused { reason, .. } => Some(*reason),
        _ => None,
    }
}

/// Any number of shards that a set may have.
fn any_shards() -> impl Strategy<Value = ShardCounts> {
    (1..=8_u8).prop_flat_map(|data| (Just(data), 0..=8 - data)).prop_map(|(data, parity)| ShardCounts { data, parity })
}

/// Shards and an order in which they come in.
fn any_arrival() -> impl Strategy<Value = (ShardCounts, Vec<usize>)> {
    any_shards().prop_flat_map(|shards| {
        let order: Vec<usize> = (0..shards.total()).collect();
        (Just(shards), Just(order).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn any_k_fragments_in_any_order_give_the_request(
        (shards, order) in any_arrival(), len in 0..=MAX_REASSEMBLED_LEN - 26, seed: u64,
    ) {
        let data = message(len);
        let pieces = pieces(seed, &data, shards);
        prop_assert_eq!(pieces.len(), shards.total());
        let mut reassembly = reassembly();
        for (count, at) in order.into_iter().enumerate() {
            let progress = insert(&mut reassembly, &pieces[at]);
            match count + 1 {
                few if few < usize::from(shards.data) => prop_assert!(matches!(progress, Progress::Incomplete)),
                enough if enough == usize::from(shards.data) => {
                    let Progress::Complete { codec, data: whole, .. } = progress else { panic!("{progress:?}") };
                    prop_assert_eq!(codec, LIGHTPUSH);
                    prop_assert_eq!(&whole, &data);
                }
                _ => prop_assert!(matches!(progress, Progress::Late)),
            }
            prop_assert!(reassembly.is_consistent());
        }
        prop_assert_eq!((reassembly.sets(), reassembly.bytes()), (0, 0));
    }

    #[test]
    fn what_is_read_is_what_was_written(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(fragment) = Fragment::decode(&bytes) {
            prop_assert!(bytes.starts_with(&fragment.encode()));
            prop_assert!(fragment.shards().is_valid() && fragment.index() < fragment.shards().total());
        }
    }

    #[test]
    fn one_changed_byte_is_never_delivered(
        (shards, order) in any_arrival(), len in 0..600_usize, seed: u64, at: prop::sample::Index, bit in 0..8_u8,
    ) {
        let data = message(len);
        let mut pieces = pieces(seed, &data, shards);
        let changed = order[0];
        let at = at.index(pieces[changed].len());
        pieces[changed][at] ^= 1 << bit;
        let mut reassembly = reassembly();
        for index in order {
            let Ok(fragment) = Fragment::decode(&pieces[index]) else { continue };
            if let Progress::Complete { data: whole, .. } = reassembly.insert(NOW, fragment, Vec::new()) {
                prop_assert_eq!(&whole, &data);
            }
            prop_assert!(reassembly.is_consistent());
        }
    }

    #[test]
    fn any_fragments_whatever_keep_the_invariants(
        arrivals in proptest::collection::vec((0..6_u64, any_shards(), any::<prop::sample::Index>(), 0..3_u64, 0..3_usize), 0..60),
    ) {
        let limits = ReassemblyLimits { sets: 3, bytes: 6000, age: Duration::from_secs(2) };
        let mut reassembly = Reassembly::new(limits);
        let blocks = [0, 1].map(|seed| surb(seed).0.to_bytes());
        let mut now = NOW;
        for (seed, shards, index, wait, surbs) in arrivals {
            now += Duration::from_secs(wait);
            let pieces = pieces(seed, &message(usize::try_from(seed).unwrap() * 300), shards);
            let surbs = blocks.iter().take(surbs).map(|block| sphinx().read_surb(block).unwrap()).collect();
            let fragment = Fragment::decode(&pieces[index.index(pieces.len())]).unwrap();
            reassembly.insert(now, fragment, surbs);
            prop_assert!(reassembly.is_consistent());
        }
        reassembly.expire(now + 2 * limits.age);
        prop_assert_eq!((reassembly.sets(), reassembly.bytes()), (0, 0));
    }
}
