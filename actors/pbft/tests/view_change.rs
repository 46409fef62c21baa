//! VIEW-CHANGE: what it shows, and which are kept (consensus.md sections 4 and 6).

use std::sync::Arc;

use dtvn_messages::view_change::SealedViewChange;
use dtvn_messages::{Epoch, Height, View, ViewChange, VoteKind, limits};
use dtvn_pbft::{Effect, Message, Record, Say, Unsigned};

use crate::common::build::numbered;
use crate::common::genesis;
use crate::common::under::{Under, small, tell, under, voted};

fn said(effects: &[Effect]) -> ViewChange {
    let body = effects.iter().find_map(|effect| match effect {
        Effect::Say { say: Say::ViewChange(body), .. } => Some(body.clone()),
        _ => None,
    });
    body.unwrap()
}

#[test]
fn it_shows_the_committed_block_and_for_each_height_above_the_prepared_certificate() {
    let (mut under, blocks) = voted(4);
    under.votes(VoteKind::Prepare, 0, &blocks[0], &[1]);
    under.votes(VoteKind::Commit, 0, &blocks[0], &[0, 1, 2]);
    under.votes(VoteKind::Prepare, 0, &blocks[1], &[1]);
    under.votes(VoteKind::Prepare, 0, &blocks[3], &[1]);
    let body = said(&under.move_to(1));
    assert_eq!(body.view, View(1));
    assert_eq!(body.stable, None);
    assert_eq!(body.committed, Some(under.committed(0, &blocks[0], &[0, 1, 2])));
    let expected = [1, 3].map(|at| under.prepared(0, &blocks[at], &[0, 1, 3]));
    assert_eq!(body.prepared, expected, "height 1 is committed, height 3 is not prepared");
}

#[test]
fn it_shows_the_stable_checkpoint() {
    let (mut under, blocks) = voted(4);
    for block in &blocks {
        under.votes(VoteKind::Commit, 0, block, &[0, 1, 2]);
    }
    let stable = under.stable(&blocks[3], &[0, 1, 2]);
    under.hear(1, Message::Stable(Arc::new(stable.clone())));
    assert_eq!(said(&under.move_to(1)).stable, Some(stable));
}

#[test]
fn a_prepared_certificate_is_replaced_only_by_one_of_a_higher_view() {
    let (mut under, blocks) = voted(1);
    under.votes(VoteKind::Prepare, 0, &blocks[0], &[1]);
    under.move_to(3);
    let higher = under.prepared(2, &blocks[0], &[0, 1, 2]);
    let lower = under.prepared(1, &blocks[0], &[0, 1, 2]);
    let kept = under.hear(0, Message::Prepared(Arc::new(higher.clone())));
    assert!(matches!(&kept[..], [Effect::Persist { record: Record::Prepared(_), .. }]), "{kept:?}");
    assert_eq!(under.hear(0, Message::Prepared(Arc::new(lower))), [], "lower than the one that is kept");
    assert_eq!(said(&under.move_to(4)).prepared, [higher]);
}

#[test]
fn rolling_back_drops_no_certificate() {
    let (mut under, blocks) = voted(2);
    under.votes(VoteKind::Prepare, 0, &blocks[0], &[1]);
    under.votes(VoteKind::Prepare, 0, &blocks[1], &[1]);
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &blocks[0], &[0, 1, 2])];
    let effects = under.start_view(&shown);
    assert!(effects.contains(&Effect::RollBack { to: Height(1) }), "height 2 is not selected");
    let body = said(&under.move_to(2));
    assert_eq!(body.prepared.len(), 2, "both are shown: {body:?}");
}

#[test]
fn a_certificate_is_dropped_only_when_a_stable_checkpoint_covers_it() {
    let (mut under, blocks) = voted(4);
    for block in &blocks {
        under.votes(VoteKind::Prepare, 0, block, &[1]);
    }
    for block in &blocks {
        under.votes(VoteKind::Commit, 0, block, &[0, 1, 2]);
    }
    let count = |under: &Under| format!("{:?}", under.replica).matches("PreparedCertificate {").count();
    assert_eq!(count(&under), 4, "committed, and kept");
    under.hear(1, Message::Stable(Arc::new(under.stable(&blocks[3], &[0, 1, 2]))));
    assert_eq!(count(&under), 0);
}

#[test]
fn one_of_another_epoch_or_of_view_0_counts_nowhere() {
    let mut under = under(3);
    for peer in [0, 1, 2] {
        let mut body = under.bare_view_change(1);
        body.epoch = dtvn_messages::Epoch(1);
        under.hear(peer, Message::ViewChange(under.view_change(peer, body)));
        under.hear(peer, Message::ViewChange(under.view_change(peer, under.bare_view_change(0))));
    }
    assert_eq!(under.replica.show().view, View(0));
}

