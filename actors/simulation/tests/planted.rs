//! Canaries: bugs that are planted in the code that ships (messages/src/canary.rs), each of which the simulator must find
//! within a stated number of seeds. `cargo test -p dtvn-simulation --features canary --test planted`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

#[path = "stories/rules.rs"]
mod rules;

use std::sync::Once;

use dtvn_messages::canary::{Canary, plant};
use dtvn_simulation::run::simulate_scenario;
use dtvn_simulation::{Behaviour, Changes, Fault, Invariant, Level, Scenario};

/// A planted bug makes code panic, which is found like anything else: nobody needs to see where.
fn quiet() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

/// Some rules are about liars of one kind.
fn tune(canary: Canary, scenario: &mut Scenario) {
    let lie = match canary {
        Canary::SignaturesIgnored => Some(Behaviour::ForeignIndex),
        Canary::SyncUnproven => Some(Behaviour::SyncWrong),
        Canary::LogRootIgnored => Some(Behaviour::WrongRoot),
        _ => None,
    };
    if matches!(canary, Canary::EpochEndIgnored | Canary::ChangeUnsigned) {
        scenario.joiners = 2;
        scenario.set_level(Fault::Members, Level::High);
    }
    // A view that is active without its selection would end by plan at once, and the next one too, within one step.
    if canary == Canary::ActiveViewIgnored {
        scenario.parameters.rotation_interval = 0;
    }
    if lie.is_none() {
        return;
    }
    scenario.powers.clear();
    scenario.liars = lie.map(|lie| (scenario.seed as usize % 4, lie)).into_iter().collect();
    (scenario.validators, scenario.spare_faults) = (4, 0);
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
const FOUND_WITHIN: [(Canary, u64); 18] = [
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
    (Canary::LogRootIgnored, 10),
    (Canary::KeyTableIgnored, 5),
    (Canary::PositionsNotRolledBack, 5),
    (Canary::TicketsNotRolledBack, 5),
    (Canary::SignaturesIgnored, 5),
    (Canary::SyncUnproven, 5),
    (Canary::EpochEndIgnored, 5),
    (Canary::ChangeUnsigned, 10),
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

/// Rules that prevent what is too rare to wait for: stories that end in a fork or a stall without them.
#[test]
fn every_rule_of_a_story_is_missed_when_it_is_dropped() {
    quiet();
    let stories: [(Canary, fn()); 3] = [
        (Canary::CommitOutOfOrder, rules::commit_in_order),
        (Canary::StopRuleDropped, rules::stop_rule),
        (Canary::OldestCertificate, rules::highest_view),
    ];
    for (canary, story) in stories {
        plant(Some(canary));
        let ended = std::panic::catch_unwind(story);
        plant(None);
        let Err(panic) = ended else { panic!("the story ends well without its rule: {canary:?}") };
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        println!("{canary:?}: {}", text.lines().next().unwrap_or_default());
        assert!(std::panic::catch_unwind(story).is_ok(), "{canary:?} is planted no more");
    }
}

#[test]
fn every_canary_has_its_place() {
    let in_stories = [Canary::CommitOutOfOrder, Canary::StopRuleDropped, Canary::OldestCertificate];
    let mut all: Vec<Canary> = FOUND_WITHIN.iter().map(|(canary, _)| *canary).chain(in_stories).collect();
    all.sort_unstable();
    assert_eq!(all, Canary::ALL);
}

#[test]
fn without_a_canary_the_same_seeds_find_nothing() {
    for seed in 0..10 {
        let end = simulate_scenario(Scenario::draw(seed, &Changes::default())).end;
        assert_eq!(end.violation(), None, "seed {seed}");
    }
}
