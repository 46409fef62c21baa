//! Who lost something, and when it may sign again: its log, its derived state, or that its epoch is over (consensus.md
//! sections 4 and 10).

use std::sync::Arc;

use dtvn_messages::{Block, Epoch, Height, VoteKind};
use dtvn_pbft::{Base, Config, Effect, Input, Record, Unsigned};

use crate::common::build::{numbered, validator};
use crate::common::genesis;
use crate::common::under::{Under, small, voted, votes_said};

fn hold_all(under: &mut Under) {
    under.hold(&[0, 1, 2, 3].map(|number| numbered(1, number)));
}

#[test]
fn a_validator_that_lost_its_log_follows_and_signs_nothing() {
    let genesis = Arc::new(genesis(4, small));
    let mut under = Under::stopped(&genesis, Some(3), Base::genesis(&genesis), false);
    under.run(Input::Start);
    hold_all(&mut under);
    let blocks = under.chain(0, 4, 1);
    let mut effects = Vec::new();
    for block in &blocks {
        effects.extend(under.propose(0, block));
        effects.extend(under.votes(VoteKind::Prepare, 0, block, &[1, 2]));
        effects.extend(under.votes(VoteKind::Commit, 0, block, &[0, 1, 2]));
    }
    assert_eq!(under.replica.committed(), Height(4));
    effects.extend(under.move_to(1));
    let signs = |effect: &&Effect| matches!(effect, Effect::Say { .. } | Effect::Propose { .. });
    assert_eq!(effects.iter().find(signs), None);
    let wishes = |effect: &&Effect| matches!(effect, Effect::Broadcast(Unsigned::Wish { .. }));
    assert_eq!(effects.iter().find(wishes), None);
}

#[test]
fn a_state_below_the_stable_checkpoint_of_the_own_log_signs_nothing_until_it_is_there() {
    let genesis = Arc::new(genesis(4, small));
    let mut under = Under::stopped(&genesis, Some(3), Base::genesis(&genesis), true);
    let blocks = under.chain(0, 5, 1);
    // The state was lost; of the log the stable checkpoint is left, and nothing below it.
    let stable = Arc::new(under.stable(&blocks[3], &[0, 1, 2]));
    under.step(Input::Replay(Record::Stable(stable)));
    under.run(Input::Start);
    under.hold(&(0..5).map(|number| numbered(1, number)).collect::<Vec<_>>());
    let says = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Say { .. }));
    assert!(!says(&under.propose(0, &blocks[0])), "it may have voted for another block there");
    assert!(!under.replica.show().voting);
    let certified = |number: usize, signers: &[u16]| under.certified(0, &blocks[number], signers);
    let synced = vec![certified(0, &[]), certified(1, &[]), certified(2, &[]), certified(3, &[0, 1, 2])];
    under.run(Input::Certified(synced));
    assert_eq!(under.replica.committed(), Height(4));
    assert!(under.replica.show().voting);
    assert!(says(&under.propose(0, &blocks[4])));
}

#[test]
fn of_several_stable_checkpoints_in_the_log_the_highest_must_be_reached() {
    for order in [[3, 7], [7, 3]] {
        let genesis = Arc::new(genesis(4, small));
        let mut under = Under::stopped(&genesis, Some(3), Base::genesis(&genesis), true);
        let blocks = under.chain(0, 8, 1);
        for number in order {
            let stable = Arc::new(under.stable(&blocks[number], &[0, 1, 2]));
            under.step(Input::Replay(Record::Stable(stable)));
        }
        under.run(Input::Start);
        under.hold(&(0..8).map(|number| numbered(1, number)).collect::<Vec<_>>());
        for (part, votes) in [(&blocks[..4], false), (&blocks[4..], true)] {
            let signers =
                |block: &Block| if block.header.height.0.is_multiple_of(4) { vec![0, 1, 2] } else { Vec::new() };
            let certified = part.iter().map(|block| under.certified(0, block, &signers(block))).collect();
            under.run(Input::Certified(certified));
            assert_eq!(under.replica.committed(), part[3].header.height);
            assert_eq!(under.replica.show().voting, votes, "{order:?}");
        }
    }
}

/// The configuration of another epoch, with the same validators.
fn restart_in_epoch(under: &Under, epoch: Epoch, log: &[Record]) -> (Under, Vec<Effect>) {
    let key = under.genesis.validators().key(validator(3));
    let config = Config { epoch, ..Config::from_genesis(&under.genesis, key.as_ref()) };
    let mut again = Under::configured(&under.genesis, config, Base::genesis(&under.genesis), true);
    log.iter().for_each(|record| _ = again.step(Input::Replay(record.clone())));
    let effects = again.run(Input::Start);
    (again, effects)
}

#[test]
fn what_was_signed_in_a_former_epoch_is_no_promise_in_this_one() {
    let (under, _) = voted(1);
    let (again, effects) = restart_in_epoch(&under, Epoch(1), &under.log);
    assert_eq!(votes_said(&effects), []);
    assert!(again.replica.show().voting);
}

#[test]
fn in_an_epoch_that_the_own_log_has_left_nothing_is_signed() {
    let (under, blocks) = voted(1);
    let mut later = blocks[0].clone();
    later.header.epoch = Epoch(1);
    let of_later_epoch = Record::Proposal { view: dtvn_messages::View(0), block: Arc::new(later) };
    for log in [vec![of_later_epoch.clone()], [&under.log[..], &[of_later_epoch]].concat()] {
        let mut again = under.restarted(&log, &[numbered(1, 0)]);
        let effects = again.run(Input::Start);
        assert!(!again.replica.show().voting);
        let mut effects = [effects, again.propose(0, &blocks[0])].concat();
        effects.extend(again.votes(VoteKind::Prepare, 0, &blocks[0], &[0, 1, 2]));
        effects.extend(again.move_to(1));
        let signs = |effect: &&Effect| matches!(effect, Effect::Say { .. } | Effect::Propose { .. });
        assert_eq!(effects.iter().find(signs), None);
        // It follows.
        again.votes(VoteKind::Commit, 0, &blocks[0], &[0, 1, 2]);
        let certified = vec![again.certified(0, &blocks[0], &[0, 1, 2])];
        again.run(Input::Certified(certified));
        assert_eq!(again.replica.committed(), Height(1));
    }
}
