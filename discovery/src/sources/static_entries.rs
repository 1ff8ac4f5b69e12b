//! The source of what the operator wrote down: entries with addresses at once, entries with names as they resolve.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use wakumix_role_api::directory::ServiceNode;

use crate::{
    config::Config,
    entry::MixNodeEntry,
    finding::{Finding, SourceName},
    source::{Findings, Source, SourceContext},
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
    /// The entries of `config`; names are resolved by the system.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::with_resolver(config, Arc::new(|name, port| resolve(name, port).boxed()))
    }

    /// The same with another resolver.
    #[must_use]
    pub fn with_resolver(config: &Config, resolver: Resolver) -> Self {
        Self {
            mix_nodes: config.mix_nodes.clone(),
            lightpush: merge_addresses(&config.lightpush),
            refresh: config.refresh,
            resolver,
        }
    }

    async fn report(self, findings: Findings) {
        let (at_once, named): (Vec<_>, Vec<_>) = self.mix_nodes.into_iter().partition(|entry| entry.name().is_none());
        let nodes = at_once.iter().filter_map(MixNodeEntry::node).map(Finding::from);
        let found = self.lightpush.into_iter().map(Finding::from).chain(nodes).collect();
        let unresolved = Arc::new(AtomicUsize::new(named.len()));
        let is_running = findings.report(found).await && findings.unresolved(named.len()).await;
        if !is_running {
            return;
        }
        let follow = |entry| Named {
            entry,
            resolver: Arc::clone(&self.resolver),
            refresh: self.refresh,
            unresolved: Arc::clone(&unresolved),
            findings: findings.clone(),
        };
        join_all(named.into_iter().map(|entry| follow(entry).run())).await;
    }
}

impl Source for StaticSource {
    fn name(&self) -> SourceName {
        SourceName::Static
    }

    fn run(&self, context: SourceContext) -> BoxFuture<'static, ()> {
        self.clone().report(context.findings).boxed()
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
    /// Entries of this source that have never been resolved.
    unresolved: Arc<AtomicUsize>,
    findings: Findings,
}

impl Named {
    async fn run(self) {
        let mut back_off = FIRST_BACK_OFF;
        let mut is_known = false;
        loop {
            let wait = match self.resolve().await {
                Ok(ip) => {
                    if !self.report(ip, is_known).await {
                        return;
                    }
                    is_known = true;
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

    /// False when discovery has stopped.
    async fn report(&self, ip: Ipv4Addr, is_known: bool) -> bool {
        // An entry that parsed has an address wherever its name points.
        let found = self.entry.node_at(ip).map(Finding::from).into_iter().collect();
        if !self.findings.report(found).await {
            return false;
        }
        if is_known {
            return true;
        }
        let left = self.unresolved.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        self.findings.unresolved(left).await
    }
}

/// Asks the system's resolver, on a thread of its own.
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
