//! The source of what an earlier run knew. Nodes that were reached lately are usable at once and checked first; what was
//! told of them stands where its source stands, until that source says something newer.

use std::{path::PathBuf, sync::Arc};

use futures::{FutureExt, future::BoxFuture};

use crate::{
    cache::{CacheFile, Loaded},
    peer_report::{Refusal, SourceName},
    source::{PeerReports, Source, SourceContext},
};

/// Tells what the cache of an earlier run holds.
#[derive(Clone, Debug)]
pub struct CacheSource {
    file: Arc<CacheFile>,
}

impl CacheSource {
    /// The cache at a path, for a cluster.
    #[must_use]
    pub fn new(path: PathBuf, cluster: u16) -> Self {
        Self { file: Arc::new(CacheFile::new(path, cluster)) }
    }
}

impl Source for CacheSource {
    fn name(&self) -> SourceName {
        SourceName::Cache
    }

    fn run(&self, context: SourceContext) -> BoxFuture<'static, ()> {
        report(Arc::clone(&self.file), context.reports).boxed()
    }
}

async fn report(file: Arc<CacheFile>, reports: PeerReports) {
    let path = file.path().display();
    match file.load().await {
        Ok(Loaded::Missing) => {}
        Ok(Loaded::Nodes(read)) => {
            let nodes = read.nodes.len();
            tracing::info!(%path, nodes, skipped = read.skipped, "the directory of an earlier run is used until it is checked");
            if read.skipped > 0 {
                reports.refuse(Refusal::Malformed, read.skipped);
            }
            reports.remember(read.nodes).await;
        }
        Ok(Loaded::SetAside(reason)) => {
            reports.refuse(Refusal::Malformed, 1);
            tracing::warn!(%path, %reason, "the directory of an earlier run cannot be used; the node starts without it");
        }
        Err(error) => {
            tracing::warn!(%path, %error, "the directory of an earlier run cannot be read; the node starts without it");
        }
    }
}
