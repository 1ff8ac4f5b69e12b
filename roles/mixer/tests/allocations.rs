//! Forwarding a packet costs a known number of heap allocations.
//!
//! The counting allocator sees all threads of this process, so what is counted is the whole way of a packet through a
//! running mixer: queue, actor, worker, delay queue, message to the host. The packets, their buffers and the
//! messages that bring them are made before counting starts; one test function keeps other tests out of the count.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod support;

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::{Fixture, Setup, written};
use wakumix_mix::Packet;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Batches before counting: queues, heap and threads have their final size after them.
const WARM_UP: usize = 8;
/// Batches counted: a worker thread that starts among them, which takes some fifty allocations, does not matter.
const COUNTED: usize = 16;

/// Mean delay of the packets that are held, in milliseconds: in virtual time most of them leave one by one.
const DELAY_MS: u16 = 200;

/// Allocations per packet: what is asserted.
#[derive(Debug)]
struct Cost {
    allocations: f64,
    bytes: f64,
}

/// The limits leave room for what differs from run to run: a worker thread that starts late, a task that waits.
#[test]
fn forwarding_costs_a_bounded_number_of_allocations() {
    println!("{:>6} {:>8} {:>20} {:>15}", "batch", "delay", "allocations/packet", "bytes/packet");
    for (batch, delay_ms, limit) in [(1, 0, 14.0), (1, DELAY_MS, 15.0), (32, 0, 4.8), (32, DELAY_MS, 5.8)] {
        let cost = actix::System::new().block_on(cost(batch, delay_ms));
        println!("{batch:>6} {delay_ms:>5} ms {:>20.2} {:>15.0}", cost.allocations, cost.bytes);
        assert!(cost.allocations <= limit, "batches of {batch}, delay {delay_ms} ms: {cost:?}, at most {limit}");
    }
}

async fn cost(batch: usize, delay_ms: u16) -> Cost {
    let mut fixture = Fixture::start(Setup::default());
    let mut batches = Vec::new();
    for _ in 0..WARM_UP + COUNTED {
        let packets: Vec<_> = (0..batch).map(|_| received(&mut fixture, delay_ms)).collect();
        batches.push(packets);
    }
    let counted = batches.split_off(WARM_UP);
    forward(&fixture, batches, batch).await;
    let region = Region::new(ALLOCATOR);
    forward(&fixture, counted, batch).await;
    let change = region.change();
    fixture.assert_finished();
    let per_packet = |count: usize| {
        let packets = u32::try_from(COUNTED * batch).unwrap();
        f64::from(u32::try_from(count).unwrap()) / f64::from(packets)
    };
    Cost {
        allocations: per_packet(change.allocations + change.reallocations),
        bytes: per_packet(change.bytes_allocated),
    }
}

/// Hands the batches over, each when the one before has left.
async fn forward(fixture: &Fixture, batches: Vec<Vec<Packet>>, batch: usize) {
    for packets in batches {
        packets.into_iter().for_each(|packet| assert!(fixture.handle.receive(packet)));
        let mut left = batch;
        while left > 0 {
            let packets = fixture.next_to_host().await;
            left -= packets.len();
            packets.into_iter().for_each(written);
        }
    }
}

fn received(fixture: &mut Fixture, delay_ms: u16) -> Packet {
    let bytes = fixture.forward_packet(delay_ms);
    let mut packet = Packet::received(fixture.around.buffers().take().unwrap(), &fixture.around.context.ledger);
    packet.bytes_mut().copy_from_slice(&bytes);
    packet
}
