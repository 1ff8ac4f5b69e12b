//! What nodes tell of themselves and of each other: signed records, and the messages that carry them.
//!
//! Nothing here does I/O, reads a clock or draws randomness; signing takes the key, checking takes the time. Every decoder
//! takes bytes from strangers and answers with an error that names what is wrong, never with a panic, and allocates no
//! more than a small multiple of its input.
//!
//! | module | what | source |
//! |---|---|---|
//! | [`descriptor`] | what a mix node tells of itself, signed | this crate |
//! | [`envelope`] | bytes with a signature of the peer that made them | libp2p signed envelopes |
//! | [`peer_exchange`] | messages that carry node records | `spec/waku.md §6.5` |
//! | [`rendezvous`] | messages that carry the records of registered nodes, and these records | `spec/waku.md §5.3` |

pub mod descriptor;
pub mod envelope;
pub mod peer_exchange;
pub mod rendezvous;
