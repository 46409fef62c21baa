//! Bugs that are planted around the nodes: an oracle that does not find them is blind (faults.md, "Canaries"). Each check by
//! itself is tested in `src/oracle/tests`, and bugs in the nodes are planted in `tests/planted.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;

use dtvn_simulation::lies::Behaviour;
use dtvn_simulation::run::simulate_scenario;
use dtvn_simulation::{Changes, Invariant, Sabotage, Scenario};

/// The invariants that are violated in some seeds with something planted.
fn violated(seeds: u64, plant: impl Fn(&mut Scenario)) -> BTreeSet<Invariant> {
    let ends = (0..seeds).map(|seed| {
        let mut scenario = Scenario::draw(seed, &Changes::default());
        plant(&mut scenario);
        simulate_scenario(scenario).end
    });
    ends.filter_map(|end| end.violation().map(|violation| violation.invariant)).collect()
}

#[test]
fn disks_that_lie_about_a_sync_are_found() {
    let found = violated(30, |scenario| scenario.sabotage = Some(Sabotage::LyingDisk));
    assert!(found.contains(&Invariant::DurableBeforeSent), "{found:?}");
}

#[test]
fn a_fork_by_more_liars_than_a_network_tolerates_is_found() {
    let found = violated(40, |scenario| {
        scenario.spare_faults = 0;
        scenario.powers.clear();
        let honest = 2.min(scenario.validators);
        scenario.liars = (honest..scenario.validators).map(|liar| (liar, Behaviour::TwoBlocks)).collect();
    });
    assert!(found.contains(&Invariant::Agreement), "{found:?}");
}

#[test]
fn a_network_that_never_heals_is_found() {
    let found = violated(10, |scenario| scenario.sabotage = Some(Sabotage::NoHealing));
    assert_eq!(found, BTreeSet::from([Invariant::Liveness]));
}
