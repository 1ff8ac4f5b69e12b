//! Fragments at the exit: put together, answered once, bounded, and never of use against others.

mod support;

use std::time::Duration;

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use support::{HERE, World, body, status};
use wakumix_exit::{Config, DEFAULT_FRAGMENT_TIMEOUT, ExitRole};
use wakumix_mix::{
    DropReason, ExitStatus,
    fragment::{FRAGMENT_CODEC, HEADER_LEN, ShardCounts, cut},
};
use wakumix_role_api::Role as _;
use wakumix_sphinx::{Block, Cipher, FormatKind, Profile, WireFormat};
use wakumix_waku::{frame, lightpush::V2_PROTOCOL};

const BOTH: [WireFormat; 2] =
    [WireFormat::Mix(Profile { cipher: Cipher::Lioness, block: Block::Pad, proof_len: 0 }), WireFormat::SphinxPacket];
const TWO_AND_ONE: ShardCounts = ShardCounts { data: 2, parity: 1 };

fn with_blocks(block: Block) -> WireFormat {
    WireFormat::Mix(Profile { block, ..Profile::default() })
}

#[actix::test]
async fn a_request_in_fragments_is_asked_once_and_answered_through_the_reply_blocks_that_came_before() {
    asked_once(Block::Pad).await;
}

#[actix::test]
async fn so_it_is_with_blocks_that_have_a_sequence_number() {
    asked_once(Block::Seq).await;
}

async fn asked_once(block: Block) {
    let mut world = World::serving(Config::default(), &[with_blocks(block)]);
    let pieces = world.cut(&body(4000), TWO_AND_ONE);
    let (first, first_keys) = world.surbs(1);
    world.fragment(first, &pieces[2]).await;
    world.counts("waku_mix_exit_fragment_sets 1").await;
    world.finished().await;
    assert_eq!(world.balance().delivered, 1, "the set holds no buffer");
    let (second, second_keys) = world.surbs(1);
    world.fragment(second, &pieces[0]).await;
    let asked = world.asked().await;
    assert_eq!(asked.body, body(4000));
    let (late, _) = world.surbs(1);
    world.fragment(late, &pieces[1]).await;
    world.counts("waku_mix_exit_fragments_total{outcome=\"late\"} 1").await;
    assert!(asked.respond.send(b"answer".to_vec()).is_ok());
    let keys = [first_keys, second_keys].concat();
    for _ in 0..2 {
        assert_eq!(world.answer(&keys).await, frame::encode(b"answer"));
    }
    world.finished().await;
    assert!(world.service.try_recv().is_none());
    assert_eq!((world.balance().delivered, world.balance().sent), (3, 2));
    world.counts("waku_mix_exit_requests_total{outcome=\"served\"} 1").await;
    world.counts("waku_mix_exit_fragment_sets 0").await;
    world.counts("waku_mix_exit_fragment_bytes 0").await;
}

#[actix::test]
async fn a_set_in_packets_of_the_second_format_is_answered_in_it() {
    let mut world = World::serving(Config::default(), &BOTH);
    world.speak(FormatKind::SphinxPacket);
    let pieces = world.cut(&body(4000), TWO_AND_ONE);
    let keys = world.fragments(&pieces[1..]).await;
    world.serves(&keys, 2).await;
    world.finished().await;
}

#[actix::test]
async fn duplicates_are_counted_and_have_no_replies() {
    let mut world = World::new(Config::default());
    let pieces = world.cut(&body(3000), TWO_AND_ONE);
    let keys = world.fragments([&pieces[0], &pieces[0], &pieces[1]]).await;
    world.serves(&keys, 2).await;
    world.finished().await;
    world.counts("waku_mix_exit_fragments_total{outcome=\"duplicate\"} 1").await;
    assert_eq!(world.balance().delivered, 3);
}

#[actix::test]
async fn a_contradiction_is_told_and_the_sound_set_is_served() {
    let mut world = World::new(Config::default());
    let pieces = world.cut(&body(3000), TWO_AND_ONE);
    world.fragment(Vec::new(), &pieces[0]).await;
    let mut other = pieces[0].clone();
    other[HEADER_LEN] ^= 1;
    assert_eq!(status(&world.hears(HERE, FRAGMENT_CODEC, &other).await), ExitStatus::BadFragment);
    assert_eq!(world.dropped(DropReason::BadFragment), 1);
    world.counts("waku_mix_exit_fragments_total{outcome=\"contradiction\"} 1").await;
    world.fragment(Vec::new(), &pieces[1]).await;
    assert_eq!(world.asked().await.body, body(3000));
}

