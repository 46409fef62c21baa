//! Adopting what others proved (consensus.md sections 3, 6 and 7).

use std::sync::Arc;

use dtvn_messages::limits::{
    REPLICA_CERTIFIED_BLOCKS_MAX, REPLICA_CERTIFIED_BYTES_MAX, REPLICA_EXECUTE_AHEAD_MAX, REPLICA_ROOTS_AWAITED_MAX,
    SYNC_BLOCKS_MAX,
};
use dtvn_messages::{Block, Height, View, VoteKind};
use dtvn_pbft::{BundleMeta, CertifiedBlock, Effect, Input, Message, Timer};

use crate::common::build::{numbered, validator};
use crate::common::genesis;
use crate::common::under::{Under, small, under, votes_said, wish};

/// Validator 3 of four that holds the bundles of the leader's blocks and has accepted the first `accepted` of `count`.
fn known(accepted: u64, count: u64) -> (Under, Vec<Block>) {
    let mut under = under(3);
    under.hold(&(0..count).map(|number| numbered(1, number)).collect::<Vec<_>>());
    let blocks = under.chain(0, count, 1);
    for block in blocks.iter().take(usize::try_from(accepted).unwrap()) {
        under.propose(0, block);
    }
    (under, blocks)
}

fn proof(under: &Under, block: &Block) -> Message {
    Message::Committed(Arc::new(under.committed(0, block, &[0, 1, 2])))
}

fn delivery(under: &Under, blocks: &[Block]) -> Vec<CertifiedBlock> {
    let last = blocks.len() - 1;
    let signers = |at: usize| if at == last { [0, 1, 2].as_slice() } else { &[] };
    blocks.iter().enumerate().map(|(at, block)| under.certified(0, block, signers(at))).collect()
}

#[test]
fn a_commit_certificate_commits_what_is_executed_here_and_its_ancestors() {
    let (mut under, blocks) = known(2, 2);
    under.hear(1, proof(&under, &blocks[1]));
    assert_eq!(under.replica.committed(), Height(2));
}

#[test]
fn a_certificate_that_comes_later_is_that_of_its_block() {
    // Its bundles are not here: it waits. Then its own certificate comes, or one of no block that is known.
    for is_own in [true, false] {
        let mut under = under(3);
        let blocks = under.chain(0, 2, 1);
        under.run(Input::Certified(delivery(&under, &blocks)));
        let mut later = blocks[0].clone();
        if !is_own {
            later.header.timestamp = later.header.timestamp.plus_micros(1);
        }
        under.run(Input::Certified(vec![under.certified(0, &later, &[0, 1, 2])]));
        let effects: Vec<Effect> = [0, 1].into_iter().flat_map(|number| under.bundle(numbered(1, number))).collect();
        let committed = effects.iter().find_map(|effect| match effect {
            Effect::Commit { block, certificate, .. } if block.header.height == Height(1) => Some(certificate.clone()),
            _ => None,
        });
        let own = under.certificate(under.commit(0, &blocks[0]), &[0, 1, 2]);
        assert_eq!(committed.unwrap(), is_own.then_some(own));
    }
}

#[test]
fn far_behind_a_replica_asks_for_sync_at_once_from_those_who_showed_the_proof() {
    let (mut under, blocks) = known(0, 6);
    let effects = under.hear(2, proof(&under, &blocks[5]));
    let holders = vec![validator(2)];
    assert_eq!(effects, [Effect::Sync { from: Height(1), to: Height(6), holders }]);
    assert_eq!(under.fire(Timer::Status), [], "not again at once");
    under.wait_us(250_000);
    let holders = vec![validator(2)];
    assert_eq!(under.fire(Timer::Status), [Effect::Sync { from: Height(1), to: Height(6), holders }]);
}

#[test]
fn a_few_blocks_behind_it_waits_a_moment_for_what_is_on_its_way() {
    let (mut under, blocks) = known(0, 4);
    assert_eq!(under.hear(2, proof(&under, &blocks[3])), []);
    under.wait_us(99_999);
    assert_eq!(under.bundle(numbered(2, 0)), []);
    under.wait_us(1);
    assert!(matches!(under.bundle(numbered(2, 1))[..], [Effect::Sync { to: Height(4), .. }]));
}

