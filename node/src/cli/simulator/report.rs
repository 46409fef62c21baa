//! What a simulation found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use dtvn_simulation::{Counter, Coverage, Group, Invariant, Plan, Report};
use serde::Serialize;

use super::super::load::micros;
use super::super::output::table;
use super::{go_time, millis};

/// One run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Summary {
    /// good, crashed, stalled, unsafe or unfinished.
    pub(super) outcome: &'static str,
    /// What was violated, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) violation: Option<String>,
    pub(super) seed: u64,
    /// The hash of all events, as 16 hexadecimal digits.
    pub(super) event_hash: String,
    pub(super) events: u64,
    /// The command that repeats it.
    pub(super) command: String,
    pub(super) virtual_ms: u64,
    pub(super) wall_ms: u64,
    /// From the end of the faults until everything was decided.
    pub(super) recovery_ms: u64,
    /// Those that lied, and how.
    pub(super) liars: BTreeMap<String, &'static str>,
    /// Tickets by state.
    pub(super) tickets: BTreeMap<&'static str, u64>,
    pub(super) operations: Operations,
    /// Blocks that consensus decided.
    pub(super) rounds: u64,
    pub(super) messages: Messages,
    pub(super) partitions: u64,
    /// Moves of honest nodes to another view, by cause.
    pub(super) view_changes: BTreeMap<&'static str, u64>,
    /// From a client's first request to the outcome, in virtual microseconds.
    pub(super) latency_us: Latency,
    /// Faults that were injected, by kind.
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// Lies that were told, by kind.
    pub(super) lies: BTreeMap<&'static str, u64>,
    pub(super) invariants: Vec<Verdict>,
}

/// What became of clients' operations.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Operations {
    pub(super) asked: u64,
    pub(super) decided: u64,
    pub(super) refused: u64,
    /// Of those asked for, the part that was accepted.
    pub(super) success_rate: f64,
}

impl Operations {
    pub(super) fn of(report: &Report) -> Self {
        Self::new(report.asked, report.decided, report.decided - report.accepted)
    }

    fn new(asked: u64, decided: u64, refused: u64) -> Self {
        let success_rate = if asked == 0 { 0.0 } else { (decided - refused) as f64 / asked as f64 };
        Self { asked, decided, refused, success_rate }
    }

    /// Of two networks together.
    pub(super) fn and(self, other: Self) -> Self {
        Self::new(self.asked + other.asked, self.decided + other.decided, self.refused + other.refused)
    }

    pub(super) fn success_words(&self) -> String {
        format!("{:.1}%", 100.0 * self.success_rate)
    }
}

impl fmt::Display for Operations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} asked, {} decided, {} refused", self.asked, self.decided, self.refused)
    }
}

/// Messages between nodes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Messages {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
}

/// Latencies by rank.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Latency {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

/// What became of one invariant.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Verdict {
    pub(super) name: &'static str,
    /// What it demands.
    pub(super) demand: &'static str,
    /// None: the run did not come to where it is judged.
    pub(super) held: Option<bool>,
}

impl Summary {
    pub(super) fn new(report: &Report, command: String, wall: Duration) -> Self {
        let met = &report.coverage;
        Self {
            outcome: report.end.name(),
            violation: report.end.violation().map(ToString::to_string),
            seed: report.seed,
            event_hash: format!("{:016x}", report.hash),
            events: report.events,
            command,
            virtual_ms: report.virtual_us / 1_000,
            wall_ms: millis(wall),
            recovery_ms: report.recovery_us / 1_000,
            liars: report.liars.iter().map(|(liar, lie)| (format!("node{liar}"), lie.name())).collect(),
            tickets: report.tickets.iter().map(|(state, count)| (state.name(), *count)).collect(),
            operations: Operations::of(report),
            rounds: report.height.0,
            messages: Messages { sent: met.sent, delivered: met.delivered, lost: met.lost },
            partitions: met.partitions,
            view_changes: in_group(met, Group::Views),
            latency_us: Latency { p50: report.latency.p50_us, p99: report.latency.p99_us, max: report.latency.max_us },
            faults: in_group(met, Group::Faults),
            lies: in_group(met, Group::Lies),
            invariants: verdicts(report),
        }
    }
}

