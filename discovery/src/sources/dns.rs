//! DNS lists of nodes (EIP-1459, `spec/waku.md §6.4`).
//!
//! Each list is walked from its signed root, at once and then every half hour; when its root cannot be had, again after 30 s
//! and then less and less often. What its records tell is reported like the records of every other source; discv5 takes its
//! bootstrap records from there. Lists that a list links to are walked too, those that they link to are not.

use std::{net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use tokio::time::sleep;
use wakumix_records::dns_tree::TreeUrl;

use crate::{
    peer_report::SourceName,
    source::{PeerReports, Source, SourceContext},
};

mod txt;
mod walk;

use txt::{NameServers, Txt};
use walk::Walker;

/// Between two walks of a list. Lists change in hours, and a walk of a large one costs thousands of questions.
const REFRESH: Duration = Duration::from_secs(30 * 60);
/// The wait after the first failure; it doubles up to [`REFRESH`].
const FIRST_RETRY: Duration = Duration::from_secs(30);
/// Where a name server listens.
const DNS_PORT: u16 = 53;

/// The settings of DNS lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// The lists, `enrtree://<key>@<domain>`.
    pub urls: Vec<String>,
    /// The name servers to ask; the system's when empty.
    pub name_servers: Vec<IpAddr>,
}

/// The source.
pub(crate) struct Dns {
    urls: Vec<String>,
    txt: Arc<dyn Txt>,
}

impl Dns {
    pub(crate) fn new(config: DnsConfig) -> Self {
        let servers = config.name_servers.iter().map(|ip| SocketAddr::new(*ip, DNS_PORT)).collect();
        Self { urls: config.urls, txt: Arc::new(NameServers::new(servers)) }
    }
}

impl Source for Dns {
    fn name(&self) -> SourceName {
        SourceName::Dns
    }

    fn run(&self, context: SourceContext) -> BoxFuture<'static, ()> {
        let reports = context.reports;
        let follow = |url: &String| follow(url.clone(), Walker::new(Arc::clone(&self.txt)), reports.clone());
        join_all(self.urls.iter().map(follow)).map(drop).boxed()
    }
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// Walks one list again and again, until discovery stops.
async fn follow(url: String, mut walker: Walker, reports: PeerReports) {
    let list = match url.parse::<TreeUrl>() {
        Ok(list) => list,
        Err(error) => return tracing::warn!(url, %error, "a DNS list is left out; correct its URL"),
    };
    let mut retry = FIRST_RETRY;
    loop {
        let walk = walker.walk(&list).await;
        reports.looked_up(walk.has_root);
        for (refusal, count) in walk.refused {
            reports.refuse(refusal, count);
        }
        if !walk.found.is_empty() && !reports.report(walk.found).await {
            return;
        }
        let wait = if walk.has_root { REFRESH } else { retry };
        retry = if walk.has_root { FIRST_RETRY } else { (2 * retry).min(REFRESH) };
        sleep(wait).await;
    }
}

#[cfg(test)]
mod tests;
