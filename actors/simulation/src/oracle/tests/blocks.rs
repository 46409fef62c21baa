//! Blocks, certificates and states.

use std::sync::Arc;

use dtvn_messages::{Block, Digest, Epoch, Height};

use super::super::{Invariant, Violation};
use super::assert_violates;
use super::history::{History, alter, issue, operation};

const OTHER: Digest = Digest([7; 32]);

#[test]
fn a_true_history_violates_nothing() {
    let mut history = History::new();
    history.grow(vec![operation("first", issue("one")), operation("second", issue("two"))]);
    history.grow(Vec::new());
    // Another node commits the same, without a certificate of its own.
    let made = history.make(vec![operation("third", issue("one"))]);
    assert_eq!(history.commit(&made), Ok(()));
    let mut again = made.clone();
    again.0.certificate = None;
    assert_eq!(history.commit(&again), Ok(()));
    assert_eq!(history.chain.certified(&history.receipt(&made.0, 3)), Ok(()));
    assert_eq!(history.chain.installed(Height(3), made.0.digest), Ok(()));
    assert_eq!(history.height(), Height(3));
}

/// A second block at a height, as true as the first.
pub(super) fn two_blocks_at_a_height() -> Result<(), Violation> {
    let mut history = History::new();
    let made = history.make(Vec::new());
    history.commit(&made).unwrap();
    let (mut other, mut effects) = made;
    history.with_header(&mut other, |header| header.timestamp.0 += 1);
    effects.timestamp.0 += 1;
    history.commit(&(other, effects))
}

#[test]
fn two_blocks_at_a_height_are_found() {
    assert_violates(two_blocks_at_a_height(), Invariant::Agreement, "are committed at height");
}

#[test]
fn another_result_of_an_agreed_block_is_found() {
    let mut history = History::new();
    let mut made = history.make(vec![operation("first", issue("one"))]);
    history.commit(&made).unwrap();
    alter(&mut made.1.results[0], |outcome| outcome.index = 9);
    assert_violates(history.commit(&made), Invariant::Agreement, "different results at two nodes");
}

#[test]
fn a_state_or_an_epoch_that_nobody_agreed_on_is_found() {
    let mut history = History::new();
    history.grow(Vec::new());
    assert_violates(history.chain.installed(Height(1), OTHER), Invariant::Agreement, "is installed at height");
    assert_violates(history.chain.installed(Height(2), OTHER), Invariant::Agreement, "is installed at height");
    let set = history.genesis.validators().clone();
    assert_eq!(history.chain.began(Epoch(0), &set), Ok(()));
    assert_violates(history.chain.began(Epoch(1), &set), Invariant::Agreement, "begins epoch");
}

/// A block that builds on another one than that below.
pub(super) fn wrong_parent() -> Result<(), Violation> {
    let mut history = History::new();
    history.grow(Vec::new());
    let mut made = history.make(Vec::new());
    history.with_header(&mut made.0, |header| header.parent = OTHER);
    history.commit(&made)
}

#[test]
fn a_wrong_parent_a_hole_and_a_wrong_epoch_are_found() {
    assert_violates(wrong_parent(), Invariant::Chain, "builds on");
    let mut history = History::new();
    history.make(Vec::new());
    let above_a_hole = history.make(Vec::new());
    assert_violates(history.commit(&above_a_hole), Invariant::Chain, "builds on");
    let mut history = History::new();
    let mut made = history.make(Vec::new());
    history.with_header(&mut made.0, |header| header.epoch = Epoch(1));
    assert_violates(history.commit(&made), Invariant::Chain, "the history is in epoch");
}

#[test]
fn a_block_is_what_its_digest_names() {
    let mut history = History::new();
    let made = history.make(vec![operation("first", issue("one"))]);
    let mut renamed = made.clone();
    renamed.0.digest = OTHER;
    assert_violates(history.commit(&renamed), Invariant::Chain, "does not name block");
    // The list of bundles is not covered by the digest, but by the root in the header.
    let mut unlisted = made.clone();
    unlisted.0.block = Arc::new(Block { bundles: Vec::new(), ..Block::clone(&made.0.block) });
    unlisted.0.bundles.clear();
    assert_violates(history.commit(&unlisted), Invariant::Chain, "does not name block");
    let mut without = made.clone();
    without.0.bundles.clear();
    without.1.results.clear();
    assert_violates(history.commit(&without), Invariant::Chain, "does not name block");
    assert_eq!(history.commit(&made), Ok(()));
}

/// A commit certificate of two of four.
pub(super) fn certificate_of_too_few() -> Result<(), Violation> {
    let mut history = History::new();
    let mut made = history.make(Vec::new());
    history.seal(&mut made.0, 2);
    history.commit(&made)
}

#[test]
fn certificates_that_prove_nothing_are_found() {
    assert_violates(certificate_of_too_few(), Invariant::CertifiedOutcome, "the certificate of");
    let mut history = History::new();
    let made = history.make(Vec::new());
    history.commit(&made).unwrap();
    let few = history.receipt(&made.0, 2);
    assert_violates(history.chain.certified(&few), Invariant::CertifiedOutcome, "the receipt certificate of");
    // By a quorum, but about another log than the agreed one.
    let mut other = made.0.clone();
    history.with_header(&mut other, |header| header.log_size = 5);
    let other = history.receipt(&other, 4);
    assert_violates(history.chain.certified(&other), Invariant::CertifiedOutcome, "the receipt certificate of");
}
