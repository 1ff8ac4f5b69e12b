//! Histogram bounds, each chosen for what is measured. Upper bounds, ascending; `+Inf` is implied.

/// Seconds a message waits in a queue: from a hand-over without waiting (10 µs) to a node that has stalled (5 s).
pub(super) const QUEUE_WAIT: &[f64] =
    &[1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0];

/// Seconds between a packet's deadline and its release. tokio's timer ticks each millisecond, so below that all is
/// well; beyond 100 ms the delays that senders chose are no longer what the network applies.
pub(super) const LATENESS: &[f64] = &[5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.25, 1.0];

/// Seconds a batch of packets spends in a worker. One hop costs two X25519 (about 100 µs) and 8 kB of symmetric work.
pub(super) const BATCH_WORK: &[f64] = &[1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.5];

/// Seconds a packet is held. The fleet's mean is 50 or 100 ms and an encoded delay cannot exceed 65.535 s.
pub(super) const HOLD: &[f64] = &[1e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.2, 0.35, 0.5, 1.0, 2.5, 10.0, 65.535];

/// Packets in one batch: powers of two up to the largest batch.
pub(super) const BATCH_SIZE: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Seconds from a request to its answer through six hops: without delays tens of milliseconds, with 50 ms means about
/// 0.3 s, and the sender gives up after at most a minute.
pub(super) const ROUND_TRIP: &[f64] = &[2.5e-2, 5e-2, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Kilobytes of a Waku message: the fleet's own bounds (spec/waku.md §7.3).
pub(super) const MESSAGE_KB: &[f64] =
    &[0.0, 1.0, 3.0, 5.0, 15.0, 50.0, 75.0, 100.0, 125.0, 150.0, 500.0, 700.0, 1000.0];
