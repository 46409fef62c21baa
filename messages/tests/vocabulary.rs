//! The closed lists that clients rely on: reasons, states, actions; and vector clocks.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::cmp::Ordering;
use std::collections::BTreeSet;

use dtvn_messages::outcome::Decider;
use dtvn_messages::*;

#[test]
fn reasons_have_one_name_and_one_number_each() {
    let names: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    let codes: BTreeSet<u8> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!((names.len(), codes.len()), (Reason::ALL.len(), Reason::ALL.len()));
    for reason in Reason::ALL {
        assert_eq!(Reason::from_code(reason.code()), Some(*reason));
        let json = serde_json::to_string(reason).unwrap();
        assert_eq!(json, format!("\"{}\"", reason.name()));
        assert_eq!(serde_json::from_str::<Reason>(&json).unwrap(), *reason);
    }
    assert_eq!(Reason::from_code(0), None);
    assert_eq!(Reason::from_code(255), None);
    assert!(serde_json::from_str::<Reason>("\"whatever\"").is_err());
}

#[test]
fn reasons_are_those_of_the_documented_table() {
    // api.md section 2: names, HTTP status, whether to try again with the same key.
    let table = [
        ("unknown_ticket unknown_event unknown_device", 404, false),
        ("already_validated already_consumed not_validated disputed revoked not_disputed", 409, false),
        ("not_yet_valid expired wrong_event wrong_gate already_issued", 409, false),
        ("key_reused", 422, false),
        ("in_progress", 409, true),
        ("malformed", 400, false),
        ("too_large", 413, false),
        ("unsupported_media_type", 415, false),
        ("unauthenticated bad_signature", 401, false),
        ("not_permitted", 403, false),
        ("rate_limited", 429, true),
        ("no_quorum overloaded syncing restarting", 503, true),
        ("outcome_unknown", 504, true),
        ("not_found", 404, false),
        ("method_not_allowed", 405, false),
        ("not_acceptable", 406, false),
        ("request_timeout", 408, true),
        ("gone", 410, false),
        ("bad_cursor", 400, false),
        ("internal", 500, true),
        ("operation_expired", 409, true),
        ("ledger_full", 507, true),
        ("stale_epoch", 409, false),
        ("recovered_recently", 409, true),
        ("not_signed_by_validators", 403, false),
    ];
    let mut listed = BTreeSet::new();
    for (names, status, retry) in table {
        for name in names.split(' ') {
            let reason = *Reason::ALL.iter().find(|reason| reason.name() == name).expect(name);
            assert_eq!((reason.http_status(), reason.is_retryable()), (status, retry), "{name}");
            listed.insert(name);
        }
    }
    let all: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(all, listed);
}

#[test]
fn no_answer_of_503_or_429_may_have_happened() {
    for reason in Reason::ALL.iter().filter(|reason| matches!(reason.http_status(), 503 | 429)) {
        assert_eq!(reason.decider(), Decider::Node, "{reason}: the operation is in no bundle");
    }
    for reason in [Reason::OutcomeUnknown, Reason::InProgress] {
        assert_eq!(reason.decider(), Decider::Nobody, "{reason}");
    }
}

#[test]
fn what_the_network_decides_is_final_or_may_be_tried_again() {
    for reason in Reason::ALL.iter().filter(|reason| reason.decider() == Decider::Network) {
        assert_eq!(reason.is_remembered(), !reason.is_retryable(), "{reason}");
    }
    assert!(
        Reason::ALL.iter().filter(|reason| reason.decider() != Decider::Network).all(|reason| !reason.is_remembered())
    );
}

#[test]
fn states_have_their_names_and_numbers() {
    for (number, state) in (1u8..).zip(TicketState::ALL) {
        assert_eq!(state.to_bytes(), [number]);
        assert_eq!(TicketState::from_bytes(&[number]), Ok(state));
        assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        assert_eq!(state.name(), format!("{state:?}").to_uppercase());
    }
    assert!(TicketState::from_bytes(&[0]).is_err() && TicketState::from_bytes(&[6]).is_err());
}

