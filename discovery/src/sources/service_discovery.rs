//! Kademlia service discovery, as advertiser, registrar and discoverer (`spec/waku.md §6.6`).
//!
//! Every node that offers anything is a peer of one DHT and a registrar for any service. A node that mixes registers its
//! signed record for `/mix/1.0.0` with registrars all over the key space, and puts it under its own peer id; a node that
//! looks for mix nodes asks registrars, and walks to random places and asks whom it meets for their records.
//!
//! What nwaku's source says beyond the specification: places are SHA-256 of a key or peer id, that of a service is its
//! key itself; a record is put back unchanged as the sign that it is kept; a registrar counts its own advertisement among
//! those that it returns; records above 1024 bytes are refused. It takes a ticket's first time unchecked; here only a ticket
//! that is good in all respects counts. It ends a look-up at 30 advertisements; here ten registrars must have answered too.
//!
//! | module | what |
//! |---|---|
//! | `position`, `table` | the key space, and the peers that answer in it |
//! | `parameters` | what the specification sets |
//! | `client` | requests, walks, look-ups |
//! | `server` | the answers to others, with `registrar`, `similarity` and `store` |
//! | `advertiser` | registrations and the own record |
//! | `record` | what advertisements tell |

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture, join};
use parking_lot::Mutex;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, sleep},
};
use wakumix_records::service_discovery::{
    Contact, MAX_MESSAGE, MIX_SERVICE, Message, MessageKind, PROTOCOL, service_key,
};
use wakumix_role_api::{DirectoryReader, InboundRequest, Service, host::PeerEvent};

use crate::{
    clock::Now,
    entry::PeerAddress,
    peer_report::SourceName,
    source::{Source, SourceContext},
};

mod advertiser;
mod client;
mod parameters;
mod position;
mod record;
mod registrar;
mod server;
mod similarity;
mod store;
mod table;

use client::Client;
use parameters::{ALPHA, REFRESH, SMALLEST_WAIT};
use record::Reading;
use server::Server;

/// Mix nodes below which the pool is small: four times the least that a path needs (`spec/waku.md §5.4`).
const SMALL_POOL: usize = 16;

/// The settings of Kademlia service discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceDiscoveryConfig {
    /// Nodes to ask first; none in the first node of a net.
    pub bootstrap: Vec<PeerAddress>,
    /// Between two random walks.
    pub random_lookup: Duration,
    /// Between two look-ups of the service.
    pub service_lookup: Duration,
}

/// The source.
#[derive(Debug)]
pub(crate) struct ServiceDiscovery {
    config: ServiceDiscoveryConfig,
    allow_private: bool,
    shared: Arc<Shared>,
}

/// The server, which the host's requests reach at any time; there once the source has been started. It outlives a panic of
/// the actor.
#[derive(Debug, Default)]
struct Shared(OnceLock<(Now, Arc<Mutex<Server>>)>);

impl Shared {
    fn answer(&self, request: InboundRequest) {
        let Some((start, server)) = self.0.get() else { return };
        let at = Instant::now();
        let unix = start.unix + at.saturating_duration_since(start.at).as_secs();
        let mut server = server.lock();
        if let Some(answer) = server.answer(request.from, request.ip, &request.body, at, unix) {
            // Whoever asked may be gone.
            let _ = request.respond.send(answer);
        }
    }
}

impl ServiceDiscovery {
    pub(crate) fn new(config: ServiceDiscoveryConfig, allow_private: bool) -> Self {
        Self { config, allow_private, shared: Arc::default() }
    }

    fn client(&self, context: &SourceContext) -> Client {
        let key = &context.identity;
        let server = || Arc::new(Mutex::new(Server::new(key.clone(), self.allow_private, rand::make_rng())));
        let (start, server) = self.shared.0.get_or_init(|| (Now::read(), server()));
        let contact = |entry: &PeerAddress| Contact { peer: entry.peer, addresses: vec![entry.address.clone()] };
        Client {
            me: key.public().to_peer_id(),
            host: context.host.clone(),
            reports: context.reports.clone(),
            server: Arc::clone(server),
            bootstrap: self.config.bootstrap.iter().map(contact).collect(),
            allow_private: self.allow_private,
            resolver: Arc::clone(&context.resolver),
            start: *start,
        }
    }
}

