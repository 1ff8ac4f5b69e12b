//! The description texts that clients of nwaku know (`spec/waku.md §4.1`, §4.3). Those that end in a colon are
//! followed by a reason.

/// The request does not decode: 400, with the reason after it.
pub const DECODE_FAILURE: &str = "decode_rpc_failure: ";
/// The pubsub topic is blank: 400.
pub const TOPIC_EMPTY: &str = "topic must not be empty";
/// The content topic cannot be auto-sharded: 420, with the reason after it.
pub const INVALID_CONTENT_TOPIC: &str = "Invalid content-topic:";
/// No topic was given and the cluster does not auto-shard: 420.
pub const TOPIC_REQUIRED: &str = "Pubsub topic must be specified when static sharding is enabled";
/// The same message was published lately: 420.
pub const DUPLICATE: &str = "Dropping already-seen message";
/// Over the rate limit: 429.
pub const TOO_MANY_REQUESTS: &str = "Request rejected due to too many requests";
/// The content topic was assigned to a shard that does not exist: 500, with the reason after it.
pub const AUTO_SHARDING_ERROR: &str = "Auto-sharding error: ";
/// The node does not relay: 500.
pub const NO_RELAY: &str = "no waku relay found";
/// The mixnet cannot be used by this client: 503.
pub const MIX_NOT_AVAILABLE: &str = "Waku lightpush with mix not available";
/// No relay peer for the topic: 505.
pub const NO_PEERS: &str = "No peers for topic, skipping publish";

/// Version 2: published.
pub const V2_OK: &str = "OK";
/// Version 2: no relay peer took the message.
pub const V2_NOT_PUBLISHED: &str = "not_published_to_any_peer";
/// Version 2: there is no request in the envelope.
pub const V2_EMPTY_REQUEST: &str = "empty_request_body_failure";
/// Version 2: over the rate limit.
pub const V2_TOO_MANY_REQUESTS: &str = "TOO_MANY_REQUESTS";

/// The message is larger than this server relays: 420.
pub fn oversize(max: usize) -> String {
    format!("Message size exceeded maximum of {max} bytes")
}
