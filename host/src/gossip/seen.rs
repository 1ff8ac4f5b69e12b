//! Which messages have passed not long ago, by fingerprint.

use std::{collections::HashSet, mem, time::Duration};

/// Fingerprints of two spans of time: what is in neither has not passed for at least one span, what is in one of them has
/// passed less than two spans ago. Bound: what passes in two spans, 9 bytes each and the free places of the tables.
#[derive(Debug)]
pub(super) struct Seen {
    span: Duration,
    current: HashSet<u64>,
    before: HashSet<u64>,
    /// The number of the current span.
    number: u128,
}

impl Seen {
    /// Forgets everything at `memory`, and nothing before half of it.
    pub(super) fn new(memory: Duration) -> Self {
        Self { span: memory / 2, current: HashSet::new(), before: HashSet::new(), number: 0 }
    }

    pub(super) fn contains(&mut self, fingerprint: u64, now: Duration) -> bool {
        self.turn(now);
        self.current.contains(&fingerprint) || self.before.contains(&fingerprint)
    }

    pub(super) fn insert(&mut self, fingerprint: u64, now: Duration) {
        self.turn(now);
        self.current.insert(fingerprint);
    }

    fn turn(&mut self, now: Duration) {
        let number = now.as_nanos() / self.span.as_nanos().max(1);
        match number.saturating_sub(self.number) {
            0 => return,
            1 => self.before = mem::take(&mut self.current),
            _ => (self.before, self.current) = Default::default(),
        }
        self.number = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn remembers_for_half_of_its_memory_at_least_and_never_longer_than_all_of_it() {
        for inserted in [30, 45, 59] {
            let mut seen = Seen::new(MEMORY);
            seen.insert(7, at(inserted));
            assert!(seen.contains(7, at(inserted + 30)), "{inserted}");
            assert!(!seen.contains(8, at(inserted + 30)), "{inserted}");
            assert!(!seen.contains(7, at(inserted + 60)), "{inserted}");
        }
    }

    #[test]
    fn a_long_pause_empties_it() {
        let mut seen = Seen::new(MEMORY);
        (0..1000).for_each(|number| seen.insert(number, at(number / 20)));
        assert_eq!(seen.current.len() + seen.before.len(), 1000);
        assert!(!seen.contains(999, at(600)));
        assert_eq!(seen.current.len() + seen.before.len(), 0);
    }
}
