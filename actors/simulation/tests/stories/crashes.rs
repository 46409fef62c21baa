//! Nodes that are silent, end, stand still, and start again.

use dtvn_messages::Height;
use dtvn_replication::intake::Answer;
use dtvn_simulation::run::simulate_scenario;
use dtvn_simulation::{Behaviour, Coverage, End, Fault, Level, Link, Scenario, Stage};

/// Four nodes and a few clients.
fn four() -> Stage {
    Stage::new(Scenario::story(4, 6, 3_000))
}

#[test]
fn silent_backup() {
    let with = |liars: Vec<(usize, Behaviour)>| {
        let mut scenario = Scenario::story(4, 20, 4_000);
        scenario.liars = liars;
        scenario.faults_us = 6_000_000;
        scenario.link = Some(Link { latency_us: 1_000, lost_ppm: 0 });
        simulate_scenario(scenario)
    };
    let (healthy, one_silent) = (with(Vec::new()), with(vec![(3, Behaviour::Silent)]));
    assert_eq!((&healthy.end, &one_silent.end), (&End::Good, &End::Good));
    let clients_ask_elsewhere = one_silent.coverage.retries > 0;
    assert!(clients_ask_elsewhere, "some asked the silent node first");
    assert_eq!(one_silent.coverage.views.total(), 0, "a silent backup changes no view");
    let (before_us, after_us) = (healthy.latency.p50_us, one_silent.latency.p50_us);
    // Now every vote is needed, and some clients ask twice; but nobody waits for a timeout of 250 ms.
    assert!(after_us * 2 <= before_us * 3, "p50 went from {before_us} us to {after_us} us");
}

#[test]
fn silent_leader_costs_one_view_change() {
    let mut stage = Stage::new(Scenario::story(4, 0, 0));
    stage.run(500);
    stage.kill(stage.leader());
    let request = stage.ask(1, "an idempotency key", "ticket");
    stage.until("an outcome", 1_500, |stage| stage.answer(request).is_some());
    assert_eq!(stage.view().0, 1, "one view change is enough");
}

#[test]
fn silent_beyond_f() {
    let mut stage = Stage::new(Scenario::story(4, 0, 0));
    stage.run(500);
    let before = stage.ask(0, "asked while all are well", "first");
    stage.until("an outcome", 1_000, |stage| stage.answer(before).is_some());
    let height = stage.height();
    for host in [2, 3] {
        stage.kill(host);
    }
    stage.run(1_000);
    let meanwhile = stage.ask(0, "asked without a quorum", "second");
    stage.run(20_000);
    assert_eq!(stage.height(), height, "two of four decide nothing");
    let refusal = stage.answer(meanwhile).cloned();
    let is_no_quorum = |answer: &Answer| format!("{answer:?}").contains("NoQuorum");
    assert!(refusal.as_ref().is_some_and(is_no_quorum), "{refusal:?}");
    stage.start(3);
    stage.until("a link", 1_000, |stage| stage.show(3).is_some());
    stage.run(300);
    let after = stage.ask(0, "asked with a quorum again", "third");
    stage.until("an outcome", 5_000, |stage| matches!(stage.answer(after), Some(Answer::Decided(_))));
}

#[test]
fn crash_full_log() {
    let mut stage = four();
    stage.run(1_000);
    for host in 0..4 {
        stage.kill(host);
        stage.run(400);
        stage.start(host);
        stage.run(400);
    }
    stage.settle(20_000);
    assert_eq!(stage.coverage().restarts, 4);
}

/// Machines lose their power between a write and its sync, and with it some of what was written.
#[test]
fn crash_lost_tail() {
    let mut stage = Stage::new(Scenario::story(4, 40, 12_000));
    for round in 0..12 {
        let host = round % 4;
        stage.run(300);
        stage.until("something that is not synced", 5_000, |stage| stage.is_unsynced(host));
        stage.power_off(host);
        stage.run(300);
        stage.start(host);
    }
    stage.settle(20_000);
    let met = stage.coverage();
    assert_eq!(met.restarts, 12);
    assert!((1..=12).contains(&met.tails_lost), "{} logs lost their tail", met.tails_lost);
}

#[test]
fn all_killed() {
    let mut stage = four();
    for _ in 0..3 {
        stage.run(800);
        (0..4).for_each(|host| stage.power_off(host));
        stage.run(1_000);
        (0..4).for_each(|host| stage.start(host));
    }
    stage.settle(20_000);
    assert!(stage.height() > Height(0));
}

