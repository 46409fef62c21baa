//! NEW-VIEW: who says it, when it is adopted, what it starts (consensus.md section 6).

use std::sync::Arc;

use dtvn_messages::view_change::{Sealed, SealedViewChange};
use dtvn_messages::{Block, Digest, Epoch, Height, NewView, View, VoteKind};
use dtvn_pbft::{Durable, Effect, Input, Message, Record, Say, Timer, Unsigned};

use crate::common::build::{numbered, validator};
use crate::common::under::{Under, blame, persist, small, tell, under, votes_said, wish};
use crate::common::{genesis, sign};

fn bare(under: &Under, signer: u16, view: u64) -> SealedViewChange {
    under.view_change(signer, under.bare_view_change(view))
}

/// Validator 3 of four in view 1 with the VIEW-CHANGEs of all peers, and no NEW-VIEW.
fn moved() -> (Under, [SealedViewChange; 3]) {
    let mut under = under(3);
    under.move_to(1);
    let view_changes = [0, 1, 2].map(|signer| bare(&under, signer, 1));
    for view_change in &view_changes {
        under.hear(2, Message::ViewChange(Arc::clone(view_change)));
    }
    (under, view_changes)
}

#[test]
fn it_is_on_the_disk_before_its_view_is_active() {
    let (mut under, view_changes) = moved();
    let new_view = under.new_view(1, &view_changes);
    let effects = under.hear(1, Message::NewView(Arc::clone(&new_view)));
    let record = Record::NewView { new_view, view_changes: view_changes.to_vec() };
    let notify = Effect::Notify { after: 2, what: Durable::NewView(View(1)) };
    assert_eq!(effects, [persist(2, record), notify]);
    assert!(!under.replica.show().active);
    let active = under.own(&effects);
    assert_eq!(active, [Effect::Active { view: View(1) }]);
}

#[test]
fn one_that_becomes_durable_after_its_view_was_left_starts_nothing() {
    let (mut under, view_changes) = moved();
    let effects = under.hear(1, Message::NewView(under.new_view(1, &view_changes)));
    under.move_to(2);
    assert_eq!(under.own(&effects), []);
    assert!(!under.replica.show().active);
}

#[test]
fn the_longest_view_changes_are_not_named_where_others_are_enough() {
    let small = Arc::new(genesis(4, small));
    let window = small.parameters().log_window;
    // The leader's own is the last that is durable, or one of a peer that is needed.
    for (long, named) in [(3, vec![0, 1, 2]), (0, vec![1, 2, 3])] {
        let mut under = Under::new(&small, Some(1));
        let blocks = under.chain(0, window + 1, 1);
        let mut said = Vec::new();
        for signer in [0, 2, 3] {
            let mut shown = under.bare_view_change(1);
            if signer == long {
                shown.prepared = blocks.iter().map(|block| under.prepared(0, block, &[0, 2, 3])).collect();
            }
            said.extend(under.hear(signer, Message::ViewChange(under.view_change(signer, shown))));
        }
        let found = under.own(&said).into_iter().find_map(|effect| match effect {
            Effect::Say { say: Say::NewView { new_view, .. }, .. } => Some(new_view.view_changes),
            _ => None,
        });
        let signers: Vec<u16> = found.unwrap().iter().map(|(signer, _)| signer.0).collect();
        assert_eq!(signers, named);
    }
    let mut under = Under::new(&small, Some(1));
    let blocks = under.chain(0, window + 1, 1);
    let mut long = under.bare_view_change(1);
    long.prepared = blocks.iter().map(|block| under.prepared(0, block, &[0, 2, 3])).collect();
    under.move_to(1);
    under.hear(0, Message::ViewChange(bare(&under, 0, 1)));
    let effects = under.hear(3, Message::ViewChange(under.view_change(3, long)));
    let is_said = |effect: &Effect| matches!(effect, Effect::Say { say: Say::NewView { .. }, .. });
    assert!(effects.iter().any(is_said), "without it there is no quorum");
}

