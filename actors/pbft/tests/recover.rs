//! Restart from the log at any moment: the same promises, and no others (consensus.md sections 4 and 11).

use std::sync::Arc;

use dtvn_messages::certificate::PreparedCertificate;
use dtvn_messages::view_change::Sealed;
use dtvn_messages::{Block, Checkpoint, Epoch, Height, StableCheckpoint, View, Vote, VoteKind};
use dtvn_pbft::{Base, BundleMeta, Effect, Input, Message, Record, Say, Timer, Unsigned};

use crate::common::build::{numbered, validator};
use crate::common::under::{Under, small, tell, under, votes_said};
use crate::common::{genesis, sign};

const BUNDLES: [u64; 4] = [0, 1, 2, 3];

fn bundles() -> Vec<BundleMeta> {
    BUNDLES.map(|number| numbered(1, number)).to_vec()
}

/// Validator 3 of four that has accepted the leader's first blocks, its PREPAREs durable.
fn voted(count: u64) -> (Under, Vec<Block>) {
    let mut under = under(3);
    under.hold(&bundles());
    let blocks = under.chain(0, count, 1);
    for block in &blocks {
        let effects = under.propose(0, block);
        under.own(&effects);
    }
    (under, blocks)
}

/// The same validator after a crash in which everything that was logged was durable, started.
fn restart(under: &Under) -> (Under, Vec<Effect>) {
    restart_with(under, &under.log)
}

fn restart_with(under: &Under, log: &[Record]) -> (Under, Vec<Effect>) {
    let mut again = under.restarted(log, &bundles());
    let effects = again.run(Input::Start);
    (again, effects)
}

fn said(effects: &[Effect]) -> Vec<Vote> {
    votes_said(effects).into_iter().map(|(_, vote)| vote).collect()
}

#[test]
fn a_replay_has_no_effects_and_takes_no_ticket() {
    let (mut under, blocks) = voted(4);
    for block in &blocks {
        let said = under.votes(VoteKind::Prepare, 0, block, &[1]);
        under.own(&said);
    }
    let said = under.votes(VoteKind::Commit, 0, &blocks[3], &[0, 1, 2]);
    under.own(&said);
    under.start_view(&{
        let mut shown = under.bare_view_change(1);
        shown.committed = Some(under.committed(0, &blocks[3], &[0, 1, 2]));
        shown
    });
    under.hear(1, Message::Stable(Arc::new(under.stable(&blocks[3], &[0, 1, 2]))));
    let mut again = Under::stopped(&under.genesis, Some(3), Base::genesis(&under.genesis), true);
    for record in &under.log {
        assert_eq!(again.step(Input::Replay(record.clone())), []);
    }
    for meta in bundles() {
        assert_eq!(again.step(Input::Bundle(meta)), []);
    }
    let effects = again.run(Input::Start);
    let first = effects.iter().find_map(|effect| match effect {
        Effect::Persist { ticket, .. } => Some(*ticket),
        _ => None,
    });
    assert_eq!(first, Some(1));
}

#[test]
fn after_prepare_the_same_prepare_is_said_and_no_other_block_is_accepted() {
    let (under, blocks) = voted(1);
    let (mut again, effects) = restart(&under);
    assert_eq!(votes_said(&effects), [(0, under.prepare(0, &blocks[0]))], "it is on the disk");
    let other = under.block(0, None, &[numbered(2, 0)]);
    again.bundle(numbered(2, 0));
    assert_eq!(said(&again.propose(0, &other)), []);
    again.own(&effects);
    let commit = again.votes(VoteKind::Prepare, 0, &blocks[0], &[1, 2]);
    assert_eq!(said(&commit), [under.commit(0, &blocks[0])]);
}

#[test]
fn before_the_proposal_was_durable_nothing_was_promised() {
    let (under, _) = voted(1);
    let (mut again, effects) = restart_with(&under, &[]);
    assert_eq!(said(&effects), []);
    let other = under.block(0, None, &[numbered(2, 0)]);
    again.bundle(numbered(2, 0));
    assert_eq!(said(&again.propose(0, &other)), [under.prepare(0, &other)]);
}

