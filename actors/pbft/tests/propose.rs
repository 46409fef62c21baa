//! The leader's blocks (consensus.md section 3, items 6 and 7, and section 6).

use std::sync::Arc;

use dtvn_messages::block::bundles_root;
use dtvn_messages::genesis::ConsensusParameters;
use dtvn_messages::{Block, Height, Timestamp, View, VoteKind, limits};
use dtvn_pbft::{BundleMeta, Effect, Input, Message, Record};

use crate::common::build::{numbered, started, validator};
use crate::common::genesis;
use crate::common::under::{Under, persist, small, under, votes_said};

fn leader(change: fn(&mut ConsensusParameters)) -> Under {
    let genesis = Arc::new(genesis(4, |parameters| {
        small(parameters);
        change(parameters);
    }));
    Under::new(&genesis, Some(0))
}

fn proposed(effects: &[Effect]) -> Vec<Arc<Block>> {
    let block = |effect: &Effect| match effect {
        Effect::Propose { block, .. } => Some(Arc::clone(block)),
        _ => None,
    };
    effects.iter().filter_map(block).collect()
}

fn commit(under: &mut Under, view: u64, block: &Block) -> Vec<Effect> {
    let effects = under.votes(VoteKind::Commit, view, block, &[1, 2, 3]);
    assert_eq!(under.replica.committed(), block.header.height);
    effects
}

#[test]
fn it_executes_then_logs_then_proposes_and_the_proposal_is_its_prepare() {
    let mut under = under(0);
    let effects = under.quiet(Input::Bundle(numbered(2, 0)));
    let block = under.block(0, None, &[numbered(2, 0)]);
    let (timestamp, bundles) = (block.header.timestamp, block.bundles.clone());
    assert_eq!(effects, [Effect::Execute { id: 1, height: Height(1), timestamp, bundles }]);
    let (log_size, log_root) = (block.header.log_size, block.header.log_root);
    let succession = under.steady();
    let effects = under.quiet(Input::Executed { id: 1, log_size, log_root, succession });
    let (digest, block) = (under.digest(&block), Arc::new(block));
    let record = Record::Proposal { view: View(0), block: Arc::clone(&block) };
    assert_eq!(effects, [persist(1, record), Effect::Propose { after: 1, view: View(0), block, digest }]);
    assert_eq!(under.quiet(Input::Bundle(numbered(2, 0))), [], "one proposal for each view and height");
}

#[test]
fn at_most_a_pipeline_of_blocks_is_in_flight_and_work_gathers_meanwhile() {
    let mut under = leader(|parameters| parameters.pipeline = 2);
    let first = proposed(&under.bundle(numbered(1, 0)));
    let second = proposed(&under.bundle(numbered(1, 1)));
    assert_eq!((first.len(), second.len()), (1, 1));
    for number in 2..5 {
        assert_eq!(under.bundle(numbered(1, number)), []);
    }
    let third = proposed(&commit(&mut under, 0, &first[0]));
    assert_eq!(third[0].bundles, [2, 3, 4].map(|number| numbered(1, number).digest));
    assert_eq!(third[0].header.parent, under.digest(&second[0]));
}

#[test]
fn bundles_go_first_come_first_served_each_origin_in_its_order() {
    let mut under = leader(|parameters| parameters.pipeline = 1);
    let first = proposed(&under.bundle(numbered(3, 0)));
    for meta in [numbered(2, 1), numbered(1, 0), numbered(2, 0), numbered(3, 1), numbered(1, 2)] {
        under.bundle(meta);
    }
    let second = proposed(&commit(&mut under, 0, &first[0]));
    let expected = [numbered(1, 0), numbered(2, 0), numbered(2, 1), numbered(3, 1)];
    assert_eq!(second[0].bundles, expected.map(|meta| meta.digest), "number 1 of origin 1 is missing");
}

#[test]
fn a_block_is_filled_to_the_last_operation_and_the_last_byte() {
    for (more, taken) in [((0, 0), 2), ((1, 0), 1), ((0, 1), 1)] {
        let mut under = leader(|parameters| parameters.pipeline = 1);
        let first = proposed(&under.bundle(numbered(3, 0)));
        let (operations, bytes) = (limits::BLOCK_OPERATIONS_MAX - 1, limits::BLOCK_BYTES_MAX - 1);
        under.bundle(BundleMeta { operations, bytes, ..numbered(1, 0) });
        under.bundle(BundleMeta { operations: 1 + more.0, bytes: 1 + more.1, ..numbered(1, 1) });
        let second = proposed(&commit(&mut under, 0, &first[0]));
        assert_eq!(second[0].bundles.len(), taken, "{more:?}");
    }
}

