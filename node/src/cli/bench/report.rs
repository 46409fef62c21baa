//! What a bench found.

use std::collections::BTreeMap;

use dtvn_client::load::{LoadPlan, LoadReport};
use dtvn_messages::Height;
use serde::Serialize;

use super::super::load::micros;
use super::super::output::table;
use crate::cluster::Usage;

/// All scenarios of a run, with what is needed to compare it with another.
#[derive(Debug, Serialize)]
pub(super) struct BenchReport {
    /// The program's version.
    pub(super) version: String,
    /// Whether it was built for shipping; figures of other builds do not count.
    pub(super) is_release: bool,
    /// Processors of this machine.
    pub(super) processors: usize,
    /// Nodes of the network.
    pub(super) nodes: usize,
    pub(super) scenarios: Vec<ScenarioReport>,
}

/// One scenario.
#[derive(Debug, Serialize)]
pub(super) struct ScenarioReport {
    pub(super) name: String,
    /// What it was, in a sentence.
    pub(super) about: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plan: Option<LoadPlan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) load: Option<LoadReport>,
    /// What each node used meanwhile. None for one that was killed.
    pub(super) usage: BTreeMap<String, Option<Usage>>,
    /// Processor time of each node for a thousand accepted operations, in milliseconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) cpu_ms_per_thousand: BTreeMap<String, u64>,
    /// How long it was measured, in milliseconds.
    pub(super) measured_ms: u64,
    /// Whether all nodes had the same history at the end.
    pub(super) equal_histories: bool,
    /// Up to which height.
    pub(super) height: Height,
    /// Further figures, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) remarks: Vec<String>,
}

impl ScenarioReport {
    /// Whether it ended as it should.
    pub(super) fn is_good(&self) -> bool {
        self.equal_histories && self.load.as_ref().is_none_or(|load| load.accepted > 0)
    }
}

/// Processor time for a thousand operations, node by node.
pub(super) fn per_thousand(usage: &BTreeMap<String, Option<Usage>>, accepted: u64) -> BTreeMap<String, u64> {
    let used = usage.iter().filter_map(|(name, usage)| Some((name.clone(), usage.as_ref()?.cpu_ms)));
    used.filter_map(|(name, cpu_ms)| Some((name, (cpu_ms * 1_000).checked_div(accepted)?))).collect()
}

/// The report for people.
pub(super) fn words(report: &BenchReport) -> String {
    let rows = report.scenarios.iter().map(|scenario| {
        let figures = scenario.load.as_ref().map_or_else(Default::default, |load| {
            let latency = &load.latency_us;
            [
                format!("{:.0}", load.accepted_per_second),
                micros(latency.p50),
                micros(latency.p90),
                micros(latency.p99),
                micros(latency.max),
                micros(load.longest_gap_us),
                load.failed.to_string(),
            ]
        });
        let [rate, p50, p90, p99, max, gap, failed] = figures;
        let most = scenario.cpu_ms_per_thousand.values().max();
        let cpu = most.map_or(String::new(), |milliseconds| format!("{milliseconds} ms"));
        let histories = if scenario.equal_histories { "equal" } else { "DIFFERENT" };
        [scenario.name.clone(), rate, p50, p90, p99, max, gap, failed, cpu, histories.to_owned()]
    });
    let head = ["scenario", "per second", "p50", "p90", "p99", "max", "gap", "failed", "CPU per 1000", "histories"];
    let mut lines = vec![table(head, rows)];
    for scenario in &report.scenarios {
        lines.push(format!("{}: {}", scenario.name, scenario.about));
        lines.extend(scenario.remarks.iter().map(|remark| format!("  {remark}")));
        if let Some(load) = scenario.load.as_ref().filter(|load| load.failed > 0) {
            let errors: Vec<String> = load.errors.iter().map(|(name, count)| format!("{name} {count}")).collect();
            lines.push(format!("  failed: {}", errors.join(", ")));
        }
    }
    let build = if report.is_release { "release build" } else { "NOT a release build: do not compare its figures" };
    lines.push(format!("dtvn {}, {build}; {} nodes on {} processors", report.version, report.nodes, report.processors));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_told_for_a_thousand_operations() {
        let used = |cpu_ms| Some(Usage { cpu_ms, ..Usage::default() });
        let usage = BTreeMap::from([("node0".to_owned(), used(500)), ("node1".to_owned(), None)]);
        assert_eq!(per_thousand(&usage, 10_000), BTreeMap::from([("node0".to_owned(), 50)]));
        assert!(per_thousand(&usage, 0).is_empty());
    }
}
