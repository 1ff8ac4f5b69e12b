//! The mix client as one state machine: requests in, packets out, replies in, outcomes out.
//!
//! A request is *bytes for a codec at a kind of service*. It goes in one packet, or in fragments of it, through three hops to
//! an exit that serves it, or that passes it on to a service; its answer comes back through single-use reply blocks, three
//! hops as well. A try that is not answered is followed by another over other hops, until the deadline. Every request ends in
//! a typed outcome. [`lightpush`] is one user: it turns a message into a request and an answer into a verdict.
//!
//! # Contract
//!
//! - [`Client::handle`] takes one [`Input`] and appends [`Output`]s; [`Client::next_wake`] says when [`Input::Tick`] is due.
//!   No sockets, clocks, threads or global randomness: the same inputs at the same times, with the same generator, give the
//!   same outputs, on every machine.
//! - Building packets and opening replies is what costs: a [`Dispatch`] and a [`SurbStore`] may be taken to other threads,
//!   and everything else stays on one.
//! - Nothing grows without a bound: open requests and their bytes, requests with a try under way, tries of a request, and
//!   credentials have limits ([`ClientConfig`]), and say so when they are reached.
//! - What comes from the network is read by an [`AnswerReader`]; nothing here panics on it.
//! - A peer is a [`PeerId`](libp2p_identity::PeerId) and a hop its 94 bytes ([`HopAddress`](wakumix_mix::HopAddress)); nothing
//!   here reads or writes addresses as text.
//!
//! | module | idea | source |
//! |---|---|---|
//! | `client` | inputs, outputs, the open requests and their timers | |
//! | `exchange`, `tries` | one request: its tries, when the next one goes out, how it ends | `docs/sending.md` |
//! | `probe` | loops that test nodes | |
//! | `route`, `return_route`, `layout` | which exit, which paths, how many packets | `spec/mix-wire.md §11`, §13, §7.3 |
//! | `dispatch`, `build` | packets to be built and handed over | `spec/mix-wire.md §7`, §9 |
//! | `conditions` | response timeout and loss, from all requests | RFC 6298, RFC 4015 |
//! | `admission`, `window` | how many requests are open, and how many under way | |
//! | `surbs` | what opens the replies | `spec/mix-wire.md §9`, §21 W7 |
//! | `meaning`, [`lightpush`] | what an answer means | `spec/waku.md §4` |
//!
//! # Non-goals
//!
//! Cover traffic (the mixer's), order among requests, storage of what could not be sent.

mod admission;
mod build;
mod client;
mod conditions;
mod countermeasures;
#[cfg(test)]
mod decisions;
mod directory;
mod dispatch;
mod error;
mod exchange;
pub mod guards;
mod layout;
pub mod lightpush;
mod meaning;
mod network;
mod probe;
mod request;
mod return_route;
mod route;
mod surbs;
#[cfg(test)]
mod testing;
mod tries;
mod window;

pub use client::{
    Client, ClientConfig, DEFAULT_FALLBACK_AFTER, DEFAULT_IN_FLIGHT, DEFAULT_MAX_TIMEOUT, DEFAULT_MIN_SUBNETS,
    DEFAULT_PARITY, DEFAULT_QUEUE_BYTES, DEFAULT_SURBS, DEFAULT_TIMEOUT, DEFAULT_WINDOW, Input, Moment, Observation,
    Output, readiness,
};
pub use directory::{DirectorySnapshot, OwnNode, PoolCounts, PoolState, Reachability, ServiceEntry, ServiceKind};
pub use dispatch::{Dispatch, NotDispatched};
pub use error::{ClientError, SendFailure, no_replies};
pub use meaning::{AnswerReader, Meaning};
pub use request::{
    Anonymity, ExchangeAnswer, Exchanged, Exposure, LoopOutcome, LoopRequest, Request, RequestId, TryId,
};
pub use return_route::reply_address;
pub use surbs::{Opening, SurbStore};
