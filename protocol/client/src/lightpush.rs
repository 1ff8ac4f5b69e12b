//! Lightpush over the mix client: from a message to a request, and from an answer to a verdict (`spec/waku.md §4`, §5.5).

mod outcome;
mod push;
mod verdict;

pub use outcome::{Answer, Certainty, DeliveryPath, DirectFailure, PushFailure};
pub use push::{AutoShards, DirectPush, Prepared, Push, PushRules, held_bytes};
pub use verdict::PushReader;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 19/WAKU2-LIGHTPUSH.
    #[default]
    V3,
    /// The older one, for services that have no other. Its requests must name or derive a pubsub topic.
    V2,
}
