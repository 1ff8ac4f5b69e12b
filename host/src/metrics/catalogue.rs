//! Every metric of the host but `waku_mix_gossip_messages_total`, which the relay records as well: it is in
//! [`wakumix_role_api::metrics`].

use wakumix_telemetry::catalogue;

catalogue! {
    Streams: "waku_mix_streams", Gauge, Count, ["direction"],
        "Open streams of the mix protocol.";
    StreamsOpenedTotal: "waku_mix_streams_opened_total", Counter, Count, ["direction"],
        "Streams of the mix protocol opened so far.";
    FramesRefusedTotal: "waku_mix_frames_refused_total", Counter, Count, ["reason"],
        "Incoming frames of the mix protocol that did not become packets.";
    AdmissionFramesTotal: "waku_mix_admission_frames_total", Counter, Count, ["outcome"],
        "Incoming frames of mix protocols before they take a buffer: admitted, or refused by reason (4 outcomes).";
    AdmissionActivePeers: "waku_mix_admission_active_peers", Gauge, Count, [],
        "Peers that sent frames in the last seconds, among which the capacity is shared; 0 without a limit.";
    AdmissionPaceRatio: "waku_mix_admission_pace_ratio", Gauge, Ratio, [],
        "Share of the capacity that is admitted now: 1, or less while packets come faster than this node opens them.";
    DialsTotal: "waku_mix_dials_total", Counter, Count, ["outcome"],
        "Connection attempts, by outcome.";
    ConnectionsRefusedTotal: "waku_mix_connections_refused_total", Counter, Count, ["reason"],
        "Connections refused, or ended before they were set up: nothing came, or a bound was reached (9 reasons).";
    ConnectionsEvictedTotal: "waku_mix_connections_evicted_total", Counter, Count, [],
        "Connections that were closed because others needed their places and they were longest of no use.";
    InboundPlaces: "waku_mix_inbound_places", Gauge, Count, [],
        "Places for connections that remotes open.";
    InboundConnections: "waku_mix_inbound_connections", Gauge, Count, [],
        "Connections that remotes opened.";
    Reachability: "waku_mix_reachability", Gauge, Count, ["state"],
        "1 for what is known of whether others can dial this node: public, private or unknown; 0 for the others.";
    RelayReservations: "waku_mix_relay_reservations", Gauge, Count, [],
        "Circuit relays through which this node can be reached.";
    MetadataExchangesTotal: "waku_mix_metadata_exchanges_total", Counter, Count, ["direction", "outcome"],
        "Exchanges of Waku metadata (2 directions, at most 6 outcomes).";
    GossipAdmissionMessagesTotal: "waku_mix_gossip_admission_messages_total", Counter, Count, ["outcome"],
        "Gossip messages before gossipsub sees them: taken as new or as copies, or dropped by reason (5 outcomes).";
    GossipPausesTotal: "waku_mix_gossip_pauses_total", Counter, Count, ["reason"],
        "Times that a gossip frame was not taken at once: its stream rested, or too many waited and it was dropped (3 reasons).";
    GossipSlowPeersTotal: "waku_mix_gossip_slow_peers_total", Counter, Count, [],
        "Peers that were disconnected because gossip for them did not get away for ten heartbeats.";

    // Nwaku's names of a node: `spec/waku.md §7.3`.
    WakuConnectedPeers: "waku_connected_peers", Gauge, Count, ["direction", "protocol"],
        "Connected peers by direction and protocol that they serve (2 directions, at most 10 protocols).";
    WakuPeersDialsTotal: "waku_peers_dials_total", Counter, Count, ["outcome"],
        "Connection attempts, by outcome.";
}
