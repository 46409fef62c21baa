//! Canaries: bugs that are planted in the code that ships (messages/src/canary.rs), each of which the simulator must find
//! within a stated number of seeds. `cargo test -p dtvn-simulation --features canary --test planted`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

use std::sync::Once;

use dtvn_messages::canary::Canary;
use dtvn_simulation::run::simulate_scenario;
use dtvn_simulation::{Behaviour, Changes, Fault, Invariant, Level, LostVotes, Scenario};

/// A planted bug makes code panic, which is found like anything else: nobody needs to see where.
fn quiet() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

/// Some rules prevent what is rare: votes are lost, and leaders killed, more often than in most networks. Others are about
/// liars of one kind.
fn tune(canary: Canary, scenario: &mut Scenario) {
    let lie = match canary {
        Canary::SignaturesIgnored => Some(Behaviour::ForeignIndex),
        Canary::SyncUnproven => Some(Behaviour::SyncWrong),
        _ => None,
    };
    let is_rare = [Canary::CommitOutOfOrder, Canary::StopRuleDropped, Canary::OldestCertificate].contains(&canary);
    if lie.is_none() && !is_rare {
        return;
    }
    scenario.powers.clear();
    scenario.liars = lie.map(|lie| (scenario.seed as usize % 4, lie)).into_iter().collect();
    (scenario.validators, scenario.spare_faults) = (4, 0);
    // One node gets all votes, the others none: it alone knows what was prepared, or committed.
    let lost = LostVotes { prepares_permille: 1_000, commits_permille: 1_000, parity: None, spared: None };
    scenario.lost_votes = match canary {
        Canary::CommitOutOfOrder => Some(LostVotes { parity: Some(scenario.seed % 2), ..lost }),
        Canary::StopRuleDropped => Some(lost),
        _ => None,
    };
    for fault in [Fault::Votes, Fault::Partitions, Fault::Leaders] {
        scenario.set_level(fault, Level::High);
    }
}

/// The first seed that finds a planted bug, and what it violates.
fn find(canary: Canary, seeds: u64) -> Option<(u64, Invariant, String)> {
    quiet();
    (0..seeds).find_map(|seed| {
        let mut scenario = Scenario::draw(seed, &Changes::default());
        scenario.planted = Some(canary);
        tune(canary, &mut scenario);
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
fn scan() {
    for canary in [
        Canary::CommitOutOfOrder,
        Canary::StopRuleDropped,
        Canary::OldestCertificate,
    ] {
        println!(
            "SCAN {canary:?}: {:?}",
            find(canary, 300).map(|(a, b, c)| (a, b, c.chars().take(200).collect::<String>()))
        );
    }
}

#[test]
fn without_a_canary_the_same_seeds_find_nothing() {
    for seed in 0..10 {
        let end = simulate_scenario(Scenario::draw(seed, &Changes::default())).end;
        assert_eq!(end.violation(), None, "seed {seed}");
    }
}
