//! What Prometheus gets is valid `text/plain; version=0.0.4`, whole and of this node only.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper of a test fails the test")]

mod parser;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as Series;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use wakumix_telemetry::{Catalogue, CatalogueError, Description, MetricKind, Telemetry, Unit, catalogue};

use parser::{Page, parse};

const WAIT: &[f64] = &[0.01, 0.1, 1.0];

catalogue! {
    PacketsForwardedTotal: "waku_mix_packets_forwarded_total", Counter, Count, [], "Packets passed on.";
    PacketsDroppedTotal: "waku_mix_packets_dropped_total", Counter, Count, ["stage", "reason"], "Packets dropped.";
    PacketsHeld: "waku_mix_packets_held", Gauge, Count, [], "Packets in the node.";
    DialsTotal: "waku_mix_dials_total", Counter, Count, ["outcome"], "Connection attempts.";
    QueueWaitSeconds: "waku_mix_queue_wait_seconds", Histogram(WAIT), Seconds, ["queue"], "Time in a queue.";
}

const HELD_ELSEWHERE: Description = Description {
    owner: "elsewhere",
    name: "waku_mix_packets_held",
    kind: MetricKind::Gauge,
    unit: Unit::Count,
    labels: &[],
    help: "Packets held by somebody else.",
};
static ELSEWHERE: Catalogue = Catalogue { owner: "elsewhere", metrics: &[HELD_ELSEWHERE] };

fn new_node() -> Telemetry {
    Telemetry::new([&METRICS]).unwrap()
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transport {
    transport: String,
}

/// A node that uses each of its metrics, and libp2p metrics of every form.
fn busy_node() -> Telemetry {
    let telemetry = new_node();
    for metric in METRICS.metrics {
        let labels: Vec<_> = metric.labels.iter().map(|name| (*name, "a \"quoted\\\nvalue")).collect();
        match metric.kind {
            MetricKind::Counter => telemetry.counter(metric, &labels).increment(2),
            MetricKind::Gauge => telemetry.gauge(metric, &labels).set(-1.5),
            MetricKind::Histogram(buckets) => telemetry.histogram(metric, &labels).record(buckets[0]),
        }
    }
    register_like_libp2p(&telemetry);
    telemetry
}

fn register_like_libp2p(telemetry: &Telemetry) {
    let registry = telemetry.libp2p_registry();
    let mut registry = registry.lock();
    let libp2p = registry.sub_registry_with_prefix("libp2p");
    let dials = Series::<Transport, Counter>::default();
    dials.get_or_create(&Transport { transport: "/ip4/tcp\"\n".into() }).inc_by(7);
    libp2p.register("dials", "Dials by transport", dials);
    let durations = Histogram::new([0.1, 1.0]);
    durations.observe(0.5);
    libp2p.register("ping_seconds", "Round trips", durations);
    libp2p.register("build", "Version", Info::new([("version", "1")]));
}

fn page_of(telemetry: &Telemetry) -> Page {
    let text = telemetry.render();
    parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn the_page_of_a_busy_node_is_valid_and_has_every_metric() {
    let page = page_of(&busy_node());
    for metric in METRICS.metrics {
        let family = &page.families[metric.name];
        assert_eq!(family.kind, metric.kind.as_str(), "{metric:?}");
        assert_eq!(family.help, metric.help, "{metric:?}");
        let labels: Vec<_> =
            family.samples[0].labels.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "le").collect();
        assert_eq!(labels, metric.labels, "{metric:?}");
    }
}

#[test]
fn libp2p_counters_keep_their_type_on_the_shared_page() {
    let page = page_of(&busy_node());
    let dials = &page.families["libp2p_dials_total"];
    assert_eq!((dials.kind.as_str(), dials.samples[0].value), ("counter", 7.0));
    assert_eq!(dials.help, "Dials by transport.");
    assert_eq!(page.families["libp2p_ping_seconds"].kind, "histogram");
    assert_eq!(page.families["libp2p_build_info"].kind, "gauge");
}

#[test]
fn histograms_have_the_buckets_of_the_list() {
    let page = page_of(&busy_node());
    for metric in METRICS.metrics {
        let MetricKind::Histogram(bounds) = metric.kind else {
            continue;
        };
        let family = &page.families[metric.name];
        let found: Vec<f64> = family.samples.iter().filter_map(|sample| sample.bound()).collect();
        let expected: Vec<f64> = bounds.iter().copied().chain([f64::INFINITY]).collect();
        assert_eq!(found, expected, "{metric:?}");
    }
}

#[test]
fn two_nodes_in_one_process_do_not_share_metrics() {
    let (one, other) = (new_node(), new_node());
    one.counter(Metric::PacketsForwardedTotal, &[]).increment(5);
    assert_eq!(page_of(&one).families["waku_mix_packets_forwarded_total"].samples[0].value, 5.0);
    assert!(page_of(&other).families.is_empty());
}

#[test]
fn handles_of_the_same_labels_count_together() {
    let telemetry = new_node();
    let clone = telemetry.clone();
    telemetry.counter(Metric::DialsTotal, &[("outcome", "connected")]).increment(1);
    clone.counter(Metric::DialsTotal, &[("outcome", "connected")]).increment(1);
    telemetry.counter(Metric::DialsTotal, &[("outcome", "refused")]).increment(1);
    let values: Vec<f64> =
        page_of(&telemetry).families["waku_mix_dials_total"].samples.iter().map(|sample| sample.value).collect();
    assert_eq!(values.iter().sum::<f64>(), 3.0);
    assert_eq!(values.len(), 2);
}

#[test]
fn numbers_kept_elsewhere_are_refreshed_at_each_scrape() {
    let telemetry = new_node();
    let forwarded = Arc::new(AtomicU64::new(3));
    let source = Arc::clone(&forwarded);
    telemetry.on_scrape(move |telemetry| {
        let forwarded = source.load(Ordering::Relaxed);
        telemetry.counter(Metric::PacketsForwardedTotal, &[]).absolute(forwarded);
        telemetry.gauge(Metric::PacketsHeld, &[]).set(1.0);
    });
    let value =
        |telemetry: &Telemetry| page_of(telemetry).families["waku_mix_packets_forwarded_total"].samples[0].value;
    assert_eq!(value(&telemetry), 3.0);
    forwarded.store(9, Ordering::Relaxed);
    assert_eq!(value(&telemetry), 9.0);
}

#[test]
#[should_panic(expected = "waku_mix_packets_held of wakumix-telemetry is a gauge")]
fn a_metric_of_another_kind_is_a_defect_of_the_caller() {
    new_node().counter(Metric::PacketsHeld, &[]).increment(1);
}

#[test]
#[should_panic(expected = "waku_mix_packets_dropped_total of wakumix-telemetry has the labels [\"stage\", \"reason\"]")]
fn other_labels_than_those_of_the_list_are_a_defect_of_the_caller() {
    new_node().counter(Metric::PacketsDroppedTotal, &[("reason", "mac")]).increment(1);
}

#[test]
#[should_panic(
    expected = "waku_mix_packets_held is in a catalogue of wakumix-telemetry that this telemetry was not made of"
)]
fn a_metric_of_a_catalogue_that_was_not_given_is_a_defect_of_the_caller() {
    // Another crate's metric of that name does not count.
    Telemetry::new([&ELSEWHERE]).unwrap().gauge(Metric::PacketsHeld, &[]).set(1.0);
}

