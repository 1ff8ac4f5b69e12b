//! The metrics of the node as a whole.

use wakumix_telemetry::catalogue;

catalogue! {
    BuildInfo: "waku_mix_build_info", Gauge, Info, ["version", "profile"],
        "Always 1; version of the program and wire profile of its mix protocol.";
    Ready: "waku_mix_ready", Gauge, Count, [],
        "1 while every readiness latch of the node is set, else 0.";

    LogLinesLeftOutTotal: "waku_mix_log_lines_left_out_total", Counter, Count, [],
        "Warnings and errors of libraries that were not logged, because ten of the same place in their code were within a minute.";

    // Packets: the balance. Read from the ledger when scraped.
    PacketsReceivedTotal: "waku_mix_packets_received_total", Counter, Count, [],
        "Sphinx packets that arrived from other nodes.";
    PacketsOriginatedTotal: "waku_mix_packets_originated_total", Counter, Count, ["origin"],
        "Sphinx packets made by this node, by purpose.";
    PacketsForwardedTotal: "waku_mix_packets_forwarded_total", Counter, Count, [],
        "Packets received here and written to their next hop.";
    PacketsSentTotal: "waku_mix_packets_sent_total", Counter, Count, [],
        "Packets made here and written to their first hop.";
    PacketsDeliveredTotal: "waku_mix_packets_delivered_total", Counter, Count, [],
        "Packets whose path ended here and whose request was taken by the exit.";
    PacketsRepliedTotal: "waku_mix_packets_replied_total", Counter, Count, [],
        "Packets that were opened here as the answer to an own request.";
    PacketsCoverTotal: "waku_mix_packets_cover_total", Counter, Count, [],
        "Own cover packets that came back.";
    PacketsDroppedTotal: "waku_mix_packets_dropped_total", Counter, Count, ["stage", "reason"],
        "Packets that were dropped, by stage of the pipeline and reason (each reason occurs in one or two of the 7 stages: below 60 series).";
    PacketsHeld: "waku_mix_packets_held", Gauge, Count, [],
        "Packets in the node now, in any stage.";
    PacketBalanceResidue: "waku_mix_packet_balance_residue", Gauge, Count, [],
        "Received plus originated packets minus all outcomes minus held ones; anything but 0 at rest is a defect.";
    PacketBuffersInUse: "waku_mix_packet_buffers_in_use", Gauge, Count, [],
        "Packet buffers taken from the pool.";
    PacketBuffersCapacity: "waku_mix_packet_buffers_capacity", Gauge, Count, [],
        "Packet buffers that the pool may hand out.";

    // REST.
    RestRefusedTotal: "waku_mix_rest_refused_total", Counter, Count, ["reason"],
        "REST requests refused because a web page could have sent them (host, origin, content_type), because they lack the token or client certificate that they need (token, client_certificate), or because they change something over a network without TLS (insecure).";

    // Nwaku's names of mix: `spec/mix-wire.md §18`, `spec/waku.md §5.6`.
    MixMessagesRecvdTotal: "mix_messages_recvd_total", Counter, Count, ["type"],
        "Mix packets received, by position: Entry, Intermediate, Exit, Reply.";
    MixMessagesForwardedTotal: "mix_messages_forwarded_total", Counter, Count, ["type"],
        "Mix packets passed on, by position: Entry, Intermediate, Exit, Reply, Cover.";
    MixMessagesErrorTotal: "mix_messages_error_total", Counter, Count, ["type", "error"],
        "Mix packets that failed, by position and nwaku's error word (9 positions, at most 23 words, below 60 pairs occur).";

    // The names that Prometheus has for every process, which dashboards and alerts ask for.
    ProcessCpuSecondsTotal: "process_cpu_seconds_total", Counter, Seconds, [],
        "Time of processors that the process has taken, its own and the system's for it, in whole seconds.";
    ProcessOpenFds: "process_open_fds", Gauge, Count, [],
        "Files and sockets that the process has open.";
    ProcessMaxFds: "process_max_fds", Gauge, Count, [],
        "Files and sockets that it may have open.";
    ProcessVirtualMemoryBytes: "process_virtual_memory_bytes", Gauge, Bytes, [],
        "Addresses that the process has reserved.";
    ProcessResidentMemoryBytes: "process_resident_memory_bytes", Gauge, Bytes, [],
        "Memory that the process has.";
    ProcessStartTimeSeconds: "process_start_time_seconds", Gauge, Seconds, [],
        "When the process began, in Unix time.";
    ProcessThreads: "process_threads", Gauge, Count, [],
        "Threads of the process.";

    // Nwaku's names of a node: `spec/waku.md §7.3`.
    WakuVersion: "waku_version", Gauge, Info, ["version"],
        "Always 1; version of the program.";
}
