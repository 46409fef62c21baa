//! Timers: the table at the head of `wish` (consensus.md section 6).

use std::sync::Arc;

use dtvn_messages::genesis::ConsensusParameters;
use dtvn_messages::{Block, Height, View, VoteKind};
use dtvn_pbft::{Cause, Effect, Input, Message, Timer};

use crate::common::build::numbered;
use crate::common::genesis;
use crate::common::under::{Under, small, under, wish};

const SECOND_US: u64 = 1_000_000;

fn with(change: fn(&mut ConsensusParameters)) -> Under {
    let genesis = Arc::new(genesis(4, |parameters| {
        small(parameters);
        change(parameters);
    }));
    Under::new(&genesis, Some(3))
}

/// Accepts the next block of the leader of view 0 with one bundle, or with none.
fn accept(under: &mut Under, below: Option<&Block>, number: Option<u64>) -> Block {
    let metas: Vec<_> = number.into_iter().map(|number| numbered(1, number)).collect();
    under.hold(&metas);
    let block = under.block(0, below, &metas);
    under.now.wall = block.header.timestamp;
    under.propose(0, &block);
    block
}

fn commit(under: &mut Under, view: u64, block: &Block) {
    under.votes(VoteKind::Commit, view, block, &[0, 1, 2]);
    assert_eq!(under.replica.committed(), block.header.height);
}

fn timeout_us(under: &Under) -> u64 {
    under.due_in_us(Timer::View).unwrap()
}

/// Why a replica moved, and to where.
fn moved(effects: &[Effect]) -> (View, Cause) {
    let moved = effects.iter().find_map(|effect| match effect {
        Effect::Moved { view, cause } => Some((*view, *cause)),
        _ => None,
    });
    moved.unwrap()
}

#[test]
fn with_nothing_pending_no_view_timer_runs() {
    let under = under(3);
    assert_eq!(under.due_in_us(Timer::View), None);
    assert_eq!(under.due_in_us(Timer::Fairness), None);
}

#[test]
fn an_accepted_block_starts_it_and_only_the_commit_of_a_non_empty_block_resets_it() {
    let mut under = under(3);
    let first = accept(&mut under, None, Some(0));
    assert_eq!(timeout_us(&under), SECOND_US);
    under.wait_us(300_000);
    let second = accept(&mut under, Some(&first), Some(1));
    assert_eq!(timeout_us(&under), 700_000, "a proposal does not reset it");
    under.votes(VoteKind::Prepare, 0, &first, &[0, 1, 2]);
    under.bundle(numbered(2, 0));
    assert_eq!(timeout_us(&under), 700_000, "votes and bundles do not");
    commit(&mut under, 0, &first);
    assert_eq!(timeout_us(&under), SECOND_US, "a commit does");
    commit(&mut under, 0, &second);
    under.wait_us(10 * SECOND_US);
    assert_eq!(under.fire_now(Timer::View), [], "with nothing left it does not run");
}

#[test]
fn the_commit_of_an_empty_block_does_not_reset_it() {
    let mut under = under(3);
    let first = accept(&mut under, None, None);
    accept(&mut under, Some(&first), Some(0));
    under.wait_us(300_000);
    commit(&mut under, 0, &first);
    assert_eq!(timeout_us(&under), 700_000);
}

#[test]
fn a_timer_that_was_set_again_is_recognised_by_its_number() {
    let mut under = under(3);
    let first = accept(&mut under, None, Some(0));
    accept(&mut under, Some(&first), Some(1));
    under.wait_us(SECOND_US);
    commit(&mut under, 0, &first);
    let old = Input::Timer { timer: Timer::View, generation: 1 };
    assert_eq!(under.run(old), [], "no wish");
}

#[test]
fn each_cause_is_told_apart() {
    let mut quiet = under(3);
    quiet.bundle(numbered(3, 0));
    quiet.fire(Timer::Relay);
    assert_eq!(quiet.fire(Timer::View), [wish(1)]);
    assert_eq!(moved(&quiet.move_to(1)), (View(1), Cause::NoProposal));
    assert_eq!(quiet.fire(Timer::View), [wish(2)]);
    assert_eq!(moved(&quiet.move_to(2)), (View(2), Cause::BadNewView));

    let mut stuck = under(3);
    accept(&mut stuck, None, Some(0));
    stuck.fire(Timer::View);
    assert_eq!(moved(&stuck.move_to(1)), (View(1), Cause::NoQuorum));

    let mut unfair = with(|parameters| parameters.view_timeout_cap_ms = 1_000);
    unfair.bundle(numbered(3, 0));
    unfair.fire(Timer::Relay);
    let wait_us = unfair.due_in_us(Timer::Fairness).unwrap();
    assert_eq!(wait_us, 8 * SECOND_US);
    let mut below: Option<Block> = None;
    for number in 0..10 {
        unfair.wait_us(800_000);
        let block = accept(&mut unfair, below.as_ref(), Some(number));
        commit(&mut unfair, 0, &block);
        below = Some(block);
    }
    assert_eq!(unfair.fire(Timer::Fairness), [wish(1)], "others' commits do not help it");
    assert_eq!(moved(&unfair.move_to(1)), (View(1), Cause::Unfair));
}

