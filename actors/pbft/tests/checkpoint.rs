//! Checkpoints (consensus.md section 5).

use std::sync::Arc;

use dtvn_messages::limits::REPLICA_STATE_ROOTS_MAX;
use dtvn_messages::{Block, Checkpoint, Digest, Epoch, Height, Signed, VoteKind, limits};
use dtvn_pbft::{Effect, Input, Message, Record, Say};

use crate::common::build::{Story, numbered, validator};
use crate::common::under::{Under, blame, small, under};
use crate::common::{genesis, sign};

/// Validator 3 of four that has committed the first blocks, one after the other, with all effects of the last.
fn committed(count: u64) -> (Under, Vec<Block>, Vec<Effect>) {
    let mut under = under(3);
    let (blocks, effects) = commit(&mut under, count);
    (under, blocks, effects)
}

fn commit(under: &mut Under, count: u64) -> (Vec<Block>, Vec<Effect>) {
    under.hold(&(0..count).map(|number| numbered(1, number)).collect::<Vec<_>>());
    let blocks = under.chain(0, count, 1);
    let mut effects = Vec::new();
    for block in &blocks {
        let proposed = under.propose(0, block);
        under.own(&proposed);
        effects = under.votes(VoteKind::Commit, 0, block, &[0, 1, 2]);
    }
    (blocks, effects)
}

fn vote(under: &Under, signer: u16, checkpoint: Checkpoint) -> Message {
    Message::Checkpoint(sign(&under.genesis, validator(signer), checkpoint))
}

#[test]
fn it_is_signed_at_each_interval_once_the_commit_is_on_its_way_to_the_disk() {
    let (under, blocks, effects) = committed(4);
    let committed = effects.iter().find_map(|effect| match effect {
        Effect::Persist { ticket, record: Record::Committed { .. } } => Some(*ticket),
        _ => None,
    });
    let after = committed.unwrap() + 1;
    let said = Effect::Say { after, say: Say::Checkpoint(under.checkpoint(&blocks[3])) };
    assert_eq!(effects.last(), Some(&said), "its ticket covers the commit's");
    let (.., third) = self::committed(3);
    assert!(
        !third.iter().any(|effect| matches!(effect, Effect::Say { say: Say::Checkpoint(_), .. })),
        "3 is no interval"
    );
}

