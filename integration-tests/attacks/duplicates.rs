//! Answers that are counted wrongly: a repeat that the service already has, and two answers to one request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use wakumix_integration_tests::{
    hop::{Conduct, NwakuNode, RELAY_PEERS},
    http::metric,
    net::{Net, all_with, drops, plans, push},
    peer::Muxer,
    run, until, within,
};
use wakumix_mix::Origin;
use wakumix_sphinx::{Profile, Weakness, Weaknesses};

use crate::{Verdict, adversary::Hop, check, client::hop};

const CONFIRMED: &str = "waku_mix_requests_total{outcome=\"confirmed\"}";
const REFUSED: &str = "waku_mix_requests_total{outcome=\"refused\"}";

/// Answers that are kept back until that is over.
#[derive(Default)]
struct Kept {
    count: AtomicU64,
    is_over: AtomicBool,
}

impl Kept {
    fn keeps(&self) -> bool {
        let keeps = !self.is_over.load(Ordering::SeqCst);
        self.count.fetch_add(u64::from(keeps), Ordering::SeqCst);
        keeps
    }
}

/// Hostile hops keep the answer to a message that was published. Its sender asks again; what the service says then, that it
/// has the message, must not become a failure.
async fn lost_answer(weak: Weaknesses) -> Verdict {
    let nodes = all_with(plans(0, 1, 1, 1), "sender.timeout", "50s");
    let net = Net::strangers(nodes.into_iter().map(|plan| plan.weakened(weak)).collect()).await;
    let exit = net.node("exit-1").peer_id();
    let hostile: [Hop; 3] = [hop().await, hop().await, hop().await];
    let pool = hostile.iter().map(Hop::mix_node).chain(net.pool()).collect::<Vec<_>>();
    net.tell_all(&pool, &net.services()).await;
    net.link_relays().await;
    net.ready().await;

    let kept = Arc::new(Kept::default());
    for hop in &hostile {
        let kept = Arc::clone(&kept);
        hop.pass_on(move |passing| passing.from != exit || !kept.keeps());
    }
    let (sender, mut published) = (net.node("sender-1"), net.follow("relay-1").await);
    let relent = async {
        assert_eq!(within(published.recv()).await.unwrap().message.payload, b"once");
        until("all answers so far are kept", async || {
            let answers =
                net.balance("exit-1").originated_by.iter().find(|(origin, _)| *origin == Origin::Reply).unwrap().1;
            answers > 0 && kept.count.load(Ordering::SeqCst) == answers
        })
        .await;
        kept.is_over.store(true, Ordering::SeqCst);
    };
    let (outcome, ()) = futures::join!(push(sender, "once"), relent);
    let answer = outcome.expect("the second answer came");
    assert!(answer.tries > 1, "{answer:?}");

    let page = sender.telemetry().render();
    let count = |series| metric(&page, series).unwrap_or_default();
    assert!(published.try_recv().is_err(), "published once");
    let was_fooled = answer.status != 200;
    let expected = if was_fooled { (0.0, 1.0) } else { (1.0, 0.0) };
    assert_eq!((count(CONFIRMED), count(REFUSED)), expected, "one request is counted once");
    net.end().await;
    was_fooled.into()
}

#[test]
fn a_message_whose_answer_was_kept_back_is_no_failure_when_it_is_repeated() {
    check(Weakness::CountedDuplicate, lost_answer);
}

#[test]
fn an_exit_that_answers_each_request_twice_gains_one_success_for_each() {
    const REQUESTS: u64 = 10;
    run(async {
        // Nwaku's exits answer through every reply block, of which there are two.
        let exit = NwakuNode::start(Profile::default(), Muxer::Yamux, Conduct::KeepsStreams).await;
        let net = Net::strangers(all_with(plans(3, 0, 0, 1), "sender.surbs", "2")).await;
        net.tell_all(&[net.pool(), vec![exit.mix_node()]].concat(), &[exit.service()]).await;
        net.ready().await;
        let sender = net.node("sender-1");
        for number in 0..REQUESTS {
            let answer = push(sender, format!("twice {number}")).await.unwrap();
            assert_eq!((answer.status, answer.relay_peer_count), (200, Some(RELAY_PEERS)));
        }
        let served = exit.log().served.len() as u64;
        assert_eq!(
            net.at_rest_with(&[&exit]).await,
            drops(&[("sender-1", "reply/unknown_reply", 2 * served - REQUESTS)])
        );
        let page = sender.telemetry().render();
        assert_eq!(metric(&page, CONFIRMED), Some(REQUESTS as f64));
        until("nothing waits", async || metric(&sender.telemetry().render(), "mix_surb_creds_active") == Some(0.0))
            .await;
        net.end().await;
    });
}
