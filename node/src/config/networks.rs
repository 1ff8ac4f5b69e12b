//! Closed networks: the one that a node is in, and those that it serves. The first is never taken for one of the second.

use std::net::Ipv4Addr;

use ipnet::IpNet;
use multiaddr::{Multiaddr, Protocol};
use wakumix_mix::is_within;
use wakumix_role_api::config::Values;

use super::{Config, Loaded};

impl Loaded {
    /// What the operator should know of a node that is at this address; `None` if that was among the
    /// [warnings](Self::warnings) already.
    pub fn closed_network_warning(&self, ip: Ipv4Addr) -> Option<String> {
        unserved(&self.config, &self.values, ip).filter(|warning| !self.warnings.contains(warning))
    }
}

/// What the operator should know of a node that announces these addresses.
pub(super) fn warning(config: &Config, values: &Values, announced: &[Multiaddr]) -> Option<String> {
    let ip = announced.iter().find_map(|address| match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip),
        _ => None,
    });
    unserved(config, values, ip?)
}

/// That a node which passes things on is in a closed network that it does not serve, with the line that changes that.
fn unserved(config: &Config, values: &Values, ip: Ipv4Addr) -> Option<String> {
    let is_closed = ip.is_loopback() || ip.is_private();
    if !is_closed || !config.forwards() || is_within(&config.mix.networks, ip) || is_open(config, values, ip) {
        return None;
    }
    // The network that others share with this address cannot be told from it: the least that is common.
    let network = if ip.is_loopback() {
        "127.0.0.0/8".to_owned()
    } else {
        let [a, b, c, _] = ip.octets();
        format!("{a}.{b}.{c}.0/24")
    };
    Some(format!(
        "this node is at {ip}, in a closed network that it does not serve: packets and requests of strangers reach only \
         nodes of its directory there. If the network is for them, write mix.networks = [\"{network}\"]"
    ))
}

/// Whether both packets and requests are passed on to an address for another reason than `mix.networks`.
fn is_open(config: &Config, values: &Values, ip: Ipv4Addr) -> bool {
    let texts = |key: &str| values.get(key).unwrap_or_default();
    let is = |key: &str, value: &str| texts(key) == [value];
    let networks = || texts("exit.networks").iter().filter_map(|text| text.parse::<IpNet>().ok()).collect::<Vec<_>>();
    let has_exit = config.mixing.exits && !is("exit.forward", "false");
    let exit_is_open = || is("exit.allow-private-addresses", "true") || is_within(&networks(), ip);
    config.mix_allow_all_addresses && (!has_exit || exit_is_open())
}
