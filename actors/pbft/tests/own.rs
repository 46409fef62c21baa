//! This replica's own statements, back from the outbox (consensus.md section 4).

use std::sync::Arc;

use dtvn_messages::{Height, View, VoteKind};
use dtvn_pbft::{Effect, Input, Message, Own, Record, Say, Unsigned};

use crate::common::build::numbered;
use crate::common::under::{Under, persist, tell, under, votes_said};

#[test]
fn an_own_vote_of_a_view_that_was_left_counts_nowhere() {
    let mut under = under(3);
    under.bundle(numbered(1, 0));
    let block = under.block(0, None, &[numbered(1, 0)]);
    under.propose(0, &block);
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &block, &[0, 1, 2])];
    under.start_view(&shown);
    under.votes(VoteKind::Prepare, 1, &block, &[0, 1]);
    assert_eq!(under.own_vote(under.prepare(0, &block)), [], "PREPARE of view 0 does not complete view 1's");
    assert_eq!(votes_said(&under.own_vote(under.prepare(1, &block))).len(), 1);
}

#[test]
fn an_own_view_change_of_a_view_that_was_left_is_not_repeated() {
    let mut under = under(3);
    let first = under.move_to(1);
    let view_change = |effects: &[Effect], under: &Under| {
        let said = effects.iter().find_map(|effect| match effect {
            Effect::Say { say: say @ Say::ViewChange(_), .. } => Some(under.own_of(say)),
            _ => None,
        });
        match said.unwrap() {
            Own::ViewChange(sealed) => sealed,
            other => panic!("{other:?}"),
        }
    };
    let old = view_change(&first, &under);
    let second = under.move_to(2);
    let current = view_change(&second, &under);
    under.run(Input::Own(Own::ViewChange(old)));
    let effects = under.hear(1, Message::Status(under.status()));
    assert_eq!(
        effects,
        [tell(1, Unsigned::Wish { epoch: current.signed.body.epoch, view: View(2) }), {
            tell(1, Unsigned::ViewChange(current))
        }]
    );
}

#[test]
fn a_leader_starts_its_view_when_its_own_new_view_is_durable() {
    let mut under = under(1);
    let moved = under.move_to(1);
    assert!(!under.replica.show().active);
    let view_changes = [0, 2].map(|signer| under.view_change(signer, under.bare_view_change(1)));
    under.hear(0, Message::ViewChange(Arc::clone(&view_changes[0])));
    let effects = under.hear(2, Message::ViewChange(Arc::clone(&view_changes[1])));
    assert_eq!(effects.len(), 1, "NEW-VIEW: {effects:?}");
    assert!(!under.replica.show().active, "said, and not yet durable");
    let active = under.own(&effects);
    assert_eq!(active, [Effect::Active { view: View(1) }]);
    assert!(!moved.is_empty());
}

#[test]
fn a_leader_says_no_new_view_before_its_own_view_change_is_durable() {
    let mut under = under(1);
    for peer in [0, 2, 3] {
        let view_change = under.view_change(peer, under.bare_view_change(1));
        let effects = under.hear(peer, Message::ViewChange(view_change));
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Say { say: Say::NewView { .. }, .. })));
    }
    assert_eq!(under.replica.show().view, View(1));
}

#[test]
fn what_was_on_its_way_while_the_log_was_collected_is_written_again() {
    let mut under = under(3);
    under.hold(&[0, 1, 2, 3].map(|number| numbered(1, number)));
    let blocks = under.chain(0, 4, 1);
    for block in &blocks {
        under.commit_block(0, block);
    }
    let said = {
        let mut all = Vec::new();
        for peer in [0, 1, 2] {
            let wish = Message::Wish { epoch: dtvn_messages::Epoch(0), view: View(1) };
            all.extend(under.hear(peer, wish));
        }
        all
    };
    let stable = Arc::new(under.stable(&blocks[3], &[0, 1, 2]));
    let effects = under.hear(1, Message::Stable(Arc::clone(&stable)));
    assert!(effects.contains(&Effect::Stable(stable)));
    assert_eq!(under.replica.stable_height(), Height(4));
    let back = under.own(&said);
    assert!(
        back.iter().any(|effect| matches!(effect, Effect::Persist { record: Record::ViewChange(_), .. })),
        "its first record lies before the checkpoint: {back:?}"
    );
}

#[test]
fn an_own_checkpoint_vote_counts_when_it_is_durable() {
    let mut under = under(3);
    under.hold(&[0, 1, 2, 3].map(|number| numbered(1, number)));
    let blocks = under.chain(0, 4, 1);
    for block in &blocks[..3] {
        under.commit_block(0, block);
    }
    let proposed = under.propose(0, &blocks[3]);
    under.own(&proposed);
    let effects = under.votes(VoteKind::Commit, 0, &blocks[3], &[0, 1, 2]);
    for peer in [0, 1] {
        assert_eq!(under.hear(peer, Message::Checkpoint(under.checkpoint_vote(peer, &blocks[3]))), []);
    }
    assert_eq!(under.replica.stable_height(), Height(0));
    let stable = under.own(&effects);
    assert_eq!(under.replica.stable_height(), Height(4));
    let certificate = Arc::new(under.stable(&blocks[3], &[0, 1, 3]));
    let ticket = stable.iter().find_map(|effect| match effect {
        Effect::Persist { ticket, .. } => Some(*ticket),
        _ => None,
    });
    assert_eq!(stable[..1], [persist(ticket.unwrap(), Record::Stable(Arc::clone(&certificate)))]);
    assert_eq!(stable[1..], [Effect::Stable(certificate)]);
}
