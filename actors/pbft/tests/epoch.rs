//! A later epoch: it begins on the last block of the one before, at view 0, with its own leaders (consensus.md sections
//! 1, 3 and 10).

use std::sync::Arc;

use dtvn_messages::view_change::{Sealed, SealedViewChange};
use dtvn_messages::{Block, Epoch, Height, NewView, ValidatorSet, View, ViewChange, Vote, VoteKind};
use dtvn_pbft::{Base, Config, Effect, Input, Message, Say};

use crate::common::build::{numbered, validator};
use crate::common::under::{Under, small, votes_said};
use crate::common::{genesis, sign};

/// The height on which epoch 1 begins.
const BASE: u64 = 4;

/// Validator 3 of four in epoch 1, and the block on which the epoch begins.
fn second_epoch() -> (Under, Block) {
    second_epoch_of(4, 3)
}

/// Validator `me` in epoch 1, whose validators are the first `count` of four; and the block on which the epoch begins.
fn second_epoch_of(count: usize, me: u16) -> (Under, Block) {
    let genesis = Arc::new(genesis(4, small));
    let story = crate::common::build::Story::new(&genesis);
    let last = story.chain(0, BASE, 1).pop().unwrap();
    let key = genesis.validators().key(validator(me));
    let mut config = Config::from_genesis(&genesis, key.as_ref());
    let left = genesis.validators().iter().take(count).map(|(_, validator)| validator.clone());
    config.set = Arc::new(ValidatorSet::new(left.collect()).unwrap());
    config.epoch = Epoch(1);
    config.epoch_base = Height(BASE);
    config.epoch_base_digest = story.digest(&last);
    let stable = Some(Arc::new(story.stable(&last, &[0, 1, 2])));
    let base = Base { stable, ..story.base(&last, 1, &[0, 1, 2]) };
    let mut under = Under::configured(&genesis, config, base, true);
    under.run(Input::Start);
    under.bundle(numbered(2, 0));
    (under, last)
}

/// The block of the leader of a view of epoch 1 on top of another.
fn block(under: &Under, view: u64, below: &Block) -> Block {
    let mut block = under.block(view, Some(below), &[numbered(2, 0)]);
    block.header.epoch = Epoch(1);
    block.header.proposer = under.genesis.validators().leader(Epoch(1), View(view));
    block
}

fn pre_prepare(under: &Under, view: u64, block: &Block) -> Message {
    let vote = under.prepare(view, block);
    let signature = sign(&under.genesis, block.header.proposer, vote).signature;
    Message::PrePrepare { view: View(view), block: Arc::new(block.clone()), digest: vote.digest, signature }
}

fn voted(effects: &[Effect]) -> Vec<Vote> {
    votes_said(effects).into_iter().map(|(_, vote)| vote).collect()
}

#[test]
fn it_is_active_from_view_0_under_its_own_leader_above_its_base() {
    let (mut under, last) = second_epoch();
    assert_eq!(under.replica.leader(), validator(1), "(1 + 0) mod 4");
    let next = block(&under, 0, &last);
    let message = pre_prepare(&under, 0, &next);
    assert_eq!(voted(&under.hear(1, message)), [under.prepare(0, &next)]);
    assert_eq!(next.header.height, Height(BASE + 1));
}

#[test]
fn a_view_of_it_starts_from_its_base_if_nothing_is_shown() {
    let (mut under, last) = second_epoch();
    let bare = ViewChange { epoch: Epoch(1), view: View(1), stable: None, committed: None, prepared: Vec::new() };
    let view_changes: Vec<SealedViewChange> = (0..3).map(|signer| under.view_change(signer, bare.clone())).collect();
    let mut effects = Vec::new();
    for view_change in &view_changes {
        effects.extend(under.hear(2, Message::ViewChange(Arc::clone(view_change))));
    }
    let said = effects.iter().find_map(|effect| match effect {
        Effect::Say { say: Say::ViewChange(body), .. } => Some(body.clone()),
        _ => None,
    });
    assert_eq!(said, Some(bare), "certificates of the epoch before are not shown");
    let named = view_changes.iter().map(|named| (named.signed.signer, named.digest)).collect();
    let body = NewView { epoch: Epoch(1), view: View(1), view_changes: named };
    let new_view = Sealed::new(sign(&under.genesis, validator(2), body), under.genesis.chain_id());
    let adopted = under.hear(2, Message::NewView(new_view));
    assert_eq!(under.own(&adopted), [Effect::Active { view: View(1) }]);
    let next = block(&under, 1, &last);
    let message = pre_prepare(&under, 1, &next);
    assert_eq!(voted(&under.hear(2, message)), [under.prepare(1, &next)]);
}

