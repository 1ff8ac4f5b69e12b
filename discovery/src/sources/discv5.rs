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
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Arc, OnceLock},
};

use futures::{FutureExt, future::BoxFuture};
use socket2::{Domain, Socket, Type};
use wakumix_records::node_record::RecordFields;
use wakumix_waku::record::Shards;

use crate::{
    own_record::{Endpoint, OwnRecord},
    peer_report::SourceName,
    source::{PrepareError, Source, SourceContext},
};

pub use bootstrap::{BootstrapError, parse_bootstrap};

/// The settings of discv5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discv5Config {
    /// Where to listen, UDP. All addresses of IPv6 are those of IPv4 as well. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address of IPv4 to tell when it is another than the one bound, for instance behind a port forward.
    pub announce_ip4: Option<Ipv4Addr>,
    /// The address of IPv6 to tell, likewise.
    pub announce_ip6: Option<Ipv6Addr>,
    /// The records of the nodes to ask first, `enr:…`, as [`parse_bootstrap`] takes them.
    pub bootstrap: Vec<String>,
    /// Whether the own record takes the address that others see this node at.
    pub auto_update: bool,
}

impl Discv5Config {
    /// The families that it listens on: IPv4, IPv6.
    #[must_use]
    pub fn families(&self) -> (bool, bool) {
        let ip = self.listen.ip();
        (ip.is_ipv4() || ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED), ip.is_ipv6())
    }

    /// Where discv5 answers once it is bound to `port`.
    #[must_use]
    pub fn endpoint(&self, port: u16) -> Endpoint {
        let (bound4, bound6) = match self.listen.ip() {
            ip if ip.is_unspecified() => (None, None),
            IpAddr::V4(ip) => (Some(ip), None),
            IpAddr::V6(ip) => (None, Some(ip)),
        };
        let (has_ip4, has_ip6) = self.families();
        Endpoint {
            ip4: self.announce_ip4.or(bound4),
            udp4: has_ip4.then_some(port),
            ip6: self.announce_ip6.or(bound6),
            udp6: has_ip6.then_some(port),
            after: 0,
        }
    }

    /// Whether discv5 of this node can ask the node of a record.
    #[must_use]
    pub fn reaches(&self, fields: &RecordFields) -> bool {
        let (has_ip4, has_ip6) = self.families();
        (has_ip4 && fields.ip4.zip(fields.udp4).is_some()) || (has_ip6 && fields.ip6.zip(fields.udp6).is_some())
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

/// The sockets and the record that says where they are. The sockets outlive the server, which may be started again, and are
/// read on the runtime that runs the server.
#[derive(Debug)]
struct Prepared {
    sockets: Sockets<UdpSocket>,
    own: OwnRecord,
}

/// A socket of each family that discv5 listens on.
#[derive(Debug)]
struct Sockets<T> {
    ip4: Option<T>,
    ip6: Option<T>,
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
        let first = bind(listen).map_err(failed)?;
        let port = first.local_addr().map_err(failed)?.port();
        let sockets = match self.0.config.families() {
            (true, true) => {
                let ip4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
                let second = bind(ip4).map_err(|error| PrepareError { address: ip4, ..failed(error) })?;
                Sockets { ip4: Some(second), ip6: Some(first) }
            }
            (true, false) => Sockets { ip4: Some(first), ip6: None },
            (false, _) => Sockets { ip4: None, ip6: Some(first) },
        };
        own.listens(self.0.config.endpoint(port));
        // A second call keeps the first sockets, whose addresses are published.
        let _ = self.0.prepared.set(Prepared { sockets, own: own.clone() });
        Ok(())
    }

    fn run(&self, context: SourceContext) -> BoxFuture<'static, ()> {
        let shared = Arc::clone(&self.0);
        async move {
            let Some(Prepared { sockets, own }) = shared.prepared.get() else {
                tracing::error!("discv5 was started without its socket");
                return;
            };
            let read = |socket: &Option<UdpSocket>| {
                let socket = socket.as_ref().map(|socket| socket.try_clone().and_then(tokio::net::UdpSocket::from_std));
                socket.transpose().map(|socket| socket.map(Arc::new))
            };
            let read = read(&sockets.ip4).and_then(|ip4| Ok(Sockets { ip4, ip6: read(&sockets.ip6)? }));
            match read {
                Ok(sockets) => server::run(&shared, sockets, own, context).await,
                Err(error) => tracing::error!(%error, "discv5 cannot read its sockets; it stays off"),
            }
        }
        .boxed()
    }
}

/// Binds without waiting. A socket takes one family, so that there can be one of each at a port.
fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
