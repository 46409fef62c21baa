//! The contract in examples: what goes over the wire, letter by letter.

use std::sync::Arc;

use dtvn_messages::ticket::Metadata;
use dtvn_messages::{
    Action, Digest, EventId, Height, IdempotencyKey, NodeName, Outcome, Reason, TicketId, TicketState, Timestamp,
    VectorClock, Verdict, ticket,
};
use serde_json::{Value, json};

use super::*;

fn node() -> NodeName {
    NodeName::new("node2").unwrap()
}

fn key() -> IdempotencyKey {
    IdempotencyKey::new("gate-7 scan/0001%").unwrap()
}

fn scan() -> ticket::Scan {
    ticket::Scan {
        validator: node(),
        gate: Some("North 3".into()),
        device: None,
        at: Timestamp(1_767_225_600_250_000),
        height: Height(41),
    }
}

fn stored_ticket() -> ticket::Ticket {
    let mut clock = VectorClock::default();
    clock.increment(&node());
    ticket::Ticket {
        event: EventId::default_event(),
        id: TicketId::new("TICKET-001").unwrap(),
        state: TicketState::Validated,
        data: None,
        metadata: Arc::new(Metadata::from([("seat".into(), "A1".into())])),
        valid_from: None,
        valid_until: Some(Timestamp(1_767_229_200_000_000)),
        version: 2,
        vector_clock: clock,
        validator: node(),
        updated_at: Timestamp(1_767_225_600_250_000),
        validated: Some(Arc::new(scan())),
        consumed: None,
        disputed: None,
        dispute_reason: None,
    }
}

#[test]
fn a_ticket_is_told_as_it_was_after_an_earlier_operation() {
    let then = stored_ticket();
    let (gate, later) = (NodeName::new("node3").unwrap(), Timestamp(1_767_225_700_000_000));
    let mut now = then.clone();
    now.data = Some("exit-B".into());
    now.vector_clock.increment(&gate);
    now.vector_clock.increment(&gate);
    let scan = Some(Arc::new(ticket::Scan { validator: gate.clone(), at: later, ..scan() }));
    (now.state, now.version, now.validator, now.updated_at) = (TicketState::Disputed, 4, gate, later);
    (now.consumed, now.disputed, now.dispute_reason) = (scan.clone(), scan, Some("a copy".into()));
    assert_eq!(now.as_after((TicketState::Validated, 2), &then.validator, then.updated_at), then);
    let issued = now.as_after((TicketState::Issued, 1), &then.validator, Timestamp(1));
    assert_eq!((issued.validated, issued.vector_clock), (None, VectorClock::default()));
    let same = now.as_after((TicketState::Disputed, 4), &now.validator, later);
    assert_eq!(same, now);
}

fn refusal() -> Outcome {
    Outcome {
        index: 1_234,
        height: Height(42),
        agreed_time: Timestamp(1_767_225_601_000_000),
        origin: node(),
        key: key(),
        payload: Digest([7; 32]),
        event: EventId::default_event(),
        action: 2,
        ticket: Some(TicketId::new("TICKET-001").unwrap()),
        verdict: Verdict::Refused {
            reason: Reason::AlreadyValidated,
            version: 2,
            state: Some(TicketState::Validated),
            first: Some(Arc::new(scan())),
        },
    }
}

#[test]
fn a_ticket_is_shown_as_documented() {
    let shown = serde_json::to_value(Ticket::from(&stored_ticket())).unwrap();
    let expected = json!({
        "event": "default", "id": "TICKET-001", "state": "VALIDATED", "data": null, "metadata": {"seat": "A1"},
        "valid_from": null, "valid_until": "2026-01-01T01:00:00.000000Z", "version": 2,
        "vector_clock": {"node2": 1}, "validator_id": "node2", "timestamp": 1_767_225_600,
        "validated": {"validator": "node2", "gate": "North 3", "at": "2026-01-01T00:00:00.250000Z", "height": 41},
        "consumed": null, "disputed": null,
    });
    assert_eq!(shown, expected);
    assert_eq!(serde_json::from_value::<Ticket>(shown).unwrap(), Ticket::from(&stored_ticket()));
}

#[test]
fn a_dispute_carries_its_reason_beside_the_scan() {
    let mut disputed = stored_ticket();
    disputed.disputed = Some(Arc::new(scan()));
    disputed.dispute_reason = Some("photo differs".into());
    let shown = serde_json::to_value(Ticket::from(&disputed)).unwrap();
    assert_eq!(shown["disputed"]["reason"], "photo differs");
    assert_eq!(shown["disputed"]["gate"], "North 3");
}

