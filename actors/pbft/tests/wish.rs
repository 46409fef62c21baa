//! WISH: who moves whom (consensus.md section 6).

use std::sync::Arc;

use dtvn_messages::{Epoch, View, VoteKind};
use dtvn_pbft::{Cause, Effect, Message, Timer};

use crate::common::build::numbered;
use crate::common::genesis_with_powers;
use crate::common::under::{Under, small, under, votes_said, wish};

fn hear_wish(under: &mut Under, from: u16, view: u64) -> Vec<Effect> {
    under.hear(from, Message::Wish { epoch: Epoch(0), view: View(view) })
}

fn view(under: &Under) -> u64 {
    under.replica.show().view.0
}

/// Whether the effects say a VIEW-CHANGE for this view.
fn says_view_change(effects: &[Effect], view: u64) -> bool {
    effects.iter().any(
        |effect| matches!(effect, Effect::Say { say: dtvn_pbft::Say::ViewChange(body), .. } if body.view == View(view)),
    )
}

#[test]
fn wishes_of_power_f_are_joined_and_wishes_of_power_q_move() {
    let mut under = under(3);
    assert_eq!(hear_wish(&mut under, 0, 1), [], "one of four may be anybody");
    let effects = hear_wish(&mut under, 1, 1);
    assert_eq!(effects[0], wish(1), "two hold an honest one");
    assert!(effects.contains(&Effect::Moved { view: View(1), cause: Cause::JoinedOthers }), "with its own it is Q");
    assert!(says_view_change(&effects, 1));
    assert_eq!(view(&under), 1);
}

#[test]
fn power_decides_who_is_joined_and_who_moves() {
    // Total 6: F is 2, Q is 5.
    for (powers, wishes, joins, moves) in [
        ([3, 1, 1, 1], [1].as_slice(), false, false),
        ([3, 1, 1, 1], [1, 2].as_slice(), true, false),
        ([3, 1, 1, 1], [0].as_slice(), true, false),
        ([3, 1, 1, 1], [0, 1].as_slice(), true, true),
        ([1, 3, 1, 1], [0, 2].as_slice(), true, false),
    ] {
        let genesis = Arc::new(genesis_with_powers(&powers, small));
        let mut under = Under::new(&genesis, Some(3));
        let effects: Vec<Effect> = wishes.iter().flat_map(|from| hear_wish(&mut under, *from, 1)).collect();
        assert_eq!(effects.contains(&wish(1)), joins, "{powers:?} {wishes:?}");
        assert_eq!(view(&under) == 1, moves, "{powers:?} {wishes:?}");
    }
}

#[test]
fn one_impatient_node_moves_nobody_and_goes_on_voting() {
    let mut under = under(3);
    under.hold(&[numbered(1, 0), numbered(1, 1)]);
    let blocks = under.chain(0, 2, 1);
    under.propose(0, &blocks[0]);
    assert_eq!(under.fire(Timer::View), [wish(1)]);
    assert_eq!(view(&under), 0);
    let block = under.block(0, Some(&blocks[0]), &[numbered(1, 1)]);
    under.now.wall = block.header.timestamp;
    assert_eq!(votes_said(&under.propose(0, &block)).len(), 1, "a wish costs no vote");
    under.votes(VoteKind::Commit, 0, &block, &[0, 1, 2]);
    assert_eq!(under.replica.committed().0, 2);
}

#[test]
fn the_highest_wish_of_each_is_kept_and_the_highest_view_with_enough_power_wins() {
    let genesis = Arc::new(crate::common::genesis(7, small));
    let mut under = Under::new(&genesis, Some(6));
    // F is 3, Q is 5.
    hear_wish(&mut under, 0, u64::MAX);
    hear_wish(&mut under, 1, 9);
    hear_wish(&mut under, 1, 2);
    assert_eq!(hear_wish(&mut under, 2, 5), [wish(5)], "three wish for 5 or later: {{max, 9, 5}}");
    assert_eq!(view(&under), 0);
    let effects = hear_wish(&mut under, 3, 4);
    assert!(says_view_change(&effects, 4), "five wish for 4 or later: {{max, 9, 5, own 5, 4}}");
    assert_eq!(view(&under), 4);
}

#[test]
fn one_wish_for_the_last_view_of_all_moves_nobody() {
    let mut under = under(3);
    for _ in 0..3 {
        assert_eq!(hear_wish(&mut under, 0, u64::MAX), []);
    }
    let effects = hear_wish(&mut under, 1, 1);
    assert_eq!(effects[0], wish(1));
    assert_eq!(view(&under), 1);
}

#[test]
fn even_the_last_view_of_all_is_reached_without_harm() {
    let mut under = under(3);
    for peer in [0, 1, 2] {
        hear_wish(&mut under, peer, u64::MAX);
    }
    assert_eq!(view(&under), u64::MAX);
    under.fire(Timer::View);
    assert_eq!(view(&under), u64::MAX);
}

#[test]
fn a_view_change_counts_as_a_wish_of_its_signer_also_when_another_relays_it() {
    let mut under = under(3);
    let view_change = under.view_change(0, under.bare_view_change(2));
    under.hear(1, Message::ViewChange(view_change));
    assert_eq!(hear_wish(&mut under, 1, 2)[0], wish(2));
    assert_eq!(view(&under), 2);
}

#[test]
fn a_status_carries_a_wish_that_was_lost() {
    let mut under = under(3);
    let mut status = under.status();
    status.wish = View(1);
    under.hear(0, Message::Status(status));
    under.hear(1, Message::Status(status));
    assert_eq!(view(&under), 1);
}

#[test]
fn a_wish_of_another_epoch_counts_nowhere() {
    let mut under = under(3);
    for peer in [0, 1, 2] {
        assert_eq!(under.hear(peer, Message::Wish { epoch: Epoch(1), view: View(1) }), []);
    }
    assert_eq!(view(&under), 0);
}

#[test]
fn a_wish_is_said_once() {
    let mut under = under(3);
    under.hold(&[numbered(1, 0)]);
    let block = under.block(0, None, &[numbered(1, 0)]);
    under.propose(0, &block);
    assert_eq!(under.fire(Timer::View), [wish(1)]);
    assert_eq!(under.fire(Timer::View), [], "its status repeats it");
}

#[test]
fn an_observer_moves_with_the_quorum_and_says_nothing() {
    let genesis = Arc::new(crate::common::genesis(4, small));
    let mut under = Under::new(&genesis, None);
    hear_wish(&mut under, 0, 1);
    assert_eq!(hear_wish(&mut under, 1, 1), []);
    let effects = hear_wish(&mut under, 2, 1);
    assert_eq!(effects, [Effect::WantNothing, Effect::Moved { view: View(1), cause: Cause::JoinedOthers }]);
}
