//! An exit that says 200 and publishes nothing.

use std::collections::BTreeSet;

use wakumix_integration_tests::{
    TOPIC,
    hop::{Conduct, NwakuNode},
    net::{Net, all_with, message, plans, push},
    peer::Muxer,
    run, within,
};
use wakumix_sphinx::Profile;

use crate::Verdict;

/// What the honest exit publishes last, so that everything before it has arrived when it does.
const MARKER: &[u8] = b"that was all";

/// Pushes messages until the liar was asked. It succeeds if a sender takes a message for published that nobody has.
async fn throw_away(confirmations: u32) -> Verdict {
    let liar = NwakuNode::start(Profile::default(), Muxer::Yamux, Conduct::KeepsStreams).await;
    let net = Net::strangers(all_with(plans(3, 1, 1, 1), "sender.confirmations", &confirmations.to_string())).await;
    let pool = [net.pool(), vec![liar.mix_node()]].concat();
    net.tell_all(&pool, &[net.services(), vec![liar.service()]].concat()).await;
    net.link_relays().await;
    net.ready().await;
    let (sender, mut published) = (net.node("sender-1"), net.follow("relay-1").await);

    let mut confirmed = BTreeSet::new();
    loop {
        let payload = format!("message {}", confirmed.len()).into_bytes();
        let answer = push(sender, payload.clone()).await.unwrap();
        assert_eq!(answer.kind(), "confirmed");
        confirmed.insert(payload.clone());
        // Each try was answered, and one of them by the liar.
        let was_asked = liar.log().served.iter().any(|message| message.payload == payload);
        if was_asked && answer.tries == confirmations {
            break;
        }
    }
    let honest = net.node("exit-1").relay().expect("a relay");
    within(honest.publish(Some(TOPIC.to_owned()), message(MARKER))).await.expect("the relay runs");
    let mut arrived = BTreeSet::new();
    loop {
        match within(published.recv()).await.unwrap().message.payload {
            payload if payload == MARKER => break,
            payload => arrived.insert(payload),
        };
    }
    net.end().await;
    (!confirmed.is_subset(&arrived)).into()
}

#[test]
fn an_exit_that_throws_a_message_away_is_believed_only_where_no_second_service_is_asked() {
    run(async {
        assert_eq!(throw_away(1).await, Verdict::Succeeded);
        assert_eq!(throw_away(2).await, Verdict::Failed);
    });
}
