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
