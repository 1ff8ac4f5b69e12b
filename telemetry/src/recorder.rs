//! One node's metrics: a recorder of its own, handles to it, and the page for Prometheus.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use prometheus_client::registry::Registry;

use crate::histogram::Histograms;
use crate::metric::{Kind, Metric};
use crate::page;

/// Value of the `Content-Type` header for [`Telemetry::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const METADATA: Metadata<'static> = Metadata::new("wakumix", Level::INFO, None);

type Refresher = Arc<dyn Fn(&Telemetry) + Send + Sync>;

/// The metrics of one node. Clones share everything.
#[derive(Clone)]
pub struct Telemetry {
    inner: Arc<Inner>,
}

struct Inner {
    recorder: PrometheusRecorder,
    page: PrometheusHandle,
    histograms: Histograms,
    libp2p: Arc<Mutex<Registry>>,
    refreshers: Mutex<Vec<Refresher>>,
}

impl Telemetry {
    /// An empty set of metrics that knows help and buckets of each [`Metric`].
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in Metric::ALL {
            describe(&recorder, *metric);
        }
        let page = recorder.handle();
        Self {
            inner: Arc::new(Inner {
                recorder,
                page,
                histograms: Histograms::default(),
                libp2p: Arc::new(Mutex::new(Registry::default())),
                refreshers: Mutex::new(Vec::new()),
            }),
        }
    }

    /// The counter of these labels. Take it once and keep it: looking it up costs more than counting.
    ///
    /// `labels` has the names of [`Metric::labels`] in their order. A metric of another kind or other label names is
    /// a defect of the caller: it panics in debug builds and yields a handle that counts nothing in release builds.
    pub fn counter(&self, metric: Metric, labels: &[(&'static str, &str)]) -> Counter {
        if !fits(metric, matches!(metric.kind(), Kind::Counter), labels) {
            return Counter::noop();
        }
        self.inner.recorder.register_counter(&key(metric, labels), &METADATA)
    }

    /// The gauge of these labels; the rules of [`Telemetry::counter`] hold.
    pub fn gauge(&self, metric: Metric, labels: &[(&'static str, &str)]) -> Gauge {
        if !fits(metric, matches!(metric.kind(), Kind::Gauge), labels) {
            return Gauge::noop();
        }
        self.inner.recorder.register_gauge(&key(metric, labels), &METADATA)
    }

    /// The histogram of these labels; the rules of [`Telemetry::counter`] hold.
    pub fn histogram(&self, metric: Metric, labels: &[(&'static str, &str)]) -> Histogram {
        if !fits(metric, matches!(metric.kind(), Kind::Histogram(_)), labels) {
            return Histogram::noop();
        }
        self.inner.histograms.register(metric, labels)
    }

    /// Where libp2p registers its own metrics. They appear on the same page after ours.
    pub fn libp2p_registry(&self) -> Arc<Mutex<Registry>> {
        Arc::clone(&self.inner.libp2p)
    }

    /// Runs `refresh` before each page: for gauges, and for counters that are kept elsewhere and set with
    /// [`Counter::absolute`]. It is kept as long as the telemetry, and must not hold a clone of it.
    pub fn on_scrape(&self, refresh: impl Fn(&Self) + Send + Sync + 'static) {
        self.inner.refreshers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(refresh));
    }

    /// The whole page in the Prometheus text format 0.0.4: our families sorted by name, then libp2p's.
    pub fn render(&self) -> String {
        for refresh in self.refreshers() {
            refresh(self);
        }
        let mut page = self.inner.page.render();
        page.push_str("\n\n");
        self.inner.histograms.append(&mut page);
        let mut text = page::sorted(&page);
        let registry = self.inner.libp2p.lock().unwrap_or_else(PoisonError::into_inner);
        page::append_registry(&mut text, &registry);
        text
    }

    /// Lets the recorder tidy up. Call it every few seconds.
    pub fn upkeep(&self) {
        self.inner.page.run_upkeep();
    }

    /// A copy of the list, so that a refresher may itself register handles or refreshers.
    fn refreshers(&self) -> Vec<Refresher> {
        self.inner.refreshers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("refreshers", &self.refreshers().len()).finish()
    }
}

fn describe(recorder: &PrometheusRecorder, metric: Metric) {
    let name = KeyName::from_const_str(metric.name());
    let help = SharedString::const_str(metric.help());
    match metric.kind() {
        Kind::Counter => recorder.describe_counter(name, None, help),
        Kind::Gauge => recorder.describe_gauge(name, None, help),
        Kind::Histogram(_) => {}
    }
}

fn key(metric: Metric, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(metric.name(), labels)
}

/// Whether kind and label names are those of the list.
fn fits(metric: Metric, kind_fits: bool, labels: &[(&'static str, &str)]) -> bool {
    let names_fit = labels.iter().map(|(name, _)| *name).eq(metric.labels().iter().copied());
    debug_assert!(kind_fits, "{metric:?} is a {}", metric.kind().as_str());
    debug_assert!(names_fit, "{metric:?} has the labels {:?}", metric.labels());
    kind_fits && names_fit
}
