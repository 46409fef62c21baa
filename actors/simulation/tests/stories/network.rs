//! Partitions, loss, and clocks.

use std::collections::BTreeSet;

use dtvn_simulation::run::simulate_scenario;
use dtvn_simulation::{End, Fault, Level, Link, Report, Scenario, Stage};

/// A network with one kind of fault, and much of it.
fn with(fault: Fault, seed: u64) -> Report {
    let mut scenario = Scenario::story(4, 12, 5_000);
    (scenario.seed, scenario.faults_us) = (seed, 8_000_000);
    scenario.set_level(fault, Level::High);
    let report = simulate_scenario(scenario);
    assert_eq!(report.end, End::Good, "{report}");
    report
}

#[test]
fn net_loss() {
    assert!(with(Fault::Loss, 1).coverage.lost > 100);
}

#[test]
fn net_duplication() {
    assert!(with(Fault::Repetition, 1).coverage.repeated > 100);
}

/// Messages that take from 15 to 900 ms overtake each other.
#[test]
fn net_delay_and_reordering() {
    let report = with(Fault::Delay, 1);
    assert!(report.recovery_us < 10_000_000);
    // While faults happen nearly all are late, and afterwards none is.
    assert!(report.coverage.delayed > 100, "{}", report.coverage.delayed);
    assert_eq!(with(Fault::Loss, 1).coverage.delayed, 0);
}

/// Votes are lost, and nothing else is.
#[test]
fn net_votes_lost() {
    let mut lost = 0;
    for seed in 0..4 {
        let met = with(Fault::Votes, seed).coverage;
        assert_eq!(met.lost, 0);
        lost += met.votes_lost;
    }
    assert!(lost > 4, "{lost} votes were lost");
}

#[test]
fn net_flapping() {
    assert!((0..12).map(|seed| with(Fault::Partitions, seed).coverage.flapping).sum::<u64>() > 0);
}

/// The sides of a partition, and which of them can decide.
fn parted(validators: usize, groups: &[&[usize]], decides: Option<usize>) {
    let mut stage = Stage::new(Scenario::story(validators, 0, 0));
    stage.run(500);
    stage.part(groups);
    // What was on its way has arrived, or never will.
    stage.run(1_000);
    let before: Vec<_> = (0..validators).map(|host| stage.committed(host)).collect();
    for host in 0..validators {
        stage.ask(host, &format!("asked at host {host:>6}"), &format!("ticket-{host}"));
    }
    stage.run(20_000);
    for (number, group) in groups.iter().enumerate() {
        for host in group.iter().copied() {
            let has_decided = stage.committed(host) > before[host];
            assert_eq!(has_decided, decides == Some(number), "host {host}");
        }
    }
    stage.heal();
    stage.run(200);
    let request = stage.ask(0, "asked after healing", "ticket");
    stage.until("an outcome", 5_000, |stage| stage.answer(request).is_some());
    stage.settle(10_000);
}

#[test]
fn net_half() {
    parted(4, &[&[0, 1], &[2, 3]], None);
    parted(10, &[&[0, 1, 2, 3, 4], &[5, 6, 7, 8, 9]], None);
}

#[test]
fn net_4_3_split() {
    parted(7, &[&[0, 1, 2, 3], &[4, 5, 6]], None);
}

#[test]
fn net_minority() {
    parted(7, &[&[0, 1], &[2, 3, 4, 5, 6]], Some(1));
    parted(4, &[&[0], &[1, 2, 3]], Some(1));
}

#[test]
fn net_isolated() {
    parted(4, &[&[0, 1, 2], &[3]], Some(0));
}

#[test]
fn net_thirds() {
    parted(7, &[&[0, 1], &[2, 3], &[4, 5, 6]], None);
}

