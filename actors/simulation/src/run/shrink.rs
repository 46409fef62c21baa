//! Shrinking a run that failed: fewer faults, nodes and clients, and a shorter time.

use super::{Report, simulate};
use crate::scenario::{Changes, Fault};

/// The shortest time of faults that is tried.
const FAULTS_MS_MIN: u64 = 500;

/// How large a run is, beside the faults that happen in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    validators: usize,
    clients: usize,
    faults_ms: u64,
}

impl Size {
    const fn of(report: &Report) -> Self {
        Self { validators: report.validators, clients: report.clients, faults_ms: report.faults_us / 1_000 }
    }
}

/// Looks for a simpler run of a seed that fails in the same way: each change is kept for as long as it still fails. Of
/// what is left no single thing can be taken away.
#[must_use]
pub fn shrink(failed: &Report) -> Report {
    let run = |changes: &Changes| {
        let report = simulate(failed.seed, changes);
        (report.end.exit_code() == failed.end.exit_code()).then(|| (Size::of(&report), report))
    };
    simplest(&failed.changes, Size::of(failed), run).map_or_else(|| failed.clone(), |(_, report)| report)
}

/// Takes away one thing after the other for as long as a run with these changes fails, and says the last that did with
/// what came of it; none if everything is needed. `fails` says the size of a run that fails, and of no other.
fn simplest<T>(
    changes: &Changes,
    size: Size,
    mut fails: impl FnMut(&Changes) -> Option<(Size, T)>,
) -> Option<(Changes, T)> {
    let (mut changes, mut size, mut last) = (changes.clone(), size, None);
    loop {
        let mut simpler = candidates(&changes, size).into_iter();
        let found = simpler.find_map(|simpler| fails(&simpler).map(|(size, report)| (simpler, size, report)));
        let Some((simpler, its_size, report)) = found else {
            return last.map(|report| (changes, report));
        };
        (changes, size, last) = (simpler, its_size, Some(report));
    }
}

/// Changes that make a run simpler by one step, those first that take the most away.
fn candidates(changes: &Changes, size: Size) -> Vec<Changes> {
    let mut found = Vec::new();
    for fault in Fault::ALL.into_iter().filter(|fault| !changes.without.contains(fault)) {
        let mut simpler = changes.clone();
        simpler.without.insert(fault);
        found.push(simpler);
    }
    let smaller = [1, 3, 4, 7].into_iter().filter(|validators| *validators < size.validators);
    found.extend(smaller.map(|validators| Changes { validators: Some(validators), ..changes.clone() }));
    let fewer = [1, 2, 4].into_iter().filter(|clients| *clients < size.clients);
    found.extend(fewer.map(|clients| Changes { clients: Some(clients), ..changes.clone() }));
    let half_ms = size.faults_ms / 2;
    if half_ms >= FAULTS_MS_MIN {
        found.push(Changes { faults_ms: Some(half_ms), ..changes.clone() });
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::run::{Simulation, run_to_its_end};
    use crate::scenario::{Sabotage, Scenario};

    const LARGE: Size = Size { validators: 10, clients: 8, faults_ms: 30_000 };

    /// The size of a run with these changes.
    fn size_of(changes: &Changes) -> Size {
        Size {
            validators: changes.validators.unwrap_or(LARGE.validators),
            clients: changes.clients.unwrap_or(LARGE.clients),
            faults_ms: changes.faults_ms.unwrap_or(LARGE.faults_ms),
        }
    }

    /// What is left of a large run of which only this much is needed, and how many runs that took.
    fn left(needed: &[Fault], least: Size) -> (Changes, usize) {
        let mut runs = 0;
        let simplest = simplest(&Changes::default(), LARGE, |changes| {
            runs += 1;
            let size = size_of(changes);
            let has_faults = needed.iter().all(|fault| !changes.without.contains(fault));
            let is_large = size.validators >= least.validators
                && size.clients >= least.clients
                && size.faults_ms >= least.faults_ms;
            (has_faults && is_large).then_some((size, ()))
        });
        (simplest.unwrap().0, runs)
    }

    fn all_but(needed: &[Fault]) -> BTreeSet<Fault> {
        Fault::ALL.into_iter().filter(|fault| !needed.contains(fault)).collect()
    }

    #[test]
    fn what_is_left_is_what_is_needed_and_nothing_else() {
        let needed = [Fault::Crashes, Fault::Votes];
        let (simplest, runs) = left(&needed, Size { validators: 4, clients: 2, faults_ms: 3_000 });
        let (validators, clients, faults_ms) = (Some(4), Some(2), Some(3_750));
        assert_eq!(simplest, Changes { without: all_but(&needed), validators, clients, faults_ms });
        assert!(runs < 200, "{runs} runs");
        for fault in Fault::ALL {
            let (simplest, _) = left(&[fault], Size { validators: 1, clients: 1, faults_ms: 0 });
            assert_eq!(simplest.without, all_but(&[fault]));
        }
    }

    #[test]
    fn nothing_is_taken_from_a_run_in_which_all_is_needed() {
        let none: Option<(Changes, ())> = simplest(&Changes::default(), LARGE, |_| None);
        assert_eq!(none, None);
        let (all, runs) = left(&Fault::ALL, Size { faults_ms: 15_000, ..LARGE });
        assert_eq!(all, Changes { faults_ms: Some(15_000), ..Changes::default() });
        assert!(runs > Fault::ALL.len(), "{runs} runs");
    }

    /// A seed whose network never heals.
    fn unhealed(seed: u64, changes: &Changes) -> Report {
        let mut scenario = Scenario::draw(seed, changes);
        scenario.sabotage = Some(Sabotage::NoHealing);
        run_to_its_end(Simulation::new(scenario), changes)
    }

    #[test]
    fn a_run_that_stalls_shrinks_to_one_that_stalls_and_needs_all_that_is_left_of_it() {
        let mut runs = (0..10).map(|seed| unhealed(seed, &Changes::default()));
        let failed = runs.find(|report| report.end.name() == "stalled").unwrap();
        let seed = failed.seed;
        let stalls = |changes: &Changes| {
            let report = unhealed(seed, changes);
            (report.end.exit_code() == failed.end.exit_code()).then(|| (Size::of(&report), report))
        };
        let (changes, report) = simplest(&failed.changes, Size::of(&failed), stalls).unwrap();
        assert_eq!((report.end.name(), &report.changes), ("stalled", &changes));
        assert_eq!(unhealed(seed, &changes), report, "it is found again");
        for simpler in candidates(&changes, Size::of(&report)) {
            assert!(stalls(&simpler).is_none(), "{simpler:?} would do");
        }
    }
}
