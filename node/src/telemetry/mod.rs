//! What a node tells of itself: metrics for Prometheus, logs, readiness (architecture.md section 8).
//!
//! Metrics go through OpenTelemetry. What happens is recorded where it happens, with instruments
//! (`dtvn_actors::instruments`, `requests.rs`); what merely *is* (heights, mailboxes, the network's counters, the process)
//! is read when somebody asks for `/metrics`, all at one moment ([`Reading`]), and observed from that. All names stand in
//! `dtvn_actors::instruments::table`. Each node has a provider of its own: several may live in one process.
//! - `sources.rs`: where figures come from, and whether the node is ready and live.
//! - `observed.rs`, `actors.rs`, `process.rs`: the observed figures.
//! - `requests.rs`: HTTP requests. `logs.rs`: logs, and their level at run time. `traces.rs`: spans, by OTLP.

mod actors;
pub mod logs;
mod observed;
mod process;
mod requests;
mod sources;
#[cfg(test)]
pub(crate) mod tests;
pub mod traces;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use dtvn_actors::instruments::Instruments;
use dtvn_actors::supervision::SupervisionObserver;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

pub use actors::RestartCounts;
pub use requests::{InFlight, Listener, Requests};
pub use sources::{Reading, Sources, why_not_voting};

/// The media type of what [`Telemetry::render`] gives.
pub const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The telemetry of one node.
pub struct Telemetry {
    sources: Sources,
    /// When the node began, by a clock that nobody sets.
    began: Instant,
    instruments: Instruments,
    requests: Arc<Requests>,
    restarts: Arc<RestartCounts>,
    registry: Registry,
    /// What the observed metrics are read from, as of the last rendering.
    reading: Arc<RwLock<Reading>>,
    /// One rendering at a time: each is of its own moment, and remembers what those counted that are gone by the next.
    rendering: Mutex<actors::Gone>,
    /// Without it the instruments record nothing.
    _provider: SdkMeterProvider,
}

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The exporter was not made.
    #[error("the metrics exporter cannot be made: {0}")]
    Exporter(#[from] opentelemetry_sdk::error::OTelSdkError),
    /// They cannot be written as text.
    #[error("the metrics cannot be rendered: {0}")]
    Render(#[from] prometheus::Error),
}

impl Telemetry {
    /// The telemetry of a node with these sources.
    ///
    /// # Errors
    /// If the exporter cannot be made.
    pub fn new(sources: Sources) -> Result<Arc<Self>, TelemetryError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .scope_info_enabled(false)
            .build()?;
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        let meter = provider.meter("dtvn");
        let restarts = Arc::<RestartCounts>::default();
        let requests = Arc::new(Requests::new(&meter));
        let reading = Arc::<RwLock<Reading>>::default();
        observed::register(&meter, &reading);
        actors::register(&meter, &reading, &restarts);
        process::register(&meter, &reading);
        requests::register(&meter, &requests);
        let instruments = Instruments::new(&meter);
        let rendering = Mutex::default();
        Ok(Arc::new(Self {
            sources,
            began: Instant::now(),
            instruments,
            requests,
            restarts,
            registry,
            reading,
            rendering,
            _provider: provider,
        }))
    }

    /// What the actors record with.
    #[must_use]
    pub fn instruments(&self) -> Instruments {
        self.instruments.clone()
    }

    /// What HTTP requests are recorded with.
    #[must_use]
    pub fn requests(&self) -> &Arc<Requests> {
        &self.requests
    }

    /// Counts what supervisors do.
    #[must_use]
    pub fn supervision_observer(&self) -> Arc<dyn SupervisionObserver> {
        Arc::clone(&self.restarts) as Arc<dyn SupervisionObserver>
    }

    /// Where readiness and liveness are read.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// How long the node has been up.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// All metrics of this moment, as Prometheus reads them. May block: it asks the database and the operating system.
    ///
    /// # Errors
    /// If they cannot be written as text.
    pub fn render(&self) -> Result<String, TelemetryError> {
        // One at a time.
        let mut gone = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reading = self.sources.read();
        reading.uptime = self.uptime();
        if let Some(tree) = &reading.tree {
            reading.actors = gone.figures(tree, &reading.health.stuck);
        }
        *self.reading.write().unwrap_or_else(PoisonError::into_inner) = reading;
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}
