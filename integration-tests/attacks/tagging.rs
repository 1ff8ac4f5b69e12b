//! W2: a mark in the payload that says nothing to the user and everything to the adversary.
//!
//! Under AES-CTR a flipped bit of δ is a flipped bit of the plaintext, and the padding stands in front of the body. Whoever holds
//! the first hop marks it there; who sees the request served, or the answer taken, knows that the mark passed unnoticed.
//! Under LIONESS any flipped bit destroys the whole payload. What remains in either case is said by the last test.

use tokio::sync::broadcast::error::TryRecvError;
use wakumix_integration_tests::{
    eventually,
    net::{Net, all_with, plans, push},
    run, within,
};
use wakumix_mix::DropReason;
use wakumix_sphinx::{Opened, Reject, Weakness, Weaknesses, WireFormat};

use crate::{
    Verdict,
    adversary::{Hop, Passing, dropped},
    check,
};

/// How far from the end of the packet the mark is: in the payload, and in front of the bodies of these tests, which have
/// less than 1000 bytes.
const MARK_FROM_END: usize = 1500;
/// The mark.
const MARK: u8 = 0x20;

#[test]
fn marked_padding_of_a_request_does_not_pass_the_exit_under_aes_ctr() {
    check(Weakness::UncheckedPadding, async |weak| request(weak, "aes-ctr/seq", DropReason::Padding).await);
}

#[test]
fn marked_padding_of_an_answer_does_not_pass_the_sender_under_aes_ctr() {
    check(Weakness::UncheckedPadding, async |weak| answer(weak, "aes-ctr/pad", DropReason::Padding).await);
}

#[test]
fn a_mark_destroys_request_and_answer_under_lioness_without_a_look_at_the_padding_too() {
    run(async {
        for weak in [Weaknesses::NONE, Weaknesses::NONE.with(Weakness::UncheckedPadding)] {
            assert_eq!(request(weak, "lioness/pad", DropReason::Integrity).await, Verdict::Failed);
            assert_eq!(answer(weak, "lioness/seq", DropReason::Integrity).await, Verdict::Failed);
            assert_eq!(request(weak, WireFormat::SPHINX_PACKET, DropReason::Integrity).await, Verdict::Failed);
            assert_eq!(answer(weak, WireFormat::SPHINX_PACKET, DropReason::Integrity).await, Verdict::Failed);
        }
    });
}

/// The limit of what an honest node can do: an exit in collusion with the first hop finds the mark under AES-CTR. Under
/// LIONESS it finds a payload that nobody can read, so it has neither message nor destination, and only the moment.
#[test]
fn an_exit_in_collusion_reads_the_mark_under_aes_ctr_and_rubble_under_lioness() {
    run(async {
        let (opened, marked) = colluding_exit("aes-ctr/pad").await;
        assert!(matches!(opened, Ok(Opened::Exit { .. })), "the request is whole");
        assert_eq!(marked[marked.len() - MARK_FROM_END], MARK);
        let (opened, _) = colluding_exit("lioness/pad").await;
        assert_eq!(opened.err(), Some(Reject::Integrity));
    });
}

/// Marks every request at its first hop: does one reach the relays?
async fn request(weak: Weaknesses, profile: &str, reason: DropReason) -> Verdict {
    let (net, hops) = net(weak, profile).await;
    let (sender, exit) = (net.node("sender-1"), net.node("exit-1"));
    let mut relayed = net.follow("relay-1").await;
    let me = sender.peer_id();
    marks(&hops, move |passing| passing.from == me);

    let seen = eventually(async || match relayed.try_recv() {
        Ok(_) => Ok(Verdict::Succeeded),
        Err(TryRecvError::Empty) if dropped(exit, reason) > 0 => Ok(Verdict::Failed),
        Err(error) => Err(format!("neither relayed nor dropped: {error}")),
    });
    let verdict = tokio::select! {
        verdict = seen => verdict,
        // A request that is answered was relayed.
        Ok(_) = push(sender, "marked on its way") => Verdict::Succeeded,
    };
    net.end().await;
    verdict
}

/// Marks every answer at its first hop: does the sender take it?
async fn answer(weak: Weaknesses, profile: &str, reason: DropReason) -> Verdict {
    let (net, hops) = net(weak, profile).await;
    let (sender, exit) = (net.node("sender-1"), net.node("exit-1").peer_id());
    marks(&hops, move |passing| passing.from == exit);

    let refused = eventually(async || match dropped(sender, reason) {
        0 => Err("no answer was dropped".to_owned()),
        _ => Ok(Verdict::Failed),
    });
    let verdict = tokio::select! {
        verdict = refused => verdict,
        Ok(_) = push(sender, "marked on its reply path") => Verdict::Succeeded,
    };
    net.end().await;
    verdict
}

/// Marks a request at its first hop for an exit of the adversary: what this makes of it, and the packet with its layer
/// removed.
async fn colluding_exit(profile: &str) -> (Result<Opened, Reject>, Vec<u8>) {
    let wire: WireFormat = profile.parse().unwrap();
    let net = Net::strangers(all_with(plans(0, 0, 0, 1), "mix.profile", profile)).await;
    let (exit, hops) = (Hop::start(wire).await, hops(wire).await);
    let pool: Vec<_> = hops.iter().chain([&exit]).map(Hop::mix_node).collect();
    net.tell_all(&pool, &[exit.service()]).await;
    net.ready().await;
    let sender = net.node("sender-1");
    let me = sender.peer_id();
    marks(&hops, move |passing| passing.from == me);
    let caught = tokio::select! {
        caught = exit.caught(1) => caught,
        outcome = push(sender, "marked for the exit") => panic!("the exit got nothing: {outcome:?}"),
    };
    let mut packet = caught[0].packet.clone();
    let opened = exit.open(&mut packet);
    net.end().await;
    (opened, packet)
}

/// A sender whose paths lead over hops of the adversary to a whole exit.
async fn net(weak: Weaknesses, profile: &str) -> (Net, Vec<Hop>) {
    let plans = all_with(plans(0, 1, 1, 1), "mix.profile", profile);
    let net = Net::strangers(plans.into_iter().map(|plan| plan.weakened(weak)).collect()).await;
    let hops = hops(profile.parse().unwrap()).await;
    let pool = hops.iter().map(Hop::mix_node).chain(net.pool()).collect::<Vec<_>>();
    net.tell_all(&pool, &net.services()).await;
    net.link_relays().await;
    within(net.ready()).await;
    (net, hops)
}

async fn hops(wire: WireFormat) -> Vec<Hop> {
    futures::future::join_all((0..3).map(|_| Hop::start(wire))).await
}

/// Lets the hops mark these packets and pass on all.
fn marks(hops: &[Hop], these: impl Fn(&Passing) -> bool + Clone + Send + 'static) {
    for hop in hops {
        let these = these.clone();
        hop.pass_on(move |passing| {
            if these(passing) {
                let at = passing.packet.len() - MARK_FROM_END;
                passing.packet[at] ^= MARK;
            }
            true
        });
    }
}
