//! How alike the addresses of advertisers are: who comes from one network waits longer (`spec/waku.md §6.6`).

use std::{collections::HashMap, net::Ipv4Addr};

/// How many addresses begin with each prefix.
///
/// Memory: at most 32 prefixes an address.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    total: u32,
    counts: HashMap<(u32, u32), u32>,
}

impl Prefixes {
    pub(super) fn insert(&mut self, ip: Ipv4Addr) {
        self.total += 1;
        for prefix in prefixes(ip) {
            *self.counts.entry(prefix).or_default() += 1;
        }
    }

    /// Takes an address out that was put in.
    pub(super) fn remove(&mut self, ip: Ipv4Addr) {
        self.total = self.total.saturating_sub(1);
        for prefix in prefixes(ip) {
            if let Some(count) = self.counts.get_mut(&prefix) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&prefix);
                }
            }
        }
    }

    /// The share, 0 to 1, of the address's 32 prefixes that more addresses have than if all were spread evenly.
    pub(super) fn similarity(&self, ip: Ipv4Addr) -> f64 {
        let is_crowded = |prefix: &(u32, u32)| {
            let expected = f64::from(self.total) / 2f64.powi(i32::try_from(prefix.0).unwrap_or(i32::MAX));
            self.counts.get(prefix).is_some_and(|count| f64::from(*count) > expected)
        };
        let crowded = prefixes(ip).filter(is_crowded).count();
        f64::from(u32::try_from(crowded).unwrap_or(u32::BITS)) / f64::from(u32::BITS)
    }
}

/// Length and bits of every prefix.
fn prefixes(ip: Ipv4Addr) -> impl Iterator<Item = (u32, u32)> {
    let bits = u32::from(ip);
    (1..=u32::BITS).map(move |length| (length, bits >> (u32::BITS - length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
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
    fn neighbours_among_many_are_more_alike_than_strangers() {
        let mut prefixes = Prefixes::default();
        for index in 0..=255u8 {
            prefixes.insert(Ipv4Addr::from([index, index.wrapping_mul(37), 1, index]));
        }
        for host in 0..20 {
            prefixes.insert(Ipv4Addr::from([5, 5, 5, host]));
        }
        assert!(prefixes.similarity(ip("5.5.5.200")) > 0.5);
        assert!(prefixes.similarity(ip("200.99.9.9")) < 0.3);
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let mut prefixes = Prefixes::default();
        for host in 0..50 {
            prefixes.insert(Ipv4Addr::from([5, 5, 5, host]));
        }
        for host in 0..50 {
            prefixes.remove(Ipv4Addr::from([5, 5, 5, host]));
        }
        assert!(prefixes.counts.is_empty() && prefixes.total == 0);
    }
}