#[actix::test]
async fn a_damaged_set_is_given_up_and_told_once() {
    let mut world = World::new(Config::default());
    let mut pieces = world.cut(&body(3000), TWO_AND_ONE);
    pieces[1][HEADER_LEN] ^= 1;
    let keys = world.fragments(&pieces[..2]).await;
    assert_eq!(status(&world.answer(&keys).await), ExitStatus::BadFragment);
    world.counts("waku_mix_exit_replies_total{outcome=\"surplus\"} 1").await;
    assert_eq!(status(&world.hears(HERE, FRAGMENT_CODEC, &pieces[2]).await), ExitStatus::BadFragment);
    world.finished().await;
    assert!(world.service.try_recv().is_none());
    assert_eq!((world.balance().delivered, world.dropped(DropReason::BadFragment)), (1, 2));
    world.counts("waku_mix_exit_fragments_total{outcome=\"damaged\"} 1").await;
    world.counts("waku_mix_exit_fragments_total{outcome=\"given_up\"} 1").await;
    world.counts("waku_mix_exit_requests_total{outcome=\"bad_fragment\"} 1").await;
}

#[actix::test]
async fn what_is_no_fragment_is_dropped_and_told() {
    let mut world = World::new(Config::default());
    for data in [&b""[..], &[0; HEADER_LEN], &[0xff; 500]] {
        assert_eq!(status(&world.hears(HERE, FRAGMENT_CODEC, data).await), ExitStatus::BadFragment);
    }
    world.finished().await;
    world.counts("waku_mix_exit_fragments_total{outcome=\"unreadable\"} 3").await;
    assert_eq!(world.dropped(DropReason::BadFragment), 3);
}

#[actix::test]
async fn the_request_in_a_set_is_subject_to_the_policy() {
    let mut world = World::new(Config::default());
    let mut rng = StdRng::seed_from_u64(1);
    let codecs = ["/ipfs/id/1.0.0", wakumix_mix::MIX_PROTOCOL, &"c".repeat(127)];
    for codec in codecs {
        let pieces = cut(&mut rng, codec, b"\x00", ShardCounts { data: 1, parity: 0 }, 1000).unwrap();
        assert_eq!(world.hears(HERE, FRAGMENT_CODEC, &pieces[0]).await, b"", "{codec}");
    }
    let pieces = cut(&mut rng, V2_PROTOCOL, b"\x00", ShardCounts { data: 1, parity: 0 }, 1000).unwrap();
    world.fragment(Vec::new(), &pieces[0]).await;
    world.counts("waku_mix_exit_requests_total{outcome=\"no_service\"} 1").await;
    world.counts("waku_mix_exit_requests_total{outcome=\"codec_refused\"} 3").await;
    world.finished().await;
    assert!(world.service.try_recv().is_none());
    assert_eq!((world.balance().delivered, world.dropped(DropReason::PolicyRefused)), (0, 3));
}

#[actix::test]
async fn a_set_that_never_completes_is_forgotten_by_itself() {
    let mut world = World::new(Config::default());
    let pieces = world.cut(&body(3000), TWO_AND_ONE);
    let (surbs, _) = world.surbs(1);
    world.fragment(surbs, &pieces[0]).await;
    world.counts("waku_mix_exit_fragment_sets 1").await;
    tokio::time::sleep(DEFAULT_FRAGMENT_TIMEOUT + Duration::from_secs(1)).await;
    world.counts("waku_mix_exit_fragment_sets 0").await;
    world.counts("waku_mix_exit_fragment_bytes 0").await;
    world.counts("waku_mix_exit_requests_total{outcome=\"fragment_timeout\"} 1").await;
    world.finished().await;
    assert_eq!((world.balance().delivered, world.balance().originated), (1, 0));
}

