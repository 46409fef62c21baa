//! PREPARE and COMMIT of peers: prepared, committed (consensus.md sections 3 and 4).

use std::sync::Arc;

use dtvn_messages::{Block, Digest, Epoch, Height, View, VoteKind, limits};
use dtvn_pbft::{Effect, Input, Message, Record};

use crate::common::build::{numbered, validator};
use crate::common::under::{Under, blame, persist, say, small, under, votes_said};
use crate::common::{genesis_with_powers, sign};

const TWO_BLOCKS: &str = "it voted for two blocks in one view and height";

/// Validator 3 of four, which has accepted and executed the leader's first blocks; its own votes have not come back.
fn accepted(count: u64) -> (Under, Vec<Block>) {
    let mut under = under(3);
    under.hold(&(0..count).map(|number| numbered(1, number)).collect::<Vec<_>>());
    let blocks = under.chain(0, count, 1);
    for block in &blocks {
        assert_eq!(votes_said(&under.propose(0, block)).len(), 1);
    }
    (under, blocks)
}

fn committed(under: &Under) -> u64 {
    under.replica.committed().0
}

#[test]
fn prepared_needs_prepares_of_power_q_and_commit_waits_for_the_durable_certificate() {
    let (mut under, blocks) = accepted(1);
    let block = &blocks[0];
    // The leader's came with the proposal.
    assert_eq!(under.votes(VoteKind::Prepare, 0, block, &[0]), []);
    assert_eq!(under.votes(VoteKind::Prepare, 0, block, &[1, 1]), []);
    let effects = under.votes(VoteKind::Prepare, 0, block, &[2]);
    let certificate = Arc::new(under.prepared(0, block, &[0, 1, 2]));
    assert_eq!(effects, [persist(2, Record::Prepared(certificate)), say(2, under.commit(0, block))]);
}

#[test]
fn the_own_vote_counts_only_when_it_comes_back_durable() {
    let (mut under, blocks) = accepted(1);
    let block = &blocks[0];
    assert_eq!(under.votes(VoteKind::Prepare, 0, block, &[1]), [], "leader, 1 and its own, which is not durable");
    let own = under.own_vote(under.prepare(0, block));
    assert_eq!(votes_said(&own), [(2, under.commit(0, block))]);
    assert_eq!(under.votes(VoteKind::Commit, 0, block, &[0, 1]), [], "two and its own, which is not durable");
    let effects = under.own_vote(under.commit(0, block));
    assert_eq!(committed(&under), 1);
    let certificate = Some(under.certificate(under.commit(0, block), &[0, 1, 3]));
    let record = Record::Committed { block: Arc::new(block.clone()), certificate: certificate.clone() };
    let commit = Effect::Commit { block: Arc::new(block.clone()), digest: under.digest(block), certificate };
    assert_eq!(effects, [persist(3, record), commit]);
}

#[test]
fn power_counts_and_not_the_number_of_voters() {
    // Total 6: a quorum is 5.
    for (powers, voters, is_enough) in [
        ([3, 1, 1, 1], [0, 1].as_slice(), false),
        ([3, 1, 1, 1], [0, 1, 2].as_slice(), true),
        ([1, 3, 1, 1], [0, 2].as_slice(), false),
        ([1, 3, 1, 1], [0, 1].as_slice(), false),
        ([1, 3, 1, 1], [0, 1, 2].as_slice(), true),
        ([1, 1, 1, 3], [0, 1, 2].as_slice(), false),
    ] {
        let genesis = Arc::new(genesis_with_powers(&powers, small));
        let mut under = Under::new(&genesis, Some(3));
        under.bundle(numbered(1, 0));
        let block = under.block(0, None, &[numbered(1, 0)]);
        under.propose(0, &block);
        let said = votes_said(&under.votes(VoteKind::Prepare, 0, &block, voters)).len();
        assert_eq!(said == 1, is_enough, "powers {powers:?}, voters {voters:?}");
        under.votes(VoteKind::Commit, 0, &block, voters);
        assert_eq!(committed(&under) == 1, is_enough, "powers {powers:?}, voters {voters:?}");
    }
}

