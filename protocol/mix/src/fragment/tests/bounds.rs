//! What a set may not do: contradict itself, take forever, take all memory.

use wakumix_sphinx::Surb;

use super::*;

const TWO_AND_ONE: ShardCounts = ShardCounts { data: 2, parity: 1 };

#[test]
fn the_surbs_of_all_fragments_serve_the_answer() {
    let pieces = pieces(1, &message(900), ShardCounts { data: 3, parity: 0 });
    let mut reassembly = reassembly();
    for (seed, piece) in (0..2).zip(&pieces) {
        reassembly.insert(NOW, Fragment::decode(piece).unwrap(), vec![surb(seed).0]);
    }
    let last = vec![surb(2).0, surb(3).0];
    let progress = reassembly.insert(NOW, Fragment::decode(&pieces[2]).unwrap(), last);
    let Progress::Complete { surbs, .. } = progress else { panic!("{progress:?}") };
    let expected: Vec<_> = (0..4).map(|seed| surb(seed).0.to_bytes()).collect();
    assert_eq!(surbs.iter().map(Surb::to_bytes).collect::<Vec<_>>(), expected);
    assert_eq!(reassembly.bytes(), 0);
}

#[test]
fn the_bytes_are_those_of_shards_and_surbs() {
    let pieces = pieces(1, &message(900), ShardCounts { data: 3, parity: 1 });
    let mut reassembly = reassembly();
    let shard = pieces[0].len() - HEADER_LEN;
    let block = surb(1).0;
    let surb_len = block.encoded_len();
    reassembly.insert(NOW, Fragment::decode(&pieces[0]).unwrap(), vec![block]);
    assert_eq!(reassembly.bytes(), shard + surb_len);
    reassembly.insert(NOW, Fragment::decode(&pieces[3]).unwrap(), Vec::new());
    assert_eq!(reassembly.bytes(), 2 * shard + surb_len);
    let again = reassembly.insert(NOW, Fragment::decode(&pieces[3]).unwrap(), vec![surb(2).0]);
    assert!(matches!(again, Progress::Duplicate));
    assert_eq!(reassembly.bytes(), 2 * shard + surb_len);
    insert(&mut reassembly, &pieces[1]);
    assert_eq!(reassembly.bytes(), 0);
}

#[test]
fn a_contradiction_is_refused_and_spoils_nothing() {
    let (data, mut reassembly) = (message(900), reassembly());
    let pieces = pieces(1, &data, TWO_AND_ONE);
    insert(&mut reassembly, &pieces[0]);
    let contradictions = [(16, 1), (17, 2), (20, pieces[0][20] ^ 1), (25, pieces[0][25] ^ 1), (40, pieces[0][40] ^ 1)];
    for (at, to) in contradictions {
        let mut other = pieces[0].clone();
        other[at] = to;
        // Another number of shards changes their length.
        other.resize(HEADER_LEN + 2 * 1000, 0);
        let progress = reassembly.insert(NOW, Fragment::decode(fitted(&other)).unwrap(), vec![surb(1).0]);
        let Progress::Refused { reason, surbs } = progress else { panic!("{at}: {progress:?}") };
        assert_eq!((reason, surbs.len()), (SetRefusal::Contradiction, 1));
    }
    let Progress::Complete { data: whole, .. } = insert(&mut reassembly, &pieces[2]) else { panic!() };
    assert_eq!(whole, data);
}

/// The fragment at the beginning of these bytes.
fn fitted(bytes: &[u8]) -> &[u8] {
    (0..=bytes.len()).map(|len| &bytes[..len]).find(|bytes| Fragment::decode(bytes).is_ok()).unwrap()
}

