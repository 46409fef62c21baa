//! Changes of the validators and recoveries as operations (consensus.md sections 4 and 10): decided by position, by the
//! state at their place.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::*;
use dtvn_ledger::{BlockInput, Bounds, Ledger};
use dtvn_messages::certificate::Signatures;
use dtvn_messages::membership::{LastRecovery, Recovery, SignedRecovery, ValidatorsChange};
use dtvn_messages::{
    Action, Bundle, BundleBody, Ed25519, Epoch, Genesis, Height, KeyPair, Nonce, PublicKey, Reason, Signature,
    Statement, Succession, Timestamp, Validator, ValidatorIndex, ValidatorSet, Verdict,
};

const NOW: u64 = START + 100;
const MINUTE: u64 = 60_000_000;
const NAMES: [&str; 3] = ["west", "north", "east"];

/// Checkpoints at 4, 8 and so on.
fn chain() -> Chain {
    let mut file = genesis().file().clone();
    file.consensus.checkpoint_interval = 4;
    Chain::of(Genesis::new(file).unwrap(), Bounds::default())
}

fn key_of(name: &str) -> KeyPair {
    KeyPair::development("ledger tests", name)
}

fn validator(name: &str, power: u32) -> Validator {
    Validator { name: node(name), public_key: key_of(name).public(), power }
}

/// The present validators without the last, and a new one.
fn next_set() -> ValidatorSet {
    ValidatorSet::new(vec![validator("west", 1), validator("north", 2), validator("south", 1)]).unwrap()
}

/// A change to `set`, signed by these of the present validators.
fn change(chain: &Chain, set: ValidatorSet, signers: &[u16]) -> ValidatorsChange {
    let membership = chain.ledger.membership();
    let (epoch, replaces) = (membership.epoch, membership.set.hash());
    let mut change = ValidatorsChange { epoch, replaces, set, signatures: Signatures::default() };
    let message = change.statement().signed_bytes(chain.genesis.chain_id());
    let signed = |signer: &u16| (ValidatorIndex(*signer), key_of(NAMES[usize::from(*signer)]).sign(&message));
    change.signatures = Signatures(signers.iter().map(signed).collect());
    change
}

fn changed(chain: &Chain) -> Action {
    Action::ChangeValidators(Box::new(change(chain, next_set(), &[0, 1, 2])))
}

fn recovery(chain: &Chain, name: &str, nonce: u8) -> SignedRecovery {
    let epoch = chain.ledger.membership().epoch;
    let body = Recovery { epoch, validator: node(name), nonce: Nonce([nonce; 16]) };
    let signature = key_of(name).sign(&body.signed_bytes(chain.genesis.chain_id()));
    SignedRecovery { body, signature }
}

fn recover(chain: &Chain, name: &str, nonce: u8) -> Action {
    Action::Recover(Box::new(recovery(chain, name, nonce)))
}

fn refusal(verdict: &Verdict) -> Option<Reason> {
    verdict.refusal()
}

fn succession(chain: &Chain) -> Succession {
    chain.ledger.root_at(chain.ledger.tip()).unwrap().succession
}

/// An empty block.
fn empty(chain: &mut Chain, time: u64) {
    chain.execute(time, &[]);
    chain.ledger.commit(chain.ledger.tip());
}

#[test]
fn a_change_ends_the_epoch_at_the_next_checkpoint_height_at_or_above_it() {
    for (blocks_before, end) in [(0, 4), (1, 4), (3, 4), (4, 8)] {
        let mut chain = chain();
        for block in 0..blocks_before {
            empty(&mut chain, NOW + block);
        }
        let before = succession(&chain);
        assert_eq!(before, Succession::steady(Epoch(0), chain.genesis.validators().hash()));
        let change = changed(&chain);
        assert_eq!(refusal(&chain.act(NOW + 10, change)), None);
        while chain.ledger.tip() < Height(end) {
            assert_eq!(succession(&chain), Succession { ends: Some(Height(end)), ..before });
            let time = NOW + 10 + chain.ledger.tip().0;
            empty(&mut chain, time);
        }
        let last = Succession { ends: Some(Height(end)), next_epoch: Epoch(1), next_set: next_set().hash() };
        assert_eq!(succession(&chain), last, "{blocks_before} blocks before it");
    }
}

