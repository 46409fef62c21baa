//! A key takes effect once: repeats in the same block, later, elsewhere, after a load; other payloads; the microsecond
//! at which a key is free again; a full table.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::*;
use dtvn_ledger::{Bounds, Ledger, OperationResult};
use dtvn_messages::genesis::{Continuation, GenesisFile};
use dtvn_messages::{Action, ChainId, Digest, Genesis, Height, Operation, Reason, Timestamp, VectorClock, Verdict};

const NOW: u64 = START + 1_000;

/// A chain with the issued tickets A and B, at height 1.
fn chain_of(bounds: Bounds) -> Chain {
    let mut chain = Chain::of(genesis(), bounds);
    let tickets = ["A", "B"].map(|ticket| operation(&format!("issue-{ticket}"), START + 1, issue(ticket)));
    chain.block(START + 1, vec![(0, tickets.to_vec())]);
    chain
}

fn chain() -> Chain {
    chain_of(Bounds::default())
}

fn assert_reused(result: &OperationResult, first: &OperationResult) {
    assert_eq!(*result, OperationResult::KeyReused { first: Arc::clone(recorded(first)) });
}

#[test]
fn a_repeat_in_the_same_bundle_has_no_second_effect_and_no_leaf() {
    let mut chain = chain();
    let scan = operation("scan", NOW, validate("A"));
    let effects = chain.block(NOW, vec![(0, vec![scan.clone(), scan.clone(), scan])]);
    assert!(is_accepted(&effects.results[0]));
    assert_repeats(&effects.results[1], &effects.results[0]);
    assert_repeats(&effects.results[2], &effects.results[0]);
    assert_eq!(effects.log.leaves.len(), 1);
    assert_eq!(effects.keys_added.len(), 1);
    assert_eq!(chain.ticket("A").unwrap().version, 2);
}

#[test]
fn a_repeat_through_another_validator_in_the_same_block_gets_the_first_outcome() {
    let mut chain = chain();
    let scan = operation("scan", NOW, validate("A"));
    // The other node gave it another `valid_until`: still the same request.
    let retry = Operation { valid_until: Timestamp(NOW + 5), ..scan.clone() };
    let effects = chain.block(NOW, vec![(1, vec![scan]), (2, vec![retry])]);
    assert_repeats(&effects.results[1], &effects.results[0]);
    assert_eq!(recorded(&effects.results[0]).origin, node("north"));
    assert_eq!(chain.ticket("A").unwrap().vector_clock.get(&node("east")), 0);
}

#[test]
fn a_repeat_in_a_later_block_leaves_the_root_alone() {
    let mut chain = chain();
    let scan = operation("scan", NOW, validate("A"));
    let first = chain.one(NOW, scan.clone());
    let before = chain.ledger.root_at(Height(2)).unwrap();
    let effects = chain.block(NOW + 7, vec![(1, vec![scan])]);
    assert_repeats(&effects.results[0], &first);
    assert_eq!(effects.executed, before);
    assert!(effects.log.leaves.is_empty() && effects.tickets.is_empty() && effects.keys_added.is_empty());
}

#[test]
fn a_repeated_refusal_is_the_first_refusal_even_if_it_would_be_accepted_now() {
    let mut chain = chain();
    let early = operation("early", NOW, consume("A"));
    let first = chain.one(NOW, early.clone());
    assert_eq!(reason(&first), Reason::NotValidated);
    chain.act(NOW + 1, validate("A"));
    assert_repeats(&chain.one(NOW + 2, early), &first);
}

#[test]
fn another_payload_under_the_same_key_is_refused_without_a_trace() {
    let scan = operation("scan", NOW, validate("A"));
    let variations = [
        Operation { action: validate("B"), ..scan.clone() },
        Operation { action: consume("A"), ..scan.clone() },
        Operation { gate: Some("G1".into()), ..scan.clone() },
        Operation { device: Some("D1".into()), ..scan.clone() },
        Operation { scanned_at: Some(Timestamp(1)), ..scan.clone() },
        Operation { seen: Some(VectorClock::default()), ..scan.clone() },
        Operation { action: Action::Validate { ticket: ticket_id("A"), data: Some("".into()) }, ..scan.clone() },
    ];
    let mut chain = chain();
    let first = chain.one(NOW, scan);
    let before = chain.ledger.image();
    for (step, other) in variations.into_iter().enumerate() {
        let effects = chain.block(NOW + 1 + step as u64, vec![(0, vec![other])]);
        assert_reused(&effects.results[0], &first);
        assert!(effects.log.leaves.is_empty() && effects.tickets.is_empty() && effects.keys_added.is_empty());
    }
    let after = chain.ledger.image();
    assert_eq!((after.tickets, after.keys, after.log), (before.tickets, before.keys, before.log));
}

