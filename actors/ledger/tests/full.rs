//! A table of keys that is full, or that one validator would fill.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::*;
use dtvn_ledger::{BlockEffects, Bounds, OperationResult};
use dtvn_messages::certificate::Signatures;
use dtvn_messages::membership::{Recovery, SignedRecovery, ValidatorsChange};
use dtvn_messages::{
    Action, Epoch, KeyPair, Nonce, Operation, Reason, Signature, Statement, Timestamp, ValidatorIndex, Verdict, limits,
};

const NOW: u64 = START + 100;

/// Two tickets, taken in by validator 0.
fn chain_of(bounds: Bounds) -> Chain {
    let mut chain = Chain::of(genesis(), bounds);
    let issued = ["A", "B"].map(|ticket| operation(&format!("issue-{ticket}"), START + 1, issue(ticket)));
    chain.block(START + 1, vec![(0, issued.to_vec())]);
    chain
}

/// Scans of tickets that do not exist: refused, and their keys used up.
fn junk(numbers: std::ops::Range<u64>, at: u64) -> Vec<Operation> {
    numbers.map(|number| operation(&format!("junk-{number}"), at, validate("nothing"))).collect()
}

#[test]
fn a_full_table_refuses_new_keys_answers_old_ones_and_recovers() {
    let bounds = Bounds { keys_max: 4, ..Bounds::default() };
    let mut chain = chain_of(bounds);
    let one = operation("one", NOW, validate("A"));
    let two = operation("two", NOW, consume("A"));
    let three = operation("three", NOW, validate("B"));
    assert_eq!(chain.ledger.keys_len(), 2);
    let effects = chain.block(NOW, vec![(1, vec![one.clone(), two, three.clone(), one.clone()])]);
    assert_eq!(chain.ledger.keys_len(), 4);
    let full = Verdict::Refused { reason: Reason::LedgerFull, version: 0, state: None, first: None };
    assert_eq!(recorded(&effects.results[2]).verdict, full);
    assert_repeats(&effects.results[3], &effects.results[0]);
    assert_eq!(effects.log.leaves.len(), 3, "the refusal is a leaf");
    assert_eq!(effects.keys_added.len(), 2, "and uses up no key");
    chain.reload(bounds);
    assert_eq!(reason(&chain.one(NOW + 1, three.clone())), Reason::LedgerFull);
    let free = START + 1 + RETENTION + 1;
    let again = Operation { valid_until: Timestamp(free), ..three };
    let effects = chain.block(free, vec![(0, vec![again, one])]);
    assert_eq!(effects.keys_expired.len(), 2, "the two of the first block");
    assert!(is_accepted(&effects.results[0]), "the same key is free to try again");
    assert!(matches!(effects.results[1], OperationResult::Repeated(_)), "no key was dropped before its time");
}

#[test]
fn a_validator_that_fills_the_table_leaves_the_others_room() {
    let bounds = Bounds { keys_max: 12, ..Bounds::default() };
    let mut chain = chain_of(bounds);
    let effects = chain.block(NOW, vec![(2, junk(0..20, NOW))]);
    let taken = effects.results.iter().take_while(|result| reason(result) == Reason::UnknownTicket).count();
    assert_eq!(taken, 4, "half of the table, with the two that are there");
    assert!(effects.results[taken..].iter().all(|result| reason(result) == Reason::LedgerFull));
    // The others have a third each, even if the liar was there first.
    for (origin, expected) in [(0, 2), (1, 4)] {
        let time = NOW + 1 + u64::from(origin);
        let from = 100 * (1 + u64::from(origin));
        let effects = chain.block(time, vec![(origin, junk(from..from + 9, time))]);
        assert_eq!(effects.keys_added.len(), expected, "of validator {origin}");
    }
    assert_eq!(chain.ledger.keys_len(), 12);
    chain.reload(bounds);
    let time = NOW + RETENTION;
    let effects = chain.block(time, vec![(2, junk(500..501, time)), (0, junk(600..601, time))]);
    assert_eq!(effects.keys_expired.len(), 2, "those of the first block");
    let reasons = effects.results.iter().map(reason).collect::<Vec<_>>();
    assert_eq!(reasons, [Reason::LedgerFull, Reason::UnknownTicket], "the parts are known again after a start");
}

