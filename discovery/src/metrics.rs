//! Every metric of discovery.

use wakumix_telemetry::catalogue;

catalogue! {
    PoolNodes: "waku_mix_pool_nodes", Gauge, Count, ["state"],
        "Mix nodes known from discovery, by whether paths may use them.";
    DiscoveryRequestsTotal: "waku_mix_discovery_requests_total", Counter, Count, ["protocol", "outcome"],
        "Requests of other nodes to this one's discovery protocols (each has at most 4 outcomes).";
    RendezvousRegistered: "waku_mix_rendezvous_registered", Gauge, Count, [],
        "Registrations of other nodes that this rendezvous point holds.";
    RendezvousRegistrationsTotal: "waku_mix_rendezvous_registrations_total", Counter, Count, ["outcome"],
        "Attempts of this node to register with a rendezvous point, by outcome: registered, failed.";
    PoolNodesBySource: "waku_mix_pool_nodes_by_source", Gauge, Count, ["source"],
        "Mix nodes that paths may use, by source that tells of them; one that several tell of counts for each.";
    PoolGroups: "waku_mix_pool_groups", Gauge, Count, ["kind"],
        "Different /24 subnets, and different families of nodes that one operator runs, among the mix nodes that paths may use.";
    PoolEffectiveGroups: "waku_mix_pool_effective_groups", Gauge, Count, ["kind"],
        "How many equally large subnets, or families, would be as diverse as those of the pool (inverse Simpson index).";
    PoolContactAgeSeconds: "waku_mix_pool_contact_age_seconds", Gauge, Seconds, ["statistic"],
        "Time since the mix nodes that paths may use were reached last: median and oldest, of those that were reached.";
    PoolChecksTotal: "waku_mix_pool_checks_total", Counter, Count, ["outcome"],
        "Nodes that were contacted to learn whether they are there, by outcome.";
    DiscoveryNodes: "waku_mix_discovery_nodes", Gauge, Count, ["kind"],
        "Nodes that discovery knows: written by the operator or reached before, and strangers that were not reached yet.";
    DiscoveryFindingsTotal: "waku_mix_discovery_findings_total", Counter, Count, ["source"],
        "Records that sources reported and that were taken.";
    DiscoveryRefusedTotal: "waku_mix_discovery_refused_total", Counter, Count, ["source", "reason"],
        "What sources received and was refused, by reason (8 sources, 11 reasons: at most 88 series).";
    DiscoveryLookupsTotal: "waku_mix_discovery_lookups_total", Counter, Count, ["source", "outcome"],
        "Questions that sources asked others, by whether they were answered (at most 16: 8 sources, 2 outcomes).";

    // Nwaku's names of mix: `spec/mix-wire.md §18`, `spec/waku.md §5.6`.
    MixPoolSize: "mix_pool_size", Gauge, Count, [],
        "Mix nodes that paths may use.";
}
