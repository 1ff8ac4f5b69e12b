//! What is fixed about a metric, and the catalogue in which a crate describes all of its own.
//!
//! Our names begin with `waku_mix_`. Two more families are nwaku's and keep its names, so that dashboards that exist
//! find them: `mix_*` (`spec/mix-wire.md §18`, `spec/waku.md §5.6`) and `waku_*` (`spec/waku.md §7.3`).

/// How a metric behaves over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets with these upper bounds, ascending, in the metric's unit.
    Histogram(&'static [f64]),
}

impl MetricKind {
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
    /// Units of 1000 bytes; only for a name of nwaku that has it.
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
    /// The crate that records it.
    pub owner: &'static str,
    /// Full name as exported, with prefix and `_total`.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricKind,
    /// Unit of the value.
    pub unit: Unit,
    /// The label names that every series of this metric has, in this order.
    pub labels: &'static [&'static str],
    /// One sentence for the `# HELP` line.
    pub help: &'static str,
}

/// The metrics of one crate. Made by [`catalogue!`](crate::catalogue).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Catalogue {
    /// The crate that records them.
    pub owner: &'static str,
    /// All of them, in the order in which the crate lists them.
    pub metrics: &'static [Description],
}

/// Why catalogues do not make one [`Telemetry`](crate::Telemetry).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// Two catalogues, or one twice, have a metric of this name.
    #[error("the metric {name} is in the catalogues of both {} and {}", owners[0], owners[1])]
    NameTwice {
        /// The metric.
        name: &'static str,
        /// The crates, in the order of their catalogues.
        owners: [&'static str; 2],
    },
    /// A histogram without buckets.
    #[error("the histogram {name} of {owner} has no buckets")]
    NoBuckets {
        /// The metric.
        name: &'static str,
        /// Its crate.
        owner: &'static str,
    },
}

/// Writes a crate's list of metrics: an enum `Metric`, which [`Telemetry`](crate::Telemetry) takes wherever it asks for
/// a metric, and a static [`Catalogue`] `METRICS`, which the crate exports for
/// [`Telemetry::new`](crate::Telemetry::new). An entry is
/// `Variant: "name", Kind, Unit, [labels], "help";`.
///
/// A variant is its name in CamelCase, without our prefix `waku_mix_`; anything else does not compile.
///
/// ```
/// const LATENESS: &[f64] = &[0.001, 0.01, 0.1];
///
/// wakumix_telemetry::catalogue! {
///     PacketsHeld: "waku_mix_packets_held", Gauge, Count, [], "Packets in the node now.";
///     LatenessSeconds: "waku_mix_lateness_seconds", Histogram(LATENESS), Seconds, [], "From deadline to release.";
/// }
/// # fn main() {
/// assert_eq!(METRICS.metrics.len(), 2);
/// # }
/// ```
#[macro_export]
macro_rules! catalogue {
    ($(
        $variant:ident: $name:literal, $kind:ident $(($buckets:expr))?, $unit:ident, [$($label:literal),*], $help:literal;
    )*) => {
        /// Every metric that this crate describes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Metric {
            $(#[doc = concat!("`", $name, "`: ", $help)] $variant,)*
        }

        /// The descriptions of all metrics of this crate.
        pub static METRICS: $crate::Catalogue = $crate::Catalogue {
            owner: env!("CARGO_PKG_NAME"),
            metrics: &[$($crate::Description {
                owner: env!("CARGO_PKG_NAME"),
                name: $name,
                kind: $crate::MetricKind::$kind $(($buckets))?,
                unit: $crate::Unit::$unit,
                labels: &[$($label),*],
                help: $help,
            }),*],
        };

        impl From<Metric> for &'static $crate::Description {
            fn from(metric: Metric) -> Self {
                // Both lists come from one table.
                &METRICS.metrics[metric as usize]
            }
        }

        const _: () = {
            $(assert!($crate::is_variant_of(stringify!($variant), $name), concat!("not the variant of ", $name));)*
        };
    };
}

/// Whether a variant is this name in CamelCase, without our prefix.
#[doc(hidden)]
#[must_use]
pub const fn is_variant_of(variant: &str, name: &str) -> bool {
    let (mut variant, mut name) = (variant.as_bytes(), name.as_bytes());
    if let [b'w', b'a', b'k', b'u', b'_', b'm', b'i', b'x', b'_', rest @ ..] = name {
        name = rest;
    }
    let mut starts_word = true;
    while let [letter, rest @ ..] = name {
        name = rest;
        if *letter == b'_' {
            starts_word = true;
            continue;
        }
        let expected = if starts_word { letter.to_ascii_uppercase() } else { *letter };
        match variant {
            [found, rest @ ..] if *found == expected => variant = rest,
            _ => return false,
        }
        starts_word = false;
    }
    variant.is_empty()
}

#[cfg(test)]
mod tests {
    use super::is_variant_of;

    #[test]
    fn a_variant_is_its_name_in_camel_case_without_our_prefix() {
        for (variant, name) in
            [("PacketsHeld", "waku_mix_packets_held"), ("WakuLightpushV3ErrorsTotal", "waku_lightpush_v3_errors_total")]
        {
            assert!(is_variant_of(variant, name), "{variant}");
        }
        for variant in ["Packetsheld", "PacketsHeldNow", "Packets", "WakuMixPacketsHeld", "packets_held"] {
            assert!(!is_variant_of(variant, "waku_mix_packets_held"), "{variant}");
        }
    }
}
