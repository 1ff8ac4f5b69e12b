//! Floods at the doors of a node: connections that are never set up, halves of requests, mplex without end, first packets of
//! QUIC. Whether honest newcomers get in meanwhile, whether honest messages are answered, and what memory it takes.
//!
//!     cargo run --release -p wakumix-integration-tests --bin flood -- target/release/wakumix doors 15
//!
//! The node is relay, mixer and exit over TCP and QUIC, its own process with the default bounds, on its own processor;
//! addresses of loopback count as those of strangers. Around it is the honest net of the other floods, to which it is one of
//! the exits and relays too. The adversary has its own thread that gives way to the honest nodes, with which it shares the
//! other processors: what they lack, the node under attack has not given.
//!
//! Exits with 1 if in any part fewer than 11 of 12 newcomers got in, if fewer messages were answered than alone, beyond the
//! noise, if the node took more memory than docs/bounds.md allows it, or if a newcomer does not get in half a minute later.

mod floods;
mod newcomers;

use std::{fmt, net::Ipv4Addr, path::Path, process::ExitCode, sync::Arc, time::Duration};

use tokio::time::sleep;
use wakumix_integration_tests::eventually;

use self::{
    floods::{Flood, Running, first_packets},
    newcomers::{Newcomers, over_quic, over_tcp},
};
use crate::{
    NOISE, Processors, RATE,
    honest::{Honest, Outcomes},
    verdict,
    victim::{Counts, Memory, Target, Victim, processor_time},
};

/// Who comes in each part.
const NEWCOMERS: usize = 12;
/// How many of them must get in.
const LET_IN: usize = 11;
/// What a node with the default bounds may take: the sum of docs/bounds.md, "Memory of a mixer".
const CEILING: u64 = 673 << 20;
/// How long the node is left alone after the last flood.
const REST: Duration = Duration::from_secs(30);
/// A net that needs longer to be ready was not.
const AT_ONCE: Duration = Duration::from_secs(1);
const SERIES: [&str; 3] =
    ["waku_mix_connections_refused_total", "waku_mix_connections_evicted_total", "waku_mix_packets_dropped_total"];

pub(crate) fn run(program: &Path, time: Duration) -> ExitCode {
    let processors = Processors::split();
    let passed = wakumix_integration_tests::run(measure(program, &processors, time));
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The address of one of the adversary's, each in a /24 of its own until all forty are used.
fn source(number: u32) -> Ipv4Addr {
    let [member, subnet] = [number / 40 % 254 + 1, number % 40].map(|part| u8::try_from(part).expect("below 255"));
    Ipv4Addr::new(127, 1, subnet, member)
}

async fn measure(program: &Path, processors: &Processors, time: Duration) -> bool {
    let honest = Honest::strangers().await;
    let (pool, relays) = (honest.pool(), honest.relays());
    let mut victim = processors.on_one(|| Victim::start_with_all_doors(program, &pool, &relays));
    let target = Arc::new(victim.is_up().await);
    honest.meet(&target, &[target.service()]).await;
    // It has found the other relays when it can publish what somebody pushes.
    eventually(async || match over_tcp(&target).await {
        Ok(visit) if visit.is_published => Ok(()),
        other => Err(format!("nobody can publish over the node: {other:?}")),
    })
    .await;

    let alone = Part::measure("nobody hostile", None, &target, &honest, time).await;
    println!("{alone}");
    let floods = [
        ("half-open: 1000 connections that say nothing", Flood::HalfOpen { says_a_word: false }),
        ("half-open: 1000 connections that say a word", Flood::HalfOpen { says_a_word: true }),
        ("half bodies: 16 identities", Flood::HalfBodies),
        ("mplex: 64 identities", Flood::Mplex),
        ("QUIC: 1000 first packets a second", Flood::Quic(first_packets().await)),
    ];
    let mut held = alone.let_in() >= LET_IN;
    for (name, flood) in floods {
        // What one flood has done to the honest net is not the next one's.
        let over = tokio::time::Instant::now();
        honest.ready().await;
        if over.elapsed() > AT_ONCE {
            println!("the honest sender can send again {} s after this", over.elapsed().as_secs());
        }
        let part = Part::measure(name, Some(flood), &target, &honest, time).await;
        println!("{part}");
        held &= part.holds(&alone);
    }

    sleep(REST).await;
    for (transport, visit) in
        [("TCP", over_tcp(&target).await.map(|visit| visit.took)), ("QUIC", over_quic(&target).await)]
    {
        let outcome = match &visit {
            Ok(took) => format!("is in over {transport} in {} ms", took.as_millis()),
            Err(reason) => format!("is kept out over {transport}: {reason}"),
        };
        println!("{} s later a newcomer {outcome}", REST.as_secs());
        held &= visit.is_ok();
    }
    honest.end().await;
    println!("\nthe doors: {}", verdict(held));
    held
}

/// What happened in one part.
struct Part {
    name: &'static str,
    time: Duration,
    newcomers: Newcomers,
    honest: Outcomes,
    memory: Memory,
    counts: Counts,
    /// Hundredths of a processor that the node had, and this process.
    processor: [u128; 2],
    flood: String,
}

impl Part {
    async fn measure(
        name: &'static str,
        flood: Option<Flood>,
        target: &Arc<Target>,
        honest: &Honest,
        time: Duration,
    ) -> Self {
        let (counted, memory) = (target.counts_of(&SERIES).await, target.watch_memory());
        let (begun, used) =
            (tokio::time::Instant::now(), || [target.processor_time(), processor_time(std::process::id())]);
        let used_before = used();
        let over_both = matches!(flood, Some(Flood::Quic(_)));
        let flood = flood.map(|flood| Running::start(flood, target));
        let comers = Newcomers::come(target, NEWCOMERS, time, over_both);
        let (newcomers, honest) = tokio::join!(comers, honest.push_for(time, RATE));
        let (elapsed, used_after) = (begun.elapsed(), used());
        let counts = target.counts_of(&SERIES).await.since(&counted);
        let flood = match flood {
            Some(flood) => flood.stop().await,
            None => String::new(),
        };
        let processor =
            [0, 1].map(|who: usize| (used_after[who] - used_before[who]).as_millis() * 100 / elapsed.as_millis());
        Self { name, time, newcomers, honest, memory: memory.finish().await, counts, processor, flood }
    }

    fn let_in(&self) -> usize {
        self.newcomers.let_in()
    }

    /// Whether the flood did no harm; says so.
    fn holds(&self, alone: &Self) -> bool {
        let lost = 1000.0 * (alone.honest.answered_share() - self.honest.answered_share());
        let held = [self.let_in() >= LET_IN, lost <= NOISE, self.memory.most <= CEILING];
        println!("  newcomers: {} of {NEWCOMERS}, at least {LET_IN}; {}", self.let_in(), verdict(held[0]));
        println!("  honest messages answered: {:.1} of 1000 fewer than alone; {}", lost.max(0.0), verdict(held[1]));
        println!(
            "  memory: {} MiB at most, ceiling {} MiB; {}",
            self.memory.most >> 20,
            CEILING >> 20,
            verdict(held[2])
        );
        held == [true; 3]
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}, {} s", self.name, self.time.as_secs())?;
        writeln!(f, "  {}\n  {}\n  {}", self.newcomers, self.honest, self.memory)?;
        let [node, others] = self.processor;
        write!(f, "  processor: {node} % of one for the node, {others} % for all others")?;
        if !self.flood.is_empty() {
            write!(f, "\n  the flood: {}", self.flood)?;
        }
        write!(f, "\n{}", self.counts)
    }
}
