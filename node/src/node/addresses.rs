//! Which of the addresses that the configuration names and the host has found this node tells others.

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use wakumix_host::{is_public, with_bound_ports};
use wakumix_mix::HopAddress;
use wakumix_role_api::host::{HostAddresses, Reachability};

use crate::config::Config;

/// The addresses to announce, the most preferred first.
///
/// Configured ones always, and nothing else where they are to be the only ones. Then, of a node that is reached through
/// relays, the relayed ones; of any other, what others have reached it at and what is bound. Private bound addresses are
/// told only in nets that take them, or when there is nothing else to tell: then this node is in its own network. A
/// loopback address means another machine to everybody else, and is told only by a node that is bound to nothing else.
pub(super) fn announced(config: &Config, host: &HostAddresses) -> Vec<Multiaddr> {
    let mut addresses = configured(config, host);
    if !addresses.is_empty() && config.ext_multiaddr_only {
        return addresses;
    }
    let is_usable =
        |address: &&Multiaddr| config.is_for_pages(address) && (config.mix_allow_all_addresses || is_public(address));
    let bound = bound(host);
    let found: Vec<&Multiaddr> = match host.reachability {
        _ if is_relayed(host) => host.relayed.iter().collect(),
        Reachability::Private => Vec::new(),
        Reachability::Public | Reachability::Unknown => {
            host.external.iter().chain(bound.iter().copied().filter(is_usable)).chain(&host.relayed).collect()
        }
    };
    for address in found {
        if !addresses.contains(address) {
            addresses.push(address.clone());
        }
    }
    if addresses.is_empty() { bound.into_iter().cloned().collect() } else { addresses }
}

/// The addresses that the configuration names, with the ports that are bound where it leaves them open.
fn configured(config: &Config, host: &HostAddresses) -> Vec<Multiaddr> {
    with_bound_ports(&config.announced_addresses(), &host.listen)
}

/// Bound addresses, without those of this machine and this link where there is another.
fn bound(host: &HostAddresses) -> Vec<&Multiaddr> {
    // Those of a link mean nothing without the link, which an address does not name.
    let all: Vec<&Multiaddr> = host.listen.iter().filter(|address| !is_of_link(address)).collect();
    let others: Vec<&Multiaddr> = all.iter().copied().filter(|address| !is_here(address)).collect();
    if others.is_empty() { all } else { others }
}

/// Whether an address means something on one link alone.
fn is_of_link(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Ip6(ip)) if ip.is_unicast_link_local())
}

/// Whether an address means something on this machine or link alone.
fn is_here(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback() || ip.is_link_local(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback() || ip.is_unicast_link_local(),
        _ => false,
    }
}

/// Where headers address this node: the first configured address that fits, else that of a relay if it is reached through
/// one, else one that others have reached, else a bound one, public if possible. One of this machine alone is that of a node to
/// which packets come unasked, on a machine without another, or of any in nets that take such; without an address a sender
/// takes its replies over the connections that it has opened.
pub(super) fn hop_address(config: &Config, host: &HostAddresses, peer: PeerId) -> Option<HopAddress> {
    let hops = |addresses: &[Multiaddr]| -> Vec<HopAddress> {
        addresses.iter().filter_map(|address| HopAddress::from_multiaddr(address, peer).ok()).collect()
    };
    let first = |addresses: &[Multiaddr]| hops(addresses).into_iter().next();
    let relayed = || is_relayed(host).then(|| first(&host.relayed)).flatten();
    let is_told = |address: &&Multiaddr| config.forwards() || config.mix_allow_all_addresses || !is_here(address);
    let bound: Vec<Multiaddr> = bound(host).into_iter().filter(is_told).cloned().collect();
    let bound = || hops(&bound).into_iter().min_by_key(|hop| !is_public(&hop.multiaddr()));
    first(&configured(config, host)).or_else(relayed).or_else(|| first(&host.external)).or_else(bound)
}

