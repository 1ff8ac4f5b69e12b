//! `/mix/1.0.0`: packets in both directions (`spec/mix-wire.md §2`).
//!
//! | file | idea |
//! |---|---|
//! | `queue` | the bounded queue of one peer, second attempts, settlement |
//! | `outbound` | writes a queue to the one stream to its peer |
//! | `inbound` | reads streams into pooled buffers, with back-pressure |
//! | `handler` | both, on one connection |
//! | `behaviour` | chooses the connection, dials, reopens |

mod behaviour;
mod handler;
mod inbound;
mod outbound;
mod queue;

pub(crate) use behaviour::Behaviour;
pub(crate) use inbound::{Ingress, deliver, ingress_channel};
