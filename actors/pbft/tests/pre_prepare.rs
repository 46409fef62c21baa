//! Fresh proposals (consensus.md sections 2 and 3).

use std::sync::Arc;

use dtvn_messages::block::bundles_root;
use dtvn_messages::{Block, Digest, Epoch, Height, RulesVersion, Timestamp, View, VoteKind, limits};
use dtvn_pbft::{Cause, CertifiedBlock, Effect, Input, Message, Record, Timer, Unsigned};

use crate::common::build::{numbered, validator};
use crate::common::under::{Under, blame, persist, say, small, tell, under, votes_said, wish};
use crate::common::{genesis, sign};

/// Validator 3 of four, which holds the first bundles of validator 1; and the leader's first blocks.
fn follower() -> (Under, Vec<Block>) {
    let mut under = under(3);
    under.hold(&[0, 1, 2, 3].map(|number| numbered(1, number)));
    let blocks = under.chain(0, 3, 1);
    (under, blocks)
}

#[test]
fn a_proposal_is_executed_and_logged_and_prepare_waits_for_both() {
    let (mut under, blocks) = follower();
    let block = &blocks[0];
    let effects = under.quiet(Input::Message { from: validator(0), message: under.pre_prepare(0, block) });
    let proposal = Record::Proposal { view: View(0), block: Arc::new(block.clone()) };
    let (timestamp, bundles) = (block.header.timestamp, block.bundles.clone());
    let execute = Effect::Execute { id: 1, height: Height(1), timestamp, bundles };
    assert_eq!(effects, [execute, persist(1, proposal)], "no vote before the execution");
    let (log_size, log_root) = (block.header.log_size, block.header.log_root);
    let succession = under.steady();
    let effects = under.quiet(Input::Executed { id: 1, log_size, log_root, succession });
    assert_eq!(effects, [say(1, under.prepare(0, block))], "the vote waits for the record");
}

/// What a test changes in an honest block.
type Change = fn(&mut Block);

#[test]
fn as_many_bundles_as_allowed_are_no_fault_and_the_first_block_of_all_has_no_rival() {
    let (mut under, blocks) = follower();
    let metas: Vec<_> = (0..limits::BLOCK_BUNDLES_MAX as u64).map(|number| numbered(1, number)).collect();
    under.hold(&metas);
    let full = under.block(0, None, &metas);
    assert_eq!(votes_said(&under.propose(0, &full)).len(), 1);
    let (mut under, _) = follower();
    let mut elsewhere = blocks[0].clone();
    elsewhere.header.parent = Digest([9; 32]);
    let refused = [blame(0, "its block does not build on the block below"), wish(1)];
    assert_eq!(under.propose(0, &elsewhere), refused, "nothing can have overtaken it");
}

#[test]
fn a_proposal_that_no_honest_leader_makes_is_refused_and_ends_the_view() {
    let too_many = |block: &mut Block| {
        block.bundles = (0..=limits::BLOCK_BUNDLES_MAX).map(|number| numbered(1, number as u64).digest).collect();
        block.header.bundles_root = bundles_root(&block.bundles);
    };
    let twice = |block: &mut Block| {
        block.bundles = vec![numbered(1, 1).digest; 2];
        block.header.bundles_root = bundles_root(&block.bundles);
    };
    let cases: [(&str, Change); 9] = [
        ("its block does not build on the block below", |block| block.header.parent = Digest([9; 32])),
        ("its block is made under other rules", |block| block.header.rules_version = RulesVersion(2)),
        ("its block names another proposer", |block| block.header.proposer = validator(1)),
        ("its block names another view", |block| block.header.proposed_in_view = View(4)),
        ("its block's time does not increase", |block| {
            block.header.timestamp = Timestamp(block.header.timestamp.0 - 10_000);
        }),
        ("its block has too many bundles", too_many),
        ("its block has other bundles than its header says", |block| block.bundles.clear()),
        ("its block names a bundle twice", twice),
        ("its block orders bundles against their numbers", |block| {
            block.bundles = vec![numbered(1, 3).digest];
            block.header.bundles_root = bundles_root(&block.bundles);
        }),
    ];
    for (why, change) in cases {
        let (mut under, blocks) = follower();
        under.propose(0, &blocks[0]);
        let mut block = blocks[1].clone();
        change(&mut block);
        assert_eq!(under.propose(0, &block), [blame(0, why), wish(1)], "{why}");
        assert!(votes_said(&under.propose(0, &blocks[1])).is_empty(), "{why}: the slot stays taken");
        let next = under.propose(0, &blocks[2]);
        assert_eq!(next, [], "{why}: nothing is built on a refused block");
    }
}