#[test]
fn the_first_block_above_the_end_is_of_the_next_epoch_and_a_roll_back_undoes_that() {
    let mut chain = chain();
    let change = changed(&chain);
    chain.act(NOW, change);
    (1..4).for_each(|block| empty(&mut chain, NOW + block));
    assert_eq!(chain.ledger.membership().epoch, Epoch(0));
    chain.execute(NOW + 10, &[]);
    let membership = chain.ledger.membership();
    assert_eq!((membership.epoch, membership.base, &*membership.set), (Epoch(1), Height(4), &next_set()));
    assert_eq!(membership.pending, None);
    chain.ledger.roll_back(Height(4));
    assert_eq!(chain.ledger.membership().epoch, Epoch(0));
    assert_eq!(succession(&chain).next_epoch, Epoch(1));
}

#[test]
fn a_change_that_is_rolled_back_was_never_asked_for() {
    let mut chain = chain();
    let before = chain.ledger.image();
    let bundle = {
        let change = changed(&chain);
        chain.bundle(0, vec![operation("change", NOW, change)])
    };
    chain.execute(NOW, &[bundle]);
    assert!(succession(&chain).ends.is_some());
    chain.ledger.roll_back(Height(0));
    assert_eq!(chain.ledger.image(), before);
    assert_eq!(succession(&chain).ends, None);
}

#[test]
fn it_needs_a_quorum_of_the_present_set_for_this_very_set_and_epoch() {
    let mut chain = chain();
    let mut refused = |change: ValidatorsChange, reason, why| {
        let time = NOW + chain.ledger.tip().0;
        let verdict = chain.act(time, Action::ChangeValidators(Box::new(change)));
        assert_eq!(refusal(&verdict), Some(reason), "{why}");
    };
    let fresh = self::chain();
    refused(change(&fresh, next_set(), &[0, 1]), Reason::NotSignedByValidators, "two of three");
    let mut other = change(&fresh, next_set(), &[0, 1, 2]);
    other.set = ValidatorSet::new(vec![validator("west", 9)]).unwrap();
    refused(other, Reason::NotSignedByValidators, "signed for another set");
    let mut stale = change(&fresh, next_set(), &[0, 1, 2]);
    stale.replaces = next_set().hash();
    refused(stale, Reason::StaleEpoch, "another set is to be replaced");
    let mut later = change(&fresh, next_set(), &[0, 1, 2]);
    later.epoch = Epoch(1);
    refused(later, Reason::StaleEpoch, "another epoch");
    let mut weak = validator("south", 1);
    weak.public_key = PublicKey([1; 32]);
    weak.public_key.0[1..].fill(0);
    let unusable = ValidatorSet::new(vec![validator("west", 1), weak]).unwrap();
    refused(change(&fresh, unusable, &[0, 1, 2]), Reason::NotPermitted, "a key of small order");
    assert_eq!(succession(&chain).ends, None);
}

#[test]
fn at_most_one_change_takes_effect_in_an_epoch_and_recoveries_join_it() {
    let mut chain = chain();
    let change = changed(&chain);
    assert_eq!(refusal(&chain.act(NOW, change)), None);
    let second = ValidatorSet::new(vec![validator("west", 1)]).unwrap();
    let second = Action::ChangeValidators(Box::new(self::change(&chain, second, &[0, 1, 2])));
    assert_eq!(refusal(&chain.act(NOW + 1, second)), Some(Reason::StaleEpoch));
    let recover = recover(&chain, "north", 5);
    assert_eq!(refusal(&chain.act(NOW + 2, recover)), None);
    empty(&mut chain, NOW + 3);
    empty(&mut chain, NOW + 4);
    let membership = chain.ledger.membership();
    assert_eq!(*membership.set, next_set());
    assert_eq!(membership.opened_by.iter().collect::<Vec<_>>(), [(&node("north"), &Nonce([5; 16]))]);
}

