//! What a load run measures.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// The longest latency that is told apart from longer ones.
const LATENCY_US_MAX: u64 = 300_000_000;

/// Running totals, shared by all workers: for a progress bar, and for the longest gap.
#[derive(Debug)]
pub struct Counters {
    begin: Instant,
    accepted: AtomicU64,
    failed: AtomicU64,
    last_accepted_us: AtomicU64,
    longest_gap_us: AtomicU64,
}

impl Counters {
    pub(super) fn new(begin: Instant) -> Self {
        let zero = || AtomicU64::new(0);
        Self { begin, accepted: zero(), failed: zero(), last_accepted_us: zero(), longest_gap_us: zero() }
    }

    /// Operations that took effect so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Operations that did not, or of which nothing is known.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn count_accepted(&self, count: u64) {
        self.accepted.fetch_add(count, Ordering::Relaxed);
        let now = micros(self.begin.elapsed());
        let last = self.last_accepted_us.fetch_max(now, Ordering::Relaxed);
        self.longest_gap_us.fetch_max(now.saturating_sub(last), Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self, count: u64) {
        self.failed.fetch_add(count, Ordering::Relaxed);
    }

    /// The longest time without an acceptance; the time since the last one counts.
    fn longest_gap_us(&self, end: Instant) -> u64 {
        let since = micros(end.saturating_duration_since(self.begin));
        let open = since.saturating_sub(self.last_accepted_us.load(Ordering::Relaxed));
        self.longest_gap_us.load(Ordering::Relaxed).max(open)
    }
}

/// One worker's measurements.
#[derive(Debug)]
pub(super) struct Recorder {
    histogram: Histogram<u64>,
    requests: u64,
    errors: BTreeMap<&'static str, u64>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the bounds and three digits are what hdrhistogram allows; tests make one"
        )]
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("constant bounds");
        Self { histogram, requests: 0, errors: BTreeMap::new() }
    }

    /// A request that got an answer of the network, however it was decided.
    pub(super) fn latency(&mut self, latency: Duration) {
        self.requests += 1;
        self.histogram.saturating_record(micros(latency).max(1));
    }

    pub(super) fn error(&mut self, name: &'static str) {
        *self.errors.entry(name).or_insert(0) += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so nothing can be lost.
        let _ = self.histogram.add(&other.histogram);
        self.requests += other.requests;
        for (name, count) in &other.errors {
            *self.errors.entry(name).or_insert(0) += count;
        }
    }

    pub(super) fn report(&self, counters: &Counters, end: Instant) -> LoadReport {
        let elapsed = end.saturating_duration_since(counters.begin);
        let accepted = counters.accepted();
        LoadReport {
            accepted,
            failed: counters.failed(),
            errors: self.errors.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            requests: self.requests,
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            accepted_per_second: ratio(accepted, elapsed),
            latency_us: Latency::of(&self.histogram),
            longest_gap_us: counters.longest_gap_us(end),
        }
    }
}

/// Quantiles of the time from the intended sending to the outcome, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Half were faster.
    pub p50: u64,
    /// Nine of ten were faster.
    pub p90: u64,
    /// 99 of 100 were faster.
    pub p99: u64,
    /// 999 of 1,000 were faster.
    pub p999: u64,
    /// The slowest.
    pub max: u64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: histogram.max() }
    }
}

/// What a load run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Operations that took effect.
    pub accepted: u64,
    /// Operations that did not, or of which nothing is known.
    pub failed: u64,
    /// The latter by reason.
    pub errors: BTreeMap<String, u64>,
    /// HTTP requests with an outcome; a batch is one.
    pub requests: u64,
    /// From the first sending to the last answer.
    pub elapsed_ms: u64,
    /// Accepted operations over that time.
    pub accepted_per_second: f64,
    /// From when a request should have been sent to its outcome: a stall counts for all that it held up.
    pub latency_us: Latency,
    /// The longest time without any acceptance.
    pub longest_gap_us: u64,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people: 52 bits of count are enough")]
fn ratio(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_gap_includes_the_silence_at_the_end() {
        let counters = Counters::new(Instant::now());
        tokio::time::advance(Duration::from_millis(100)).await;
        counters.count_accepted(1);
        tokio::time::advance(Duration::from_millis(300)).await;
        counters.count_accepted(1);
        assert_eq!(counters.longest_gap_us(Instant::now()), 300_000);
        tokio::time::advance(Duration::from_millis(700)).await;
        assert_eq!(counters.longest_gap_us(Instant::now()), 700_000);
    }

    #[tokio::test(start_paused = true)]
    async fn measurements_of_workers_add_up() {
        let counters = Counters::new(Instant::now());
        let (mut left, mut right) = (Recorder::new(), Recorder::new());
        for _ in 0..99 {
            left.latency(Duration::from_millis(1));
            counters.count_accepted(1);
        }
        right.latency(Duration::from_millis(50));
        right.error("already_validated");
        counters.count_failed(1);
        left.merge(&right);
        tokio::time::advance(Duration::from_secs(1)).await;
        let report = left.report(&counters, Instant::now());
        assert_eq!((report.accepted, report.failed, report.requests), (99, 1, 100));
        assert_eq!(report.errors, BTreeMap::from([("already_validated".to_owned(), 1)]));
        assert!((report.accepted_per_second - 99.0).abs() < 0.1);
        let near = |found: u64, expected: u64| found.abs_diff(expected) <= expected / 500;
        assert!(near(report.latency_us.p50, 1_000) && near(report.latency_us.max, 50_000), "{report:?}");
    }
}
