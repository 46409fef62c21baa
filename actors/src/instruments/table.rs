//! The one table of all metrics of a node: name, unit, kind, labels, meaning (architecture.md section 8, style.md rule 12).
//!
//! Instruments are made from it, `dashboards/METRICS.md` is rendered from it, and a test compares it with the `/metrics`
//! of a node that runs. Names are OpenTelemetry's; [`Metric::prometheus_name`] is what Prometheus calls them.

use opentelemetry::metrics::{Counter, Histogram, Meter};

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// It only grows, until the process starts again.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How values are distributed over these bounds.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name, with dots.
    pub name: &'static str,
    /// `s`, `By`, or nothing for a plain count.
    pub unit: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means, as one sentence.
    pub meaning: &'static str,
}

/// Seconds, from what a good disk's sync takes to what nobody waits for.
pub const SECONDS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Counts of things in a batch, up to the most that a block may hold.
pub const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0];
/// Bytes of one write, in steps of four from one sector to a large block.
pub const BYTES: &[f64] = &[512.0, 2_048.0, 8_192.0, 32_768.0, 131_072.0, 524_288.0, 2_097_152.0, 8_388_608.0];

const fn counter(name: &'static str, labels: &'static [&'static str], meaning: &'static str) -> Metric {
    Metric { name, unit: "", kind: Kind::Counter, labels, meaning }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], meaning: &'static str) -> Metric {
    Metric { name, unit: "", kind: Kind::Gauge, labels, meaning }
}

const fn counts(name: &'static str, meaning: &'static str) -> Metric {
    Metric { name, unit: "", kind: Kind::Histogram(COUNTS), labels: &[], meaning }
}

const fn times(name: &'static str, labels: &'static [&'static str], meaning: &'static str) -> Metric {
    Metric { name, unit: "s", kind: Kind::Histogram(SECONDS), labels, meaning }
}

impl Metric {
    const fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// The name that Prometheus sees: with underscores, and with unit and `total` at the end.
    #[must_use]
    pub fn prometheus_name(&self) -> String {
        let unit = match self.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{unit}{total}", self.name.replace('.', "_"))
    }

    /// The kind in words.
    #[must_use]
    pub const fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        }
    }

    /// A counter that is added to where something happens.
    #[must_use]
    pub fn counter(&self, meter: &Meter) -> Counter<u64> {
        meter.u64_counter(self.name).with_unit(self.unit).with_description(self.meaning).build()
    }

    /// A histogram that is recorded to where something happens.
    #[must_use]
    pub fn histogram(&self, meter: &Meter) -> Histogram<f64> {
        let builder = meter.f64_histogram(self.name).with_unit(self.unit).with_description(self.meaning);
        match self.kind {
            Kind::Histogram(bounds) => builder.with_boundaries(bounds.to_vec()).build(),
            Kind::Counter | Kind::Gauge => builder.build(),
        }
    }
}

macro_rules! metrics {
    ($($name:ident = $metric:expr;)*) => {
        $(#[doc = concat!("What the table says of `", stringify!($name), "`.")]
        pub const $name: Metric = $metric;)*
        /// All metrics, in the order of the documents.
        pub const ALL: &[Metric] = &[$($name),*];
    };
}