/// A validator that comes too soon asks again under the same key: a refusal that were remembered would keep it silent.
#[test]
fn a_recovery_that_came_too_soon_is_accepted_later_under_the_same_key() {
    let mut chain = chain();
    let first = recover(&chain, "north", 1);
    assert_eq!(refusal(&chain.act(NOW, first)), None);
    let key = "the key of the second recovery";
    let mut refusals = Vec::new();
    for (number, time) in [(0, NOW + 1), (1, NOW + MINUTE + 1)] {
        let second = operation(key, time, recover(&chain, "north", 2));
        if number == 1 {
            // The epoch that the first one ended.
            while chain.ledger.tip() < Height(4) {
                let time = NOW + 10 + chain.ledger.tip().0;
                empty(&mut chain, time);
            }
        }
        let epoch = Epoch(number);
        let mut second = second;
        if let Action::Recover(recovery) = &mut second.action {
            recovery.body.epoch = epoch;
            recovery.signature = key_of("north").sign(&recovery.body.signed_bytes(chain.genesis.chain_id()));
        }
        let body = BundleBody { epoch, origin: ValidatorIndex(1), start: 9, number: 0, operations: vec![second] };
        let bundle = Bundle::assemble(body, Signature([0; 64]), chain.genesis.chain_id());
        let input = BlockInput {
            height: chain.ledger.tip().next(),
            timestamp: Timestamp(time),
            bundles: &[bundle],
            set: chain.genesis.validators(),
            scheme: &Ed25519,
        };
        chain.ledger.execute(&input);
        let effects = chain.ledger.commit(chain.ledger.tip()).remove(0);
        refusals.push(recorded(&effects.results[0]).verdict.refusal());
    }
    assert_eq!(refusals, [Some(Reason::RecoveredRecently), None]);
}

#[test]
fn a_recovery_is_signed_by_whom_it_names_once_at_a_time_and_not_too_often() {
    let mut chain = chain();
    let mut forged = recovery(&chain, "north", 1);
    forged.body.validator = node("west");
    let forged = Action::Recover(Box::new(forged));
    assert_eq!(refusal(&chain.act(NOW, forged)), Some(Reason::NotSignedByValidators));
    let stranger = recover(&chain, "south", 1);
    assert_eq!(refusal(&chain.act(NOW + 1, stranger)), Some(Reason::NotSignedByValidators));
    let first = recover(&chain, "north", 1);
    assert_eq!(refusal(&chain.act(NOW + 2, first)), None);
    let again = recover(&chain, "north", 2);
    assert_eq!(refusal(&chain.act(NOW + 3, again)), Some(Reason::RecoveredRecently), "one is pending");
    // The next epoch, and soon after it the next recovery.
    let origin = |chain: &Chain, number, time, action| {
        let body = BundleBody {
            epoch: Epoch(1),
            origin: ValidatorIndex(0),
            start: 1,
            number,
            operations: vec![operation(&format!("later-{number}"), time, action)],
        };
        Bundle::assemble(body, Signature([0; 64]), chain.genesis.chain_id())
    };
    empty(&mut chain, NOW + 10);
    let soon = NOW + MINUTE + 1;
    let late = NOW + MINUTE + 2;
    for (number, time, expected) in [(0, soon, Some(Reason::RecoveredRecently)), (1, late, None)] {
        let action = recover(&chain, "north", 3 + number as u8);
        let bundle = origin(&chain, number, time, action);
        let input = BlockInput {
            height: chain.ledger.tip().next(),
            timestamp: Timestamp(time),
            bundles: &[bundle],
            set: chain.genesis.validators(),
            scheme: &Ed25519,
        };
        chain.ledger.execute(&input);
        let effects = chain.ledger.commit(chain.ledger.tip()).remove(0);
        assert_eq!(recorded(&effects.results[0]).verdict.refusal(), expected, "after {time}");
    }
    let last = LastRecovery { at: Timestamp(late), wait_us: 2 * MINUTE };
    assert_eq!(chain.ledger.membership().recoveries[&node("north")], last, "the next one must wait for longer");
}

#[test]
fn an_image_carries_it_and_block_effects_say_when_it_changed() {
    let mut chain = chain();
    let change = changed(&chain);
    let effects = chain.block(NOW, vec![(0, vec![operation("change", NOW, change)])]);
    assert_eq!(effects.membership.as_ref(), Some(chain.ledger.membership()));
    let effects = chain.block(NOW + 1, vec![(0, vec![operation("issue", NOW + 1, issue("A"))])]);
    assert_eq!(effects.membership, None);
    let before = Arc::clone(chain.ledger.membership());
    let loaded = Ledger::load(&chain.genesis, chain.ledger.image()).unwrap();
    assert_eq!(*loaded.membership(), before);
    assert_eq!(loaded.root_at(loaded.committed()), chain.ledger.root_at(chain.ledger.committed()));
}
