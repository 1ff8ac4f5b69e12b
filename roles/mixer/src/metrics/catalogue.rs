//! Every metric of the mixer. Those of its queues are in [`wakumix_role_api::metrics`].

use wakumix_role_api::metrics::ROUND_TRIP;
use wakumix_telemetry::catalogue;

/// Seconds between a packet's deadline and its release. tokio's timer ticks each millisecond, so below that all is
/// well; beyond 100 ms the delays that senders chose are no longer what the network applies.
const LATENESS: &[f64] = &[5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.25, 1.0];

/// Seconds a batch of packets spends in a worker. One hop costs two X25519 (about 100 µs) and 8 kB of symmetric work.
const BATCH_WORK: &[f64] = &[1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.5];

/// Seconds a packet is held. Nwaku's mean is 50 or 100 ms and an encoded delay cannot exceed 65.535 s.
const HOLD: &[f64] = &[1e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.2, 0.35, 0.5, 1.0, 2.5, 10.0, 65.535];

/// Packets in one batch: powers of two up to the largest batch.
const BATCH_SIZE: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

catalogue! {
    HopProcessingSeconds: "waku_mix_hop_processing_seconds", Histogram(BATCH_WORK), Seconds, [],
        "Time that a worker spends on one batch of received packets.";
    BatchPackets: "waku_mix_batch_packets", Histogram(BATCH_SIZE), Count, [],
        "Packets in one batch that a worker takes.";
    HoldSeconds: "waku_mix_hold_seconds", Histogram(HOLD), Seconds, [],
        "How long packets are to be held before they leave, forwarded ones and own ones.";
    ReleaseLatenessSeconds: "waku_mix_release_lateness_seconds", Histogram(LATENESS), Seconds, [],
        "Time from a held packet's deadline to its release.";
    ReplayTags: "waku_mix_replay_tags", Gauge, Count, [],
        "Replay tags remembered.";
    ReplayTagsCapacity: "waku_mix_replay_tags_capacity", Gauge, Count, [],
        "Replay tags that can be remembered; when all are used, packets are refused.";
    ReplayTagsMemoryBytes: "waku_mix_replay_tags_memory_bytes", Gauge, Bytes, [],
        "Memory of the replay tags of all keys that open packets.";
    ReplayTagsDiskBytes: "waku_mix_replay_tags_disk_bytes", Gauge, Bytes, [],
        "Length of the logs of replay tags of all keys that open packets; 0 where tags are kept in memory alone.";
    ReplayTagsWaiting: "waku_mix_replay_tags_waiting", Gauge, Count, [],
        "Replay tags that are not known to be on the disk; their packets wait.";
    ReplayTagsCommitsTotal: "waku_mix_replay_tags_commits_total", Counter, Count, [],
        "Groups of replay tags that were committed to the disk.";
    ReplayTagsCommitSeconds: "waku_mix_replay_tags_commit_seconds", Gauge, Seconds, ["statistic"],
        "Time from the first tag of a group until the group was committed: sum of all groups since the start, and the longest.";
    ReplayTagsSyncsTotal: "waku_mix_replay_tags_syncs_total", Counter, Count, [],
        "Syncs of the logs of replay tags.";
    ReplayTagsLogFailuresTotal: "waku_mix_replay_tags_log_failures_total", Counter, Count, [],
        "Writes and syncs of the logs of replay tags that failed; packets are refused then.";
    ReplayTagsTornTailsTotal: "waku_mix_replay_tags_torn_tails_total", Counter, Count, [],
        "Logs of replay tags whose torn end was cut off at the start, as a crash or a power cut leaves it.";
    KeyRotationsTotal: "waku_mix_key_rotations_total", Counter, Count, [],
        "Times that the next mix key took the place of the current one.";
    KeyRetiredTotal: "waku_mix_key_retired_total", Counter, Count, [],
        "Mix keys that were given up before their time because their replay tags were lost or damaged.";
    KeyCurrentSinceTimestampSeconds: "waku_mix_key_current_since_timestamp_seconds", Gauge, Seconds, [],
        "When the current mix key became so, in seconds since the Unix epoch; 0 if that is not known.";
    KeyOverlapUntilTimestampSeconds: "waku_mix_key_overlap_until_timestamp_seconds", Gauge, Seconds, [],
        "Until when an earlier mix key opens packets as well, in seconds since the Unix epoch; 0 if there is none.";
    CapacityPacketsPerSecond: "waku_mix_capacity_packets_per_second", Gauge, Count, [],
        "Packets a second that this node can unwrap, measured at its start or set; what the admission of packets is made for.";
    CoverLoopsTotal: "waku_mix_cover_loops_total", Counter, Count, ["outcome"],
        "Packets that this node sends to itself as cover: sent, of these returned or lost; not_sent: the first hop did not take it; skipped: no path or no room.";
    CoverLoopSeconds: "waku_mix_cover_loop_seconds", Histogram(ROUND_TRIP), Seconds, [],
        "Time from sending a cover packet to its return, of those that returned.";
    NodesWeighedDown: "waku_mix_nodes_weighed_down", Gauge, Count, [],
        "Mix nodes that this node draws less often because more is lost through them than through the others.";
}
