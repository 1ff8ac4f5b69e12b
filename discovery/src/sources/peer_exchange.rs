//! Peer exchange, as client and as server (`spec/waku.md §6.5`).
//!
//! The client asks the configured peers and connected ones that speak the protocol, one at a time, for as many node records as
//! one answer holds: often while the pool is small, seldom later. The server gives a random sample of the records that
//! discovery knows, as nwaku's servers do: of this cluster, of nodes that this one has reached and of at most a quarter of
//! others.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, join},
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep};
use wakumix_records::peer_exchange::{MAX_RECORDS, MAX_REQUEST, PROTOCOL};
use wakumix_role_api::{InboundRequest, Service};
use wakumix_telemetry::{Counter, Telemetry};

use crate::{
    entry::PeerAddress,
    metrics::Metric,
    peer_report::SourceName,
    source::{Source, SourceContext},
};

mod client;
mod server;

use client::Client;
use server::{LookedAt, Outcome, Server, shareable};

/// Between two looks at what is known: the nodes that it tells of come and go in minutes.
const REFRESH: Duration = Duration::from_secs(60);
/// The same while less is known than one answer holds.
const REFRESH_SOON: Duration = Duration::from_secs(5);

/// The settings of peer exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerExchangeConfig {
    /// Nodes to ask, besides connected ones that answer the protocol.
    pub peers: Vec<PeerAddress>,
}

/// The source.
#[derive(Debug)]
pub(crate) struct PeerExchange {
    config: PeerExchangeConfig,
    cluster: u16,
    server: Arc<SharedServer>,
}

/// The server, which the host's requests reach at any time.
struct SharedServer {
    /// Whole even after a panic: records are replaced all at once.
    server: Mutex<Server>,
    /// There as soon as the source runs.
    requests: OnceLock<[Counter; Outcome::ALL.len()]>,
}

impl PeerExchange {
    pub(crate) fn new(config: PeerExchangeConfig, cluster: u16) -> Self {
        Self::with_rng(config, cluster, rand::make_rng())
    }

    fn with_rng(config: PeerExchangeConfig, cluster: u16, rng: StdRng) -> Self {
        let server = SharedServer { server: Mutex::new(Server::new(rng)), requests: OnceLock::new() };
        Self { config, cluster, server: Arc::new(server) }
    }
}

impl SharedServer {
    fn answer(&self, request: InboundRequest) {
        let (outcome, response) = self.server.lock().answer(request.from, &request.body, Instant::now());
        if let Some(counter) = self.requests.get().and_then(|counters| counters.get(outcome as usize)) {
            counter.increment(1);
        }
        // Whoever asked may be gone.
        let _ = request.respond.send(response.encode());
    }

    fn count(&self, telemetry: &Telemetry) {
        let counter = |outcome: Outcome| {
            let labels = [("protocol", "peer-exchange"), ("outcome", outcome.as_str())];
            telemetry.counter(Metric::DiscoveryRequestsTotal, &labels)
        };
        self.requests.get_or_init(|| Outcome::ALL.map(counter));
    }

    /// Keeps what the server gives true, for as long as the source runs.
    async fn follow(self: Arc<Self>, context: SourceContext, cluster: u16) {
        let (mut rng, mut looked_at): (StdRng, _) = (rand::make_rng(), LookedAt::default());
        loop {
            let known = context.reports.known().await;
            let records = shareable(&known, cluster, &mut looked_at, &mut rng).await;
            let wait = if records.len() < MAX_RECORDS { REFRESH_SOON } else { REFRESH };
            self.server.lock().replace(records);
            sleep(wait).await;
        }
    }
}

impl Source for PeerExchange {
    fn name(&self) -> SourceName {
        SourceName::PeerExchange
    }

    fn services(&self) -> Vec<Service> {
        let server = Arc::clone(&self.server);
        vec![Service::new(PROTOCOL, MAX_REQUEST, move |request| server.answer(request))]
    }

    fn run(&self, context: SourceContext) -> BoxFuture<'static, ()> {
        let client = Client::new(context.clone(), self.config.peers.clone());
        self.server.count(&context.telemetry);
        let follow = Arc::clone(&self.server).follow(context, self.cluster);
        join(client.run(), follow).map(|_| ()).boxed()
    }
}

impl std::fmt::Debug for SharedServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedServer").field("server", &self.server).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
