//! What became of operations, and what clients are told of it.

use std::sync::Arc;

use dtvn_ledger::OperationResult;
use dtvn_messages::{
    Action, Digest, EventId, IdempotencyKey, NodeName, Operation, Outcome, Reason, TicketId, TicketState, Timestamp,
    Verdict,
};

use super::super::{Invariant, Violation};
use super::assert_violates;
use super::history::{History, alter, issue, operation, validate};

/// An operation is decided, and then another, of which something else came than what the ledger made of it.
fn altered([first, second]: [Operation; 2], change: impl FnOnce(&mut Outcome)) -> Result<(), Violation> {
    let mut history = History::new();
    history.grow(vec![first]);
    history.grow_altered(vec![second], |effects| alter(&mut effects.results[0], change))
}

fn refusal(reason: Reason, version: u64, state: Option<TicketState>) -> Verdict {
    Verdict::Refused { reason, version, state, first: None }
}

fn acceptance(version_after: u64, state: TicketState) -> Verdict {
    Verdict::Accepted { version_before: version_after - 1, version_after, state: Some(state), tickets: 1 }
}

/// An operation that no client asked for, of an honest origin.
pub(super) fn asked_by_nobody() -> Result<(), Violation> {
    let mut history = History::new();
    let made = history.make_unasked(vec![operation("first", issue("one"))]);
    history.commit(&made)
}

#[test]
fn what_nobody_asked_for_is_found() {
    assert_violates(asked_by_nobody(), Invariant::Validity, "nobody asked for");
}

/// The same operation twice, each time with an outcome of its own.
pub(super) fn key_twice() -> Result<(), Violation> {
    altered([operation("first", issue("one")), operation("first", issue("one"))], |outcome| outcome.index = 1)
}

#[test]
fn a_key_that_takes_effect_twice_is_found() {
    assert_violates(key_twice(), Invariant::ExactlyOnce, "a key takes effect twice");
}

#[test]
fn a_repeat_or_another_use_of_a_key_is_told_the_first_outcome() {
    let first = || operation("first", issue("one"));
    let mut history = History::new();
    let results = history.grow(vec![first(), operation("second", issue("two"))]);
    let another = Arc::clone(results[1].outcome());
    let violation = history.grow_altered(vec![first()], |effects| {
        effects.results[0] = OperationResult::Repeated(another);
    });
    assert_violates(violation, Invariant::ExactlyOnce, "is not the first outcome of");
    // The payload is the same: it is a repeat, and no other use.
    let mut history = History::new();
    let known = Arc::clone(history.grow(vec![first()])[0].outcome());
    let violation = history.grow_altered(vec![first()], |effects| {
        effects.results[0] = OperationResult::KeyReused { first: known };
    });
    assert_violates(violation, Invariant::ExactlyOnce, "was not used before");
}

#[test]
fn every_operation_has_its_own_result() {
    let two = || vec![operation("first", issue("one")), operation("second", issue("two"))];
    let violation = History::new().grow_altered(two(), |effects| drop(effects.results.pop()));
    assert_violates(violation, Invariant::CertifiedOutcome, "has 2 operations and 1 results");
    let violation = History::new().grow_altered(two(), |effects| effects.results.extend(effects.results.clone()));
    assert_violates(violation, Invariant::CertifiedOutcome, "has 2 operations and 4 results");
    let violation = History::new().grow_altered(two(), |effects| effects.results.swap(0, 1));
    assert_violates(violation, Invariant::CertifiedOutcome, "is not the outcome of");
    let violation = History::new().grow_altered(two(), |effects| effects.timestamp.0 += 1);
    assert_violates(violation, Invariant::CertifiedOutcome, "came of it");
    let violation = History::new().grow_altered(two(), |effects| effects.executed.log_size += 1);
    assert_violates(violation, Invariant::CertifiedOutcome, "came of it");
}

#[test]
fn an_outcome_is_that_of_its_operation() {
    let changes: [fn(&mut Outcome); 9] = [
        |outcome| outcome.index += 1,
        |outcome| outcome.height = outcome.height.next(),
        |outcome| outcome.agreed_time.0 += 1,
        |outcome| outcome.origin = NodeName::new("node1").unwrap(),
        |outcome| outcome.key = IdempotencyKey::new("another key of some length").unwrap(),
        |outcome| outcome.payload = Digest([7; 32]),
        |outcome| outcome.event = EventId::new("another").unwrap(),
        |outcome| outcome.action += 1,
        |outcome| outcome.ticket = Some(TicketId::new("three").unwrap()),
    ];
    for change in changes {
        let violation = altered([operation("first", issue("one")), operation("second", issue("two"))], change);
        assert_violates(violation, Invariant::CertifiedOutcome, "is not the outcome of");
    }
}

#[test]
fn outcomes_add_up_to_the_log_root_of_the_header() {
    let mut history = History::new();
    let mut made = history.make(vec![operation("first", issue("one"))]);
    history.with_header(&mut made.0, |header| header.log_root = Digest([7; 32]));
    made.1.executed.log_root = Digest([7; 32]);
    assert_violates(history.commit(&made), Invariant::CertifiedOutcome, "do not add up to the log root");
}

/// A new ticket is refused as if it were there.
pub(super) fn refused_without_reason() -> Result<(), Violation> {
    altered([operation("first", issue("one")), operation("second", issue("two"))], |outcome| {
        outcome.verdict = refusal(Reason::AlreadyIssued, 1, Some(TicketState::Issued));
    })
}

