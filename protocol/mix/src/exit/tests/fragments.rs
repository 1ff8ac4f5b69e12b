//! What becomes of the packets that bring fragments.

use std::time::Duration;

use wakumix_sphinx::FormatKind;

use crate::exit::{ExitRequest, FragmentOutcome, FragmentRefusal, FragmentSets};
use crate::fragment::{FRAGMENT_CODEC, HEADER_LEN, MAX_SET_BYTES, ReassemblyLimits, SetRefusal, ShardCounts, cut};
use crate::testing::{rng, surb};
use crate::{DropReason, ExitStatus};

const LIMITS: ReassemblyLimits = ReassemblyLimits { sets: 4, bytes: 4 * MAX_SET_BYTES, age: Duration::from_secs(10) };
const TWO_AND_ONE: ShardCounts = ShardCounts { data: 2, parity: 1 };
const START: Duration = Duration::ZERO;

/// The fragments of a request.
fn pieces(seed: u64) -> Vec<Vec<u8>> {
    cut(&mut rng(seed), "/ping", &[7; 3000], TWO_AND_ONE, 3000).unwrap()
}

fn insert(sets: &mut FragmentSets, kind: FormatKind, piece: &[u8]) -> FragmentOutcome {
    let request = ExitRequest { codec: FRAGMENT_CODEC.to_owned(), surbs: vec![surb(1).0], data: piece.to_vec() };
    sets.insert(START, kind, request)
}

/// Why a fragment was refused, and how many reply blocks say so.
fn refusal(outcome: &FragmentOutcome) -> Option<(FragmentRefusal, usize)> {
    match outcome {
        FragmentOutcome::Refused { refusal, surbs } => Some((*refusal, surbs.len())),
        _ => None,
    }
}

#[test]
fn a_whole_set_is_a_request_with_the_reply_blocks_of_its_fragments() {
    let (mut sets, pieces) = (FragmentSets::new(LIMITS), pieces(1));
    assert!(matches!(insert(&mut sets, FormatKind::Mix, &pieces[2]), FragmentOutcome::Kept));
    assert!(matches!(insert(&mut sets, FormatKind::Mix, &pieces[2]), FragmentOutcome::Duplicate));
    let FragmentOutcome::Complete(request) = insert(&mut sets, FormatKind::Mix, &pieces[0]) else { panic!() };
    assert_eq!((request.codec.as_str(), request.data, request.surbs.len()), ("/ping", vec![7; 3000], 2));
    assert!(matches!(insert(&mut sets, FormatKind::Mix, &pieces[1]), FragmentOutcome::Late));
    assert_eq!((sets.sets(), sets.bytes()), (0, 0));
}

#[test]
fn the_fragments_of_a_set_come_in_packets_of_one_format() {
    let (mut sets, pieces) = (FragmentSets::new(LIMITS), pieces(1));
    insert(&mut sets, FormatKind::Mix, &pieces[0]);
    assert!(matches!(insert(&mut sets, FormatKind::SphinxPacket, &pieces[1]), FragmentOutcome::Kept));
    assert_eq!(sets.sets(), 2);
    assert!(matches!(insert(&mut sets, FormatKind::Mix, &pieces[2]), FragmentOutcome::Complete(_)));
    sets.expire(START + LIMITS.age);
    assert_eq!((sets.sets(), sets.take_losses().expired), (0, 1));
}

#[test]
fn what_is_not_a_fragment_is_told_as_bad() {
    let outcome = insert(&mut FragmentSets::new(LIMITS), FormatKind::Mix, b"");
    let (refusal, surbs) = refusal(&outcome).unwrap();
    assert!(matches!(refusal, FragmentRefusal::Unreadable(_)) && surbs == 1);
    assert_eq!((refusal.status(), refusal.drop_reason()), (ExitStatus::BadFragment, DropReason::BadFragment));
    assert!(!refusal.ends_request());
}

#[test]
fn a_damaged_set_ends_a_request_and_is_told_through_all_its_reply_blocks() {
    let (mut sets, mut pieces) = (FragmentSets::new(LIMITS), pieces(1));
    pieces[1][HEADER_LEN] ^= 1;
    insert(&mut sets, FormatKind::Mix, &pieces[0]);
    let (damaged, surbs) = refusal(&insert(&mut sets, FormatKind::Mix, &pieces[1])).unwrap();
    assert_eq!((damaged, surbs), (FragmentRefusal::Set(SetRefusal::Damaged), 2));
    assert!(damaged.ends_request());
    let (given_up, surbs) = refusal(&insert(&mut sets, FormatKind::Mix, &pieces[2])).unwrap();
    assert_eq!((given_up, surbs), (FragmentRefusal::Set(SetRefusal::GivenUp), 1));
    assert!(!given_up.ends_request());
}

#[test]
fn a_fragment_without_room_is_told_to_come_again() {
    let mut sets = FragmentSets::new(ReassemblyLimits { bytes: 100, ..LIMITS });
    let (refusal, _) = refusal(&insert(&mut sets, FormatKind::Mix, &pieces(1)[0])).unwrap();
    assert_eq!(refusal, FragmentRefusal::Set(SetRefusal::NoRoom));
    assert_eq!((refusal.status(), refusal.drop_reason()), (ExitStatus::Overloaded, DropReason::QueueFull));
}
