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
//! # Example
//!
//! A shell in ten lines: it says who this node is and which nodes there are, asks, and gets packets to build. What a real one does
//! besides is to deliver them, and to hand in replies and the time.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use libp2p_identity::{Keypair, secp256k1};
//! use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
//! use wakumix_client::{
//!     Anonymity, Client, ClientConfig, DirectorySnapshot, Input, Moment, Output, OwnNode, Reachability, RequestId,
//!     ServiceEntry, ServiceKind, lightpush::{Push, PushRules},
//! };
//! use wakumix_mix::{HopAddress, MixNode, Reliability, reliability::ReliabilityLimits};
//! use wakumix_sphinx::{PrivateKey, Weaknesses, WireFormat};
//! use wakumix_waku::WakuMessage;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut rng = ChaCha20Rng::seed_from_u64(1);
//! let mut nodes = Vec::new();
//! for n in 1..=6_u8 {
//!     let peer = Keypair::from(secp256k1::Keypair::from(secp256k1::SecretKey::try_from_bytes([n; 32])?)).public().to_peer_id();
//!     let address = HopAddress::from_multiaddr(&format!("/ip4/10.0.{n}.1/tcp/60000").parse()?, peer)?;
//!     nodes.push(MixNode::new(address, PrivateKey::generate(&mut rng).public()));
//! }
//! let (me, mix_nodes) = nodes.split_first().ok_or("no nodes")?;
//! let own = OwnNode {
//!     peer: me.peer(),
//!     address: Some(me.address.clone()),
//!     key: me.key,
//!     reachability: Reachability::Public,
//! };
//! let service = ServiceEntry {
//!     kind: ServiceKind::LIGHTPUSH,
//!     peer: mix_nodes[0].peer(),
//!     address: Some(mix_nodes[0].address.clone()),
//!     shards: None,
//! };
//! let directory = DirectorySnapshot {
//!     mix_nodes: mix_nodes.to_vec(),
//!     services: vec![service],
//!     ..DirectorySnapshot::default()
//! };
//!
//! let format = WireFormat::default().format();
//! let config = ClientConfig::default();
//! let mut client = Client::new(config, vec![Arc::clone(&format)], own, Duration::ZERO, Weaknesses::NONE);
//!
//! let push = Push {
//!     message: WakuMessage {
//!         payload: b"hello mix".to_vec(),
//!         content_topic: "/app/1/chat/proto".to_owned(),
//!         ..WakuMessage::default()
//!     },
//!     pubsub_topic: Some("/waku/2/rs/66/0".to_owned()),
//!     exit: None,
//!     timeout: None,
//!     anonymity: Anonymity::Required,
//! };
//! let prepared = push.prepare(&mut rng, 1_764_590_000_000_000_000, PushRules::default())?;
//!
//! let mut reliability = Reliability::new(ReliabilityLimits::default());
//! let mut outputs = Vec::new();
//! for input in [
//!     Input::Directory(Arc::new(directory)),
//!     Input::Request(RequestId(1), Box::new(prepared.request)),
//! ] {
//!     let moment = Moment { now: Duration::from_millis(1), rng: &mut rng, reliability: &mut reliability };
//!     client.handle(moment, input, &mut outputs);
//! }
//!
//! let Some(Output::Dispatch(dispatch)) = outputs.pop() else { return Err("nothing to send".into()) };
//! assert!(dispatch.begin());
//! let mut packets = vec![vec![0; format.packet_len()]; dispatch.len()];
//! let keys = dispatch.build(&*format, &mut rng, &mut packets)?;
//! assert_eq!(keys.len(), 1, "one reply block, which opens the answer");
//! assert!(client.next_wake().is_some(), "the deadline of the request");
//! # Ok(())
//! # }
//! ```
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
pub use surbs::{ReplyOpening, SurbStore};
