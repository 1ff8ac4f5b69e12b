//! The libp2p host: the only room with sockets.
//!
//! Roles reach it through `wakumix_role_api::host::HostHandle`; it reaches them through their bounded addresses.
//! It speaks identify, ping, Waku metadata, the mix protocols, the request–response protocols of the roles' services, and
//! gossipsub if there is a relay. `README.md` lists every bound and what happens beyond it.
//!
//! Non-goals: whom to send to (the roles), who exists (discovery), what a packet holds (protocol/sphinx).

mod asked_dials;
mod behaviour;
mod config;
mod countermeasures;
mod dialled;
mod durable;
mod error;
mod frame;
#[cfg(test)]
mod fuzzing;
mod gossip;
mod kept;
mod limits;
mod metadata;
mod metrics;
mod mix;
mod nat;
mod peers;
mod rpc;
mod slots;
mod start;
mod swarm;
mod transport;

pub use config::{
    AutonatTimes, CircuitRelayLimits, ConnectionLimits, GossipLimits, HostConfig, MixLimits, RequestLimits,
};
pub use error::HostError;
pub use metrics::METRICS;
pub use mix::Loss;
pub use nat::{is_public, with_bound_ports};
pub use start::{HostParts, MixPort, RunningHost, start};
