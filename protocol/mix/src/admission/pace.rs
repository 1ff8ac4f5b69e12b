//! How much of its capacity a node admits: all, or less while it falls behind.
//!
//! A capacity that was measured at the start or set by hand is a guess: what else a packet costs than its opening, and who
//! else wants the processor, shows only in work. So the gate slows down when packets pile up, and speeds up again by and by:
//! multiplicative decrease and additive increase, as TCP does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the pace changes: some turns of the queues that fill up.
const TURN: Duration = Duration::from_millis(100);
/// What is left of the pace after a turn in which the node fell behind.
const SLOWER: f64 = 0.75;
/// Turns from one slowing down to the next: what piled up before must drain first, and would be taken for new.
const DRAIN: u128 = 3;
/// What a turn without adds to it: from half to all in 2.5 seconds.
const FASTER: f64 = 0.02;
/// Slower than this the node never takes packets: however little processor it has, the guaranteed parts stay worth
/// something.
const SLOWEST: f64 = 0.05;

/// Told by whoever opens packets, heard by whoever admits them: more come than can be opened.
#[derive(Debug, Default)]
pub struct Pressure(AtomicU64);

impl Pressure {
    /// Packets pile up.
    pub fn raise(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn raised(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The share of the capacity that is admitted, from [`SLOWEST`] to 1.
#[derive(Debug)]
pub(super) struct Pace {
    pressure: Arc<Pressure>,
    /// How often it had been raised at the last turn.
    heard: u64,
    share: f64,
    /// When the last turn ended.
    turned: Duration,
    /// Turns before it slows down again.
    draining: u128,
}

impl Pace {
    /// Full pace, until there is pressure.
    pub(super) fn new(pressure: Arc<Pressure>) -> Self {
        Self { heard: pressure.raised(), pressure, share: 1.0, turned: Duration::ZERO, draining: 0 }
    }

    /// The share at this time.
    pub(super) fn share(&mut self, now: Duration) -> f64 {
        let turns = now.saturating_sub(self.turned).as_millis() / TURN.as_millis();
        if turns > 0 {
            self.turned = now;
            self.draining = self.draining.saturating_sub(turns);
            let raised = self.pressure.raised();
            let is_behind = raised != std::mem::replace(&mut self.heard, raised);
            let share = if !is_behind {
                self.share + FASTER * f64::from(u16::try_from(turns).unwrap_or(u16::MAX))
            } else if self.draining == 0 {
                self.draining = DRAIN;
                self.share * SLOWER
            } else {
                self.share
            };
            self.share = share.clamp(SLOWEST, 1.0);
        }
        self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a node does that can open `can` of what it said: it is under pressure whenever it admits more.
    fn shares(can: f64, turns: u32) -> Vec<f64> {
        let pressure = Arc::new(Pressure::default());
        let mut pace = Pace::new(Arc::clone(&pressure));
        let turn = |turn| {
            let share = pace.share(TURN * turn);
            if share > can {
                pressure.raise();
            }
            share
        };
        (1..=turns).map(turn).collect()
    }

    #[test]
    fn a_node_that_keeps_up_admits_all() {
        assert!(shares(1.0, 100).iter().all(|share| (share - 1.0).abs() < 1e-9));
    }

    #[test]
    fn a_node_that_falls_behind_soon_admits_about_what_it_can() {
        for can in [0.1, 0.5, 0.8] {
            let finished = &shares(can, 200)[100..];
            let mean = finished.iter().sum::<f64>() / 100.0;
            assert!((0.8 * can..1.05 * can).contains(&mean), "{mean} of {can}");
            assert!(finished.iter().all(|share| *share <= can + FASTER + 1e-9), "{can}");
        }
    }

    #[test]
    fn it_never_stops_and_recovers() {
        let pressure = Arc::new(Pressure::default());
        let mut pace = Pace::new(Arc::clone(&pressure));
        for turn in 1..200 {
            pressure.raise();
            pace.share(TURN * turn);
        }
        assert!((pace.share - SLOWEST).abs() < 1e-9);
        assert!((pace.share(TURN * 300) - 1.0).abs() < 1e-9);
    }
}