#[test]
fn the_leader_says_it_once_view_changes_of_power_q_are_there() {
    let mut under = under(1);
    under.move_to(1);
    assert_eq!(under.hear(0, Message::ViewChange(bare(&under, 0, 1))), [], "two of four");
    let effects = under.hear(2, Message::ViewChange(bare(&under, 2, 1)));
    let [Effect::Say { after: 2, say: Say::NewView { new_view, view_changes } }] = &effects[..] else {
        panic!("{effects:?}")
    };
    let named: Vec<u16> = new_view.view_changes.iter().map(|(signer, _)| signer.0).collect();
    assert_eq!((new_view.view, named), (View(1), vec![0, 1, 2]));
    assert_eq!(view_changes.len(), 3);
    let more = under.hear(3, Message::ViewChange(bare(&under, 3, 1)));
    assert_eq!(more, [], "and only once");
}

#[test]
fn only_the_leader_of_its_view_says_it() {
    let (mut under, view_changes) = moved();
    let body = under.new_view(1, &view_changes).signed.body.clone();
    let foreign = Sealed::new(sign(&under.genesis, validator(2), body), under.genesis.chain_id());
    let effects = under.hear(2, Message::NewView(foreign));
    assert_eq!(effects, [blame(2, "it sent a NEW-VIEW without being that view's leader")]);
}

#[test]
fn a_bad_one_of_the_current_view_is_blamed_and_ends_the_view() {
    let (few, repeated) = ("its NEW-VIEW names too few or repeated view changes", [0, 1, 1].as_slice());
    for (signers, why) in [([0, 1].as_slice(), few), (repeated, few)] {
        let (mut under, view_changes) = moved();
        let named: Vec<SealedViewChange> = signers.iter().map(|at: &usize| Arc::clone(&view_changes[*at])).collect();
        let effects = under.hear(1, Message::NewView(under.new_view(1, &named)));
        assert_eq!(effects, [blame(1, why), wish(2)]);
    }
    let (mut under, view_changes) = moved();
    let later = bare(&under, 2, 2);
    under.hear(2, Message::ViewChange(Arc::clone(&later)));
    let named = [Arc::clone(&view_changes[0]), Arc::clone(&view_changes[1]), later];
    let effects = under.hear(1, Message::NewView(under.new_view(1, &named)));
    assert_eq!(effects, [blame(1, "its NEW-VIEW names other views' changes"), wish(2)]);
}

#[test]
fn a_bad_one_of_another_view_ends_nothing() {
    // Otherwise whoever leads some later view could end the current one at any time.
    let mut under = under(3);
    let bad = under.new_view(2, &[bare(&under, 0, 2)]);
    let effects = under.hear(2, Message::NewView(bad));
    assert_eq!(effects, [blame(2, "its NEW-VIEW names too few or repeated view changes")]);
    assert_eq!(under.replica.show().view, View(0));
}

#[test]
fn one_for_a_far_view_does_not_hide_that_of_the_next() {
    let (mut under, view_changes) = moved();
    let nothing = |under: &Under, view: u64, leader: u16| {
        let named = [0, 1, 2].map(|signer| (validator(signer), Digest([9; 32]))).to_vec();
        let body = NewView { epoch: Epoch(0), view: View(view), view_changes: named };
        Sealed::new(sign(&under.genesis, validator(leader), body), under.genesis.chain_id())
    };
    for (view, leader) in [(1_002, 2), (u64::MAX, 3), (u64::MAX - 1, 2), (401, 1)] {
        under.hear(2, Message::NewView(nothing(&under, view, leader)));
    }
    let effects = under.hear(1, Message::NewView(under.new_view(1, &view_changes)));
    assert_eq!(under.own(&effects), [Effect::Active { view: View(1) }]);
}