#[test]
fn a_proposal_above_the_last_height_of_its_view_is_refused() {
    let genesis = Arc::new(genesis(4, |parameters| {
        small(parameters);
        parameters.rotation_interval = 2;
    }));
    let mut under = Under::new(&genesis, Some(3));
    under.hold(&[0, 1, 2].map(|number| numbered(1, number)));
    let blocks = under.chain(0, 3, 1);
    assert_eq!(votes_said(&under.propose(0, &blocks[0])).len(), 1);
    assert_eq!(votes_said(&under.propose(0, &blocks[1])).len(), 1, "the last height itself is fine");
    let effects = under.propose(0, &blocks[2]);
    assert_eq!(effects, [blame(0, "its block is above the last height of its view"), wish(1)]);
}

#[test]
fn only_the_leader_of_the_view_proposes() {
    let (mut under, blocks) = follower();
    let effects = under.hear(1, under.pre_prepare(0, &blocks[0]));
    assert_eq!(effects, [blame(1, "it proposed a block without being the leader")]);
}

#[test]
fn what_is_committed_above_the_window_or_of_another_epoch_is_passed_over() {
    let (mut under, blocks) = follower();
    under.commit_block(0, &blocks[0]);
    assert_eq!(under.propose(0, &blocks[0]), [], "committed");
    for height in [0, 13, u64::MAX] {
        let mut far = blocks[1].clone();
        far.header.height = Height(height);
        assert_eq!(under.propose(0, &far), [], "stable 0 and window 12 end at 12: {height}");
    }
    let mut foreign = blocks[1].clone();
    foreign.header.epoch = Epoch(1);
    assert_eq!(under.propose(0, &foreign), [], "another epoch");
    assert_eq!(votes_said(&under.propose(0, &blocks[1])).len(), 1, "and none of them took the slot");
}

#[test]
fn the_window_begins_at_the_stable_checkpoint() {
    let (mut under, _) = follower();
    under.hold(&(0..13).map(|number| numbered(1, number)).collect::<Vec<_>>());
    let blocks = under.chain(0, 13, 1);
    for block in &blocks[..12] {
        assert_eq!(votes_said(&under.propose(0, block)).len(), 1, "height {}", block.header.height);
    }
    assert_eq!(under.propose(0, &blocks[12]), [], "height 13 is outside (0, 12]");
    for block in &blocks[..4] {
        under.votes(VoteKind::Commit, 0, block, &[0, 1, 2]);
    }
    under.hear(1, Message::Stable(Arc::new(under.stable(&blocks[3], &[0, 1, 2]))));
    assert_eq!(votes_said(&under.propose(0, &blocks[12])).len(), 1, "inside (4, 16]");
}

#[test]
fn of_two_proposals_for_one_height_the_first_stays_and_the_leader_is_blamed() {
    let (mut under, blocks) = follower();
    assert_eq!(votes_said(&under.propose(0, &blocks[0])), [(1, under.prepare(0, &blocks[0]))]);
    assert_eq!(under.propose(0, &blocks[0]), [], "the same again changes nothing");
    let mut other = blocks[0].clone();
    other.header.timestamp = other.header.timestamp.plus_micros(1);
    let effects = under.propose(0, &other);
    let (voted, proposed) =
        ("it voted for two blocks in one view and height", "it proposed two blocks for one view and height");
    assert_eq!(effects, [blame(0, voted), blame(0, proposed)]);
}

#[test]
fn a_proposal_waits_for_the_one_below() {
    let (mut under, blocks) = follower();
    assert_eq!(under.propose(0, &blocks[2]), []);
    assert_eq!(under.propose(0, &blocks[1]), []);
    let voted: Vec<Height> = votes_said(&under.propose(0, &blocks[0])).iter().map(|(_, vote)| vote.height).collect();
    assert_eq!(voted, [Height(1), Height(2), Height(3)]);
}

#[test]
fn a_proposal_of_a_view_that_is_not_active_waits_until_its_new_view_is_durable() {
    let (mut under, _) = follower();
    under.move_to(1);
    let block = under.block(1, None, &[numbered(1, 0)]);
    assert_eq!(under.propose(1, &block), [], "no NEW-VIEW");
    let view_changes = [0, 1, 2].map(|signer| under.view_change(signer, under.bare_view_change(1)));
    for view_change in &view_changes {
        assert_eq!(under.hear(2, Message::ViewChange(Arc::clone(view_change))), []);
    }
    let adopted = under.hear(1, Message::NewView(under.new_view(1, &view_changes)));
    assert!(votes_said(&adopted).is_empty(), "NEW-VIEW is not durable yet");
    let active = under.own(&adopted);
    assert_eq!(active[0], Effect::Active { view: View(1) });
    assert_eq!(votes_said(&active).iter().map(|(_, vote)| *vote).collect::<Vec<_>>(), [under.prepare(1, &block)]);
}