metrics! {
    NODE_INFO = gauge("dtvn.node.info", &["node", "chain", "version", "rules_version"], "1; its labels say who this is.");
    NODE_READY = gauge("dtvn.node.ready", &[], "1 if the node is ready, as /health says; 0 if not.");
    NODE_LIVE = gauge("dtvn.node.live", &[], "1 if all mailboxes move, as /health/live says; 0 if not.");
    NODE_UPTIME = gauge("dtvn.node.uptime", &[], "Time since the process started.").unit("s");

    PHASE = times(
        "dtvn.consensus.phase",
        &["phase"],
        "Time of a block at this replica: prepare (proposal to prepared), commit (prepared to committed), whole."
    );
    BUNDLE = times("dtvn.consensus.bundle", &[], "Time from the making of a bundle of this node to its commit.");
    BLOCK_BUNDLES = counts("dtvn.consensus.block.bundles", "Bundles in a committed block.");
    BLOCK_OPERATIONS = counts("dtvn.consensus.block.operations", "Operations in a committed block.");
    VIEW = gauge("dtvn.consensus.view", &[], "The replica's view.");
    VIEW_CHANGES = counter("dtvn.consensus.view_changes", &["cause"], "Moves to another view.");
    HEIGHT = gauge(
        "dtvn.consensus.height",
        &["stage"],
        "Heights: executed, committed, stable (checkpoint), proved (by others), applied (to the store), archived (state for others)."
    );
    LAST_COMMIT = gauge("dtvn.consensus.last_commit", &[], "When the last block was committed here, since 1970.").unit("s");
    LEADER = gauge("dtvn.consensus.leader", &[], "1 while this node leads its view.");
    VOTING = gauge("dtvn.consensus.voting", &[], "1 while this node signs votes.");
    QUORUM = gauge(
        "dtvn.consensus.quorum_connected",
        &[],
        "1 while validators enough for a decision are connected, whether they vote at present or not."
    );
    DIFFERING = counter(
        "dtvn.consensus.differing.checkpoints",
        &[],
        "Times that a validator's checkpoint was not the certified one: it has diverged, or lies."
    );
    BLAMES = counter("dtvn.consensus.blames", &[], "Times that a peer broke the protocol.");
    DIVERGENCES = counter(
        "dtvn.consensus.divergences",
        &[],
        "Times that this node's state was found to differ from what a quorum certified."
    );
    INSTALLS = counter(
        "dtvn.store.installs",
        &[],
        "Times that a certified state of peers was put in the place of this node's."
    );
    DAMAGES = counter("dtvn.store.damages", &[], "Times that the database was found damaged or gone, and set aside.");

    EVIDENCE = counter(
        "dtvn.consensus.evidence",
        &["kind"],
        "Pieces of evidence that a validator lies; wrong_result is an accusation."
    );

    OPERATIONS = counter(
        "dtvn.ledger.operations",
        &["kind", "verdict", "reason"],
        "Operations decided; the reason is that of a refusal, else none."
    );
    TICKETS = gauge("dtvn.ledger.tickets", &["state"], "Tickets in the store, by state.");

    LOG_SYNC = times("dtvn.storage.sync", &[], "Time of one group commit of the consensus log.");
    LOG_SYNC_RECORDS = counts("dtvn.storage.sync.records", "Records that one group commit made durable.");
    LOG_SYNC_BYTES = Metric {
        name: "dtvn.storage.sync.size",
        unit: "By",
        kind: Kind::Histogram(BYTES),
        labels: &[],
        meaning: "Bytes of records that one group commit made durable.",
    };
    STORE_DISK = gauge("dtvn.store.disk", &[], "Bytes of the store on disk.").unit("By");
    STORE_MEMORY = gauge("dtvn.store.memory", &[], "Bytes of the store in memory that are not on disk yet.").unit("By");
    STORE_FILES = gauge("dtvn.store.files", &[], "Files of the store on disk.");
    STORE_COMPACTION = gauge("dtvn.store.compaction_pending", &[], "Bytes that compaction has to rewrite.").unit("By");
    STORE_ERRORS = gauge("dtvn.store.background_errors", &[], "Faults of the store's background work; above 0 it is stuck.");
    DISK_FREE = gauge("dtvn.disk.free", &[], "Bytes free on the disk of the data directory.").unit("By");
    DISK_FREE_MIN = gauge("dtvn.disk.free_min", &[], "Bytes that must be free for this node to vote.").unit("By");

    ACTOR_RUNNING = gauge("dtvn.actor.running", &["actor"], "Actors of this name that run.");
    ACTOR_STUCK = gauge("dtvn.actor.stuck", &["actor"], "1 while messages wait and none is handled.");
    ACTOR_RESTARTS = counter("dtvn.actor.restarts", &["actor", "reason"], "Restarts of an actor.");
    ACTOR_INCIDENTS = counter(
        "dtvn.actor.incidents",
        &["incident"],
        "What supervisors had to do: escalated (a subtree failed), killed (after its stop timeout), abandoned."
    );
    MAILBOX_DEPTH = gauge("dtvn.actor.mailbox.depth", &["actor"], "Messages that wait.");
    MAILBOX_BOUND = gauge("dtvn.actor.mailbox.bound", &["actor"], "Messages that may wait.");
    MAILBOX_REFUSED = counter("dtvn.actor.mailbox.refused", &["actor"], "Messages given back because the mailbox was full.");
    MAILBOX_DROPPED = counter("dtvn.actor.mailbox.dropped", &["actor"], "Messages dropped because the mailbox was full.");
    MESSAGES = counter("dtvn.actor.messages", &["actor"], "Messages handled.");
    HANDLER = counter("dtvn.actor.handler", &["actor"], "Time spent in handlers, waits included.").unit("s");

    FRAMES = counter("dtvn.network.frames", &["class", "direction"], "Frames received and sent.");
    FRAME_BYTES = counter("dtvn.network.traffic", &["class", "direction"], "Bytes of frames received and sent.").unit("By");
    FRAMES_UNSENT = counter(
        "dtvn.network.frames_unsent",
        &["class", "why"],
        "Frames not sent: full (the peer's queue), superseded (by a later one), down (the link)."
    );
    VALIDATORS_CONNECTED = gauge("dtvn.network.validators_connected", &[], "Other validators with a standing session.");
    VALIDATORS_SUSPECT = gauge("dtvn.network.validators_suspect", &[], "Of those, silent for two heartbeats.");
    SESSIONS = counter("dtvn.network.sessions", &["change"], "Sessions with peers that started and ended.");
    CONNECTIONS = counter(
        "dtvn.network.connections",
        &["result"],
        "Connections: established (both directions), denied (inbound: limit or ban), failed (inbound: handshake)."
    );
    DIAL_FAILURES = counter("dtvn.network.dial_failures", &[], "Dials that failed.");
    PEERS_REFUSED = counter("dtvn.network.peers_refused", &[], "Peers of another chain, genesis or version.");
    OFFENCES = counter("dtvn.network.offences", &["kind"], "Offences of peers: frame_too_long, ban, other.");
    EVENTS_DROPPED = counter("dtvn.network.events_dropped", &[], "News of the network that nobody took.");

    HTTP_REQUEST = times(
        "dtvn.http.request",
        &["route", "method", "status"],
        "Time to answer an HTTP request, by route template; none for what no route took."
    );
    HTTP_IN_FLIGHT = gauge("dtvn.http.in_flight", &["listener"], "HTTP requests that are being answered.");

    WS_CLIENTS = gauge("dtvn.ws.clients", &[], "Clients that listen for events.");

    PROCESS_CPU = counter("process.cpu", &[], "Processor time of the process, user and system.").unit("s");
    PROCESS_MEMORY = gauge("process.resident_memory", &[], "Memory of the process that is in RAM.").unit("By");
    PROCESS_START = gauge("process.start_time", &[], "When the process started, since 1970.").unit("s");
    PROCESS_FILES = gauge("process.open_fds", &[], "Files and sockets that the process has open.");
    PROCESS_FILES_MAX = gauge("process.max_fds", &[], "How many it may have open.");
    PROCESS_THREADS = gauge("process.threads", &[], "Threads of the process.");
}