#[test]
fn the_shards_of_two_messages_are_not_delivered_as_one() {
    let (one, mut two) = (pieces(1, &message(900), TWO_AND_ONE), pieces(2, &message(901)[1..], TWO_AND_ONE));
    // The header of the first message in front of a shard of the second.
    two[1][..18].copy_from_slice(&one[1][..18]);
    two[1][19..HEADER_LEN].copy_from_slice(&one[1][19..HEADER_LEN]);
    let mut reassembly = reassembly();
    reassembly.insert(NOW, Fragment::decode(&one[0]).unwrap(), vec![surb(1).0]);
    let progress = reassembly.insert(NOW, Fragment::decode(&two[1]).unwrap(), vec![surb(2).0]);
    let Progress::Refused { reason: SetRefusal::Damaged, surbs } = progress else { panic!("{progress:?}") };
    assert_eq!((surbs.len(), reassembly.bytes()), (2, 0));
    assert_eq!(refusal(&insert(&mut reassembly, &one[2])), Some(SetRefusal::GivenUp));
}

#[test]
fn padding_must_be_zero() {
    let mut pieces = pieces(1, &message(900), TWO_AND_ONE);
    let last = pieces[1].len() - 1;
    assert_eq!(pieces[1][last], 0, "the message has an odd length or ends before its shards do");
    pieces[1][last] = 1;
    let mut reassembly = reassembly();
    insert(&mut reassembly, &pieces[0]);
    assert_eq!(refusal(&insert(&mut reassembly, &pieces[1])), Some(SetRefusal::Damaged));
}

#[test]
fn a_set_without_a_request_in_it_is_refused() {
    let nested = [&[u8::try_from(FRAGMENT_CODEC.len()).unwrap()][..], FRAGMENT_CODEC.as_bytes(), b"data"].concat();
    let cover = [&[16][..], crate::COVER_CODEC.as_bytes(), b"data"].concat();
    for message in [&nested[..], &cover, b"\x00data", b"\xff\xff\xff", b"\x05/x", b"\x02\xc3\x28"] {
        let shape =
            Shape { shards: ShardCounts { data: 1, parity: 0 }, len: message.len(), digest: Digest::of(message) };
        let mut shard = message.to_vec();
        shard.resize(shape.shard_len(), 0);
        let fragment = Fragment { set: SetId::from_bytes([1; 16]), shape, index: 0, shard: &shard };
        let progress = reassembly().insert(NOW, fragment, Vec::new());
        assert_eq!(refusal(&progress), Some(SetRefusal::NoRequest), "{message:02x?}");
    }
}

#[test]
fn a_set_that_takes_too_long_is_forgotten() {
    let pieces = pieces(1, &message(900), TWO_AND_ONE);
    let mut reassembly = reassembly();
    insert(&mut reassembly, &pieces[0]);
    reassembly.expire(NOW + AGE - Duration::from_nanos(1));
    assert_eq!((reassembly.sets(), reassembly.take_losses()), (1, Losses::default()));
    reassembly.expire(NOW + AGE);
    assert_eq!((reassembly.sets(), reassembly.bytes()), (0, 0));
    assert_eq!(reassembly.take_losses(), Losses { expired: 1, displaced: 0 });
    assert_eq!(reassembly.take_losses(), Losses::default());
    assert!(matches!(insert(&mut reassembly, &pieces[1]), Progress::Incomplete), "it begins anew");
}

#[test]
fn a_set_does_not_complete_after_its_time_even_if_nobody_looked() {
    let pieces = pieces(1, &message(900), TWO_AND_ONE);
    let mut reassembly = reassembly();
    insert(&mut reassembly, &pieces[0]);
    let progress = reassembly.insert(NOW + AGE, Fragment::decode(&pieces[1]).unwrap(), Vec::new());
    assert!(matches!(progress, Progress::Incomplete));
}