#[test]
fn the_same_key_in_another_event_is_another_key() {
    let mut chain = chain();
    let here = operation("scan", NOW, validate("A"));
    let there = Operation { event: event("auto"), ..here.clone() };
    let nowhere = Operation { event: event("nowhere"), ..here.clone() };
    let effects = chain.block(NOW, vec![(0, vec![here, there, nowhere])]);
    assert!(is_accepted(&effects.results[0]) && is_accepted(&effects.results[1]));
    assert_eq!(reason(&effects.results[2]), Reason::UnknownEvent);
    let held = |name: &str| chain.ledger.first_outcome(&scope(name), &key("scan")).map(|outcome| outcome.index);
    assert_eq!([held("default"), held("auto"), held("nowhere"), held("gala")], [Some(2), Some(3), Some(4), None]);
}

#[test]
fn a_loaded_ledger_answers_repeats() {
    let mut chain = chain();
    let scan = operation("scan", NOW, validate("A"));
    let first = chain.one(NOW, scan.clone());
    chain.reload(Bounds::default());
    assert_repeats(&chain.one(NOW + 1, scan.clone()), &first);
    assert_reused(&chain.one(NOW + 2, Operation { action: validate("B"), ..scan }), &first);
}

#[test]
fn a_key_is_held_through_its_last_microsecond() {
    for reload in [false, true] {
        let mut chain = chain();
        let scan = operation("scan", NOW, validate("A"));
        let first = chain.one(NOW, scan.clone());
        let last = NOW + RETENTION;
        let late = Operation { valid_until: Timestamp(last + 1), ..scan.clone() };
        if reload {
            chain.reload(Bounds::default());
        }
        let effects = chain.block(last, vec![(0, vec![late.clone(), scan.clone()])]);
        assert!(!effects.keys_expired.iter().any(|entry| entry.outcome.key == key("scan")));
        assert_repeats(&effects.results[0], &first);
        assert_repeats(&effects.results[1], &first);
        if reload {
            chain.reload(Bounds::default());
        }
        let effects = chain.block(last + 1, vec![(0, vec![late, scan])]);
        assert_eq!(effects.keys_expired.len(), 1);
        assert_eq!(effects.keys_expired[0].outcome, *recorded(&first));
        assert_eq!(reason(&effects.results[0]), Reason::AlreadyValidated, "the key is free: a new request");
        assert_repeats(&effects.results[1], &effects.results[0]);
        assert_eq!(chain.ledger.keys_len(), 1);
    }
}

#[test]
fn keys_expire_in_the_order_of_their_use() {
    let mut chain = chain();
    chain.one(NOW, operation("one", NOW, validate("A")));
    let two = operation("two", NOW + 1, validate("B"));
    let three = operation("three", NOW + 1, consume("B"));
    chain.block(NOW + 1, vec![(0, vec![two, three])]);
    let expired = chain.block(NOW + RETENTION + 2, vec![]).keys_expired;
    let names: Vec<_> = expired.iter().map(|entry| entry.outcome.key.clone()).collect();
    assert_eq!(names, [key("issue-A"), key("issue-B"), key("one"), key("two"), key("three")]);
    assert_eq!(chain.ledger.keys_len(), 0);
}

#[test]
fn an_operation_is_decided_up_to_its_last_microsecond_and_not_after() {
    let mut chain = chain();
    let on_time = Operation { valid_until: Timestamp(NOW), ..operation("on-time", NOW, validate("A")) };
    assert!(is_accepted(&chain.one(NOW, on_time)));
    let late = Operation { valid_until: Timestamp(NOW), ..operation("late", NOW, validate("B")) };
    let effects = chain.block(NOW + 1, vec![(0, vec![late.clone()])]);
    let outcome = recorded(&effects.results[0]);
    let refusal = Verdict::Refused { reason: Reason::OperationExpired, version: 0, state: None, first: None };
    assert_eq!(outcome.verdict, refusal);
    assert_eq!(outcome.ticket, Some(ticket_id("B")));
    assert_eq!(effects.log.leaves, [outcome.leaf_hash()], "the refusal is a leaf");
    assert!(effects.keys_added.is_empty(), "and uses up no key");
    let retry = Operation { valid_until: Timestamp(NOW + 9), ..late };
    assert!(is_accepted(&chain.one(NOW + 2, retry)), "a copy with the same key that is in time takes effect");
}