/// The table as the document `dashboards/METRICS.md`.
#[must_use]
pub fn document() -> String {
    let mut text = String::from(DOCUMENT_HEAD);
    for metric in ALL {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels) = (metric.prometheus_name(), metric.kind_name(), labels.join(", "));
        text.push_str(&format!("| `{name}` | {kind} | {labels} | {} |\n", metric.meaning));
    }
    text
}

const DOCUMENT_HEAD: &str = "# Metrics of a node

Rendered from the table in `actors/src/instruments/table.rs`; a test compares both, and the table with a node that runs.
The admin listener serves them at `/metrics` for Prometheus (with the admin key, if there is one), the public one too
(with the API key, if there is one). Histograms of seconds have bounds from 100 µs to 10 s.

| name | kind | labels | meaning |
|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_say_their_unit() {
        let mut names: Vec<String> = ALL.iter().map(Metric::prometheus_name).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(PHASE.prometheus_name(), "dtvn_consensus_phase_seconds");
        assert_eq!(FRAME_BYTES.prometheus_name(), "dtvn_network_traffic_bytes_total");
        assert_eq!(PROCESS_CPU.prometheus_name(), "process_cpu_seconds_total");
    }

    #[test]
    fn bounds_grow() {
        for metric in ALL {
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted(), "{}", metric.name);
            }
        }
        assert_eq!((SECONDS.first(), SECONDS.last()), (Some(&0.000_1), Some(&10.0)));
    }

    #[test]
    fn the_document_is_rendered_from_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../dashboards/METRICS.md");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        if std::env::var_os("DTVN_RENDER").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        assert_eq!(stored, document(), "render it: DTVN_RENDER=1 cargo test -p dtvn-actors --lib the_document");
    }
}
