//! A packet from host to host costs a known number of heap allocations.
//!
//! The counting allocator sees all threads of this process, so what is counted is both hosts together: command, queue of
//! the peer, writing, noise, muxer, socket on one side, and the same way up to the mixer's queue on the other. One test
//! function keeps other tests out of the count.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers fail the test")]

mod support;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{Node, QUIC, Setup, TCP};
use wakumix_mix::{HopAddress, Origin, Outcome, Packet};
use wakumix_role_api::host::{OutboundPacket, Reach};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Packets in one command, each sent when those before have arrived.
const BATCH: usize = 32;
/// Commands before counting, and counted.
const BATCHES: usize = 50;

/// Allocations per packet that are allowed, twice what is measured: libp2p reads what the sockets give, so the
/// numbers vary. One more buffer or task for each packet and layer would be above it.
const LIMIT: f64 = 15.0;

#[test]
fn a_packet_costs_a_bounded_number_of_allocations() {
    println!("{:>9} {:>20} {:>15}", "transport", "allocations/packet", "bytes/packet");
    for (name, listen) in [("tcp", TCP), ("quic", QUIC)] {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (allocations, bytes) = runtime.block_on(cost(listen));
        println!("{name:>9} {allocations:>20.1} {bytes:>15.0}");
        assert!(allocations <= LIMIT, "{name}: {allocations} allocations per packet, at most {LIMIT}");
    }
}

async fn cost(listen: &str) -> (f64, f64) {
    let here = Setup::listening(&[listen]).start().await;
    let mut there = Setup::listening(&[listen]).start().await;
    let to = there.hop(0);
    send_all(&here, &mut there, &to).await;
    let region = Region::new(ALLOCATOR);
    send_all(&here, &mut there, &to).await;
    let change = region.change();
    let packets = f64::from(u32::try_from(BATCH * BATCHES).unwrap());
    let per_packet = |count: usize| f64::from(u32::try_from(count).unwrap()) / packets;
    (per_packet(change.allocations + change.reallocations), per_packet(change.bytes_allocated))
}

async fn send_all(here: &Node, there: &mut Node, to: &HopAddress) {
    for _ in 0..BATCHES {
        here.handle.send_packets((0..BATCH).map(|_| outbound(here, to)).collect()).unwrap();
        for _ in 0..BATCH {
            there.receive().await.finish(Outcome::Delivered);
        }
    }
}

fn outbound(here: &Node, to: &HopAddress) -> OutboundPacket {
    let packet = Packet::originated(here.buffers.take().unwrap(), &here.ledger, Origin::Request);
    OutboundPacket { to: to.clone(), reach: Reach::Dial, packet, done: None }
}
