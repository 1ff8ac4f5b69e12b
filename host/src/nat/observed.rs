//! How others see this node (identify), and when that is believed.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId, core::ConnectedPoint, multiaddr::Protocol};
use tokio::time::Instant;

use super::{
    quorum::Quorum,
    scope::{self, Scope},
};

/// Peers of different origin that must report an address. Two would be a pair of liars; what more peers would add is
/// shown by AutoNAT better.
const NEEDED: usize = 3;

/// Addresses that one report can stand for: one of each transport, and some spare.
const MAX_PER_REPORT: usize = 8;

/// Reports of peers about this node's address.
#[derive(Debug)]
pub(crate) struct Observed {
    scope: Scope,
    quorum: Quorum<BTreeSet<Multiaddr>>,
}

impl Observed {
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope, quorum: Quorum::new() }
    }

    /// A peer says that it sees this node at `seen` on the connection `endpoint`.
    pub(crate) fn report(
        &mut self,
        peer: PeerId,
        endpoint: &ConnectedPoint,
        seen: &Multiaddr,
        bound: &[Multiaddr],
        now: Instant,
    ) {
        let Some(group) = self.scope.group(peer, endpoint.get_remote_address()) else { return };
        let mut addresses = listening(seen, endpoint, bound);
        addresses.retain(|address| self.scope.takes(address));
        if !addresses.is_empty() {
            self.quorum.cast(group, peer, addresses.into_iter().take(MAX_PER_REPORT).collect(), now);
        }
    }

    /// The addresses that enough peers report; of those with the same transport and port the one with the most reports.
    pub(crate) fn believed(&self, now: Instant) -> Vec<Multiaddr> {
        let mut counts: BTreeMap<&Multiaddr, usize> = BTreeMap::new();
        self.quorum.all(now).flatten().for_each(|address| *counts.entry(address).or_default() += 1);
        let mut best: BTreeMap<Multiaddr, (usize, &Multiaddr)> = BTreeMap::new();
        for (address, count) in counts.into_iter().filter(|(_, count)| *count >= NEEDED) {
            let place = best.entry(without_ip(address)).or_insert((0, address));
            if count > place.0 {
                *place = (count, address);
            }
        }
        best.into_values().map(|(_, address)| address.clone()).collect()
    }
}

/// The addresses at which this node would be dialled if `seen` is right. A peer that dialled this node says where; one
/// that this node dialled sees a port that means nothing, and shows only the IP address in front of the bound ports.
fn listening(seen: &Multiaddr, endpoint: &ConnectedPoint, bound: &[Multiaddr]) -> BTreeSet<Multiaddr> {
    let mut seen = seen.clone();
    if matches!(seen.iter().last(), Some(Protocol::P2p(_))) {
        seen.pop();
    }
    if scope::is_relayed(&seen) || scope::ip(&seen).is_none() {
        return BTreeSet::new();
    }
    match endpoint {
        ConnectedPoint::Listener { local_addr, .. } => {
            let is_same_kind = kinds(&seen).eq(kinds(local_addr));
            is_same_kind.then_some(seen).into_iter().collect()
        }
        ConnectedPoint::Dialer { .. } => bound.iter().filter_map(|address| with_ip_of(address, &seen)).collect(),
    }
}

/// An address with the IP address of another, if both are of one version.
fn with_ip_of(address: &Multiaddr, seen: &Multiaddr) -> Option<Multiaddr> {
    let ip = seen.iter().next()?;
    let is_same_version = scope::ip(address)?.is_ipv4() == scope::ip(seen)?.is_ipv4();
    if is_same_version { address.replace(0, |_| Some(ip)) } else { None }
}

/// The kinds of an address's parts.
fn kinds(address: &Multiaddr) -> impl Iterator<Item = &'static str> {
    address.iter().map(|part| part.tag())
}

/// Transport and port.
pub(super) fn without_ip(address: &Multiaddr) -> Multiaddr {
    address.iter().skip(1).collect()
}

#[cfg(test)]
mod tests {
    use libp2p::core::{Endpoint, transport::PortUse};

    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn dialled(remote: &str) -> ConnectedPoint {
        ConnectedPoint::Dialer { address: address(remote), role_override: Endpoint::Dialer, port_use: PortUse::New }
    }

