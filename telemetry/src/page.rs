//! Making one valid Prometheus page of two sources.
//!
//! prometheus-client writes OpenMetrics: a counter's samples end in `_total` but its `# HELP` and `# TYPE` lines do
//! not, types exist that the Prometheus text format lacks, and `# EOF` ends the text. A Prometheus server that reads
//! `version=0.0.4` would lose the counters' type and a second source could not follow. So those lines are rewritten.

use std::fmt::Write as _;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// The families of a page, which blank lines separate, sorted by metric name; two pages of one node can be compared.
pub(crate) fn sorted(page: &str) -> String {
    let mut families: Vec<&str> = page.split("\n\n").map(str::trim).filter(|f| !f.is_empty()).collect();
    families.sort_unstable_by_key(|family| family_name(family));
    let mut text = String::with_capacity(page.len());
    for family in families {
        text.push_str(family);
        text.push_str("\n\n");
    }
    text
}

/// Appends the metrics of a prometheus-client registry in the Prometheus text format 0.0.4, without the series of gossipsub's topics
/// that are not shown.
pub(crate) fn append_registry(page: &mut String, registry: &Registry, shows_topic: impl Fn(&str) -> bool) {
    let mut open_metrics = String::new();
    // Fails only if a metric's own encoder does; what was written up to then is still whole lines.
    if encode(&mut open_metrics, registry).is_err() {
        tracing::warn!("libp2p's metrics could not be written out completely");
        open_metrics.truncate(open_metrics.rfind('\n').map_or(0, |end| end + 1));
    }
    append_open_metrics(page, &open_metrics, shows_topic);
}

/// The topic of a series of gossipsub, its label `hash`.
fn topic(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("hash=\"")?;
    rest.split_once('"').map(|(topic, _)| topic)
}

fn append_open_metrics(page: &mut String, open_metrics: &str, shows_topic: impl Fn(&str) -> bool) {
    let mut pending_help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            pending_help = Some(rest.split_once(' ').unwrap_or((rest, "")));
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|r| r.split_once(' ')) {
            let (suffix, kind) = prometheus_type(kind);
            if let Some((_, help)) = pending_help.take().filter(|(of, _)| *of == name) {
                // Writing to a String cannot fail.
                let _ = writeln!(page, "# HELP {name}{suffix} {help}");
            }
            let _ = writeln!(page, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') && !line.is_empty() && topic(line).is_none_or(&shows_topic) {
            page.push_str(line);
            page.push('\n');
        }
    }
}

/// Suffix of the sample names and type word in the Prometheus format for an OpenMetrics type word.
fn prometheus_type(open_metrics: &str) -> (&'static str, &'static str) {
    match open_metrics {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "gauge" | "stateset" => ("", "gauge"),
        "histogram" | "gaugehistogram" => ("", "histogram"),
        "summary" => ("", "summary"),
        _ => ("", "untyped"),
    }
}

fn family_name(family: &str) -> &str {
    let line = family.lines().next().unwrap_or_default();
    line.split_whitespace().nth(2).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(open_metrics: &str) -> String {
        let mut page = String::new();
        append_open_metrics(&mut page, open_metrics, |_| true);
        page
    }

    #[test]
    fn counters_keep_their_type_under_the_name_of_their_samples() {
        assert_eq!(
            converted("# HELP a_b Things.\n# TYPE a_b counter\na_b_total{x=\"y\"} 3\n# EOF\n"),
            "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total{x=\"y\"} 3\n"
        );
    }

    #[test]
    fn types_unknown_to_prometheus_become_the_nearest_one() {
        assert_eq!(
            converted("# TYPE v info\nv_info{a=\"1\"} 1\n# TYPE u unknown\nu 2\n# UNIT u bytes\n"),
            "# TYPE v_info gauge\nv_info{a=\"1\"} 1\n# TYPE u untyped\nu 2\n"
        );
    }

    #[test]
    fn families_are_sorted_by_name_and_samples_stay_with_them() {
        let page = "# TYPE b gauge\nb 1\n\n# HELP a x\n# TYPE a gauge\na 1\na{l=\"2\"} 2\n\n";
        assert_eq!(sorted(page), "# HELP a x\n# TYPE a gauge\na 1\na{l=\"2\"} 2\n\n# TYPE b gauge\nb 1\n\n");
    }

    #[test]
    fn topics_that_were_left_have_no_series() {
        let text = "# TYPE gossip_mesh gauge\ngossip_mesh{hash=\"/waku/2/rs/1/0\"} 3\ngossip_mesh{hash=\"/waku/2/rs/1/1\"} 4\n# EOF\n";
        let mut page = String::new();
        append_open_metrics(&mut page, text, |topic| topic == "/waku/2/rs/1/1");
        assert_eq!(page, "# TYPE gossip_mesh gauge\ngossip_mesh{hash=\"/waku/2/rs/1/1\"} 4\n");
    }
}
