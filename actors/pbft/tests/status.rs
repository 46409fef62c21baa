//! STATUS: what a peer that is behind is sent (consensus.md section 7).

use std::sync::Arc;

use dtvn_messages::limits::{REPLICA_ANSWER_INTERVAL_MS, REPLICA_FETCH_BLOCKS_MAX, REPLICA_STATUS_HEIGHTS_MAX};
use dtvn_messages::wire::Status;
use dtvn_messages::{Block, Epoch, Height, View, VoteKind};
use dtvn_pbft::{Effect, Input, Message, Timer, Unsigned};

use crate::common::build::{numbered, validator};
use crate::common::genesis;
use crate::common::under::{Under, tell, under, voted};

fn ask(under: &mut Under, from: u16, status: Status) -> Vec<Unsigned> {
    under.wait_us(15_000);
    let effects = under.hear(from, Message::Status(status));
    let told = |effect: Effect| match effect {
        Effect::Tell { to, what } if to == validator(from) => what,
        other => panic!("{other:?}"),
    };
    effects.into_iter().map(told).collect()
}

#[test]
fn a_peer_that_lacks_nothing_is_sent_nothing() {
    let mut under = under(3);
    let status = under.status();
    assert_eq!(ask(&mut under, 1, status), []);
}

#[test]
fn a_peer_in_the_same_view_is_sent_this_replicas_own_votes_above_its_committed_height_as_they_were() {
    let (mut under, blocks) = voted(2);
    let status = under.status();
    let prepare = |at: usize| Unsigned::Vote(under.signed(3, under.prepare(0, &blocks[at])));
    let expected = [prepare(0), prepare(1)];
    assert_eq!(ask(&mut under, 1, status), expected);
    assert_eq!(ask(&mut under, 1, Status { committed: Height(1), ..status }), expected[1..]);
}

#[test]
fn a_peer_is_sent_prepared_certificates_and_the_own_commit() {
    let (mut under, blocks) = voted(1);
    let said = under.votes(VoteKind::Prepare, 0, &blocks[0], &[1]);
    under.own(&said);
    let status = under.status();
    let expected = [
        Unsigned::Vote(under.signed(3, under.prepare(0, &blocks[0]))),
        Unsigned::Prepared(Arc::new(under.prepared(0, &blocks[0], &[0, 1, 3]))),
        Unsigned::Vote(under.signed(3, under.commit(0, &blocks[0]))),
    ];
    assert_eq!(ask(&mut under, 1, status), expected);
}

#[test]
fn votes_that_are_not_durable_are_not_repeated() {
    let mut under = under(3);
    under.bundle(numbered(1, 0));
    let block = under.block(0, None, &[numbered(1, 0)]);
    under.propose(0, &block);
    let status = under.status();
    assert_eq!(ask(&mut under, 1, status), []);
}

#[test]
fn a_leader_repeats_its_proposal_with_its_first_signature() {
    let mut under = under(0);
    let effects = under.bundle(numbered(0, 0));
    under.own(&effects);
    let Effect::Propose { block, .. } = &effects[2] else { panic!("{effects:?}") };
    let signature = under.signed(0, under.prepare(0, block)).signature;
    let expected = Unsigned::PrePrepare { view: View(0), block: Arc::clone(block), signature };
    let status = under.status();
    assert_eq!(ask(&mut under, 1, status), [expected]);
}

#[test]
fn a_peer_with_a_lower_height_is_sent_the_commit_certificate() {
    let (mut under, blocks) = voted(2);
    under.votes(VoteKind::Commit, 0, &blocks[1], &[0, 1, 2]);
    let proof = Arc::new(under.committed(0, &blocks[1], &[0, 1, 2]));
    let status = under.status();
    assert_eq!(ask(&mut under, 1, status), [Unsigned::Committed(proof)]);
}

#[test]
fn a_peer_with_a_lower_stable_checkpoint_is_sent_it_and_own_checkpoint_votes_above() {
    let (mut under, blocks) = voted(4);
    let said = under.votes(VoteKind::Commit, 0, &blocks[3], &[0, 1, 2]);
    under.own(&said);
    let committed = Status { committed: Height(4), ..under.status() };
    let own = Unsigned::Checkpoint(under.checkpoint_vote(3, &blocks[3]));
    assert_eq!(ask(&mut under, 1, committed), [own]);
    let stable = Arc::new(under.stable(&blocks[3], &[0, 1, 2]));
    under.hear(1, Message::Stable(Arc::clone(&stable)));
    assert_eq!(ask(&mut under, 1, committed), [Unsigned::Stable(stable)]);
}

#[test]
fn a_peer_in_an_older_view_or_without_its_new_view_is_sent_both() {
    let mut under = under(3);
    let moved = under.move_to(1);
    let own = moved.iter().find_map(|effect| match effect {
        Effect::Say { say: dtvn_pbft::Say::ViewChange(body), .. } => Some(under.view_change(3, body.clone())),
        _ => None,
    });
    let own = Unsigned::ViewChange(own.unwrap());
    let older = Status { wish: View(1), ..under.status() };
    let same = Status { view: View(1), active: false, ..older };
    assert_eq!(ask(&mut under, 0, older), std::slice::from_ref(&own));
    assert_eq!(ask(&mut under, 0, same), std::slice::from_ref(&own));
    under.start_view(&under.bare_view_change(1));
    let view_changes = [0, 1, 2].map(|signer| under.view_change(signer, under.bare_view_change(1)));
    let new_view = Unsigned::NewView(under.new_view(1, &view_changes));
    assert_eq!(ask(&mut under, 0, older), [own.clone(), new_view.clone()]);
    assert_eq!(ask(&mut under, 0, same), [own, new_view]);
    assert_eq!(ask(&mut under, 0, Status { active: true, ..same }), []);
    assert_eq!(ask(&mut under, 0, Status { view: View(2), active: false, ..same }), [], "it is ahead");
}

