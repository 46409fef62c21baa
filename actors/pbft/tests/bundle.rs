//! Bundles: order, work, relay (consensus.md sections 2 and 6).

use std::sync::Arc;

use dtvn_messages::{Block, Digest, View};
use dtvn_pbft::{BundleMeta, Effect, Input, Timer};

use crate::common::build::{numbered, started, validator};
use crate::common::fake::bundle;
use crate::common::under::{Under, blame, under, votes_said, wish};

fn refused(under: &mut Under, block: &Block) -> bool {
    let effects = under.propose(0, block);
    let why = "its block orders bundles against their numbers";
    let is_refused = effects == [blame(0, why), wish(1)];
    assert!(is_refused || votes_said(&effects).len() == 1, "{effects:?}");
    is_refused
}

#[test]
fn a_block_takes_the_next_number_of_an_origin_or_number_0_of_a_later_start() {
    // The last ordered one of origin 1 is number 0 of start 1.
    let cases: [(&str, &[BundleMeta], bool); 9] = [
        ("the next number", &[numbered(1, 1)], true),
        ("the next two", &[numbered(1, 1), numbered(1, 2)], true),
        ("two in the wrong order", &[numbered(1, 2), numbered(1, 1)], false),
        ("a gap", &[numbered(1, 2)], false),
        ("number 0 of a later start", &[started(1, 3, 0)], true),
        ("number 1 of a later start", &[started(1, 3, 1)], false),
        ("numbers 0 and 1 of a later start", &[started(1, 3, 0), started(1, 3, 1)], true),
        ("an earlier start after a later one", &[started(1, 3, 0), numbered(1, 1)], false),
        ("the first of another origin", &[numbered(2, 0)], true),
    ];
    for (name, metas, is_fine) in cases {
        let mut under = under(3);
        let mut held = vec![numbered(1, 0)];
        held.extend(metas);
        under.hold(&held);
        let first = under.block(0, None, &[numbered(1, 0)]);
        under.commit_block(0, &first);
        let block = under.block(0, Some(&first), metas);
        assert_eq!(refused(&mut under, &block), !is_fine, "{name}");
    }
}

#[test]
fn a_bundle_that_was_ordered_is_not_taken_and_a_block_with_it_gets_no_vote() {
    let mut under = under(3);
    under.hold(&[numbered(1, 0)]);
    let first = under.block(0, None, &[numbered(1, 0)]);
    under.commit_block(0, &first);
    assert_eq!(under.bundle(numbered(1, 0)), []);
    let again = under.block(0, Some(&first), &[numbered(1, 0)]);
    assert_eq!(votes_said(&under.propose(0, &again)), []);
}

#[test]
fn bundles_that_can_never_be_ordered_any_more_are_given_up_with_the_commit() {
    let mut under = under(3);
    let variant = bundle(validator(1), numbered(1, 0).position, 7);
    let old = [numbered(1, 0), numbered(1, 1), variant];
    under.hold(&old);
    under.hold(&[started(1, 2, 0), started(1, 2, 1)]);
    let block = under.block(0, None, &[started(1, 2, 0)]);
    let effects = under.commit_block(0, &block);
    let given_up = effects.iter().find_map(|effect| match effect {
        Effect::Superseded { origin, digests } => Some((*origin, digests.clone())),
        _ => None,
    });
    let (origin, mut digests) = given_up.unwrap();
    digests.sort();
    let mut expected = old.map(|meta| meta.digest).to_vec();
    expected.sort();
    assert_eq!((origin, digests), (validator(1), expected));
}