#[test]
fn only_equal_votes_of_power_q_make_it_stable() {
    let other = |under: &Under, block: &Block, change: fn(&mut Checkpoint)| {
        let mut checkpoint = under.checkpoint(block);
        change(&mut checkpoint);
        checkpoint
    };
    type Change = (&'static str, fn(&mut Checkpoint));
    let changes: [Change; 3] = [
        ("state root", |checkpoint| checkpoint.state_root = Digest([9; 32])),
        ("block", |checkpoint| checkpoint.block = Digest([9; 32])),
        ("next set", |checkpoint| checkpoint.next_set = Digest([9; 32])),
    ];
    for (what, change) in changes {
        let (mut under, blocks, effects) = committed(4);
        let block = &blocks[3];
        under.own(&effects);
        under.hear(0, vote(&under, 0, under.checkpoint(block)));
        under.hear(1, vote(&under, 1, other(&under, block, change)));
        assert_eq!(under.replica.stable_height(), Height(0), "own, one and one with another {what}");
        under.hear(2, vote(&under, 2, under.checkpoint(block)));
        assert_eq!(under.replica.stable_height(), Height(4), "{what}");
        assert!(!under.replica.show().diverged);
    }
}

#[test]
fn votes_that_came_before_the_commit_count() {
    let mut under = under(3);
    let blocks = under.chain(0, 4, 1);
    for peer in [0, 1, 2] {
        assert_eq!(under.hear(peer, vote(&under, peer, under.checkpoint(&blocks[3]))), []);
    }
    commit(&mut under, 4);
    assert_eq!(under.replica.stable_height(), Height(4));
}

#[test]
fn an_observer_sees_it_become_stable_too() {
    let genesis = Arc::new(genesis(4, small));
    let mut under = Under::new(&genesis, None);
    let blocks = under.chain(0, 4, 1);
    for peer in [0, 1, 2] {
        under.hear(peer, vote(&under, peer, under.checkpoint(&blocks[3])));
    }
    commit(&mut under, 4);
    assert_eq!(under.replica.stable_height(), Height(4));
}

#[test]
fn a_replica_whose_root_or_block_differs_from_a_stable_one_has_diverged() {
    let changes: [fn(&mut Checkpoint); 2] =
        [|checkpoint| checkpoint.state_root = Digest([9; 32]), |checkpoint| checkpoint.block = Digest([9; 32])];
    for change in changes {
        let (mut under, blocks, _) = committed(4);
        let mut checkpoint = under.checkpoint(&blocks[3]);
        change(&mut checkpoint);
        let mut last = Vec::new();
        for peer in [0, 1, 2] {
            last = under.hear(peer, vote(&under, peer, checkpoint));
        }
        let own = under.state_root(&blocks[3]);
        assert_eq!(last, [Effect::Diverged { height: Height(4), certified: checkpoint.state_root, own }]);
        assert_eq!(under.replica.stable_height(), Height(0), "it keeps what it has");
        assert!(!under.replica.show().voting);
    }
}

/// Validator 3 of four that has committed four blocks and does not know yet what state they lead to.
fn rooting() -> (Under, Vec<Block>) {
    let mut under = under(3);
    under.interval = u64::MAX;
    let (blocks, effects) = commit(&mut under, 4);
    under.own(&effects);
    (under, blocks)
}

#[test]
fn nothing_is_signed_before_the_own_state_root_is_known() {
    let (mut under, blocks) = rooting();
    assert!(!under.log.iter().any(|record| matches!(record, Record::Checkpoint(_))));
    let root = under.state_root(&blocks[3]);
    let effects = under.run(Input::StateRoot { height: Height(4), root });
    let [Effect::Say { say, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(*say, Say::Checkpoint(under.checkpoint(&blocks[3])));
    assert_eq!(under.run(Input::StateRoot { height: Height(8), root }), [], "8 is not committed");
}

#[test]
fn what_becomes_stable_before_the_own_root_is_known_waits_for_it() {
    let (mut under, blocks) = rooting();
    let stable = Arc::new(under.stable(&blocks[3], &[0, 1, 2]));
    assert_eq!(under.hear(1, Message::Stable(Arc::clone(&stable))), []);
    assert_eq!(under.replica.stable_height(), Height(0), "nothing is collected that was not compared");
    let mut other = rooting().0;
    other.hear(1, Message::Stable(stable));
    let root = under.state_root(&blocks[3]);
    under.run(Input::StateRoot { height: Height(4), root });
    assert_eq!(under.replica.stable_height(), Height(4));
    let own = Digest([9; 32]);
    let effects = other.run(Input::StateRoot { height: Height(4), root: own });
    assert!(effects.contains(&Effect::Diverged { height: Height(4), certified: root, own }), "{effects:?}");
    assert_eq!(other.replica.stable_height(), Height(0));
    assert!(!other.replica.show().voting);
}

#[test]
fn a_stable_one_is_logged_and_collects_what_it_covers() {
    let (mut under, blocks, _) = committed(4);
    let stable = Arc::new(under.stable(&blocks[3], &[0, 1, 2]));
    let effects = under.hear(1, Message::Stable(Arc::clone(&stable)));
    assert!(matches!(&effects[0], Effect::Persist { record: Record::Stable(logged), .. } if *logged == stable));
    assert_eq!(effects[1..], [Effect::Stable(stable)]);
    assert_eq!(under.replica.committed_digest(Height(3)), None);
    assert_eq!(under.replica.committed_digest(Height(4)), Some(under.digest(&blocks[3])), "the tip stays");
}

#[test]
fn what_holds_for_the_current_view_is_logged_again_behind_it() {
    let mut under = under(3);
    under.start_view(&under.bare_view_change(1));
    under.hold(&[0, 1, 2, 3].map(|number| numbered(1, number)));
    let mut blocks: Vec<Block> = Vec::new();
    for number in 0..4 {
        blocks.push(under.block(1, blocks.last(), &[numbered(1, number)]));
        let proposed = under.propose(1, &blocks[blocks.len() - 1]);
        under.own(&proposed);
        under.votes(VoteKind::Commit, 1, &blocks[blocks.len() - 1], &[0, 1, 2]);
    }
    let effects = under.hear(1, Message::Stable(Arc::new(under.stable(&blocks[3], &[0, 1, 2]))));
    let kinds: Vec<&str> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Persist { record: Record::Stable(_), .. } => "stable checkpoint",
            Effect::Persist { record: Record::ViewChange(_), .. } => "view change",
            Effect::Persist { record: Record::NewView { .. }, .. } => "new view",
            Effect::Stable(_) => "told",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["stable checkpoint", "view change", "new view", "told"]);
}

#[test]
fn a_stable_one_above_the_committed_height_collects_nothing_until_its_block_is_committed() {
    let mut under = under(3);
    let blocks = under.chain(0, 4, 1);
    let stable = Arc::new(under.stable(&blocks[3], &[0, 1, 2]));
    assert_eq!(under.hear(1, Message::Stable(stable)), []);
    assert_eq!(under.replica.stable_height(), Height(0));
    commit(&mut under, 4);
    assert_eq!(under.replica.stable_height(), Height(4));
}

#[test]
fn a_vote_counts_only_from_its_signer_in_its_epoch_and_at_an_interval() {
    let (mut under, blocks, effects) = committed(4);
    under.own(&effects);
    under.hear(0, vote(&under, 0, under.checkpoint(&blocks[3])));
    under.hear(0, vote(&under, 1, under.checkpoint(&blocks[3])));
    let mut checkpoint = under.checkpoint(&blocks[3]);
    checkpoint.epoch = Epoch(1);
    under.hear(2, vote(&under, 2, checkpoint));
    let before = format!("{:?}", under.replica);
    under.hear(2, vote(&under, 2, under.checkpoint(&blocks[2])));
    assert_eq!(format!("{:?}", under.replica), before, "height 3 is no interval");
    assert_eq!(under.replica.stable_height(), Height(0));
}

#[test]
fn the_first_vote_of_a_signer_stays_and_a_second_is_blamed() {
    let (mut under, blocks, effects) = committed(4);
    under.own(&effects);
    let mut other = under.checkpoint(&blocks[3]);
    other.state_root = Digest([9; 32]);
    under.hear(0, vote(&under, 0, other));
    let blamed = under.hear(0, vote(&under, 0, under.checkpoint(&blocks[3])));
    assert_eq!(blamed, [blame(0, "it signed two checkpoints at one height")]);
    under.hear(1, vote(&under, 1, under.checkpoint(&blocks[3])));
    assert_eq!(under.replica.stable_height(), Height(0));
}

#[test]
fn who_voted_for_another_checkpoint_than_the_certified_one_is_named_once_early_or_late() {
    let (mut under, blocks, effects) = committed(4);
    let mut said = under.own(&effects);
    let certified = under.checkpoint(&blocks[3]);
    let other = Checkpoint { state_root: Digest([9; 32]), ..certified };
    let differs = |effects: &[Effect]| -> Vec<(u16, u64)> {
        let named = effects.iter().filter_map(|effect| match effect {
            Effect::CheckpointDiffers { peer, height } => Some((peer.0, height.0)),
            _ => None,
        });
        named.collect()
    };
    said.extend(under.hear(0, vote(&under, 0, other)));
    said.extend(under.hear(1, vote(&under, 1, certified)));
    assert_eq!(differs(&said), [], "nobody knows yet which of them is right");
    let stable = under.hear(2, vote(&under, 2, certified));
    assert!(stable.iter().any(|effect| matches!(effect, Effect::Stable(_))), "{stable:?}");
    assert_eq!(differs(&stable), [(0, 4)]);
    assert_eq!(differs(&under.hear(0, vote(&under, 0, other))), [], "it is known");
    assert_eq!(differs(&under.hear(1, vote(&under, 1, other))), [(1, 4)]);
    assert_eq!(differs(&under.hear(2, vote(&under, 2, certified))), []);
}

#[test]
fn votes_of_one_sender_for_far_heights_are_bounded_and_the_nearest_stay() {
    let mut under = under(3);
    let blocks = under.chain(0, 4, 1);
    for number in (1..=1_000).rev().chain([u64::MAX / 4]) {
        let mut checkpoint = under.checkpoint(&blocks[3]);
        checkpoint.height = Height(4 * number);
        under.hear(0, vote(&under, 0, checkpoint));
    }
    let text = format!("{:?}", under.replica);
    let start = text.find("checkpoint_votes").unwrap();
    let end = text[start..].find(", view:").unwrap();
    let heights = text[start..start + end].matches("Height(").count();
    assert_eq!(
        heights,
        2 * limits::REPLICA_CHECKPOINT_VOTES_PER_SENDER_MAX,
        "each height once as key, once in its vote"
    );
    under.hear(1, vote(&under, 1, under.checkpoint(&blocks[3])));
    under.hear(2, vote(&under, 2, under.checkpoint(&blocks[3])));
    commit(&mut under, 4);
    assert_eq!(under.replica.stable_height(), Height(4), "the vote for the nearest was kept");
}

#[test]
fn one_that_was_lost_with_the_commit_on_the_disk_is_signed_after_a_restart() {
    let (under, ..) = committed(4);
    let log: Vec<Record> =
        under.log.iter().filter(|record| !matches!(record, Record::Checkpoint(_))).cloned().collect();
    let mut again = under.restarted(&log, &[0, 1, 2, 3].map(|number| numbered(1, number)));
    let effects = again.run(Input::Start);
    let said = |effect: &Effect| matches!(effect, Effect::Say { say: Say::Checkpoint(_), .. });
    assert!(effects.iter().any(said), "{effects:?}");
}

#[test]
fn one_that_was_lost_with_the_commit_in_the_derived_state_is_signed_at_the_start() {
    let genesis = Arc::new(genesis(4, small));
    let story = Story::new(&genesis);
    let blocks = story.chain(0, 4, 1);
    let mut under = Under::stopped(&genesis, Some(3), story.base(&blocks[3], 1, &[0, 1, 2]), true);
    let effects = under.run(Input::Start);
    let said = Effect::Say { after: 1, say: Say::Checkpoint(story.checkpoint(&blocks[3])) };
    assert!(effects.contains(&said), "{effects:?}");
}

#[test]
fn one_with_enough_votes_on_the_disk_becomes_stable_at_the_start() {
    let genesis = Arc::new(genesis(1, small));
    let story = Story::new(&genesis);
    let blocks = story.chain(0, 4, 0);
    let base = story.base(&blocks[3], 0, &[0]);
    let mut under = Under::stopped(&genesis, Some(0), base, true);
    under.step(Input::Replay(Record::Checkpoint(story.checkpoint_vote(0, &blocks[3]))));
    under.run(Input::Start);
    assert_eq!(under.replica.stable_height(), Height(4));
}

#[test]
fn one_that_is_on_the_disk_is_not_signed_again() {
    let (under, blocks, _) = committed(4);
    let mut again = under.restarted(&under.log, &[0, 1, 2, 3].map(|number| numbered(1, number)));
    let effects = again.run(Input::Start);
    assert_eq!(again.replica.committed(), Height(4));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Say { say: Say::Checkpoint(_), .. })), "{effects:?}");
    let own: Signed<Checkpoint> = under.checkpoint_vote(3, &blocks[3]);
    let mut status = under.status();
    status.committed = Height(4);
    let told = again.hear(1, Message::Status(status));
    assert!(told.contains(&crate::common::under::tell(1, dtvn_pbft::Unsigned::Checkpoint(own))), "{told:?}");
}

