//! Waku rendezvous: registers with rendezvous points, asks them, and is one (`spec/waku.md §5.3`).
//!
//! As nwaku's nodes do, this one talks to one random point every 10 s or so: it registers there with the shortest time
//! to live if it mixes, and asks for 12 records of mix nodes of its cluster. The namespace of all nodes, `rs/<cluster>`, is
//! served but not asked: its records tell no capability, so nothing could be done with them.
//!
//! What nwaku's source says beyond the specification: points take times to live from 60 s to 72 h, and their registrations
//! are told oldest first, so that without the cookie of the last answer a reader is told the same ones again; readers leave out
//! records without a time to live; nodes that do not mix register among mix nodes with an empty key.

use std::sync::{Arc, OnceLock};

use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use tokio::time::Instant;
use wakumix_records::rendezvous::{MAX_REQUEST, PROTOCOL};
use wakumix_role_api::{InboundRequest, Service};
use wakumix_telemetry::Telemetry;

use crate::{
    peer_report::SourceName,
    source::{Source, SourceContext},
};

mod client;
mod metrics;
mod point;
mod registrations;

use client::Client;
use metrics::Metrics;
use point::Point;

/// The source.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    cluster: u16,
    point: Arc<SharedPoint>,
}

/// The point, which the host's requests reach at any time.
#[derive(Debug)]
struct SharedPoint {
    /// Whole even after a panic: each change is one insertion or removal.
    point: Mutex<Point>,
    /// There as soon as the source runs.
    metrics: OnceLock<Metrics>,
}

impl Rendezvous {
    pub(crate) fn new(cluster: u16) -> Self {
        Self::with_rng(cluster, rand::make_rng())
    }

    fn with_rng(cluster: u16, rng: StdRng) -> Self {
        let point = SharedPoint { point: Mutex::new(Point::new(cluster, rng)), metrics: OnceLock::new() };
        Self { cluster, point: Arc::new(point) }
    }
}

impl SharedPoint {
    fn answer(&self, request: InboundRequest) {
        let (outcome, response) = self.point.lock().answer(request.from, request.ip, &request.body, Instant::now());
        if let Some(metrics) = self.metrics.get() {
            metrics.request(outcome);
        }
        if let Some(response) = response {
            // Whoever asked may be gone.
            let _ = request.respond.send(response.encode());
        }
    }

    fn metrics(&self, telemetry: &Telemetry) -> &Metrics {
        self.metrics.get_or_init(|| Metrics::new(telemetry))
    }
}

impl Source for Rendezvous {
    fn name(&self) -> SourceName {
        SourceName::Rendezvous
    }

    fn services(&self) -> Vec<Service> {
        let point = Arc::clone(&self.point);
        vec![Service::new(PROTOCOL, MAX_REQUEST, move |request| point.answer(request))]
    }

    fn run(&self, context: SourceContext) -> BoxFuture<'static, ()> {
        self.point.metrics(&context.telemetry);
        Client::new(context, self.cluster, Arc::clone(&self.point)).run().boxed()
    }
}

#[cfg(test)]
mod tests;