#[test]
fn the_least_request_is_enough() {
    let request: TicketRequest = serde_json::from_str(r#"{"ticket_id": "TICKET-001"}"#).unwrap();
    let operation = OperationRequest::of_ticket(Kind::Validate, request).into_operation(key(), Timestamp(9)).unwrap();
    assert_eq!(operation.event, EventId::default_event());
    assert_eq!(operation.valid_until, Timestamp(9));
    assert_eq!(operation.key, key());
    let ticket = TicketId::new("TICKET-001").unwrap();
    assert_eq!(operation.action, Action::Validate { ticket, data: None });
}

#[test]
fn all_fields_of_a_request_reach_the_operation() {
    let text = r#"{"ticket_id": "T", "event": "gala", "gate": "N", "device": "d1", "reason": "photo",
                   "seen": {"node2": 3}, "scanned_at": "2026-01-01T00:00:00Z"}"#;
    let request: TicketRequest = serde_json::from_str(text).unwrap();
    let operation = OperationRequest::of_ticket(Kind::Dispute, request).into_operation(key(), Timestamp(9)).unwrap();
    assert_eq!(operation.event.as_str(), "gala");
    assert_eq!(operation.gate.as_deref(), Some("N"));
    assert_eq!(operation.device.as_deref(), Some("d1"));
    assert_eq!(operation.scanned_at, Some(Timestamp(1_767_225_600_000_000)));
    assert_eq!(operation.seen.unwrap().get(&node()), 3);
    let ticket = TicketId::new("T").unwrap();
    assert_eq!(operation.action, Action::Dispute { ticket, reason: Some("photo".into()) });
}

