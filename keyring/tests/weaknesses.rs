//! Without a countermeasure the attack that it stops would work; with it, it does not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]
#![cfg(feature = "weaknesses")]

mod support;

use support::*;
use wakumix_sphinx::{Weakness, Weaknesses};

/// Keeps tags, harms the log, restarts; whether the tags are known.
async fn restart_knows_tags(weaknesses: Weaknesses, harm: impl FnOnce(&mut Vec<u8>)) -> bool {
    let mut fixture = Fixture::new();
    fixture.config.weaknesses = weaknesses;
    let (ring, rotation) = fixture.open();
    let key = ring.public();
    keep(&ring.keys()[0], 0..5).await;
    drop((ring, rotation));
    overwrite(&fixture.log(&key), harm);
    let (ring, _rotation) = fixture.open();
    // A key that opens nothing any more takes no packet either.
    ring.public() != key || knows(&ring.keys()[0], 0..5)
}

#[tokio::test]
async fn a_restart_forgets_tags_only_if_it_is_let() {
    assert!(restart_knows_tags(Weaknesses::NONE, |_| ()).await);
    assert!(!restart_knows_tags(Weaknesses::NONE.with(Weakness::ForgottenTags), |_| ()).await);
}

#[tokio::test]
async fn damage_hides_tags_only_if_the_end_is_trusted() {
    let damage = |log: &mut Vec<u8>| log[HEADER_LEN + RECORD_LEN] ^= 1;
    assert!(restart_knows_tags(Weaknesses::NONE, damage).await);
    assert!(!restart_knows_tags(Weaknesses::NONE.with(Weakness::TrustedTail), damage).await);
}

#[tokio::test]
async fn tags_end_before_their_key_only_if_they_are_let() {
    for (weaknesses, known) in [(Weaknesses::NONE, true), (Weaknesses::NONE.with(Weakness::TagsBeforeKey), false)] {
        let mut fixture = Fixture::new();
        fixture.config.weaknesses = weaknesses;
        let (ring, mut rotation) = fixture.open();
        keep(&ring.keys()[0], 0..5).await;
        fixture.set(START + LIFETIME);
        rotation.turn();
        assert_eq!(knows(&ring.keys()[1], 0..5), known);
    }
}
