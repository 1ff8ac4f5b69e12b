//! Waku rendezvous (`spec/waku.md §5.3`): nodes register a signed record with a rendezvous point under a namespace, others
//! ask the point for records of that namespace.
//!
//! The messages are those of libp2p rendezvous under a protocol id of Waku's own ([`Request`], [`Response`]). What is
//! registered by mix nodes is Waku's record with their mix key ([`MixRecord`]); libp2p's own record ([`PeerRecord`]) is read
//! as well.

mod message;
mod record;

pub use message::{Page, Query, Refused, Registration, RendezvousMessageError, Request, Response, Status};
pub use record::{MixRecord, PeerRecord, RecordError};

/// The protocol id.
pub const PROTOCOL: &str = "/vac/waku/rendezvous/1.0.0";

/// Longest request that is read, in bytes without its frame; nwaku's points read no more.
pub const MAX_REQUEST: usize = 4096;

/// Longest response that is read, in bytes without its frame: the records of [`PAGE`] requests of the longest kind and what
/// surrounds them. Nwaku's nodes read 4 MiB.
pub const MAX_RESPONSE: usize = 64 * 1024;

/// Records that nodes of nwaku ask for at once.
pub const PAGE: usize = 12;

/// The shortest time to live that points accept and the one that nwaku's nodes ask for, in seconds.
pub const MIN_TTL: u64 = 60;

/// The longest time to live that libp2p knows, in seconds: 72 hours.
pub const MAX_TTL: u64 = 72 * 3600;

/// Where the nodes of a cluster register.
#[must_use]
pub fn cluster_namespace(cluster: u16) -> String {
    format!("rs/{cluster}")
}

/// Where the mix nodes of a cluster register.
#[must_use]
pub fn mix_namespace(cluster: u16) -> String {
    format!("rs/{cluster}/mix")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_name_the_cluster() {
        assert_eq!((cluster_namespace(16).as_str(), mix_namespace(2).as_str()), ("rs/16", "rs/2/mix"));
    }
}
