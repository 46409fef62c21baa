//! The oracle is told lies, one at a time: each check is missed by a test when it is not there.

mod blocks;
mod epochs;
mod history;
mod outcomes;
mod promises;
mod worlds;

use super::{Invariant, Violation};

/// It is a violation of this invariant, in these words.
#[track_caller]
fn assert_violates(result: Result<(), Violation>, invariant: Invariant, words: &str) {
    let violation = result.expect_err("the oracle is blind to it");
    assert_eq!(violation.invariant, invariant, "{violation}");
    assert!(violation.details.contains(words), "not in these words, {words:?}: {violation}");
}

/// One violation of each invariant, as the oracle finds it. A new invariant does not compile without one.
fn violation_of(invariant: Invariant) -> Violation {
    let found = match invariant {
        Invariant::Agreement => blocks::two_blocks_at_a_height(),
        Invariant::Minority => worlds::decided_alone(),
        Invariant::Chain => blocks::wrong_parent(),
        Invariant::Validity => outcomes::asked_by_nobody(),
        Invariant::ExactlyOnce => outcomes::key_twice(),
        Invariant::Rules => outcomes::refused_without_reason(),
        Invariant::Integrity => promises::two_votes_in_a_slot(),
        Invariant::DurableBeforeSent => promises::prepare_before_its_record(),
        Invariant::CertifiedOutcome => blocks::certificate_of_too_few(),
        Invariant::NoFalseAccusation => worlds::honest_one_blamed(),
        Invariant::Liveness => return worlds::storm(),
        Invariant::NoCrash => return worlds::panic(),
    };
    found.expect_err("the oracle is blind to it")
}

#[test]
fn every_invariant_is_noticed_when_it_is_violated() {
    for invariant in Invariant::ALL {
        assert_eq!(violation_of(invariant).invariant, invariant, "{}", invariant.name());
    }
}