/// What of these is given up.
fn released(under: &mut Under, metas: &[BundleMeta]) -> Vec<Digest> {
    let effects = under.run(Input::Release(metas.iter().map(|meta| meta.digest).collect()));
    match effects.as_slice() {
        [] => Vec::new(),
        [Effect::Released { digests }] => digests.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_no_block_names_is_given_up_and_may_come_again() {
    let mut under = under(3);
    let metas = [numbered(1, 0), numbered(1, 1), numbered(2, 0)];
    under.hold(&metas);
    assert_eq!(released(&mut under, &metas[1..]), [metas[1].digest, metas[2].digest]);
    let block = under.block(0, None, &metas[..2]);
    let effects = under.propose(0, &block);
    let wanted = effects.iter().find_map(|effect| match effect {
        Effect::Want { digests, .. } => Some(digests.clone()),
        _ => None,
    });
    assert_eq!(wanted, Some(vec![metas[1].digest]));
    assert_eq!(released(&mut under, &metas[..1]), [], "a block that waits for the other names it");
    assert_eq!(votes_said(&under.bundle(metas[1])).len(), 1);
    assert_eq!(released(&mut under, &metas[..2]), []);
}

#[test]
fn what_this_replica_said_prepare_for_is_kept_until_that_height_is_committed_whatever_the_view() {
    let mut under = under(3);
    let (junk, good) = (numbered(1, 0), numbered(2, 0));
    let behind = numbered(1, 1);
    under.hold(&[junk, behind, good]);
    let lost = under.block(0, None, &[junk]);
    let effects = under.propose(0, &lost);
    under.settle(effects);
    let nothing = under.bare_view_change(1);
    under.start_view(&nothing);
    // Another replica may hold a certificate for the lost block, and a later view bring it back.
    assert_eq!(released(&mut under, &[junk, behind]), [behind.digest]);
    let log = under.log.clone();
    let mut again = under.restarted(&log, &[junk, behind, good]);
    again.step(Input::Start);
    assert_eq!(released(&mut again, &[junk, behind]), [behind.digest], "nor is it forgotten in a restart");
    let block = under.block(1, None, &[good]);
    under.commit_block(1, &block);
    assert_eq!(released(&mut under, &[junk]), [junk.digest], "nothing can bring it back above another block");
}

#[test]
fn what_a_leader_names_in_a_block_with_a_wrong_result_is_given_up_with_its_view() {
    let mut under = under(3);
    under.hold(&[numbered(1, 0)]);
    let mut block = under.block(0, None, &[numbered(1, 0)]);
    block.header.log_root = Digest([7; 32]);
    assert_eq!(votes_said(&under.propose(0, &block)), [], "it was logged, and is refused after its execution");
    let nothing = under.bare_view_change(1);
    under.start_view(&nothing);
    let digest = numbered(1, 0).digest;
    assert_eq!(released(&mut under, &[numbered(1, 0)]), [digest], "this replica vouched for nothing");
}

#[test]
fn what_is_behind_a_bundle_that_is_given_up_is_no_work() {
    let mut under = under(3);
    under.hold(&[numbered(1, 0), numbered(1, 1)]);
    under.fire(Timer::Relay);
    assert!(under.due_in_us(Timer::Fairness).is_some());
    assert_eq!(released(&mut under, &[numbered(1, 0)]), [numbered(1, 0).digest]);
    under.wait_us(60_000_000);
    let wished = under.fire_now(Timer::Fairness);
    assert_eq!(wished, [], "no leader can order it");
}

#[test]
fn a_bundle_is_shown_to_all_after_half_a_view_timeout_and_only_then_it_is_work() {
    let mut under = under(3);
    under.step(Input::Bundle(numbered(3, 0)));
    assert_eq!(under.due_in_us(Timer::Relay), Some(500_000));
    assert_eq!(under.due_in_us(Timer::View), None, "others may not know it");
    let effects = under.fire(Timer::Relay);
    let digests = vec![numbered(3, 0).digest];
    assert_eq!(effects, [Effect::Relay { digests, leader: validator(0) }]);
    assert_eq!(under.due_in_us(Timer::View), Some(1_000_000));
}

#[test]
fn each_bundle_is_shown_in_its_own_time_and_once() {
    let mut under = under(3);
    under.bundle(numbered(3, 0));
    under.wait_us(100_000);
    under.bundle(numbered(3, 1));
    let shown = |effects: &[Effect]| -> Vec<Digest> {
        let digests = effects.iter().filter_map(|effect| match effect {
            Effect::Relay { digests, .. } => Some(digests.clone()),
            _ => None,
        });
        digests.flatten().collect()
    };
    assert_eq!(shown(&under.fire(Timer::Relay)), [numbered(3, 0).digest]);
    assert_eq!(under.due_in_us(Timer::Relay), Some(100_000));
    assert_eq!(shown(&under.fire(Timer::Relay)), [numbered(3, 1).digest]);
    under.wait_us(10_000_000);
    assert_eq!(shown(&under.fire_now(Timer::Relay)), []);
}

#[test]
fn a_bundle_behind_a_gap_is_no_work_until_the_gap_is_filled() {
    // Otherwise one origin that leaves a gap would end every view.
    let mut under = under(3);
    under.bundle(numbered(1, 1));
    under.bundle(started(2, 5, 3));
    let relayed = under.fire(Timer::Relay);
    assert_eq!(relayed.len(), 1, "shown, for others may have what is missing");
    assert_eq!(under.due_in_us(Timer::View), None);
    assert_eq!(under.due_in_us(Timer::Fairness), None);
    under.wait_us(60_000_000);
    under.bundle(numbered(1, 0));
    assert_eq!(under.due_in_us(Timer::View), Some(1_000_000), "number 1 can be ordered now");
    assert_eq!(under.due_in_us(Timer::Fairness), Some(8_000_000), "and its time begins now");
}

#[test]
fn the_bundle_after_the_ordered_ones_of_its_origin_is_work() {
    let mut under = under(3);
    under.hold(&[numbered(1, 0)]);
    let block = under.block(0, None, &[numbered(1, 0)]);
    under.now.wall = block.header.timestamp;
    under.commit_block(0, &block);
    assert_eq!(under.replica.positions(), [(validator(1), numbered(1, 0).position)]);
    assert_eq!(under.replica.last_ordered(validator(1)), Some(numbered(1, 0).position));
    assert_eq!(under.replica.last_ordered(validator(2)), None);
    assert_eq!(under.fire_now(Timer::View), [], "no work: idle");
    // Shown in the other order.
    under.bundle(numbered(1, 2));
    under.bundle(numbered(1, 1));
    under.fire(Timer::Relay);
    assert_eq!(under.fire(Timer::View), [wish(1)]);
    // And it goes on with the next start.
    let mut other = crate::common::under::under(3);
    other.bundle(started(1, 4, 1));
    other.bundle(started(1, 4, 0));
    other.fire(Timer::Relay);
    assert_eq!(other.due_in_us(Timer::View), Some(1_000_000));
}

#[test]
fn a_bundle_that_lost_its_place_is_no_work_any_more() {
    let mut under = under(3);
    let variant = bundle(validator(1), numbered(1, 0).position, 7);
    under.bundle(variant);
    under.fire(Timer::Relay);
    assert_eq!(under.due_in_us(Timer::View), Some(1_000_000));
    under.hold(&[numbered(1, 0)]);
    let block = under.block(0, None, &[numbered(1, 0)]);
    under.now.wall = block.header.timestamp;
    under.commit_block(0, &block);
    under.wait_us(60_000_000);
    assert_eq!(under.fire_now(Timer::View), [], "the timer was cancelled");
    assert_eq!(under.fire_now(Timer::Fairness), [], "this one too");
}

#[test]
fn bundles_of_blocks_that_are_rolled_back_are_pending_again() {
    let mut under = under(1);
    under.hold(&[numbered(2, 0)]);
    let lost = under.block(0, None, &[numbered(2, 0)]);
    assert_eq!(votes_said(&under.propose(0, &lost)).len(), 1);
    let moved = under.move_to(1);
    assert!(moved.iter().any(|effect| matches!(effect, Effect::Moved { view: View(1), .. })));
    let view_changes = [0, 2].map(|peer| under.view_change(peer, under.bare_view_change(1)));
    let mut effects = Vec::new();
    for view_change in view_changes {
        effects.extend(under.hear(2, dtvn_pbft::Message::ViewChange(view_change)));
    }
    // Its own VIEW-CHANGE shows no certificate either: nothing is selected.
    let active = under.settle(effects);
    let proposed = active.iter().find_map(|effect| match effect {
        Effect::Propose { block, .. } => Some(Arc::clone(block)),
        _ => None,
    });
    assert!(active.contains(&Effect::RollBack { to: dtvn_messages::Height(0) }));
    assert_eq!(proposed.unwrap().bundles, [numbered(2, 0).digest]);
}
