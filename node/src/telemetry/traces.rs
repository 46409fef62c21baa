//! Traces: what a node does for one HTTP request, as spans exported by OTLP (gRPC) when an endpoint is configured
//! (architecture.md section 8). A client that sends `traceparent` (W3C) finds the node's span in its own trace.
//!
//! As logs do, they belong to the process. Without an endpoint nothing is recorded, and a request pays one load.

use std::sync::OnceLock;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::{Span, Subscriber, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::config::TraceSettings;

/// The target of spans that are exported. Others, of libraries and of actors that live as long as the process, are not.
const TARGET: &str = "dtvn::trace";

/// How long one export may take. Then its spans are lost.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where spans go, once they go anywhere.
static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// The layer that exports spans, if that is configured. Needs a tokio runtime that lives as long as the exporting does.
pub(super) fn layer<S>(
    settings: &TraceSettings,
    node: &str,
) -> Result<Option<Box<dyn Layer<S> + Send + Sync>>, ExporterBuildError>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let Some(endpoint) = &settings.endpoint else { return Ok(None) };
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(EXPORT_TIMEOUT).build()?;
    let share = 1.0 / settings.one_in.max(1) as f64;
    let attributes = [KeyValue::new("service.instance.id", node.to_owned())];
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))))
        .with_resource(Resource::builder().with_service_name("dtvn").with_attributes(attributes).build())
        .build();
    let tracer = provider.tracer("dtvn");
    // A second start of logs in one process fails; the first one's provider stays.
    let _stays = PROVIDER.set(provider);
    let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false);
    Ok(Some(layer.with_filter(filter_fn(|metadata| metadata.target() == TARGET)).boxed()))
}

/// Sends what was not sent yet. Blocks until that is done or has failed, for some seconds at most.
pub fn flush() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.force_flush()
    {
        tracing::warn!(%error, "The last spans were not exported.");
    }
}

/// The span of one HTTP request; a disabled one if spans go nowhere.
pub(crate) struct RequestSpan(Span);

impl RequestSpan {
    /// A request begins.
    pub(crate) fn begin(method: &'static str, headers: &HeaderMap) -> Self {
        if PROVIDER.get().is_none() {
            return Self(Span::none());
        }
        let span = tracing::info_span!(
            target: TARGET,
            "request",
            otel.name = method,
            otel.kind = "server",
            otel.status_code = field::Empty,
            http.request.method = method,
            http.route = field::Empty,
            http.response.status_code = field::Empty,
        );
        let parent = TraceContextPropagator::new().extract(&Carrier(headers));
        if parent.span().span_context().is_valid() {
            // An error means that the span is not exported, so that nobody misses its parent.
            let _not_exported = span.set_parent(parent);
        }
        Self(span)
    }

    /// The span itself, to work in.
    pub(crate) fn span(&self) -> Span {
        self.0.clone()
    }

    /// The request was answered.
    pub(crate) fn answered(&self, route: Option<&str>, method: &str, status: u16) {
        if self.0.is_disabled() {
            return;
        }
        if let Some(route) = route {
            self.0.record("http.route", route);
            // A span that has begun takes no other name from its fields.
            self.0.context().span().update_name(format!("{method} {route}"));
        }
        self.0.record("http.response.status_code", i64::from(status));
        if status >= 500 {
            self.0.record("otel.status_code", "ERROR");
        }
    }
}

/// The headers of a request, for the propagator.
struct Carrier<'a>(&'a HeaderMap);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(actix_web::http::header::HeaderName::as_str).collect()
    }
}