#[test]
fn only_its_own_commit_or_a_new_view_resets_the_fairness_timer() {
    let mut under = under(3);
    under.bundle(numbered(3, 0));
    under.fire(Timer::Relay);
    under.wait_us(SECOND_US);
    let block = accept(&mut under, None, Some(0));
    commit(&mut under, 0, &block);
    assert_eq!(under.due_in_us(Timer::Fairness), Some(7 * SECOND_US));
    under.move_to(1);
    assert_eq!(under.due_in_us(Timer::Fairness), Some(16 * SECOND_US), "a new view, with doubled patience");
    under.start_view(&{
        let mut shown = under.bare_view_change(1);
        shown.committed = Some(under.committed(0, &block, &[0, 1, 2]));
        shown
    });
    let own = under.block(1, Some(&block), &[numbered(3, 0)]);
    under.now.wall = own.header.timestamp;
    under.propose(1, &own);
    commit(&mut under, 1, &own);
    under.wait_us(60 * SECOND_US);
    assert_eq!(under.fire_now(Timer::Fairness), [], "its commit ends it");
}

#[test]
fn the_timeout_doubles_with_each_failed_view_up_to_a_cap() {
    let mut under = with(|parameters| parameters.view_timeout_cap_ms = 5_000);
    let mut timeouts = Vec::new();
    for view in 1..=5 {
        under.move_to(view);
        timeouts.push(timeout_us(&under) / 1_000);
    }
    assert_eq!(timeouts, [2_000, 4_000, 5_000, 5_000, 5_000]);
}

#[test]
fn it_falls_back_by_one_halving_for_each_pipeline_of_commits_in_one_view() {
    let mut under = with(|parameters| {
        parameters.log_window = 40;
        parameters.pipeline = 2;
    });
    under.move_to(1);
    under.move_to(2);
    under.move_to(4);
    assert_eq!(timeout_us(&under), 8 * SECOND_US);
    under.start_view(&under.bare_view_change(4));
    let mut below: Option<Block> = None;
    let mut timeouts = Vec::new();
    for number in 0..7 {
        under.hold(&[numbered(1, number)]);
        let block = under.block(4, below.as_ref(), &[numbered(1, number)]);
        under.now.wall = block.header.timestamp;
        under.propose(4, &block);
        timeouts.push(timeout_us(&under) / SECOND_US);
        commit(&mut under, 4, &block);
        below = Some(block);
    }
    assert_eq!(timeouts[1..], [8, 4, 4, 2, 2, 1], "after 2, 4 and 6 commits");
}

#[test]
fn blocks_that_commit_together_count_each() {
    let mut under = with(|parameters| parameters.pipeline = 2);
    under.move_to(1);
    under.move_to(2);
    under.start_view(&under.bare_view_change(2));
    let mut blocks: Vec<Block> = Vec::new();
    for number in 0..5 {
        under.hold(&[numbered(1, number)]);
        blocks.push(under.block(2, blocks.last(), &[numbered(1, number)]));
        under.now.wall = blocks[blocks.len() - 1].header.timestamp;
        under.propose(2, &blocks[blocks.len() - 1]);
    }
    commit(&mut under, 2, &blocks[3]);
    assert_eq!(timeout_us(&under), SECOND_US, "four commits halve twice");
}

#[test]
fn a_quorum_that_is_connected_again_needs_no_patience_any_more_and_one_that_stays_gets_none() {
    let mut under = under(3);
    under.move_to(1);
    under.move_to(2);
    assert_eq!(timeout_us(&under), 4 * SECOND_US);
    under.run(Input::QuorumConnected(false));
    assert_eq!(timeout_us(&under), 4 * SECOND_US);
    under.run(Input::QuorumConnected(true));
    assert_eq!(timeout_us(&under), SECOND_US);
    under.wait_us(400_000);
    under.run(Input::QuorumConnected(true));
    assert_eq!(timeout_us(&under), 600_000, "it was connected");
}

