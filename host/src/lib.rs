//! The libp2p host: the only crate with libp2p sockets.
//!
//! Roles reach it through `wakumix_role_api::host::HostHandle`; it reaches them through their bounded addresses.
//! It speaks identify, ping, Waku metadata, the mix protocols, the request–response protocols of the roles' services, and
//! gossipsub if there is a relay. `README.md` lists every bound and what happens beyond it.
//!
//! Non-goals: which peer to send to (the roles), which peers exist (discovery), what a packet holds (protocol/sphinx).
//!
//! # Example
//!
//! A host without roles: it listens, identifies itself and answers pings. `HostParts::mix`, `relay` and `services` are where the
//! roles plug in.
//!
//! ```
//! use std::time::Duration;
//!
//! use libp2p::identity::Keypair;
//! use tokio::{runtime::Handle, sync::broadcast, time::Instant};
//! use wakumix_host::{HostConfig, HostParts, METRICS, start};
//! use wakumix_role_api::{self as api, Services, Tasks, host::HostHandle, mailbox};
//! use wakumix_telemetry::Telemetry;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let telemetry = Telemetry::new([&api::METRICS, &METRICS])?;
//! let (address, inbox) = mailbox("host", 64, &telemetry);
//! let (tasks, _fatal) = Tasks::new(Handle::current(), telemetry.clone());
//! let config = HostConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".parse()?], cluster: 66, ..HostConfig::default() };
//! let parts = HostParts {
//!     identity: Keypair::generate_ed25519(),
//!     inbox,
//!     mix: None,
//!     relay: None,
//!     services: Services::default(),
//!     events: broadcast::channel(16).0,
//!     telemetry,
//!     tasks,
//! };
//! let host = start(config, parts).await?;
//! println!("{} listens on {:?}", host.peer(), host.listen_addresses());
//!
//! // What a role holds of it.
//! let handle = HostHandle::new(address);
//! assert!(handle.peers().await.is_empty(), "nobody has connected");
//! host.stop(Instant::now() + Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```

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
