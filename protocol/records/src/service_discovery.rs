//! Kademlia service discovery: messages, advertisements and tickets (`spec/waku.md §6.6`).
//!
//! The messages are those of the libp2p Kademlia DHT with two more types: REGISTER asks a registrar to keep an
//! advertisement, GET_ADS asks for those that it keeps. An advertisement is a peer record in a signed envelope that lists
//! services; a mix node lists [`MIX_SERVICE`] with its key as data.
//!
//! | module | what |
//! |---|---|
//! | `advertisement` | the record, its signature, the mix key in it |
//! | `message` | requests and responses |
//! | `ticket` | a registrar's promise to somebody who has to wait |

mod advertisement;
mod message;
mod ticket;

use sha2::{Digest, Sha256};

pub use advertisement::{AdvertisedService, AdvertisementError, ExtensiblePeerRecord, MAX_ADVERTISEMENT};
pub use message::{
    Contact, Decoded, Message, MessageKind, Register, RegisterStatus, ServiceDiscoveryMessageError, ValueRecord,
};
pub use ticket::Ticket;

/// The protocol id.
pub const PROTOCOL: &str = "/logos/service-discovery/1.0.0";
/// The longest message, in bytes without its length prefix.
pub const MAX_MESSAGE: usize = 4096;
/// The service id of mix nodes; its data is the mix public key.
pub const MIX_SERVICE: &str = "/mix/1.0.0";

/// Where a service lies in the key space: SHA-256 of its id.
#[must_use]
pub fn service_key(id: &str) -> [u8; 32] {
    Sha256::digest(id.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_keys_are_those_of_the_specification() {
        let mix = "913b5c5dbe691438693215140388ec0c7de80de328bde5bd7fc06f90568cea40";
        assert_eq!(hex::encode(service_key(MIX_SERVICE)), mix);
        let delivery = "e6738033b5d413d13cf58622ceb4ef8f392e8d4eb073b56a5486cb0431b2f5d8";
        assert_eq!(hex::encode(service_key("/logos/delivery")), delivery);
    }
}
