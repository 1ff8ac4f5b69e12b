//! Validation of gossip and what local readers see of it.

use crate::support::{TOPIC, config, finish, joined, message, start, start_with_host_queue};
use tokio::sync::broadcast::error::RecvError;
use wakumix_relay::Config;
use wakumix_role_api::host::{HostMessage, Verdict};
use wakumix_waku::{PubsubTopic, WakuMessage, gossip};

fn payloads(received: &[wakumix_role_api::relay::Received]) -> Vec<String> {
    received.iter().map(|received| String::from_utf8_lossy(&received.message.payload).into_owned()).collect()
}

#[actix::test]
async fn joins_its_shards_before_it_is_ready() {
    let fixture = start(Config { shards: vec![3, 0], ..config() });
    assert_eq!(fixture.running.ready(), Err("2 pubsub topics are not joined yet".into()));
    assert_eq!(fixture.join().await, "/waku/2/rs/2/0");
    finish().await;
    assert_eq!(fixture.running.ready(), Err("one pubsub topic is not joined yet".into()));
    assert_eq!(fixture.join().await, "/waku/2/rs/2/3");
    finish().await;
    assert_eq!(fixture.running.ready(), Ok(()));
}

#[actix::test]
async fn accepts_messages_and_shows_them_to_readers() {
    let fixture = joined(config()).await;
    let mut follower = fixture.relay.follow().await.unwrap();
    let hello = message("hello mix");
    fixture.gossip(TOPIC, hello.encode());
    assert_eq!(fixture.verdict().await, Verdict::Accept);

    let seen = follower.recv().await.unwrap();
    assert_eq!((seen.topic.as_str(), &seen.message), (TOPIC, &hello));
    assert_eq!(seen.hash.to_string(), "0x5fa526b87fd202dd2d75ab1f435f3df914e135001d5218885b6a7522b3d50407");
    let cached = fixture.relay.messages(TOPIC.into()).await.unwrap().unwrap();
    assert_eq!(payloads(&cached), ["hello mix"]);
    let again = fixture.relay.messages(TOPIC.into()).await.unwrap().unwrap();
    assert!(again.is_empty(), "reading empties the cache");
}

#[actix::test]
async fn accepts_the_minimal_spelling_of_a_message() {
    let fixture = joined(config()).await;
    fixture.gossip(TOPIC, vec![0x0a, 0x00, 0x12, 0x00]);
    assert_eq!(fixture.verdict().await, Verdict::Accept);
}

/// A message of `len` bytes.
fn of_len(len: usize) -> Vec<u8> {
    let data = |payload| WakuMessage { payload: vec![0; payload], ..message("") }.encode();
    // The payload's length takes more bytes than that of none.
    let longer = data(len).len() - len;
    data(len - longer)
}

#[actix::test]
async fn drops_what_nobody_can_use_without_blame() {
    let fixture = joined(config()).await;
    let mut follower = fixture.relay.follow().await.unwrap();
    let largest = gossip::MAX_FRAME_LEN - gossip::frame_len(TOPIC, 0) - 4;
    let cases = [
        ("not protobuf", vec![0xff; 10]),
        ("no content topic", vec![0x0a, 0x00]),
        ("one byte more than a frame of the network carries", of_len(largest + 1)),
    ];
    for (case, data) in cases {
        fixture.gossip(TOPIC, data);
        assert_eq!(fixture.verdict().await, Verdict::Ignore, "{case}");
    }
    fixture.gossip(TOPIC, of_len(largest));
    assert_eq!(fixture.verdict().await, Verdict::Accept, "exactly the limit");
    assert_eq!(follower.recv().await.unwrap().message.encode().len(), largest, "nothing else was shown");
}

#[actix::test]
async fn takes_from_gossip_what_is_too_large_to_be_published_here() {
    let fixture = joined(Config { max_message_len: 200, ..config() }).await;
    fixture.gossip(TOPIC, of_len(150_000));
    assert_eq!(fixture.verdict().await, Verdict::Accept);
    let cached = fixture.relay.messages(TOPIC.into()).await.unwrap().unwrap();
    assert_eq!(cached.len(), 1);
}