impl Source for ServiceDiscovery {
    fn name(&self) -> SourceName {
        SourceName::ServiceDiscovery
    }

    fn services(&self) -> Vec<Service> {
        let shared = Arc::clone(&self.shared);
        vec![Service::new(PROTOCOL, MAX_MESSAGE, move |request| shared.answer(request))]
    }

    fn run(&self, context: SourceContext) -> BoxFuture<'static, ()> {
        let client = self.client(&context);
        let ServiceDiscoveryConfig { random_lookup, service_lookup, .. } = self.config;
        async move {
            let directory = &context.directory;
            join!(
                walk_at_random(&client, Pacer::new(directory.clone(), random_lookup)),
                look_up(&client, Pacer::new(directory.clone(), service_lookup)),
                greet(&client, context.reports.peer_events()),
                advertiser::run(client.clone(), context.clone()),
            );
        }
        .boxed()
    }
}

/// How long to wait between two searches of a kind.
struct Pacer {
    directory: DirectoryReader,
    interval: Duration,
    wait: Duration,
}

impl Pacer {
    fn new(directory: DirectoryReader, interval: Duration) -> Self {
        Self { directory, interval, wait: SMALLEST_WAIT }
    }

    async fn pause(&mut self) {
        let is_small = self.directory.snapshot().mix_nodes.len() < SMALL_POOL;
        let wait = if is_small { self.wait.min(self.interval) } else { self.interval };
        self.wait = (2 * self.wait).min(self.interval);
        sleep(wait).await;
    }
}

/// Walks to random places and reads the records of those it meets; asks the long silent whether they are there.
async fn walk_at_random(client: &Client, mut pacer: Pacer) {
    loop {
        let key = client.server.lock().random_key();
        let met = client.walk(&key).await;
        client.reports.looked_up(!met.is_empty());
        let records = client.records_of(&met).await;
        let mut reading = Reading::default();
        for record in records {
            reading.add(&client.me, &[record]);
        }
        report(client, reading).await;
        let silent = client.server.lock().table.silent(REFRESH, ALPHA, Instant::now());
        let ping = Message::new(MessageKind::Ping, Vec::new());
        futures::future::join_all(silent.iter().map(|contact| client.ask(contact, &ping))).await;
        pacer.pause().await;
    }
}

/// Asks registrars for mix nodes.
async fn look_up(client: &Client, mut pacer: Pacer) {
    loop {
        let found = client.look_up(service_key(MIX_SERVICE)).await;
        client.reports.looked_up(found.registrars > 0);
        let mut reading = Reading::default();
        for advertisements in &found.advertisements {
            reading.add(&client.me, advertisements);
        }
        report(client, reading).await;
        pacer.pause().await;
    }
}

async fn report(client: &Client, reading: Reading) {
    for (refusal, count) in reading.refused {
        client.reports.refuse(refusal, count);
    }
    if !reading.nodes.is_empty() {
        // False only when discovery has stopped, and then this future ends too.
        let _ = client.reports.report(reading.nodes.into_values().collect()).await;
    }
}

/// Asks peers that are connected and say that they speak the protocol, so that a node which nobody configured here, the first
/// one of a net, learns of those that come to it.
async fn greet(client: &Client, mut events: Receiver<PeerEvent>) {
    loop {
        match events.recv().await {
            Ok(PeerEvent::Identified { peer, protocols, addresses }) => {
                let speaks = protocols.iter().any(|protocol| protocol == PROTOCOL);
                if speaks && !client.server.lock().table.contains(&peer) {
                    // It is connected, so it can be asked even if none of its addresses is worth telling others.
                    let contact = client.worth_asking(Contact { peer, addresses });
                    let contact = contact.unwrap_or(Contact { peer, addresses: Vec::new() });
                    client.ask(&contact, &Message::new(MessageKind::Ping, Vec::new())).await;
                }
            }
            // Those that were missed are found by walks.
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending::<()>().await,
        }
    }
}

#[cfg(test)]
mod tests;
