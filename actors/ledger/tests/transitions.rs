//! The transition table of rules version 1, row by row: state and action, exact outcome and exact ticket.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::*;
use dtvn_ledger::{Bounds, Ledger};
use dtvn_messages::ticket::{Metadata, Scan};
use dtvn_messages::{
    Action, Height, Operation, Outcome, Reason, Ticket, TicketState, Timestamp, VectorClock, Verdict, limits,
};

use Reason::{AlreadyConsumed, AlreadyIssued, AlreadyValidated, Disputed, NotValidated, Revoked, UnknownTicket};
use TicketState as State;

const ISSUED_AT: u64 = START + 10;
const VALIDATED_AT: u64 = START + 20;
const MOVED_AT: u64 = START + 30;
const NOW: u64 = START + 40;

/// A chain in which the ticket T came into a state: issued through `west` at height 1, validated through `north` at
/// gate G1 at height 2, consumed or disputed through `east` at gate G2 at height 3. The height is always 3 then.
fn chain_with(state: Option<State>) -> Chain {
    let mut chain = Chain::new();
    let at = |gate: &str, name: &str, time: u64, action: Action| Operation {
        gate: Some(gate.into()),
        device: Some(format!("scanner-{gate}").into()),
        ..operation(name, time, action)
    };
    let issue = operation("issue", ISSUED_AT, issue("T"));
    let validate = at("G1", "validate", VALIDATED_AT, validate("T"));
    let last = match state {
        Some(State::Disputed) => Action::Dispute { ticket: ticket_id("T"), reason: Some("torn".into()) },
        _ => consume("T"),
    };
    let last = at("G2", "last", MOVED_AT, last);
    let steps = match state {
        None => 0,
        Some(State::Issued) => 1,
        Some(State::Validated) => 2,
        Some(State::Consumed | State::Disputed | State::Revoked) => 3,
    };
    let times = [ISSUED_AT, VALIDATED_AT, MOVED_AT];
    for (step, operation) in [issue, validate, last].into_iter().enumerate() {
        let origin = u16::try_from(step).unwrap();
        let bundles = if step < steps { vec![(origin, vec![operation])] } else { vec![] };
        chain.block(times[step], bundles);
    }
    if state == Some(State::Revoked) {
        // No operation revokes under these rules; a state that did is refused all the same.
        let mut image = chain.ledger.image();
        let ticket = Ticket { state: State::Revoked, ..(*image.tickets[0]).clone() };
        image.tickets = vec![Arc::new(ticket)];
        chain.ledger = Ledger::load(&chain.genesis, image).unwrap();
    }
    assert_eq!(chain.ticket("T").map(|ticket| ticket.state), state);
    chain
}

fn scan(validator: &str, gate: &str, at: u64, height: u64) -> Arc<Scan> {
    Arc::new(Scan {
        validator: node(validator),
        gate: Some(gate.into()),
        device: Some(format!("scanner-{gate}").into()),
        at: Timestamp(at),
        height: Height(height),
    })
}

enum Row {
    Becomes(State),
    Refused(Reason),
}
use Row::{Becomes, Refused};

/// The scan that must explain a refusal.
fn first_of(reason: Reason) -> Option<Arc<Scan>> {
    match reason {
        AlreadyValidated => Some(scan("north", "G1", VALIDATED_AT, 2)),
        AlreadyConsumed | Disputed => Some(scan("east", "G2", MOVED_AT, 3)),
        _ => None,
    }
}

fn check_row(state: Option<State>, action: fn(&str) -> Action, expected: &Row) {
    let mut chain = chain_with(state);
    let before = chain.ticket("T");
    let log_size = chain.ledger.root_at(Height(3)).unwrap().log_size;
    let asked = Operation {
        gate: Some("G3".into()),
        device: Some("scanner-G3".into()),
        scanned_at: Some(Timestamp(5)),
        ..operation("asked", NOW, action("T"))
    };
    let effects = chain.block(NOW, vec![(1, vec![asked.clone()])]);
    let version = before.as_ref().map_or(0, |ticket| ticket.version);
    let verdict = match expected {
        Becomes(state) => {
            Verdict::Accepted { version_before: version, version_after: version + 1, state: Some(*state), tickets: 1 }
        }
        Refused(reason) => Verdict::Refused { reason: *reason, version, state, first: first_of(*reason) },
    };
    let outcome = Outcome {
        index: log_size,
        height: Height(4),
        agreed_time: Timestamp(NOW),
        origin: node("north"),
        key: key("asked"),
        payload: asked.payload_digest(),
        event: event("default"),
        action: asked.action.code(),
        ticket: Some(ticket_id("T")),
        verdict,
    };
    let row = format!("{} on {state:?}", asked.action.name());
    assert_eq!(**recorded(&effects.results[0]), outcome, "{row}");
    assert_eq!(effects.log.leaves, [outcome.leaf_hash()], "{row}");
    match expected {
        Becomes(state) => check_ticket(&chain, before, *state, &row),
        Refused(_) => {
            assert_eq!(chain.ticket("T"), before, "{row} must not change the ticket");
            assert!(effects.tickets.is_empty(), "{row} must not write a ticket");
        }
    }
}