#[actix::test]
async fn passes_on_a_message_whose_topic_nobody_here_can_read() {
    let fixture = joined(config()).await;
    fixture.gossip(TOPIC, b"\x0a\x01x\x12\x02\xff\xfe".to_vec());
    assert_eq!(fixture.verdict().await, Verdict::Accept);
    assert!(fixture.relay.messages(TOPIC.into()).await.unwrap().unwrap().is_empty());
}

#[actix::test]
async fn rejects_only_topics_that_no_peer_can_subscribe_here() {
    let fixture = joined(config()).await;
    for topic in ["/waku/2/rs/1/0", "/waku/2/default-waku/proto"] {
        fixture.gossip(topic, message("x").encode());
        assert_eq!(fixture.verdict().await, Verdict::Reject, "{topic}");
    }
}

#[actix::test]
async fn ignores_messages_of_a_shard_that_it_does_not_relay() {
    let fixture = joined(config()).await;
    fixture.gossip("/waku/2/rs/2/5", message("x").encode());
    assert_eq!(fixture.verdict().await, Verdict::Ignore);
    assert!(fixture.relay.messages("/waku/2/rs/2/5".into()).await.unwrap().is_none());
}

#[actix::test]
async fn keeps_the_newest_messages_of_a_topic() {
    let fixture = joined(Config { cache_capacity: 2, ..config() }).await;
    for payload in ["1", "2", "3"] {
        fixture.gossip(TOPIC, message(payload).encode());
    }
    let cached = fixture.relay.messages(TOPIC.into()).await.unwrap().unwrap();
    assert_eq!(payloads(&cached), ["2", "3"]);
}

#[actix::test]
async fn tells_a_follower_that_lags_what_it_lost() {
    let fixture = joined(Config { follow_capacity: 2, ..config() }).await;
    let mut follower = fixture.relay.follow().await.unwrap();
    for payload in ["1", "2", "3"] {
        fixture.gossip(TOPIC, message(payload).encode());
    }
    finish().await;
    assert!(matches!(follower.recv().await, Err(RecvError::Lagged(1))));
    assert_eq!(payloads(&[follower.recv().await.unwrap(), follower.recv().await.unwrap()]), ["2", "3"]);
}

#[actix::test]
async fn delivers_verdicts_when_the_host_is_busy() {
    let fixture = start_with_host_queue(Config { shards: vec![0], ..config() }, 1);
    fixture.join().await;
    for _ in 0..5 {
        fixture.gossip(TOPIC, message("x").encode());
    }
    finish().await;
    for _ in 0..5 {
        assert_eq!(fixture.verdict().await, Verdict::Accept);
    }
}

#[actix::test]
async fn subscribes_and_unsubscribes_while_running() {
    let fixture = joined(config()).await;
    let topic = PubsubTopic::new(2, 7).unwrap().to_string();
    let (subscribed, asked) = tokio::join!(fixture.relay.subscribe(topic.clone()), fixture.join());
    assert_eq!((subscribed, asked), (Ok(()), topic.clone()));
    assert_eq!(fixture.relay.subscribe(topic.clone()).await, Ok(()), "a second time changes nothing");
    fixture.gossip(&topic, message("x").encode());
    assert_eq!(fixture.verdict().await, Verdict::Accept);

    assert_eq!(fixture.relay.unsubscribe(topic.clone()).await, Ok(()));
    assert!(matches!(fixture.asked().await, HostMessage::Unsubscribe { topic: left } if left == topic));
    assert!(fixture.relay.messages(topic.clone()).await.unwrap().is_none());
    assert_eq!(fixture.relay.unsubscribe(topic.clone()).await, Ok(()), "what is left already stays so");
    assert!(fixture.asked_nothing().await);
}