/// Only neighbours hear each other: of four that is a quorum of three for each, and they go on; of seven for nobody, and
/// nothing is decided. Healing resumes.
#[test]
fn net_ring() {
    for (validators, decides) in [(4, true), (7, false)] {
        let mut stage = Stage::new(Scenario::story(validators, 20, 4_000));
        stage.run(500);
        let is_near = |from: usize, to: usize| (from + 1) % validators == to || (to + 1) % validators == from;
        let all = (0..validators).flat_map(|from| (0..validators).map(move |to| (from, to)));
        stage.cut(all.filter(|(from, to)| from != to && !is_near(*from, *to)).collect());
        // What was on its way has arrived, or never will.
        stage.run(1_000);
        let before = stage.height();
        stage.run(10_000);
        assert_eq!(stage.height() > before.plus(3), decides, "{validators}: from {before} to {}", stage.height());
        assert!(decides || stage.height() == before, "{validators}: three of seven decided");
        stage.heal();
        stage.settle(15_000);
        assert_eq!(stage.tickets(), 20, "one for each client");
        assert_eq!(stage.coverage().evidence, 0);
    }
}

/// A node that hears everybody and is heard by nobody, and one that speaks and hears nothing, leader or not.
#[test]
fn net_asymmetric() {
    for host in 0..4 {
        for is_deaf in [true, false] {
            let mut stage = Stage::new(Scenario::story(4, 6, 3_000));
            stage.run(500);
            let others = (0..4).filter(|other| *other != host);
            let cut: BTreeSet<_> = others.map(|other| if is_deaf { (other, host) } else { (host, other) }).collect();
            stage.cut(cut);
            let height = stage.height();
            stage.until("the others go on", 10_000, |stage| stage.height() > height.plus(3));
            stage.heal();
            stage.settle(15_000);
        }
    }
}

/// A leader whose clock is wrong by more than the drift is replaced. Of another node only the vote is missing. What clients
/// ask of a node that is an hour behind is over before it is decided, and refused.
#[test]
fn clock_skewed() {
    let hour_ms = 3_600_000;
    let behind = (0, -hour_ms, true, 6);
    for (host, milliseconds, is_replaced, tickets) in
        [behind, (0, hour_ms, true, 8), (1, hour_ms, false, 8), (2, -400, false, 8), (0, 400, false, 8)]
    {
        let mut stage = Stage::new(Scenario::story(4, 8, 4_000));
        stage.run(100);
        assert_eq!(stage.coverage().skewed_clocks, 0);
        stage.shift_clock(host, milliseconds);
        stage.settle(20_000);
        assert!(stage.coverage().skewed_clocks > 100, "it worked with the wrong time");
        let met = stage.coverage();
        let found = (met.views.total() > 0, stage.tickets(), met.evidence);
        assert_eq!(found, (is_replaced, tickets, 0), "host {host} is wrong by {milliseconds} ms: {met:?}");
    }
}

#[test]
fn clock_jumps() {
    let mut stage = Stage::new(Scenario::story(4, 16, 8_000));
    for jump in [2_000, -2_000, 60_000, -60_000, 0] {
        stage.run(1_200);
        (0..4).filter(|host| host % 2 == 0).for_each(|host| stage.shift_clock(host, jump));
    }
    stage.settle(20_000);
}

#[test]
fn clock_frozen() {
    for host in 0..4 {
        let mut stage = Stage::new(Scenario::story(4, 16, 8_000));
        stage.run(1_000);
        stage.freeze_clock(host, true);
        stage.run(8_000);
        stage.freeze_clock(host, false);
        stage.settle(20_000);
    }
}

/// Every message takes three seconds, and clocks may differ by half a second: each proposal comes too late for the first
/// views. The network is not what its operators thought, and decides all the same.
#[test]
fn net_slower_than_the_drift() {
    let mut scenario = Scenario::story(4, 4, 1_000);
    scenario.parameters.view_timeout_ms = 1_000;
    scenario.parameters.view_timeout_cap_ms = 32_000;
    assert_eq!(scenario.parameters.max_clock_drift_ms, 500);
    scenario.link = Some(Link { latency_us: 3_000_000, lost_ppm: 0 });
    let mut stage = Stage::new(scenario);
    stage.settle(600_000);
    assert_eq!(stage.tickets(), 4);
}
