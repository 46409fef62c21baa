//! Figures of consensus, ledger, store, disk and network, read when somebody asks.

use std::sync::{Arc, PoisonError, RwLock};

use dtvn_actors::instruments::table::{self, Kind, Metric};
use dtvn_actors::network::{Class, Counter, NetworkMetrics, PerClass};
use dtvn_actors::storage::store::StoreStats;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::sources::Reading;

/// Where the figures of one metric go.
pub(super) type Sink<'a> = dyn FnMut(f64, &[KeyValue]) + 'a;

/// Registers one metric that is read from the reading at hand.
pub(super) fn observe(
    meter: &Meter,
    metric: &Metric,
    reading: &Arc<RwLock<Reading>>,
    figures: impl Fn(&Reading, &mut Sink<'_>) + Send + Sync + 'static,
) {
    let reading = Arc::clone(reading);
    let read = move |sink: &mut Sink<'_>| figures(&reading.read().unwrap_or_else(PoisonError::into_inner), sink);
    match metric.kind {
        Kind::Counter => {
            let builder = meter.f64_observable_counter(metric.name).with_unit(metric.unit);
            let builder = builder.with_description(metric.meaning);
            let _registered = builder
                .with_callback(move |observer| read(&mut |value, labels| observer.observe(value, labels)))
                .build();
        }
        Kind::Gauge | Kind::Histogram(_) => {
            let builder = meter.f64_observable_gauge(metric.name).with_unit(metric.unit);
            let builder = builder.with_description(metric.meaning);
            let _registered = builder
                .with_callback(move |observer| read(&mut |value, labels| observer.observe(value, labels)))
                .build();
        }
    }
}

pub(super) fn flag(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// Registers all metrics of this file.
pub(super) fn register(meter: &Meter, reading: &Arc<RwLock<Reading>>) {
    node(meter, reading);
    consensus(meter, reading);
    store(meter, reading);
    disk(meter, reading);
    frames(meter, reading);
    peers(meter, reading);
    listeners(meter, reading);
}

fn node(meter: &Meter, reading: &Arc<RwLock<Reading>>) {
    observe(meter, &table::NODE_INFO, reading, |reading, sink| {
        if let Some(identity) = &reading.identity {
            let labels = [
                KeyValue::new("node", identity.node.clone()),
                KeyValue::new("chain", identity.chain.clone()),
                KeyValue::new("version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("rules_version", identity.rules_version),
            ];
            sink(1.0, &labels);
        }
    });
    observe(meter, &table::NODE_READY, reading, |reading, sink| sink(flag(reading.ready), &[]));
    observe(meter, &table::NODE_LIVE, reading, |reading, sink| sink(flag(reading.live), &[]));
    observe(meter, &table::NODE_UPTIME, reading, |reading, sink| {
        if reading.identity.is_some() {
            sink(reading.uptime.as_secs_f64(), &[]);
        }
    });
    observe(meter, &table::PROCESS_START, reading, |reading, sink| {
        if let Some(identity) = &reading.identity {
            sink(identity.started_at_us as f64 / 1e6, &[]);
        }
    });
}

/// Clients that listen.
fn listeners(meter: &Meter, reading: &Arc<RwLock<Reading>>) {
    observe(meter, &table::WS_CLIENTS, reading, |reading, sink| sink(reading.listeners as f64, &[]));
}

fn consensus(meter: &Meter, reading: &Arc<RwLock<Reading>>) {
    let replica = |reading: &Reading| reading.consensus.as_ref().and_then(|shown| shown.replica);
    observe(meter, &table::VIEW, reading, move |reading, sink| {
        if let Some(replica) = replica(reading) {
            sink(replica.view.0 as f64, &[]);
        }
    });
    let stages = ["executed", "committed", "stable", "proved", "applied", "archived"]
        .map(|stage| [KeyValue::new("stage", stage)]);
    observe(meter, &table::HEIGHT, reading, move |reading, sink| {
        let [executed, committed, stable, proved, applied, archived] = &stages;
        if let Some(replica) = replica(reading) {
            sink(replica.executed.0 as f64, executed);
            sink(replica.committed.0 as f64, committed);
            sink(replica.stable.0 as f64, stable);
            sink(replica.proved.0 as f64, proved);
        }
        if let Some(store) = &reading.store {
            sink(store.applied.0 as f64, applied);
        }
        sink(reading.archived.unwrap_or_default().0 as f64, archived);
    });
    observe(meter, &table::LAST_COMMIT, reading, |reading, sink| {
        if let Some(at) = reading.consensus.as_ref().and_then(|shown| shown.last_commit_at) {
            sink(at.0 as f64 / 1e6, &[]);
        }
    });
    observe(meter, &table::LEADER, reading, |reading, sink| sink(flag(reading.leads), &[]));
    observe(meter, &table::VOTING, reading, move |reading, sink| {
        sink(flag(replica(reading).is_some_and(|replica| replica.voting)), &[]);
    });
    observe(meter, &table::QUORUM, reading, |reading, sink| sink(flag(reading.quorum), &[]));
}

fn store(meter: &Meter, reading: &Arc<RwLock<Reading>>) {
    observe(meter, &table::TICKETS, reading, |reading, sink| {
        let Some(store) = &reading.store else { return };
        for (state, count) in store.counts.by_state() {
            sink(count as f64, &[KeyValue::new("state", state)]);
        }
    });
    let stats = |reading: &Reading| reading.store.as_ref().and_then(|store| store.stats.clone());
    type Figure = fn(&StoreStats) -> u64;
    let figures: [(Metric, Figure); 5] = [
        (table::STORE_DISK, |stats| stats.disk_bytes()),
        (table::STORE_MEMORY, |stats| stats.memory_bytes()),
        (table::STORE_FILES, |stats| stats.files() as u64),
        (table::STORE_COMPACTION, |stats| stats.compaction_pending_bytes),
        (table::STORE_ERRORS, |stats| stats.background_errors),
    ];
    for (metric, figure) in figures {
        observe(meter, &metric, reading, move |reading, sink| {
            if let Some(stats) = stats(reading) {
                sink(figure(&stats) as f64, &[]);
            }
        });
    }
}

fn disk(meter: &Meter, reading: &Arc<RwLock<Reading>>) {
    observe(meter, &table::DISK_FREE, reading, |reading, sink| {
        if let Some(free) = reading.health.disk_free_bytes {
            sink(free as f64, &[]);
        }
    });
    observe(meter, &table::DISK_FREE_MIN, reading, |reading, sink| {
        sink(reading.health.disk_free_bytes_min as f64, &[]);
    });
}

/// The labels of each class with each of two words.
fn by_class(key: &'static str, word: &'static str) -> PerClass<[KeyValue; 2]> {
    PerClass::build(|class| [KeyValue::new("class", class.name()), KeyValue::new(key, word)])
}

fn sink_classes(counters: &PerClass<Counter>, labels: &PerClass<[KeyValue; 2]>, sink: &mut Sink<'_>) {
    for class in Class::ALL {
        sink(counters.get(class).get() as f64, labels.get(class));
    }
}

fn frames(meter: &Meter, reading: &Arc<RwLock<Reading>>) {
    let (received, sent) = (by_class("direction", "received"), by_class("direction", "sent"));
    let labels = (received.clone(), sent.clone());
    observe(meter, &table::FRAMES, reading, move |reading, sink| {
        let Some(network) = &reading.network else { return };
        sink_classes(&network.traffic.frames_in, &labels.0, sink);
        sink_classes(&network.traffic.frames_out, &labels.1, sink);
    });
    observe(meter, &table::FRAME_BYTES, reading, move |reading, sink| {
        let Some(network) = &reading.network else { return };
        sink_classes(&network.traffic.bytes_in, &received, sink);
        sink_classes(&network.traffic.bytes_out, &sent, sink);
    });
    let [full, superseded, down] = ["full", "superseded", "down"].map(|why| by_class("why", why));
    observe(meter, &table::FRAMES_UNSENT, reading, move |reading, sink| {
        let Some(network) = &reading.network else { return };
        sink_classes(&network.traffic.queue_full, &full, sink);
        sink_classes(&network.traffic.superseded, &superseded, sink);
        sink_classes(&network.traffic.lost, &down, sink);
    });
}

fn peers(meter: &Meter, reading: &Arc<RwLock<Reading>>) {
    type Figures = &'static [(&'static str, fn(&NetworkMetrics) -> &Counter)];
    let figures: [(Metric, Figures); 8] = [
        (table::VALIDATORS_CONNECTED, &[("", |network| &network.peers_connected)]),
        (table::VALIDATORS_SUSPECT, &[("", |network| &network.peers_suspect)]),
        (
            table::SESSIONS,
            &[("started", |network| &network.sessions_started), ("ended", |network| &network.sessions_ended)],
        ),
        (
            table::CONNECTIONS,
            &[
                ("established", |network| &network.connections),
                ("denied", |network| &network.connections_denied),
                ("failed", |network| &network.connections_failed),
            ],
        ),
        (table::DIAL_FAILURES, &[("", |network| &network.dial_failures)]),
        (table::PEERS_REFUSED, &[("", |network| &network.refused)]),
        (
            table::OFFENCES,
            &[
                ("frame_too_long", |network| &network.frames_too_long),
                ("ban", |network| &network.bans),
                ("other", |network| &network.offences),
            ],
        ),
        (table::EVENTS_DROPPED, &[("", |network| &network.events_dropped)]),
    ];
    for (metric, figures) in figures {
        let label = move |word: &'static str| metric.labels.first().map(|key| KeyValue::new(*key, word));
        observe(meter, &metric, reading, move |reading, sink| {
            let Some(network) = &reading.network else { return };
            for (word, figure) in figures {
                sink(figure(network).get() as f64, label(word).as_slice());
            }
        });
    }
}