#[actix::test]
async fn a_content_topic_has_messages_of_its_own_and_keeps_its_pubsub_topic() {
    let fixture = joined(config()).await;
    let topic = PubsubTopic::new(2, 7).unwrap().to_string();
    let chat = || Some("/app/1/chat/proto".to_owned());
    let other = || Some("/app/1/other/proto".to_owned());
    let (subscribed, asked) = tokio::join!(fixture.relay.subscribe_to(topic.clone(), chat()), fixture.join());
    assert_eq!((subscribed, asked), (Ok(()), topic.clone()));
    assert_eq!(fixture.relay.subscribe_to(topic.clone(), other()).await, Ok(()));
    assert_eq!(
        fixture.relay.messages(topic.clone()).await.unwrap().map(|kept| kept.len()),
        None,
        "not by its own name"
    );
    assert_eq!(fixture.relay.subscribe(topic.clone()).await, Ok(()));

    let of = |content_topic: Option<String>, payload: &str| {
        WakuMessage { content_topic: content_topic.unwrap(), ..message(payload) }.encode()
    };
    fixture.gossip(&topic, of(chat(), "1"));
    fixture.gossip(&topic, of(other(), "2"));
    fixture.gossip(&topic, of(Some("/app/1/third/proto".to_owned()), "3"));
    finish().await;
    let take = async |content_topic| {
        fixture.relay.messages_of(topic.clone(), content_topic).await.unwrap().map(|kept| payloads(&kept))
    };
    assert_eq!(take(chat()).await.unwrap(), ["1"]);
    assert_eq!(take(chat()).await.unwrap(), [""; 0], "reading takes");
    assert_eq!(take(other()).await.unwrap(), ["2"]);
    assert_eq!(take(None).await.unwrap(), ["1", "2", "3"]);
    for _ in 0..3 {
        assert_eq!(fixture.verdict().await, Verdict::Accept);
    }

    // The pubsub topic is left with the last of its readers.
    for content_topic in [None, chat(), chat()] {
        assert_eq!(fixture.relay.unsubscribe_from(topic.clone(), content_topic.clone()).await, Ok(()));
        assert_eq!(take(content_topic).await, None);
    }
    assert!(fixture.asked_nothing().await);
    assert_eq!(fixture.relay.unsubscribe_from(topic.clone(), other()).await, Ok(()));
    assert!(matches!(fixture.asked().await, HostMessage::Unsubscribe { topic: left } if left == topic));
}

#[actix::test]
async fn content_topics_beyond_the_bound_are_refused_until_others_are_left() {
    let fixture = joined(config()).await;
    let content_topic = |number: usize| Some(format!("/app/1/{number}/proto"));
    for number in 0..1024 {
        assert_eq!(fixture.relay.subscribe_to(TOPIC.to_owned(), content_topic(number)).await, Ok(()));
    }
    let refused = fixture.relay.subscribe_to(TOPIC.to_owned(), content_topic(1024)).await.unwrap_err();
    assert!(refused.contains("leave others first"), "{refused}");
    assert_eq!(fixture.relay.subscribe_to(TOPIC.to_owned(), content_topic(7)).await, Ok(()), "a known one");
    assert_eq!(fixture.relay.unsubscribe_from(TOPIC.to_owned(), content_topic(7)).await, Ok(()));
    assert_eq!(fixture.relay.subscribe_to(TOPIC.to_owned(), content_topic(1024)).await, Ok(()));
}

#[actix::test]
async fn refuses_to_subscribe_to_what_it_cannot_relay() {
    let fixture = joined(config()).await;
    for topic in ["/waku/2/rs/1/0", "chat"] {
        let refused = fixture.relay.subscribe(topic.into()).await.unwrap_err();
        assert_eq!(refused, format!("`{topic}` is not a shard topic of this node's cluster"));
    }
    let host = async {
        if let HostMessage::Subscribe { reply, .. } = fixture.asked().await {
            reply.send(false).unwrap();
        }
    };
    let (subscribed, ()) = tokio::join!(fixture.relay.subscribe("/waku/2/rs/2/9".into()), host);
    assert_eq!(subscribed, Err("the host runs no gossipsub".into()));
    assert!(fixture.relay.messages("/waku/2/rs/2/9".into()).await.unwrap().is_none());
    assert_eq!(fixture.running.ready(), Ok(()));
}

#[actix::test]
async fn counts_gossip_by_verdict() {
    let fixture = joined(config()).await;
    fixture.gossip(TOPIC, message("x").encode());
    fixture.gossip(TOPIC, vec![0xff]);
    finish().await;
    let page = fixture.around.context.telemetry.render();
    assert!(page.contains("waku_mix_gossip_messages_total{verdict=\"accept\"} 1"), "{page}");
    assert!(page.contains("waku_mix_gossip_messages_total{verdict=\"ignore\"} 1"));
    assert!(page.contains("waku_mix_gossip_unusable_total{reason=\"undecodable\"} 1"));
    assert!(page.contains("waku_node_messages_total{type=\"/waku/2/rs/2/0\"} 1"));
}