#[test]
fn an_answered_set_is_remembered_for_as_long_as_it_may_take() {
    let pieces = pieces(1, &message(900), ShardCounts { data: 1, parity: 2 });
    let mut reassembly = reassembly();
    assert!(matches!(insert(&mut reassembly, &pieces[0]), Progress::Complete { .. }));
    let mut at = |now| reassembly.insert(now, Fragment::decode(&pieces[1]).unwrap(), Vec::new());
    assert!(matches!(at(NOW + AGE - Duration::from_nanos(1)), Progress::Late));
    assert!(matches!(at(NOW + AGE), Progress::Complete { .. }), "forgotten");
}

#[test]
fn a_flood_of_incomplete_sets_stays_under_its_limits_and_an_honest_set_completes() {
    let limits = ReassemblyLimits { sets: 64, bytes: 2 * MAX_SET_BYTES, age: AGE };
    let mut reassembly = Reassembly::new(limits);
    let honest = pieces(1, &message(4096), TWO_AND_ONE);
    let hostile: Vec<Vec<u8>> = pieces(2, &message(4096), TWO_AND_ONE);
    let mut completed = 0;
    for number in 0..10_000_u64 {
        let mut piece = hostile[0].clone();
        piece[..8].copy_from_slice(&number.to_be_bytes());
        insert(&mut reassembly, &piece);
        assert!(reassembly.bytes() <= limits.bytes && reassembly.sets() <= limits.sets);
        // Forty newer sets of 2 KiB begin between the two fragments: fewer than the limits let live.
        let mut own = match number % 100 {
            0 => honest[0].clone(),
            40 => honest[2].clone(),
            _ => continue,
        };
        own[..8].copy_from_slice(&(u64::MAX - number / 100).to_be_bytes());
        completed += u32::from(matches!(insert(&mut reassembly, &own), Progress::Complete { .. }));
    }
    assert_eq!(completed, 100);
    let Losses { expired, displaced } = reassembly.take_losses();
    assert_eq!(usize::try_from(expired + displaced).unwrap() + reassembly.sets(), 10_000);
    assert!(reassembly.is_consistent());
}

#[test]
fn the_oldest_set_makes_room_first() {
    let mut reassembly = Reassembly::new(ReassemblyLimits { sets: 2, bytes: MAX_SET_BYTES, age: AGE });
    let sets: Vec<_> = (0..3).map(|seed| pieces(seed, &message(100), TWO_AND_ONE)).collect();
    for set in &sets {
        insert(&mut reassembly, &set[0]);
    }
    assert!(matches!(insert(&mut reassembly, &sets[1][1]), Progress::Complete { .. }));
    assert!(matches!(insert(&mut reassembly, &sets[2][1]), Progress::Complete { .. }));
    assert!(matches!(insert(&mut reassembly, &sets[0][1]), Progress::Incomplete), "begins anew");
    assert_eq!(reassembly.take_losses(), Losses { expired: 0, displaced: 1 });
}

#[test]
fn without_room_a_fragment_is_refused_and_its_own_set_stays() {
    let pieces = pieces(1, &message(900), ShardCounts { data: 3, parity: 0 });
    let shard = pieces[0].len() - HEADER_LEN;
    let mut reassembly = Reassembly::new(ReassemblyLimits { sets: 1, bytes: shard, age: AGE });
    insert(&mut reassembly, &pieces[0]);
    assert_eq!(refusal(&insert(&mut reassembly, &pieces[1])), Some(SetRefusal::NoRoom));
    assert_eq!((reassembly.sets(), reassembly.bytes()), (1, shard));
    let mut nothing = Reassembly::new(ReassemblyLimits { sets: 0, bytes: 0, age: AGE });
    assert_eq!(refusal(&insert(&mut nothing, &pieces[0])), Some(SetRefusal::NoRoom));
}

#[test]
fn any_set_fits_the_bytes_that_limits_ask_for() {
    let largest =
        MAX_SHARDS * wakumix_sphinx::MAX_SURBS * wakumix_sphinx::SURB_LEN + MAX_REASSEMBLED_LEN + 2 * MAX_SHARDS;
    assert!(largest <= MAX_SET_BYTES);
}
