//! View changes at bad moments.

use dtvn_simulation::{Scenario, Stage};

/// The leader dies while a checkpoint is being agreed on, at each height around it.
#[test]
fn view_change_during_checkpoint() {
    for height in 6..=10 {
        let mut stage = Stage::new(Scenario::story(4, 20, 2_000));
        stage.until("the height", 20_000, |stage| stage.height().0 >= height);
        let leader = stage.leader();
        stage.kill(leader);
        stage.run(2_000);
        stage.start(leader);
        stage.settle(20_000);
        assert!(stage.coverage().stable > 0 && stage.coverage().views.total() > 0);
    }
}

/// The leader dies while a node that was away catches up.
#[test]
fn view_change_during_sync() {
    let mut stage = Stage::new(Scenario::story(4, 60, 4_000));
    stage.run(500);
    stage.kill(3);
    stage.until("blocks to catch up with", 20_000, |stage| stage.height().0 > 40);
    stage.start(3);
    stage.run(100);
    let leader = stage.leader();
    stage.kill(leader);
    stage.run(1_500);
    stage.start(leader);
    stage.settle(20_000);
    assert!(stage.coverage().caught_up > 0);
}

/// Everybody is cut off, again and again: views go up, and everything is decided in the end.
#[test]
fn view_changes_without_end() {
    let mut stage = Stage::new(Scenario::story(7, 10, 10_000));
    for round in 0..10 {
        stage.part(&[&[round % 7, (round + 1) % 7, (round + 2) % 7, (round + 3) % 7]]);
        stage.run(1_500);
        stage.heal();
        stage.run(100);
    }
    stage.settle(20_000);
    assert!(stage.view().0 > 0, "views go up");
    assert_eq!((stage.tickets(), stage.coverage().evidence), (10, 0));
}