#[test]
fn after_prepared_the_same_commit_is_said_before_anyone_repeats_a_vote() {
    let (mut under, blocks) = voted(2);
    under.votes(VoteKind::Prepare, 0, &blocks[0], &[1]);
    under.votes(VoteKind::Prepare, 0, &blocks[1], &[1]);
    let (_, effects) = restart(&under);
    let expected: Vec<(u64, Vote)> =
        blocks.iter().flat_map(|block| [(0, under.prepare(0, block)), (0, under.commit(0, block))]).collect();
    assert_eq!(votes_said(&effects), expected);
}

/// As one that might not vote has it, which follows the others into their views without a record of its own.
#[test]
fn no_view_change_after_a_restart_hides_a_certificate_of_a_later_view_than_the_log_says() {
    let (under, blocks) = voted(1);
    let later = Arc::new(under.prepared(3, &blocks[0], &[0, 1, 2]));
    let mut log = under.log.clone();
    log.push(Record::Prepared(Arc::clone(&later)));
    let (mut again, effects) = restart_with(&under, &log);
    let shown = again.replica.show();
    assert_eq!((shown.view, shown.active, said(&effects)), (View(4), false, vec![]));
    let view_changes = |effects: &[Effect]| -> Vec<_> {
        let said = effects.iter().filter_map(|effect| match effect {
            Effect::Say { say: Say::ViewChange(body), .. } => Some((body.view, body.prepared.clone())),
            _ => None,
        });
        said.collect()
    };
    for peer in again.peers() {
        let wished = again.hear(peer, Message::Wish { epoch: Epoch(0), view: View(3) });
        assert_eq!(view_changes(&wished), []);
    }
    assert_eq!(view_changes(&again.move_to(5)), [(View(5), vec![PreparedCertificate::clone(&later)])]);
}

#[test]
fn a_certificate_is_shown_after_a_restart() {
    let (mut under, blocks) = voted(1);
    under.votes(VoteKind::Prepare, 0, &blocks[0], &[1]);
    let (mut again, _) = restart(&under);
    let moved = again.move_to(1);
    let shown = moved.iter().find_map(|effect| match effect {
        Effect::Say { say: Say::ViewChange(body), .. } => Some(body.prepared.clone()),
        _ => None,
    });
    assert_eq!(shown.unwrap(), [under.prepared(0, &blocks[0], &[0, 1, 3])]);
}

#[test]
fn of_the_certificates_in_the_log_the_one_of_the_highest_view_counts() {
    let (under, blocks) = voted(1);
    let certificate = |view| Record::Prepared(Arc::new(under.prepared(view, &blocks[0], &[0, 1, 2])));
    let view_change = Record::ViewChange(under.view_change(3, under.bare_view_change(7)));
    for log in [[certificate(5), certificate(2)], [certificate(2), certificate(5)]] {
        let mut log = log.to_vec();
        log.push(view_change.clone());
        let (mut again, _) = restart_with(&under, &log);
        let moved = again.move_to(8);
        let shown = moved.iter().find_map(|effect| match effect {
            Effect::Say { say: Say::ViewChange(body), .. } => Some(body.prepared.clone()),
            _ => None,
        });
        assert_eq!(shown.unwrap(), [under.prepared(5, &blocks[0], &[0, 1, 2])]);
    }
}

#[test]
fn after_view_change_without_new_view_the_view_is_not_active_and_the_same_bytes_are_repeated() {
    let (mut under, blocks) = voted(1);
    under.votes(VoteKind::Prepare, 0, &blocks[0], &[1]);
    under.move_to(1);
    let Some(Record::ViewChange(first)) = under.log.last().cloned() else { panic!("{:?}", under.log) };
    let (mut again, effects) = restart(&under);
    assert_eq!((again.replica.show().view, again.replica.show().active), (View(1), false));
    assert_eq!(said(&effects), [], "no vote of view 0, which was left");
    // A certificate that comes now would make another VIEW-CHANGE: the first is repeated.
    again.hear(2, Message::Committed(Arc::new(under.committed(0, &blocks[0], &[0, 1, 2]))));
    let told = again.hear(1, Message::Status(under.status()));
    assert!(told.contains(&tell(1, Unsigned::ViewChange(first))), "{told:?}");
    let fresh = under.block(1, None, &[numbered(1, 0)]);
    assert_eq!(said(&again.propose(1, &fresh)), []);
}