#[test]
fn view_changes_that_it_names_and_that_are_not_here_are_fetched_and_again_with_the_status() {
    let mut under = under(3);
    under.move_to(1);
    let view_changes = [0, 1, 2].map(|signer| bare(&under, signer, 1));
    under.hear(0, Message::ViewChange(Arc::clone(&view_changes[0])));
    let digests: Vec<Digest> = view_changes[1..].iter().map(|named| named.digest).collect();
    let fetch = tell(2, Unsigned::FetchViewChanges { view: View(1), digests });
    let effects = under.hear(2, Message::NewView(under.new_view(1, &view_changes)));
    assert_eq!(effects, std::slice::from_ref(&fetch), "from whoever sent it");
    assert_eq!(under.fire(Timer::Status), [fetch]);
    under.hear(2, Message::ViewChange(Arc::clone(&view_changes[1])));
    let effects = under.hear(2, Message::ViewChange(Arc::clone(&view_changes[2])));
    assert_eq!(under.own(&effects), [Effect::Active { view: View(1) }]);
}

#[test]
fn one_for_a_later_view_moves_by_the_view_changes_that_it_names() {
    let mut under = under(3);
    let view_changes = [0, 1, 2].map(|signer| bare(&under, signer, 5));
    under.hear(1, Message::NewView(under.new_view(5, &view_changes)));
    let mut effects = Vec::new();
    for view_change in view_changes {
        effects.extend(under.hear(1, Message::ViewChange(view_change)));
    }
    assert_eq!(under.replica.show().view, View(5));
    assert!(under.own(&effects).contains(&Effect::Active { view: View(5) }));
}

#[test]
fn view_changes_are_served_to_those_who_lack_them_and_not_at_any_rate() {
    let (mut under, view_changes) = moved();
    let effects = under.hear(1, Message::NewView(under.new_view(1, &view_changes)));
    under.own(&effects);
    let fetch = |under: &mut Under, view: u64| {
        let digests = vec![view_changes[0].digest, Digest([9; 32])];
        under.hear(0, Message::FetchViewChanges { view: View(view), digests })
    };
    assert_eq!(fetch(&mut under, 2), []);
    // A digest is of the signed bytes, without the signer: these three say the same.
    let named = view_changes.each_ref().map(|named| tell(0, Unsigned::ViewChange(Arc::clone(named))));
    assert_eq!(fetch(&mut under, 1), named);
    assert_eq!(fetch(&mut under, 1), [], "again at once");
    under.wait_us(15_000);
    assert_eq!(fetch(&mut under, 1), named);
}

/// Validator 3 of four with two blocks of view 0 accepted, and its own votes durable.
fn with_blocks() -> (Under, Vec<Block>) {
    let mut under = under(3);
    under.hold(&[0, 1, 2].map(|number| numbered(1, number)));
    let blocks = under.chain(0, 2, 1);
    for block in &blocks {
        let effects = under.propose(0, block);
        under.own(&effects);
    }
    (under, blocks)
}

#[test]
fn on_selected_blocks_all_prepare_again_and_what_is_not_selected_is_rolled_back() {
    let (mut under, blocks) = with_blocks();
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &blocks[0], &[0, 1, 2])];
    let effects = under.start_view(&shown);
    let active = effects.iter().position(|effect| *effect == Effect::Active { view: View(1) }).unwrap();
    assert_eq!(effects[active - 1], Effect::RollBack { to: Height(1) });
    let proposal = Record::Proposal { view: View(1), block: Arc::new(blocks[0].clone()) };
    let Effect::Persist { ticket, .. } = effects[active + 1] else { panic!("{effects:?}") };
    assert_eq!(
        effects[active + 1..],
        [persist(ticket, proposal), say(ticket, &under, &blocks[0])],
        "logged for this view, and not executed again"
    );
}

#[test]
fn a_block_in_the_place_of_which_another_one_is_selected_is_rolled_back() {
    let (mut under, blocks) = with_blocks();
    let other = under.block(0, Some(&blocks[0]), &[numbered(2, 0)]);
    assert_ne!(under.digest(&other), under.digest(&blocks[1]));
    let mut shown = under.bare_view_change(1);
    shown.prepared = [&blocks[0], &other].map(|block| under.prepared(0, block, &[0, 1, 2])).to_vec();
    let effects = under.start_view(&shown);
    assert!(effects.contains(&Effect::RollBack { to: Height(1) }), "{effects:?}");
}

