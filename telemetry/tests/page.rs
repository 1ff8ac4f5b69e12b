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
use wakumix_telemetry::{Kind, Metric, Telemetry};

use parser::{Page, parse};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transport {
    transport: String,
}

/// A node that uses each of its metrics, and libp2p metrics of every form.
fn busy_node() -> Telemetry {
    let telemetry = Telemetry::new();
    for metric in Metric::ALL.iter().copied() {
        let labels: Vec<_> = metric.labels().iter().map(|name| (*name, "a \"quoted\\\nvalue")).collect();
        match metric.kind() {
            Kind::Counter => telemetry.counter(metric, &labels).increment(2),
            Kind::Gauge => telemetry.gauge(metric, &labels).set(-1.5),
            Kind::Histogram(buckets) => telemetry.histogram(metric, &labels).record(buckets[0]),
        }
    }
    register_like_libp2p(&telemetry);
    telemetry
}

fn register_like_libp2p(telemetry: &Telemetry) {
    let registry = telemetry.libp2p_registry();
    let mut registry = registry.lock().unwrap();
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
    for metric in Metric::ALL {
        let family = &page.families[metric.name()];
        assert_eq!(family.kind, metric.kind().as_str(), "{metric:?}");
        assert_eq!(family.help, metric.help(), "{metric:?}");
        let labels: Vec<_> =
            family.samples[0].labels.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "le").collect();
        assert_eq!(labels, metric.labels(), "{metric:?}");
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
    for metric in Metric::ALL {
        let Kind::Histogram(bounds) = metric.kind() else {
            continue;
        };
        let family = &page.families[metric.name()];
        let found: Vec<f64> = family.samples.iter().filter_map(|sample| sample.bound()).collect();
        let expected: Vec<f64> = bounds.iter().copied().chain([f64::INFINITY]).collect();
        assert_eq!(found, expected, "{metric:?}");
    }
}

#[test]
fn two_nodes_in_one_process_do_not_share_metrics() {
    let (one, other) = (Telemetry::new(), Telemetry::new());
    one.counter(Metric::PacketsForwardedTotal, &[]).increment(5);
    assert_eq!(page_of(&one).families["waku_mix_packets_forwarded_total"].samples[0].value, 5.0);
    assert!(page_of(&other).families.is_empty());
}

#[test]
fn handles_of_the_same_labels_count_together() {
    let telemetry = Telemetry::new();
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
    let telemetry = Telemetry::new();
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
fn upkeep_keeps_the_samples_that_no_scrape_has_seen() {
    let telemetry = Telemetry::new();
    let wait = telemetry.histogram(Metric::QueueWaitSeconds, &[("queue", "delay")]);
    wait.record(0.2);
    telemetry.upkeep();
    wait.record(0.2);
    let page = page_of(&telemetry);
    let family = &page.families["waku_mix_queue_wait_seconds"];
    let count = family.samples.iter().find(|sample| sample.name.ends_with("_count")).unwrap();
    assert_eq!(count.value, 2.0);
}

#[test]
#[should_panic(expected = "PacketsHeld is a gauge")]
fn a_metric_of_another_kind_is_a_defect_of_the_caller() {
    Telemetry::new().counter(Metric::PacketsHeld, &[]).increment(1);
}

#[test]
#[should_panic(expected = "PacketsDroppedTotal has the labels [\"stage\", \"reason\"]")]
fn other_labels_than_those_of_the_list_are_a_defect_of_the_caller() {
    Telemetry::new().counter(Metric::PacketsDroppedTotal, &[("reason", "mac")]).increment(1);
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