#[test]
fn after_new_view_the_view_is_active_and_its_selection_and_promises_are_known() {
    let (mut under, blocks) = voted(1);
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &blocks[0], &[0, 1, 2])];
    let effects = under.start_view(&shown);
    under.own(&effects);
    let fresh = under.block(1, Some(&blocks[0]), &[numbered(1, 1)]);
    assert_eq!(said(&under.propose(1, &fresh)).len(), 1);
    let (mut again, effects) = restart(&under);
    assert_eq!((again.replica.show().view, again.replica.show().active), (View(1), true));
    assert_eq!(said(&effects), [under.prepare(1, &blocks[0]), under.prepare(1, &fresh)]);
    let other = under.block(1, Some(&blocks[0]), &[numbered(2, 0)]);
    assert_eq!(said(&again.propose(1, &other)), []);
}

#[test]
fn a_promise_of_an_earlier_view_is_none_in_a_later_one() {
    let (mut under, blocks) = voted(1);
    under.start_view(&under.bare_view_change(1));
    let (mut again, effects) = restart(&under);
    assert_eq!(said(&effects), [], "nothing was accepted in this view");
    let other = again.block(1, None, &[numbered(1, 0), numbered(1, 1)]);
    let votes: Vec<_> = said(&again.propose(1, &other)).iter().map(|vote| (vote.view, vote.digest)).collect();
    assert_eq!(votes, [(View(1), again.digest(&other))]);
    // In a view that is not active nothing of it is taken up either.
    let mut moved = voted(1).0;
    moved.move_to(1);
    let (mut waits, effects) = restart(&moved);
    assert_eq!(said(&effects), []);
    assert_eq!(said(&waits.propose(0, &blocks[0])), []);
}

#[test]
fn a_new_view_that_was_not_durable_was_not_adopted() {
    let mut under = under(3);
    under.start_view(&under.bare_view_change(1));
    let log: Vec<Record> =
        under.log.iter().filter(|record| !matches!(record, Record::NewView { .. })).cloned().collect();
    let (again, _) = restart_with(&under, &log);
    assert!(!again.replica.show().active);
}

#[test]
fn promises_hold_also_when_the_records_of_their_view_were_written_again_behind_them() {
    let mut under = under(3);
    under.hold(&bundles());
    under.start_view(&under.bare_view_change(1));
    let block = under.block(1, None, &[numbered(1, 0)]);
    under.propose(1, &block);
    let mut log: Vec<Record> =
        under.log.iter().filter(|record| matches!(record, Record::Proposal { .. })).cloned().collect();
    log.extend(under.log.iter().filter(|record| !matches!(record, Record::Proposal { .. })).cloned());
    let (mut again, effects) = restart_with(&under, &log);
    assert_eq!(said(&effects), [under.prepare(1, &block)]);
    again.bundle(numbered(2, 0));
    let other = under.block(1, None, &[numbered(2, 0)]);
    assert_eq!(said(&again.propose(1, &other)), []);
}

#[test]
fn records_of_the_view_that_were_written_twice_change_nothing() {
    let mut under = under(3);
    under.hold(&bundles());
    under.start_view(&under.bare_view_change(1));
    let block = under.block(1, None, &[numbered(1, 0)]);
    under.propose(1, &block);
    let mut log = under.log.clone();
    log.extend(under.log.iter().filter(|record| !matches!(record, Record::Proposal { .. })).cloned());
    let (again, effects) = restart_with(&under, &log);
    assert!(again.replica.show().active);
    assert_eq!(said(&effects), [under.prepare(1, &block)]);
}

