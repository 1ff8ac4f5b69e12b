//! The metrics of certificates.

use wakumix_telemetry::catalogue;

catalogue! {
    CertificateEndTimestampSeconds: "waku_mix_certificate_end_timestamp_seconds", Gauge, Seconds, ["surface"],
        "When the certificate that is served ends, in Unix time, by surface: websocket or http.";
    CertificateReloadsTotal: "waku_mix_certificate_reloads_total", Counter, Count, ["surface", "outcome"],
        "Changed certificate files, by surface and whether the new certificate is served (taken or refused, at most 4 series).";
}