/// Whether this node is reached through relays: it has their word, and nobody has shown that it can be dialled. What others
/// see of it is then the address of its NAT.
fn is_relayed(host: &HostAddresses) -> bool {
    !host.relayed.is_empty() && host.reachability != Reachability::Public
}

#[cfg(test)]
mod tests {
    use libp2p_identity::Keypair;

    use super::*;
    use crate::config::{Flag, Inputs, load};

    const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/60000";
    const LAN: &str = "/ip4/10.0.0.5/tcp/60000";
    const PUBLIC: &str = "/ip4/20.1.0.1/tcp/60000";
    const SEEN: &str = "/ip4/20.2.0.1/tcp/60000";

    fn config(settings: &[(&str, &str)]) -> Config {
        let flag = |(name, value): &(&str, &str)| Flag { name: (*name).to_owned(), values: vec![(*value).to_owned()] };
        let relay = [("roles", "relay")];
        let common = relay.iter().filter(|_| settings.iter().all(|(name, _)| *name != "roles"));
        let flags = common.chain(settings).map(flag).collect();
        load(&Inputs { flags, ..Inputs::default() }).unwrap().config
    }

    fn peer() -> PeerId {
        Keypair::generate_secp256k1().public().to_peer_id()
    }

    fn relayed() -> String {
        format!("/ip4/20.3.0.1/tcp/60000/p2p/{}/p2p-circuit", peer())
    }

    fn host(reachability: Reachability, listen: &[&str], external: &[&str], relayed: &[&str]) -> HostAddresses {
        let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        HostAddresses {
            listen: all(listen),
            external: all(external),
            relayed: all(relayed),
            reachability,
            is_full: false,
        }
    }

    fn told(config: &Config, host: &HostAddresses) -> (Vec<String>, String) {
        let announced = announced(config, host).iter().map(ToString::to_string).collect();
        (announced, hop(config, host).unwrap())
    }

    fn hop(config: &Config, host: &HostAddresses) -> Option<String> {
        hop_address(config, host, peer()).map(|hop| hop.multiaddr().to_string())
    }

    #[test]
    fn of_two_families_headers_carry_the_one_and_both_are_told() {
        let (ip6, link) = ("/ip6/2a00:1::1/tcp/60000", "/ip6/fe80::1/tcp/60000");
        let host = host(Reachability::Unknown, &[LOOPBACK, "/ip6/::1/tcp/60000", link, ip6, PUBLIC], &[], &[]);
        assert_eq!(
            told(&config(&[("roles", "mixer")]), &host),
            (vec![ip6.to_owned(), PUBLIC.to_owned()], PUBLIC.to_owned())
        );
        let alone = self::host(Reachability::Unknown, &[link, LOOPBACK], &[], &[]);
        assert_eq!(told(&config(&[("roles", "mixer")]), &alone).0, [LOOPBACK]);
    }

    #[test]
    fn a_sender_without_an_address_that_others_can_use_has_none_in_headers() {
        let sender = config(&[("roles", "sender")]);
        let ip6 = ["/ip6/2a00:1::1/tcp/60000", "/ip6/::1/tcp/60000", LOOPBACK, "/ip4/169.254.0.1/tcp/60000"];
        for listen in [&ip6[..], &ip6[1..], &[LOOPBACK], &[]] {
            assert_eq!(hop(&sender, &host(Reachability::Unknown, listen, &[], &[])), None, "{listen:?}");
        }
        let lan = host(Reachability::Private, &[ip6[0], LAN], &[], &[]);
        assert_eq!(hop(&sender, &lan).as_deref(), Some(LAN));
        // In a net on one machine its loopback is what others use.
        let here = host(Reachability::Unknown, &[LOOPBACK], &[], &[]);
        let local = config(&[("roles", "sender"), ("mix-allow-all-addresses", "true")]);
        assert_eq!(hop(&local, &here).as_deref(), Some(LOOPBACK));
        assert_eq!(hop(&config(&[("roles", "mixer")]), &here).as_deref(), Some(LOOPBACK));
    }