/// Validator 3 of four that committed one checkpoint more than it keeps roots of, and none of them is stable.
fn with_many_roots() -> (Under, Vec<Block>) {
    let genesis = Arc::new(genesis(4, |parameters| {
        small(parameters);
        (parameters.checkpoint_interval, parameters.log_window) = (1, 64);
    }));
    let mut under = Under::new(&genesis, Some(3));
    let (blocks, _) = commit(&mut under, REPLICA_STATE_ROOTS_MAX as u64 + 1);
    assert_eq!(under.replica.committed(), blocks[REPLICA_STATE_ROOTS_MAX].header.height);
    (under, blocks)
}

#[test]
fn the_oldest_state_root_is_forgotten_when_none_becomes_stable_and_its_checkpoint_still_can() {
    for (at, is_kept) in [(0, false), (1, true)] {
        let (mut under, blocks) = with_many_roots();
        let certify = |under: &mut Under, root: Digest| {
            let checkpoint = Checkpoint { state_root: root, ..under.checkpoint(&blocks[at]) };
            for signer in [0, 1, 2] {
                let vote = vote(under, signer, checkpoint);
                under.hear(signer, vote);
            }
        };
        let (mut other, _) = with_many_roots();
        certify(&mut other, Digest([9; 32]));
        assert_eq!(other.replica.show().diverged, is_kept, "a root that is kept is compared");
        let own = under.state_root(&blocks[at]);
        certify(&mut under, own);
        assert_eq!(under.replica.stable_height(), blocks[at].header.height);
        assert!(!under.replica.show().diverged);
    }
}
