//! Ten times what a mixer can bear, from twenty hostile peers: what honest messages that pass over it notice, and how
//! much memory it takes.
//!
//!     cargo build --release --bin wakumix
//!     cargo run --release -p wakumix-integration-tests --bin flood -- target/release/wakumix 60
//!
//! The mixer is its own process with the default bounds, on its own processor: the capacity that it measures is
//! that of one core, and the flood takes no processor time from it but what it makes the mixer do. Everything else, an
//! honest net of four nodes and the peers of the adversary, runs here. First the honest sender is alone for so many
//! seconds, then the same again under the flood.
//!
//! Exits with 1 if fewer messages were answered under the flood, beyond one in a thousand, or if the mixer took more
//! memory than docs/bounds.md allows it.
//!
//! With the word `gossip` before the seconds a relay is flooded instead, with `doors` the doors of a node, 15 seconds each if
//! nothing else is said: [`gossip`], [`doors`].
#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: what goes wrong here fails the run"
)]

mod doors;
mod gossip;
mod honest;
mod hostile;
mod victim;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use self::{honest::Honest, hostile::Hostile, victim::Victim};

/// Peers of the adversary.
const PEERS: usize = 20;
/// What they try to send, in capacities of the mixer.
const TIMES: usize = 10;
/// Messages a second of the honest sender.
const RATE: u32 = 10;
/// How many of a thousand messages fewer may be answered under the flood: noise.
const NOISE: f64 = 1.0;
/// What a mixer with the default bounds may take: docs/bounds.md, "Memory of a mixer".
const CEILING: u64 = 384 << 20;

const USAGE: &str = "usage: flood <path of the program wakumix> [gossip|doors] \
    [seconds of each part, 1 to 600; if left out 60, of doors 15]";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let (program, rest) =
        arguments.split_first().map_or((PathBuf::new(), &[][..]), |(first, rest)| (first.into(), rest));
    type Mode = fn(&Path, Duration) -> ExitCode;
    let (mode, usual, rest): (Mode, _, _) = match rest {
        [word, rest @ ..] if word == "gossip" => (gossip::run, 60, rest),
        [word, rest @ ..] if word == "doors" => (doors::run, 15, rest),
        rest => (run, 60, rest),
    };
    let seconds = match rest {
        [] => Some(usual),
        [seconds] => seconds.to_str().and_then(|text| text.parse::<u64>().ok()),
        _ => None,
    };
    match seconds {
        Some(seconds @ 1..=600) if program.is_file() => mode(&program, Duration::from_secs(seconds)),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(program: &Path, time: Duration) -> ExitCode {
    let victim = on_one_processor(|| Victim::start(program));
    let passed = wakumix_integration_tests::run(measure(victim, time));
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Starts a process on one processor; what runs here has the others from then on.
fn on_one_processor<T>(start: impl FnOnce() -> T) -> T {
    Processors::split().on_one(start)
}

/// One processor for what is measured, the others for what runs here.
struct Processors {
    one: CpuSet,
    others: CpuSet,
}

impl Processors {
    /// From now on this thread, and what it starts, has the others.
    fn split() -> Self {
        let all = sched_getaffinity(None).expect("Linux tells");
        let (one, others) = split(&all);
        let others = if others.count() > 0 { others } else { one };
        sched_setaffinity(None, &others).expect("ours");
        Self { one, others }
    }

    /// Starts a process on the one.
    fn on_one<T>(&self, start: impl FnOnce() -> T) -> T {
        // A process has the processors of the thread that starts it.
        sched_setaffinity(None, &self.one).expect("one of ours");
        let started = start();
        sched_setaffinity(None, &self.others).expect("ours too");
        started
    }
}

/// One processor, and the rest.
fn split(all: &CpuSet) -> (CpuSet, CpuSet) {
    let (mut first, mut others) = (CpuSet::new(), *all);
    if let Some(cpu) = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)) {
        first.set(cpu);
        others.unset(cpu);
    }
    (first, others)
}

async fn measure(mut victim: Victim, time: Duration) -> bool {
    let target = victim.is_up().await;
    let honest = Honest::start(&target).await;
    let capacity = target.capacity().await;
    println!("the mixer opens {capacity} packets a second on one processor, as it measured at its start");

    let memory = target.watch_memory();
    let before = honest.push_for(time, RATE).await;
    println!("\nalone, {} s\n  {before}\n  {}", time.as_secs(), memory.finish().await);

    let hostile = Hostile::start(&target.node, PEERS, capacity, time).await;
    let (counted, memory) = (target.counts().await, target.watch_memory());
    let flood = hostile.flood(TIMES * capacity, time);
    let (under, flood) = tokio::join!(honest.push_for(time, RATE), flood);
    let (admissions, taken) = (target.counts().await.since(&counted), memory.finish().await);
    println!("\nunder a flood of {PEERS} peers, {} s\n  {under}\n  {taken}\n{flood}{admissions}", time.as_secs());
    honest.end().await;

    let lost = 1000.0 * (before.answered_share() - under.answered_share());
    let (held, small) = (lost <= NOISE, taken.most <= CEILING);
    println!("\nhonest messages answered: {:.1} of 1000 fewer under the flood; {}", lost.max(0.0), verdict(held));
    println!("memory: {} MiB at most, ceiling {} MiB; {}", taken.most >> 20, CEILING >> 20, verdict(small));
    held && small
}

fn verdict(holds: bool) -> &'static str {
    if holds { "held" } else { "FAILED" }
}
