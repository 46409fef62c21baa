//! Rules of consensus.md that look redundant and are not: each story ends in a fork or a stall without its rule, which
//! `tests/planted.rs` shows by dropping it.

use dtvn_replication::intake::Answer;
use dtvn_simulation::{LostVotes, Scenario, Stage};

/// Four nodes, led by 0, and two operations that go into two blocks, while votes are lost.
fn two_blocks(lost: LostVotes) -> Stage {
    let mut stage = Stage::new(Scenario::story(4, 0, 0));
    stage.run(500);
    stage.lose_votes(Some(lost));
    stage.ask(0, "the first of two keys", "first");
    stage.run(20);
    stage.ask(1, "the second of two keys", "second");
    stage.run(100);
    stage
}

/// One host is alone, and what the others lost of their views stays lost: they go on in another one.
fn without(stage: &mut Stage, alone: usize) {
    let others: Vec<_> = (0..4).filter(|host| *host != alone).collect();
    let last = stage.view();
    stage.part(&[&others, &[alone]]);
    let has_moved = |stage: &Stage, host| stage.show(host).is_some_and(|replica| replica.view > last);
    stage.until("another view", 10_000, |stage| others.iter().all(|host| has_moved(stage, *host)));
}

/// Everything is decided within a bound, at one node of those that are connected.
fn goes_on(stage: &mut Stage, host: usize) {
    // A node that has just come back asks for patience until it is connected.
    stage.run(500);
    let request = stage.ask(host, "asked at the end of it", "third");
    stage.until("an outcome", 20_000, |stage| matches!(stage.answer(request), Some(Answer::Decided(_))));
}

/// Section 3, item 4: COMMIT in order. Nobody prepares height 1, everybody prepares height 2, and node 3 alone hears the
/// COMMITs. If there are any for height 2, node 3 decides both blocks, and those that are left know of no certificate for
/// height 1: they decide another block there.
pub fn commit_in_order() {
    let mut stage = two_blocks(LostVotes {
        prepares_permille: 1_000,
        commits_permille: 1_000,
        parity: Some(1),
        prepares_to: None,
        commits_to: Some(3),
    });
    without(&mut stage, 3);
    stage.lose_votes(None);
    stage.run(3_000);
    goes_on(&mut stage, 0);
    stage.heal();
    stage.settle(10_000);
}

/// Section 6: the selection stops at a block that does not build on the one below. Node 3 alone knows that two blocks are
/// prepared; without it another one is decided at the first height. When node 3 is back, and needed, its certificate for
/// the second height is about a block that can never be executed.
pub fn stop_rule() {
    let mut stage = two_blocks(LostVotes {
        prepares_permille: 1_000,
        commits_permille: 1_000,
        parity: None,
        prepares_to: Some(3),
        commits_to: None,
    });
    without(&mut stage, 3);
    stage.lose_votes(None);
    stage.until("another block", 5_000, |stage| stage.height().0 >= 1);
    stage.heal();
    let leader = stage.leader();
    stage.kill(leader);
    goes_on(&mut stage, 3);
    stage.start(leader);
    stage.settle(10_000);
}

/// Section 6: of two certificates for a height the selection takes that of the higher view. Node 3 alone knows of the
/// older one, node 2 alone that the newer one is decided.
pub fn highest_view() {
    let lost = LostVotes {
        prepares_permille: 1_000,
        commits_permille: 1_000,
        parity: None,
        prepares_to: Some(3),
        commits_to: None,
    };
    let mut stage = two_blocks(lost);
    without(&mut stage, 3);
    stage.lose_votes(Some(LostVotes { prepares_permille: 0, commits_to: Some(2), ..lost }));
    stage.until("another block at node 2", 5_000, |stage| stage.committed(2).0 >= 1);
    // Node 3 hears of the newer certificate no sooner than the leader of the next view.
    stage.lose_votes(Some(LostVotes { prepares_to: None, ..lost }));
    without(&mut stage, 2);
    stage.lose_votes(None);
    stage.run(3_000);
    goes_on(&mut stage, 0);
    stage.heal();
    stage.settle(10_000);
}

#[test]
fn commit_in_order_prevents_a_fork() {
    commit_in_order();
}

#[test]
fn stop_rule_prevents_a_stall() {
    stop_rule();
}

#[test]
fn highest_view_prevents_a_fork() {
    highest_view();
}
