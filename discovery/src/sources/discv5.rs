//! Node Discovery v5 with Waku's protocol id (`spec/waku.md §6.1`).
//!
//! The socket is bound before anything runs, so that a port in use is an error of the start. While it runs, the source
//! walks the network, reports every record that it sees, and answers with the own record, which follows this node.
//!
//! The routing table, sessions and queries belong to the crate and have its bounds: 16 records in each of 256 buckets,
//! 1000 sessions. The crate bans addresses and counts for the whole process, so nodes that share one share that.

mod bootstrap;
mod collect;
mod server;
#[cfg(test)]
mod tests;
mod walk;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, OnceLock},
};

use futures::{FutureExt, future::BoxFuture};
use wakumix_waku::record::Shards;

use crate::{
    finding::SourceName,
    own_record::{Endpoint, OwnRecord},
    source::{PrepareError, Source, SourceContext},
};

pub use bootstrap::{BootstrapError, parse_bootstrap};

/// The settings of discv5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discv5Config {
    /// Where to listen, UDP. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address to tell when it is another than the one bound, for instance behind a port forward.
    pub announce_ip: Option<Ipv4Addr>,
    /// The records of the nodes to ask first, `enr:…`, as [`parse_bootstrap`] takes them.
    pub bootstrap: Vec<String>,
    /// Whether the own record takes the address that others see this node at.
    pub auto_update: bool,
}

impl Discv5Config {
    /// Where discv5 answers once it is bound to `port`.
    #[must_use]
    pub fn endpoint(&self, port: u16) -> Endpoint {
        let bound = Some(self.listen.ip()).filter(|ip| !ip.is_unspecified());
        Endpoint { ip: self.announce_ip.map(IpAddr::V4).or(bound), port, after: 0 }
    }
}

/// The source. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Discv5Source(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Discv5Config,
    /// Cluster and shards of this node: what walks look for.
    wanted: Shards,
    /// Whether loopback and private addresses are those of the net.
    allow_private: bool,
    /// What `prepare` has taken.
    prepared: OnceLock<Prepared>,
}

/// The socket and the record that says where it is. The socket outlives the server, which may be started again, and is read
/// on the runtime that runs the server.
#[derive(Debug)]
struct Prepared {
    socket: UdpSocket,
    own: OwnRecord,
}

impl Discv5Source {
    pub(crate) fn new(config: Discv5Config, wanted: Shards, allow_private: bool) -> Self {
        Self(Arc::new(Shared { config, wanted, allow_private, prepared: OnceLock::new() }))
    }
}

impl Source for Discv5Source {
    fn name(&self) -> SourceName {
        SourceName::Discv5
    }

    fn prepare(&self, own: &OwnRecord) -> Result<(), PrepareError> {
        let listen = self.0.config.listen;
        let failed = |error| PrepareError { source_name: SourceName::Discv5, address: listen, error };
        let socket = bind(listen).map_err(failed)?;
        let port = socket.local_addr().map_err(failed)?.port();
        own.listens(self.0.config.endpoint(port));
        // A second call keeps the first socket, which others have been told of.
        let _ = self.0.prepared.set(Prepared { socket, own: own.clone() });
        Ok(())
    }

    fn run(&self, context: SourceContext) -> BoxFuture<'static, ()> {
        let shared = Arc::clone(&self.0);
        async move {
            let Some(Prepared { socket, own }) = shared.prepared.get() else {
                tracing::error!("discv5 was started without its socket");
                return;
            };
            match socket.try_clone().and_then(tokio::net::UdpSocket::from_std) {
                Ok(socket) => server::run(&shared, Arc::new(socket), own, context).await,
                Err(error) => tracing::error!(%error, "discv5 cannot read its socket; it stays off"),
            }
        }
        .boxed()
    }
}

/// Binds without waiting; a name is never resolved.
fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
