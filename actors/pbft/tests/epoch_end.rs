//! The end of an epoch (consensus.md section 10): by position, at a checkpoint, reached by empty blocks, and over once
//! the last height is committed and stable.

use std::sync::Arc;

use dtvn_messages::wire::Status;
use dtvn_messages::{Block, Checkpoint, Digest, Epoch, Height, StableCheckpoint, Succession, ValidatorIndex, VoteKind};
use dtvn_pbft::{Base, Effect, Input, Message, Say, Timer, Unsigned};

use crate::common::build::{numbered, validator};
use crate::common::under::{Under, blame, small, under, votes_said};
use crate::common::{genesis, sign};

/// The hash of the set that follows.
const NEXT_SET: Digest = Digest([7; 32]);

/// A validator of four for whom bundle 1.`number` changes the validators; checkpoints are at 4, 8 and so on. It holds
/// bundles 1.0 to 1.7.
fn changing(me: u16, number: u64) -> Under {
    let mut under = under(me);
    under.change = Some((numbered(1, number).digest, NEXT_SET));
    under
}

fn hold_all(under: &mut Under) {
    under.hold(&(0..8).map(|number| numbered(1, number)).collect::<Vec<_>>());
}

fn proposed(effects: &[Effect]) -> Vec<Arc<Block>> {
    let block = |effect: &Effect| match effect {
        Effect::Propose { block, .. } => Some(Arc::clone(block)),
        _ => None,
    };
    effects.iter().filter_map(block).collect()
}

fn checkpoints_said(effects: &[Effect]) -> Vec<Checkpoint> {
    let said = |effect: &Effect| match effect {
        Effect::Say { say: Say::Checkpoint(checkpoint), .. } => Some(*checkpoint),
        _ => None,
    };
    effects.iter().filter_map(said).collect()
}

fn is_over(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::EpochOver { .. }))
}

/// Four blocks, the change in the second; the votes of all peers have committed them. With all effects.
fn at_the_end(me: u16) -> (Under, Vec<Block>, Vec<Effect>) {
    let mut under = changing(me, 1);
    hold_all(&mut under);
    let blocks = under.chain(0, 4, 1);
    let mut effects = Vec::new();
    for block in &blocks {
        effects.extend(under.commit_block(0, block));
    }
    (under, blocks, effects)
}

/// The checkpoint of the last block, as all sign it who executed the change.
fn last_checkpoint(under: &Under, block: &Block) -> Checkpoint {
    Checkpoint { next_epoch: Epoch(1), next_set: NEXT_SET, ..under.checkpoint(block) }
}

#[test]
fn the_leader_leads_to_it_with_empty_blocks_and_no_further() {
    let mut under = changing(0, 0);
    let effects = under.bundle(numbered(1, 0));
    let mut heights = Vec::new();
    let mut open = proposed(&effects);
    under.settle(effects);
    while let Some(block) = open.first().cloned() {
        heights.push((block.header.height.0, block.bundles.len()));
        let mut effects = under.votes(VoteKind::Prepare, 0, &block, &[1, 2, 3]);
        effects.extend(under.votes(VoteKind::Commit, 0, &block, &[1, 2, 3]));
        open.remove(0);
        open.extend(proposed(&effects));
        let settled = under.settle(effects.clone());
        open.extend(proposed(&settled[effects.len()..]));
    }
    assert_eq!(heights, [(1, 1), (2, 0), (3, 0), (4, 0)]);
    assert_eq!(proposed(&under.bundle(numbered(2, 0))), [], "what comes now is for the next epoch");
}

/// The change is committed, and nothing else is pending anywhere.
#[test]
fn the_heights_up_to_it_are_work_of_their_own() {
    let genesis = Arc::new(genesis(4, |parameters| {
        small(parameters);
        parameters.pipeline = 1;
    }));
    let mut leader = Under::new(&genesis, Some(0));
    leader.change = Some((numbered(1, 0).digest, NEXT_SET));
    let effects = leader.bundle(numbered(1, 0));
    let first = proposed(&effects).remove(0);
    leader.settle(effects);
    leader.votes(VoteKind::Prepare, 0, &first, &[1, 2, 3]);
    let effects = leader.votes(VoteKind::Commit, 0, &first, &[1, 2, 3]);
    let next = proposed(&leader.settle(effects));
    assert_eq!(
        next.iter().map(|block| (block.header.height, block.bundles.len())).collect::<Vec<_>>(),
        [(Height(2), 0)]
    );
}