    #[test]
    fn a_public_node_tells_what_others_see_and_its_public_addresses() {
        let host = host(Reachability::Public, &[LOOPBACK, LAN, PUBLIC], &[SEEN], &[]);
        assert_eq!(told(&config(&[]), &host), (vec![SEEN.to_owned(), PUBLIC.to_owned()], SEEN.to_owned()));
    }

    #[test]
    fn private_addresses_are_told_where_they_are_taken_or_nothing_else_is_known() {
        let mut host = host(Reachability::Unknown, &[LOOPBACK, LAN], &[], &[]);
        let lan = (vec![LAN.to_owned()], LAN.to_owned());
        assert_eq!(told(&config(&[]), &host), lan);
        assert_eq!(told(&config(&[("mix-allow-all-addresses", "true")]), &host), lan);
        host.external = vec![SEEN.parse().unwrap()];
        assert_eq!(told(&config(&[]), &host), (vec![SEEN.to_owned()], SEEN.to_owned()));
    }

    #[test]
    fn loopback_is_told_where_nothing_else_is_bound() {
        let host = host(Reachability::Unknown, &[LOOPBACK], &[], &[]);
        for settings in [&[("roles", "mixer")][..], &[("mix-allow-all-addresses", "true")]] {
            assert_eq!(told(&config(settings), &host), (vec![LOOPBACK.to_owned()], LOOPBACK.to_owned()));
        }
    }

    #[test]
    fn a_node_behind_a_relay_tells_only_the_relays_address() {
        let relayed = relayed();
        for reachability in [Reachability::Private, Reachability::Unknown] {
            let host = host(reachability, &[LOOPBACK, LAN], &[SEEN], &[&relayed]);
            assert_eq!(told(&config(&[]), &host), (vec![relayed.clone()], relayed.clone()));
        }
    }

    #[test]
    fn a_reservation_does_not_hide_a_node_that_can_be_dialled() {
        let relayed = relayed();
        let host = host(Reachability::Public, &[LAN], &[SEEN], &[&relayed]);
        assert_eq!(told(&config(&[]), &host), (vec![SEEN.to_owned(), relayed], SEEN.to_owned()));
    }

    #[test]
    fn the_address_of_nat_has_the_ports_that_are_bound() {
        let host = host(
            Reachability::Unknown,
            &["/ip4/127.0.0.1/tcp/41234", "/ip4/10.0.0.5/tcp/41234", "/ip4/10.0.0.5/udp/41235/quic-v1"],
            &[],
            &[],
        );
        let free = [
            ("roles", "mixer"),
            ("nat", "extip:20.9.0.1"),
            ("tcp-port", "0"),
            ("quic-support", "true"),
            ("quic-port", "0"),
        ];
        let (announced, hop) = told(&config(&free), &host);
        assert_eq!(announced, ["/ip4/20.9.0.1/tcp/41234", "/ip4/20.9.0.1/udp/41235/quic-v1"]);
        assert_eq!(hop, "/ip4/20.9.0.1/tcp/41234");
    }

    #[test]
    fn a_configured_address_comes_first_and_can_be_the_only_one() {
        let host = host(Reachability::Private, &[LAN], &[SEEN], &[&relayed()]);
        let own = "/ip4/20.9.0.1/tcp/443";
        let (announced, hop) = told(&config(&[("ext-multiaddr", own)]), &host);
        assert_eq!((announced[0].as_str(), announced.len(), hop.as_str()), (own, 2, own));
        let only = config(&[("ext-multiaddr", own), ("ext-multiaddr-only", "true")]);
        assert_eq!(told(&only, &host), (vec![own.to_owned()], own.to_owned()));
    }
}