#[test]
fn an_operation_that_could_outlive_its_key_is_refused() {
    let mut chain = chain();
    let far = Operation { valid_until: Timestamp(NOW + RETENTION + 1), ..operation("far", NOW, validate("A")) };
    let effects = chain.block(NOW, vec![(0, vec![far.clone(), far.clone()])]);
    assert_eq!(effects.results.iter().map(reason).collect::<Vec<_>>(), [Reason::OperationExpired; 2]);
    assert_eq!(effects.log.leaves.len(), 2, "it is not remembered, so each copy is decided");
    assert_eq!(chain.ticket("A").unwrap().version, 1);
    assert!(is_accepted(&chain.one(NOW + 1, far)), "one microsecond later the key is held long enough");
    let never = Operation { valid_until: Timestamp(u64::MAX), ..operation("never", NOW, validate("B")) };
    assert_eq!(reason(&chain.one(NOW + 2, never)), Reason::OperationExpired);
}

#[test]
fn no_copy_of_an_operation_takes_effect_twice_whenever_it_comes() {
    // Every combination of when it is decided, how long it is valid, and when its copy comes, around the boundaries.
    for valid_for in [0, 1, RETENTION - 1, RETENTION] {
        for copy_after in [1, RETENTION - 1, RETENTION, RETENTION + 1, 2 * RETENTION, 2 * RETENTION + 1] {
            let mut chain = chain();
            let scan = operation("scan", NOW, Action::Validate { ticket: ticket_id("A"), data: Some("x".into()) });
            let scan = Operation { valid_until: Timestamp(NOW + valid_for), ..scan };
            let first = chain.one(NOW, scan.clone());
            assert!(is_accepted(&first));
            match chain.one(NOW + copy_after, scan) {
                OperationResult::Repeated(outcome) => assert_eq!(outcome, *recorded(&first)),
                late => assert_eq!(reason(&late), Reason::OperationExpired, "{valid_for} {copy_after}"),
            }
        }
    }
}

#[test]
fn who_comes_too_late_with_a_key_that_took_effect_learns_the_first_outcome() {
    let mut chain = chain();
    let scan = Operation { valid_until: Timestamp(NOW), ..operation("scan", NOW, validate("A")) };
    let first = chain.one(NOW, scan.clone());
    assert_repeats(&chain.one(NOW + 1, scan.clone()), &first);
    let far = Operation { valid_until: Timestamp(u64::MAX), ..scan };
    assert_repeats(&chain.one(NOW + 2, far), &first);
}

#[test]
fn what_a_full_ledger_refused_may_be_tried_again_with_the_same_key() {
    let bounds = Bounds { tickets_bytes_max: 2 * 1_024, ..Bounds::default() };
    let mut chain = chain_of(bounds);
    let third = operation("third", NOW, issue("C"));
    let effects = chain.block(NOW, vec![(0, vec![third.clone(), third])]);
    assert_eq!(effects.results.iter().map(reason).collect::<Vec<_>>(), [Reason::LedgerFull; 2]);
    assert!(effects.keys_added.is_empty());
}

#[test]
fn a_seeding_is_remembered_like_everything_else() {
    let mut chain = chain();
    let seed = operation("seeding", NOW, Action::Seed);
    let first = chain.one(NOW, seed.clone());
    assert!(is_accepted(&first));
    assert_repeats(&chain.one(NOW + 1, seed), &first);
}

#[test]
fn a_chain_that_continues_begins_with_the_keys_that_are_held_then() {
    let mut former = chain();
    let scan = operation("scan", NOW, validate("A"));
    let first = former.one(NOW, scan.clone());
    let (log_size, log_root) = former.ledger.root_at(Height(2)).map(|root| (root.log_size, root.log_root)).unwrap();
    let begin = |time: u64| {
        let genesis = Genesis::new(GenesisFile {
            chain_id: ChainId::new("ledger-tests-2").unwrap(),
            time: Timestamp(time),
            continues: Some(Continuation {
                chain_id: former.genesis.file().chain_id.clone(),
                genesis_hash: former.genesis.hash(),
                height: Height(2),
                block: Digest([1; 32]),
                state_root: Digest([2; 32]),
                log_size,
                log_root,
            }),
            ..former.genesis.file().clone()
        })
        .unwrap();
        let image = former.ledger.image().under(&genesis);
        let ledger = Ledger::load(&genesis, image).unwrap();
        Chain::at(genesis, ledger)
    };
    let keys = |chain: &Chain| chain.ledger.image().keys.len();
    assert_eq!(former.ledger.image().keys.len(), 3);
    assert_eq!(keys(&begin(NOW)), 3, "A, B and the scan");
    assert_eq!(keys(&begin(START + 1 + RETENTION)), 3, "to the last microsecond");
    let mut chain = begin(START + 2 + RETENTION);
    assert_eq!(keys(&chain), 1, "the scan");
    let (height, timestamp) = (chain.ledger.tip(), chain.ledger.tip_timestamp());
    assert_eq!((height, timestamp), (Height(2), Timestamp(START + 2 + RETENTION)));
    assert_repeats(&chain.one(START + 3 + RETENTION, scan), &first);
    assert_eq!(chain.ticket("A").unwrap().version, 2);
}