#[test]
fn a_refusal_that_the_rules_do_not_give_is_found() {
    assert_violates(refused_without_reason(), Invariant::Rules, "by the rules it is");
    for reason in [Reason::LedgerFull, Reason::OperationExpired, Reason::UnknownTicket] {
        let violation = altered([operation("first", issue("one")), operation("second", issue("two"))], |outcome| {
            outcome.verdict = refusal(reason, 0, None);
        });
        assert_violates(violation, Invariant::Rules, "by the rules it is");
    }
    // It is to be refused, but for another reason, and in another state.
    for verdict in [
        refusal(Reason::AlreadyConsumed, 1, Some(TicketState::Issued)),
        refusal(Reason::AlreadyIssued, 2, Some(TicketState::Issued)),
        refusal(Reason::AlreadyIssued, 1, Some(TicketState::Validated)),
    ] {
        let violation = altered([operation("first", issue("one")), operation("second", issue("one"))], |outcome| {
            outcome.verdict = verdict;
        });
        assert_violates(violation, Invariant::Rules, "by the rules it is");
    }
}

#[test]
fn an_acceptance_that_the_rules_refuse_is_found() {
    let issued = || operation("first", issue("one"));
    let consume = |ticket| Action::Consume { ticket: TicketId::new(ticket).unwrap(), data: None };
    let wrong = [
        // The ticket is there.
        (operation("second", issue("one")), acceptance(2, TicketState::Issued)),
        // It is not.
        (operation("second", validate("two")), acceptance(1, TicketState::Validated)),
        // It was never validated.
        (operation("second", consume("one")), acceptance(2, TicketState::Consumed)),
        // A step too many at once.
        (operation("second", validate("one")), acceptance(2, TicketState::Consumed)),
        (operation("second", validate("one")), acceptance(3, TicketState::Validated)),
    ];
    for (second, verdict) in wrong {
        let violation = altered([issued(), second], |outcome| outcome.verdict = verdict);
        assert_violates(violation, Invariant::Rules, "by the rules it is");
    }
    let late = Operation { valid_until: Timestamp(1), ..operation("second", validate("one")) };
    let violation = altered([issued(), late], |outcome| outcome.verdict = acceptance(2, TicketState::Validated));
    assert_violates(violation, Invariant::Rules, "OperationExpired");
    let event = EventId::new("another").unwrap();
    let elsewhere = Operation { event, ..operation("second", issue("two")) };
    let violation = altered([issued(), elsewhere], |outcome| outcome.verdict = acceptance(1, TicketState::Issued));
    assert_violates(violation, Invariant::Rules, "UnknownEvent");
}

#[test]
fn every_verdict_of_the_ledger_is_one_of_the_rules() {
    let mut history = History::new();
    let mut number = 0;
    let mut ask = |action: Action| {
        number += 1;
        operation(&format!("operation-{number}"), action)
    };
    let ticket = TicketId::new("one").unwrap();
    let consume = Action::Consume { ticket: ticket.clone(), data: None };
    let dispute = Action::Dispute { ticket, reason: None };
    let two = TicketId::new("two").unwrap();
    let timed = Action::Issue {
        ticket: two.clone(),
        data: None,
        metadata: Default::default(),
        valid_from: None,
        valid_until: Some(Timestamp(0)),
    };
    let late = Operation { valid_until: Timestamp(1), ..ask(issue("three")) };
    let elsewhere = Operation { event: EventId::new("another").unwrap(), ..ask(issue("three")) };
    let every = [validate("one"), consume.clone(), dispute.clone(), issue("one"), consume.clone(), dispute.clone()];
    let after = [issue("one"), validate("one"), validate("one"), consume.clone(), consume, dispute, validate("one")];
    let window = [timed, Action::Validate { ticket: two, data: None }];
    let mut operations: Vec<Operation> = every.into_iter().chain(after).chain(window).map(&mut ask).collect();
    operations.extend([late, elsewhere]);
    // A refused operation uses up its key; one that came too late does not.
    operations.push(operations[0].clone());
    let count = operations.len();
    let results = history.grow(operations);
    assert_eq!(results.len(), count);
    let reasons: Vec<Option<Reason>> = results.iter().map(|result| result.outcome().verdict.refusal()).collect();
    for reason in [
        Reason::UnknownTicket,
        Reason::NotValidated,
        Reason::AlreadyIssued,
        Reason::AlreadyValidated,
        Reason::AlreadyConsumed,
        Reason::Expired,
        Reason::OperationExpired,
        Reason::UnknownEvent,
    ] {
        assert!(reasons.contains(&Some(reason)), "{reason} in {reasons:?}");
    }
    assert!(matches!(results.last(), Some(OperationResult::Repeated(_))), "{results:?}");
}

#[test]
fn what_clients_are_told_is_what_the_history_says() {
    let (first, second) = (operation("first", issue("one")), operation("second", issue("two")));
    let mut history = History::new();
    let results = history.grow(vec![first.clone(), second.clone()]);
    let chain = &history.chain;
    assert_eq!(chain.answered(&first, &results[0]), Ok(()));
    assert_violates(chain.answered(&first, &results[1]), Invariant::CertifiedOutcome, "a client asked for");
    let reused = OperationResult::KeyReused { first: Arc::clone(results[0].outcome()) };
    assert_violates(chain.answered(&first, &reused), Invariant::CertifiedOutcome, "a client asked for");
    let other = operation("first", issue("two"));
    assert_eq!(chain.answered(&other, &reused), Ok(()));
    assert_violates(chain.answered(&other, &results[0]), Invariant::CertifiedOutcome, "a client asked for");
    let mut told = results[0].clone();
    alter(&mut told, |outcome| outcome.verdict = refusal(Reason::AlreadyConsumed, 3, Some(TicketState::Consumed)));
    assert_violates(chain.answered(&first, &told), Invariant::CertifiedOutcome, "the history says");
    alter(&mut told, |outcome| outcome.index = 2);
    assert_violates(chain.answered(&first, &told), Invariant::CertifiedOutcome, "the history says None");
}