#[test]
fn a_name_in_two_catalogues_is_refused_with_both_owners() {
    let error = Telemetry::new([&METRICS, &ELSEWHERE]).unwrap_err();
    let owners = ["wakumix-telemetry", "elsewhere"];
    assert_eq!(error, CatalogueError::NameTwice { name: "waku_mix_packets_held", owners });
    let text = error.to_string();
    assert!(owners.iter().chain(&["waku_mix_packets_held"]).all(|part| text.contains(part)), "{text}");
}

#[test]
fn a_histogram_without_buckets_is_refused() {
    static BARE: Catalogue = Catalogue {
        owner: "elsewhere",
        metrics: &[Description { kind: MetricKind::Histogram(&[]), ..HELD_ELSEWHERE }],
    };
    let refused = CatalogueError::NoBuckets { name: "waku_mix_packets_held", owner: "elsewhere" };
    assert_eq!(Telemetry::new([&BARE]).unwrap_err(), refused);
}

#[test]
fn the_parser_of_these_tests_is_strict() {
    for (broken, why) in [
        ("a 1\n", "sample without a type"),
        ("# TYPE a counter\nb 1\n", "sample of another family"),
        ("# TYPE a gauge\na 1\n# TYPE a gauge\na 1\n", "family twice"),
        ("# TYPE a gauge\na 1\na 2\n", "series twice"),
        ("# TYPE a gauge\na{x=\"1} 1\n", "open quote"),
        ("# TYPE a gauge\na{x=\"1\"} one\n", "not a number"),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n", "no +Inf"),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n", "falling buckets"),
        ("# TYPE a gauge\na 1\n# EOF\n", "OpenMetrics end mark"),
        ("# TYPE a info\na_info 1\n", "OpenMetrics type"),
        ("# TYPE a counter\na_total 1\n", "type line without _total"),
        ("# TYPE a gauge\na 1", "no newline at the end"),
    ] {
        assert!(parse(broken).is_err(), "accepted: {why}");
    }
}
