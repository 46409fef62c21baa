//! Canaries: bugs that are planted in the code that ships (messages/src/canary.rs), each of which the simulator must find
//! within a stated number of seeds. `cargo test -p dtvn-simulation --features canary --test planted`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

use std::sync::Once;

use dtvn_messages::canary::Canary;
use dtvn_simulation::run::simulate_scenario;
use dtvn_simulation::{Changes, Invariant, Scenario};

/// A planted bug makes code panic, which is found like anything else: nobody needs to see where.
fn quiet() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

/// The first seed that finds a planted bug, and what it violates.
fn find(canary: Canary, seeds: u64) -> Option<(u64, Invariant, String)> {
    quiet();
    (0..seeds).find_map(|seed| {
        let mut scenario = Scenario::draw(seed, &Changes::default());
        scenario.planted = Some(canary);
        let end = simulate_scenario(scenario).end;
        end.violation().map(|violation| (seed, violation.invariant, violation.details.clone()))
    })
}

/// Canaries, and within how many seeds each is found.
const FOUND_WITHIN: [(Canary, u64); 14] = [
    (Canary::QuorumMinusOne, 10),
    (Canary::VotesWithoutDigest, 20),
    (Canary::CertificateNotDurable, 5),
    (Canary::SendBeforeSync, 5),
    (Canary::OwnVotesAtOnce, 5),
    (Canary::ProposalForgotten, 20),
    (Canary::AmnesiacVotes, 20),
    (Canary::ViewChangeWithoutProofs, 60),
    (Canary::ActiveViewIgnored, 5),
    (Canary::BundleOrderIgnored, 5),
    (Canary::LogRootIgnored, 60),
    (Canary::KeyTableIgnored, 5),
    (Canary::PositionsNotRolledBack, 5),
    (Canary::TicketsNotRolledBack, 5),
];

#[test]
fn every_canary_is_found_within_its_seeds() {
    let mut missed = Vec::new();
    for (canary, seeds) in FOUND_WITHIN {
        match find(canary, seeds) {
            Some((seed, invariant, details)) => {
                let line = details.lines().next().unwrap_or_default();
                println!("{canary:?}: seed {seed}, {}: {line}", invariant.name());
            }
            None => missed.push(canary),
        }
    }
    assert!(missed.is_empty(), "the simulator is blind to {missed:?}");
}

#[test]
fn without_a_canary_the_same_seeds_find_nothing() {
    for seed in 0..10 {
        let end = simulate_scenario(Scenario::draw(seed, &Changes::default())).end;
        assert_eq!(end.violation(), None, "seed {seed}");
    }
}
