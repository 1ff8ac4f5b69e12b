//! One node's metrics: its own recorder, handles to it, and the page for Prometheus.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use crate::histogram::Histograms;
use crate::metric::{Catalogue, CatalogueError, Description, MetricKind};
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
    /// By name; fixed.
    known: HashMap<&'static str, &'static Description>,
    recorder: PrometheusRecorder,
    page: PrometheusHandle,
    histograms: Histograms,
    libp2p: Arc<Mutex<Registry>>,
    /// The topics whose series of gossipsub are on the page; `None` for all.
    topics: Mutex<Option<BTreeSet<String>>>,
    refreshers: Mutex<Vec<Refresher>>,
}

impl Telemetry {
    /// The metrics of these catalogues, none of which has a value yet.
    ///
    /// # Errors
    /// A name that two catalogues have, or a histogram without buckets.
    pub fn new(catalogues: impl IntoIterator<Item = &'static Catalogue>) -> Result<Self, CatalogueError> {
        let mut known = HashMap::new();
        for metric in catalogues.into_iter().flat_map(|catalogue| catalogue.metrics) {
            if let Some(Description { name, owner, .. }) = known.insert(metric.name, metric) {
                return Err(CatalogueError::NameTwice { name, owners: [owner, metric.owner] });
            }
        }
        let recorder = build_recorder(known.values().copied())?;
        let page = recorder.handle();
        Ok(Self {
            inner: Arc::new(Inner {
                known,
                recorder,
                page,
                histograms: Histograms::default(),
                libp2p: Arc::new(Mutex::new(Registry::default())),
                topics: Mutex::new(None),
                refreshers: Mutex::new(Vec::new()),
            }),
        })
    }

    /// The counter of these labels. Take it once and keep it: looking it up costs more than counting.
    ///
    /// `metric` is a variant of the enum that [`catalogue!`](crate::catalogue) makes, and `labels` has the names of its
    /// description in their order. A metric of a catalogue that this telemetry was not made of, one of another kind or
    /// other label names are a defect of the caller: it panics in debug builds and yields a handle that counts nothing
    /// in release builds.
    pub fn counter(&self, metric: impl Into<&'static Description>, labels: &[(&'static str, &str)]) -> Counter {
        let metric = metric.into();
        if !self.fits(metric, matches!(metric.kind, MetricKind::Counter), labels) {
            return Counter::noop();
        }
        self.inner.recorder.register_counter(&key(metric, labels), &METADATA)
    }

    /// The gauge of these labels; the rules of [`Telemetry::counter`] hold.
    pub fn gauge(&self, metric: impl Into<&'static Description>, labels: &[(&'static str, &str)]) -> Gauge {
        let metric = metric.into();
        if !self.fits(metric, matches!(metric.kind, MetricKind::Gauge), labels) {
            return Gauge::noop();
        }
        self.inner.recorder.register_gauge(&key(metric, labels), &METADATA)
    }

    /// The histogram of these labels; the rules of [`Telemetry::counter`] hold.
    pub fn histogram(&self, metric: impl Into<&'static Description>, labels: &[(&'static str, &str)]) -> Histogram {
        let metric = metric.into();
        if !self.fits(metric, matches!(metric.kind, MetricKind::Histogram(_)), labels) {
            return Histogram::noop();
        }
        self.inner.histograms.register(metric, labels)
    }

    /// Where libp2p registers its own metrics. They appear on the same page after ours.
    pub fn libp2p_registry(&self) -> Arc<Mutex<Registry>> {
        Arc::clone(&self.inner.libp2p)
    }

    /// Leaves gossipsub's series of other topics out of the page from now on. The library keeps those of every topic that it was ever
    /// in, so a page would only grow.
    pub fn show_topics(&self, topics: impl IntoIterator<Item = String>) {
        *self.inner.topics.lock() = Some(topics.into_iter().collect());
    }

    /// Runs `refresh` before each page: for gauges, and for counters that are kept elsewhere and set with
    /// [`Counter::absolute`]. It is kept as long as the telemetry, and must not hold a clone of it.
    pub fn on_scrape(&self, refresh: impl Fn(&Self) + Send + Sync + 'static) {
        self.inner.refreshers.lock().push(Arc::new(refresh));
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
        let registry = self.inner.libp2p.lock();
        let topics = self.inner.topics.lock();
        let shows_topic = |topic: &str| topics.as_ref().is_none_or(|topics| topics.contains(topic));
        page::append_registry(&mut text, &registry, shows_topic);
        text
    }

    /// A copy of the list, so that a refresher may itself register handles or refreshers.
    fn refreshers(&self) -> Vec<Refresher> {
        self.inner.refreshers.lock().clone()
    }

    /// Whether the metric is known here, and kind and label names are those of its description.
    fn fits(&self, metric: &Description, kind_fits: bool, labels: &[(&'static str, &str)]) -> bool {
        let Description { owner, name, .. } = metric;
        let known = self.inner.known.get(name).is_some_and(|known| known.owner == *owner);
        let names_fit = labels.iter().map(|(name, _)| *name).eq(metric.labels.iter().copied());
        debug_assert!(known, "{name} is in a catalogue of {owner} that this telemetry was not made of");
        debug_assert!(kind_fits, "{name} of {owner} is a {}", metric.kind.as_str());
        debug_assert!(names_fit, "{name} of {owner} has the labels {:?}", metric.labels);
        known && kind_fits && names_fit
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("refreshers", &self.refreshers().len()).finish()
    }
}

fn build_recorder(metrics: impl Iterator<Item = &'static Description>) -> Result<PrometheusRecorder, CatalogueError> {
    let recorder = PrometheusBuilder::new().build_recorder();
    for metric in metrics {
        if let Description { name, owner, kind: MetricKind::Histogram([]), .. } = metric {
            return Err(CatalogueError::NoBuckets { name, owner });
        }
        describe(&recorder, metric);
    }
    Ok(recorder)
}

fn describe(recorder: &PrometheusRecorder, metric: &Description) {
    let name = KeyName::from_const_str(metric.name);
    let help = SharedString::const_str(metric.help);
    match metric.kind {
        MetricKind::Counter => recorder.describe_counter(name, None, help),
        MetricKind::Gauge => recorder.describe_gauge(name, None, help),
        // Kept here, not there.
        MetricKind::Histogram(_) => {}
    }
}

fn key(metric: &Description, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(metric.name, labels)
}