#[test]
fn a_proved_block_whose_bundles_nobody_serves_any_more_is_synced() {
    // The blocks are known from their proposals, and so proved; the bundle of the second one never came.
    let mut under = under(3);
    let bundles: Vec<_> = (0..6).map(|number| numbered(1, number)).collect();
    under.hold(&bundles);
    let blocks = under.chain(0, 6, 1);
    let mut late = Under::new(&under.story.genesis, Some(3));
    bundles.iter().filter(|bundle| **bundle != bundles[1]).for_each(|bundle| drop(late.bundle(*bundle)));
    blocks.iter().for_each(|block| drop(late.propose(0, block)));
    late.hear(1, proof(&under, &blocks[5]));
    assert_eq!(late.replica.committed(), Height(0), "the first one has no certificate of its own");
    late.wait_us(500_000);
    let effects = late.fire(Timer::Status);
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::Sync { from, to, .. } => Some((*from, *to)),
        _ => None,
    });
    assert_eq!(asked, Some((Height(2), Height(6))), "{effects:?}");
    late.bundle(bundles[1]);
    assert_eq!(late.replica.committed(), Height(6));
}

#[test]
fn synced_blocks_are_executed_and_committed_in_order() {
    let (mut under, blocks) = known(0, 3);
    let effects = under.run(Input::Certified(delivery(&under, &blocks)));
    let heights = |wanted: fn(&Effect) -> Option<Height>| effects.iter().filter_map(wanted).collect::<Vec<_>>();
    let executed = heights(|effect| match effect {
        Effect::Execute { height, .. } => Some(*height),
        _ => None,
    });
    let committed = heights(|effect| match effect {
        Effect::Commit { block, .. } => Some(block.header.height),
        _ => None,
    });
    assert_eq!(executed, [1, 2, 3].map(Height));
    assert_eq!(committed, [1, 2, 3].map(Height));
    assert_eq!(votes_said(&effects), [], "sync orders nothing");
}

#[test]
fn blocks_without_a_certificate_at_or_above_them_are_not_proved() {
    let (mut under, blocks) = known(0, 3);
    let mut delivered = delivery(&under, &blocks[..2]);
    delivered.push(under.certified(0, &blocks[2], &[]));
    under.run(Input::Certified(delivered));
    assert_eq!(under.replica.committed(), Height(2));
    assert_eq!(under.replica.show().executed, Height(2));
}

#[test]
fn blocks_are_taken_only_without_holes_and_each_built_on_the_one_before() {
    let (mut under, blocks) = known(0, 3);
    assert_eq!(under.run(Input::Certified(delivery(&under, &blocks[1..]))), [], "height 1 is missing");
    let mut skipping = blocks.clone();
    skipping[1].header.height = Height(3);
    under.run(Input::Certified(vec![
        under.certified(0, &skipping[0], &[0, 1, 2]),
        under.certified(0, &skipping[1], &[0, 1, 2]),
    ]));
    assert_eq!(under.replica.committed(), Height(1));
    under.run(Input::Certified(delivery(&under, &blocks)));
    assert_eq!(under.replica.committed(), Height(3), "what skipped a height did not take its place");
    let (mut under, blocks) = known(0, 3);
    let mut foreign = blocks.clone();
    foreign[1].header.parent = foreign[1].header.bundles_root;
    under.run(Input::Certified(delivery(&under, &foreign[..2])));
    assert_eq!(
        under.replica.committed(),
        Height(0),
        "the second does not build on the first, which has no certificate"
    );
    under.run(Input::Certified(delivery(&under, &blocks)));
    assert_eq!(under.replica.committed(), Height(3));
}

