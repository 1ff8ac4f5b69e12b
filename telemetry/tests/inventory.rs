//! The list of metrics follows its own rules, and `metrics.md` is the list.

use std::collections::HashSet;
use std::path::Path;

use wakumix_telemetry::{Kind, Metric, Unit, inventory};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/metrics.md");

fn is_ours(metric: Metric) -> bool {
    metric.name().starts_with("waku_mix_")
}

#[test]
fn every_metric_has_a_name_of_its_own() {
    let names: HashSet<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    assert_eq!(names.len(), Metric::ALL.len());
}

#[test]
fn a_variant_is_its_name_in_camel_case_without_our_prefix() {
    for metric in Metric::ALL {
        let name = metric.name();
        let name = name.strip_prefix("waku_mix_").unwrap_or(name);
        let camel: String = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        assert_eq!(format!("{metric:?}"), camel);
    }
}

#[test]
fn every_metric_has_a_valid_name_in_one_of_the_three_families() {
    for metric in Metric::ALL {
        let name = metric.name();
        let valid = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        assert!(valid, "{name}");
        let known = ["waku_mix_", "mix_", "waku_"];
        assert!(known.iter().any(|prefix| name.starts_with(prefix)), "{name}");
    }
}

#[test]
fn every_metric_has_one_sentence_of_help() {
    for metric in Metric::ALL {
        let help = metric.help();
        assert!(help.len() > 10 && help.ends_with('.') && !help.contains('\n'), "{metric:?}");
    }
}

#[test]
fn counters_and_only_counters_end_in_total() {
    for metric in Metric::ALL {
        let counter = metric.kind() == Kind::Counter;
        assert_eq!(metric.name().ends_with("_total"), counter, "{metric:?}");
    }
}

#[test]
fn our_names_end_in_their_unit() {
    for metric in Metric::ALL.iter().copied().filter(|metric| is_ours(*metric)) {
        let name = metric.name().trim_end_matches("_total");
        let units =
            [(Unit::Seconds, "_seconds"), (Unit::Bytes, "_bytes"), (Unit::Ratio, "_ratio"), (Unit::Info, "_info")];
        for (unit, suffix) in units {
            assert_eq!(name.ends_with(suffix), metric.unit() == unit, "{metric:?}");
        }
        assert_ne!(metric.unit(), Unit::Kilobytes, "{metric:?}");
    }
}

#[test]
fn several_labels_come_with_a_bound_of_their_product_in_the_help() {
    for metric in Metric::ALL {
        if metric.labels().len() > 1 && metric.unit() != Unit::Info {
            let help = metric.help();
            let bounded = help.contains("at most") || help.contains("below");
            assert!(bounded, "{metric:?}: {help}");
        }
    }
}

#[test]
fn no_label_identifies_anybody() {
    let private = ["peer", "peer_id", "address", "ip", "topic", "content_topic", "tag", "surb", "request_id"];
    for metric in Metric::ALL {
        for label in metric.labels() {
            assert!(!private.contains(label), "{metric:?} has the label {label}");
        }
    }
}

#[test]
fn buckets_ascend() {
    for metric in Metric::ALL {
        if let Kind::Histogram(buckets) = metric.kind() {
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
    let page = std::fs::read_to_string(Path::new(PAGE)).unwrap();
    assert!(
        page == inventory(),
        "telemetry/metrics.md is out of date; run\n\
         WRITE_INVENTORY=1 cargo test -p wakumix-telemetry --test inventory"
    );
}
