//! Lightpush: a client hands a message to a relay, which publishes it (`spec/waku.md §4`).
//!
//! One request and one response per stream, each in a [`frame`](crate::frame), then both sides close. The same frames
//! travel through the mixnet.

mod answer;
pub mod refusal;
pub mod text;
pub mod v2;
pub mod v3;

use std::fmt;

pub use answer::AnswerError;

/// Protocol id of version 3 (19/WAKU2-LIGHTPUSH).
pub const V3_PROTOCOL: &str = "/vac/waku/lightpush/3.0.0";

/// Protocol id of the older version 2, mounted beside version 3.
pub const V2_PROTOCOL: &str = "/vac/waku/lightpush/2.0.0-beta1";

/// The request id of a response to a request that was not read.
pub const UNKNOWN_REQUEST_ID: &str = "N/A";

/// Longest request body that a server should read when messages may have `max_message_len` bytes: 64 KiB more for the
/// fields around the message (`spec/waku.md §4.1`).
pub const fn max_request_len(max_message_len: usize) -> usize {
    max_message_len.saturating_add(64 * 1024)
}

/// Longest response body that a client should read, in bytes: a status with texts, no payload.
pub const MAX_RESPONSE_LEN: usize = 64 * 1024;

/// The status of a version 3 response. Unknown codes are carried along: clients treat all but success as a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusCode(pub u32);

impl StatusCode {
    /// Published to at least one relay peer.
    pub const SUCCESS: Self = Self(200);
    /// The request does not decode, or its topic is blank.
    pub const BAD_REQUEST: Self = Self(400);
    /// Defined, but servers answer oversize with [`INVALID_MESSAGE`](Self::INVALID_MESSAGE).
    pub const PAYLOAD_TOO_LARGE: Self = Self(413);
    /// A validator refused the message, or no topic could be found for it.
    pub const INVALID_MESSAGE: Self = Self(420);
    /// The server does not relay this topic. Nwaku's servers never send it.
    pub const UNSUPPORTED_PUBSUB_TOPIC: Self = Self(421);
    /// Over the rate limit; the request was not read.
    pub const TOO_MANY_REQUESTS: Self = Self(429);
    /// The server failed.
    pub const INTERNAL_SERVER_ERROR: Self = Self(500);
    /// Client side: lightpush, or the mixnet under it, cannot be used now.
    pub const SERVICE_NOT_AVAILABLE: Self = Self(503);
    /// No RLN proof could be made, or the one given was refused.
    pub const OUT_OF_RLN_PROOF: Self = Self(504);
    /// No relay peer took the message; also client side when the server cannot be reached.
    pub const NO_PEERS_TO_RELAY: Self = Self(505);

    /// True for 200 only.
    pub fn is_success(self) -> bool {
        self == Self::SUCCESS
    }

    /// The name that nwaku's code gives it, `UNKNOWN` for a code outside the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::SUCCESS => "SUCCESS",
            Self::BAD_REQUEST => "BAD_REQUEST",
            Self::PAYLOAD_TOO_LARGE => "PAYLOAD_TOO_LARGE",
            Self::INVALID_MESSAGE => "INVALID_MESSAGE",
            Self::UNSUPPORTED_PUBSUB_TOPIC => "UNSUPPORTED_PUBSUB_TOPIC",
            Self::TOO_MANY_REQUESTS => "TOO_MANY_REQUESTS",
            Self::INTERNAL_SERVER_ERROR => "INTERNAL_SERVER_ERROR",
            Self::SERVICE_NOT_AVAILABLE => "SERVICE_NOT_AVAILABLE",
            Self::OUT_OF_RLN_PROOF => "OUT_OF_RLN_PROOF",
            Self::NO_PEERS_TO_RELAY => "NO_PEERS_TO_RELAY",
            Self(_) => "UNKNOWN",
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.name())
    }
}