#[test]
fn a_proposal_of_an_older_view_is_passed_over() {
    let (mut under, blocks) = follower();
    under.move_to(1);
    assert_eq!(under.propose(0, &blocks[0]), []);
    under.start_view(&under.bare_view_change(1));
    assert_eq!(under.propose(0, &blocks[0]), []);
}

#[test]
fn a_proposal_too_far_behind_the_clock_on_arrival_is_not_taken_and_nobody_is_blamed() {
    let (mut under, blocks) = follower();
    under.now.wall = blocks[0].header.timestamp.plus_micros(500_001);
    assert_eq!(under.propose(0, &blocks[0]), []);
    under.now.wall = blocks[0].header.timestamp.plus_micros(500_000);
    assert_eq!(votes_said(&under.propose(0, &blocks[0])).len(), 1, "just in time, and the slot is free");
}

#[test]
fn a_proposal_may_come_later_with_each_view_that_fails_in_a_network_slower_than_the_drift() {
    for (view, late_us) in [(1, 1_000_000), (2, 2_000_000)] {
        for (more_us, is_taken) in [(0, true), (1, false)] {
            let (mut under, _) = follower();
            (1..=view).for_each(|view| _ = under.start_view(&under.bare_view_change(view)));
            let block = under.block(view, None, &[numbered(1, 0)]);
            under.now.wall = block.header.timestamp.plus_micros(late_us + more_us);
            assert_eq!(votes_said(&under.propose(view, &block)).len() == 1, is_taken, "view {view}, {more_us}");
        }
    }
}

#[test]
fn what_waited_here_for_the_block_below_does_not_age() {
    let (mut under, blocks) = follower();
    under.propose(0, &blocks[1]);
    under.now.wall = blocks[0].header.timestamp.plus_micros(500_000);
    under.propose(0, &blocks[0]);
    let mut late = blocks[2].clone();
    late.header.timestamp = blocks[2].header.timestamp;
    under.now.wall = blocks[2].header.timestamp.plus_micros(500_001);
    assert_eq!(under.propose(0, &late), [], "this one came too late");
    let mut other = follower().0;
    other.propose(0, &blocks[1]);
    other.now.wall = blocks[1].header.timestamp.plus_micros(900_000);
    other.now.monotonic_us += 900_000;
    let certified = CertifiedBlock { certificate: None, ..other.certified(0, &blocks[0], &[]) };
    let proof = other.committed(0, &blocks[0], &[0, 1, 2]);
    other.hear(1, Message::Committed(Arc::new(proof.clone())));
    let certified = CertifiedBlock { certificate: Some(proof.certificate), ..certified };
    let effects = other.run(Input::Certified(vec![certified]));
    assert_eq!(votes_said(&effects).len(), 1, "this one came in time, and waited here");
}

#[test]
fn a_proposal_ahead_of_the_clock_is_held_until_the_clock_gets_there() {
    let (mut under, blocks) = follower();
    under.now.wall = Timestamp(blocks[0].header.timestamp.0 - 700_000);
    assert_eq!(under.propose(0, &blocks[0]), []);
    assert_eq!(under.due_in_us(Timer::Hold), Some(200_000), "500 ms ahead is allowed");
    under.wait_us(100_000);
    assert_eq!(under.fire_now(Timer::Hold), [], "the clock is not there yet");
    assert_eq!(votes_said(&under.fire(Timer::Hold)).len(), 1);
}

#[test]
fn a_proposal_just_as_far_ahead_as_allowed_is_not_held_and_one_held_for_a_moment_waits_a_millisecond() {
    for (ahead_us, held_us) in [(500_000, None), (500_001, Some(1_000))] {
        let (mut under, blocks) = follower();
        under.now.wall = Timestamp(blocks[0].header.timestamp.0 - ahead_us);
        let effects = under.propose(0, &blocks[0]);
        assert_eq!(votes_said(&effects).is_empty(), held_us.is_some(), "{ahead_us}");
        assert_eq!(under.due_in_us(Timer::Hold), held_us, "{ahead_us}");
    }
}

