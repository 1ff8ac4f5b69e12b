//! DNS lists of nodes (EIP-1459, `spec/waku.md §6.4`).

use std::net::IpAddr;

/// The settings of DNS lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// The lists, `enrtree://<key>@<domain>`.
    pub urls: Vec<String>,
    /// The name servers to ask; the system's when empty.
    pub name_servers: Vec<IpAddr>,
}
