//! Validators that come, go, and get other keys and powers, while tickets flow.

use dtvn_replication::intake::Answer;
use dtvn_simulation::{Member, Scenario, Stage};

/// So many validators, hosts that may become one, and clients that go on for some seconds.
fn network(validators: usize, joiners: usize) -> Stage {
    let mut scenario = Scenario::story(validators, 40, 6_000);
    scenario.joiners = joiners;
    Stage::new(scenario)
}

fn members(hosts: impl IntoIterator<Item = usize>) -> Vec<Member> {
    hosts.into_iter().map(Member::of).collect()
}

/// A ticket is asked for at a host, again and again while that says that it cannot be, and gets an outcome.
pub fn decides(stage: &mut Stage, host: usize, name: &str) {
    for _ in 0..100 {
        let request = stage.ask(host, &format!("the key of the ticket {name}"), name);
        stage.until("an answer", 20_000, |stage| stage.answer(request).is_some());
        if matches!(stage.answer(request), Some(Answer::Decided(_))) {
            return;
        }
        stage.run(100);
    }
    panic!("host {host} takes nothing");
}

/// A change takes effect, and everybody who is up is in the epoch that it opens.
fn changed(stage: &mut Stage, change: usize, epoch: u64, hosts: &[usize]) {
    stage.until("the change", 20_000, |stage| stage.is_changed(change) == Some(true));
    stage.until_epoch(epoch, hosts, 20_000);
}

#[test]
fn member_added() {
    let mut stage = network(4, 1);
    stage.run(1_000);
    assert!(!stage.votes(4), "it follows without a vote");
    let change = stage.change(1, &members([0, 4, 1, 2, 3]));
    changed(&mut stage, change, 1, &[0, 1, 2, 3, 4]);
    assert_eq!(stage.validators(), [0, 4, 1, 2, 3]);
    // Four of five are a quorum: without one of the old ones the new one is needed.
    stage.kill(2);
    stage.run(500);
    decides(&mut stage, 4, "by-the-new-one");
    assert!(stage.votes(4));
    stage.start(2);
    stage.settle(20_000);
}

/// The leader of the moment is removed: the others go on without it, and it follows.
#[test]
fn member_removed() {
    let mut stage = network(4, 0);
    stage.run(1_000);
    let leader = stage.leader();
    let others: Vec<usize> = (0..4).filter(|host| *host != leader).collect();
    let change = stage.change(leader, &members(others.clone()));
    changed(&mut stage, change, 1, &others);
    assert_eq!(stage.validators(), others);
    let height = stage.height();
    stage.kill(leader);
    decides(&mut stage, others[0], "without-the-leader");
    assert!(stage.height() > height);
    stage.start(leader);
    stage.settle(20_000);
    assert!(!stage.votes(leader) && stage.committed(leader) == stage.height());
}

/// Who follows without a vote is shown no stable checkpoint, and forgets what it needs no more all the same.
#[test]
fn observer_log_is_collected() {
    let mut stage = network(4, 1);
    stage.run(1_000);
    for number in 0..4_000 {
        stage.ask(number % 4, &format!("the key of ticket {number:>8}"), &format!("ticket-{number}"));
        if number % 8 == 7 {
            stage.run(20);
        }
    }
    stage.settle(20_000);
    assert_eq!(stage.committed(4), stage.height(), "it follows");
    let (observer, validator) = (stage.log_bytes(4), stage.log_bytes(0));
    assert!(observer <= validator + 1_048_576, "{observer} bytes, and {validator} of a validator");
    stage.kill(4);
    stage.start(4);
    decides(&mut stage, 0, "after its restart");
    stage.settle(20_000);
    assert_eq!(stage.committed(4), stage.height());
}

#[test]
fn member_rekeyed() {
    let mut stage = network(4, 0);
    stage.run(1_000);
    let rekeyed = Member { new_key: true, ..Member::of(2) };
    let change = stage.change(0, &[Member::of(0), Member::of(1), rekeyed, Member::of(3)]);
    changed(&mut stage, change, 1, &[0, 1, 3]);
    stage.until("the node with its new key", 5_000, |stage| stage.votes(2));
    assert_eq!(stage.coverage().members_rekeyed, 1);
    // Three of four are a quorum: without one of the others the new key is needed.
    stage.kill(0);
    stage.run(500);
    decides(&mut stage, 2, "by-the-new-key");
    stage.start(0);
    stage.settle(20_000);
}

#[test]
fn member_powers() {
    let mut stage = network(4, 0);
    stage.run(1_000);
    let heavy = Member { power: 3, ..Member::of(0) };
    let change = stage.change(3, &[heavy, Member::of(1), Member::of(2), Member::of(3)]);
    changed(&mut stage, change, 1, &[0, 1, 2, 3]);
    // Five of six are a quorum: one light one may be away, the heavy one may not.
    stage.kill(3);
    stage.run(500);
    decides(&mut stage, 0, "without-a-light-one");
    stage.start(3);
    stage.run(1_000);
    stage.kill(0);
    stage.run(1_000);
    let height = stage.height();
    stage.run(10_000);
    assert_eq!(stage.height(), height, "three of six decide nothing");
    stage.start(0);
    stage.settle(30_000);
}