#[test]
fn what_is_rolled_back_counts_no_more() {
    let bounds = Bounds { keys_max: 12, ..Bounds::default() };
    let mut chain = chain_of(bounds);
    let committed = chain.ledger.tip();
    let full = chain.bundle(2, junk(0..20, NOW));
    chain.execute(NOW, &[full]);
    chain.ledger.roll_back(committed);
    let (time, bundle) = (NOW + RETENTION, bundle_at(&chain.genesis, 2, 0, junk(0..20, NOW + RETENTION)));
    chain.execute(time, &[bundle]);
    let effects = chain.ledger.commit(chain.ledger.tip()).remove(0);
    assert_eq!((effects.keys_expired.len(), effects.keys_added.len()), (2, 6), "half of an empty table");
}

#[test]
fn a_full_table_keeps_out_no_change_of_the_validators_and_no_recovery() {
    let mut chain = chain_of(Bounds { keys_max: 2, ..Bounds::default() });
    chain.block(START + 2, vec![(1, junk(0..1, START + 2))]);
    assert_eq!(chain.ledger.keys_len(), 2, "it is full: two tickets were issued");
    let mut change = change(&chain, &[0]);
    let refused = operation("unsigned", NOW, Action::ChangeValidators(Box::new(change.clone())));
    for time in [NOW, NOW + 1] {
        let effects = chain.block(time, vec![(2, vec![refused.clone()])]);
        assert_eq!(reason(&effects.results[0]), Reason::NotSignedByValidators);
        assert!(effects.keys_added.is_empty(), "a refused one takes no place that is not there");
    }
    change = self::change(&chain, &[0, 1, 2]);
    let change = operation("change", NOW, Action::ChangeValidators(Box::new(change)));
    let recover = operation("recover", NOW, recover(&chain, "east", 1));
    let effects = chain.block(NOW + 2, vec![(0, vec![change, recover]), (1, junk(1..2, NOW))]);
    assert!(is_accepted(&effects.results[0]) && is_accepted(&effects.results[1]));
    assert_eq!(reason(&effects.results[2]), Reason::LedgerFull);
    assert_eq!(effects.keys_added.len(), 2, "what took effect is remembered");
}

#[test]
fn nobody_uses_up_the_key_of_anothers_recovery() {
    let mut chain = chain_of(Bounds::default());
    let wanted = operation("recover-east", NOW, recover(&chain, "east", 1));
    let with = |action| Operation { action, ..wanted.clone() };
    let forged = match &wanted.action {
        Action::Recover(recovery) => SignedRecovery { signature: Signature([7; 64]), body: recovery.body.clone() },
        other => panic!("{other:?}"),
    };
    // A client's, another validator's, and a forged one, all under its key, and before it.
    let before = [with(dispute("nothing")), with(recover(&chain, "north", 2)), with(Action::Recover(Box::new(forged)))];
    let effects = chain.block(NOW, vec![(1, before.to_vec()), (0, vec![wanted.clone(), wanted.clone()])]);
    assert_eq!(reason(&effects.results[0]), Reason::UnknownTicket);
    assert!(is_accepted(&effects.results[1]));
    assert_eq!(reason(&effects.results[2]), Reason::NotSignedByValidators);
    assert!(is_accepted(&effects.results[3]));
    assert!(matches!(&effects.results[4], OperationResult::Repeated(_)), "and it is not decided twice");
    chain.reload(Bounds::default());
    assert!(matches!(chain.one(NOW + 1, wanted), OperationResult::Repeated(_)));
}

#[test]
fn a_block_drops_so_many_keys_and_the_others_answer_as_before() {
    let mut chain = chain_of(Bounds { keys_expired_max: 3, ..Bounds::default() });
    let scans: Vec<Operation> = junk(0..6, NOW);
    chain.block(NOW, vec![(0, scans.clone())]);
    let late = NOW + 9 * RETENTION;
    let again = |at: usize| Operation { valid_until: Timestamp(late + RETENTION), ..scans[at].clone() };
    let effects = chain.block(late, vec![(0, vec![again(0), again(1), again(5)])]);
    assert_eq!(effects.keys_expired.len(), 3, "two of the first block, and one");
    assert_eq!(reason(&effects.results[0]), Reason::UnknownTicket, "it is decided anew");
    assert!(effects.results[1..].iter().all(|result| matches!(result, OperationResult::Repeated(_))));
    chain.reload(Bounds { keys_expired_max: 3, ..Bounds::default() });
    for (number, expected) in [(1, 3), (2, 2), (3, 0)] {
        assert_eq!(chain.block(late + number, vec![]).keys_expired.len(), expected);
    }
    assert_eq!(chain.ledger.keys_len(), 1);
}