#[test]
fn a_replica_that_accepted_the_loser_adopts_the_winner_by_its_certificate_and_rolls_back() {
    let (mut under, blocks) = known(0, 1);
    under.bundle(numbered(2, 0));
    let lost = under.block(0, None, &[numbered(2, 0)]);
    let lost_next = under.block(0, Some(&lost), &[numbered(1, 0)]);
    under.propose(0, &lost);
    under.propose(0, &lost_next);
    assert_eq!(under.replica.show().executed, Height(2));
    under.hear(1, proof(&under, &blocks[0]));
    let effects = under.run(Input::Certified(delivery(&under, &blocks)));
    assert_eq!(effects[0], Effect::RollBack { to: Height(0) });
    assert_eq!(under.replica.committed_digest(Height(1)), Some(under.digest(&blocks[0])));
    assert_eq!(votes_said(&effects), [], "it voted for another block in this view");
}

#[test]
fn what_was_accepted_here_once_needs_no_sync() {
    // Nobody may have committed it yet: everyone who holds the block crashed before.
    let (under, blocks) = known(2, 2);
    let mut log = under.log.clone();
    let view_change = under.view_change(3, under.bare_view_change(1));
    log.push(dtvn_pbft::Record::ViewChange(view_change));
    let mut again = under.restarted(&log, &[numbered(1, 0), numbered(1, 1)]);
    again.run(Input::Start);
    assert_eq!(again.replica.show().executed, Height(0), "view 1 has not started");
    let effects = again.hear(1, proof(&under, &blocks[1]));
    assert_eq!(again.replica.committed(), Height(2));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Sync { .. })));
}

#[test]
fn bundles_of_synced_blocks_are_wanted_from_those_who_proved_them_and_again_after_a_move() {
    let mut under = under(3);
    let blocks = under.chain(0, 1, 1);
    under.hear(2, proof(&under, &blocks[0]));
    let want =
        Effect::Want { digests: blocks[0].bundles.clone(), holders: [2, 0, 1].map(validator).to_vec(), proposer: None };
    let effects = under.run(Input::Certified(delivery(&under, &blocks)));
    assert_eq!(effects, std::slice::from_ref(&want));
    let moved = under.move_to(1);
    let nothing = moved.iter().position(|effect| *effect == Effect::WantNothing).unwrap();
    assert!(moved[nothing..].contains(&want), "a move takes back what was wanted: {moved:?}");
    let again = under.fire(Timer::Status);
    assert_eq!(again[0], want, "and now and then");
    assert!(matches!(again[1..], [Effect::Sync { from: Height(1), .. }]), "and with the block: {again:?}");
    under.bundle(numbered(1, 0));
    assert_eq!(under.replica.committed(), Height(1));
}

#[test]
fn behind_the_view_timer_stands_still() {
    let (mut under, blocks) = known(1, 8);
    assert_eq!(under.due_in_us(Timer::View), Some(1_000_000));
    under.wait_us(700_000);
    under.hear(1, proof(&under, &blocks[7]));
    under.wait_us(60_000_000);
    let effects = under.fire_now(Timer::View);
    assert!(!effects.contains(&wish(1)), "it was taken back: {effects:?}");
    assert_eq!(under.replica.show().proved, Height(8));
}

#[test]
fn caught_up_without_work_done_the_view_timer_has_what_was_left() {
    let mut under = under(3);
    let empty = under.block(0, None, &[]);
    under.bundle(numbered(3, 0));
    under.fire(Timer::Relay);
    assert_eq!(under.due_in_us(Timer::View), Some(1_000_000), "its own bundle is work");
    under.wait_us(700_000);
    under.hear(1, proof(&under, &empty));
    under.wait_us(60_000_000);
    under.run(Input::Certified(delivery(&under, &[empty])));
    assert_eq!(under.due_in_us(Timer::View), Some(300_000), "an empty block is no reason for more patience");
}

#[test]
fn a_leader_that_is_behind_proposes_nothing() {
    let mut under = under(0);
    let blocks = under.chain(4, 2, 1);
    under.hear(1, proof(&under, &blocks[1]));
    let effects = under.bundle(numbered(0, 0));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Execute { .. })), "{effects:?}");
}