#[test]
fn without_a_change_nothing_is_proposed_without_work() {
    let mut under = under(0);
    let effects = under.bundle(numbered(1, 0));
    let block = proposed(&effects).remove(0);
    under.settle(effects);
    under.votes(VoteKind::Prepare, 0, &block, &[1, 2, 3]);
    assert_eq!(proposed(&under.votes(VoteKind::Commit, 0, &block, &[1, 2, 3])), []);
    assert_eq!(under.replica.committed(), Height(1));
}

#[test]
fn nobody_votes_above_it_not_even_for_what_was_accepted_before_it_was_known() {
    let mut under = changing(3, 3);
    hold_all(&mut under);
    let blocks = under.chain(0, 5, 1);
    // The change is in block 4, so 4 is the last height; 5 comes while 4 is being executed.
    for block in &blocks[..3] {
        under.commit_block(0, block);
    }
    let fourth = under.quiet(Input::Message { from: validator(0), message: under.pre_prepare(0, &blocks[3]) });
    let Some(Effect::Execute { id, .. }) = fourth.iter().find(|effect| matches!(effect, Effect::Execute { .. })) else {
        panic!("the fourth block is executed: {fourth:?}");
    };
    under.quiet(Input::Message { from: validator(0), message: under.pre_prepare(0, &blocks[4]) });
    let (log_size, log_root) = (blocks[3].header.log_size, blocks[3].header.log_root);
    let succession = Succession { ends: Some(Height(4)), next_epoch: Epoch(1), next_set: NEXT_SET };
    let effects = under.quiet(Input::Executed { id: *id, log_size, log_root, succession });
    assert!(effects.contains(&Effect::RollBack { to: Height(4) }), "{effects:?}");
    assert!(effects.contains(&blame(0, "its block is above the end of its epoch")), "{effects:?}");
    let voted: Vec<Height> = votes_said(&effects).iter().map(|(_, vote)| vote.height).collect();
    assert_eq!(voted, [Height(4)]);
}

#[test]
fn a_change_that_is_rolled_back_takes_its_end_along() {
    let mut under = changing(3, 1);
    hold_all(&mut under);
    under.bundle(numbered(2, 0));
    let first = under.chain(0, 1, 1).remove(0);
    under.commit_block(0, &first);
    let change = under.block(0, Some(&first), &[numbered(1, 1)]);
    under.propose(0, &change);
    // Nobody prepared it: the next view begins above the first block, with another second one.
    let mut shown = under.bare_view_change(1);
    shown.committed = Some(under.committed(0, &first, &[0, 1, 2]));
    under.start_view(&shown);
    let mut below = first;
    for number in 0..4 {
        let block = under.block(1, Some(&below), &[numbered(2, number)]);
        under.bundle(numbered(2, number));
        under.commit_block(1, &block);
        below = block;
    }
    assert_eq!(under.replica.committed(), Height(5), "4 ends nothing");
    assert_eq!(under.replica.epoch_ends(), None);
}

#[test]
fn the_checkpoint_there_names_the_next_epoch_and_its_set() {
    let (under, blocks, effects) = at_the_end(3);
    assert_eq!(checkpoints_said(&effects), [last_checkpoint(&under, &blocks[3])]);
    assert!(!is_over(&effects), "it is not stable yet");
}

#[test]
fn it_is_over_once_it_is_committed_and_stable_and_then_nothing_follows() {
    let (mut under, blocks, _) = at_the_end(3);
    let checkpoint = last_checkpoint(&under, &blocks[3]);
    let vote = |under: &Under, signer| Message::Checkpoint(sign(&under.genesis, validator(signer), checkpoint));
    assert!(!is_over(&under.hear(0, vote(&under, 0))));
    let effects = under.hear(1, vote(&under, 1));
    let Some(Effect::EpochOver { committed, stable }) = effects.last() else { panic!("it is over: {effects:?}") };
    assert_eq!((committed.height(), stable.checkpoint), (Height(4), checkpoint));
    assert_eq!(under.bundle(numbered(2, 0)), []);
    assert_eq!(under.hear(2, vote(&under, 2)), []);
    assert_eq!(under.fire_now(Timer::Status), []);
}

#[test]
fn a_checkpoint_with_another_next_set_is_another_state() {
    let (mut under, blocks, _) = at_the_end(3);
    let checkpoint = Checkpoint { next_set: Digest([8; 32]), ..last_checkpoint(&under, &blocks[3]) };
    for signer in 0..3 {
        under.hear(signer, Message::Checkpoint(sign(&under.genesis, validator(signer), checkpoint)));
    }
    assert!(under.replica.show().diverged);
}