/// Tickets with these numbers, to be issued.
fn tickets(numbers: std::ops::Range<u64>, at: u64) -> Vec<Operation> {
    numbers.map(|number| operation(&format!("issue-{number}"), at, issue(&format!("T{number}")))).collect()
}

#[test]
fn a_validator_that_fills_the_table_of_tickets_leaves_the_others_room_and_scans_go_on() {
    let bounds = Bounds { tickets_bytes_max: 12 * limits::LEDGER_TICKET_BYTES, ..Bounds::default() };
    let mut chain = chain_of(bounds);
    let accepted = |effects: &BlockEffects| effects.results.iter().filter(|result| is_accepted(result)).count();
    let effects = chain.block(NOW, vec![(2, tickets(0..20, NOW))]);
    assert_eq!(accepted(&effects), 4, "half of the table, with the two that are there");
    let refused = effects.results.iter().filter(|result| !is_accepted(result));
    assert!(refused.into_iter().all(|result| reason(result) == Reason::LedgerFull));
    let effects = chain.block(NOW + 1, vec![(0, tickets(100..120, NOW)), (1, tickets(200..220, NOW))]);
    assert_eq!(accepted(&effects), 2 + 4, "a third for each of the others");
    assert_eq!(chain.ledger.tickets_len(), 12);
    chain.reload(bounds);
    // What another one scans is that one's, and whoever issued it may go on.
    let effects = chain.block(NOW + 2, vec![(2, vec![operation("scan", NOW, validate("A"))])]);
    assert!(is_accepted(&effects.results[0]), "of the liar too: it adds nothing");
    let mut chain = chain_of(bounds);
    chain.block(NOW, vec![(0, tickets(0..20, NOW))]);
    assert_eq!(chain.ledger.tickets_len(), 6);
    let scans = (0..3).map(|number| operation(&format!("scan-{number}"), NOW, validate(&format!("T{number}"))));
    chain.block(NOW + 1, vec![(1, scans.collect())]);
    chain.reload(bounds);
    assert_eq!(accepted(&chain.block(NOW + 2, vec![(0, tickets(50..60, NOW))])), 1, "it has three of its four");
}

#[test]
fn a_seeding_needs_room_in_the_part_of_its_validator() {
    let seeds = dtvn_ledger::seed_tickets();
    let weight = |seed: &dtvn_ledger::SeedTicket| {
        let metadata = seed.metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        limits::LEDGER_TICKET_BYTES + metadata as u64
    };
    let bytes: u64 = seeds.iter().map(weight).sum();
    for (tickets_bytes_max, fits) in [(2 * bytes, true), (2 * bytes - 2, false)] {
        let mut chain = Chain::of(genesis(), Bounds { tickets_bytes_max, ..Bounds::default() });
        assert_eq!(chain.act(NOW, Action::Seed).is_accepted(), fits);
        if fits {
            chain.block(NOW + 1, vec![(1, tickets(0..1, NOW + 1))]);
            assert_eq!(chain.ledger.tickets_len(), seeds.len() as u64 + 1);
            assert!(chain.act(NOW + 2, Action::Seed).is_accepted(), "there is nothing to add, and no room for more");
        }
    }
}

fn key_of(name: &str) -> KeyPair {
    KeyPair::development("ledger tests", name)
}

/// The present validators in another order, signed by these.
fn change(chain: &Chain, signers: &[u16]) -> ValidatorsChange {
    let membership = chain.ledger.membership();
    let names = ["west", "north", "east"];
    let mut validators: Vec<_> = membership.set.iter().map(|(_, validator)| validator.clone()).collect();
    validators.reverse();
    let (epoch, replaces) = (membership.epoch, membership.set.hash());
    let set = dtvn_messages::ValidatorSet::new(validators).unwrap();
    let mut change = ValidatorsChange { epoch, replaces, set, signatures: Signatures::default() };
    let message = change.statement().signed_bytes(chain.genesis.chain_id());
    let signed = |signer: &u16| (ValidatorIndex(*signer), key_of(names[usize::from(*signer)]).sign(&message));
    change.signatures = Signatures(signers.iter().map(signed).collect());
    change
}

fn recover(chain: &Chain, name: &str, nonce: u8) -> Action {
    let body = Recovery { epoch: Epoch(0), validator: node(name), nonce: Nonce([nonce; 16]) };
    let signature = key_of(name).sign(&body.signed_bytes(chain.genesis.chain_id()));
    Action::Recover(Box::new(SignedRecovery { body, signature }))
}
