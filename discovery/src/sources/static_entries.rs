//! The source of what the operator wrote down: entries with addresses at once, entries with names as they resolve.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use wakumix_mix::MixNode;
use wakumix_role_api::directory::ServiceNode;

use crate::{
    entry::MixNodeEntry,
    peer_report::{PeerReport, SourceName},
    source::{PeerReports, Source, SourceContext},
};

/// The wait after the first failure to resolve a name; it doubles up to [`LONGEST_BACK_OFF`].
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// The longest wait between two attempts.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

/// Resolves a name and a port to addresses.
pub type Resolver = Arc<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Reports the entries of the configuration.
#[derive(Clone)]
pub struct StaticSource {
    mix_nodes: Vec<MixNodeEntry>,
    lightpush: Vec<ServiceNode>,
    refresh: Duration,
    resolver: Resolver,
}

impl StaticSource {
    /// These entries; names are resolved by the system and believed for `refresh`.
    #[must_use]
    pub fn new(mix_nodes: Vec<MixNodeEntry>, lightpush: &[ServiceNode], refresh: Duration) -> Self {
        Self { mix_nodes, lightpush: merge_addresses(lightpush), refresh, resolver: system_resolver() }
    }

    /// The same with another resolver.
    #[must_use]
    pub fn with_resolver(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    async fn report(self, reports: PeerReports) {
        let nodes = self.mix_nodes.iter().map(|entry| entry.node().map_or_else(|| nowhere(entry), written));
        let found = self.lightpush.iter().cloned().map(PeerReport::from).chain(nodes).collect();
        if !reports.report(found).await {
            return;
        }
        let named = self.mix_nodes.into_iter().filter(|entry| entry.name().is_some());
        let follow = |entry| Named {
            entry,
            resolver: Arc::clone(&self.resolver),
            refresh: self.refresh,
            reports: reports.clone(),
        };
        join_all(named.map(|entry| follow(entry).run())).await;
    }
}

/// What an entry tells: where the node is and its key, and nothing of what it can do.
fn written(node: MixNode) -> PeerReport {
    PeerReport { formats: None, reassembles: None, ..PeerReport::from(node) }
}

/// What an entry tells whose name is not resolved yet.
fn nowhere(entry: &MixNodeEntry) -> PeerReport {
    PeerReport { mix_key: Some(entry.key()), ..PeerReport::new(entry.peer(), 0) }
}

impl Source for StaticSource {
    fn name(&self) -> SourceName {
        SourceName::Static
    }

    fn run(&self, context: SourceContext) -> BoxFuture<'static, ()> {
        self.clone().report(context.reports).boxed()
    }
}

impl std::fmt::Debug for StaticSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticSource")
            .field("mix_nodes", &self.mix_nodes.len())
            .field("lightpush", &self.lightpush.len())
            .finish_non_exhaustive()
    }
}

/// One entry with a name, followed for as long as the node runs.
struct Named {
    entry: MixNodeEntry,
    resolver: Resolver,
    refresh: Duration,
    reports: PeerReports,
}

impl Named {
    async fn run(self) {
        let mut back_off = FIRST_BACK_OFF;
        loop {
            let wait = match self.resolve().await {
                Ok(ip) => {
                    // An entry that parsed has an address wherever its name points.
                    let found = self.entry.node_at(ip).map(written).into_iter().collect();
                    if !self.reports.report(found).await {
                        return;
                    }
                    back_off = FIRST_BACK_OFF;
                    self.refresh
                }
                Err(error) => {
                    let name = self.entry.name().map(|(name, _)| name).unwrap_or_default();
                    tracing::warn!(name, %error, "the name of a mixnode entry does not resolve; check it, or the resolver");
                    let wait = back_off;
                    back_off = (2 * back_off).min(LONGEST_BACK_OFF);
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn resolve(&self) -> io::Result<Ipv4Addr> {
        let (name, port) = self.entry.name().unwrap_or_default();
        let addresses = (self.resolver)(name.to_owned(), port).await?;
        let first = addresses.iter().find_map(|address| match address {
            IpAddr::V4(ip) => Some(*ip),
            IpAddr::V6(_) => None,
        });
        first.ok_or_else(|| io::Error::other("it has no IPv4 address"))
    }
}

/// The system's resolver.
pub(crate) fn system_resolver() -> Resolver {
    Arc::new(|name, port| resolve(name, port).boxed())
}

/// Asks the system's resolver, on its own thread.
async fn resolve(name: String, port: u16) -> io::Result<Vec<IpAddr>> {
    let addresses = tokio::net::lookup_host((name, port)).await?;
    Ok(addresses.map(|address| address.ip()).collect())
}

/// One record a service, with every address that was written for it, in the order of the first mention.
fn merge_addresses(services: &[ServiceNode]) -> Vec<ServiceNode> {
    let mut merged: Vec<ServiceNode> = Vec::new();
    for service in services {
        match merged.iter_mut().find(|known| known.peer == service.peer) {
            Some(known) => {
                let new = service.addresses.iter().filter(|address| !known.addresses.contains(address));
                let new: Vec<_> = new.cloned().collect();
                known.addresses.extend(new);
            }
            None => merged.push(service.clone()),
        }
    }
    merged
}