#[test]
fn votes_for_different_blocks_do_not_add_up() {
    let (mut under, blocks) = accepted(1);
    let mut other = blocks[0].clone();
    other.header.timestamp = other.header.timestamp.plus_micros(1);
    assert_eq!(under.votes(VoteKind::Prepare, 0, &other, &[1]), []);
    assert_eq!(under.votes(VoteKind::Prepare, 0, &blocks[0], &[2]), []);
    under.votes(VoteKind::Commit, 0, &other, &[1]);
    under.votes(VoteKind::Commit, 0, &blocks[0], &[0, 2]);
    assert_eq!(committed(&under), 0);
}

#[test]
fn a_certificate_holds_no_vote_for_another_block() {
    let (mut under, blocks) = accepted(1);
    let own = under.own_vote(under.prepare(0, &blocks[0]));
    let mut other = blocks[0].clone();
    other.header.timestamp = other.header.timestamp.plus_micros(1);
    let mut effects = under.votes(VoteKind::Prepare, 0, &other, &[1]);
    effects.extend(own);
    effects.extend(under.votes(VoteKind::Prepare, 0, &blocks[0], &[2]));
    let prepared = effects.iter().find_map(|effect| match effect {
        Effect::Persist { record: Record::Prepared(prepared), .. } => Some(prepared),
        _ => None,
    });
    assert_eq!(**prepared.unwrap(), under.prepared(0, &blocks[0], &[0, 2, 3]));
}

#[test]
fn a_certificate_holds_the_votes_of_one_quorum_and_no_more() {
    let genesis = Arc::new(crate::common::genesis(7, small));
    let mut under = Under::new(&genesis, Some(6));
    let block = under.block(0, None, &[numbered(1, 0)]);
    under.propose(0, &block);
    for kind in [VoteKind::Prepare, VoteKind::Commit] {
        under.votes(kind, 0, &block, &[0, 1, 2, 3, 4, 5]);
    }
    let effects = under.bundle(numbered(1, 0));
    let quorum = [0, 1, 2, 3, 4];
    let certificate = under.certificate(under.commit(0, &block), &quorum);
    let records: Vec<&Record> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Persist { record, .. } => Some(record),
            _ => None,
        })
        .collect();
    assert!(records.contains(&&Record::Prepared(Arc::new(under.prepared(0, &block, &quorum)))), "{records:?}");
    let committed = Record::Committed { block: Arc::new(block), certificate: Some(certificate) };
    assert!(records.contains(&&committed), "{records:?}");
}

#[test]
fn a_vote_for_the_last_height_of_the_window_counts() {
    let (mut under, blocks) = accepted(12);
    let last = &blocks[11];
    let effects = under.votes(VoteKind::Prepare, 0, last, &[1, 2]);
    let prepared = under.prepared(0, last, &[0, 1, 2]);
    assert!(
        effects.iter().any(|effect| matches!(effect, Effect::Persist { record: Record::Prepared(kept), .. }
            if **kept == prepared)),
        "{effects:?}"
    );
}

#[test]
fn commits_of_different_views_do_not_add_up() {
    let (mut under, blocks) = accepted(1);
    let block = &blocks[0];
    under.votes(VoteKind::Commit, 0, block, &[0, 1]);
    let mut shown = under.bare_view_change(1);
    shown.prepared = vec![under.prepared(0, block, &[0, 1, 2])];
    under.start_view(&shown);
    under.votes(VoteKind::Commit, 0, block, &[2]);
    under.votes(VoteKind::Commit, 1, block, &[2]);
    assert_eq!(committed(&under), 0, "two in view 0, one in view 1");
    under.votes(VoteKind::Commit, 1, block, &[0, 1]);
    assert_eq!(committed(&under), 1);
}

#[test]
fn commit_is_said_in_order_and_only_after_all_heights_below_are_prepared() {
    let (mut under, blocks) = accepted(3);
    let third = under.votes(VoteKind::Prepare, 0, &blocks[2], &[1, 2]);
    assert_eq!(votes_said(&third), [], "3 is prepared, 1 and 2 are not");
    let second = under.votes(VoteKind::Prepare, 0, &blocks[1], &[1, 2]);
    assert_eq!(votes_said(&second), [], "2 and 3 are prepared, 1 is not");
    let first = under.votes(VoteKind::Prepare, 0, &blocks[0], &[1, 2]);
    let last_ticket = 6;
    assert_eq!(
        votes_said(&first),
        [0, 1, 2].map(|at| (last_ticket, under.commit(0, &blocks[at]))),
        "each waits for the certificates of all heights below, the last of which was written last"
    );
}

