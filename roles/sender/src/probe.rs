//! Probes: loops through every usable mix node and back, which show loss and latency of each.
//!
//! `POST /admin/v1/probe` runs one, `wakumix probe` asks a running node for it.

mod command;
mod route;

pub(crate) use command::command;
pub(crate) use route::{ProbeRuns, route};
