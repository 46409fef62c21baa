//! Canaries: bugs that are planted in the code that ships (messages/src/canary.rs), each of which the simulator must find
//! within a stated number of seeds. `cargo test -p dtvn-simulation --features canary --test planted`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

#[path = "stories/rules.rs"]
mod rules;

use std::cell::Cell;
use std::panic::{catch_unwind, set_hook, take_hook};
use std::sync::Once;

use dtvn_messages::canary::{Canary, plant};
use dtvn_simulation::run::simulate_scenario;
use dtvn_simulation::{Behaviour, Changes, Fault, Invariant, Level, Scenario};

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// A planted bug makes code panic, which is found like anything else: nobody needs to see where. What a test says itself
/// is heard all the same.
fn quietly<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                usual(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    let result = run();
    IS_QUIET.set(false);
    result
}

/// Some rules are about liars of one kind.
fn tune(canary: Canary, scenario: &mut Scenario) {
    let lie = match canary {
        Canary::SignaturesIgnored => Some(Behaviour::ForeignIndex),
        Canary::SyncUnproven => Some(Behaviour::SyncWrong),
        Canary::LogRootIgnored => Some(Behaviour::WrongRoot),
        Canary::VotesWithoutDigest => Some(Behaviour::TwoBlocks),
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
    (0..seeds).find_map(|seed| {
        let mut scenario = Scenario::draw(seed, &Changes::default());
        scenario.planted = Some(canary);
        tune(canary, &mut scenario);
        let end = quietly(|| simulate_scenario(scenario)).end;
        end.violation().map(|violation| (seed, violation.invariant, violation.details.clone()))
    })
}

/// Canaries, within how many seeds each is found, and what it may break first: anything else is another bug.
const FOUND_WITHIN: [(Canary, u64, &[Invariant]); 18] = {
    use Invariant::{
        Agreement, CertifiedOutcome, Chain, DurableBeforeSent, ExactlyOnce, Integrity, Liveness, Minority, NoCrash,
        NoFalseAccusation, Rules, Validity,
    };
    [
        (Canary::QuorumMinusOne, 30, &[Minority, Agreement]),
        (Canary::VotesWithoutDigest, 5, &[CertifiedOutcome, NoFalseAccusation]),
        (Canary::CertificateNotDurable, 5, &[DurableBeforeSent]),
        (Canary::SendBeforeSync, 5, &[DurableBeforeSent]),
        (Canary::OwnVotesAtOnce, 5, &[DurableBeforeSent]),
        (Canary::ProposalForgotten, 20, &[Integrity]),
        (Canary::AmnesiacVotes, 20, &[Integrity]),
        (Canary::ViewChangeWithoutProofs, 60, &[NoFalseAccusation, Agreement]),
        (Canary::ActiveViewIgnored, 5, &[Liveness, Agreement]),
        (Canary::BundleOrderIgnored, 5, &[NoCrash]),
        (Canary::LogRootIgnored, 10, &[CertifiedOutcome]),
        (Canary::KeyTableIgnored, 5, &[ExactlyOnce]),
        (Canary::PositionsNotRolledBack, 5, &[NoCrash]),
        (Canary::TicketsNotRolledBack, 5, &[NoFalseAccusation, Rules]),
        (Canary::SignaturesIgnored, 5, &[CertifiedOutcome, NoFalseAccusation]),
        (Canary::SyncUnproven, 5, &[NoFalseAccusation, Agreement, CertifiedOutcome]),
        (Canary::EpochEndIgnored, 5, &[Chain]),
        (Canary::ChangeUnsigned, 10, &[Validity]),
    ]
};

#[test]
fn every_canary_is_found_within_its_seeds_by_what_it_breaks() {
    let (mut missed, mut astray) = (Vec::new(), Vec::new());
    for (canary, seeds, may_break) in FOUND_WITHIN {
        match find(canary, seeds) {
            Some((seed, invariant, details)) => {
                let line = details.lines().next().unwrap_or_default();
                let found = format!("{canary:?}: seed {seed}, {}: {line}", invariant.name());
                println!("{found}");
                if !may_break.contains(&invariant) {
                    astray.push(found);
                }
            }
            None => missed.push(canary),
        }
    }
    assert!(missed.is_empty(), "the simulator is blind to {missed:?}");
    assert!(astray.is_empty(), "something else is found than what the canary breaks:\n{}", astray.join("\n"));
}

/// Rules that prevent what is too rare to wait for: stories that end in a fork or a stall without them, in these words.
#[test]
fn every_rule_of_a_story_is_missed_when_it_is_dropped() {
    let (fork, stall) = ("agreement: ", "not within ");
    let stories: [(Canary, fn(), &str); 3] = [
        (Canary::CommitOutOfOrder, rules::commit_in_order, fork),
        (Canary::StopRuleDropped, rules::stop_rule, stall),
        (Canary::OldestCertificate, rules::highest_view, fork),
    ];
    for (canary, story, expected) in stories {
        plant(Some(canary));
        let ended = quietly(|| catch_unwind(story));
        plant(None);
        let Err(panic) = ended else { panic!("the story ends well without its rule: {canary:?}") };
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        println!("{canary:?}: {line}");
        assert!(line.starts_with(expected), "{canary:?} ends in something else than {expected:?}: {line}");
        assert!(catch_unwind(story).is_ok(), "{canary:?} is planted no more");
    }
}

#[test]
fn every_canary_has_its_place() {
    let in_stories = [Canary::CommitOutOfOrder, Canary::StopRuleDropped, Canary::OldestCertificate];
    let mut all: Vec<Canary> = FOUND_WITHIN.iter().map(|(canary, ..)| *canary).chain(in_stories).collect();
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
