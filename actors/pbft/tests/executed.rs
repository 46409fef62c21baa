//! Results of executions: refusal and divergence (consensus.md sections 2 and 5).

use std::sync::Arc;

use dtvn_messages::{Block, Digest, Height, View, VoteKind};
use dtvn_pbft::{Effect, Input, Message};

use crate::common::build::{numbered, validator};
use crate::common::under::{Under, blame, under, votes_said, wish};

/// Validator 3 of four, and a block with another log root than its execution gives.
fn with_wrong_root() -> (Under, Block) {
    let mut under = under(3);
    under.hold(&[numbered(1, 0), numbered(1, 1)]);
    let mut block = under.block(0, None, &[numbered(1, 0)]);
    block.header.log_root = Digest([9; 32]);
    (under, block)
}

fn diverged(height: u64, block: &Block, own: Digest) -> Effect {
    Effect::Diverged { height: Height(height), certified: block.header.log_root, own }
}

#[test]
fn a_block_with_another_log_root_is_undone_refused_and_ends_the_view() {
    let (mut under, block) = with_wrong_root();
    let effects = under.propose(0, &block);
    let why = "its block has another log root than its execution";
    let (digest, own) = (under.digest(&block), under.block(0, None, &[numbered(1, 0)]).header);
    let own = (own.log_size, own.log_root);
    let wrong = Effect::WrongResult { view: View(0), height: Height(1), digest, own };
    assert_eq!(effects[2..], [Effect::RollBack { to: Height(0) }, wrong, blame(0, why), wish(1)]);
    assert!(!under.replica.show().diverged, "the leader may lie");
}

#[test]
fn a_replica_that_gets_another_result_than_a_quorum_prepared_has_diverged_and_votes_no_more() {
    let (mut under, block) = with_wrong_root();
    let own = under.block(0, None, &[numbered(1, 0)]).header.log_root;
    under.propose(0, &block);
    assert_eq!(under.votes(VoteKind::Prepare, 0, &block, &[1]), []);
    assert_eq!(under.votes(VoteKind::Prepare, 0, &block, &[2]), [diverged(1, &block, own)]);
    assert!(under.replica.show().diverged && !under.replica.show().voting);
    assert_eq!(votes_said(&under.move_to(1)), [], "no VIEW-CHANGE either");
}

#[test]
fn a_result_that_differs_from_a_certificate_that_came_before_is_divergence_and_not_blamed() {
    let (mut under, block) = with_wrong_root();
    let own = under.block(0, None, &[numbered(1, 0)]).header.log_root;
    under.hear(2, Message::Prepared(Arc::new(under.prepared(0, &block, &[0, 1, 2]))));
    let effects = under.propose(0, &block);
    assert_eq!(effects[2..], [diverged(1, &block, own)]);
}

#[test]
fn a_result_that_differs_from_a_selected_block_is_divergence_and_the_new_leader_is_not_blamed() {
    let (mut under, block) = with_wrong_root();
    under.propose(0, &block);
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &block, &[0, 1, 2])];
    let effects = under.start_view(&shown);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Diverged { .. })), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Blame { .. })), "{effects:?}");
}

#[test]
fn that_another_block_is_proved_at_its_height_does_not_make_a_wrong_one_right() {
    // Certified or shown to be committed is the block of a later view; what the leader of this one proposes is refused.
    let (mut under, block) = with_wrong_root();
    let other = under.block(2, None, &[numbered(2, 0)]);
    under.hear(2, Message::Committed(Arc::new(under.committed(2, &other, &[0, 1, 2]))));
    let effects = under.propose(0, &block);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Diverged { .. })), "{effects:?}");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::WrongResult { .. })), "{effects:?}");
}

#[test]
fn a_result_that_differs_from_a_synced_block_is_divergence() {
    let (mut under, block) = with_wrong_root();
    let effects = under.run(Input::Certified(vec![under.certified(0, &block, &[0, 1, 2])]));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Diverged { .. })), "{effects:?}");
    assert_eq!(under.replica.committed(), Height(0));
}

