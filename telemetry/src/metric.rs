//! The one list of all metric names.
//!
//! Ours begin with `waku_mix_`. Two more families are the fleet's and keep its names, so that dashboards that exist
//! find them: `mix_*` (spec/mix-wire.md §18, spec/waku.md §5.6) and `waku_*` (spec/waku.md §7.3).

mod buckets;
mod catalogue;

use std::fmt::Write as _;

pub use catalogue::Metric;

/// How a metric behaves over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets with these upper bounds, ascending, in the metric's unit.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The word of the Prometheus `# TYPE` line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What one step of a metric's value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things; the name says which.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share from 0 to 1.
    Ratio,
    /// Units of 1000 bytes; only for a name of the fleet that has it.
    Kilobytes,
    /// Always 1; the labels carry the information.
    Info,
}

impl Unit {
    /// The word used in the inventory.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
            Self::Kilobytes => "kilobytes",
            Self::Info => "info",
        }
    }
}

/// All that is fixed about one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Description {
    /// Full name as exported, with prefix and `_total`.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Unit of the value.
    pub unit: Unit,
    /// The label names that every series of this metric has, in this order.
    pub labels: &'static [&'static str],
    /// One sentence for the `# HELP` line.
    pub help: &'static str,
}

impl Metric {
    /// Full name as exported.
    pub fn name(self) -> &'static str {
        self.describe().name
    }

    /// Counter, gauge or histogram.
    pub fn kind(self) -> Kind {
        self.describe().kind
    }

    /// Unit of the value.
    pub fn unit(self) -> Unit {
        self.describe().unit
    }

    /// Text of the `# HELP` line.
    pub fn help(self) -> &'static str {
        self.describe().help
    }

    /// Label names that each series has.
    pub fn labels(self) -> &'static [&'static str] {
        self.describe().labels
    }
}

/// The inventory of all metrics as a Markdown page: the content of `telemetry/metrics.md`.
pub fn inventory() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Every metric that a node can export, from the one list in `telemetry/src/metric/catalogue.rs`.\n\
         Regenerate with `WRITE_INVENTORY=1 cargo test -p wakumix-telemetry --test inventory`.\n\n\
         | name | kind | unit | labels | help |\n|---|---|---|---|---|\n",
    );
    for metric in Metric::ALL {
        let Description { name, kind, unit, labels, help } = metric.describe();
        let kind = kind.as_str();
        let unit = unit.as_str();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        let help = help.replace('|', "\\|");
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {help} |");
    }
    page
}
