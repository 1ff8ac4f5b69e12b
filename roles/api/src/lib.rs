//! What a role is, and how roles talk.
//!
//! A node is a set of roles around one libp2p host. Each role is an actor that shares nothing with the others but messages
//! and one read-only [`Directory`] snapshot. This crate holds what they have in common and nothing of any single one:
//!
//! - [`RoleFactory`], [`Role`] and [`RunningRole`]: the plugin interface; `node` knows roles only through it;
//! - [`Ports`]: the handles of the roles, and what the node itself offers them, found by their type;
//! - [`config`]: keys, written once in the role, and what they are read into;
//! - [`rest`] and [`command`]: routes and subcommands that a role brings;
//! - the messages of every actor ([`host`], [`mixer`], [`exit`], [`sender`], [`relay`], [`directory`]);
//! - [`Address`] and [`Inbox`]: a queue with a bound, a refusal and a waiting-time histogram;
//! - [`Actor`], [`Context`] and [`Supervisor`]: the shell around actix, restart with back-off, stop order;
//! - [`Tasks`]: what runs beside the actors, each with a name and an answer to its panic;
//! - [`Workers`]: where cryptography runs.
//!
//! Nothing of actix shows in a public signature: actix 0.13 neither bounds its mailboxes nor restarts what panics
//! (`docs/ARCHITECTURE.md`, "Actors"), so its addresses stay inside this crate.
//!
//! # Example
//!
//! An actor behind a bounded address. A whole role, with keys, routes and metrics, is in `README.md`.
//!
//! ```
//! use std::time::Duration;
//!
//! use tokio::{runtime::Handle, sync::oneshot, time::Instant};
//! use wakumix_role_api::{Actor, Context, METRICS, Supervisor, Tasks, mailbox};
//! use wakumix_telemetry::Telemetry;
//!
//! enum CounterMessage {
//!     Add(u64),
//!     Total(oneshot::Sender<u64>),
//! }
//!
//! struct Counter(u64);
//!
//! impl Actor for Counter {
//!     type Message = CounterMessage;
//!     const NAME: &'static str = "counter";
//!
//!     fn handle(&mut self, message: CounterMessage, _: &Context<CounterMessage>) {
//!         match message {
//!             CounterMessage::Add(number) => self.0 += number,
//!             // A caller that has gone needs no answer.
//!             CounterMessage::Total(reply) => drop(reply.send(self.0)),
//!         }
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let telemetry = Telemetry::new([&METRICS])?;
//! // Two messages wait at most; a third comes back to its sender, who decides what becomes of it.
//! let (address, inbox) = mailbox("counter", 2, &telemetry);
//! assert!(address.try_send(CounterMessage::Add(2)).is_ok());
//! let (reply, total) = oneshot::channel();
//! assert!(address.try_send(CounterMessage::Total(reply)).is_ok());
//! assert!(address.try_send(CounterMessage::Add(5)).is_err());
//!
//! // The queue is there before the actor and outlives it: after a panic the next instance goes on with what waits.
//! let (tasks, _fatal) = Tasks::new(Handle::current(), telemetry);
//! let supervisor = Supervisor::apart("counter", &tasks)?;
//! let no_tasks = 0;
//! let counter = supervisor.start(address, inbox, no_tasks, || Counter(0));
//! assert_eq!(total.await?, 2);
//! assert!(counter.stop(Instant::now() + Duration::from_secs(5)).await, "it ended by itself in time");
//! # Ok(())
//! # }
//! ```

mod actor;
mod address;
pub mod command;
pub mod config;
pub mod directory;
pub mod exit;
mod formats;
pub mod host;
pub mod metrics;
pub mod mixer;
mod ports;
pub mod relay;
pub mod rest;
mod role;
pub mod sender;
mod service;
mod supervisor;
mod tasks;
mod workers;

pub use actor::{Actor, Context, Intake, Taken, TaskLimit};
pub use address::{Address, Inbox, NoRoom, Receiver, SendError, Slot, mailbox};
pub use config::{ConfigChecks, ConfigError, ConfigProblem};
pub use directory::{Directory, DirectoryPublisher, DirectoryReader};
pub use formats::{Formats, Served};
pub use metrics::METRICS;
pub use ports::{Opening, Ports};
pub use role::{
    Advertisement, LocalNode, Mixing, Role, RoleContext, RoleError, RoleFactory, RoleName, RunningRole, StopReport,
};
pub use service::{InboundRequest, Requester, Service, ServiceConflict, Services};
pub use supervisor::{ActorHandle, Fatal, Supervisor};
pub use tasks::{OnPanic, TaskHandle, TaskState, Tasks};
pub use workers::{FreeWorker, WorkerPanicked, Workers};
