//! Shrinking a run that failed: fewer faults, nodes and clients, and a shorter time.

use super::{Report, simulate};
use crate::scenario::{Changes, Fault};

/// The shortest time of faults that is tried.
const FAULTS_MS_MIN: u64 = 500;

/// Looks for a simpler run of a seed that fails in the same way: each change is kept for as long as it still fails.
#[must_use]
pub fn shrink(failed: &Report) -> Report {
    let mut simplest = failed.clone();
    loop {
        let simpler = candidates(&simplest).into_iter().find_map(|changes| {
            let report = simulate(failed.seed, &changes);
            (report.end.exit_code() == failed.end.exit_code()).then_some(report)
        });
        match simpler {
            Some(simpler) => simplest = simpler,
            None => return simplest,
        }
    }
}

/// Changes that make a run simpler by one step, those first that take the most away.
fn candidates(report: &Report) -> Vec<Changes> {
    let changes = &report.changes;
    let mut found = Vec::new();
    for fault in Fault::ALL.into_iter().filter(|fault| !changes.without.contains(fault)) {
        let mut simpler = changes.clone();
        simpler.without.insert(fault);
        found.push(simpler);
    }
    let smaller = [1, 3, 4, 7].into_iter().filter(|validators| *validators < report.validators);
    found.extend(smaller.map(|validators| Changes { validators: Some(validators), ..changes.clone() }));
    let clients = changes.clients.unwrap_or(report.clients);
    found.extend(
        [1, 2, 4]
            .into_iter()
            .filter(|fewer| *fewer < clients)
            .map(|fewer| Changes { clients: Some(fewer), ..changes.clone() }),
    );
    let half_ms = changes.faults_ms.unwrap_or(report.faults_us / 1_000) / 2;
    if half_ms >= FAULTS_MS_MIN {
        found.push(Changes { faults_ms: Some(half_ms), ..changes.clone() });
    }
    found
}