#[test]
fn commit_is_said_above_a_committed_height() {
    let (mut under, blocks) = accepted(2);
    under.votes(VoteKind::Commit, 0, &blocks[0], &[0, 1, 2]);
    assert_eq!(committed(&under), 1, "committed without having been prepared here");
    let effects = under.votes(VoteKind::Prepare, 0, &blocks[1], &[1, 2]);
    assert_eq!(votes_said(&effects).len(), 1);
}

#[test]
fn a_commit_certificate_commits_all_ancestors() {
    let (mut under, blocks) = accepted(3);
    let effects = under.votes(VoteKind::Commit, 0, &blocks[2], &[0, 1, 2]);
    let commits: Vec<(Height, bool)> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Commit { block, certificate, .. } => Some((block.header.height, certificate.is_some())),
            _ => None,
        })
        .collect();
    assert_eq!(commits, [(Height(1), false), (Height(2), false), (Height(3), true)]);
}

#[test]
fn nothing_commits_before_it_is_executed() {
    let mut under = under(3);
    let block = under.block(0, None, &[numbered(1, 0)]);
    under.propose(0, &block);
    under.votes(VoteKind::Prepare, 0, &block, &[1, 2]);
    assert_eq!(under.votes(VoteKind::Commit, 0, &block, &[0, 1, 2]), [], "its bundle is not here");
    under.bundle(numbered(1, 0));
    assert_eq!(committed(&under), 1);
}

#[test]
fn a_vote_counts_only_from_its_signer() {
    let (mut under, blocks) = accepted(1);
    for (from, signer) in [(0, 1), (0, 2), (1, 2), (2, 1)] {
        let vote = under.signed(signer, under.prepare(0, &blocks[0]));
        assert_eq!(under.hear(from, Message::Vote(vote)), [], "{from} shows what {signer} signed");
    }
}

#[test]
fn a_peer_that_votes_for_two_blocks_is_blamed_and_its_first_vote_stays() {
    let (mut under, blocks) = accepted(1);
    let mut other = blocks[0].clone();
    other.header.timestamp = other.header.timestamp.plus_micros(1);
    under.votes(VoteKind::Prepare, 0, &other, &[1]);
    assert_eq!(under.votes(VoteKind::Prepare, 0, &blocks[0], &[1]), [blame(1, TWO_BLOCKS)]);
    assert_eq!(under.votes(VoteKind::Commit, 0, &blocks[0], &[1]), [blame(1, TWO_BLOCKS)], "of different kinds too");
    assert_eq!(under.votes(VoteKind::Prepare, 0, &blocks[0], &[2]), [], "leader and 2");
}

#[test]
fn votes_of_another_epoch_or_outside_the_window_count_nowhere() {
    let (mut under, blocks) = accepted(1);
    for signer in [1, 2] {
        let mut vote = under.prepare(0, &blocks[0]);
        vote.epoch = Epoch(1);
        assert_eq!(under.hear(signer, Message::Vote(under.signed(signer, vote))), []);
    }
    for height in [0, 13, u64::MAX] {
        let mut vote = under.prepare(0, &blocks[0]);
        vote.height = Height(height);
        assert_eq!(under.hear(1, Message::Vote(under.signed(1, vote))), []);
        vote.digest = Digest([9; 32]);
        assert_eq!(under.hear(1, Message::Vote(under.signed(1, vote))), [], "not even kept: {height}");
    }
}

#[test]
fn votes_that_come_before_the_proposal_count() {
    let mut under = under(3);
    under.bundle(numbered(1, 0));
    let block = under.block(0, None, &[numbered(1, 0)]);
    under.votes(VoteKind::Prepare, 0, &block, &[1, 2]);
    under.votes(VoteKind::Commit, 0, &block, &[0, 1, 2]);
    under.propose(0, &block);
    assert_eq!(committed(&under), 1);
}

