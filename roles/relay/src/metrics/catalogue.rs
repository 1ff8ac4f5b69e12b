//! Every metric of the relay but `waku_mix_gossip_messages_total`, which the host records as well: it is in
//! [`wakumix_role_api::metrics`].

use wakumix_telemetry::catalogue;

/// Kilobytes of a Waku message: nwaku's own bounds (`spec/waku.md §7.3`).
const MESSAGE_KB: &[f64] = &[0.0, 1.0, 3.0, 5.0, 15.0, 50.0, 75.0, 100.0, 125.0, 150.0, 500.0, 700.0, 1000.0];

catalogue! {
    GossipUnusableTotal: "waku_mix_gossip_unusable_total", Counter, Count, ["reason"],
        "Gossip messages that no local reader sees, by reason (5); those that are not_text are passed on, the others are not.";
    LightpushResponsesTotal: "waku_mix_lightpush_responses_total", Counter, Count, ["version", "class"],
        "Lightpush responses given as a service, by status class (2 versions, at most 5 classes).";

    // Nwaku's names of a node: `spec/waku.md §7.3`.
    WakuNodeMessagesTotal: "waku_node_messages_total", Counter, Count, ["type"],
        "Messages relayed, by pubsub topic of the shards that this node serves.";
    WakuNodeErrorsTotal: "waku_node_errors_total", Counter, Count, ["type"],
        "Errors of the node, by kind.";
    WakuHistogramMessageSize: "waku_histogram_message_size", Histogram(MESSAGE_KB), Kilobytes, [],
        "Size of relayed messages in kilobytes.";
    WakuServiceRequestsTotal: "waku_service_requests_total", Counter, Count, ["service", "state"],
        "Requests to a service of this node, served or rejected (at most 6 services, 2 states).";
    WakuServiceNetworkBytesTotal: "waku_service_network_bytes_total", Counter, Bytes, ["service", "direction"],
        "Bytes of service protocols (at most 6 services, 2 directions).";
    WakuLightpushV3MessagesTotal: "waku_lightpush_v3_messages_total", Counter, Count, ["type"],
        "Lightpush v3 requests and pushes.";
    WakuLightpushV3ErrorsTotal: "waku_lightpush_v3_errors_total", Counter, Count, ["type"],
        "Failures of lightpush v3, by kind.";
    WakuLightpushMessagesTotal: "waku_lightpush_messages_total", Counter, Count, ["type"],
        "Legacy lightpush requests and pushes.";
    WakuLightpushErrorsTotal: "waku_lightpush_errors_total", Counter, Count, ["type"],
        "Failures of legacy lightpush, by kind.";
}
