//! Batches of seeds: nothing is violated, everything is met, and a seed is a seed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;

use dtvn_simulation::run::shrink;
use dtvn_simulation::{Changes, Coverage, End, Fault, simulate};

/// Seeds of the batch: about ten seconds on one core.
const SEEDS: u64 = 150;

/// Runs a seed; if it fails, says how to run it again, and in its simplest form.
fn run(seed: u64) -> Coverage {
    let report = simulate(seed, &Changes::default());
    assert!(
        report.end == End::Good,
        "{report}\n  {}\n  again: {}\n  simplest: {}",
        report.scenario,
        report.command(),
        shrink(&report).command()
    );
    report.coverage
}

#[test]
fn a_batch_of_seeds_violates_nothing_and_meets_everything() {
    let mut coverage = Coverage::default();
    (0..SEEDS).for_each(|seed| coverage.add(&run(seed)));
    let blind = coverage.blind_spots();
    assert!(blind.is_empty(), "the batch is blind to: {}", blind.join(", "));
}

#[test]
fn equal_seeds_give_equal_runs_and_others_do_not() {
    let hashes: Vec<u64> = (300..320).map(|seed| simulate(seed, &Changes::default()).hash).collect();
    let again: Vec<u64> = (300..320).map(|seed| simulate(seed, &Changes::default()).hash).collect();
    assert_eq!(hashes, again);
    assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), hashes.len());
}

#[test]
fn seeds_that_once_found_a_bug() {
    // The log dropped the segment that held a view; a block without bundles; a false blame; holders that are gone.
    for seed in [26, 28, 31, 33, 617, 897, 2571] {
        run(seed);
    }
}

#[test]
fn without_faults_nobody_changes_the_view_but_by_plan_and_nothing_is_lost() {
    let without = Changes::without(Fault::ALL);
    for seed in 0..10 {
        let report = simulate(seed, &without);
        assert_eq!(report.end, End::Good, "{report}");
        let met = report.coverage;
        assert_eq!((met.lost, met.restarts, met.told.total(), met.blamed, met.partitions), (0, 0, 0, 0, 0), "{report}");
        assert!(met.decided > 0);
        assert!(report.recovery_us < 2_000_000, "{report}");
    }
}
