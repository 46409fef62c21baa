//! Changes of the validators and recoveries.

use dtvn_messages::membership::{NewSet, Nonce, Recovery, SignedRecovery, ValidatorsChange};
use dtvn_messages::{Action, Epoch, Height, NodeName, Operation, PublicKey, Reason, Validator, ValidatorSet, Verdict};

use super::super::{Invariant, Violation};
use super::assert_violates;
use super::history::{History, alter, operation, sign, signed_by};

/// The first so many of the present validators.
fn fewer(history: &History, count: usize) -> ValidatorSet {
    let present = history.genesis.validators().iter();
    ValidatorSet::new(present.take(count).map(|(_, validator)| validator.clone()).collect()).unwrap()
}

/// A change of the first epoch to a set, signed by so many validators.
fn change(history: &History, set: ValidatorSet, signers: usize) -> Action {
    let body = NewSet { epoch: Epoch(0), replaces: history.genesis.validators().hash(), set: set.hash() };
    let signatures = signed_by(&history.genesis, signers, &body);
    Action::ChangeValidators(Box::new(ValidatorsChange { epoch: body.epoch, replaces: body.replaces, set, signatures }))
}

/// A validator lost its memory, and says so under its own signature or another's.
fn recovery(history: &History, epoch: u64, nonce: u8, signer: usize) -> Operation {
    let body = Recovery { epoch: Epoch(epoch), validator: NodeName::new("node1").unwrap(), nonce: Nonce([nonce; 16]) };
    let signature = sign(&history.genesis, signer, &body);
    operation(&format!("recovery-{nonce}"), Action::Recover(Box::new(SignedRecovery { body, signature })))
}

const ACCEPTED: Verdict = Verdict::Accepted { version_before: 0, version_after: 0, state: None, tickets: 0 };

/// An operation of a block has this verdict, whatever the ledger says.
fn decided(history: &mut History, operations: Vec<Operation>, verdict: Verdict) -> Result<(), Violation> {
    let last = operations.len() - 1;
    history.grow_altered(operations, |effects| alter(&mut effects.results[last], |outcome| outcome.verdict = verdict))
}

#[test]
fn a_change_takes_effect_at_its_checkpoint_and_the_old_certificates_count_no_more() {
    let mut history = History::new();
    let set = fewer(&history, 3);
    let proposed = operation("change", change(&history, set.clone(), 3));
    let results = history.grow(vec![proposed]);
    assert!(results[0].outcome().verdict.is_accepted(), "{results:?}");
    assert_eq!(history.epoch(), Epoch(0));
    history.grow(Vec::new());
    assert_eq!((history.epoch(), history.height()), (Epoch(1), Height(2)));
    assert_eq!(history.chain.began(Epoch(1), &set), Ok(()));
    let before = history.genesis.validators().clone();
    assert_violates(history.chain.began(Epoch(1), &before), Invariant::Agreement, "begins epoch");
    // Of the new set all three are needed.
    let mut made = history.make(Vec::new());
    history.seal(&mut made.0, 2);
    assert_violates(history.commit(&made), Invariant::CertifiedOutcome, "the certificate of");
    history.seal(&mut made.0, 3);
    assert_eq!(history.commit(&made), Ok(()));
}

#[test]
fn changes_that_must_not_take_effect_are_found() {
    let mut history = History::new();
    let unsigned = operation("change", change(&history, fewer(&history, 3), 2));
    let violation = decided(&mut history, vec![unsigned], ACCEPTED);
    assert_violates(violation, Invariant::Validity, "was to be refused, not_signed_by_validators");

    let mut history = History::new();
    let both = [3, 2].map(|count| change(&history, fewer(&history, count), 3));
    let both = [("first", 0), ("second", 1)].map(|(key, number)| operation(key, both[number].clone()));
    let violation = decided(&mut history, both.to_vec(), ACCEPTED);
    assert_violates(violation, Invariant::ExactlyOnce, "was to be refused, stale_epoch");

    // A key of small order, under which signatures mean nothing.
    let mut history = History::new();
    let stranger = Validator { name: NodeName::new("node9").unwrap(), public_key: PublicKey([0; 32]), power: 1 };
    let unusable = operation("change", change(&history, ValidatorSet::new(vec![stranger]).unwrap(), 3));
    let violation = decided(&mut history, vec![unusable], ACCEPTED);
    assert_violates(violation, Invariant::Rules, "was to be refused, not_permitted");
}

