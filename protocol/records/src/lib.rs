//! What nodes tell of themselves and of each other: signed records, and the messages that carry them.
//!
//! Nothing here does I/O, reads a clock or draws randomness; signing takes the key, checking takes the time. Every decoder
//! takes bytes from strangers and answers with an error that names what is wrong, never with a panic, and allocates no
//! more than a small multiple of its input.
//!
//! | module | what | source |
//! |---|---|---|
//! | [`descriptor`] | what a mix node tells of itself, signed | this crate |
//! | [`dns_tree`] | lists of nodes in DNS | EIP-1459, `spec/waku.md §6.4` |
//! | [`envelope`] | bytes with a signature of the peer that made them | libp2p signed envelopes |
//! | [`node_record`] | node records with Waku's fields | EIP-778, `spec/waku.md §6.2` |
//! | [`peer_exchange`] | messages that carry node records | `spec/waku.md §6.5` |
//! | [`rendezvous`] | messages that carry the records of registered nodes, and these records | `spec/waku.md §5.3` |
//! | [`service_discovery`] | messages, advertisements and tickets of Kademlia service discovery | `spec/waku.md §6.6` |
//!
//! # Example
//!
//! A mix node signs what it says about itself, and a reader checks it.
//!
//! ```
//! use libp2p_identity::{Keypair, secp256k1};
//! use wakumix_records::descriptor::{Descriptor, DescriptorError, DescriptorLimits};
//! use wakumix_sphinx::{PrivateKey, WireFormat};
//! use wakumix_waku::record::{Capabilities, Shards};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Keypair::from(secp256k1::Keypair::from(secp256k1::SecretKey::try_from_bytes([1; 32])?));
//! let now = 1_764_590_000;
//! let descriptor = Descriptor {
//!     peer: identity.public().to_peer_id(),
//!     issued: now,
//!     expires: now + 3600,
//!     addresses: vec!["/ip4/203.0.113.7/tcp/60000".parse()?],
//!     shards: Shards { cluster: 66, shards: vec![0] },
//!     capabilities: Capabilities::MIX,
//!     mix_key: Some(PrivateKey::generate(&mut rand::rng()).public()),
//!     next_key: None,
//!     profiles: vec![WireFormat::default()],
//!     operator: None,
//!     family: Vec::new(),
//!     limits: DescriptorLimits::default(),
//!     reassembles: true,
//!     is_full: false,
//! };
//! let mut bytes = descriptor.seal(&identity)?;
//! assert_eq!(Descriptor::open(&bytes, now + 60)?, descriptor);
//!
//! // An hour later it is no longer believed, and with one bit changed it never was.
//! assert!(Descriptor::open(&bytes, now + 3601).is_err());
//! bytes[100] ^= 1;
//! assert!(Descriptor::open(&bytes, now + 60).is_err());
//! # Ok(())
//! # }
//! ```

mod countermeasures;
pub mod descriptor;
pub mod dns_tree;
pub mod envelope;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod node_record;
pub mod peer_exchange;
pub mod rendezvous;
pub mod service_discovery;