fn say(ticket: u64, under: &Under, block: &Block) -> Effect {
    crate::common::under::say(ticket, under.prepare(1, block))
}

#[test]
fn those_who_committed_a_selected_block_vote_for_it_too() {
    let (mut under, blocks) = with_blocks();
    under.votes(VoteKind::Commit, 0, &blocks[0], &[0, 1, 2]);
    assert_eq!(under.replica.committed(), Height(1));
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &blocks[0], &[0, 1, 2])];
    let prepare = under.start_view(&shown);
    assert_eq!(votes_said(&prepare).iter().map(|(_, vote)| *vote).collect::<Vec<_>>(), [under.prepare(1, &blocks[0])]);
    under.own(&prepare);
    let commit = under.votes(VoteKind::Prepare, 1, &blocks[0], &[0, 1]);
    assert_eq!(votes_said(&commit).iter().map(|(_, vote)| *vote).collect::<Vec<_>>(), [under.commit(1, &blocks[0])]);
}

#[test]
fn up_to_its_end_only_selected_blocks_are_taken_and_new_ones_only_above() {
    let (mut under, blocks) = with_blocks();
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &blocks[0], &[0, 1, 2])];
    under.start_view(&shown);
    let other = under.block(1, None, &[numbered(1, 0)]);
    assert_eq!(votes_said(&under.propose(1, &other)), [], "height 1 is selected");
    let next = under.block(1, Some(&blocks[0]), &[numbered(1, 1)]);
    assert_eq!(votes_said(&under.propose(1, &next)).len(), 1, "height 2 is above the end");
}

#[test]
fn the_place_of_a_selected_block_whose_bundle_list_is_missing_is_taken() {
    let mut under = under(3);
    under.hold(&[numbered(1, 0), numbered(2, 0)]);
    let selected = under.block(0, None, &[numbered(1, 0)]);
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &selected, &[0, 1, 2])];
    under.start_view(&shown);
    let other = under.block(1, None, &[numbered(2, 0)]);
    assert_eq!(under.propose(1, &other), [], "the leader proposes another block at its height");
    let list = Message::Block { block: Arc::new(selected.clone()), digest: under.digest(&selected) };
    let voted = votes_said(&under.hear(0, list));
    assert_eq!(voted.iter().map(|(_, vote)| *vote).collect::<Vec<_>>(), [under.prepare(1, &selected)]);
}

#[test]
fn bundle_lists_of_selected_blocks_are_fetched_by_digest_from_the_signers_and_nothing_else_is_taken() {
    let mut under = under(3);
    let blocks = under.chain(0, 2, 1);
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &blocks[0], &[0, 2, 3])];
    let effects = under.start_view(&shown);
    let digest = under.digest(&blocks[0]);
    let fetches: Vec<&Effect> = effects.iter().filter(|effect| matches!(effect, Effect::Tell { .. })).collect();
    let fetch = |to| tell(to, Unsigned::FetchBlocks(vec![digest]));
    assert_eq!(fetches, [&fetch(0), &fetch(2)], "from the signers, itself left out");
    assert_eq!(under.fire(Timer::Status), [fetch(0), fetch(2)], "and again");
    let give = |block: &Block| Message::Block { block: Arc::new(block.clone()), digest: under.digest(block) };
    let (wrong, right) = (give(&blocks[1]), give(&blocks[0]));
    assert_eq!(under.hear(1, wrong), [], "not asked for");
    let mut stripped = blocks[0].clone();
    stripped.bundles.clear();
    let stripped = Message::Block { block: Arc::new(stripped), digest };
    assert_eq!(under.hear(1, stripped), [], "another list than the header says");
    let holders = [0, 2, 1].map(validator).to_vec();
    let digests = blocks[0].bundles.clone();
    assert_eq!(
        under.hear(1, right),
        [Effect::Want { digests, holders, proposer: None }],
        "its bundles first from the signers"
    );
    assert_eq!(votes_said(&under.bundle(numbered(1, 0))).len(), 1);
}

