//! Every metric of the sender.

use wakumix_role_api::metrics::ROUND_TRIP;
use wakumix_telemetry::catalogue;

catalogue! {
    RequestsTotal: "waku_mix_requests_total", Counter, Count, ["outcome"],
        "Requests that a local user sent through the mixnet, by outcome.";
    RequestsPending: "waku_mix_requests_pending", Gauge, Count, [],
        "Own requests that wait for their answer.";
    RoundTripSeconds: "waku_mix_round_trip_seconds", Histogram(ROUND_TRIP), Seconds, [],
        "Time from an own request to its answer, answered ones only.";
    TriesTotal: "waku_mix_tries_total", Counter, Count, ["outcome"],
        "Tries of own requests, by outcome: answered, refused, silent (no answer within the response timeout), not_left.";
    RequestPacketsTotal: "waku_mix_request_packets_total", Counter, Count, [],
        "Packets that were made for own requests that have ended; divided by requests, the price of one.";
    RequestExposureTotal: "waku_mix_request_exposure_total", Counter, Count, ["to"],
        "Who saw something of own requests that have ended: guards (first hops and last reply hops), exits, reply_paths; divided by requests, the exposure of one.";
    SendWindow: "waku_mix_send_window", Gauge, Count, [],
        "Own requests that may have a try under way; smaller than configured after somebody was busy.";
    TryLossRatio: "waku_mix_try_loss_ratio", Gauge, Ratio, [],
        "Share of the latest tries of own requests that were not answered within the response timeout.";
    DirectPushesTotal: "waku_mix_direct_pushes_total", Counter, Count, ["reason"],
        "Own messages that went directly: asked (anonymity none), fallback (preferred, and the mixnet could not be used).";
    LoopsTotal: "waku_mix_loops_total", Counter, Count, ["outcome"],
        "Packets sent through a node of the pool and back to test it, by outcome: returned, lost, failed to leave.";

    // Nwaku's names of mix: `spec/mix-wire.md §18`, `spec/waku.md §5.6`.
    MixSurbCredsActive: "mix_surb_creds_active", Gauge, Count, [],
        "Reply blocks whose answer is still awaited.";
    MixSurbCredsExpiredTotal: "mix_surb_creds_expired_total", Counter, Count, [],
        "Reply blocks that expired without an answer.";
    MixSurbCredsRejectedTotal: "mix_surb_creds_rejected_total", Counter, Count, [],
        "Requests refused because too many reply blocks were awaited.";
    MixReplyTimeoutsTotal: "mix_reply_timeouts_total", Counter, Count, [],
        "Requests whose answer did not come in time.";
}
