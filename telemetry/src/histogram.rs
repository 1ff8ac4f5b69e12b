//! Histograms as counts in buckets.
//!
//! The recorder under the other metrics keeps every sample of a histogram with its time until somebody moves them into
//! buckets: three atomic operations, a clock and a block of memory now and then, for each packet several times. Here a
//! sample is two additions, and nothing piles up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Histogram, HistogramFn};
use parking_lot::Mutex;

use crate::metric::{Description, MetricKind};

/// All histograms of a node. As many as there are metrics and values of their labels.
#[derive(Default)]
pub(crate) struct Histograms {
    families: Mutex<BTreeMap<&'static str, Family>>,
}

/// The histograms of one metric, by their labels as the page shows them.
struct Family {
    help: &'static str,
    series: BTreeMap<String, Arc<Buckets>>,
}

/// One histogram.
struct Buckets {
    /// Upper bounds, ascending; what is above the last has its own bucket.
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    /// The bits of a float.
    sum: AtomicU64,
}

impl Histograms {
    /// The histogram of these labels; one that counts nothing for a metric of another kind.
    pub(crate) fn register(&self, metric: &Description, labels: &[(&'static str, &str)]) -> Histogram {
        let MetricKind::Histogram(bounds) = metric.kind else { return Histogram::noop() };
        let mut families = self.families.lock();
        let new = || Family { help: metric.help, series: BTreeMap::new() };
        let series = &mut families.entry(metric.name).or_insert_with(new).series;
        Histogram::from_arc(Arc::clone(series.entry(shown(labels)).or_insert_with(|| Arc::new(Buckets::new(bounds)))))
    }

    /// Appends all families to a page, a blank line after each.
    pub(crate) fn append(&self, page: &mut String) {
        for (name, Family { help, series }) in &*self.families.lock() {
            // Writing to a String cannot fail.
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} histogram");
            for (labels, buckets) in series {
                let _ = buckets.append(page, name, labels);
            }
            page.push('\n');
        }
    }
}

impl Buckets {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::default()).collect();
        Self { bounds, counts, sum: AtomicU64::new(0.0_f64.to_bits()) }
    }

    /// Counters are read one by one: exact at rest, off by samples in mid-step otherwise.
    fn append(&self, page: &mut String, name: &str, labels: &str) -> std::fmt::Result {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        let bounds = self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, in_bucket) in bounds.zip(&self.counts) {
            count += in_bucket.load(Ordering::Relaxed);
            writeln!(page, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}")?;
        }
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        writeln!(page, "{name}_sum{braced} {sum}\n{name}_count{braced} {count}")
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        // A bound belongs to its bucket.
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let add = |sum| Some((f64::from_bits(sum) + value).to_bits());
        // It always has a next value.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

/// Labels as the page shows them, without braces.
fn shown(labels: &[(&'static str, &str)]) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Unit;

    #[test]
    fn a_sample_counts_in_the_bucket_of_its_bound_and_in_all_above() {
        let buckets = Buckets::new(&[0.5, 1.0]);
        [0.25, 0.5, 0.75, 8.0].iter().for_each(|value| buckets.record(*value));
        let mut page = String::new();
        buckets.append(&mut page, "a", "b=\"c\"").unwrap();
        let expected = [
            "a_bucket{b=\"c\",le=\"0.5\"} 2",
            "a_bucket{b=\"c\",le=\"1\"} 3",
            "a_bucket{b=\"c\",le=\"+Inf\"} 4",
            "a_sum{b=\"c\"} 9.5",
            "a_count{b=\"c\"} 4",
        ];
        assert_eq!(page.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn one_histogram_of_the_same_labels_is_shared() {
        let metric = Description {
            owner: "test",
            name: "packets",
            kind: MetricKind::Histogram(&[1.0]),
            unit: Unit::Count,
            labels: &[],
            help: "Packets.",
        };
        let histograms = Histograms::default();
        for _ in 0..2 {
            histograms.register(&metric, &[]).record(1.0);
        }
        let mut page = String::new();
        histograms.append(&mut page);
        assert!(page.lines().any(|line| line == "packets_count 2"), "{page}");
    }
}
