//! Batches of seeds: nothing is violated, everything is met, and a seed is a seed. A longer batch, for a night:
//! `cargo sim --seeds 100000`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::ops::Range;
use std::thread;

use dtvn_pbft::Cause;
use dtvn_simulation::run::shrink;
use dtvn_simulation::{Changes, Coverage, End, Fault, simulate};

/// Seeds of the batch: some two minutes of one core.
const SEEDS: u64 = 1_000;

/// Runs a seed; if it fails, says how to run it again, and in its simplest form.
fn run(seed: u64) -> (Coverage, u64) {
    let report = simulate(seed, &Changes::default());
    assert!(
        report.end == End::Good,
        "{report}\n  {}\n  again: {}\n  simplest: {}",
        report.scenario,
        report.command(),
        shrink(&report).command()
    );
    (report.coverage, report.hash)
}

/// Runs seeds on all cores: what they met together, and their hashes in order.
fn run_all(seeds: Range<u64>) -> (Coverage, Vec<u64>) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let runs: Vec<(u64, Coverage, u64)> = thread::scope(|scope| {
        let lane = |lane: usize| {
            let seeds = seeds.clone().skip(lane).step_by(cores);
            scope.spawn(move || {
                let run = |seed| {
                    let (coverage, hash) = run(seed);
                    (seed, coverage, hash)
                };
                seeds.map(run).collect::<Vec<_>>()
            })
        };
        let lanes: Vec<_> = (0..cores).map(lane).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a seed failed: see above")).collect()
    });
    let mut coverage = Coverage::default();
    let mut hashes: Vec<(u64, u64)> = Vec::new();
    for (seed, met, hash) in runs {
        coverage.add(&met);
        hashes.push((seed, hash));
    }
    hashes.sort_unstable();
    (coverage, hashes.into_iter().map(|(_, hash)| hash).collect())
}

#[test]
fn a_batch_of_seeds_violates_nothing_and_meets_everything() {
    let (coverage, _) = run_all(0..SEEDS);
    let blind = coverage.blind_spots();
    assert!(blind.is_empty(), "the batch is blind to: {}", blind.join(", "));
}

#[test]
fn equal_seeds_give_equal_runs_and_others_do_not() {
    let (_, hashes) = run_all(300..350);
    let (_, again) = run_all(300..350);
    assert_eq!(hashes, again);
    assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), hashes.len());
}

#[test]
fn without_faults_nobody_changes_the_view_but_by_plan_and_nothing_is_lost() {
    let without = Changes::without(Fault::ALL);
    let mut planned = 0;
    for seed in 0..10 {
        let report = simulate(seed, &without);
        assert_eq!(report.end, End::Good, "{report}");
        let met = report.coverage;
        assert_eq!((met.lost, met.restarts, met.told.total(), met.blamed, met.partitions), (0, 0, 0, 0, 0), "{report}");
        let views = |cause: Cause| met.views.0[cause as usize];
        // Who does not see yet that it is time joins those who do.
        let is_planned = |cause| cause == Cause::Planned || (cause == Cause::JoinedOthers && views(Cause::Planned) > 0);
        let unplanned = Cause::ALL.into_iter().filter(|cause| views(*cause) > 0 && !is_planned(*cause));
        let unplanned: Vec<&str> = unplanned.map(Cause::name).collect();
        assert!(unplanned.is_empty(), "the view changes without a fault: {unplanned:?}, {report}");
        planned += views(Cause::Planned);
        assert!(met.decided > 0);
        assert!(report.recovery_us < 2_000_000, "{report}");
    }
    assert!(planned > 0, "some of these networks rotate their leaders");
}
