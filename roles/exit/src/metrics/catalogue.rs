//! Every metric of the exit.

use wakumix_telemetry::catalogue;

catalogue! {
    ExitRequestsTotal: "waku_mix_exit_requests_total", Counter, Count, ["outcome"],
        "Requests that reached this exit, by outcome.";
    ExitRepliesTotal: "waku_mix_exit_replies_total", Counter, Count, ["outcome"],
        "Replies that this exit tried to send through reply blocks, by outcome.";
    ExitFragmentsTotal: "waku_mix_exit_fragments_total", Counter, Count, ["outcome"],
        "Fragments of requests that reached this exit, by what became of them.";
    ExitFragmentSets: "waku_mix_exit_fragment_sets", Gauge, Count, [],
        "Requests of which some fragments have come and others have not.";
    ExitFragmentBytes: "waku_mix_exit_fragment_bytes", Gauge, Bytes, [],
        "Bytes of the fragments that wait for others, reply blocks included.";
}
