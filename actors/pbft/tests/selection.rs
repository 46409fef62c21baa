//! What a new view starts from: the selection rule and its stop rule (consensus.md section 6).

use std::sync::Arc;

use dtvn_messages::{Block, Digest, Height, ViewChange};
use dtvn_pbft::{Selection, select};

use crate::common::build::{Story, numbered};
use crate::common::genesis;
use crate::common::under::small;

fn story() -> Story {
    Story::new(&Arc::new(genesis(4, small)))
}

fn run(story: &Story, view_changes: &[ViewChange]) -> Selection {
    let shown: Vec<&ViewChange> = view_changes.iter().collect();
    select(&shown, (Height(0), story.genesis.hash()))
}

fn selected(selection: &Selection) -> Vec<Digest> {
    selection.blocks.values().map(|selected| selected.digest).collect()
}

/// A VIEW-CHANGE for view 9 with prepared certificates of these views.
fn shows(story: &Story, prepared: &[(u64, &Block)]) -> ViewChange {
    let mut shown = story.bare_view_change(9);
    shown.prepared = prepared.iter().map(|(view, block)| story.prepared(*view, block, &[0, 1, 2])).collect();
    shown
}

fn digests(story: &Story, blocks: &[&Block]) -> Vec<Digest> {
    blocks.iter().map(|block| story.digest(block)).collect()
}

#[test]
fn with_nothing_shown_it_is_the_start_of_the_epoch() {
    let story = story();
    let selection = run(&story, &[story.bare_view_change(9)]);
    assert_eq!((selection.base, selection.end), (Height(0), Height(0)));
    assert_eq!(selection.base_digest, Some(story.genesis.hash()));
    assert!(selection.blocks.is_empty());
}

#[test]
fn the_base_is_the_highest_of_all_committed_blocks_and_stable_checkpoints() {
    let story = story();
    let blocks = story.chain(0, 5, 1);
    let committed = |at: usize| {
        let mut shown = story.bare_view_change(9);
        shown.committed = Some(story.committed(0, &blocks[at], &[0, 1, 2]));
        shown
    };
    let stable = |at: usize| {
        let mut shown = story.bare_view_change(9);
        shown.stable = Some(story.stable(&blocks[at], &[0, 1, 2]));
        shown
    };
    for (name, shown, base, has_proof, has_stable) in [
        ("committed", [committed(1), committed(2)], 3, true, false),
        ("stable above", [committed(1), stable(3)], 4, false, true),
        ("stable below", [committed(4), stable(3)], 5, true, false),
        ("both at one height", [committed(3), stable(3)], 4, true, false),
    ] {
        let selection = run(&story, &shown);
        assert_eq!((selection.base, selection.end), (Height(base), Height(base)), "{name}");
        let digest = story.digest(&blocks[usize::try_from(base).unwrap() - 1]);
        assert_eq!(selection.base_digest, Some(digest), "{name}");
        assert_eq!((selection.proof.is_some(), selection.stable.is_some()), (has_proof, has_stable), "{name}");
    }
}

#[test]
fn each_next_height_takes_the_certificate_of_the_highest_view() {
    let story = story();
    let old = story.block(0, None, &[numbered(1, 0)]);
    let new = story.block(3, None, &[numbered(2, 0)]);
    let above = story.block(3, Some(&new), &[numbered(1, 0)]);
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let shown = [shows(&story, &[(0, &old)]), shows(&story, &[(3, &new)]), shows(&story, &[(5, &above)])];
        let shown = order.map(|at: usize| shown[at].clone());
        let selection = run(&story, &shown);
        assert_eq!(selected(&selection), digests(&story, &[&new, &above]));
        assert_eq!(selection.end, Height(2));
    }
}

#[test]
fn certificates_of_different_view_changes_make_one_chain_and_name_their_signers() {
    let story = story();
    let blocks = story.chain(0, 3, 1);
    let mut second = story.bare_view_change(9);
    second.prepared = vec![story.prepared(2, &blocks[1], &[1, 2, 3])];
    let shown = [shows(&story, &[(0, &blocks[0]), (0, &blocks[2])]), second];
    let selection = run(&story, &shown);
    assert_eq!(selected(&selection), digests(&story, &[&blocks[0], &blocks[1], &blocks[2]]));
    assert_eq!(selection.blocks[&Height(2)].holders, [1, 2, 3].map(crate::common::build::validator));
}

#[test]
fn it_stops_at_the_first_height_that_has_no_certificate() {
    let story = story();
    let blocks = story.chain(0, 4, 1);
    let selection = run(&story, &[shows(&story, &[(0, &blocks[0]), (0, &blocks[2]), (0, &blocks[3])])]);
    assert_eq!(selected(&selection), digests(&story, &[&blocks[0]]));
    assert_eq!(selection.end, Height(1));
}

#[test]
fn it_stops_at_a_block_that_does_not_build_on_the_one_selected_below() {
    let story = story();
    let old = story.chain(0, 3, 1);
    let new = story.block(4, None, &[numbered(2, 0)]);
    // Of view 0 heights 1 to 3 were prepared; then view 4 prepared another block at height 1.
    let shown = [shows(&story, &[(0, &old[0]), (0, &old[1]), (0, &old[2])]), shows(&story, &[(4, &new)])];
    let selection = run(&story, &shown);
    assert_eq!(selected(&selection), digests(&story, &[&new]));
    assert_eq!(selection.end, Height(1));
}

#[test]
fn it_stops_at_a_block_that_does_not_build_on_the_base() {
    let story = story();
    let blocks = story.chain(0, 1, 1);
    let other = story.block(0, None, &[numbered(2, 0)]);
    let above = story.block(0, Some(&other), &[numbered(1, 0)]);
    let mut shown = shows(&story, &[(0, &above)]);
    shown.committed = Some(story.committed(0, &blocks[0], &[0, 1, 2]));
    assert_eq!(run(&story, &[shown]).end, Height(1));
}

#[test]
fn what_lies_at_or_below_the_base_is_not_selected() {
    let story = story();
    let blocks = story.chain(0, 3, 1);
    let mut base = story.bare_view_change(9);
    base.committed = Some(story.committed(0, &blocks[1], &[0, 1, 2]));
    let all: Vec<(u64, &Block)> = blocks.iter().map(|block| (0, block)).collect();
    let selection = run(&story, &[shows(&story, &all), base]);
    assert_eq!(selected(&selection), digests(&story, &[&blocks[2]]));
    assert_eq!((selection.base, selection.end), (Height(2), Height(3)));
}

#[test]
fn the_order_of_the_view_changes_makes_no_difference() {
    let story = story();
    let blocks = story.chain(0, 3, 1);
    let mut base = shows(&story, &[(1, &blocks[2])]);
    base.committed = Some(story.committed(0, &blocks[0], &[0, 1, 2]));
    let shown = [shows(&story, &[(0, &blocks[0]), (0, &blocks[1])]), base, shows(&story, &[(2, &blocks[1])])];
    let first = run(&story, &shown);
    let reversed: Vec<ViewChange> = shown.iter().rev().cloned().collect();
    assert_eq!(run(&story, &reversed), first);
}