#[test]
fn a_proposal_for_the_end_of_all_times_is_held_and_does_no_harm() {
    let (mut under, blocks) = follower();
    let mut block = blocks[0].clone();
    block.header.timestamp = Timestamp(u64::MAX);
    assert_eq!(under.propose(0, &block), []);
    assert_eq!(under.due_in_us(Timer::View), Some(1_000_000), "it is work: the view can end");
    under.now.wall = Timestamp(u64::MAX);
    assert!(under.fire_now(Timer::Hold).len() <= 6);
}

#[test]
fn the_hold_timer_runs_for_the_first_of_those_that_are_held() {
    let (mut under, blocks) = follower();
    under.now.wall = Timestamp(blocks[0].header.timestamp.0 - 700_000);
    under.propose(0, &blocks[0]);
    under.propose(0, &blocks[1]);
    assert_eq!(under.due_in_us(Timer::Hold), Some(200_000));
    let effects = under.fire(Timer::Hold);
    assert_eq!(votes_said(&effects).iter().map(|(_, vote)| vote.height).collect::<Vec<_>>(), [Height(1)]);
    assert_eq!(under.due_in_us(Timer::Hold), Some(10_000));
}

#[test]
fn no_clock_is_asked_about_a_block_that_a_quorum_prepared() {
    let ahead = |under: &mut Under, block: &Block| under.now.wall = Timestamp(block.header.timestamp.0 - 700_000);
    let (mut late, blocks) = follower();
    late.now.wall = blocks[0].header.timestamp.plus_micros(900_000);
    late.votes(VoteKind::Prepare, 0, &blocks[0], &[1, 2]);
    assert_eq!(votes_said(&late.propose(0, &blocks[0])).len(), 2, "behind the clock: PREPARE and COMMIT");

    let (mut early, _) = follower();
    ahead(&mut early, &blocks[0]);
    early.votes(VoteKind::Prepare, 0, &blocks[0], &[1, 2]);
    assert_eq!(votes_said(&early.propose(0, &blocks[0])).len(), 2, "ahead of the clock: PREPARE and COMMIT");

    let (mut held, _) = follower();
    ahead(&mut held, &blocks[0]);
    assert_eq!(held.propose(0, &blocks[0]), []);
    let prepared = Arc::new(held.prepared(0, &blocks[0], &[0, 1, 2]));
    let effects = held.hear(2, Message::Prepared(prepared));
    assert_eq!(votes_said(&effects).len(), 2, "a certificate takes back the hold");
}

#[test]
fn bundles_that_are_not_here_are_wanted_from_the_leader_first_and_the_vote_waits_for_them() {
    let mut under = under(3);
    let block = under.block(0, None, &[numbered(1, 0), numbered(2, 0)]);
    under.bundle(numbered(1, 0));
    let digests = vec![numbered(2, 0).digest];
    let holders = [0, 1, 2].map(validator).to_vec();
    assert_eq!(under.propose(0, &block), [Effect::Want { digests, holders, proposer: Some(validator(0)) }]);
    let effects = under.bundle(numbered(2, 0));
    assert_eq!(votes_said(&effects), [(1, under.prepare(0, &block))]);
}

#[test]
fn a_block_with_too_many_operations_or_bytes_is_refused_unless_it_has_one_bundle() {
    let half = limits::BLOCK_OPERATIONS_MAX / 2 + 1;
    let (mut under, _) = follower();
    let mut metas = [numbered(2, 0), numbered(2, 1)];
    metas.iter_mut().for_each(|meta| meta.operations = half);
    under.hold(&metas);
    let block = under.block(0, None, &metas);
    assert_eq!(under.propose(0, &block), [blame(0, "its block has too many operations or bytes"), wish(1)]);
    for (more, is_fine) in [((0, 0), true), ((1, 0), false), ((0, 1), false)] {
        let (mut under, _) = follower();
        let mut metas = [numbered(2, 0), numbered(2, 1)];
        (metas[0].operations, metas[0].bytes) = (limits::BLOCK_OPERATIONS_MAX - 1, limits::BLOCK_BYTES_MAX - 1);
        (metas[1].operations, metas[1].bytes) = (1 + more.0, 1 + more.1);
        under.hold(&metas);
        let block = under.block(0, None, &metas);
        assert_eq!(votes_said(&under.propose(0, &block)).len() == 1, is_fine, "{more:?}");
    }
    let mut under = crate::common::under::under(3);
    let mut large = numbered(2, 0);
    large.bytes = limits::BLOCK_BYTES_MAX + 1;
    under.bundle(large);
    let block = under.block(0, None, &[large]);
    assert_eq!(votes_said(&under.propose(0, &block)).len(), 1);
}

