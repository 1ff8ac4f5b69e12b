//! What tags cost: admitting and committing them, reading a log at the start, memory.
//!
//! `cargo bench -p wakumix-keyring`; `KEYRING_BENCH_DIRECTORY` names a folder on the disk that is to be measured.

#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first surprise")]
#![allow(missing_docs, reason = "criterion's macro makes a function without")]

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use wakumix_keyring::{Config, KeyRing, MixKey};
use wakumix_sphinx::ReplayTag;

const MILLION: u64 = 1_000_000;
/// Packets that a mixer's batch holds under load.
const BATCH: u64 = 32;

fn folder() -> PathBuf {
    let parent = std::env::var_os("KEYRING_BENCH_DIRECTORY").map_or_else(std::env::temp_dir, PathBuf::from);
    parent.join(format!("keyring-bench-{}", std::process::id()))
}

fn config(directory: Option<&Path>, tag_sync: Duration) -> Config {
    Config { directory: directory.map(Path::to_owned), tag_sync, tags: 1 << 30, ..Config::default() }
}

fn ring(directory: Option<&Path>, tag_sync: Duration) -> KeyRing {
    KeyRing::open(config(directory, tag_sync), || 1_764_000_000).unwrap().0
}

fn tag(number: u64) -> ReplayTag {
    let mut bytes = [0; 32];
    for (part, chunk) in bytes.chunks_mut(8).enumerate() {
        let mixed = (number + part as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        chunk.copy_from_slice(&(mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes());
    }
    ReplayTag::from_bytes(bytes)
}

fn batch(first: u64) -> Vec<ReplayTag> {
    (first..first + BATCH).map(tag).collect()
}

/// Admits batches, `under_way` of them at once, as the workers of a mixer do.
async fn admit(key: &MixKey, first: &mut u64, batches: u64, under_way: usize) {
    let mut waiting = std::collections::VecDeque::with_capacity(under_way);
    for _ in 0..batches {
        if waiting.len() == under_way
            && let Some(mut oldest) = waiting.pop_front()
        {
            committed(&mut oldest).await;
        }
        waiting.push_back(key.admit(batch(*first)));
        *first += BATCH;
    }
    for mut admitted in waiting {
        committed(&mut admitted).await;
    }
}

async fn committed(admitted: &mut wakumix_keyring::Admitted) {
    black_box(&admitted.verdicts);
    admitted.committed().await.unwrap();
}

fn admitting(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let folder = folder();
    let mut group = c.benchmark_group("admit and commit a batch of 32");
    group.throughput(Throughput::Elements(BATCH)).sample_size(20);
    for (name, directory, tag_sync, under_way) in [
        ("in memory", None, Duration::ZERO, 1),
        ("written, synced each second, one at a time", Some(&folder), Duration::from_secs(1), 1),
        ("written, synced each second, 16 at once", Some(&folder), Duration::from_secs(1), 16),
        ("synced, one at a time", Some(&folder), Duration::ZERO, 1),
        ("synced, 16 at once", Some(&folder), Duration::ZERO, 16),
        ("synced, 256 at once", Some(&folder), Duration::ZERO, 256),
    ] {
        let ring = ring(directory.map(PathBuf::as_path), tag_sync);
        let key = ring.keys()[0].clone();
        let mut first = 0;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|batches| {
                let began = Instant::now();
                runtime.block_on(admit(&key, &mut first, batches, under_way));
                began.elapsed()
            });
        });
        drop((key, ring));
        let _ = fs::remove_dir_all(&folder);
    }
    group.finish();
}

fn looking_up(c: &mut Criterion) {
    let ring = ring(None, Duration::ZERO);
    let key = ring.keys()[0].clone();
    (0..MILLION / BATCH).for_each(|at| drop(key.admit(batch(at * BATCH))));
    let mut group = c.benchmark_group("a million tags");
    let mut at = 0;
    group.throughput(Throughput::Elements(BATCH)).bench_function("look up a batch of 32 known ones", |bencher| {
        bencher.iter(|| {
            at = (at + 7919 * BATCH) % MILLION;
            key.admit(batch(at))
        });
    });
    group.finish();
    memory();
}

/// Prints bytes for sizes from one million on.
fn memory() {
    let ring = ring(None, Duration::ZERO);
    let key = ring.keys()[0].clone();
    let mut tags = 0;
    let mut worst = 0.0_f64;
    for millions in 1..=4 {
        while tags < millions * MILLION {
            drop(key.admit(batch(tags)));
            tags += BATCH;
            if tags.is_multiple_of(32_000) {
                worst = worst.max(ring.stats().bytes_in_memory as f64 / tags as f64);
            }
        }
        let bytes = ring.stats().bytes_in_memory;
        println!("memory: {tags} tags in {bytes} bytes, {:.1} a tag", bytes as f64 / tags as f64);
    }
    println!("memory: at worst {worst:.1} bytes a tag");
}

fn loading(c: &mut Criterion) {
    let folder = folder();
    let filled = ring(Some(&folder), Duration::from_secs(60));
    let key = filled.keys()[0].clone();
    Runtime::new().unwrap().block_on(admit(&key, &mut 0, MILLION / BATCH, 16));
    println!("disk: {MILLION} tags in {} bytes", filled.stats().bytes_on_disk);
    drop((key, filled));
    let mut group = c.benchmark_group("a million tags");
    group.throughput(Throughput::Elements(MILLION)).sample_size(10);
    group.bench_function("open a ring", |bencher| bencher.iter(|| ring(Some(&folder), Duration::ZERO)));
    group.finish();
    let _ = fs::remove_dir_all(&folder);
}

criterion_group!(benches, admitting, looking_up, loading);
criterion_main!(benches);
