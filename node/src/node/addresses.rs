//! Addresses that follow from the configuration and from what the host has bound.

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use wakumix_mix::HopAddress;

use crate::config::{Config, addresses::has_port_zero};

/// The addresses to announce: configured ones, and what is bound unless only the configured ones count.
pub(super) fn announced(config: &Config, listen: &[Multiaddr]) -> Vec<Multiaddr> {
    let mut addresses: Vec<Multiaddr> =
        config.announced_addresses().into_iter().filter(|address| !has_port_zero(address)).collect();
    if addresses.is_empty() || !config.ext_multiaddr_only {
        addresses.extend(listen.iter().filter(|address| !addresses.contains(address)).cloned().collect::<Vec<_>>());
    }
    addresses
}

/// Where headers address this node: the first configured address that fits, else a bound one, not loopback if possible.
pub(super) fn hop_address(config: &Config, listen: &[Multiaddr], peer: PeerId) -> Option<HopAddress> {
    config.hop_address(peer).or_else(|| {
        let mut bound: Vec<HopAddress> =
            listen.iter().filter_map(|address| HopAddress::from_multiaddr(address, peer).ok()).collect();
        bound.sort_by_key(|hop| hop.ip().is_loopback());
        bound.into_iter().next()
    })
}