#[test]
fn all_stale() {
    let mut stage = Stage::new(Scenario::story(4, 0, 0));
    stage.run(500);
    let first = stage.ask(0, "asked before the end", "first");
    stage.until("an outcome", 1_000, |stage| stage.answer(first).is_some());
    stage.settle(1_000);
    (0..4).for_each(|host| stage.kill(host));
    // A day later all of them start from the same state: nobody knows more than anybody.
    stage.run(24 * 3_600 * 1_000);
    (0..4).for_each(|host| stage.start(host));
    stage.run(200);
    let second = stage.ask(2, "asked a day later on", "second");
    let took_ms = stage.until("an outcome", 3_000, |stage| matches!(stage.answer(second), Some(Answer::Decided(_))));
    assert!(took_ms < 1_000, "they waited for each other: {took_ms} ms");
}

#[test]
fn actor_killed() {
    let mut scenario = Scenario::story(4, 20, 4_000);
    scenario.faults_us = 6_000_000;
    scenario.set_level(Fault::Parts, Level::High);
    for seed in 0..10 {
        scenario.seed = seed;
        let report = simulate_scenario(scenario.clone());
        assert_eq!(report.end, End::Good, "{report}");
        assert!(report.coverage.part_restarts > 0);
    }
}

/// A process stands still for 30 s: it takes nothing in, and all that came when it moves again.
#[test]
fn pause_30s() {
    for host in 0..4 {
        let mut stage = Stage::new(Scenario::story(4, 20, 20_000));
        stage.run(1_000);
        stage.pause(host, 30_000);
        let before = stage.committed(host);
        stage.run(29_999);
        assert_eq!((stage.committed(host), stage.coverage().long_pauses), (before, 0), "it stands still to the end");
        assert!(stage.height() > before, "the others go on");
        stage.run(1);
        assert_eq!((stage.coverage().pauses, stage.coverage().long_pauses), (1, 1));
        stage.until("the paused node is back at the tip", 3_000, |stage| stage.committed(host) == stage.height());
        stage.settle(5_000);
    }
}

/// Pauses end when all heals, long ones too, and what has waited comes then.
#[test]
fn pause_ends_with_the_faults() {
    let mut met = Coverage::default();
    for seed in 0..16 {
        let mut scenario = Scenario::story(4, 12, 5_000);
        (scenario.seed, scenario.faults_us) = (seed, 8_000_000);
        scenario.set_level(Fault::Pauses, Level::High);
        let report = simulate_scenario(scenario);
        assert_eq!(report.end, End::Good, "{report}");
        assert!(report.recovery_us < 10_000_000, "{report}");
        met.add(&report.coverage);
    }
    assert!(met.long_pauses > 0 && met.pauses > met.long_pauses, "{} of {}", met.long_pauses, met.pauses);
}

#[test]
fn leader_killed() {
    let mut stage = Stage::new(Scenario::story(4, 12, 10_000));
    stage.run(500);
    for _ in 0..8 {
        let leader = stage.leader();
        stage.kill(leader);
        stage.run(1_200);
        stage.start(leader);
    }
    stage.settle(20_000);
    assert!(stage.coverage().views.total() >= 8, "each of them was replaced");
}

#[test]
fn leaders_dead_in_a_row() {
    for (validators, faulty) in [(4, 1), (7, 2), (10, 3)] {
        let mut stage = Stage::new(Scenario::story(validators, 0, 0));
        stage.run(500);
        (0..faulty).for_each(|host| stage.kill(host));
        let request = stage.ask(faulty, "asked after the leaders", "ticket");
        // Each of them costs a timeout, which doubles.
        let within_ms = 250 * (1 << (faulty + 1)) + 1_000;
        stage.until("an outcome", within_ms, |stage| stage.answer(request).is_some());
        assert_eq!(stage.view().0, faulty as u64, "{faulty} view changes are enough");
    }
}

#[test]
fn an_hour_of_outage_then_commits_within_five_seconds() {
    let mut stage = Stage::new(Scenario::story(7, 0, 0));
    stage.run(500);
    stage.part(&[&[0, 1, 2, 3], &[4, 5, 6]]);
    stage.run(1_000);
    let height = stage.height();
    for minute in 0..60 {
        stage.ask(minute % 7, &format!("asked in minute {minute:>4}"), &format!("ticket-{minute}"));
        stage.run(60_000);
    }
    assert_eq!(stage.height(), height, "neither side decides");
    stage.heal();
    stage.run(200);
    let request = stage.ask(6, "asked after the hour", "ticket");
    let took_ms = stage.until("an outcome", 5_000, |stage| matches!(stage.answer(request), Some(Answer::Decided(_))));
    assert!(took_ms <= 5_000);
}
