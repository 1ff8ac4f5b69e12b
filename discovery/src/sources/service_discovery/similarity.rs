//! How alike the addresses of advertisers are: who comes from one network waits longer (`spec/waku.md §6.6`).

use std::collections::HashMap;

use crate::sources::origin::Origin;

/// How many addresses begin with each prefix, IPv4 and IPv6 apart. Those of private networks and relays tell nothing.
///
/// Memory: at most 32 prefixes an IPv4 address, 64 an IPv6 address.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    v4: Tree,
    v6: Tree,
}

#[derive(Debug, Default)]
struct Tree {
    total: u32,
    counts: HashMap<(u32, u64), u32>,
}

impl Prefixes {
    pub(super) fn insert(&mut self, origin: Origin) {
        if let Some((tree, bits, length)) = self.tree(origin) {
            tree.total += 1;
            for prefix in prefixes(bits, length) {
                *tree.counts.entry(prefix).or_default() += 1;
            }
        }
    }

    /// Takes an address out that was put in.
    pub(super) fn remove(&mut self, origin: Origin) {
        let Some((tree, bits, length)) = self.tree(origin) else { return };
        tree.total = tree.total.saturating_sub(1);
        for prefix in prefixes(bits, length) {
            if let Some(count) = tree.counts.get_mut(&prefix) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    tree.counts.remove(&prefix);
                }
            }
        }
    }

    /// The share, 0 to 1, of the address's prefixes that more addresses have than if all were spread evenly.
    pub(super) fn similarity(&self, origin: Origin) -> f64 {
        let (tree, (bits, length)) = match origin {
            Origin::V4(_) => (&self.v4, bits_of(origin)),
            Origin::V6(_) => (&self.v6, bits_of(origin)),
            Origin::Hidden => return 0.0,
        };
        let is_crowded = |prefix: &(u32, u64)| {
            let expected = f64::from(tree.total) / 2f64.powi(i32::try_from(prefix.0).unwrap_or(i32::MAX));
            tree.counts.get(prefix).is_some_and(|count| f64::from(*count) > expected)
        };
        let crowded = prefixes(bits, length).filter(is_crowded).count();
        f64::from(u32::try_from(crowded).unwrap_or(length)) / f64::from(length)
    }

    fn tree(&mut self, origin: Origin) -> Option<(&mut Tree, u64, u32)> {
        let (bits, length) = bits_of(origin);
        match origin {
            Origin::V4(_) => Some((&mut self.v4, bits, length)),
            Origin::V6(_) => Some((&mut self.v6, bits, length)),
            Origin::Hidden => None,
        }
    }
}

/// The bits of an address, and how many there are.
fn bits_of(origin: Origin) -> (u64, u32) {
    match origin {
        Origin::V4(ip) => (u32::from(ip).into(), u32::BITS),
        Origin::V6(bits) => (u64::from_be_bytes(bits), u64::BITS),
        Origin::Hidden => (0, 0),
    }
}

/// Length and bits of every prefix.
fn prefixes(bits: u64, length: u32) -> impl Iterator<Item = (u32, u64)> {
    (1..=length).map(move |prefix| (prefix, bits >> (length - prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Origin {
        Origin::of(Some(text.parse().unwrap()))
    }

    #[test]
    fn the_same_address_is_all_alike_and_an_empty_tree_not_at_all() {
        let mut prefixes = Prefixes::default();
        assert_eq!(prefixes.similarity(ip("192.0.2.1")), 0.0);
        prefixes.insert(ip("192.0.2.1"));
        assert_eq!(prefixes.similarity(ip("192.0.2.1")), 1.0);
        assert_eq!(prefixes.similarity(ip("64.0.2.1")), 0.0);
        // The first 31 of 32 bits.
        assert_eq!(prefixes.similarity(ip("192.0.2.0")), 31.0 / 32.0);
    }

    #[test]
    fn ipv6_hosts_count_among_themselves_and_private_networks_not_at_all() {
        let mut prefixes = Prefixes::default();
        prefixes.insert(ip("2a00:1:2:3::1"));
        prefixes.insert(ip("10.0.0.1"));
        assert_eq!(prefixes.similarity(ip("2a00:1:2:3:5::6")), 1.0, "one host");
        assert_eq!(prefixes.similarity(ip("2a00:1:2:2::1")), 63.0 / 64.0);
        assert_eq!((prefixes.similarity(ip("10.0.0.1")), prefixes.similarity(ip("64.0.2.1"))), (0.0, 0.0));
    }

    #[test]
    fn neighbours_among_many_are_more_alike_than_unverified_peers() {
        let mut prefixes = Prefixes::default();
        for index in 0..=255u8 {
            prefixes.insert(Origin::V4([index, index.wrapping_mul(37), 1, index].into()));
        }
        for host in 0..20 {
            prefixes.insert(Origin::V4([5, 5, 5, host].into()));
        }
        assert!(prefixes.similarity(ip("5.5.5.200")) > 0.5);
        assert!(prefixes.similarity(ip("200.99.9.9")) < 0.3);
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let mut prefixes = Prefixes::default();
        for host in 0..50 {
            prefixes.insert(Origin::V4([5, 5, 5, host].into()));
        }
        for host in 0..50 {
            prefixes.remove(Origin::V4([5, 5, 5, host].into()));
        }
        assert!(prefixes.v4.counts.is_empty() && prefixes.v4.total == 0);
    }
}