#[test]
fn a_block_stops_at_its_limits_and_takes_one_bundle_however_large() {
    let large = |origin: u16, number: u64| BundleMeta {
        operations: limits::BLOCK_OPERATIONS_MAX / 2 + 1,
        ..numbered(origin, number)
    };
    let mut under = leader(|parameters| parameters.pipeline = 1);
    let first = proposed(&under.bundle(numbered(3, 0)));
    let huge = BundleMeta { bytes: limits::BLOCK_BYTES_MAX + 1, ..numbered(2, 0) };
    for meta in [large(1, 0), large(1, 1), huge] {
        under.bundle(meta);
    }
    let second = proposed(&commit(&mut under, 0, &first[0]));
    assert_eq!(second[0].bundles, [large(1, 0).digest]);
    let third = proposed(&commit(&mut under, 0, &second[0]));
    assert_eq!(third[0].bundles, [large(1, 1).digest]);
    let fourth = proposed(&commit(&mut under, 0, &third[0]));
    assert_eq!(fourth[0].bundles, [huge.digest]);
}

#[test]
fn with_nothing_to_order_nothing_is_proposed() {
    let mut under = under(0);
    assert_eq!(under.bundle(numbered(1, 1)), [], "behind a gap");
    assert_eq!(under.bundle(BundleMeta { position: numbered(1, 3).position, ..numbered(2, 3) }), []);
}

#[test]
fn nothing_is_proposed_above_the_window_or_the_last_height_of_the_view() {
    let mut window = leader(|parameters| parameters.pipeline = 4);
    let mut heights = Vec::new();
    for number in 0..16 {
        for block in proposed(&window.bundle(numbered(1, number))) {
            heights.push(block.header.height.0);
            window.votes(VoteKind::Commit, 0, &block, &[1, 2, 3]);
        }
    }
    assert_eq!(heights, (1..=12).collect::<Vec<_>>(), "no checkpoint is stable");

    let mut last = leader(|parameters| parameters.rotation_interval = 2);
    let heights: Vec<u64> = (0..4)
        .flat_map(|number| proposed(&last.bundle(numbered(1, number))))
        .map(|block| block.header.height.0)
        .collect();
    assert_eq!(heights, [1, 2]);
}

#[test]
fn the_time_of_a_block_is_the_clock_or_just_after_its_parent() {
    let mut under = under(0);
    under.now.wall = Timestamp(under.time_at(1).0 + 7);
    let first = proposed(&under.bundle(numbered(1, 0)));
    assert_eq!(first[0].header.timestamp, under.now.wall);
    under.now.wall = Timestamp(0);
    let second = proposed(&under.bundle(numbered(1, 1)));
    assert_eq!(second[0].header.timestamp, first[0].header.timestamp.plus_micros(1));
}

#[test]
fn only_the_leader_of_an_active_view_proposes() {
    let mut follower = under(3);
    assert_eq!(follower.bundle(numbered(1, 0)), []);
    let mut moved = under(1);
    moved.move_to(1);
    assert_eq!(moved.bundle(numbered(1, 0)), [], "no NEW-VIEW");
}

#[test]
fn a_validator_that_does_not_vote_proposes_nothing() {
    let genesis = Arc::new(genesis(4, small));
    let mut under = Under::stopped(&genesis, Some(0), dtvn_pbft::Base::genesis(&genesis), false);
    under.run(Input::Start);
    assert_eq!(under.bundle(numbered(1, 0)), []);
}

#[test]
fn a_block_that_is_not_finished_when_the_view_ends_is_dropped() {
    let mut under = under(0);
    under.quiet(Input::Bundle(numbered(1, 0)));
    let moved = under.move_to(1);
    assert!(moved.contains(&Effect::RollBack { to: Height(0) }), "{moved:?}");
    let block = under.block(0, None, &[numbered(1, 0)]);
    let (log_size, log_root) = (block.header.log_size, block.header.log_root);
    let succession = under.steady();
    assert_eq!(under.quiet(Input::Executed { id: 1, log_size, log_root, succession }), []);
}

/// Starts view `view`, which validator 0 leads, after views that failed at height 1.
fn lead_again(under: &mut Under, view: u64) -> Vec<Effect> {
    let mut effects = under.move_to(view);
    for peer in [1, 2, 3] {
        let view_change = under.view_change(peer, under.bare_view_change(view));
        effects.extend(under.hear(peer, Message::ViewChange(view_change)));
    }
    under.settle(effects)
}

#[test]
fn after_two_failed_views_at_one_height_a_leader_proposes_one_bundle_and_skips_the_one_that_failed_last() {
    let mut under = under(0);
    under.hold(&[numbered(1, 0), numbered(2, 0), numbered(2, 1)]);
    under.move_to(1);
    let second = proposed(&lead_again(&mut under, 4));
    assert_eq!(second[0].bundles, [numbered(1, 0).digest], "two failed: one bundle in each block");
    let third = proposed(&lead_again(&mut under, 8));
    assert_eq!(third[0].bundles, [numbered(2, 0).digest], "the one that failed last is skipped");
    assert_eq!(third[1].bundles, [numbered(2, 1).digest]);
    commit(&mut under, 8, &third[0]);
    let next = proposed(&commit(&mut under, 8, &third[1]));
    let later = proposed(&under.bundle(numbered(3, 0)));
    let all: Vec<_> = third.iter().chain(&next).chain(&later).flat_map(|block| block.bundles.clone()).collect();
    assert!(all.contains(&numbered(1, 0).digest), "for its turn only: {all:?}");
}

