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
    /// What was measured one after the other on the same network, to be compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) phases: Vec<Phase>,
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

/// One of several measurements of a scenario.
#[derive(Debug, Serialize)]
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) load: LoadReport,
}

impl ScenarioReport {
    /// Whether it ended as it should.
    pub(super) fn is_good(&self) -> bool {
        self.equal_histories && self.loads().all(|(_, load)| load.accepted > 0)
    }
}

impl ScenarioReport {
    /// Each measurement with its name.
    fn loads(&self) -> impl Iterator<Item = (String, &LoadReport)> {
        let whole = self.load.iter().map(|load| (self.name.clone(), load));
        whole.chain(self.phases.iter().map(|phase| (format!("{}: {}", self.name, phase.name), &phase.load)))
    }
}

/// Processor time for a thousand operations, node by node.
pub(super) fn per_thousand(usage: &BTreeMap<String, Option<Usage>>, accepted: u64) -> BTreeMap<String, u64> {
    let used = usage.iter().filter_map(|(name, usage)| Some((name.clone(), usage.as_ref()?.cpu_ms)));
    used.filter_map(|(name, cpu_ms)| Some((name, (cpu_ms * 1_000).checked_div(accepted)?))).collect()
}

/// The report for people.
pub(super) fn words(report: &BenchReport) -> String {
    let rows = report.scenarios.iter().flat_map(|scenario| {
        let most = scenario.cpu_ms_per_thousand.values().max();
        let cpu = most.map_or(String::new(), |milliseconds| format!("{milliseconds} ms"));
        let histories = if scenario.equal_histories { "equal" } else { "DIFFERENT" };
        let mut rows: Vec<_> = scenario.loads().map(|(name, load)| (name, figures(load))).collect();
        if rows.is_empty() {
            rows.push((scenario.name.clone(), Default::default()));
        }
        rows.into_iter().map(move |(name, [rate, p50, p90, p99, max, gap, failed])| {
            [name, rate, p50, p90, p99, max, gap, failed, cpu.clone(), histories.to_owned()]
        })
    });
    let head = ["scenario", "per second", "p50", "p90", "p99", "max", "gap", "failed", "CPU per 1000", "histories"];
    let mut lines = vec![table(head, rows)];
    for scenario in &report.scenarios {
        lines.push(format!("{}: {}", scenario.name, scenario.about));
        lines.extend(scenario.remarks.iter().map(|remark| format!("  {remark}")));
        for (name, load) in scenario.loads().filter(|(_, load)| load.failed > 0) {
            let errors: Vec<String> = load.errors.iter().map(|(error, count)| format!("{error} {count}")).collect();
            lines.push(format!("  failed in {name}: {}", errors.join(", ")));
        }
    }
    let build = if report.is_release { "release build" } else { "NOT a release build: do not compare its figures" };
    lines.push(format!("dtvn {}, {build}; {} nodes on {} processors", report.version, report.nodes, report.processors));
    lines.join("\n")
}

fn figures(load: &LoadReport) -> [String; 7] {
    let latency = &load.latency_us;
    let [p50, p90, p99, max, gap] =
        [latency.p50, latency.p90, latency.p99, latency.max, load.longest_gap_us].map(micros);
    [format!("{:.0}", load.accepted_per_second), p50, p90, p99, max, gap, load.failed.to_string()]
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
