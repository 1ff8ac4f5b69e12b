//! Node Discovery v5 with Waku's protocol id (`spec/waku.md §6.1`).

use std::net::{Ipv4Addr, SocketAddr};

/// The settings of discv5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discv5Config {
    /// Where to listen, UDP. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address to tell when it is another than the one bound, for instance behind a port forward.
    pub announce_ip: Option<Ipv4Addr>,
    /// The records of the nodes to ask first, `enr:…`.
    pub bootstrap: Vec<String>,
    /// Whether the own record takes the address that others see this node at.
    pub auto_update: bool,
}