    fn accepted(local: &str, remote: &str) -> ConnectedPoint {
        ConnectedPoint::Listener { local_addr: address(local), send_back_addr: address(remote) }
    }

    struct Bench {
        observed: Observed,
        bound: Vec<Multiaddr>,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let bound = ["/ip4/10.0.0.5/tcp/60000", "/ip4/10.0.0.5/udp/9000/quic-v1"].map(address).to_vec();
            Self { observed: Observed::new(Scope::new(false)), bound, now: Instant::now() }
        }

        fn report(&mut self, peer: PeerId, endpoint: &ConnectedPoint, seen: &str) {
            self.observed.report(peer, endpoint, &address(seen), &self.bound, self.now);
        }

        fn believed(&self) -> Vec<String> {
            self.observed.believed(self.now).iter().map(ToString::to_string).collect()
        }
    }

    #[test]
    fn believes_an_address_that_three_peers_of_different_networks_see() {
        let mut bench = Bench::new();
        for network in [1, 2] {
            bench.report(PeerId::random(), &dialled(&format!("/ip4/20.{network}.0.1/tcp/1")), "/ip4/8.8.8.8/tcp/49999");
        }
        assert!(bench.believed().is_empty());
        bench.report(PeerId::random(), &dialled("/ip4/20.3.0.1/tcp/1"), "/ip4/8.8.8.8/tcp/50001");
        assert_eq!(bench.believed(), ["/ip4/8.8.8.8/tcp/60000", "/ip4/8.8.8.8/udp/9000/quic-v1"]);
    }

    #[test]
    fn one_peer_cannot_set_the_address_with_many_connections() {
        let (mut bench, peer) = (Bench::new(), PeerId::random());
        for network in 0..100 {
            bench.report(peer, &dialled(&format!("/ip4/20.{network}.0.1/tcp/1")), "/ip4/6.6.6.6/tcp/1");
        }
        assert!(bench.believed().is_empty());
    }

    #[test]
    fn one_network_cannot_set_the_address_with_many_peers() {
        let mut bench = Bench::new();
        for host in 0..100 {
            bench.report(PeerId::random(), &dialled(&format!("/ip4/20.1.0.{host}/tcp/1")), "/ip4/6.6.6.6/tcp/1");
        }
        assert!(bench.believed().is_empty());
    }

    #[test]
    fn of_two_addresses_with_one_port_most_peers_decide() {
        let mut bench = Bench::new();
        for network in 0..7 {
            let seen = if network < 3 { "/ip4/6.6.6.6/tcp/1" } else { "/ip4/8.8.8.8/tcp/1" };
            bench.report(PeerId::random(), &dialled(&format!("/ip4/20.{network}.0.1/tcp/1")), seen);
        }
        assert_eq!(bench.believed(), ["/ip4/8.8.8.8/tcp/60000", "/ip4/8.8.8.8/udp/9000/quic-v1"]);
    }

    #[test]
    fn a_peer_that_dialled_this_node_says_the_port_too() {
        let mut bench = Bench::new();
        for network in 1..=3 {
            let endpoint = accepted("/ip4/10.0.0.5/tcp/60000", &format!("/ip4/20.{network}.0.1/tcp/40000"));
            bench.report(PeerId::random(), &endpoint, "/ip4/8.8.8.8/tcp/443");
        }
        assert_eq!(bench.believed(), ["/ip4/8.8.8.8/tcp/443"]);
    }

    #[test]
    fn private_relayed_and_impossible_reports_do_not_count() {
        let mut bench = Bench::new();
        for network in 1..=5 {
            let public = dialled(&format!("/ip4/20.{network}.0.1/tcp/1"));
            bench.report(PeerId::random(), &public, "/ip4/192.168.1.1/tcp/1");
            bench.report(PeerId::random(), &dialled(&format!("/ip4/10.{network}.0.1/tcp/1")), "/ip4/8.8.8.8/tcp/1");
            let other_transport = accepted("/ip4/10.0.0.5/tcp/60000", &format!("/ip4/20.{network}.0.1/tcp/4"));
            bench.report(PeerId::random(), &other_transport, "/ip4/8.8.8.8/udp/60000/quic-v1");
            bench.report(PeerId::random(), &public, "/dns4/evil.example/tcp/1");
        }
        assert!(bench.believed().is_empty());
    }
}
