//! Gossip between relays and peers that are not ours.

use std::collections::HashSet;

use futures::StreamExt as _;
use libp2p::StreamProtocol;
use serde_json::Value;
use wakumix_integration_tests::{
    CLUSTER, TOPIC, eventually,
    http::metric,
    net::{Net, message, plans},
    peer::{Muxer, RawPeer, read_frame, write_frame},
    run, until, within,
};
use wakumix_waku::RELAY_PROTOCOL;

const RELAY: StreamProtocol = StreamProtocol::new(RELAY_PROTOCOL);

/// What the Nim nodes say to each encoding of a message.
const ENCODINGS: &str = include_str!("../../../protocol/waku/vectors/message-encodings.json");

/// A protobuf field of bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], wakumix_waku::frame::encode(content).as_slice()].concat()
}

/// A frame with one message, as gossipsub carries it (`spec/waku.md §2.1`).
fn publication(data: &[u8]) -> Vec<u8> {
    field(2, &[field(2, data), field(4, TOPIC.as_bytes())].concat())
}

/// A peer passes on every encoding of a message that the network's nodes were asked about: what they take reaches another relay, in
/// the bytes in which it came, nothing else does, and the peer is not blamed for either.
#[test]
fn what_the_network_takes_is_passed_on_and_who_passes_on_the_rest_is_not_blamed() {
    run(async {
        let net = Net::start(plans(0, 0, 2, 0)).await;
        let relay = net.node("relay-1");
        let page = || relay.telemetry().render();
        let verdicts = |verdict: &str| {
            metric(&page(), &format!("waku_mix_gossip_messages_total{{verdict=\"{verdict}\"}}")).unwrap_or_default()
        };
        let forwarder = RawPeer::start(Muxer::Yamux, CLUSTER).await;
        let mut streams = forwarder.accept(RELAY);
        forwarder.connect(relay.peer_id(), relay.listen_addresses()[0].clone()).await;
        let mut stream = forwarder.open(relay.peer_id(), RELAY).await;
        let subscription = field(1, &[b"\x08\x01", field(2, TOPIC.as_bytes()).as_slice()].concat());
        write_frame(&mut stream, &subscription).await.unwrap();

        let table: Vec<Value> = serde_json::from_str(ENCODINGS).unwrap();
        let (mut taken, mut refused) = (0.0, 0.0);
        let mut bytes_of_all = HashSet::new();
        for row in &table {
            let bytes = hex::decode(row["bytes"].as_str().unwrap()).unwrap();
            // The same bytes a second time are a duplicate.
            if bytes_of_all.insert(bytes.clone()) {
                *if row["message"].is_null() { &mut refused } else { &mut taken } += 1.0;
                write_frame(&mut stream, &publication(&bytes)).await.unwrap();
            }
        }
        assert!(taken > 100.0 && refused > 100.0, "{taken} taken, {refused} refused");
        eventually(async || {
            let found = ["accept", "ignore", "reject"].map(verdicts);
            if found == [taken, refused, 0.0] { Ok(()) } else { Err(format!("{found:?}, not {taken} and {refused}")) }
        })
        .await;
        let other = net.node("relay-2");
        until("all that is taken is passed on, byte for byte", async || {
            let series = "waku_mix_gossip_messages_total{verdict=\"accept\"}";
            metric(&other.telemetry().render(), series) == Some(taken)
        })
        .await;

        // Below the threshold of publishing, or of staying connected, it would not get this any more.
        let published = relay.relay().unwrap().publish(Some(TOPIC.to_owned()), message("afterwards")).await.unwrap();
        assert_eq!(published.relay_peer_count, Some(2), "{published:?}");
        let mut from_relay = within(streams.next()).await.unwrap().1;
        within(async {
            while let Some(frame) = read_frame(&mut from_relay).await.unwrap() {
                if frame.windows(10).any(|words| words == b"afterwards") {
                    return;
                }
            }
            panic!("the relay has ended the stream");
        })
        .await;
    });
}