#[test]
fn bundle_lists_are_served_and_not_at_any_rate() {
    let (mut under, blocks) = with_blocks();
    let fetch = Message::FetchBlocks(vec![under.digest(&blocks[1]), Digest([9; 32])]);
    let block = Unsigned::Block(Arc::new(blocks[1].clone()));
    assert_eq!(under.hear(0, fetch.clone()), [tell(0, block.clone())]);
    assert_eq!(under.hear(0, fetch.clone()), [], "again at once");
    under.wait_us(15_000);
    assert_eq!(under.hear(0, fetch), [tell(0, block)]);
}

#[test]
#[should_panic(expected = "contradicts the valid NEW-VIEW")]
fn a_committed_block_that_contradicts_it_halts_the_replica() {
    let (mut under, blocks) = with_blocks();
    under.votes(VoteKind::Commit, 0, &blocks[0], &[0, 1, 2]);
    let other = under.block(0, None, &[numbered(2, 0)]);
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &other, &[0, 1, 2])];
    under.start_view(&shown);
}

#[test]
#[should_panic(expected = "contradicts the base")]
fn a_committed_block_that_contradicts_its_base_halts_the_replica() {
    let (mut under, blocks) = with_blocks();
    under.votes(VoteKind::Commit, 0, &blocks[0], &[0, 1, 2]);
    let other = under.block(0, None, &[numbered(2, 0)]);
    let mut shown = under.bare_view_change(1);
    shown.committed = Some(under.committed(0, &other, &[0, 1, 2]));
    under.start_view(&shown);
}

/// View 1 selected a block that a later view did not, and this replica got the later one's before it heard of view 1's
/// NEW-VIEW. That is no contradiction: the replica neither halts nor votes for what lost, also after a restart.
#[test]
fn a_new_view_that_a_later_view_left_behind_does_not_halt_who_committed_in_the_later_one() {
    let mut under = under(3);
    under.hold(&[numbered(1, 0), numbered(2, 0)]);
    under.move_to(1);
    let (lost, won) = (under.block(0, None, &[numbered(1, 0)]), under.block(2, None, &[numbered(2, 0)]));
    under.run(Input::Certified(vec![under.certified(2, &won, &[0, 1, 2])]));
    assert_eq!(under.replica.show().committed_digest, under.digest(&won));
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, &lost, &[0, 1, 2])];
    let effects = under.start_view(&shown);
    assert_eq!(votes_said(&effects), []);
    let mut again = under.restarted(&under.log, &[numbered(1, 0), numbered(2, 0)]);
    assert_eq!(votes_said(&again.run(Input::Start)), []);
    assert_eq!(again.replica.committed(), Height(1));
    // The others go on in view 2, and it with them.
    let mut shown = again.bare_view_change(2);
    shown.committed = Some(again.committed(2, &won, &[0, 1, 2]));
    again.start_view(&shown);
    again.hold(&[numbered(1, 0)]);
    let next = again.block(2, Some(&won), &[numbered(1, 0)]);
    assert_eq!(votes_said(&again.propose(2, &next)).len(), 1);
}

#[test]
fn its_stable_checkpoint_tells_a_replica_that_it_is_behind() {
    let mut under = under(3);
    under.hold(&[0, 1, 2, 3].map(|number| numbered(1, number)));
    let blocks = under.chain(0, 4, 1);
    let mut shown = under.bare_view_change(1);
    shown.stable = Some(under.stable(&blocks[3], &[0, 1, 2]));
    under.start_view(&shown);
    under.wait_us(100_000);
    let effects = under.fire(Timer::Status);
    let holders = [0, 1, 2].map(validator).to_vec();
    assert_eq!(effects, [Effect::Sync { from: Height(1), to: Height(4), holders }]);
}

#[test]
fn an_observer_adopts_it_too() {
    let genesis = Arc::new(genesis(4, crate::common::under::small));
    let mut under = Under::new(&genesis, None);
    under.start_view(&under.bare_view_change(1));
    assert_eq!(under.replica.show().view, View(1));
}