#[test]
fn a_timer_that_fires_much_too_late_is_armed_once_more() {
    let mut under = under(3);
    accept(&mut under, None, Some(0));
    under.wait_us(30 * SECOND_US);
    assert_eq!(under.fire_now(Timer::View), [], "the process was paused");
    assert_eq!(timeout_us(&under), SECOND_US);
    under.wait_us(30 * SECOND_US);
    assert_eq!(under.fire_now(Timer::View), [wish(1)], "and once only");
}

#[test]
fn a_little_late_is_in_time() {
    let mut under = under(3);
    accept(&mut under, None, Some(0));
    under.wait_us(1_500_000);
    assert_eq!(under.fire_now(Timer::View), [wish(1)]);
}

#[test]
fn the_view_timer_goes_on_after_it_fired() {
    let mut under = under(3);
    accept(&mut under, None, Some(0));
    under.fire(Timer::View);
    assert_eq!(timeout_us(&under), SECOND_US);
}

#[test]
fn from_the_move_on_it_runs_until_the_first_commit_and_new_view_without_work_ends_it() {
    let mut under = under(3);
    under.move_to(1);
    assert_eq!(timeout_us(&under), 2 * SECOND_US, "with nothing pending too: NEW-VIEW is");
    under.wait_us(300_000);
    under.start_view(&under.bare_view_change(1));
    under.wait_us(60 * SECOND_US);
    assert_eq!(under.fire_now(Timer::View), [], "no work: idle");

    let mut under = crate::common::under::under(3);
    let block = accept(&mut under, None, Some(0));
    under.move_to(1);
    under.wait_us(300_000);
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &block, &[0, 1, 2])];
    under.start_view(&shown);
    assert_eq!(timeout_us(&under), 1_700_000, "NEW-VIEW does not reset it");
}

#[test]
fn a_view_ends_by_itself_at_its_last_height_without_a_wish_and_without_more_patience() {
    let mut under = with(|parameters| parameters.rotation_interval = 2);
    let first = accept(&mut under, None, Some(0));
    commit(&mut under, 0, &first);
    assert_eq!(under.replica.show().view, View(0));
    let second = accept(&mut under, Some(&first), Some(1));
    let effects = under.votes(VoteKind::Commit, 0, &second, &[0, 1, 2]);
    assert_eq!(moved(&effects), (View(1), Cause::Planned));
    assert!(!effects.contains(&wish(1)), "VIEW-CHANGE says it all");
    assert_eq!(timeout_us(&under), SECOND_US);
}

#[test]
fn the_last_height_counts_from_the_end_of_the_selection() {
    let mut under = with(|parameters| parameters.rotation_interval = 2);
    let first = accept(&mut under, None, Some(0));
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &first, &[0, 1, 2])];
    under.start_view(&shown);
    commit(&mut under, 1, &first);
    let mut below = first;
    for number in 1..=2 {
        assert_eq!(under.replica.show().view, View(1), "height {number}");
        under.hold(&[numbered(1, number)]);
        let block = under.block(1, Some(&below), &[numbered(1, number)]);
        under.now.wall = block.header.timestamp;
        under.propose(1, &block);
        commit(&mut under, 1, &block);
        below = block;
    }
    assert_eq!((under.replica.committed(), under.replica.show().view), (Height(3), View(2)));
}

#[test]
fn who_is_overtaken_at_the_last_height_joins_a_planned_move() {
    let mut under = with(|parameters| parameters.rotation_interval = 1);
    let block = under.block(0, None, &[numbered(1, 0)]);
    let mut shown = under.bare_view_change(1);
    shown.committed = Some(under.committed(0, &block, &[0, 1, 2]));
    let mut effects = Vec::new();
    for peer in [0, 1, 2] {
        effects.extend(under.hear(peer, Message::ViewChange(under.view_change(peer, shown.clone()))));
    }
    assert_eq!(moved(&effects), (View(1), Cause::Planned), "it has not committed the last block itself");
}

#[test]
fn after_its_time_a_view_is_wished_to_end_while_there_is_work() {
    let mut under = under(3);
    assert_eq!(under.due_in_us(Timer::Rotation), Some(60 * SECOND_US));
    assert_eq!(under.fire(Timer::Rotation), [], "nothing to do");
    under.bundle(numbered(1, 0));
    let block = under.block(0, None, &[numbered(1, 0)]);
    under.now.wall = block.header.timestamp;
    assert!(under.propose(0, &block).contains(&wish(1)));
    assert_eq!(under.replica.show().view, View(0), "and voting goes on");
    assert_eq!(moved(&under.move_to(1)), (View(1), Cause::Planned));
    assert_eq!(timeout_us(&under), SECOND_US, "a planned move does not double it");
}