/// The ticket after an accepted operation through `north` at gate G3 at [`NOW`].
fn check_ticket(chain: &Chain, before: Option<Ticket>, state: State, row: &str) {
    let after = chain.ticket("T").unwrap();
    let mut expected = before.unwrap_or_else(|| Ticket {
        event: event("default"),
        id: ticket_id("T"),
        state,
        data: None,
        metadata: Arc::new(Metadata::new()),
        valid_from: None,
        valid_until: None,
        version: 0,
        vector_clock: VectorClock::default(),
        validator: node("north"),
        updated_at: Timestamp(0),
        validated: None,
        consumed: None,
        disputed: None,
        dispute_reason: None,
    });
    expected.state = state;
    expected.version += 1;
    expected.vector_clock.increment(&node("north"));
    expected.validator = node("north");
    expected.updated_at = Timestamp(NOW);
    let scan = Some(scan("north", "G3", NOW, 4));
    match state {
        State::Validated => expected.validated = scan,
        State::Consumed => expected.consumed = scan,
        State::Disputed => expected.disputed = scan,
        State::Issued | State::Revoked => {}
    }
    assert_eq!(after, expected, "{row}");
}

macro_rules! table {
    ($($name:ident: $state:expr, $action:expr => $expected:expr;)*) => {$(
        #[test]
        fn $name() {
            check_row($state, $action, &$expected);
        }
    )*};
}

table! {
    issue_of_nothing: None, issue => Becomes(State::Issued);
    issue_of_issued: Some(State::Issued), issue => Refused(AlreadyIssued);
    issue_of_validated: Some(State::Validated), issue => Refused(AlreadyIssued);
    issue_of_consumed: Some(State::Consumed), issue => Refused(AlreadyIssued);
    issue_of_disputed: Some(State::Disputed), issue => Refused(AlreadyIssued);
    issue_of_revoked: Some(State::Revoked), issue => Refused(AlreadyIssued);
    validate_of_nothing: None, validate => Refused(UnknownTicket);
    validate_of_issued: Some(State::Issued), validate => Becomes(State::Validated);
    validate_of_validated: Some(State::Validated), validate => Refused(AlreadyValidated);
    validate_of_consumed: Some(State::Consumed), validate => Refused(AlreadyConsumed);
    validate_of_disputed: Some(State::Disputed), validate => Refused(Disputed);
    validate_of_revoked: Some(State::Revoked), validate => Refused(Revoked);
    consume_of_nothing: None, consume => Refused(UnknownTicket);
    consume_of_issued: Some(State::Issued), consume => Refused(NotValidated);
    consume_of_validated: Some(State::Validated), consume => Becomes(State::Consumed);
    consume_of_consumed: Some(State::Consumed), consume => Refused(AlreadyConsumed);
    consume_of_disputed: Some(State::Disputed), consume => Refused(Disputed);
    consume_of_revoked: Some(State::Revoked), consume => Refused(Revoked);
    dispute_of_nothing: None, dispute => Refused(UnknownTicket);
    dispute_of_issued: Some(State::Issued), dispute => Refused(NotValidated);
    dispute_of_validated: Some(State::Validated), dispute => Becomes(State::Disputed);
    dispute_of_consumed: Some(State::Consumed), dispute => Refused(AlreadyConsumed);
    dispute_of_disputed: Some(State::Disputed), dispute => Refused(Disputed);
    dispute_of_revoked: Some(State::Revoked), dispute => Refused(Revoked);
}

#[test]
fn an_unknown_event_refuses_every_action() {
    for action in [issue("T"), validate("T"), consume("T"), dispute("T"), Action::Seed] {
        let mut chain = Chain::new();
        let asked = Operation { event: event("nowhere"), ..operation("asked", NOW, action) };
        let result = chain.one(NOW, asked.clone());
        let refusal = Verdict::Refused { reason: Reason::UnknownEvent, version: 0, state: None, first: None };
        assert_eq!(recorded(&result).verdict, refusal, "{}", asked.action.name());
        assert_eq!(recorded(&result).event, event("nowhere"));
        assert_eq!(recorded(&result).ticket.as_ref(), asked.action.ticket());
    }
}

#[test]
fn tickets_of_two_events_are_two_tickets() {
    let mut chain = Chain::new();
    chain.act(NOW, issue("T"));
    let elsewhere = Operation { event: event("gala"), ..operation("elsewhere", NOW + 1, validate("T")) };
    assert_eq!(reason(&chain.one(NOW + 1, elsewhere)), UnknownTicket);
    assert_eq!(chain.ticket("T").unwrap().state, State::Issued);
}

