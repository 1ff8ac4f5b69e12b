//! Metrics that belong to the node as a whole: packet accounting, buffers, versions.

use std::sync::Arc;

use wakumix_mix::{Balance, nwaku::NwakuCounts};
use wakumix_role_api::RoleContext;
use wakumix_telemetry::{Telemetry, logging};

use crate::{config::Config, metrics::Metric};

/// Refreshes the accounting at every scrape.
pub(super) fn export(context: &RoleContext, config: &Config) {
    let telemetry = &context.telemetry;
    let profile = config.profiles_text();
    telemetry.gauge(Metric::BuildInfo, &[("version", crate::VERSION), ("profile", &profile)]).set(1.0);
    telemetry.gauge(Metric::WakuVersion, &[("version", crate::VERSION)]).set(1.0);
    let (ledger, formats) = (Arc::clone(&context.ledger), context.formats.clone());
    telemetry.on_scrape(move |telemetry| {
        // The buffers first: a packet that is finished in between then counts as held, not as lost.
        let held = u64::try_from(formats.held()).unwrap_or(u64::MAX);
        let balance = ledger.snapshot();
        packets(telemetry, &balance, held);
        telemetry.counter(Metric::LogLinesLeftOutTotal, &[]).absolute(logging::lines_left_out());
        nwaku(telemetry, &NwakuCounts::of(&ledger));
        process(telemetry);
        let capacity = u64::try_from(formats.capacity()).unwrap_or(u64::MAX);
        gauge(telemetry, Metric::PacketBuffersInUse, held);
        gauge(telemetry, Metric::PacketBuffersCapacity, capacity);
    });
}

fn packets(telemetry: &Telemetry, balance: &Balance, held: u64) {
    let counters = [
        (Metric::PacketsReceivedTotal, balance.received),
        (Metric::PacketsForwardedTotal, balance.forwarded),
        (Metric::PacketsSentTotal, balance.sent),
        (Metric::PacketsDeliveredTotal, balance.delivered),
        (Metric::PacketsRepliedTotal, balance.replied),
        (Metric::PacketsCoverTotal, balance.cover),
    ];
    for (metric, value) in counters {
        telemetry.counter(metric, &[]).absolute(value);
    }
    for (origin, value) in &balance.originated_by {
        telemetry.counter(Metric::PacketsOriginatedTotal, &[("origin", origin.as_str())]).absolute(*value);
    }
    for (stage, reason, value) in &balance.dropped {
        let labels = [("stage", stage.as_str()), ("reason", reason.as_str())];
        telemetry.counter(Metric::PacketsDroppedTotal, &labels).absolute(*value);
    }
    gauge(telemetry, Metric::PacketsHeld, held);
    #[expect(clippy::cast_precision_loss, reason = "a unaccounted is near zero, and any other value is wrong anyway")]
    telemetry.gauge(Metric::PacketBalanceResidue, &[]).set(balance.unaccounted(held) as f64);
}

/// What the system says of the process. What it does not say has no series.
fn process(telemetry: &Telemetry) {
    let process = metrics_process::collector::collect();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time of processors, in whole seconds"
    )]
    let cpu = process.cpu_seconds_total.map(|seconds| seconds as u64);
    if let Some(seconds) = cpu {
        telemetry.counter(Metric::ProcessCpuSecondsTotal, &[]).absolute(seconds);
    }
    for (metric, value) in [
        (Metric::ProcessOpenFds, process.open_fds),
        (Metric::ProcessMaxFds, process.max_fds),
        (Metric::ProcessVirtualMemoryBytes, process.virtual_memory_bytes),
        (Metric::ProcessResidentMemoryBytes, process.resident_memory_bytes),
        (Metric::ProcessStartTimeSeconds, process.start_time_seconds),
        (Metric::ProcessThreads, process.threads),
    ] {
        if let Some(value) = value {
            gauge(telemetry, metric, value);
        }
    }
}

fn nwaku(telemetry: &Telemetry, counts: &NwakuCounts) {
    for (kind, value) in &counts.received {
        telemetry.counter(Metric::MixMessagesRecvdTotal, &[("type", kind)]).absolute(*value);
    }
    for (kind, value) in &counts.forwarded {
        telemetry.counter(Metric::MixMessagesForwardedTotal, &[("type", kind)]).absolute(*value);
    }
    for (kind, error, value) in &counts.errors {
        telemetry.counter(Metric::MixMessagesErrorTotal, &[("type", kind), ("error", error)]).absolute(*value);
    }
}

fn gauge(telemetry: &Telemetry, metric: Metric, value: u64) {
    #[expect(clippy::cast_precision_loss, reason = "numbers of packets and bytes stay far below 2^53")]
    telemetry.gauge(metric, &[]).set(value as f64);
}
