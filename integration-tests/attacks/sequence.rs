//! W1: the exit reads off the sequence field who the sender is.
//!
//! The reference sets the field to H32(peer id) + H32(body ‖ time). The exit has the body and tries the seconds of the last
//! minutes; what is left names the sender among all peers that it knows of.

use std::{
    iter,
    time::{SystemTime, UNIX_EPOCH},
};

use futures::future::join_all;
use libp2p::{PeerId, identity::Keypair};
use sha2::{Digest as _, Sha256};
use wakumix_integration_tests::net::{Net, all_with, plans, push};
use wakumix_sphinx::{Opened, SEQUENCE_LEN, Weakness, Weaknesses, WireFormat};

use crate::{Verdict, adversary::Hop, check};

/// Peers among which the sender is.
const CANDIDATES: usize = 1000;
/// How far back the exit tries, in seconds: more than a test takes.
const WINDOW: u64 = 600;
/// Requests that the exit looks at. By chance a random field fits one candidate in one request with probability
/// 1000 · 600 / 2^32; the sender itself in all of them with 10^-20.
const REQUESTS: usize = 3;

#[test]
fn the_exit_does_not_find_the_sender_in_the_sequence_field_under_aes_ctr() {
    check(Weakness::SenderInSequence, async |weak| attack(weak, "aes-ctr/seq").await);
}

#[test]
fn the_exit_does_not_find_the_sender_in_the_sequence_field_under_lioness() {
    check(Weakness::SenderInSequence, async |weak| attack(weak, "lioness/seq").await);
}

async fn attack(weak: Weaknesses, profile: &str) -> Verdict {
    let wire: WireFormat = profile.parse().unwrap();
    let exit = Hop::start(wire).await;
    let plans = all_with(plans(3, 0, 0, 1), "mix.profile", profile);
    let net = Net::strangers(plans.into_iter().map(|plan| plan.weakened(weak)).collect()).await;
    net.tell_all(&[net.pool(), vec![exit.mix_node()]].concat(), &[exit.service()]).await;
    net.ready().await;
    let sender = net.node("sender-1");

    let pushes = join_all((0..REQUESTS).map(|number| push(sender, format!("message {number}"))));
    let caught = tokio::select! {
        caught = exit.caught(REQUESTS) => caught,
        outcomes = pushes => panic!("the exit got nothing: {outcomes:?}"),
    };
    let others = iter::repeat_with(|| Keypair::generate_secp256k1().public().to_peer_id());
    let candidates: Vec<PeerId> = others.take(CANDIDATES - 1).chain([sender.peer_id()]).collect();
    let mut suspects = candidates;
    for caught in caught {
        let fits = suspected(&exit, caught.packet);
        suspects.retain(|peer| fits(peer));
    }
    let found = suspects == [sender.peer_id()];
    net.end().await;
    found.into()
}

/// What the exit can say of the sender of a packet: whether it may be this peer.
fn suspected(exit: &Hop, mut packet: Vec<u8>) -> impl Fn(&PeerId) -> bool {
    let Ok(Opened::Exit { body, .. }) = exit.open(&mut packet) else { panic!("a request") };
    let field = &packet[body.end..body.end + SEQUENCE_LEN];
    let sequence = u32::from_be_bytes(field.try_into().unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let time = |second: u64| (i64::try_from(second).unwrap() * 1000).to_be_bytes();
    let of_body = |second| first_word(Sha256::new_with_prefix(&packet[body.clone()]).chain_update(time(second)));
    let words: Vec<u32> = (now - WINDOW..=now).map(of_body).collect();
    move |peer| {
        let of_peer = first_word(Sha256::new_with_prefix(peer.to_bytes()));
        words.iter().any(|word| of_peer.wrapping_add(*word) % u32::MAX == sequence)
    }
}

/// H32.
fn first_word(hash: Sha256) -> u32 {
    u32::from_be_bytes(*hash.finalize().first_chunk().unwrap())
}