#[test]
fn a_peer_of_the_epoch_before_is_shown_how_it_ended() {
    let (mut under, _) = second_epoch();
    let shown = under.hear(0, Message::Status(under.status()));
    assert_eq!(shown, [Effect::ShowEpochEnd { to: validator(0), epoch: Epoch(0) }]);
}

#[test]
fn what_was_said_in_the_epoch_before_counts_nowhere() {
    let (mut under, last) = second_epoch();
    let next = block(&under, 0, &last);
    let message = pre_prepare(&under, 0, &next);
    under.hear(1, message);
    for signer in [0, 2] {
        let old = Vote { epoch: Epoch(0), ..under.vote(VoteKind::Prepare, 0, &next) };
        assert_eq!(under.hear(signer, Message::Vote(under.signed(signer, old))), []);
        let old = Message::ViewChange(under.view_change(signer, under.bare_view_change(1)));
        assert_eq!(under.hear(signer, old), []);
        assert_eq!(under.hear(signer, Message::Wish { epoch: Epoch(0), view: View(1) }), []);
    }
    let old = Message::Committed(Arc::new(under.committed(0, &under.chain(0, 6, 1)[5], &[0, 1, 2])));
    assert_eq!(under.hear(0, old), []);
    let old = Message::Prepared(Arc::new(under.prepared(0, &under.chain(0, 6, 1)[5], &[0, 1, 2])));
    assert_eq!(under.hear(0, old), []);
    let old = Message::Stable(Arc::new(under.stable(&under.chain(0, 8, 1)[7], &[0, 1, 2])));
    assert_eq!(under.hear(0, old), []);
    assert_eq!(under.replica.show().proved, Height(BASE));
}

/// A message that changes nothing, and of which nothing is kept.
fn left_alone(under: &mut Under, from: u16, message: Message) {
    let before = format!("{:?}", under.replica);
    assert_eq!(under.hear(from, message.clone()), [], "{message:?}");
    assert_eq!(format!("{:?}", under.replica), before, "{message:?}");
}

/// Validator 3 of the epoch before goes on in the next one, with its own key, about what the three that are left vote on.
#[test]
fn fresh_votes_of_a_removed_validator_count_nowhere() {
    let (mut under, last) = second_epoch_of(3, 2);
    let next = block(&under, 0, &last);
    let message = pre_prepare(&under, 0, &next);
    let effects = under.hear(1, message);
    assert_eq!(voted(&under.settle(effects)), [under.prepare(0, &next)]);
    for kind in [VoteKind::Prepare, VoteKind::Commit] {
        let vote = Message::Vote(under.signed(3, under.vote(kind, 0, &next)));
        left_alone(&mut under, 3, vote.clone());
        left_alone(&mut under, 0, vote);
    }
    let bare = ViewChange { epoch: Epoch(1), view: View(1), stable: None, committed: None, prepared: Vec::new() };
    let view_change = Message::ViewChange(under.view_change(3, bare));
    left_alone(&mut under, 3, view_change);
    left_alone(&mut under, 3, Message::Wish { epoch: Epoch(1), view: View(1) });
    // The leader's, its own, and that of validator 0 are all that there are.
    let prepared = under.votes(VoteKind::Prepare, 0, &next, &[0]);
    assert_eq!(voted(&under.settle(prepared)), [under.commit(0, &next)]);
    under.votes(VoteKind::Commit, 0, &next, &[1, 3]);
    assert_eq!(under.replica.committed(), Height(BASE), "two of three");
    under.votes(VoteKind::Commit, 0, &next, &[0]);
    assert_eq!(under.replica.committed(), Height(BASE + 1));
}

#[test]
fn a_validator_knows_itself_in_its_epoch_and_the_one_before_and_takes_nothing_from_strangers_and_itself() {
    let genesis = Arc::new(genesis(4, small));
    let key = genesis.validators().key(validator(3));
    let mut config = Config::from_genesis(&genesis, key.as_ref());
    config.epoch = Epoch(2);
    let set = Arc::clone(&config.set);
    config.former = Some(dtvn_pbft::Committee { epoch: Epoch(1), set, me: Some(validator(1)) });
    for (epoch, index, is_me) in
        [(2, 3, true), (2, 1, false), (1, 1, true), (1, 3, false), (0, 1, false), (3, 3, false)]
    {
        assert_eq!(config.is_me(Epoch(epoch), validator(index)), is_me, "{epoch} {index}");
    }
    let (mut under, _) = second_epoch();
    // Three wishes would move it; these are of one validator.
    for from in [3, 9, u16::MAX] {
        assert_eq!(under.hear(from, Message::Wish { epoch: Epoch(1), view: View(1) }), []);
    }
    assert_eq!(under.hear(0, Message::Wish { epoch: Epoch(1), view: View(1) }), []);
    assert_eq!(under.replica.show().view, View(0));
}
