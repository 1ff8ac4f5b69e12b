//! W10: how long a hop takes to refuse a MAC tells how much of it was right.
//!
//! A comparison that ends with the first wrong byte lets an adversary find a MAC byte by byte. This one is as close as can be:
//! it calls the hop's own function in this process, with a packet that it knows, as often as it likes. Through a node and a
//! network, with their queues and delays, hardly anything would be left of the third of a microsecond that it looks for.
//!
//! It measures pairs of refusals, one for a MAC that is wrong in its first byte and one for its last, in random order. Where
//! the comparison is sound the two are drawn from one distribution, whatever the machine does, so either is the slower
//! one in half of the pairs; a round of 5000 is never off by a tenth, which is 14 standard deviations. Without the
//! countermeasure seven or eight of ten pairs give the last byte away, on a busy machine too. That holds where the
//! comparison is not optimised, which the suite's command sees to; with optimisation it takes a few nanoseconds.

use std::{hint::black_box, sync::Arc, time::Instant};

use rand::RngExt as _;
use wakumix_sphinx::{
    ADDRESS_LEN, ALPHA_LEN, BETA_LEN, GAMMA_LEN, PacketFormat, PathHop, PrivateKey, Reject, Weakness, Weaknesses,
    WireFormat,
};

use crate::check;

/// Where the MAC is in a packet.
const MAC_AT: usize = ALPHA_LEN + BETA_LEN;
/// Pairs in a round.
const PAIRS: u32 = 5_000;
/// The last byte has to be the slower one in so many pairs of a round.
const TELLING: u32 = 3_000;
/// Rounds until the adversary gives up: what else runs on the machine may drown one.
const ROUNDS: usize = 3;

#[test]
fn the_time_of_a_refusal_does_not_tell_which_byte_of_the_mac_is_wrong() {
    check(Weakness::EarlyMacExit, async |weak| {
        let hop = Hop::new(weak);
        (0..ROUNDS).any(|_| hop.later_is_slower() >= TELLING).into()
    });
}

/// A hop, and two packets for it.
struct Hop {
    format: Arc<dyn PacketFormat>,
    key: PrivateKey,
    wrong_first: Vec<u8>,
    wrong_last: Vec<u8>,
}

impl Hop {
    fn new(weak: Weaknesses) -> Self {
        let format = WireFormat::default().weakened(weak);
        let key = PrivateKey::generate(&mut rand::rng());
        let path = [(); 3].map(|()| PathHop { key: key.public(), address: [1; ADDRESS_LEN], delay_ms: 0 });
        let mut packet = vec![0; format.packet_len()];
        format.build(&mut rand::rng(), &path, &[0; ADDRESS_LEN], b"a message", &mut packet).unwrap();
        let wrong_at = |index: usize| {
            let mut packet = packet.clone();
            packet[MAC_AT + index] ^= 1;
            packet
        };
        Self { wrong_first: wrong_at(0), wrong_last: wrong_at(GAMMA_LEN - 1), format, key }
    }

    /// In how many pairs of a round the MAC that is wrong in its last byte took longer.
    fn later_is_slower(&self) -> u32 {
        // Both are refused from one place in memory, into which they are written alike.
        let mut packet = self.wrong_first.clone();
        let mut refusal = |wrong: &[u8]| {
            packet.copy_from_slice(wrong);
            let started = Instant::now();
            let refused = black_box(self.format.authenticate(&self.key, black_box(&packet)));
            let took = started.elapsed();
            assert_eq!(refused.err(), Some(Reject::Mac));
            took
        };
        let mut pair = || {
            if rand::rng().random() {
                let first = refusal(&self.wrong_first);
                refusal(&self.wrong_last) > first
            } else {
                let last = refusal(&self.wrong_last);
                last > refusal(&self.wrong_first)
            }
        };
        (0..PAIRS).map(|_| u32::from(pair())).sum()
    }
}