/// Two changes of one and the same set: one takes effect, the other is refused, and the next one is of the next set.
#[test]
fn member_competing() {
    let mut stage = network(4, 2);
    stage.run(1_000);
    let first = stage.change(1, &members([0, 1, 2, 3, 4]));
    let second = stage.change(2, &members([0, 1, 2, 3, 5]));
    stage.until("both are decided", 20_000, |stage| {
        stage.is_changed(first).is_some() && stage.is_changed(second).is_some()
    });
    assert_ne!(stage.is_changed(first), stage.is_changed(second));
    stage.until_epoch(1, &[0, 1, 2, 3, 4, 5], 20_000);
    assert_eq!((stage.changes(), stage.validators().len()), (1, 5));
    let third = stage.change(0, &members([0, 1, 2, 3, 4, 5]));
    changed(&mut stage, third, 2, &[0, 1, 2, 3, 4, 5]);
    stage.settle(20_000);
    assert_eq!((stage.changes(), stage.coverage().lost_changes), (2, 1));
}

/// A change that too few of the present validators signed is refused.
#[test]
fn member_unsigned() {
    let mut stage = network(4, 1);
    stage.run(1_000);
    let change = stage.change_without_quorum(0, &members([0, 1, 2, 3, 4]));
    stage.until("it is decided", 20_000, |stage| stage.is_changed(change).is_some());
    stage.settle(20_000);
    assert_eq!((stage.is_changed(change), stage.changes(), stage.epoch().0), (Some(false), 0, 0));
    assert_eq!((stage.coverage().unsigned_changes, stage.coverage().lost_changes), (1, 0));
}

/// A change that the minority of a partition asks for takes effect when the network is whole, and one of the majority at
/// once: those who were away follow through its epoch.
#[test]
fn member_changed_behind_a_partition() {
    let mut stage = network(4, 1);
    stage.run(1_000);
    stage.part(&[&[0, 1, 2], &[3, 4]]);
    let change = stage.change(0, &members([0, 1, 2, 4]));
    stage.until("the change", 20_000, |stage| stage.is_changed(change) == Some(true));
    stage.until_epoch(1, &[0, 1, 2], 20_000);
    stage.run(3_000);
    assert_eq!((stage.epoch_of(3).0, stage.epoch_of(4).0), (0, 0), "they heard nothing");
    stage.heal();
    stage.settle(20_000);
    assert!(stage.votes(4) && !stage.votes(3));
}

/// What was said in an epoch means nothing in the next one: a validator that was removed, and those that stay, say again
/// all that they ever said. Their indices are others by then.
#[test]
fn epoch_old_messages() {
    let mut stage = network(4, 1);
    stage.remember_all();
    stage.run(1_000);
    let change = stage.change(0, &members([4, 2, 0, 1]));
    changed(&mut stage, change, 1, &[0, 1, 2, 4]);
    for _ in 0..5 {
        assert!(stage.repeat_old() > 0);
        stage.run(800);
    }
    stage.settle(20_000);
    assert_eq!(stage.coverage().blamed, 0, "nobody is blamed for what was right when it was said");
    assert_eq!(stage.view().0, 0, "and no view ends");
}

/// All machines lose their power at the last height of an epoch, at any moment around its end.
#[test]
fn member_crash_at_the_end() {
    for after_ms in [0, 1, 2, 3, 5, 8, 13, 21, 50] {
        let mut stage = network(4, 1);
        stage.run(1_000);
        let change = stage.change(0, &members([1, 2, 3, 4]));
        stage.until("the end of the epoch", 20_000, |stage| stage.epoch().0 == 1);
        stage.run(after_ms);
        (0..5).for_each(|host| stage.power_off(host));
        stage.run(500);
        (0..5).for_each(|host| stage.start(host));
        changed(&mut stage, change, 1, &[0, 1, 2, 3, 4]);
        decides(&mut stage, 4, "after-all-of-it");
        stage.settle(30_000);
        assert_eq!(stage.changes(), 1);
    }
}

/// One after the other all four are replaced, and the last of the new ones follows through all epochs from the genesis.
#[test]
fn members_all_replaced() {
    let mut stage = network(4, 4);
    stage.run(500);
    stage.kill(7);
    for epoch in 1..=4 {
        let present = (0..8).skip(epoch).take(4);
        let change = stage.change(epoch, &members(present.clone()));
        let up: Vec<usize> = present.filter(|host| *host != 7).collect();
        changed(&mut stage, change, epoch as u64, &up);
    }
    stage.start(7);
    stage.settle(30_000);
    assert_eq!(stage.validators(), [4, 5, 6, 7]);
    assert!(stage.votes(7) && stage.changes() == 4);
}
