//! What several simulations found, for people and for programs.

use std::collections::BTreeMap;

use dtvn_simulation::{Coverage, Group, Invariant, Report};
use serde::Serialize;

use super::super::load::micros;
use super::super::output::table;
use super::report::{Operations, counts, in_group, rows, state_counts, verdicts};

/// Several runs. What is summed is of those that came to an end.
#[derive(Debug, Serialize)]
pub(super) struct Batch {
    pub(super) first_seed: u64,
    /// Runs that were asked for.
    pub(super) planned: u64,
    /// Runs that came to an end.
    pub(super) runs: u64,
    pub(super) good: u64,
    pub(super) events: u64,
    pub(super) rounds: u64,
    /// Tickets by state, of all runs together.
    pub(super) tickets: BTreeMap<&'static str, u64>,
    /// Of all runs together.
    pub(super) operations: Operations,
    /// From a client's first request to the outcome, in virtual microseconds.
    pub(super) latency_us: Latencies,
    /// The longest of all.
    pub(super) recovery_ms_max: u64,
    pub(super) wall_ms: u64,
    /// The time was over before the last.
    pub(super) is_unfinished: bool,
    pub(super) failed: Vec<Failed>,
    pub(super) invariants: Vec<Tally>,
    /// Everything that happened in all of them, by kind.
    pub(super) met: BTreeMap<&'static str, u64>,
    #[serde(skip)]
    coverage: Coverage,
    /// The median of each run that decided anything.
    #[serde(skip)]
    medians: Vec<u64>,
    #[serde(skip)]
    worst: u8,
}

/// Latencies of several runs. Ranks of single operations over all runs are not known, so these are ranks of runs.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Latencies {
    /// The median of the runs' medians.
    pub(super) p50_median: u64,
    /// The highest of the runs' medians.
    pub(super) p50_max: u64,
    /// The highest of the runs' p99.
    pub(super) p99_max: u64,
    /// The highest of all.
    pub(super) max: u64,
}

/// What became of one invariant in several runs.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Tally {
    pub(super) name: &'static str,
    /// What it demands.
    pub(super) demand: &'static str,
    /// Runs in which it held.
    pub(super) held: u64,
    /// Runs in which it was violated.
    pub(super) violated: u64,
    /// Runs that did not come to where it is judged.
    pub(super) not_judged: u64,
}

/// A run that did not end well.
#[derive(Debug, Serialize)]
pub(super) struct Failed {
    pub(super) seed: u64,
    pub(super) outcome: &'static str,
    pub(super) violation: String,
    pub(super) command: String,
}

impl Batch {
    pub(super) fn new(first_seed: u64, planned: u64) -> Self {
        let tally = |invariant: Invariant| {
            let (name, demand) = (invariant.name(), invariant.demand());
            Tally { name, demand, held: 0, violated: 0, not_judged: 0 }
        };
        Self {
            first_seed,
            planned,
            runs: 0,
            good: 0,
            events: 0,
            rounds: 0,
            tickets: BTreeMap::new(),
            operations: Operations::default(),
            latency_us: Latencies::default(),
            recovery_ms_max: 0,
            wall_ms: 0,
            is_unfinished: false,
            failed: Vec::new(),
            invariants: Invariant::ALL.into_iter().map(tally).collect(),
            met: BTreeMap::new(),
            coverage: Coverage::default(),
            medians: Vec::new(),
            worst: 0,
        }
    }

    pub(super) fn add(&mut self, report: &Report, command: String) {
        self.runs += 1;
        self.events += report.events;
        self.rounds += report.height.0;
        for (state, count) in &report.tickets {
            *self.tickets.entry(state.name()).or_insert(0) += count;
        }
        self.operations = self.operations.and(Operations::of(report));
        self.add_latency(report);
        self.recovery_ms_max = self.recovery_ms_max.max(report.recovery_us / 1_000);
        self.worst = self.worst.max(report.end.exit_code());
        for (tally, verdict) in self.invariants.iter_mut().zip(verdicts(report)) {
            match verdict.held {
                Some(true) => tally.held += 1,
                Some(false) => tally.violated += 1,
                None => tally.not_judged += 1,
            }
        }
        self.coverage.add(&report.coverage);
        let all = self.coverage.all().into_iter().filter(|counter| counter.count > 0);
        self.met = all.map(|counter| (counter.name, counter.count)).collect();
        match report.end.violation() {
            None => self.good += 1,
            Some(violation) => self.failed.push(Failed {
                seed: report.seed,
                outcome: report.end.name(),
                violation: violation.to_string(),
                command,
            }),
        }
    }

    fn add_latency(&mut self, report: &Report) {
        if report.decided == 0 {
            return;
        }
        let place = self.medians.partition_point(|median| *median < report.latency.p50_us);
        self.medians.insert(place, report.latency.p50_us);
        let so_far = self.latency_us;
        self.latency_us = Latencies {
            p50_median: self.medians[(self.medians.len() - 1) / 2],
            p50_max: so_far.p50_max.max(report.latency.p50_us),
            p99_max: so_far.p99_max.max(report.latency.p99_us),
            max: so_far.max.max(report.latency.max_us),
        };
    }

    /// That of the worst run.
    pub(super) const fn exit_code(&self) -> u8 {
        match self.is_unfinished {
            true if self.worst == 0 => dtvn_simulation::End::Unfinished.exit_code(),
            _ => self.worst,
        }
    }
}

/// The report of several runs for people.
pub(super) fn words(batch: &Batch) -> String {
    let mut lines = vec![format!(
        "{} of {} networks good{}: {} rounds, {} events in {:.1} s, slowest recovery {}",
        batch.good,
        batch.runs,
        if batch.is_unfinished { format!(" (stopped: {} were planned)", batch.planned) } else { String::new() },
        batch.rounds,
        batch.events,
        batch.wall_ms as f64 / 1e3,
        micros(batch.recovery_ms_max * 1_000)
    )];
    let Latencies { p50_median, p50_max, p99_max, max } = batch.latency_us;
    lines.push(rows([
        ("tickets", state_counts(&batch.tickets)),
        ("operations", batch.operations.to_string()),
        ("success rate", batch.operations.success_words()),
        (
            "latency",
            format!(
                "p50 {} in the median network and {} in the worst, p99 {} in the worst, max {}",
                micros(p50_median),
                micros(p50_max),
                micros(p99_max),
                micros(max)
            ),
        ),
        ("view changes", counts(&in_group(&batch.coverage, Group::Views), "none")),
        ("faults injected", counts(&in_group(&batch.coverage, Group::Faults), "none")),
        ("lies told", counts(&in_group(&batch.coverage, Group::Lies), "none")),
    ]));
    let tallies = batch.invariants.iter().map(|tally| [tally.name.to_owned(), tally.words(), tally.demand.to_owned()]);
    lines.push(table(["invariant", "verdict", "what it demands"], tallies));
    for failed in &batch.failed {
        lines.push(format!(
            "seed {}: {}, {}\n  again: {}",
            failed.seed, failed.outcome, failed.violation, failed.command
        ));
    }
    lines.join("\n")
}

impl Tally {
    fn words(&self) -> String {
        let runs = self.held + self.violated + self.not_judged;
        match self {
            Self { violated: 1.., .. } => format!("VIOLATED in {} of {runs}", self.violated),
            Self { not_judged: 1.., .. } => format!("held in {}, not judged in {}", self.held, self.not_judged),
            _ if runs == 0 => "not judged".to_owned(),
            _ => format!("held in {runs}"),
        }
    }
}
