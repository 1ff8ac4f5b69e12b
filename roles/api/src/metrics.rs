//! The metrics that more than one crate records: those of actors, queues and tasks, and what host and relay both count.
//! What one crate alone records is in the catalogue of that crate.

use wakumix_telemetry::catalogue;

/// Seconds a message waits in a queue: from a hand-over without waiting (10 µs) to a node that has stalled (5 s).
const QUEUE_WAIT: &[f64] = &[1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0];

/// Seconds from a request to its answer through six hops: without delays tens of milliseconds, with 50 ms means about
/// 0.3 s, and the sender gives up after at most a minute.
pub const ROUND_TRIP: &[f64] = &[2.5e-2, 5e-2, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0];

catalogue! {
    ActorRestartsTotal: "waku_mix_actor_restarts_total", Counter, Count, ["actor"],
        "Restarts of an actor after a panic.";
    TaskPanicsTotal: "waku_mix_task_panics_total", Counter, Count, ["task"],
        "Panics of the tasks of one name, about 40 names: each is a bug. Worker jobs count as worker.";
    TaskRestartsTotal: "waku_mix_task_restarts_total", Counter, Count, ["task"],
        "Restarts of tasks after a panic, of those that are made again.";
    QueueWaitSeconds: "waku_mix_queue_wait_seconds", Histogram(QUEUE_WAIT), Seconds, ["queue"],
        "Time from entering a queue to being handled.";
    QueueDepth: "waku_mix_queue_depth", Gauge, Count, ["queue"],
        "Entries that wait in a queue now.";
    QueueCapacity: "waku_mix_queue_capacity", Gauge, Count, ["queue"],
        "Entries that a queue can hold.";
    QueueRefusedTotal: "waku_mix_queue_refused_total", Counter, Count, ["queue"],
        "Entries refused because a queue was full.";

    // The host counts what it could not pass on, the relay what validation said.
    GossipMessagesTotal: "waku_mix_gossip_messages_total", Counter, Count, ["verdict"],
        "Messages that arrived by gossip, by what validation said.";
}

/// What a unit test of this crate records into.
#[cfg(test)]
pub(crate) fn telemetry() -> wakumix_telemetry::Telemetry {
    wakumix_telemetry::Telemetry::new([&METRICS]).unwrap()
}