#[test]
fn a_leader_proposes_the_same_block_again_and_no_other() {
    let mut under = under(0);
    let effects = under.bundle(numbered(1, 0));
    let Effect::Propose { block, digest, .. } = &effects[2] else { panic!("{effects:?}") };
    let (mut again, effects) = restart(&under);
    let repeated = Effect::Propose { after: 0, view: View(0), block: Arc::clone(block), digest: *digest };
    assert!(effects.contains(&repeated), "it may never have left: {effects:?}");
    let more = again.bundle(numbered(2, 0));
    let heights: Vec<Height> = effects
        .iter()
        .chain(&more)
        .filter_map(|effect| match effect {
            Effect::Propose { block, .. } => Some(block.header.height),
            _ => None,
        })
        .collect();
    assert_eq!(heights, [Height(1), Height(2), Height(3)], "the other bundles, then the new one, each above");
}

#[test]
fn a_leader_proposes_nothing_in_the_place_of_a_block_that_it_cannot_execute_any_more() {
    let mut under = under(0);
    under.bundle(numbered(1, 0));
    let mut again = under.restarted(&under.log, &[]);
    again.run(Input::Start);
    assert_eq!(again.bundle(numbered(2, 0)), [], "height 1 is promised");
}

#[test]
fn committed_blocks_above_the_derived_state_are_executed_and_committed_again() {
    let (mut under, blocks) = voted(3);
    under.votes(VoteKind::Commit, 0, &blocks[1], &[0, 1, 2]);
    let (again, effects) = restart(&under);
    assert_eq!(again.replica.committed(), Height(2));
    assert_eq!(said(&effects).last(), Some(&under.prepare(0, &blocks[2])), "and height 3 is promised");
}

#[test]
fn committed_blocks_without_a_certificate_at_or_above_them_are_not_final() {
    let (mut under, blocks) = voted(2);
    under.votes(VoteKind::Commit, 0, &blocks[1], &[0, 1, 2]);
    let log: Vec<Record> = under
        .log
        .iter()
        .filter(|record| !matches!(record, Record::Committed { certificate: Some(_), .. }))
        .cloned()
        .collect();
    let (again, _) = restart_with(&under, &log);
    assert_eq!(again.replica.committed(), Height(0));
    assert_eq!(again.replica.show().executed, Height(2), "they were accepted, though");
}

#[test]
fn a_stable_checkpoint_above_the_derived_state_is_reached_again() {
    let (mut under, blocks) = voted(4);
    for block in &blocks {
        under.votes(VoteKind::Commit, 0, block, &[0, 1, 2]);
    }
    under.hear(1, Message::Stable(Arc::new(under.stable(&blocks[3], &[0, 1, 2]))));
    let (again, _) = restart(&under);
    assert_eq!(again.replica.stable_height(), Height(4));
}

#[test]
fn bundles_that_are_missing_are_wanted_at_the_start() {
    let under = {
        let (mut under, blocks) = voted(1);
        under.votes(VoteKind::Commit, 0, &blocks[0], &[0, 1, 2]);
        under
    };
    let mut again = under.restarted(&under.log, &[]);
    let effects = again.run(Input::Start);
    let digests = vec![numbered(1, 0).digest];
    let wanted = Effect::Want { digests, holders: [0, 1, 2].map(validator).to_vec(), proposer: Some(validator(0)) };
    assert!(effects.contains(&wanted), "{effects:?}");
}

#[test]
fn the_selected_blocks_whose_bundle_lists_are_missing_are_fetched_at_the_start() {
    let mut under = under(3);
    let block = under.block(0, None, &[numbered(1, 0)]);
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &block, &[0, 1, 2])];
    under.start_view(&shown);
    let (_, effects) = restart(&under);
    let fetch = tell(0, Unsigned::FetchBlocks(vec![under.digest(&block)]));
    assert!(effects.contains(&fetch), "{effects:?}");
}

#[test]
fn a_start_tells_everyone_and_runs_the_timers() {
    let genesis = Arc::new(genesis(4, small));
    let mut under = Under::stopped(&genesis, Some(3), Base::genesis(&genesis), true);
    let effects = under.step(Input::Start);
    assert!(effects.contains(&Effect::Broadcast(Unsigned::Status(under.status()))));
    assert_eq!(under.due_in_us(Timer::Status), Some(1_000_000));
    assert_eq!(under.due_in_us(Timer::Rotation), Some(60_000_000));
}