/// The counters of a group that are not zero.
pub(super) fn in_group(met: &Coverage, group: Group) -> BTreeMap<&'static str, u64> {
    let counters = met.all().into_iter().filter(|counter| counter.group == group && counter.count > 0);
    counters.map(|Counter { name, count, .. }| (name, count)).collect()
}

pub(super) fn verdicts(report: &Report) -> Vec<Verdict> {
    let violated = report.end.violation().map(|violation| violation.invariant);
    let is_over = report.end == dtvn_simulation::End::Good;
    let held = |invariant| match invariant {
        _ if violated == Some(invariant) => Some(false),
        // Nothing is said of what would have come.
        Invariant::Liveness if !is_over => None,
        _ => Some(true),
    };
    let verdict =
        |invariant: Invariant| Verdict { name: invariant.name(), demand: invariant.demand(), held: held(invariant) };
    Invariant::ALL.into_iter().map(verdict).collect()
}

fn outcome_words(summary: &Summary) -> String {
    let virtual_time = micros(summary.virtual_ms * 1_000);
    let wall = Duration::from_millis(summary.wall_ms).as_secs_f64();
    let recovery = micros(summary.recovery_ms * 1_000);
    match (summary.outcome, &summary.violation) {
        ("good", _) => format!(
            "GOOD: every invariant held, and everything was decided {recovery} after the faults had healed \
             ({virtual_time} of virtual time in {wall:.1} s)"
        ),
        ("unfinished", _) => {
            format!(
                "UNFINISHED: stopped after {wall:.1} s at {virtual_time} of virtual time; every invariant held so far"
            )
        }
        (outcome, violation) => {
            let violation = violation.as_deref().unwrap_or_default();
            format!("{} after {virtual_time} of virtual time\n{violation}", outcome.to_uppercase())
        }
    }
}

pub(super) fn counts(counts: &BTreeMap<&'static str, u64>, none: &str) -> String {
    if counts.is_empty() {
        return none.to_owned();
    }
    let words: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    words.join(", ")
}

/// Tickets by state, without those that are none's.
pub(super) fn state_counts(tickets: &BTreeMap<&'static str, u64>) -> String {
    let tickets = tickets.iter().filter(|(_, count)| **count > 0);
    tickets.map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
}

/// What there is to say, a line for each name.
pub(super) fn rows<const N: usize>(rows: [(&str, String); N]) -> String {
    rows.map(|(name, value)| format!("  {name:<16} {value}")).join("\n")
}

/// The report for people.
pub(super) fn words(summary: &Summary, plan: &Plan) -> String {
    let latency = &summary.latency_us;
    let liars: Vec<String> = summary.liars.iter().map(|(liar, lie)| format!("{liar} ({lie})")).collect();
    let network = format!(
        "{} nodes, {} of them Byzantine; latency {}, packet loss {}%",
        plan.nodes,
        plan.byzantine,
        go_time(Duration::from_micros(plan.latency_us)),
        plan.lost_ppm as f64 / 1e4
    );
    let messages = &summary.messages;
    let facts = rows([
        ("network", network),
        ("liars", if liars.is_empty() { "none".to_owned() } else { liars.join(", ") }),
        ("tickets", state_counts(&summary.tickets)),
        ("operations", summary.operations.to_string()),
        ("success rate", summary.operations.success_words()),
        ("rounds", format!("{} blocks decided", summary.rounds)),
        ("latency", format!("p50 {}, p99 {}, max {}", micros(latency.p50), micros(latency.p99), micros(latency.max))),
        ("messages", format!("{} sent, {} delivered, {} lost", messages.sent, messages.delivered, messages.lost)),
        ("partitions", summary.partitions.to_string()),
        ("view changes", counts(&summary.view_changes, "none")),
        ("faults injected", counts(&summary.faults, "none")),
        ("lies told", counts(&summary.lies, "none")),
    ]);
    let verdicts = summary.invariants.iter().map(|verdict| {
        let held = match verdict.held {
            Some(true) => "held",
            Some(false) => "VIOLATED",
            None => "not judged",
        };
        [verdict.name.to_owned(), held.to_owned(), verdict.demand.to_owned()]
    });
    [
        outcome_words(summary),
        facts,
        table(["invariant", "verdict", "what it demands"], verdicts),
        format!("seed {}, event hash {}, {} events", summary.seed, summary.event_hash, summary.events),
        format!("again: {}", summary.command),
    ]
    .join("\n")
}