#[test]
fn a_change_that_is_refused_without_a_reason_is_found() {
    for reason in [Reason::StaleEpoch, Reason::NotSignedByValidators, Reason::NotPermitted, Reason::UnknownTicket] {
        let mut history = History::new();
        let proposed = operation("change", change(&history, fewer(&history, 3), 3));
        let refused = Verdict::Refused { reason, version: 0, state: None, first: None };
        assert_violates(decided(&mut history, vec![proposed], refused), Invariant::Rules, "by the rules it is");
    }
    let mut history = History::new();
    let unsigned = operation("change", change(&history, fewer(&history, 3), 2));
    let stale = Verdict::Refused { reason: Reason::StaleEpoch, version: 0, state: None, first: None };
    assert_violates(decided(&mut history, vec![unsigned], stale), Invariant::Rules, "NotSignedByValidators");
    // Of two faults the signatures are looked at first, as they are cheaper than the set.
    let mut history = History::new();
    let stranger = Validator { name: NodeName::new("node9").unwrap(), public_key: PublicKey([0; 32]), power: 1 };
    let both = operation("change", change(&history, ValidatorSet::new(vec![stranger]).unwrap(), 2));
    let unusable = Verdict::Refused { reason: Reason::NotPermitted, version: 0, state: None, first: None };
    assert_violates(decided(&mut history, vec![both], unusable), Invariant::Rules, "NotSignedByValidators");
}

#[test]
fn recoveries_are_judged_as_the_ledger_does() {
    let mut history = History::new();
    let first = recovery(&history, 0, 1, 1);
    // Once in an epoch, by itself, for the present epoch; and not again a moment later.
    let refused = [recovery(&history, 0, 2, 1), recovery(&history, 0, 3, 2), recovery(&history, 5, 4, 1)];
    let results = history.grow([vec![first], refused.to_vec()].concat());
    let reasons: Vec<_> = results.iter().map(|result| result.outcome().verdict.refusal()).collect();
    let (recent, unsigned) = (Some(Reason::RecoveredRecently), Some(Reason::NotSignedByValidators));
    assert_eq!(reasons, [None, recent, unsigned, Some(Reason::StaleEpoch)]);
    // It comes too late for its epoch once more: a refused one uses up no key.
    history.grow(vec![recovery(&history, 5, 4, 1)]);
    assert_eq!(history.epoch(), Epoch(1), "the recovery ended the epoch");
    let results = history.grow(vec![recovery(&history, 1, 6, 1)]);
    assert_eq!(results[0].outcome().verdict.refusal(), recent);
}

#[test]
fn recoveries_with_another_verdict_are_found() {
    for (signer, epoch, reason) in [(2, 0, "NotSignedByValidators"), (1, 1, "StaleEpoch")] {
        let mut history = History::new();
        let wrong = recovery(&history, epoch, 1, signer);
        assert_violates(decided(&mut history, vec![wrong], ACCEPTED), Invariant::Rules, reason);
    }
    let mut history = History::new();
    let both = vec![recovery(&history, 0, 1, 1), recovery(&history, 0, 2, 1)];
    assert_violates(decided(&mut history, both, ACCEPTED), Invariant::Rules, "RecoveredRecently");
    let mut history = History::new();
    let first = vec![recovery(&history, 0, 1, 1)];
    let refused = Verdict::Refused { reason: Reason::RecoveredRecently, version: 0, state: None, first: None };
    assert_violates(decided(&mut history, first, refused), Invariant::Rules, "by the rules it is");
}
