//! Packets in both directions (`spec/mix-wire.md §2`): `/mix/1.0.0`, and the same under its own protocol id for the
//! second packet format. Each format has its behaviour, streams and buffers; the gate is one for all.
//!
//! | file | idea |
//! |---|---|
//! | `formats` | the formats of a node, each with its behaviour |
//! | `gate` | what a peer may send and have in the node |
//! | `streams` | how many streams a peer may have open |
//! | `queue` | the bounded queue of one peer, second attempts, end |
//! | `outbound` | writes a queue to the one stream to its peer |
//! | `inbound` | reads streams into pooled buffers, with back-pressure |
//! | `handler` | both, on one connection |
//! | `behaviour` | chooses the connection, dials, reopens |
//! | `dials` | dials under way, and when one gives way |
//! | `failures` | where dialling failed a moment ago |
//! | `loss` | packets lost on purpose |

mod behaviour;
mod dials;
mod failures;
mod formats;
mod gate;
mod handler;
mod inbound;
mod loss;
mod outbound;
mod queue;
mod streams;

pub(crate) use behaviour::{Behaviour, cannot_send};
pub(crate) use formats::Protocols;
pub use loss::Loss;