#[test]
fn empty_blocks_are_accepted_up_to_a_checkpoint_interval_in_a_row() {
    let mut under = under(3);
    let mut below: Option<Block> = None;
    for height in 1..=4 {
        let block = under.block(0, below.as_ref(), &[]);
        assert_eq!(votes_said(&under.propose(0, &block)).len(), 1, "height {height}");
        below = Some(block);
    }
    let block = under.block(0, below.as_ref(), &[]);
    assert_eq!(under.propose(0, &block), [blame(0, "its block is one empty block too many"), wish(1)]);
}

#[test]
fn selected_empty_blocks_count_as_empty_too() {
    let mut under = under(3);
    let mut blocks: Vec<Block> = Vec::new();
    for _ in 0..4 {
        blocks.push(under.block(0, blocks.last(), &[]));
    }
    let mut shown = under.bare_view_change(1);
    shown.prepared = blocks.iter().map(|block| under.prepared(0, block, &[0, 1, 2])).collect();
    under.start_view(&shown);
    let next = under.block(1, blocks.last(), &[]);
    let effects = under.propose(1, &next);
    assert_eq!(effects, [blame(1, "its block is one empty block too many"), wish(2)]);
}

#[test]
fn below_the_base_of_its_view_a_replica_syncs_before_it_takes_a_proposal() {
    let (mut under, blocks) = follower();
    let mut shown = under.bare_view_change(1);
    shown.committed = Some(under.committed(0, &blocks[1], &[0, 1, 2]));
    under.start_view(&shown);
    let next = under.block(1, Some(&blocks[1]), &[numbered(1, 2)]);
    assert_eq!(under.propose(1, &next), [], "neither refused nor voted for");
    let synced = vec![under.certified(0, &blocks[0], &[]), under.certified(0, &blocks[1], &[0, 1, 2])];
    let effects = under.run(Input::Certified(synced));
    assert_eq!(under.replica.committed(), Height(2));
    assert_eq!(votes_said(&effects).iter().map(|(_, vote)| *vote).collect::<Vec<_>>(), [under.prepare(1, &next)]);
}

#[test]
fn early_messages_of_one_sender_are_bounded_and_the_farthest_future_goes_first() {
    let (mut under, blocks) = follower();
    let vote =
        |under: &Under, view: u64| Message::Vote(sign(&under.genesis, validator(2), under.prepare(view, &blocks[0])));
    under.hear(2, vote(&under, 1));
    for view in (1_000..1_000 + limits::REPLICA_EARLY_PER_SENDER_MAX as u64 + 10).rev() {
        assert_eq!(under.hear(2, vote(&under, view)), []);
    }
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &blocks[0], &[0, 1, 2])];
    let fetched = under.start_view(&shown);
    let is_fetch = |effect: &Effect| *effect == tell(0, Unsigned::FetchBlocks(vec![under.digest(&blocks[0])]));
    assert!(fetched.iter().any(is_fetch), "the bundle list is not known: {fetched:?}");
    let block = Message::Block { block: Arc::new(blocks[0].clone()), digest: under.digest(&blocks[0]) };
    let prepare = under.hear(0, block);
    assert_eq!(votes_said(&prepare).len(), 1);
    under.own(&prepare);
    let prepared = under.votes(VoteKind::Prepare, 1, &blocks[0], &[0]);
    assert_eq!(
        votes_said(&prepared).len(),
        1,
        "the nearest early vote was kept: with it and its own there is a quorum"
    );
}

#[test]
fn a_view_that_ends_for_a_bad_proposal_says_so() {
    let (mut under, blocks) = follower();
    let mut block = blocks[0].clone();
    block.header.proposer = validator(2);
    under.propose(0, &block);
    let effects = under.move_to(1);
    assert!(effects.contains(&Effect::Moved { view: View(1), cause: Cause::BadProposal }));
}

#[test]
fn a_leader_is_not_blamed_for_a_block_on_one_that_lost_in_a_later_view() {
    for (view, blamed) in [(1, false), (0, true)] {
        let (mut under, blocks) = follower();
        let other = under.block(view, None, &[numbered(1, 0), numbered(1, 1)]);
        let certified = under.certified(view, &other, &[0, 1, 2]);
        under.run(Input::Certified(vec![certified]));
        assert_eq!(under.replica.committed(), Height(1));
        let effects = under.propose(0, &blocks[1]);
        assert_eq!(effects.contains(&blame(0, "its block does not build on the block below")), blamed, "{effects:?}");
        assert_eq!(effects.contains(&wish(1)), blamed, "{effects:?}");
    }
}