#[test]
fn an_event_with_auto_issue_issues_what_is_validated_and_nothing_else() {
    let mut chain = Chain::new();
    let ask = |name: &str, time, action| Operation { event: event("auto"), ..operation(name, time, action) };
    assert_eq!(reason(&chain.one(NOW, ask("consume", NOW, consume("T")))), UnknownTicket);
    assert_eq!(reason(&chain.one(NOW + 1, ask("dispute", NOW + 1, dispute("T")))), UnknownTicket);
    let validate = Operation {
        gate: Some("G1".into()),
        device: Some("scanner-G1".into()),
        ..ask("validate", NOW + 2, Action::Validate { ticket: ticket_id("T"), data: Some("paper".into()) })
    };
    let effects = chain.block(NOW + 2, vec![(2, vec![validate])]);
    let accepted = Verdict::Accepted { version_before: 0, version_after: 1, state: Some(State::Validated), tickets: 1 };
    assert_eq!(recorded(&effects.results[0]).verdict, accepted);
    assert_eq!(effects.log.leaves.len(), 1, "issuing and validating is one operation with one leaf");
    let expected = Ticket {
        event: event("auto"),
        id: ticket_id("T"),
        state: State::Validated,
        data: Some("paper".into()),
        metadata: Arc::new(Metadata::from([("source".into(), "auto_issue".into())])),
        valid_from: None,
        valid_until: None,
        version: 1,
        vector_clock: [(node("east"), 1)].into_iter().collect(),
        validator: node("east"),
        updated_at: Timestamp(NOW + 2),
        validated: Some(scan("east", "G1", NOW + 2, 3)),
        consumed: None,
        disputed: None,
        dispute_reason: None,
    };
    assert_eq!(effects.tickets, [Arc::new(expected)]);
}

#[test]
fn an_issue_keeps_what_it_was_given() {
    let mut chain = Chain::new();
    let metadata = Metadata::from([("seat".into(), "A1".into()), ("price".into(), "10".into())]);
    let (valid_from, valid_until) = (Some(Timestamp(NOW)), Some(Timestamp(NOW + 9)));
    let data = Some("opaque".into());
    chain.act(NOW, Action::Issue { ticket: ticket_id("T"), data, metadata: metadata.clone(), valid_from, valid_until });
    let ticket = chain.ticket("T").unwrap();
    assert_eq!(ticket.data.as_deref(), Some("opaque"));
    assert_eq!(*ticket.metadata, metadata);
    assert_eq!((ticket.valid_from, ticket.valid_until), (valid_from, valid_until));
}

#[test]
fn a_scan_replaces_data_only_if_it_brings_some() {
    let mut chain = Chain::new();
    let data = |chain: &Chain| chain.ticket("T").unwrap().data.map(String::from);
    let mut issue = issue("T");
    if let Action::Issue { data, .. } = &mut issue {
        *data = Some("sold".into());
    }
    chain.act(NOW, issue);
    chain.act(NOW + 1, validate("T"));
    assert_eq!(data(&chain).as_deref(), Some("sold"));
    chain.act(NOW + 2, Action::Consume { ticket: ticket_id("T"), data: Some("inside".into()) });
    assert_eq!(data(&chain).as_deref(), Some("inside"));
}

#[test]
fn a_dispute_keeps_its_reason() {
    let ticket = chain_with(Some(State::Disputed)).ticket("T").unwrap();
    assert_eq!(ticket.dispute_reason.as_deref(), Some("torn"));
    assert_eq!(ticket.disputed, Some(scan("east", "G2", MOVED_AT, 3)));
    assert_eq!(ticket.validated, Some(scan("north", "G1", VALIDATED_AT, 2)), "the first scan stays as evidence");
}

#[test]
fn a_window_holds_its_first_microsecond_and_not_its_last() {
    let (from, until) = (NOW + 100, NOW + 200);
    let at = |time: u64, action: fn(&str) -> Action| {
        let mut chain = Chain::new();
        chain.act(NOW, issue_within("T", Some(from), Some(until)));
        if action("T").name() != "validate" {
            let mut image = chain.ledger.image();
            let validated = Ticket { state: State::Validated, ..(*image.tickets[0]).clone() };
            image.tickets = vec![Arc::new(validated)];
            chain.ledger = Ledger::load(&chain.genesis, image).unwrap();
        }
        chain.act(time, action("T")).refusal()
    };
    for action in [validate, consume] {
        assert_eq!(at(from - 1, action), Some(Reason::NotYetValid));
        assert_eq!(at(from, action), None);
        assert_eq!(at(until - 1, action), None);
        assert_eq!(at(until, action), Some(Reason::Expired));
    }
    assert_eq!(at(from - 1, dispute), None, "a dispute is allowed outside of the window");
    assert_eq!(at(until, dispute), None, "a dispute is allowed outside of the window");
}