#[test]
fn it_proves_what_its_sender_committed_and_the_replica_commits_what_it_has_executed() {
    let (mut under, blocks) = voted(2);
    let mut shown = under.bare_view_change(1);
    shown.committed = Some(under.committed(0, &blocks[1], &[0, 1, 2]));
    under.hear(1, Message::ViewChange(under.view_change(1, shown)));
    assert_eq!(under.replica.committed(), Height(2));
}

fn bare(under: &Under, signer: u16, view: u64) -> SealedViewChange {
    under.view_change(signer, under.bare_view_change(view))
}

#[test]
fn of_one_signer_few_are_kept_and_the_one_for_the_current_view_is() {
    let mut under = under(1);
    under.move_to(1);
    let named = bare(&under, 0, 1);
    under.hear(0, Message::ViewChange(Arc::clone(&named)));
    for view in 2..100 {
        under.hear(0, Message::ViewChange(bare(&under, 0, view)));
    }
    let kept = format!("{:?}", under.replica).matches("signer: ValidatorIndex(0)").count();
    assert!(kept <= limits::REPLICA_VIEW_CHANGES_PER_SENDER_MAX, "{kept} are kept");
    let effects = under.hear(2, Message::ViewChange(bare(&under, 2, 1)));
    let new_view = effects.iter().find_map(|effect| match effect {
        Effect::Say { say: Say::NewView { view_changes, .. }, .. } => Some(view_changes.clone()),
        _ => None,
    });
    assert!(new_view.unwrap().contains(&named), "the leader still has it");
}

#[test]
fn what_a_waiting_new_view_names_is_kept_whatever_its_signer_floods() {
    let mut under = under(3);
    under.move_to(1);
    let named = [bare(&under, 0, 1), bare(&under, 1, 1), bare(&under, 2, 1)];
    let other = {
        let block = under.block(0, None, &[]);
        let mut body = under.bare_view_change(1);
        body.prepared = vec![under.prepared(0, &block, &[0, 1, 2])];
        under.view_change(0, body)
    };
    // Validator 0 shows one thing here and another to the leader.
    under.hear(0, Message::ViewChange(other));
    let effects = under.hear(1, Message::NewView(under.new_view(1, &named)));
    let digests = named.iter().map(|named| named.digest).collect();
    assert_eq!(effects, [tell(1, Unsigned::FetchViewChanges { view: View(1), digests })]);
    under.hear(1, Message::ViewChange(Arc::clone(&named[0])));
    for view in 2..100 {
        under.hear(0, Message::ViewChange(bare(&under, 0, view)));
    }
    under.hear(1, Message::ViewChange(Arc::clone(&named[1])));
    let effects = under.hear(1, Message::ViewChange(Arc::clone(&named[2])));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Notify { .. })), "adopted: {effects:?}");
}

#[test]
fn liars_who_lead_later_views_do_not_push_out_what_the_new_view_of_this_one_names() {
    let genesis = Arc::new(genesis(10, small));
    let mut under = Under::new(&genesis, Some(9));
    let liar = 5;
    // Three later views, led by liars: each names another VIEW-CHANGE of the liar, and waits for what never comes.
    for view in [12, 13, 14] {
        let body = under.bare_view_change(view);
        let named: Vec<_> = (0..7).map(|signer| under.view_change(signer, body.clone())).collect();
        let leader = genesis.validators().leader(Epoch(0), View(view));
        under.hear(leader.0, Message::NewView(under.new_view(view, &named)));
        under.hear(liar, Message::ViewChange(Arc::clone(&named[usize::from(liar)])));
    }
    under.move_to(1);
    // To this replica the liar tells one story, and to the leader another one.
    let body = under.bare_view_change(1);
    let block = under.block(0, None, &[numbered(1, 0)]);
    let other = ViewChange { prepared: vec![under.prepared(0, &block, &[0, 1, 2, 3, 4, 5, 6])], ..body.clone() };
    under.hear(liar, Message::ViewChange(under.view_change(liar, other)));
    let named: Vec<_> = (0..7).map(|signer| under.view_change(signer, body.clone())).collect();
    for (signer, view_change) in (0..7).zip(&named).filter(|(signer, _)| *signer != liar) {
        under.hear(signer, Message::ViewChange(Arc::clone(view_change)));
    }
    under.hear(1, Message::NewView(under.new_view(1, &named)));
    let effects = under.hear(1, Message::ViewChange(Arc::clone(&named[usize::from(liar)])));
    under.own(&effects);
    assert!(under.replica.show().active, "the view of an honest leader starts");
}
