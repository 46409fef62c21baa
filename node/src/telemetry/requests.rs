//! HTTP requests: how many are under way, and how long they took.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dtvn_actors::instruments::table;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

/// Which of a node's listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// The public API.
    Public,
    /// The operator's.
    Admin,
}

/// What HTTP requests are recorded with.
pub struct Requests {
    time: Histogram<f64>,
    in_flight: [AtomicU64; 2],
}

impl Requests {
    pub(super) fn new(meter: &Meter) -> Self {
        Self { time: table::HTTP_REQUEST.histogram(meter), in_flight: Default::default() }
    }

    /// A request begins; it ends when what is returned is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>, listener: Listener) -> InFlight {
        self.in_flight[listener as usize].fetch_add(1, Ordering::Relaxed);
        InFlight { requests: Arc::clone(self), listener }
    }

    /// A request was answered. `route` is the template that took it; none if no route did.
    pub fn answered(&self, route: Option<String>, method: &'static str, status: u16, time: Duration) {
        let route = route.map_or(KeyValue::new("route", "none"), |route| KeyValue::new("route", route));
        let labels = [route, KeyValue::new("method", method), KeyValue::new("status", i64::from(status))];
        self.time.record(time.as_secs_f64(), &labels);
    }
}

/// A request under way.
pub struct InFlight {
    requests: Arc<Requests>,
    listener: Listener,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.requests.in_flight[self.listener as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Registers what is observed.
pub(super) fn register(meter: &Meter, requests: &Arc<Requests>) {
    let requests = Arc::clone(requests);
    let listeners = [(Listener::Public, "public"), (Listener::Admin, "admin")];
    let metric = table::HTTP_IN_FLIGHT;
    let _registered = meter
        .u64_observable_gauge(metric.name)
        .with_description(metric.meaning)
        .with_callback(move |observer| {
            for (listener, name) in listeners {
                let count = requests.in_flight[listener as usize].load(Ordering::Relaxed);
                observer.observe(count, &[KeyValue::new("listener", name)]);
            }
        })
        .build();
}