#[test]
fn a_proof_of_what_is_committed_changes_nothing() {
    let (mut under, blocks) = known(1, 1);
    under.votes(VoteKind::Commit, 0, &blocks[0], &[0, 1, 2]);
    assert_eq!(under.hear(1, proof(&under, &blocks[0])), []);
    assert_eq!(under.replica.show().proved, Height(1));
}

#[test]
fn synced_blocks_beyond_the_end_of_the_view_end_it() {
    let genesis = Arc::new(crate::common::genesis(4, |parameters| {
        crate::common::under::small(parameters);
        parameters.rotation_interval = 2;
    }));
    let mut under = Under::new(&genesis, Some(3));
    under.hold(&[numbered(1, 0), numbered(1, 1)]);
    let blocks = under.chain(0, 2, 1);
    let effects = under.run(Input::Certified(delivery(&under, &blocks)));
    assert!(effects.contains(&Effect::Moved { view: View(1), cause: dtvn_pbft::Cause::Planned }));
}

#[test]
fn proved_blocks_wait_for_state_roots_that_are_late_and_go_on_when_one_is_here() {
    let genesis = Arc::new(genesis(4, |parameters| {
        small(parameters);
        (parameters.checkpoint_interval, parameters.log_window) = (1, 64);
    }));
    let mut under = Under::new(&genesis, Some(3));
    // The roots come only when the test says so.
    under.interval = u64::MAX;
    let count = REPLICA_ROOTS_AWAITED_MAX + 5;
    under.hold(&(0..count).map(|number| numbered(1, number)).collect::<Vec<_>>());
    let blocks = under.chain(0, count, 1);
    // Each has a certificate of its own: it is committed as soon as it is executed.
    for block in &blocks {
        let delivered = vec![under.certified(0, block, &[0, 1, 2])];
        under.run(Input::Certified(delivered));
    }
    let full = Height(REPLICA_ROOTS_AWAITED_MAX);
    assert_eq!((under.replica.committed(), under.replica.show().executed), (full, full));
    let root = |under: &Under, block: &Block| under.state_root(block);
    let first = Input::StateRoot { height: Height(1), root: root(&under, &blocks[0]) };
    under.run(first);
    assert_eq!(under.replica.committed(), full.next(), "one more for the root that came");
    for block in &blocks[1..] {
        let input = Input::StateRoot { height: block.header.height, root: root(&under, block) };
        under.run(input);
    }
    assert_eq!(under.replica.committed(), Height(count), "nothing was lost");
}

/// What a replica asks for in effects, and how many blocks it has executed there.
fn asked_and_executing(effects: &[Effect]) -> (Option<(Height, Height)>, usize) {
    let asked = effects.iter().find_map(|effect| match effect {
        Effect::Sync { from, to, .. } => Some((*from, *to)),
        _ => None,
    });
    (asked, effects.iter().filter(|effect| matches!(effect, Effect::Execute { .. })).count())
}

/// The executions in effects end as the blocks say.
fn executed(under: &mut Under, blocks: &[Block], executing: &[Effect]) -> Vec<Effect> {
    let mut all = Vec::new();
    for effect in executing {
        if let Effect::Execute { id, height, .. } = effect {
            let header = &blocks[usize::try_from(height.0).unwrap() - 1].header;
            let (log_size, log_root, succession) = (header.log_size, header.log_root, under.steady());
            all.extend(under.step(Input::Executed { id: *id, log_size, log_root, succession }));
        }
    }
    all
}

