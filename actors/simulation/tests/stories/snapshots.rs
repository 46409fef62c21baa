//! Nodes that are so late that nobody keeps the blocks that they lack: they fetch a state, in parts, from several.

use dtvn_messages::Epoch;
use dtvn_simulation::{Behaviour, Member, Scenario, Stage};

/// Tickets that fill some parts of a state.
const TICKETS: u64 = 200;
/// The data of each.
const BYTES: usize = 4_000;

/// Validators that keep few blocks, some of which lie, and joiners.
fn forgetful(liars: Vec<(usize, Behaviour)>, joiners: usize) -> Stage {
    let mut scenario = Scenario::story(4, 0, 0);
    scenario.parameters.checkpoint_interval = 4;
    scenario.parameters.log_window = 16;
    scenario.parameters.retain_blocks = 16;
    (scenario.liars, scenario.joiners) = (liars, joiners);
    let mut stage = Stage::new(scenario);
    stage.run(500);
    stage
}

/// The state grows, by many blocks.
fn grow(stage: &mut Stage, honest: &[usize]) {
    for number in 0..TICKETS {
        stage.ask_much(honest[number as usize % honest.len()], number, BYTES);
        if number % 5 == 4 {
            stage.run(40);
        }
    }
    stage.until("all tickets", 20_000, |stage| stage.tickets() == TICKETS);
    stage.run(500);
}

/// Node 3 has been away for long, and of the others some lie.
pub fn late(liars: Vec<(usize, Behaviour)>) -> Stage {
    let honest: Vec<usize> = (0..3).filter(|host| liars.iter().all(|(liar, _)| liar != host)).collect();
    let mut stage = forgetful(liars, 0);
    stage.kill(3);
    grow(&mut stage, &honest);
    stage
}

/// Some of the parts are here, and some are not.
fn is_midway(stage: &Stage, host: usize) -> bool {
    stage.parts(host) >= 2 && stage.fetching(host).is_some_and(|(missing, _)| missing > 0)
}

#[test]
fn snapshot_fetched() {
    let mut stage = late(Vec::new());
    stage.start(3);
    stage.until("the manifest", 5_000, |stage| stage.fetching(3).is_some());
    assert!(stage.fetching(3).is_some_and(|(_, all)| all >= 3), "it is worth several parts");
    stage.settle(10_000);
    assert_eq!(stage.coverage().installed, 1);
    // It votes: without it two of four decide nothing.
    stage.kill(0);
    stage.run(500);
    let request = stage.ask(3, "asked of the one that was late", "after-the-snapshot");
    stage.until("an outcome", 10_000, |stage| stage.answer(request).is_some());
    assert_eq!(stage.tickets(), TICKETS + 1);
}

/// The process ends in the middle of it: what it has it keeps, and only the rest is fetched.
#[test]
fn snapshot_resumed() {
    for is_power in [false, true] {
        let mut stage = late(Vec::new());
        stage.start(3);
        stage.until("some parts", 5_000, |stage| is_midway(stage, 3));
        let kept = stage.parts(3);
        if is_power {
            stage.power_off(3)
        } else {
            stage.kill(3)
        }
        stage.run(1_000);
        assert_eq!(stage.parts(3), kept);
        stage.start(3);
        stage.until("the manifest again", 5_000, |stage| stage.fetching(3).is_some());
        let (missing, all) = stage.fetching(3).unwrap();
        assert!(missing + kept <= all, "{missing} of {all} are missing, {kept} were kept");
        stage.settle(10_000);
        assert_eq!(stage.coverage().installed, 1);
    }
}

/// Holders end in the middle of it, one after the other: the last one has it all.
#[test]
fn snapshot_holders_gone() {
    let mut stage = late(Vec::new());
    stage.start(3);
    stage.until("the manifest", 5_000, |stage| stage.fetching(3).is_some());
    stage.kill(0);
    stage.until("some parts", 10_000, |stage| is_midway(stage, 3) || stage.fetching(3).is_none());
    stage.kill(1);
    stage.until("the state", 30_000, |stage| stage.coverage().installed == 1);
    stage.start(0);
    stage.start(1);
    stage.settle(20_000);
}

/// The power of all fails while one is late. Of the others one stays away, so that the late one is needed for any decision:
/// there is no next checkpoint before it has a state, and the blocks that it lacks are collected.
#[test]
fn snapshot_after_all_restarted() {
    let mut stage = late(Vec::new());
    (0..3).for_each(|host| stage.power_off(host));
    [1, 2, 3].into_iter().for_each(|host| stage.start(host));
    stage.until("the state", 30_000, |stage| stage.coverage().installed == 1);
    stage.settle(30_000);
    let request = stage.ask(3, "asked of the one that was late", "after-the-snapshot");
    stage.until("an outcome", 10_000, |stage| stage.answer(request).is_some());
    assert_eq!(stage.tickets(), TICKETS + 1);
}

/// A new machine of a host that becomes a validator: it knows the genesis and nothing else, all blocks are collected, an
/// epoch is over, and one of the holders lies. It fetches the state, follows through the epoch, and votes.
#[test]
fn member_added_by_snapshot() {
    for lie in [Behaviour::SnapshotParts, Behaviour::SnapshotForged, Behaviour::SnapshotStale] {
        let mut stage = forgetful(vec![(1, lie)], 1);
        stage.kill(4);
        grow(&mut stage, &[0, 2, 3]);
        let members = [0, 1, 2, 3, 4].map(Member::of);
        let change = stage.change(0, &members);
        stage.until("the change", 20_000, |stage| stage.is_changed(change) == Some(true));
        stage.until_epoch(1, &[0, 1, 2, 3], 20_000);
        stage.replace(4);
        stage.start(4);
        stage.settle(60_000);
        assert_eq!(stage.coverage().installed, 1, "{}", lie.name());
        assert_eq!(stage.epoch_of(4), Epoch(1));
        // Four of five are a quorum.
        stage.kill(2);
        stage.run(500);
        let request = stage.ask(4, "asked of the new machine", "by-the-new-machine");
        stage.until("an outcome", 20_000, |stage| stage.answer(request).is_some());
        assert!(stage.votes(4) && stage.tickets() == TICKETS + 1);
    }
}
