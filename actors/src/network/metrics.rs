//! What the network layer counts. Plain atomic numbers: telemetry reads them when it is asked, nothing here calls a
//! metrics library.

use std::sync::atomic::{AtomicU64, Ordering};

use super::class::{Class, PerClass};

/// A number that only grows (or, for a gauge, is set). Relaxed: it orders nothing.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Sets the number.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What went through a link or through all of them.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Frames received, by class.
    pub frames_in: PerClass<Counter>,
    /// Bytes received in frames and their headers, by class.
    pub bytes_in: PerClass<Counter>,
    /// Frames written, by class.
    pub frames_out: PerClass<Counter>,
    /// Bytes written in frames and their headers, by class.
    pub bytes_out: PerClass<Counter>,
    /// Frames refused because a peer's queue was full, by class.
    pub queue_full: PerClass<Counter>,
    /// Frames dropped in favour of a later one of the same kind, by class.
    pub superseded: PerClass<Counter>,
    /// Frames that were queued or asked for when the link was down, by class.
    pub lost: PerClass<Counter>,
}

impl Traffic {
    /// All bytes received: grows as long as the peer says anything.
    #[must_use]
    pub fn bytes_in_total(&self) -> u64 {
        Class::ALL.iter().map(|class| self.bytes_in.get(*class).get()).sum()
    }
}

/// All counters of a node's network layer.
#[derive(Debug, Default)]
pub struct NetworkMetrics {
    /// The traffic of all links together.
    pub traffic: Traffic,
    /// Validators with a standing session, now.
    pub peers_connected: Counter,
    /// Validators that are connected and silent for two heartbeats, now.
    pub peers_suspect: Counter,
    /// Sessions that came to stand.
    pub sessions_started: Counter,
    /// Sessions that ended.
    pub sessions_ended: Counter,
    /// Connections established, in both directions.
    pub connections: Counter,
    /// Inbound connections closed because of a limit or a ban.
    pub connections_denied: Counter,
    /// Inbound connections that never became one (junk, a broken handshake).
    pub connections_failed: Counter,
    /// Dials that failed.
    pub dial_failures: Counter,
    /// Handshakes refused: another chain, genesis or version.
    pub refused: Counter,
    /// Frames announced above their limit.
    pub frames_too_long: Counter,
    /// Other offences (malformed handshakes, streams out of turn, what callers report).
    pub offences: Counter,
    /// Bans imposed.
    pub bans: Counter,
    /// Events dropped because nobody took them.
    pub events_dropped: Counter,
}