#[test]
fn actions_have_their_names_and_numbers() {
    let ticket = || TicketId::new("T").unwrap();
    let actions = [
        Action::Issue { ticket: ticket(), data: None, metadata: [].into(), valid_from: None, valid_until: None },
        Action::Validate { ticket: ticket(), data: None },
        Action::Consume { ticket: ticket(), data: None },
        Action::Dispute { ticket: ticket(), reason: None },
        Action::Seed,
    ];
    for (code, action) in (1u8..).zip(&actions) {
        assert_eq!((action.code(), action.to_bytes()[0]), (code, code));
        assert_eq!(Action::name_of(code), Some(action.name()));
        assert_eq!(action.ticket().is_some(), action.name() != "seed");
    }
    assert_eq!(Action::name_of(0), None);
    assert_eq!([6, 7].map(Action::name_of), [Some("change_validators"), Some("recover")]);
    assert_eq!(Action::name_of(8), None);
}

fn clock(entries: &[(&str, u64)]) -> VectorClock {
    entries.iter().map(|(name, counter)| (NodeName::new(name).unwrap(), *counter)).collect()
}

#[test]
fn clocks_know_before_after_and_concurrent() {
    let table = [
        (clock(&[]), clock(&[]), Some(Ordering::Equal)),
        (clock(&[("a", 1)]), clock(&[]), Some(Ordering::Greater)),
        (clock(&[("a", 1)]), clock(&[("a", 2)]), Some(Ordering::Less)),
        (clock(&[("a", 1)]), clock(&[("b", 1)]), None),
        (clock(&[("a", 2), ("b", 1)]), clock(&[("a", 1), ("b", 2)]), None),
        (clock(&[("a", 2), ("b", 1)]), clock(&[("b", 1)]), Some(Ordering::Greater)),
    ];
    for (left, right, expected) in table {
        assert_eq!(left.partial_cmp(&right), expected, "{left:?} {right:?}");
    }
}

#[test]
fn clocks_count_by_name() {
    let name = |text: &str| NodeName::new(text).unwrap();
    let mut counted = VectorClock::default();
    for node in ["b", "a", "c", "b"] {
        counted.increment(&name(node));
    }
    assert_eq!(counted, clock(&[("a", 1), ("b", 2), ("c", 1)]));
    assert_eq!([counted.get(&name("b")), counted.get(&name("z"))], [2, 0]);
    let names: Vec<_> = counted.iter().map(|(node, _)| node.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn a_counter_of_zero_is_no_entry() {
    let read: VectorClock = serde_json::from_str("{\"b\": 0, \"a\": 3}").unwrap();
    assert_eq!(read, clock(&[("a", 3)]));
    assert_eq!(clock(&[("a", 0)]), VectorClock::default());
    assert_eq!(serde_json::to_string(&read).unwrap(), "{\"a\":3}");
    assert_eq!(VectorClock::from_bytes(&read.to_bytes()), Ok(read));
    assert!(serde_json::from_str::<VectorClock>("{\"A\": 1}").is_err(), "a name that is not valid");
}

#[test]
fn the_payload_of_an_operation_is_what_the_client_asked_for() {
    let base = Operation {
        valid_until: Timestamp(1),
        ..Operation::new(IdempotencyKey::new("sixteen-letters!").unwrap(), Action::Seed)
    };
    let digest = base.payload_digest();
    let other_key = IdempotencyKey::new("other-sixteen-ones").unwrap();
    let same = Operation { valid_until: Timestamp(2), key: other_key, ..base.clone() };
    assert_eq!(same.payload_digest(), digest, "neither the key nor what its node added");
    let others = [
        Operation { event: EventId::new("gala").unwrap(), ..base.clone() },
        Operation { gate: Some("".into()), ..base.clone() },
        Operation { device: Some("".into()), ..base.clone() },
        Operation { scanned_at: Some(Timestamp(0)), ..base.clone() },
        Operation { seen: Some(VectorClock::default()), ..base.clone() },
        Operation { action: Action::Validate { ticket: TicketId::new("T").unwrap(), data: None }, ..base },
    ];
    let digests: BTreeSet<Digest> = others.iter().map(Operation::payload_digest).chain([digest]).collect();
    assert_eq!(digests.len(), 7);
}
