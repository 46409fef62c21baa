//! What becomes of an answer when it cannot be completed.

use std::sync::Arc;

use dtvn_actors::storage::store::{IfMissing, Store, StoreIdentity, StoreOptions};
use dtvn_messages::{Digest, Height, NodeName, TicketId, TicketState};

use super::*;
use crate::telemetry::tests::{PATIENCE, services};

/// The intake's answer to a validation that is decided, of which the ticket is to be read from the store.
fn validated() -> Answered {
    let verdict =
        Verdict::Accepted { version_before: 1, version_after: 2, state: Some(TicketState::Validated), tickets: 1 };
    let outcome = Outcome {
        index: 0,
        height: Height(7),
        agreed_time: Timestamp(1),
        origin: NodeName::new("node0").unwrap(),
        key: IdempotencyKey::new("the-key-number-000001").unwrap(),
        payload: Digest::ZERO,
        event: EventId::default_event(),
        action: 2,
        ticket: Some(TicketId::new("A").unwrap()),
        verdict,
    };
    Answered { answer: Answer::Decided(OperationResult::Recorded(Arc::new(outcome))), ticket: None }
}

#[tokio::test(start_paused = true)]
async fn a_decided_operation_whose_ticket_cannot_be_read_is_no_refusal_but_to_be_asked_for_again() {
    let (services, _) = services();
    services.board.post_decided(Height(7));
    let told = async || {
        let Refusal(problem) = decided(&services, validated(), Wanted::Nothing).await.err().unwrap();
        assert!(problem.detail.contains("decided at height 7"), "{}", problem.detail);
        (problem.status, problem.reason, problem.retryable)
    };
    assert_eq!(told().await, (504, Reason::OutcomeUnknown, true), "the store is not open");
    let directory = tempfile::tempdir().unwrap();
    let node = &services.board.identity;
    let identity = StoreIdentity::new(&node.genesis, node.name.clone(), node.public_key);
    let opened = Store::open(directory.path(), identity, StoreOptions::default(), IfMissing::Create);
    let (store, _) = opened.unwrap();
    services.store.publish(Some(store.reader()));
    assert_eq!(told().await, (504, Reason::OutcomeUnknown, true), "the store is behind");
    services.store.publish(None);
    store.close(PATIENCE).unwrap();
}
