//! The list itself: one entry per metric. Add a metric here and nowhere else.
//!
//! A variant is its exported name in CamelCase, without our prefix `waku_mix_`.

use super::buckets::{BATCH_SIZE, BATCH_WORK, HOLD, LATENESS, MESSAGE_KB, QUEUE_WAIT, ROUND_TRIP};
use super::{Description, Kind, Unit};

/// Writes the enum, its list and its descriptions from one table, so that none of the three can be forgotten.
macro_rules! catalogue {
    ($($variant:ident: $name:literal, $kind:expr, $unit:ident, [$($label:literal),*], $help:literal;)*) => {
        /// Every metric that a node can export.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Metric {
            $(#[doc = concat!("`", $name, "`: ", $help)] $variant,)*
        }

        impl Metric {
            /// All of them, in the order of the inventory.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Name, kind, unit, labels and help.
            pub const fn describe(self) -> Description {
                match self {
                    $(Self::$variant => Description {
                        name: $name,
                        kind: $kind,
                        unit: Unit::$unit,
                        labels: &[$($label),*],
                        help: $help,
                    },)*
                }
            }
        }
    };
}

catalogue! {
    // The node.
    BuildInfo: "waku_mix_build_info", Kind::Gauge, Info, ["version", "profile"],
        "Always 1; version of the program and wire profile of its mix protocol.";
    Ready: "waku_mix_ready", Kind::Gauge, Count, [],
        "1 while every readiness latch of the node is set, else 0.";
    ActorRestartsTotal: "waku_mix_actor_restarts_total", Kind::Counter, Count, ["actor"],
        "Restarts of an actor after a panic.";
    TaskPanicsTotal: "waku_mix_task_panics_total", Kind::Counter, Count, ["task"],
        "Panics of the tasks of one name, about 40 names: each is a bug. Worker jobs count as worker.";
    TaskRestartsTotal: "waku_mix_task_restarts_total", Kind::Counter, Count, ["task"],
        "Restarts of tasks after a panic, of those that are made again.";

    // Packets: the balance. Read from the ledger when scraped.
    PacketsReceivedTotal: "waku_mix_packets_received_total", Kind::Counter, Count, [],
        "Sphinx packets that arrived from other nodes.";
    PacketsOriginatedTotal: "waku_mix_packets_originated_total", Kind::Counter, Count, ["origin"],
        "Sphinx packets made by this node, by purpose.";
    PacketsForwardedTotal: "waku_mix_packets_forwarded_total", Kind::Counter, Count, [],
        "Packets received here and written to their next hop.";
    PacketsSentTotal: "waku_mix_packets_sent_total", Kind::Counter, Count, [],
        "Packets made here and written to their first hop.";
    PacketsDeliveredTotal: "waku_mix_packets_delivered_total", Kind::Counter, Count, [],
        "Packets whose path ended here and whose request was taken by the exit.";
    PacketsRepliedTotal: "waku_mix_packets_replied_total", Kind::Counter, Count, [],
        "Packets that were opened here as the answer to an own request.";
    PacketsCoverTotal: "waku_mix_packets_cover_total", Kind::Counter, Count, [],
        "Own cover packets that came back.";
    PacketsDroppedTotal: "waku_mix_packets_dropped_total", Kind::Counter, Count, ["stage", "reason"],
        "Packets that were dropped, by stage of the pipeline and reason (each reason occurs in one or two of the 7 stages: below 60 series).";
    PacketsHeld: "waku_mix_packets_held", Kind::Gauge, Count, [],
        "Packets in the node now, in any stage.";
    PacketBalanceResidue: "waku_mix_packet_balance_residue", Kind::Gauge, Count, [],
        "Received plus originated packets minus all outcomes minus held ones; anything but 0 at rest is a defect.";
    PacketBuffersInUse: "waku_mix_packet_buffers_in_use", Kind::Gauge, Count, [],
        "Packet buffers taken from the pool.";
    PacketBuffersCapacity: "waku_mix_packet_buffers_capacity", Kind::Gauge, Count, [],
        "Packet buffers that the pool may hand out.";

    // Queues between actors.
    QueueWaitSeconds: "waku_mix_queue_wait_seconds", Kind::Histogram(QUEUE_WAIT), Seconds, ["queue"],
        "Time from entering a queue to being handled.";
    QueueDepth: "waku_mix_queue_depth", Kind::Gauge, Count, ["queue"],
        "Entries that wait in a queue now.";
    QueueCapacity: "waku_mix_queue_capacity", Kind::Gauge, Count, ["queue"],
        "Entries that a queue can hold.";
    QueueRefusedTotal: "waku_mix_queue_refused_total", Kind::Counter, Count, ["queue"],
        "Entries refused because a queue was full.";

    // Mixing.
    HopProcessingSeconds: "waku_mix_hop_processing_seconds", Kind::Histogram(BATCH_WORK), Seconds, [],
        "Time that a worker spends on one batch of received packets.";
    BatchPackets: "waku_mix_batch_packets", Kind::Histogram(BATCH_SIZE), Count, [],
        "Packets in one batch that a worker takes.";
    HoldSeconds: "waku_mix_hold_seconds", Kind::Histogram(HOLD), Seconds, [],
        "How long packets are to be held before they leave, forwarded ones and own ones.";
    ReleaseLatenessSeconds: "waku_mix_release_lateness_seconds", Kind::Histogram(LATENESS), Seconds, [],
        "Time from a held packet's deadline to its release.";
    ReplayTags: "waku_mix_replay_tags", Kind::Gauge, Count, [],
        "Replay tags remembered.";
    ReplayTagsCapacity: "waku_mix_replay_tags_capacity", Kind::Gauge, Count, [],
        "Replay tags that can be remembered; when all are used, packets are refused.";
    ReplayTagsMemoryBytes: "waku_mix_replay_tags_memory_bytes", Kind::Gauge, Bytes, [],
        "Memory of the replay tags of all keys that open packets.";
    ReplayTagsDiskBytes: "waku_mix_replay_tags_disk_bytes", Kind::Gauge, Bytes, [],
        "Length of the logs of replay tags of all keys that open packets; 0 where tags are kept in memory alone.";
    ReplayTagsWaiting: "waku_mix_replay_tags_waiting", Kind::Gauge, Count, [],
        "Replay tags that are not known to be on the disk; their packets wait.";
    ReplayTagsCommitsTotal: "waku_mix_replay_tags_commits_total", Kind::Counter, Count, [],
        "Groups of replay tags that were committed to the disk.";
    ReplayTagsCommitSeconds: "waku_mix_replay_tags_commit_seconds", Kind::Gauge, Seconds, ["statistic"],
        "Time from the first tag of a group until the group was committed: sum of all groups since the start, and the longest.";
    ReplayTagsSyncsTotal: "waku_mix_replay_tags_syncs_total", Kind::Counter, Count, [],
        "Syncs of the logs of replay tags.";
    ReplayTagsLogFailuresTotal: "waku_mix_replay_tags_log_failures_total", Kind::Counter, Count, [],
        "Writes and syncs of the logs of replay tags that failed; packets are refused then.";
    ReplayTagsTornTailsTotal: "waku_mix_replay_tags_torn_tails_total", Kind::Counter, Count, [],
        "Logs of replay tags whose torn end was cut off at the start, as a crash or a power cut leaves it.";
    KeyRotationsTotal: "waku_mix_key_rotations_total", Kind::Counter, Count, [],
        "Times that the next mix key took the place of the current one.";
    KeyRetiredTotal: "waku_mix_key_retired_total", Kind::Counter, Count, [],
        "Mix keys that were given up before their time because their replay tags were lost or damaged.";
    KeyCurrentSinceTimestampSeconds: "waku_mix_key_current_since_timestamp_seconds", Kind::Gauge, Seconds, [],
        "When the current mix key became so, in seconds since the Unix epoch; 0 if that is not known.";
    KeyOverlapUntilTimestampSeconds: "waku_mix_key_overlap_until_timestamp_seconds", Kind::Gauge, Seconds, [],
        "Until when an earlier mix key opens packets as well, in seconds since the Unix epoch; 0 if there is none.";
    CapacityPacketsPerSecond: "waku_mix_capacity_packets_per_second", Kind::Gauge, Count, [],
        "Packets a second that this node can unwrap, measured at its start or set; what the admission of packets is made for.";
    CoverLoopsTotal: "waku_mix_cover_loops_total", Kind::Counter, Count, ["outcome"],
        "Packets that this node sends to itself as cover: sent, of these returned or lost; not_sent: the first hop did not take it; skipped: no path or no room.";
    CoverLoopSeconds: "waku_mix_cover_loop_seconds", Kind::Histogram(ROUND_TRIP), Seconds, [],
        "Time from sending a cover packet to its return, of those that returned.";
    NodesWeighedDown: "waku_mix_nodes_weighed_down", Kind::Gauge, Count, [],
        "Mix nodes that this node draws less often because more is lost through them than through the others.";
    PoolNodes: "waku_mix_pool_nodes", Kind::Gauge, Count, ["state"],
        "Mix nodes known from discovery, by whether paths may use them.";

    DiscoveryRequestsTotal: "waku_mix_discovery_requests_total", Kind::Counter, Count, ["protocol", "outcome"],
        "Requests of other nodes to this one's discovery protocols (each has at most 4 outcomes).";
    RendezvousRegistered: "waku_mix_rendezvous_registered", Kind::Gauge, Count, [],
        "Registrations of other nodes that this rendezvous point holds.";
    RendezvousRegistrationsTotal: "waku_mix_rendezvous_registrations_total", Kind::Counter, Count, ["outcome"],
        "Attempts of this node to register with a rendezvous point, by outcome: registered, failed.";

    // Discovery and the pool.
    PoolNodesBySource: "waku_mix_pool_nodes_by_source", Kind::Gauge, Count, ["source"],
        "Mix nodes that paths may use, by source that tells of them; one that several tell of counts for each.";
    PoolGroups: "waku_mix_pool_groups", Kind::Gauge, Count, ["kind"],
        "Different /24 subnets, and different families of nodes that one operator runs, among the mix nodes that paths may use.";
    PoolEffectiveGroups: "waku_mix_pool_effective_groups", Kind::Gauge, Count, ["kind"],
        "How many equally large subnets, or families, would be as diverse as those of the pool (inverse Simpson index).";
    PoolContactAgeSeconds: "waku_mix_pool_contact_age_seconds", Kind::Gauge, Seconds, ["statistic"],
        "Time since the mix nodes that paths may use were reached last: median and oldest, of those that were reached.";
    PoolChecksTotal: "waku_mix_pool_checks_total", Kind::Counter, Count, ["outcome"],
        "Nodes that were contacted to learn whether they are there, by outcome.";
    DiscoveryNodes: "waku_mix_discovery_nodes", Kind::Gauge, Count, ["kind"],
        "Nodes that discovery knows: written by the operator or reached before, and strangers that were not reached yet.";
    DiscoveryFindingsTotal: "waku_mix_discovery_findings_total", Kind::Counter, Count, ["source"],
        "Records that sources reported and that were taken.";
    DiscoveryRefusedTotal: "waku_mix_discovery_refused_total", Kind::Counter, Count, ["source", "reason"],
        "What sources received and was refused, by reason (8 sources, 11 reasons: at most 88 series).";
    DiscoveryLookupsTotal: "waku_mix_discovery_lookups_total", Kind::Counter, Count, ["source", "outcome"],
        "Questions that sources asked others, by whether they were answered (at most 16: 8 sources, 2 outcomes).";

    // Sending and exit.
    RequestsTotal: "waku_mix_requests_total", Kind::Counter, Count, ["outcome"],
        "Requests that a local user sent through the mixnet, by outcome.";
    RequestsPending: "waku_mix_requests_pending", Kind::Gauge, Count, [],
        "Own requests that wait for their answer.";
    RoundTripSeconds: "waku_mix_round_trip_seconds", Kind::Histogram(ROUND_TRIP), Seconds, [],
        "Time from an own request to its answer, answered ones only.";
    TriesTotal: "waku_mix_tries_total", Kind::Counter, Count, ["outcome"],
        "Tries of own requests, by outcome: answered, refused, silent (no answer within patience), not_left.";
    RequestPacketsTotal: "waku_mix_request_packets_total", Kind::Counter, Count, [],
        "Packets that were made for own requests that have ended; divided by requests, the price of one.";
    SendWindow: "waku_mix_send_window", Kind::Gauge, Count, [],
        "Own requests that may have a try under way; smaller than configured after somebody was busy.";
    TryLossRatio: "waku_mix_try_loss_ratio", Kind::Gauge, Ratio, [],
        "Share of the latest tries of own requests that were not answered within patience.";
    DirectPushesTotal: "waku_mix_direct_pushes_total", Kind::Counter, Count, ["reason"],
        "Own messages that went directly: asked (anonymity none), fallback (preferred, and the mixnet could not be used).";
    LoopsTotal: "waku_mix_loops_total", Kind::Counter, Count, ["outcome"],
        "Packets sent through a node of the pool and back to test it, by outcome: returned, lost, failed to leave.";
    ExitRequestsTotal: "waku_mix_exit_requests_total", Kind::Counter, Count, ["outcome"],
        "Requests that reached this exit, by outcome.";
    ExitRepliesTotal: "waku_mix_exit_replies_total", Kind::Counter, Count, ["outcome"],
        "Replies that this exit tried to send through reply blocks, by outcome.";
    ExitFragmentsTotal: "waku_mix_exit_fragments_total", Kind::Counter, Count, ["outcome"],
        "Fragments of requests that reached this exit, by what became of them.";
    ExitFragmentSets: "waku_mix_exit_fragment_sets", Kind::Gauge, Count, [],
        "Requests of which some fragments have come and others have not.";
    ExitFragmentBytes: "waku_mix_exit_fragment_bytes", Kind::Gauge, Bytes, [],
        "Bytes of the fragments that wait for others, reply blocks included.";

    // Host.
    Streams: "waku_mix_streams", Kind::Gauge, Count, ["direction"],
        "Open streams of the mix protocol.";
    StreamsOpenedTotal: "waku_mix_streams_opened_total", Kind::Counter, Count, ["direction"],
        "Streams of the mix protocol opened so far.";
    FramesRefusedTotal: "waku_mix_frames_refused_total", Kind::Counter, Count, ["reason"],
        "Incoming frames of the mix protocol that did not become packets.";
    AdmissionFramesTotal: "waku_mix_admission_frames_total", Kind::Counter, Count, ["outcome"],
        "Incoming frames of mix protocols before they take a buffer: admitted, or refused by reason (4 outcomes).";
    AdmissionActivePeers: "waku_mix_admission_active_peers", Kind::Gauge, Count, [],
        "Peers that sent frames in the last seconds, among which the capacity is shared; 0 without a limit.";
    AdmissionPaceRatio: "waku_mix_admission_pace_ratio", Kind::Gauge, Ratio, [],
        "Share of the capacity that is admitted now: 1, or less while packets come faster than this node opens them.";
    DialsTotal: "waku_mix_dials_total", Kind::Counter, Count, ["outcome"],
        "Connection attempts, by outcome.";
    ConnectionsRefusedTotal: "waku_mix_connections_refused_total", Kind::Counter, Count, ["reason"],
        "Connections refused, or ended before they were set up: nothing came, or a bound was reached (7 reasons).";
    Reachability: "waku_mix_reachability", Kind::Gauge, Count, ["state"],
        "1 for what is known of whether others can dial this node: public, private or unknown; 0 for the others.";
    RelayReservations: "waku_mix_relay_reservations", Kind::Gauge, Count, [],
        "Circuit relays through which this node can be reached.";
    MetadataExchangesTotal: "waku_mix_metadata_exchanges_total", Kind::Counter, Count, ["direction", "outcome"],
        "Exchanges of Waku metadata (2 directions, at most 6 outcomes).";
    GossipMessagesTotal: "waku_mix_gossip_messages_total", Kind::Counter, Count, ["verdict"],
        "Messages that arrived by gossip, by what validation said.";
    GossipUnusableTotal: "waku_mix_gossip_unusable_total", Kind::Counter, Count, ["reason"],
        "Gossip messages that no local reader sees, by reason (5); those that are not_text are passed on, the others are not.";
    GossipSlowPeersTotal: "waku_mix_gossip_slow_peers_total", Kind::Counter, Count, [],
        "Peers that were disconnected because gossip for them did not get away for ten heartbeats.";
    LightpushResponsesTotal: "waku_mix_lightpush_responses_total", Kind::Counter, Count, ["version", "class"],
        "Lightpush responses given as a service, by status class (2 versions, at most 5 classes).";

    RestRefusedTotal: "waku_mix_rest_refused_total", Kind::Counter, Count, ["reason"],
        "REST requests refused because a web page could have sent them: host, origin or content_type.";

    // The fleet's names of mix: spec/mix-wire.md §18, spec/waku.md §5.6.
    MixMessagesRecvdTotal: "mix_messages_recvd_total", Kind::Counter, Count, ["type"],
        "Mix packets received, by position: Entry, Intermediate, Exit, Reply.";
    MixMessagesForwardedTotal: "mix_messages_forwarded_total", Kind::Counter, Count, ["type"],
        "Mix packets passed on, by position: Entry, Intermediate, Exit, Reply, Cover.";
    MixMessagesErrorTotal: "mix_messages_error_total", Kind::Counter, Count, ["type", "error"],
        "Mix packets that failed, by position and the fleet's error word (9 positions, at most 23 words, below 60 pairs occur).";
    MixPoolSize: "mix_pool_size", Kind::Gauge, Count, [],
        "Mix nodes that paths may use.";
    MixSurbCredsActive: "mix_surb_creds_active", Kind::Gauge, Count, [],
        "Reply blocks whose answer is still awaited.";
    MixSurbCredsExpiredTotal: "mix_surb_creds_expired_total", Kind::Counter, Count, [],
        "Reply blocks that expired without an answer.";
    MixSurbCredsRejectedTotal: "mix_surb_creds_rejected_total", Kind::Counter, Count, [],
        "Requests refused because too many reply blocks were awaited.";
    MixReplyTimeoutsTotal: "mix_reply_timeouts_total", Kind::Counter, Count, [],
        "Requests whose answer did not come in time.";

    // The fleet's names of a node: spec/waku.md §7.3.
    WakuVersion: "waku_version", Kind::Gauge, Info, ["version"],
        "Always 1; version of the program.";
    WakuConnectedPeers: "waku_connected_peers", Kind::Gauge, Count, ["direction", "protocol"],
        "Connected peers by direction and protocol that they serve (2 directions, at most 10 protocols).";
    WakuPeersDialsTotal: "waku_peers_dials_total", Kind::Counter, Count, ["outcome"],
        "Connection attempts, by outcome.";
    WakuNodeMessagesTotal: "waku_node_messages_total", Kind::Counter, Count, ["type"],
        "Messages relayed, by pubsub topic of the shards that this node serves.";
    WakuNodeErrorsTotal: "waku_node_errors_total", Kind::Counter, Count, ["type"],
        "Errors of the node, by kind.";
    WakuHistogramMessageSize: "waku_histogram_message_size", Kind::Histogram(MESSAGE_KB), Kilobytes, [],
        "Size of relayed messages in kilobytes.";
    WakuServiceRequestsTotal: "waku_service_requests_total", Kind::Counter, Count, ["service", "state"],
        "Requests to a service of this node, served or rejected (at most 6 services, 2 states).";
    WakuServiceNetworkBytesTotal: "waku_service_network_bytes_total", Kind::Counter, Bytes, ["service", "direction"],
        "Bytes of service protocols (at most 6 services, 2 directions).";
    WakuLightpushV3MessagesTotal: "waku_lightpush_v3_messages_total", Kind::Counter, Count, ["type"],
        "Lightpush v3 requests and pushes.";
    WakuLightpushV3ErrorsTotal: "waku_lightpush_v3_errors_total", Kind::Counter, Count, ["type"],
        "Failures of lightpush v3, by kind.";
    WakuLightpushMessagesTotal: "waku_lightpush_messages_total", Kind::Counter, Count, ["type"],
        "Legacy lightpush requests and pushes.";
    WakuLightpushErrorsTotal: "waku_lightpush_errors_total", Kind::Counter, Count, ["type"],
        "Failures of legacy lightpush, by kind.";
}
