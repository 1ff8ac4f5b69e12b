//! All metrics of a node follow the same rules, and `docs/metrics.md` lists them.

#![cfg(all(feature = "relay", feature = "mixer", feature = "exit", feature = "sender"))]

use std::fmt::Write as _;

use wakumix_node::roles::Roles;
use wakumix_telemetry::{Description, MetricKind, Telemetry, Unit};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");

fn metrics() -> impl Iterator<Item = &'static Description> {
    Roles::built_in().catalogues().into_iter().flat_map(|catalogue| catalogue.metrics)
}

/// The content of `docs/metrics.md`.
fn inventory() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Every metric that a node can export, by the crate that describes it, bottom up; `wakumix-node` is the node itself.\n\
         Regenerate with `WRITE_INVENTORY=1 cargo test -p wakumix-node --test inventory`.\n\n\
         To add a metric, write an entry into the `catalogue!` of the crate that records it (`src/metrics.rs` or\n\
         `src/metrics/catalogue.rs`) and regenerate this page. A metric that two crates record belongs to the crate below\n\
         both. A role names its catalogue in its factory. A node\n\
         does not start with a name that two catalogues have.\n",
    );
    for catalogue in Roles::built_in().catalogues() {
        // Writing to a String cannot fail.
        let _ =
            write!(page, "\n## {}\n\n| name | kind | unit | labels | help |\n|---|---|---|---|---|\n", catalogue.owner);
        for Description { name, kind, unit, labels, help, .. } in catalogue.metrics {
            let (kind, unit) = (kind.as_str(), unit.as_str());
            let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
            let help = help.replace('|', "\\|");
            let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {help} |");
        }
    }
    page
}

#[test]
fn the_catalogues_of_a_node_have_no_name_in_common() {
    assert_eq!(Telemetry::new(Roles::built_in().catalogues()).map(drop), Ok(()));
}

#[test]
fn every_metric_has_a_valid_name_in_one_of_the_families() {
    for metric in metrics() {
        let name = metric.name;
        let valid = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        assert!(valid, "{name}");
        let known = ["waku_mix_", "mix_", "waku_", "process_"];
        assert!(known.iter().any(|prefix| name.starts_with(prefix)), "{name}");
    }
}

#[test]
fn every_metric_has_one_sentence_of_help() {
    for metric in metrics() {
        let help = metric.help;
        assert!(help.len() > 10 && help.ends_with('.') && !help.contains('\n'), "{metric:?}");
    }
}

#[test]
fn counters_and_only_counters_end_in_total() {
    for metric in metrics() {
        let counter = metric.kind == MetricKind::Counter;
        assert_eq!(metric.name.ends_with("_total"), counter, "{metric:?}");
    }
}

#[test]
fn our_names_end_in_their_unit() {
    for metric in metrics().filter(|metric| metric.name.starts_with("waku_mix_")) {
        let name = metric.name.trim_end_matches("_total");
        let units =
            [(Unit::Seconds, "_seconds"), (Unit::Bytes, "_bytes"), (Unit::Ratio, "_ratio"), (Unit::Info, "_info")];
        for (unit, suffix) in units {
            assert_eq!(name.ends_with(suffix), metric.unit == unit, "{metric:?}");
        }
        assert_ne!(metric.unit, Unit::Kilobytes, "{metric:?}");
    }
}

#[test]
fn several_labels_come_with_a_bound_of_their_product_in_the_help() {
    for metric in metrics() {
        if metric.labels.len() > 1 && metric.unit != Unit::Info {
            let help = metric.help;
            let bounded = help.contains("at most") || help.contains("below");
            assert!(bounded, "{metric:?}: {help}");
        }
    }
}

#[test]
fn no_label_identifies_anybody() {
    let private = ["peer", "peer_id", "address", "ip", "topic", "content_topic", "tag", "surb", "request_id"];
    for metric in metrics() {
        for label in metric.labels {
            assert!(!private.contains(label), "{metric:?} has the label {label}");
        }
    }
}

#[test]
fn buckets_ascend() {
    for metric in metrics() {
        if let MetricKind::Histogram(buckets) = metric.kind {
            assert!(!buckets.is_empty(), "{metric:?}");
            assert!(buckets.is_sorted_by(|a, b| a < b), "{metric:?}");
        }
    }
}

#[test]
fn the_page_in_the_repository_is_the_list() {
    if std::env::var_os("WRITE_INVENTORY").is_some() {
        std::fs::write(PAGE, inventory()).unwrap();
    }
    let page = std::fs::read_to_string(PAGE).unwrap();
    assert!(
        page == inventory(),
        "docs/metrics.md is out of date; run\n\
         WRITE_INVENTORY=1 cargo test -p wakumix-node --test inventory"
    );
}
