//! The mix client of a web page: [`wakumix_client`], with the pool and the guards that a page needs around it, behind one call
//! for bytes. The TypeScript package in `browser/` is the shell: it owns sockets, timers and storage, and decides nothing.
//!
//! # Contract
//!
//! - [`Engine::handle`] takes one [`Command`] and returns the [`Event`]s that follow; [`Engine::next_wake`] says when
//!   [`Command::Tick`] is due. Time and randomness come in; nothing here reads a clock or opens a socket.
//! - What comes from the network (packets, descriptors, answers) is read without trust and never panics; what the package
//!   hands in wrongly is answered by [`Event::Refused`].
//! - Everything has a bound: known nodes, dials, packets that wait, requests ([`wakumix_client::ClientConfig`]).
//!
//! | module | what |
//! |---|---|
//! | `engine` | the machine: requests, packets, replies |
//! | `pool` | known mix nodes and what they can be used for |
//! | `contacts` | which peers are dialled |
//! | `state` | what is kept from one visit to the next |
//! | `command`, `event`, `codec` | the boundary to TypeScript |
//! | `exports` | the functions that WebAssembly exports |
//!
//! # Non-goals
//!
//! Forwarding for others: a page cannot be dialled. Transport and signatures of connections: the app's js-libp2p.

mod codec;
mod command;
mod contacts;
mod engine;
mod event;
#[cfg(target_family = "wasm")]
mod exports;
mod pool;
mod state;
#[cfg(test)]
mod tests;

pub use codec::Malformed;
pub use command::{Command, EngineSettings, NamedNode};
pub use engine::{Clock, Engine};
pub use event::{EngineStatus, Event, PushOutcome};
