//! Addresses that follow from the configuration and from what the host has bound.

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use wakumix_mix::HopAddress;
use wakumix_role_api::host::{HostAddresses, Reachability};

use crate::config::{Config, addresses::has_port_zero};

/// The addresses to announce, the most preferred first: configured ones, and unless only those count what others have
/// reached this node at, what is bound, and what relays have reserved.
pub(super) fn announced(config: &Config, host: &HostAddresses) -> Vec<Multiaddr> {
    let configured = config.announced_addresses().into_iter().filter(|address| !has_port_zero(address));
    let mut addresses: Vec<Multiaddr> = configured.collect();
    if addresses.is_empty() || !config.ext_multiaddr_only {
        for address in host.external.iter().chain(&host.listen).chain(&host.relayed) {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
    }
    addresses
}

/// Where headers address this node: the first configured address that fits, else one that others have reached, else a
/// relay's if nobody can dial this node, else a bound one, not loopback if possible.
pub(super) fn hop_address(config: &Config, host: &HostAddresses, peer: PeerId) -> Option<HopAddress> {
    let first = |addresses: &[Multiaddr]| {
        addresses.iter().find_map(|address| HopAddress::from_multiaddr(address, peer).ok())
    };
    let relayed = || (host.reachability == Reachability::Private).then(|| first(&host.relayed)).flatten();
    let bound = || {
        let hops = host.listen.iter().filter_map(|address| HopAddress::from_multiaddr(address, peer).ok());
        hops.min_by_key(|hop| hop.ip().is_loopback())
    };
    config.hop_address(peer).or_else(|| first(&host.external)).or_else(relayed).or_else(bound)
}
