//! What a packet costs, beside the `sphinx-packet` crate in the same run.
//!
//! `cargo bench -p wakumix-sphinx` runs every operation under criterion and then prints one table of ratios from
//! interleaved rounds, so that both columns see the same state of the machine.
//!
//! Held equal on both sides, with the first format: the payload δ (3984 bytes, what the ciphers work on), the body (3900 bytes), three hops,
//! and the interface: from the bytes of a packet to the bytes of the next. The headers differ (624 against 348
//! bytes), so that a packet of `sphinx-packet` has 4332 bytes here. The rows of the second format compare two codes for one
//! wire: packets of 5980 bytes on both sides.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark may stop at the first surprise")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::agreement::{PrivateKey as AwsKey, UnparsedPublicKey, X25519, agree};
use criterion::Criterion;
use curve25519_dalek::MontgomeryPoint;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use wakumix_sphinx::DELTA_LEN;

mod ours;
#[cfg(feature = "sphinx-packet")]
mod second;
mod theirs;

/// Bytes of the body in every packet; both formats have room for it in a payload of [`DELTA_LEN`].
const BODY_LEN: usize = 3900;

/// Interleaved rounds of the ratio table, and the time that one round spends on one operation.
const ROUNDS: usize = 61;
const ROUND_TIME: Duration = Duration::from_millis(4);

type Operation = Box<dyn FnMut()>;

/// One operation done by two implementations.
struct Pair {
    name: &'static str,
    ours: Operation,
    theirs: Operation,
}

fn main() {
    let mut packets = packet_pairs();
    #[cfg(feature = "sphinx-packet")]
    packets.extend(second_pairs());
    let mut curve = curve_pairs();
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for pair in &mut packets {
        let mut group = criterion.benchmark_group(pair.name);
        group.bench_function("wakumix", |b| b.iter(&mut pair.ours));
        group.bench_function("sphinx-packet", |b| b.iter(&mut pair.theirs));
        group.finish();
    }
    for pair in &mut curve {
        let mut group = criterion.benchmark_group(pair.name);
        group.bench_function("aws-lc-rs", |b| b.iter(&mut pair.ours));
        group.bench_function("curve25519-dalek", |b| b.iter(&mut pair.theirs));
        group.finish();
    }
    criterion.final_summary();
    if std::env::args().any(|argument| argument == "--bench") {
        print_ratios("wakumix", "sphinx-packet", &mut packets);
        print_ratios("aws-lc-rs", "curve25519-dalek", &mut curve);
    }
}

fn packet_pairs() -> Vec<Pair> {
    let pair = |name, ours, theirs| Pair { name, ours, theirs };
    vec![
        pair("hop, LIONESS", ours::hop("lioness/pad"), theirs::hop(DELTA_LEN)),
        pair("hop, AES-CTR", ours::hop("aes-ctr/seq"), theirs::hop(DELTA_LEN)),
        pair("exit, LIONESS", ours::exit("lioness/pad"), theirs::exit(DELTA_LEN)),
        pair("exit, AES-CTR", ours::exit("aes-ctr/seq"), theirs::exit(DELTA_LEN)),
        pair("build 3 hops, LIONESS", ours::build("lioness/pad"), theirs::build(DELTA_LEN)),
        pair("build 3 hops, AES-CTR", ours::build("aes-ctr/seq"), theirs::build(DELTA_LEN)),
        pair("SURB create", ours::surb_create(), theirs::surb_create()),
        pair("SURB use", ours::surb_use(), theirs::surb_use()),
        pair("reply: last hop and open", ours::reply_open(), theirs::reply_open()),
    ]
}

/// The second format: our header code and the crate's, on the same packets.
#[cfg(feature = "sphinx-packet")]
fn second_pairs() -> Vec<Pair> {
    let pair = |name, ours, theirs| Pair { name, ours, theirs };
    vec![
        pair("second format: hop", second::hop(), theirs::hop(second::PAYLOAD_LEN)),
        pair("second format: exit", second::exit(), theirs::exit(second::PAYLOAD_LEN)),
        pair("second format: build 3 hops", second::build(), theirs::build(second::PAYLOAD_LEN)),
    ]
}

/// The choice of the curve backend on native targets: what one multiplication costs in each.
fn curve_pairs() -> Vec<Pair> {
    let scalar = [7; 32];
    let point = MontgomeryPoint::mul_base_clamped([9; 32]).to_bytes();
    let key = AwsKey::from_private_key(&X25519, &scalar).unwrap();
    let times = move |key: &AwsKey| {
        let peer = UnparsedPublicKey::new(&X25519, black_box(&point));
        agree(key, peer, (), |s| Ok(black_box(s[0]))).unwrap()
    };
    vec![
        Pair {
            name: "X25519, base point",
            ours: Box::new(move || {
                let key = AwsKey::from_private_key(&X25519, black_box(&scalar)).unwrap();
                black_box(key.compute_public_key().unwrap());
            }),
            theirs: Box::new(move || {
                black_box(MontgomeryPoint::mul_base_clamped(black_box(scalar)).to_bytes());
            }),
        },
        Pair {
            name: "X25519, any point, key at hand",
            ours: Box::new(move || {
                times(&key);
            }),
            theirs: dalek_times(scalar, point),
        },
        Pair {
            name: "X25519, any point, scalar used once",
            ours: Box::new(move || {
                times(&AwsKey::from_private_key(&X25519, black_box(&scalar)).unwrap());
            }),
            theirs: dalek_times(scalar, point),
        },
    ]
}

fn dalek_times(scalar: [u8; 32], point: [u8; 32]) -> Operation {
    Box::new(move || {
        let product = MontgomeryPoint(black_box(point)).mul_clamped(black_box(scalar));
        black_box(product.to_bytes());
    })
}

/// Medians of interleaved rounds, in microseconds, and the time of ours over the time of theirs.
fn print_ratios(ours: &str, theirs: &str, pairs: &mut [Pair]) {
    println!("\n{:<36} {ours:>14} {theirs:>17} {:>7}", "median µs", "ratio");
    for pair in pairs {
        let mut samples = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            samples[0].push(time(&mut pair.ours));
            samples[1].push(time(&mut pair.theirs));
        }
        let [ours, theirs] = samples.map(median);
        let ratio = ours / theirs;
        println!("{:<36} {ours:>14.2} {theirs:>17.2} {ratio:>7.2}", pair.name);
    }
}

/// Microseconds per call over one round.
#[expect(clippy::disallowed_methods, reason = "a benchmark needs a clock")]
fn time(operation: &mut Operation) -> f64 {
    let start = Instant::now();
    let mut calls = 0u32;
    while start.elapsed() < ROUND_TIME {
        for _ in 0..8 {
            operation();
        }
        calls += 8;
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

fn body() -> Vec<u8> {
    vec![0xA5; BODY_LEN]
}
