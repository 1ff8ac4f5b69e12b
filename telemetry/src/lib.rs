//! What a node says about itself: metrics, logs and health.
//!
//! Contract:
//! - Every metric name is a variant of [`Metric`]; `telemetry/metrics.md` lists them all and a test keeps it equal.
//! - A [`Telemetry`] belongs to one node. Several nodes in one process have several of them, so nothing here is
//!   installed globally except the logger ([`logging::init`]), of which a process has one.
//! - Labels are small closed sets. A peer, an address, a content topic, a tag or a request id never becomes one.
//!
//! Non-goals: collecting. Whoever owns a number either keeps a handle and counts, or registers a refresher with
//! [`Telemetry::on_scrape`].
//!
//! ```
//! use wakumix_telemetry::{Metric, Telemetry};
//!
//! let telemetry = Telemetry::new();
//! let dials = telemetry.counter(Metric::DialsTotal, &[("outcome", "connected")]);
//! dials.increment(1);
//! assert!(telemetry.render().contains("waku_mix_dials_total{outcome=\"connected\"} 1"));
//! ```

pub mod health;
mod histogram;
pub mod logging;
mod metric;
mod page;
mod recorder;

pub use metric::{Description, Kind, Metric, Unit, inventory};
pub use metrics::{Counter, Gauge, Histogram};
pub use recorder::{CONTENT_TYPE, Telemetry};