#[test]
fn votes_for_the_extremes_of_view_and_height_do_no_harm() {
    let (mut under, blocks) = accepted(1);
    for number in [u64::MAX, u64::MAX - 1] {
        for kind in [VoteKind::Prepare, VoteKind::Commit] {
            let mut vote = under.vote(kind, 0, &blocks[0]);
            vote.view = View(number);
            vote.height = Height(number);
            let vote = sign(&under.genesis, validator(1), vote);
            assert_eq!(under.hear(1, Message::Vote(vote)), []);
        }
    }
    let effects = under.votes(VoteKind::Prepare, 0, &blocks[0], &[1, 2]);
    assert_eq!(votes_said(&effects).len(), 1);
}

#[test]
fn a_relayed_certificate_of_this_view_counts_as_its_prepares_and_is_durable_before_commit() {
    let (mut under, blocks) = accepted(1);
    let certificate = Arc::new(under.prepared(0, &blocks[0], &[0, 1, 2]));
    let effects = under.hear(2, Message::Prepared(Arc::clone(&certificate)));
    assert_eq!(effects, [persist(2, Record::Prepared(certificate)), say(2, under.commit(0, &blocks[0]))]);
}

#[test]
fn commit_does_not_overtake_prepare_when_the_certificate_came_first() {
    let mut under = under(3);
    under.bundle(numbered(1, 0));
    let block = under.block(0, None, &[numbered(1, 0)]);
    let certificate = Arc::new(under.prepared(0, &block, &[0, 1, 2]));
    let kept = under.hear(2, Message::Prepared(Arc::clone(&certificate)));
    assert_eq!(kept, [persist(1, Record::Prepared(certificate))]);
    let voted = votes_said(&under.propose(0, &block));
    assert_eq!(voted, [(2, under.prepare(0, &block)), (2, under.commit(0, &block))], "both wait for the proposal");
}

#[test]
fn a_certificate_of_a_later_view_is_not_kept() {
    // A VIEW-CHANGE for a view in between could not show it, and would show nothing in its place.
    let (mut under, blocks) = accepted(1);
    let certificate = Arc::new(under.prepared(2, &blocks[0], &[0, 1, 2]));
    assert_eq!(under.hear(2, Message::Prepared(certificate)), []);
}

#[test]
fn a_replica_that_accepted_another_block_does_not_commit_to_the_winner_in_the_same_view() {
    let (mut under, blocks) = accepted(1);
    let mut winner = blocks[0].clone();
    winner.header.timestamp = winner.header.timestamp.plus_micros(1);
    let certificate = Arc::new(under.prepared(0, &winner, &[0, 1, 2]));
    let effects = under.hear(2, Message::Prepared(Arc::clone(&certificate)));
    assert_eq!(effects, [persist(2, Record::Prepared(certificate))], "kept for the next view, and no vote for it here");
}

#[test]
fn the_vote_of_an_observer_is_never_asked_for_and_it_commits_with_the_quorum() {
    let genesis = Arc::new(crate::common::genesis(4, small));
    let mut under = Under::new(&genesis, None);
    under.hold(&[numbered(1, 0)]);
    let block = under.block(0, None, &[numbered(1, 0)]);
    assert_eq!(votes_said(&under.propose(0, &block)), []);
    for kind in [VoteKind::Prepare, VoteKind::Commit] {
        assert_eq!(votes_said(&under.votes(kind, 0, &block, &[0, 1, 2])), []);
    }
    assert_eq!(committed(&under), 1);
    assert!(!under.replica.show().voting);
}

#[test]
fn a_network_of_one_commits_by_itself() {
    let genesis = Arc::new(crate::common::genesis(1, small));
    let mut under = Under::new(&genesis, Some(0));
    let effects = under.bundle(numbered(0, 0));
    under.settle(effects);
    assert_eq!(committed(&under), 1);
}

#[test]
fn a_flood_of_votes_costs_a_fixed_amount() {
    let (mut under, blocks) = accepted(1);
    for number in 0..10_000_u64 {
        let mut vote = under.commit(0, &blocks[0]);
        vote.view = View(number % 100);
        vote.height = Height(number);
        vote.digest = Digest([u8::try_from(number % 256).unwrap(); 32]);
        under.step(Input::Message { from: validator(1), message: Message::Vote(under.signed(1, vote)) });
    }
    let text = format!("{:?}", under.replica);
    let kept = text.matches("ValidatorIndex(1)").count();
    let bound = limits::REPLICA_EARLY_PER_SENDER_MAX + 3 * 12 + 20;
    assert!(kept < bound, "{kept} things of the sender are kept");
}
