//! The layer above the packet: mix messages, paths, delays, replay tags, reply credentials and packet accounting.
//!
//! `wakumix-sphinx` wraps 3968 opaque bytes for three hops. This crate gives those bytes and hops their
//! meaning; every function takes its randomness and its time (a [`Duration`](std::time::Duration) since
//! an epoch of the caller's choice) as arguments, so that a node, a simulator and a browser run the same rules.
//!
//! | module | idea | source |
//! |---|---|---|
//! | [`address`] | 94-byte hop addresses | `spec/mix-wire.md §5.1` |
//! | [`message`] | requests with SURBs, replies, cover | §7.3, §16 |
//! | [`fragment`] | requests cut into shards for packets of their own, and put together | `docs/fragments.md` |
//! | [`capacity`] | how many application bytes fit | §7.3 |
//! | [`path`] | choice of three hops that no operator sees twice | §13 |
//! | [`cover`] | loops to oneself: when, which, and what came back | §16 |
//! | [`delay`] | what a sender encodes, what a node waits | §14 |
//! | [`reliability`] | loss and latency of others, and what they make them weigh | §21 W13 |
//! | [`random`] | draws that are the same on every machine | |
//! | [`replay`] | tags of packets already seen | §15 |
//! | [`reply`] | credentials that open replies | §9, §12 |
//! | [`hop`] | what a mix node decides about a packet: keys, next hop, delay, cover | §10, §21 |
//! | [`exit`] | what an exit decides about a request: policy, fragments, replies | §11, §21 W8 |
//! | [`admission`] | what a node takes from which peer under load | §21 |
//! | [`budget`] | token buckets: how many requests a service answers, of one and of all | |
//! | [`exit_status`] | what an exit says of a request that came to nothing | |
//! | [`outcome`] | what may become of a packet | §10, §11 |
//! | [`ledger`] | packet accounting: nothing gets lost uncounted | |
//! | [`nwaku`] | the same counts under nwaku's metric labels | §18 |
//!
//! # Contract
//!
//! - Bytes from the network never panic; each refusal is an error with a [`DropReason`].
//! - Nothing grows without a bound: [`ReplayTags`], [`ReplyStore`] and [`Reassembly`](fragment::Reassembly) are given theirs and refuse beyond it.
//! - Debug output of messages, packets and credentials shows lengths, never contents.
//!
//! # Non-goals
//!
//! No sockets, no queues, no timers, no persistence.
//! Asking a service and building its reply are the exit role's, holding and sending packets the mixer's.
//!
//! # Example
//!
//! A sender draws a path to an exit and writes a request; what the exit takes out of the packet is the same request.
//!
//! ```
//! use libp2p_identity::{Keypair, secp256k1};
//! use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
//! use wakumix_mix::{Body, HopAddress, MixNode, MixPool, Preference, Request, forward_path, request_capacity};
//! use wakumix_sphinx::{PrivateKey, WireFormat};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A node draws from the operating system; a fixed seed makes the same choices every time.
//! let mut rng = ChaCha20Rng::seed_from_u64(1);
//!
//! let mut nodes = Vec::new();
//! for n in 1..=5_u8 {
//!     let identity = Keypair::from(secp256k1::Keypair::from(secp256k1::SecretKey::try_from_bytes([n; 32])?));
//!     let address = format!("/ip4/10.0.{n}.1/tcp/60000").parse()?;
//!     let address = HopAddress::from_multiaddr(&address, identity.public().to_peer_id())?;
//!     nodes.push(MixNode::new(address, PrivateKey::generate(&mut rng).public()));
//! }
//! let (me, pool) = (nodes[0].clone(), MixPool::new(nodes.into_iter().skip(1)));
//! let exit = pool.nodes()[0].peer();
//!
//! let path = forward_path(&mut rng, &pool, &me, None, &exit, Preference::NONE)?;
//! assert_eq!(path[2].peer(), exit);
//! assert!(path.iter().all(|node| node.peer() != me.peer()));
//!
//! let format = WireFormat::default().format();
//! let request = Request { codec: "/vac/waku/lightpush/3.0.0", surbs: Vec::new(), data: b"a request" };
//! assert!(request.data.len() <= request_capacity(&*format, request.codec, 0).ok_or("the codec is too long")?);
//! let body = request.encode()?; // what PacketFormat::build puts into a packet, and open finds there
//!
//! let Body::Request(found) = Request::decode(&*format, &body)? else { return Err("cover".into()) };
//! assert_eq!(found.data, b"a request");
//! # Ok(())
//! # }
//! ```

pub mod address;
pub mod admission;
pub mod budget;
pub mod capacity;
mod countermeasures;
pub mod cover;
pub mod delay;
pub mod exit;
pub mod exit_status;
pub mod fragment;
pub mod hop;
pub mod ledger;
pub mod message;
pub mod nwaku;
pub mod outcome;
pub mod path;
mod public;
pub mod random;
pub mod reliability;
pub mod replay;
pub mod reply;

#[cfg(test)]
mod testing;

pub use address::{AddressError, HopAddress, Transport};
pub use admission::{Admission, Place, Places};
pub use budget::{Budget, Refill, TokenBucket};
pub use capacity::{reply_capacity, request_capacity};
pub use delay::DelayLaw;
pub use exit_status::ExitStatus;
pub use ledger::{Balance, Ledger, Packet};
pub use message::{Body, MessageError, MixMessage, Request, decode_reply, encode_cover, encode_reply};
pub use outcome::{DropReason, HopKind, Origin, Outcome, Stage};
pub use path::{
    Beside, Family, LastHop, LoopPlace, MIN_POOL, Member, MixNode, MixPool, OwnOperator, Party, PathError, Preference,
    draw_apart, families, forward_path, forward_path_to, loop_path, reply_path,
};
pub use public::{DIAL_PORTS, is_public, is_within};
pub use reliability::{Reliability, Trip};
pub use replay::{ReplayError, ReplayTags};
pub use reply::{Full, GroupId, ReplyStore};
pub use wakumix_sphinx::named_enum;

/// The libp2p protocol on which packets travel; the same for every wire profile (`spec/mix-wire.md §2`).
pub const MIX_PROTOCOL: &str = "/mix/1.0.0";

/// The libp2p protocol on which packets of the second format travel, framed as those of [`MIX_PROTOCOL`]; ours, for closed
/// fleets.
pub const SPHINX_PACKET_PROTOCOL: &str = "/wakumix/sphinx-packet/1.0.0";

/// The codec that marks a packet as cover. It is never negotiated on a stream (`spec/mix-wire.md §16`).
pub const COVER_CODEC: &str = "/mix/cover/1.0.0";