#[test]
fn faults_of_a_request_are_named() {
    let cases = [
        (r#"{"ticket_id": "T", "gaet": "N"}"#, "unknown field `gaet`"),
        (r#"{"gate": "N"}"#, "missing field `ticket_id`"),
        (r#"{"ticket_id": "a/b"}"#, "may not contain '/'"),
        (r#"{"ticket_id": ""}"#, "1 to 128 bytes"),
        (r#"{"ticket_id": "T", "scanned_at": "noon"}"#, "RFC 3339"),
        (r#"{"ticket_id": "T", "idempotency_key": "short"}"#, "16 to 128 bytes"),
    ];
    for (text, expected) in cases {
        let error = serde_json::from_str::<TicketRequest>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_field_of_another_kind_is_refused_not_dropped() {
    let cases = [
        (r#"{"kind": "validate", "ticket_id": "T", "reason": "x"}"#, "`reason` does not belong to validate"),
        (r#"{"kind": "consume", "ticket_id": "T", "metadata": {"a": "b"}}"#, "`metadata` does not belong to consume"),
        (r#"{"kind": "issue", "ticket_id": "T", "seen": {}}"#, "`seen` does not belong to issue"),
        (r#"{"kind": "dispute", "ticket_id": "T", "data": "x"}"#, "`data` does not belong to dispute"),
        (r#"{"kind": "seed", "ticket_id": "T"}"#, "`ticket_id` does not belong to seed"),
        (r#"{"kind": "issue"}"#, "issue needs `ticket_id`"),
    ];
    for (text, expected) in cases {
        let request: OperationRequest = serde_json::from_str(text).unwrap();
        let error = request.into_operation(key(), Timestamp(9)).unwrap_err().to_string();
        assert_eq!(error, expected);
    }
}

#[test]
fn what_is_too_large_is_told_apart() {
    let mut request = OperationRequest::new(Kind::Validate, TicketId::new("T").unwrap());
    request.data = Some("x".repeat(4_097).into());
    assert!(matches!(request.into_operation(key(), Timestamp(9)), Err(RequestError::TooLarge(_))));
}

#[test]
fn a_refusal_is_a_problem_with_the_facts() {
    let Some(problem) = Problem::of_outcome(&refusal()) else { panic!("a refusal") };
    let shown = serde_json::to_value(&problem).unwrap();
    assert_eq!(shown["type"], "urn:dtvn:problem:already_validated");
    assert_eq!(shown["title"], "Already validated");
    assert_eq!(shown["status"], 409);
    assert_eq!(shown["reason"], "already_validated");
    assert_eq!(shown["retryable"], false);
    assert_eq!(shown["instance"], "/api/v1/operations/gate-7%20scan%2F0001%25");
    assert_eq!(shown["first"]["gate"], "North 3");
    assert_eq!(shown["height"], 42);
    assert_eq!(
        shown["detail"],
        "validate refused: already validated, ticket TICKET-001 is VALIDATED, since 2026-01-01T00:00:00.250000Z, \
         gate North 3, taken in by node2"
    );
    assert_eq!(serde_json::from_value::<Problem>(shown).unwrap(), problem);
}

#[test]
fn a_problem_of_this_node_has_no_facts_and_says_when_to_try_again() {
    let shown = serde_json::to_value(Problem::new(Reason::NoQuorum, "2 of 4").with_retry_after(1)).unwrap();
    assert_eq!(
        shown,
        json!({"type": "urn:dtvn:problem:no_quorum", "title": "No quorum", "status": 503, "detail": "2 of 4",
               "reason": "no_quorum", "retryable": true, "retry_after_seconds": 1})
    );
}

#[test]
fn a_batch_is_the_same_in_json_and_in_bincode() {
    let mut requests = vec![OperationRequest::new(Kind::Validate, TicketId::new("T").unwrap())];
    requests.push(OperationRequest::from(IssueRequest {
        ticket_id: TicketId::new("U").unwrap(),
        event: None,
        data: Some("d".into()),
        metadata: Metadata::from([("seat".into(), "A1".into())]),
        valid_from: Some(Time(Timestamp(5_000_000))),
        valid_until: None,
        gate: None,
        device: None,
        idempotency_key: Some(key()),
    }));
    let json = serde_json::to_string(&requests).unwrap();
    assert_eq!(serde_json::from_str::<Vec<OperationRequest>>(&json).unwrap(), requests);
    assert_eq!(decode_requests(&encode_requests(&requests).unwrap()).unwrap(), requests);

    let accepted = Outcome {
        verdict: Verdict::Accepted {
            version_before: 1,
            version_after: 2,
            state: Some(TicketState::Validated),
            tickets: 1,
        },
        ..refusal()
    };
    let answers = [BatchAnswer::from(&accepted), BatchAnswer::from(&refusal())];
    let json = serde_json::to_string(&answers).unwrap();
    assert_eq!(serde_json::from_str::<Vec<BatchAnswer>>(&json).unwrap(), answers);
    assert_eq!(decode_answers(&encode_answers(&answers).unwrap()).unwrap(), answers);
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&value[0]["status"], &value[1]["status"]), (&json!("accepted"), &json!(409)));
}

#[test]
fn a_ticket_that_could_never_be_validated_is_not_issued() {
    for (from, until, is_fine) in
        [(None, Some(5), true), (Some(4), Some(5), true), (Some(5), Some(5), false), (Some(6), Some(5), false)]
    {
        let mut request = OperationRequest::new(Kind::Issue, TicketId::new("T").unwrap());
        request.valid_from = from.map(|time| Time(Timestamp(time)));
        request.valid_until = until.map(|time| Time(Timestamp(time)));
        let made = request.into_operation(key(), Timestamp(0));
        assert_eq!(made.is_ok(), is_fine, "{from:?} {until:?}");
        assert!(is_fine || made.unwrap_err() == RequestError::EmptyWindow);
    }
}

#[test]
fn a_damaged_batch_is_refused() {
    let bytes = encode_requests(&[OperationRequest::new(Kind::Consume, TicketId::new("T").unwrap())]).unwrap();
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(decode_requests(&longer), Err(CompactError::Trailing(1))));
    assert!(matches!(decode_requests(&bytes[..bytes.len() - 1]), Err(CompactError::Decode(_))));
    // A count of 2^63 operations must cost nothing.
    assert!(decode_requests(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0x80]).is_err());
}

#[test]
fn an_outcome_is_recorded_with_its_refusal() {
    let shown = serde_json::to_value(OutcomeRecord::from(&refusal())).unwrap();
    assert_eq!(shown["kind"], "validate");
    assert_eq!(shown["status"], "refused");
    assert_eq!(shown["reason"], "already_validated");
    assert_eq!(shown["validator_id"], "node2");
    assert_eq!(shown["version_after"], 2);
    assert_eq!(shown["leaf_hash"], refusal().leaf_hash().to_string());
}

#[test]
fn events_are_named_after_what_happened() {
    let seeded = Outcome {
        action: 5,
        ticket: None,
        verdict: Verdict::Accepted { version_before: 0, version_after: 0, state: None, tickets: 500 },
        ..refusal()
    };
    let shown = serde_json::to_value(Event::from(&seeded)).unwrap();
    assert_eq!(
        shown,
        json!({"type": "tickets_seeded", "id": "42.1234", "event": "default", "validator_id": "node2", "count": 500,
               "height": 42, "timestamp": 1_767_225_601, "agreed_time": "2026-01-01T00:00:01.000000Z"})
    );
    let refused = Event::from(&refusal());
    assert_eq!((refused.kind, refused.reason), (EventKind::OperationRefused, Some(Reason::AlreadyValidated)));
    for (action, kind) in [
        (1, EventKind::TicketIssued),
        (2, EventKind::TicketValidated),
        (3, EventKind::TicketConsumed),
        (4, EventKind::TicketDisputed),
        (6, EventKind::ValidatorsChanged),
        (7, EventKind::RecoveryAgreed),
    ] {
        let event = Event::from(&Outcome { action, ..seeded.clone() });
        assert_eq!((event.kind, event.event.is_some(), event.version.is_some()), (kind, action < 6, action < 6));
    }
}

#[test]
fn kinds_have_the_names_of_actions() {
    for (code, kind) in (1..).zip(Kind::ALL) {
        assert_eq!(Action::name_of(code), Some(kind.name()));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
    // Changes of the validators are signed by validators, and are no requests of clients at gates.
    assert_eq!([6, 7].map(Action::name_of), [Some("change_validators"), Some("recover")]);
    assert_eq!(Action::name_of(8), None, "a new kind of action needs a kind of request");
}

#[test]
fn a_name_is_one_segment_of_a_path() {
    assert_eq!(segment("TICKET-001"), "TICKET-001");
    assert_eq!(segment("a/../b?c#d%"), "a%2F..%2Fb%3Fc%23d%25");
    assert_eq!(segment(".."), "%2E%2E");
    assert_eq!(segment("Bühne"), "B%C3%BChne");
}
