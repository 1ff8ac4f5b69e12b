//! What the countermeasures of this crate prevent: with each of them turned off its attack works.
//!
//! `cargo test -p wakumix-mixer --features weaknesses`

#![cfg(feature = "weaknesses")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod support;

use wakumix_mix::{DropReason, Stage};
use wakumix_mixer::Config;
use wakumix_sphinx::{HEADER_LEN, Weakness, Weaknesses};

use support::{Fixture, Setup};

fn without(weakness: Weakness) -> Setup {
    Setup { weaknesses: Weaknesses::NONE.with(weakness), ..Setup::default() }
}

#[actix::test]
async fn a_damaged_copy_keeps_the_good_packet_out_if_tags_come_before_the_mac() {
    let mut fixture = Fixture::start(without(Weakness::TagsBeforeMac));
    let good = fixture.forward_packet(5);
    let mut bad = good.clone();
    bad[HEADER_LEN - 1] ^= 1;
    fixture.receive(&[bad, good]).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::Mac), 1);
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::Duplicate), 1);
    assert_eq!(fixture.consume_all(), (0, 0, 0));
    fixture.assert_finished();
}

#[actix::test]
async fn a_queue_without_bound_holds_whatever_comes() {
    let setup = without(Weakness::Unbounded);
    let config = Config { max_held: 2, ..setup.config };
    let mut fixture = Fixture::start(Setup { config, ..setup });
    let packets: Vec<_> = (0..50).map(|_| fixture.forward_packet(1000)).collect();
    fixture.receive(&packets).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.consume_all(), (50, 0, 0));
    fixture.assert_finished();
}
