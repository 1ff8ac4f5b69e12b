//! What a running mixer adds to the cryptography of a packet.
//!
//! `cargo bench -p wakumix-mixer` sends packets through a whole mixer (actor, unwrap queue, workers, replay tags, delay
//! queue, messages to the host) and, in turns with it, does only the cryptography of the same packets on one thread. Both
//! are charged the CPU time of all threads, so that the ratio says what the machinery costs. The mixer has one worker:
//! with more, cores that share execution units would slow the cryptography of one side only. The last column is what the
//! mixer did by the clock.
//!
//! For a count of instructions, which other work on the machine does not change, one side runs alone:
//! `pipeline count SIDE PROFILE DELAY_MS MESSAGE PACKETS` builds packets and has them opened by `crypto`, by `mixer`, or by
//! `none`. Under `valgrind --tool=callgrind`, the difference to `none` is what a side costs.
//!
//! Not in it: sockets. The test double for the host copies each packet into its pooled buffer, as reading a stream does, and
//! so does the other side.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark may stop at the first surprise")]

mod clock;
mod net;

use clock::cpu_time;
use net::{MESSAGE, Net};
use std::time::Instant;

/// Rounds of the table, and packets of one round.
const ROUNDS: usize = 21;
const PACKETS: usize = 1000;
/// Without `--bench` (in a test run) a few packets show that it works.
const SMOKE_PACKETS: usize = 50;

/// The mean delay of the packets that are held.
const DELAY_MS: u16 = 10;

const USAGE: &str = "count SIDE PROFILE DELAY_MS MESSAGE PACKETS";

/// Times of one round.
struct Round {
    /// CPU, in microseconds per packet.
    crypto: f64,
    mixer: f64,
    /// By the clock.
    packets_per_second: f64,
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [mode, side, profile, numbers @ ..] = &arguments[..]
        && mode == "count"
    {
        let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().unwrap()).collect();
        let [delay_ms, message, packets] = numbers[..] else { panic!("{USAGE}") };
        return count(side, profile, u16::try_from(delay_ms).unwrap(), message, packets);
    }
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (rounds, packets) = if is_bench { (ROUNDS, PACKETS) } else { (1, SMOKE_PACKETS) };
    println!(
        "{:<13} {:>8} {:>12} {:>11} {:>7} {:>17} {:>16}",
        "median", "delay", "crypto µs", "mixer µs", "ratio", "packets/s a core", "by the clock"
    );
    for profile in ["aes-ctr/seq", "lioness/pad"] {
        for delay_ms in [0, DELAY_MS] {
            let rounds = measure(profile, delay_ms, rounds, packets);
            let median = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
            let (crypto, mixer) = (median(|round| round.crypto), median(|round| round.mixer));
            let ratio = median(|round| round.mixer / round.crypto);
            let (per_core, all) = (1e6 / mixer, median(|round| round.packets_per_second));
            println!(
                "{profile:<13} {delay_ms:>5} ms {crypto:>12.1} {mixer:>11.1} {ratio:>7.2} {per_core:>17.0} {all:>16.0}"
            );
        }
    }
}

/// Has packets opened by one side alone.
fn count(side: &str, profile: &str, delay_ms: u16, message: usize, packets: usize) {
    let runtime = move || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    actix::System::with_tokio_rt(runtime).block_on(async {
        let mut net = Net::start(profile, 1, packets);
        let batch = net.build(packets, delay_ms);
        match side {
            "crypto" => net.open_all(&batch),
            "mixer" if message == 1 => {
                for packet in batch {
                    net.forward_all(&[packet], 1).await;
                }
            }
            "mixer" => net.forward_all(&batch, message).await,
            "none" => {}
            _ => panic!("{USAGE}"),
        }
    });
}

fn measure(profile: &str, delay_ms: u16, rounds: usize, packets: usize) -> Vec<Round> {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    actix::System::with_tokio_rt(runtime).block_on(async {
        let mut net = Net::start(profile, rounds + 1, packets);
        // The first round warms up: threads, buffers, queues.
        let mut results = Vec::new();
        for round in 0..=rounds {
            let batch = net.build(packets, delay_ms);
            let result = measure_round(&net, &batch).await;
            if round > 0 {
                results.push(result);
            }
        }
        results
    })
}

async fn measure_round(net: &Net, batch: &[Vec<u8>]) -> Round {
    let count = f64::from(u32::try_from(batch.len()).unwrap());
    let before = cpu_time();
    net.open_all(batch);
    let crypto = (cpu_time() - before).as_secs_f64() * 1e6 / count;
    let (before, started) = (cpu_time(), Instant::now());
    net.forward_all(batch, MESSAGE).await;
    let elapsed = started.elapsed().as_secs_f64();
    let mixer = (cpu_time() - before).as_secs_f64() * 1e6 / count;
    Round { crypto, mixer, packets_per_second: count / elapsed }
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