#[test]
fn a_refusal_by_the_window_shows_the_ticket_and_changes_nothing() {
    let mut chain = Chain::new();
    chain.act(NOW, issue_within("T", None, Some(NOW + 1)));
    let refusal = Verdict::Refused { reason: Reason::Expired, version: 1, state: Some(State::Issued), first: None };
    assert_eq!(chain.act(NOW + 1, validate("T")), refusal);
    assert_eq!(chain.ticket("T").unwrap().state, State::Issued);
}

#[test]
fn the_earlier_scan_explains_more_than_the_window() {
    let mut chain = Chain::new();
    chain.act(NOW, issue_within("T", None, Some(NOW + 5)));
    chain.act(NOW + 1, validate("T"));
    assert_eq!(chain.act(NOW + 6, validate("T")).refusal(), Some(AlreadyValidated));
}

#[test]
fn the_vector_clock_counts_accepted_operations_by_name_of_their_origin() {
    let mut chain = Chain::new();
    chain.block(NOW, vec![(0, vec![operation("a", NOW, issue("T"))])]);
    chain.block(NOW + 1, vec![(2, vec![operation("b", NOW + 1, issue("T"))])]);
    chain.block(NOW + 2, vec![(2, vec![operation("c", NOW + 2, validate("T"))])]);
    chain.block(NOW + 3, vec![(0, vec![operation("d", NOW + 3, consume("T"))])]);
    let ticket = chain.ticket("T").unwrap();
    let clock: VectorClock = [(node("west"), 2), (node("east"), 1)].into_iter().collect();
    assert_eq!(ticket.vector_clock, clock, "the refused operation through east does not count");
    assert_eq!(ticket.version, 3);
    assert_eq!(ticket.validator, node("west"));
}

#[test]
fn a_clock_that_the_client_had_seen_decides_nothing() {
    let clocks: [VectorClock; 3] =
        [VectorClock::default(), [(node("east"), 7)].into_iter().collect(), [(node("west"), 1)].into_iter().collect()];
    for seen in clocks {
        let mut chain = Chain::new();
        chain.act(NOW, issue("T"));
        let ask = |name: &str, time| Operation { seen: Some(seen.clone()), ..operation(name, time, validate("T")) };
        assert!(is_accepted(&chain.one(NOW + 1, ask("first", NOW + 1))));
        assert_eq!(reason(&chain.one(NOW + 2, ask("second", NOW + 2))), AlreadyValidated);
    }
}

#[test]
fn a_full_ledger_refuses_new_tickets_and_more_data_but_no_scan() {
    let texts = 9;
    let bounds = Bounds { tickets_bytes_max: 2 * limits::LEDGER_TICKET_BYTES + texts, ..Bounds::default() };
    let mut alone = genesis().file().clone();
    alone.validators.truncate(1);
    let mut chain = Chain::of(dtvn_messages::Genesis::new(alone).unwrap(), bounds);
    let with_data = |ticket: &str, data: &str| match issue(ticket) {
        Action::Issue { ticket, metadata, valid_from, valid_until, .. } => {
            Action::Issue { ticket, data: Some(data.into()), metadata, valid_from, valid_until }
        }
        other => other,
    };
    assert!(chain.act(NOW, with_data("A", "ninebytes")).is_accepted());
    let full = |version, state| Verdict::Refused { reason: Reason::LedgerFull, version, state, first: None };
    assert_eq!(chain.act(NOW + 1, with_data("B", "1")), full(0, None), "one byte too much");
    assert!(chain.act(NOW + 2, issue("B")).is_accepted());
    assert_eq!(chain.act(NOW + 3, issue("C")), full(0, None));
    assert_eq!(chain.act(NOW + 4, Action::Seed), full(0, None));
    let longer = Action::Validate { ticket: ticket_id("B"), data: Some("x".into()) };
    assert_eq!(chain.act(NOW + 5, longer), full(1, Some(State::Issued)));
    assert!(chain.act(NOW + 6, validate("B")).is_accepted());
    let shorter = Action::Validate { ticket: ticket_id("A"), data: Some("x".into()) };
    assert!(chain.act(NOW + 7, shorter).is_accepted());
    let reason = Some("12345678".into());
    assert!(chain.act(NOW + 8, Action::Dispute { ticket: ticket_id("B"), reason }).is_accepted(), "it fits exactly");
    assert_eq!(chain.ledger.tickets_len(), 2);
    chain.reload(bounds);
    let longer = Action::Consume { ticket: ticket_id("A"), data: Some("xx".into()) };
    assert_eq!(chain.act(NOW + 9, longer), full(2, Some(State::Validated)), "a loaded ledger is as full");
}
