//! What others found when they dialled this node (AutoNAT), and when that is believed.

use std::{collections::BTreeMap, net::IpAddr};

use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;
use wakumix_role_api::host::Reachability;

use super::{
    observed::without_ip,
    quorum::Quorum,
    scope::{self, Scope},
};

/// Peers of different origin that must agree. AutoNAT 1 carries no proof that the peer dialled at all, so one alone is
/// never enough.
const NEEDED: usize = 2;

/// Answers of peers that were asked to dial this node.
#[derive(Debug)]
pub(crate) struct Verdicts {
    scope: Scope,
    quorum: Quorum<Option<Multiaddr>>,
}

impl Verdicts {
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope, quorum: Quorum::new() }
    }

    /// A peer that is connected at `remote` dialled this node: at the given address with success, or in vain.
    pub(crate) fn answer(&mut self, peer: PeerId, remote: &Multiaddr, dialled: Option<Multiaddr>, now: Instant) {
        let Some(group) = self.scope.group(peer, remote) else { return };
        if dialled.as_ref().is_none_or(|address| self.scope.takes(address) && scope::ip(address).is_some()) {
            self.quorum.cast(group, peer, dialled, now);
        }
    }

    /// What most of them found, if enough of them did.
    pub(crate) fn reachability(&self, now: Instant) -> Reachability {
        let reached = self.quorum.all(now).filter(|observation| observation.is_some()).count();
        let in_vain = self.quorum.all(now).filter(|observation| observation.is_none()).count();
        match (reached, in_vain) {
            _ if reached >= NEEDED && reached > in_vain => Reachability::Public,
            _ if in_vain >= NEEDED && in_vain > reached => Reachability::Private,
            _ => Reachability::Unknown,
        }
    }

    /// The addresses at which they reached this node: those that enough of them name, and those with a bound port at an IP
    /// address that enough of them name, for each names only the first of many that answered.
    pub(crate) fn confirmed(&self, bound: &[Multiaddr], now: Instant) -> Vec<Multiaddr> {
        let mut exact: BTreeMap<&Multiaddr, usize> = BTreeMap::new();
        let mut ips: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for address in self.quorum.all(now).flatten() {
            *exact.entry(address).or_default() += 1;
            scope::ip(address).into_iter().for_each(|ip| *ips.entry(ip).or_default() += 1);
        }
        let is_bound = |address: &Multiaddr| bound.iter().any(|own| without_ip(own) == without_ip(address));
        let at_known_ip = |address: &Multiaddr| {
            scope::ip(address).is_some_and(|ip| ips.get(&ip).is_some_and(|count| *count >= NEEDED))
        };
        let believed =
            exact.iter().filter(|(address, count)| **count >= NEEDED || at_known_ip(address) && is_bound(address));
        believed.map(|(address, _)| (*address).clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn verdicts(answers: &[(u8, Option<&str>)]) -> (Verdicts, Instant) {
        let (mut verdicts, now) = (Verdicts::new(Scope::new(false)), Instant::now());
        for (network, dialled) in answers {
            let remote = address(&format!("/ip4/20.{network}.0.1/tcp/1"));
            verdicts.answer(PeerId::random(), &remote, dialled.map(address), now);
        }
        (verdicts, now)
    }

    const OWN: &str = "/ip4/8.8.8.8/tcp/60000";

    #[test]
    fn one_peer_decides_nothing() {
        for answer in [Some(OWN), None] {
            let (verdicts, now) = verdicts(&[(1, answer), (1, answer), (1, answer)]);
            assert_eq!(verdicts.reachability(now), Reachability::Unknown);
            assert!(verdicts.confirmed(&[], now).is_empty());
        }
    }

    #[test]
    fn two_peers_of_different_networks_decide() {
        let (found, now) = verdicts(&[(1, Some(OWN)), (2, Some(OWN))]);
        assert_eq!(found.reachability(now), Reachability::Public);
        assert_eq!(found.confirmed(&[], now), [address(OWN)]);
        let (found, now) = verdicts(&[(1, None), (2, None), (3, Some(OWN))]);
        assert_eq!(found.reachability(now), Reachability::Private);
    }

    #[test]
    fn a_tie_decides_nothing() {
        let (verdicts, now) = verdicts(&[(1, None), (2, None), (3, Some(OWN)), (4, Some(OWN))]);
        assert_eq!(verdicts.reachability(now), Reachability::Unknown);
    }

    #[test]
    fn a_port_that_one_peer_names_counts_only_if_it_is_bound() {
        let bound = [address("/ip4/10.0.0.5/tcp/60000"), address("/ip4/10.0.0.5/udp/9000/quic-v1")];
        let quic = "/ip4/8.8.8.8/udp/9000/quic-v1";
        let (found, now) = verdicts(&[(1, Some(OWN)), (2, Some(quic)), (3, Some("/ip4/8.8.8.8/tcp/22"))]);
        assert_eq!(found.confirmed(&bound, now), [address(OWN), address(quic)]);
        let (found, now) = verdicts(&[(1, Some(OWN)), (2, Some("/ip4/6.6.6.6/tcp/60000"))]);
        assert!(found.confirmed(&bound, now).is_empty());
    }
}