#[test]
fn at_each_prefix_of_the_log_a_restart_votes_for_nothing_else_than_before() {
    // A crash may come after any record: whatever was durable binds, and nothing else was said.
    let mut under = under(3);
    under.hold(&bundles());
    let blocks = under.chain(0, 3, 1);
    let mut promised: Vec<(usize, Vote)> = Vec::new();
    let mut note = |under: &Under, effects: &[Effect]| {
        promised.extend(said(effects).into_iter().map(|vote| (under.log.len(), vote)));
    };
    for block in &blocks {
        let effects = under.propose(0, block);
        note(&under, &effects);
        under.own(&effects);
        let effects = under.votes(VoteKind::Prepare, 0, block, &[1]);
        note(&under, &effects);
        under.own(&effects);
    }
    let mut shown = under.bare_view_change(1);
    shown.prepared = blocks.iter().map(|block| under.prepared(0, block, &[0, 1, 2])).collect();
    let effects = under.start_view(&shown);
    note(&under, &effects);
    for block in &blocks {
        let effects = under.votes(VoteKind::Prepare, 1, block, &[0, 1, 2]);
        note(&under, &effects);
    }
    assert_eq!(promised.len(), 12, "two votes at three heights in two views");
    for length in 0..=under.log.len() {
        let (again, effects) = restart_with(&under, &under.log[..length]);
        for vote in said(&effects) {
            let same = promised
                .iter()
                .find(|(_, known)| (known.kind, known.view, known.height) == (vote.kind, vote.view, vote.height));
            assert_eq!(same.map(|(_, known)| *known), Some(vote), "after {length} records");
        }
        let view = again.replica.show().view;
        for (logged, vote) in promised.iter().filter(|(logged, vote)| *logged <= length && vote.view == view) {
            assert!(
                said(&effects).contains(vote),
                "after {length} records {vote:?} of record {logged} is not repeated"
            );
        }
    }
}

#[test]
fn a_new_view_alone_leads_into_its_view_and_an_older_one_changes_nothing() {
    let (mut under, _) = voted(1);
    under.start_view(&under.bare_view_change(1));
    let of_view_1: Vec<_> = under.log.iter().filter(|it| matches!(it, Record::NewView { .. })).cloned().collect();
    assert_eq!(of_view_1.len(), 1);
    let (again, _) = restart_with(&under, &of_view_1);
    assert_eq!((again.replica.show().view, again.replica.show().active), (View(1), true));
    // It moved on to a view that has not begun; the records of the last one were written again behind that.
    under.move_to(2);
    let log = [under.log.clone(), of_view_1].concat();
    let (again, _) = restart_with(&under, &log);
    assert_eq!((again.replica.show().view, again.replica.show().active), (View(2), false));
}

#[test]
fn each_record_names_its_epoch() {
    let (under, blocks) = voted(1);
    let mut block = blocks[0].clone();
    block.header.epoch = Epoch(3);
    let mut shown = under.bare_view_change(1);
    shown.epoch = Epoch(3);
    let view_changes = vec![under.view_change(0, shown)];
    let mut new_view = under.new_view(1, &view_changes).signed.body.clone();
    new_view.epoch = Epoch(3);
    let new_view = Sealed::new(sign(&under.genesis, validator(1), new_view), under.genesis.chain_id());
    let checkpoint = Checkpoint { epoch: Epoch(3), ..under.checkpoint(&block) };
    let stable = StableCheckpoint { checkpoint, ..under.stable(&block, &[0, 1, 2]) };
    let records = [
        Record::Proposal { view: View(0), block: Arc::new(block.clone()) },
        Record::Committed { block: Arc::new(block.clone()), certificate: None },
        Record::Prepared(Arc::new(under.prepared(0, &block, &[0, 1, 2]))),
        Record::ViewChange(Arc::clone(&view_changes[0])),
        Record::NewView { new_view, view_changes },
        Record::Checkpoint(sign(&under.genesis, validator(3), checkpoint)),
        Record::Stable(Arc::new(stable)),
    ];
    for record in records {
        assert_eq!(record.epoch(), Epoch(3), "{record:?}");
    }
}