#[test]
fn a_synced_block_that_breaks_the_order_of_bundles_is_divergence_and_no_panic() {
    let mut under = under(3);
    under.hold(&[numbered(1, 0), numbered(1, 1)]);
    let block = under.block(0, None, &[numbered(1, 1)]);
    let effects = under.run(Input::Certified(vec![under.certified(0, &block, &[0, 1, 2])]));
    assert_eq!(effects, [diverged(1, &block, Digest::ZERO)]);
}

#[test]
fn synced_blocks_above_a_committed_one_that_they_contradict_are_not_taken() {
    let mut under = under(3);
    under.hold(&[numbered(1, 0), numbered(1, 1), numbered(2, 0)]);
    let blocks = under.chain(0, 2, 1);
    under.commit_block(0, &blocks[0]);
    let other = under.block(0, None, &[numbered(2, 0)]);
    let above = under.block(0, Some(&other), &[numbered(1, 0)]);
    assert_eq!(under.run(Input::Certified(vec![under.certified(0, &above, &[0, 1, 2])])), []);
    assert_eq!(under.replica.committed(), Height(1));
}

#[test]
fn a_refusal_for_the_block_below_is_no_divergence_when_the_others_accepted_another_one_there() {
    // A leader that sends two blocks must not make an honest replica think that its state is wrong.
    let mut under = under(3);
    under.hold(&[numbered(1, 0), numbered(1, 1)]);
    let blocks = under.chain(0, 2, 1);
    let mut lost = blocks[0].clone();
    lost.header.timestamp = lost.header.timestamp.plus_micros(1);
    let digests = lost.bundles.clone();
    let empty = (0, dtvn_messages::merkle::empty_root());
    (lost.header.log_size, lost.header.log_root) = crate::common::fake::execute(empty, lost.header.timestamp, &digests);
    assert_eq!(votes_said(&under.propose(0, &lost)).len(), 1);
    let refused = under.propose(0, &blocks[1]);
    assert_eq!(refused, [blame(0, "its block does not build on the block below"), wish(1)]);
    for block in &blocks {
        under.votes(VoteKind::Prepare, 0, block, &[1, 2]);
    }
    assert!(!under.replica.show().diverged);
    let proof = under.committed(0, &blocks[1], &[0, 1, 2]);
    under.hear(1, Message::Committed(Arc::new(proof)));
    let synced = vec![under.certified(0, &blocks[0], &[]), under.certified(0, &blocks[1], &[0, 1, 2])];
    under.run(Input::Certified(synced));
    assert_eq!(under.replica.committed(), Height(2), "it adopts the winner by its certificate");
}

#[test]
fn the_result_of_an_execution_that_was_undone_is_passed_over() {
    let mut under = under(3);
    under.hold(&[numbered(1, 0), numbered(2, 0)]);
    let lost = under.block(0, None, &[numbered(1, 0)]);
    let effects = under.quiet(Input::Message { from: validator(0), message: under.pre_prepare(0, &lost) });
    assert!(matches!(effects[0], Effect::Execute { id: 1, .. }));
    let winner = under.block(0, None, &[numbered(2, 0)]);
    let effects = under.quiet(Input::Certified(vec![under.certified(0, &winner, &[0, 1, 2])]));
    assert_eq!(effects[0], Effect::RollBack { to: Height(0) });
    assert!(matches!(effects[1], Effect::Execute { id: 2, height: Height(1), .. }));
    let succession = under.steady();
    let (log_size, log_root) = (lost.header.log_size, lost.header.log_root);
    assert_eq!(under.quiet(Input::Executed { id: 1, log_size, log_root, succession }), []);
    let (log_size, log_root) = (winner.header.log_size, winner.header.log_root);
    under.quiet(Input::Executed { id: 2, log_size, log_root, succession });
    assert_eq!(under.replica.committed_digest(Height(1)), Some(under.digest(&winner)));
    assert_eq!(under.quiet(Input::Executed { id: 2, log_size, log_root, succession }), [], "and a repeated one too");
}