#[test]
fn a_peer_that_knows_less_of_a_wish_is_sent_it() {
    let (mut under, _) = voted(1);
    under.fire(Timer::View);
    let status = Status { committed: Height(9), ..under.status() };
    let wish = Unsigned::Wish { epoch: Epoch(0), view: View(1) };
    assert_eq!(ask(&mut under, 1, status), [wish]);
    assert_eq!(ask(&mut under, 1, Status { wish: View(1), ..status }), []);
}

#[test]
fn a_peer_that_asks_more_often_than_it_may_gets_no_answer_and_others_do() {
    let (mut under, _) = voted(1);
    let status = Message::Status(under.status());
    assert_eq!(under.hear(1, status.clone()).len(), 1);
    assert_eq!(under.hear(1, status.clone()), []);
    assert_eq!(under.hear(2, status.clone()).len(), 1);
    under.wait_us(15_000);
    assert_eq!(under.hear(1, status).len(), 1);
}

#[test]
fn a_status_of_another_epoch_or_with_the_largest_numbers_does_no_harm() {
    let (mut under, _) = voted(1);
    let status = under.status();
    let told = ask(&mut under, 1, Status { epoch: Epoch(1), ..status });
    assert!(matches!(told[..], [Unsigned::Status(_)]), "only where it stands itself: {told:?}");
    let (view, height) = (View(u64::MAX), Height(u64::MAX));
    let largest = Status { view, committed: height, stable: height, wish: view, ..status };
    assert_eq!(ask(&mut under, 1, largest), []);
    assert_eq!(ask(&mut under, 1, Status { view: View(0), ..largest }), []);
}

#[test]
fn a_link_that_comes_up_is_told_where_this_replica_stands() {
    let mut under = under(3);
    let status = Unsigned::Status(under.status());
    assert_eq!(under.quiet(Input::PeerUp(validator(1))), [tell(1, status)]);
}

#[test]
fn it_is_said_more_often_while_something_is_pending() {
    let mut under = under(3);
    assert_eq!(under.due_in_us(Timer::Status), Some(1_000_000), "idle");
    under.bundle(numbered(1, 0));
    let block = under.block(0, None, &[numbered(1, 0)]);
    under.propose(0, &block);
    assert_eq!(under.due_in_us(Timer::Status), Some(250_000), "a quarter of the view timeout");
    let generation = 2;
    under.wait_us(250_000);
    let effects = under.step(Input::Timer { timer: Timer::Status, generation });
    let pending = Status { pending: true, ..under.status() };
    assert!(effects.contains(&Effect::Broadcast(Unsigned::Status(pending))), "{effects:?}");
}

#[test]
fn an_answer_carries_so_many_heights_and_the_next_one_the_next() {
    let most = REPLICA_STATUS_HEIGHTS_MAX as u64;
    let genesis = Arc::new(genesis(4, |parameters| parameters.rotation_interval = 0));
    let mut under = Under::new(&genesis, Some(3));
    under.hold(&(0..most + 6).map(|number| numbered(1, number)).collect::<Vec<_>>());
    // Their times, ten milliseconds apart, are all near enough to the clock.
    under.wait_us(300_000);
    for block in under.chain(0, most + 6, 1) {
        let effects = under.propose(0, &block);
        under.own(&effects);
    }
    let mut answered = |committed: u64| {
        under.wait_us(REPLICA_ANSWER_INTERVAL_MS * 1_000);
        let committed = Height(committed);
        let status = Status {
            epoch: Epoch(0),
            view: View(0),
            active: true,
            committed,
            stable: Height(0),
            wish: View(0),
            pending: true,
        };
        let effects = under.hear(1, Message::Status(status));
        let heights = effects.iter().filter_map(|effect| match effect {
            Effect::Tell { what: Unsigned::Vote(vote), .. } => Some(vote.body.height.0),
            _ => None,
        });
        heights.collect::<Vec<_>>()
    };
    assert_eq!(answered(0), (1..=most).collect::<Vec<_>>());
    assert_eq!(answered(most), (most + 1..=most + 6).collect::<Vec<_>>());
}

#[test]
fn a_peer_is_sent_so_many_bundle_lists_at_once() {
    let most = REPLICA_FETCH_BLOCKS_MAX;
    let genesis = Arc::new(genesis(4, |parameters| parameters.rotation_interval = 0));
    let mut under = Under::new(&genesis, Some(3));
    under.hold(&(0..most as u64 + 6).map(|number| numbered(1, number)).collect::<Vec<_>>());
    let blocks = under.chain(0, most as u64 + 6, 1);
    for block in &blocks {
        under.propose(0, block);
    }
    let mut sent = |blocks: &[Block]| {
        under.wait_us(REPLICA_ANSWER_INTERVAL_MS * 1_000);
        let digests = blocks.iter().map(|block| under.digest(block)).collect();
        let effects = under.hear(1, Message::FetchBlocks(digests));
        effects.iter().filter(|effect| matches!(effect, Effect::Tell { what: Unsigned::Block(_), .. })).count()
    };
    assert_eq!(sent(&blocks), most);
    assert_eq!(sent(&blocks[most..]), 6, "the rest is asked for again");
}