#[actix::test]
async fn a_flood_of_sets_that_never_complete_leaves_room_for_honest_ones() {
    let mut world = World::new(Config { max_fragment_sets: 8, ..Config::default() });
    let hostile = world.cut(&body(3000), TWO_AND_ONE);
    let honest = world.cut(&body(2000), TWO_AND_ONE);
    for number in 0..50_u8 {
        let mut piece = hostile[0].clone();
        piece[0] = number;
        piece[1] = !hostile[0][1];
        world.fragment(Vec::new(), &piece).await;
        match number {
            40 => world.fragment(Vec::new(), &honest[0]).await,
            45 => world.fragment(Vec::new(), &honest[2]).await,
            _ => {}
        }
    }
    assert_eq!(world.asked().await.body, body(2000));
    world.counts("waku_mix_exit_fragment_sets 8").await;
    world.counts("waku_mix_exit_requests_total{outcome=\"fragments_displaced\"} 42").await;
}

#[actix::test]
async fn a_whole_set_without_a_place_at_work_is_told_to_come_again() {
    let mut world = World::new(Config { max_requests: 1, ..Config::default() });
    world.lightpush(Vec::new(), b"one").await;
    let _asked = world.asked().await;
    let pieces = world.cut(&body(3000), ShardCounts { data: 2, parity: 0 });
    let (surbs, keys) = world.surbs(1);
    world.fragment(Vec::new(), &pieces[0]).await;
    world.fragment(surbs, &pieces[1]).await;
    assert_eq!(status(&world.answer(&keys).await), ExitStatus::Overloaded);
    assert_eq!((world.balance().delivered, world.dropped(DropReason::QueueFull)), (2, 1));
}

#[actix::test]
async fn an_exit_that_is_not_to_reassemble_refuses_fragments_like_any_other_codec() {
    let config = Config { max_fragment_sets: 0, ..Config::default() };
    assert!(!ExitRole::new(config.clone()).unwrap().advertises().reassembles);
    assert!(ExitRole::new(Config::default()).unwrap().advertises().reassembles);
    let mut world = World::new(config);
    let pieces = world.cut(&body(3000), TWO_AND_ONE);
    assert_eq!(world.hears(HERE, FRAGMENT_CODEC, &pieces[0]).await, b"");
    world.counts("waku_mix_exit_requests_total{outcome=\"codec_refused\"} 1").await;
    world.finished().await;
}

#[actix::test]
async fn after_a_panic_sets_are_forgotten_and_new_ones_complete() {
    let mut world = World::new(Config::default());
    let pieces = world.cut(&body(3000), TWO_AND_ONE);
    world.fragment(Vec::new(), &pieces[0]).await;
    world.counts("waku_mix_exit_fragments_total{outcome=\"kept\"} 1").await;
    world.role.actor().inject_panic().await;
    world.counts("waku_mix_actor_restarts_total{actor=\"exit\"} 1").await;
    world.fragment(Vec::new(), &pieces[1]).await;
    world.counts("waku_mix_exit_fragments_total{outcome=\"kept\"} 2").await;
    world.fragment(Vec::new(), &pieces[2]).await;
    assert_eq!(world.asked().await.body, body(3000));
}

proptest! {
    // Each case starts an exit.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_comes_every_packet_has_one_end(
        arrivals in proptest::collection::vec((0..4_usize, 0..3_usize, any::<bool>(), 0..20_000_u64), 1..24),
    ) {
        actix::System::new().block_on(async move {
            let mut world = World::new(Config { max_fragment_sets: 2, ..Config::default() });
            let sets: Vec<_> = (0..4).map(|set| world.cut(&body(100 * set), TWO_AND_ONE)).collect();
            let count = arrivals.len();
            for (set, index, is_damaged, wait) in arrivals {
                let mut piece = sets[set][index].clone();
                if is_damaged {
                    piece[HEADER_LEN] ^= 1;
                }
                world.fragment(Vec::new(), &piece).await;
                // A service that answers at once, so that a place is free for every set.
                if let Some(asked) = world.service.try_recv() {
                    let _ = asked.respond.send(Vec::new());
                }
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            world.finished().await;
            let balance = world.balance();
            let dropped: u64 = balance.dropped.iter().map(|(.., count)| count).sum();
            assert_eq!(balance.delivered + dropped, count as u64);
        });
    }
}