#[test]
fn the_one_that_failed_last_is_proposed_if_there_is_nothing_else() {
    let mut under = under(0);
    under.hold(&[numbered(1, 0)]);
    under.move_to(1);
    assert_eq!(proposed(&lead_again(&mut under, 4))[0].bundles, [numbered(1, 0).digest]);
    assert_eq!(proposed(&lead_again(&mut under, 8))[0].bundles, [numbered(1, 0).digest]);
}

#[test]
fn a_leader_after_failed_views_tries_each_origin_once_before_any_a_second_time() {
    let mut under = under(0);
    under.hold(&[started(1, 9, 0), numbered(2, 0), numbered(3, 0)]);
    under.move_to(1);
    assert_eq!(proposed(&lead_again(&mut under, 4))[0].bundles, [started(1, 9, 0).digest]);
    assert_eq!(proposed(&lead_again(&mut under, 8))[0].bundles, [numbered(2, 0).digest]);
    // A liar has another one for each turn, ahead of what was tried; and nobody else can get any of them.
    let third = proposed(&lead_again(&mut under, 12));
    assert_eq!(third[0].bundles, [numbered(3, 0).digest], "not the oldest again");
    under.quiet(Input::Bundle(started(1, 8, 0)));
    assert_eq!(proposed(&lead_again(&mut under, 16))[0].bundles, [numbered(2, 0).digest], "and then anew");
    let other = proposed(&lead_again(&mut under, 20));
    assert_ne!(other[0].bundles, [numbered(2, 0).digest], "this round too has each of them once");
}

#[test]
fn a_liar_that_tries_an_honest_bundle_first_does_not_keep_a_leader_from_proposing_it() {
    let mut under = under(0);
    under.hold(&[numbered(1, 0), numbered(2, 0)]);
    under.move_to(1);
    assert_eq!(proposed(&lead_again(&mut under, 4))[0].bundles, [numbered(1, 0).digest]);
    let shown = under.bare_view_change(7);
    under.start_view(&shown);
    let tried = under.block(7, None, &[numbered(2, 0)]);
    assert_eq!(votes_said(&under.propose(7, &tried)).len(), 1, "it is as good as any");
    assert_eq!(proposed(&lead_again(&mut under, 8))[0].bundles, [numbered(2, 0).digest]);
}

#[test]
fn the_origin_that_failed_last_stays_left_out_when_a_bundle_fails_that_never_came_here() {
    let mut under = under(0);
    under.hold(&[numbered(1, 0), numbered(2, 0)]);
    for (view, bundle) in [(7, numbered(1, 0)), (11, started(1, 9, 0))] {
        let shown = under.bare_view_change(view);
        under.start_view(&shown);
        let tried = under.block(view, None, &[bundle]);
        under.propose(view, &tried);
    }
    assert_eq!(proposed(&lead_again(&mut under, 12))[0].bundles, [numbered(2, 0).digest]);
}

#[test]
fn a_new_leader_proposes_above_what_is_selected() {
    let mut under = under(1);
    under.hold(&[numbered(2, 0), numbered(2, 1)]);
    let selected = under.block(0, None, &[numbered(2, 0)]);
    under.propose(0, &selected);
    let mut effects = under.move_to(1);
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &selected, &[0, 2, 3])];
    for peer in [0, 2] {
        effects.extend(under.hear(peer, Message::ViewChange(under.view_change(peer, shown.clone()))));
    }
    let blocks = proposed(&under.settle(effects));
    assert_eq!(blocks.len(), 1);
    assert_eq!((blocks[0].header.height, blocks[0].header.parent), (Height(2), under.digest(&selected)));
    assert_eq!(blocks[0].header.bundles_root, bundles_root(&[numbered(2, 1).digest]));
}

#[test]
fn a_leader_below_the_base_of_its_view_syncs_before_it_proposes() {
    let mut under = under(1);
    under.hold(&[numbered(2, 0), numbered(2, 1)]);
    let base = under.block(0, None, &[numbered(2, 0)]);
    let mut effects = under.move_to(1);
    let mut shown = under.bare_view_change(1);
    shown.committed = Some(under.committed(0, &base, &[0, 2, 3]));
    for peer in [0, 2] {
        effects.extend(under.hear(peer, Message::ViewChange(under.view_change(peer, shown.clone()))));
    }
    assert_eq!(proposed(&under.settle(effects)), []);
    let synced = under.run(Input::Certified(vec![under.certified(0, &base, &[0, 2, 3])]));
    assert_eq!(proposed(&synced)[0].header.height, Height(2));
    assert_eq!(under.me, validator(1));
}
