//! What a node says about itself: metrics, logs and health.
//!
//! Contract:
//! - Every crate describes the metrics that it records with [`catalogue!`]; a [`Telemetry`] is the union of the catalogues
//!   that it is made of, and no two of them may have the same name. This crate has none of its own.
//! - A [`Telemetry`] belongs to one node. Several nodes in one process have several of them, so nothing here is
//!   installed globally except the logger ([`logging::init`]), of which a process has one.
//! - Labels are small closed sets. A peer, an address, a content topic, a tag or a request id never becomes one.
//!
//! Non-goals: collecting. Whoever owns a number either keeps a handle and counts, or registers a refresher with
//! [`Telemetry::on_scrape`].
//!
//! ```
//! use wakumix_telemetry::{CatalogueError, Telemetry, catalogue};
//!
//! catalogue! {
//!     DialsTotal: "waku_mix_dials_total", Counter, Count, ["outcome"], "Connection attempts, by outcome.";
//! }
//!
//! # fn main() -> Result<(), CatalogueError> {
//! let telemetry = Telemetry::new([&METRICS])?;
//! let dials = telemetry.counter(Metric::DialsTotal, &[("outcome", "connected")]);
//! dials.increment(1);
//! assert!(telemetry.render().contains("waku_mix_dials_total{outcome=\"connected\"} 1"));
//! # Ok(())
//! # }
//! ```

pub mod health;
mod histogram;
pub mod logging;
mod metric;
mod page;
mod recorder;

#[doc(hidden)]
pub use metric::is_variant_of;
pub use metric::{Catalogue, CatalogueError, Description, MetricKind, Unit};
pub use metrics::{Counter, Gauge, Histogram};
pub use recorder::{CONTENT_TYPE, Telemetry};