#[test]
fn what_waits_for_the_next_epoch_moves_no_view() {
    let (mut under, ..) = at_the_end(3);
    under.bundle(numbered(2, 0));
    under.fire(Timer::Relay);
    let fired = under.due_in_us(Timer::View).map(|_| under.fire_now(Timer::View)).unwrap_or_default();
    assert_eq!(fired, [], "no wish: nobody can order it in this epoch");
}

#[test]
fn empty_blocks_to_the_end_count_as_progress() {
    let mut under = changing(3, 0);
    hold_all(&mut under);
    let first = under.chain(0, 1, 1).remove(0);
    under.commit_block(0, &first);
    let before = under.due_in_us(Timer::View).expect("there are heights to reach");
    under.wait_us(before / 2);
    let empty = under.block(0, Some(&first), &[]);
    under.commit_block(0, &empty);
    assert_eq!(under.due_in_us(Timer::View), Some(before));
}

#[test]
fn a_peer_that_is_behind_is_shown_how_its_epoch_ended_and_one_ahead_is_asked() {
    let (mut under, ..) = at_the_end(3);
    let ahead = Status { epoch: Epoch(1), ..under.status() };
    let told = under.hear(0, Message::Status(ahead));
    assert!(matches!(told[..], [Effect::Tell { to: ValidatorIndex(0), what: Unsigned::Status(_) }]), "{told:?}");
    assert_eq!(under.hear(0, Message::Status(ahead)), [], "not twice in a row");
}

/// The last checkpoint, signed by three.
fn last_stable(under: &Under, last: &Block) -> Arc<StableCheckpoint> {
    let checkpoint = last_checkpoint(under, last);
    let sign = |signer| (validator(signer), sign(&under.genesis, validator(signer), checkpoint).signature);
    let signatures = dtvn_messages::certificate::Signatures([0, 1, 2].map(sign).to_vec());
    Arc::new(StableCheckpoint { header: last.header.clone(), checkpoint, signatures })
}

/// A peer that gives its state need not give the certificate of its last block, and nobody signs that it is there. Others
/// show it.
#[test]
fn a_certificate_of_the_last_block_that_comes_later_ends_the_epoch() {
    let (under, blocks, _) = at_the_end(3);
    let last = &blocks[3];
    let genesis = Arc::clone(&under.genesis);
    let stable = last_stable(&under, last);
    let succession = Succession { ends: Some(Height(4)), next_epoch: Epoch(1), next_set: NEXT_SET };
    let base = Base { proof: None, stable: Some(stable), succession, ..under.base(last, 1, &[0, 1, 2]) };
    let mut other = Under::stopped(&genesis, Some(3), base, true);
    assert!(!is_over(&other.run(Input::Start)));
    let foreign = under.block(0, Some(&blocks[2]), &[]);
    let of_another = Message::Committed(Arc::new(other.committed(0, &foreign, &[0, 1, 2])));
    assert!(!is_over(&other.hear(1, of_another)), "of another block");
    let proof = Message::Committed(Arc::new(other.committed(0, last, &[0, 1, 2])));
    assert!(is_over(&other.hear(1, proof)));
}

/// Both certificates in one piece, as one is shown them that asks: by anybody, who need not be a validator of the epoch.
#[test]
fn who_is_at_the_end_is_led_out_by_both_certificates_and_who_is_not_is_left_where_it_is() {
    let (under, blocks, _) = at_the_end(3);
    let (last, genesis) = (&blocks[3], Arc::clone(&under.genesis));
    let committed = Arc::new(under.committed(0, last, &[0, 1, 2]));
    let shown = || Input::EpochEnd { committed: Arc::clone(&committed), stable: last_stable(&under, last) };
    let succession = Succession { ends: Some(Height(4)), next_epoch: Epoch(1), next_set: NEXT_SET };
    for (block, expected) in [(last, true), (&blocks[2], false)] {
        let base = Base { proof: None, stable: None, succession, ..under.base(block, 1, &[0, 1, 2]) };
        let mut other = Under::stopped(&genesis, Some(3), base, true);
        other.run(Input::Start);
        assert_eq!(is_over(&other.run(shown())), expected, "at {}", block.header.height);
        let shown = other.replica.show();
        assert!(shown.stable <= shown.committed, "nothing is stable that is not here: {}", shown.stable);
    }
}