#[test]
fn no_more_blocks_are_taken_than_have_a_place_and_the_rest_is_asked_for_later() {
    let answer = SYNC_BLOCKS_MAX;
    let places = REPLICA_CERTIFIED_BLOCKS_MAX;
    let genesis = Arc::new(genesis(4, |parameters| parameters.rotation_interval = 0));
    let mut under = Under::new(&genesis, Some(3));
    under.hold(&(0..(places + answer) as u64).map(|number| numbered(1, number)).collect::<Vec<_>>());
    let blocks = under.chain(0, (places + answer) as u64, 1);
    let last = Height((places + answer) as u64);
    let mut executing = under.hear(2, proof(&under, &blocks[places + answer - 1]));
    // Executions take long: nothing is committed.
    executing.extend(under.step(Input::Certified(delivery(&under, &blocks[..answer]))));
    let next = Height(answer as u64 + 1);
    let asked = (Some((next, last)), usize::try_from(REPLICA_EXECUTE_AHEAD_MAX).unwrap());
    assert_eq!(asked_and_executing(&executing[1..]), asked, "it goes on asking, and executes so far ahead");
    let effects = under.step(Input::Certified(delivery(&under, &blocks[answer..places])));
    assert_eq!(asked_and_executing(&effects), (None, 0), "all places are taken");
    let effects = under.step(Input::Certified(delivery(&under, &blocks[places..])));
    assert_eq!(asked_and_executing(&effects), (None, 0), "what nobody asked for has no place");
    let effects = executed(&mut under, &blocks, &executing);
    assert_eq!(under.replica.committed(), Height(answer as u64));
    assert_eq!(asked_and_executing(&effects).0, Some((Height(places as u64 + 1), last)), "there is room again");
}

#[test]
fn no_more_bytes_of_blocks_are_asked_for_than_can_be_held() {
    let mut under = under(3);
    let bytes = 8 * 1024 * 1024;
    let fitting = REPLICA_CERTIFIED_BYTES_MAX / bytes;
    let count = 2 * fitting as u64 + 10;
    under.hold(&(0..count).map(|number| BundleMeta { bytes, ..numbered(1, number) }).collect::<Vec<_>>());
    let blocks = under.chain(0, count, 1);
    under.hear(2, proof(&under, &blocks[blocks.len() - 1]));
    let mut executing = under.step(Input::Certified(delivery(&under, &blocks[..fitting - 1])));
    assert_eq!(asked_and_executing(&executing).0, Some((Height(fitting as u64), Height(count))));
    let effects = under.step(Input::Certified(delivery(&under, &blocks[fitting - 1..fitting])));
    assert_eq!(asked_and_executing(&effects).0, None, "its bytes are reached");
    executing.extend(effects);
    let effects = executed(&mut under, &blocks, &executing);
    assert_eq!(under.replica.committed(), Height(fitting as u64));
    assert_eq!(asked_and_executing(&effects).0, Some((Height(fitting as u64 + 1), Height(count))));
}

#[test]
fn proved_blocks_above_the_window_wait_for_the_stable_checkpoint_that_its_peers_hold() {
    let mut under = under(3);
    under.run(Input::QuorumConnected(true));
    // The window of 12 is over, and no stable checkpoint was heard of.
    under.hold(&(0..20).map(|number| numbered(1, number)).collect::<Vec<_>>());
    let blocks = under.chain(0, 20, 1);
    let delivered = |under: &Under| blocks.iter().map(|block| under.certified(0, block, &[0, 1, 2])).collect();
    let all = delivered(&under);
    under.run(Input::Certified(all));
    assert_eq!((under.replica.committed(), under.replica.show().executed), (Height(12), Height(12)));
    let stable = Message::Stable(Arc::new(under.stable(&blocks[15], &[0, 1, 2])));
    under.hear(1, stable);
    assert_eq!(under.replica.committed(), Height(20), "what was proved is committed");
    assert_eq!(under.replica.stable_height(), Height(16));
    let genesis = Arc::clone(&under.story.genesis);
    for (who, me) in [("an observer", None), ("who is left behind in an old epoch", Some(3))] {
        let mut untold = Under::new(&genesis, me);
        untold.run(Input::QuorumConnected(false));
        untold.hold(&(0..20).map(|number| numbered(1, number)).collect::<Vec<_>>());
        let all = delivered(&untold);
        untold.run(Input::Certified(all));
        assert_eq!(untold.replica.committed(), Height(20), "nobody shows one to {who}");
    }
}
