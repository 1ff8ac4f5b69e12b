//! What an exit decides about one request (`spec/mix-wire.md §11`, §21 W8).
//!
//! ```text
//! body ─> read ─┬─> cover: counted and forgotten
//!               └─> request ─┬─> fragment: FragmentSets, until the set is whole
//!                            └─> ExitPolicy: a service of this node, a known one, one at an address
//!                                  │ answer, or an ExitStatus
//!                                  └─> fit, first_hop: a reply through reply blocks, two answers or one refusal
//! ```
//!
//! An exit knows what is asked and never by which sender. Every rule here is a function of its arguments.
//!
//! Non-goals: asking services, building replies, limits on the requests at work. How a protocol says that a request came to
//! nothing is the protocol's own (`wakumix_waku::lightpush::refusal`).

mod fragments;
mod incoming;
mod policy;
mod reply;
#[cfg(test)]
mod tests;

use wakumix_sphinx::{ADDRESS_LEN, AddressBytes};

pub use fragments::{FragmentOutcome, FragmentRefusal, FragmentSets};
pub use incoming::{ExitRequest, Incoming, read};
pub use policy::{ExitPolicy, ExitTarget, PolicyContext};
pub use reply::{DEFAULT_MAX_ANSWERS, FirstHopError, ReplyContent, first_hop, fit};

/// The destination of a request that the exit is to serve itself (§5.1).
pub const HERE: AddressBytes = [0; ADDRESS_LEN];
