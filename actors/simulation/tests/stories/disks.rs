//! Disks that fail, and logs that are damaged.

use dtvn_messages::{Epoch, Height};
use dtvn_replication::intake::Answer;
use dtvn_simulation::run::simulate_scenario;
use dtvn_simulation::{Broken, Coverage, End, Fault, Harm, Level, Link, Member, Scenario, Stage};

fn four() -> Stage {
    let mut stage = Stage::new(Scenario::story(4, 8, 6_000));
    stage.run(1_500);
    stage
}

/// A node whose log is harmed finds out, follows without a vote, and votes again in the epoch that its own recovery opens.
fn harmed(harm: Harm) {
    let mut stage = four();
    assert!(stage.harm(2, harm), "there was something to harm");
    stage.run(500);
    stage.start(2);
    assert!(stage.amnesia(2).is_some(), "it knows that it has forgotten");
    assert!(stage.show(2).is_some_and(|shown| !shown.voting), "so it does not vote");
    // Without a quorum of the others it stays so, also over another start.
    stage.part(&[&[2], &[0, 1, 3]]);
    stage.run(1_000);
    stage.kill(2);
    stage.start(2);
    assert!(stage.show(2).is_some_and(|shown| !shown.voting));
    stage.heal();
    stage.settle(40_000);
    assert!(stage.committed(2) > Height(0) && stage.committed(2) == stage.height(), "it has followed");
    assert_eq!(stage.amnesia(2), None);
    assert!(stage.show(2).is_some_and(|shown| shown.voting), "it votes again");
    assert!(stage.coverage().recoveries == 1 && stage.coverage().epochs >= 4, "in another epoch");
}

#[test]
fn disk_bit_flip() {
    harmed(Harm::BitFlip);
}

#[test]
fn disk_truncated() {
    harmed(Harm::Truncated);
}

#[test]
fn disk_lost_file() {
    harmed(Harm::LostFile);
}

#[test]
fn disk_empty() {
    harmed(Harm::Empty);
}

/// Wherever a log of several segments is harmed, its node knows that it has forgotten, or has forgotten nothing: the stage
/// sees to it that nothing durable is missing, and that nothing is signed twice.
#[test]
fn disk_harmed_anywhere() {
    const SEGMENT_BYTES: u64 = 512 * 1_024;
    let mut stage = four();
    let (mut number, mut forgot) = (0, 0);
    for (host, harm) in [(1, Harm::BitFlip), (2, Harm::Truncated), (3, Harm::LostFile)] {
        while stage.log_bytes(host) < 2 * SEGMENT_BYTES {
            assert!(number < 4_000, "the log of {host} has {} bytes after {number}", stage.log_bytes(host));
            stage.ask_much(0, number, 4_000);
            number += 1;
            stage.run(20);
        }
        assert!(stage.harm_anywhere(host, harm), "there was something to harm");
        stage.run(500);
        stage.start(host);
        forgot += u64::from(stage.amnesia(host).is_some());
        stage.until("it votes", 60_000, |stage| stage.votes(host));
    }
    assert!(forgot > 0, "most of a log is what must not be lost");
    assert_eq!(stage.coverage().recoveries, forgot, "who has forgotten votes again in another epoch");
    stage.settle(40_000);
}

/// A node that finds its log whole and its database gone stands in the first epoch again. That is over: records of a later
/// one say so, and what it signed in the first one has left its log. It signs nothing there, and votes again where it did.
#[test]
fn disk_store_lost() {
    let mut stage = four();
    for epoch in 1..=3 {
        let heavy = Member { power: 1 + epoch as u32 % 2, ..Member::of(0) };
        let change = stage.change(0, &[heavy, Member::of(1), Member::of(2), Member::of(3)]);
        stage.until("the change", 20_000, |stage| stage.is_changed(change) == Some(true));
        stage.until_epoch(epoch, &[0, 1, 2, 3], 20_000);
    }
    let mut number = 0;
    while stage.coverage().collected < 8 {
        assert!(number < 4_000, "segments of the log go: {} after {}", stage.coverage().collected, stage.tickets());
        stage.ask_much(number % 3, number as u64, 4_000);
        number += 1;
        stage.run(20);
    }
    stage.run(1_000);
    assert!(stage.harm(3, Harm::StoreLost));
    stage.start(3);
    assert_eq!(stage.amnesia(3), None, "it has forgotten nothing");
    assert_eq!(stage.epoch_of(3), Epoch(0));
    for epoch in 0..3 {
        assert!(stage.show(3).is_some_and(|shown| !shown.voting), "in epoch {epoch}");
        stage.until("the next epoch", 20_000, |stage| stage.epoch_of(3) > Epoch(epoch));
    }
    stage.settle(40_000);
    assert!(stage.committed(3) > Height(0) && stage.committed(3) == stage.height(), "it is back");
    assert!(stage.votes(3), "and votes");
}

/// A node whose disk fails ends rather than to go on, comes back when the disk works, and votes again. Says what was met
/// until the disk worked.
fn broken(broken: Broken) -> Coverage {
    let mut stage = Stage::new(Scenario::story(4, 30, 12_000));
    stage.run(1_500);
    stage.break_disk(1, broken);
    let height = stage.height();
    stage.run(6_000);
    assert!(stage.height() > height, "the others go on");
    let met = *stage.coverage();
    assert!(met.disk_failures > 0, "it noticed");
    stage.mend_disk(1);
    stage.until("another process", 1_000, |stage| stage.show(1).is_some());
    stage.settle(20_000);
    assert!(stage.show(1).is_some_and(|shown| shown.voting), "it votes again");
    assert_eq!(stage.amnesia(1), None, "it has forgotten nothing");
    met
}

/// How often a disk was full, could only be read, and did not sync.
const fn struck(met: &Coverage) -> (u64, u64, u64) {
    (met.full_disks, met.read_only_disks, met.failed_syncs)
}

/// No process can start before the disk can be written again.
#[test]
fn disk_read_only() {
    let met = broken(Broken::ReadOnly);
    assert!(matches!(struck(&met), (0, 2.., 0)), "{met:?}");
    assert_eq!((met.disk_failures, met.restarts), (1, 1));
}

/// The sync that failed is never tried again: the process ends, and the next one reads what is there.
#[test]
fn disk_fsync_error() {
    let met = broken(Broken::NextSync);
    assert_eq!((struck(&met), met.disk_failures, met.restarts), ((0, 0, 1), 1, 1));
}

/// A block for which there is no space ends the process, and so it does the next one, until there is.
#[test]
fn disk_full() {
    let met = broken(Broken::Full);
    assert!(matches!(struck(&met), (2.., 0, 0)), "{met:?}");
}

/// There is space for blocks, and none for the next segment of the log: the log goes on to the end of its segment, and the
/// node ends there.
#[test]
fn disk_full_at_the_end_of_a_segment() {
    let mut stage = four();
    stage.break_disk(1, Broken::NoSegment);
    stage.run(2_000);
    assert_eq!(stage.coverage().disk_failures, 0, "there is space in the segment");
    let mut number = 0;
    while stage.coverage().full_disks == 0 {
        assert!(number < 2_000, "the segment is full at some time: {} bytes", stage.log_bytes(1));
        stage.ask_much([0, 2, 3][number % 3], number as u64, 4_000);
        number += 1;
        stage.run(20);
    }
    assert!(stage.coverage().disk_failures > 0);
    let height = stage.height();
    for more in number..number + 20 {
        stage.ask_much(0, more as u64, 4_000);
        stage.run(100);
    }
    assert!(stage.height() > height, "the others go on");
    stage.mend_disk(1);
    stage.until("another process", 1_000, |stage| stage.show(1).is_some());
    stage.settle(20_000);
    assert!(stage.votes(1) && stage.committed(1) == stage.height(), "it is back");
    assert_eq!(stage.amnesia(1), None, "it has forgotten nothing");
}

/// The least that a sync of a slow disk takes.
const SLOW_SYNC_MS: u64 = 30;
/// Operations that are asked for one after the other.
const IN_TURN: u64 = 20;

/// How long it takes to decide them, asked of a backup, while one disk is slow and one host is down.
fn decided_in_turn(slow: Option<usize>, down: Option<usize>) -> (u64, Coverage) {
    let mut scenario = Scenario::story(4, 0, 0);
    scenario.link = Some(Link { latency_us: 1_000, lost_ppm: 0 });
    let mut stage = Stage::new(scenario);
    stage.run(500);
    slow.into_iter().for_each(|host| stage.slow_disk(host, true));
    down.into_iter().for_each(|host| stage.kill(host));
    stage.run(500);
    let mut took_ms = 0;
    for number in 0..IN_TURN {
        let request = stage.ask(1, &format!("the key of ticket {number:>4}"), &format!("ticket-{number}"));
        let is_decided = |stage: &Stage| matches!(stage.answer(request), Some(Answer::Decided(_)));
        took_ms += stage.until("an outcome", 20_000, is_decided);
    }
    stage.settle(20_000);
    assert_eq!(stage.tickets(), IN_TURN);
    (took_ms, *stage.coverage())
}

/// Nobody waits for one slow disk while a quorum has others. Where its node is needed, all wait for it, and go on.
#[test]
fn disk_slow() {
    let (healthy_ms, _) = decided_in_turn(None, None);
    let (beside_ms, met) = decided_in_turn(Some(3), None);
    assert!(beside_ms <= 2 * healthy_ms, "it took {healthy_ms} ms, and {beside_ms} ms beside a slow disk");
    assert_eq!((met.views.total(), met.blamed, met.evidence), (0, 0, 0));
    // Its PREPARE waits for the proposal, and its COMMIT for the certificate.
    let (needed_ms, _) = decided_in_turn(Some(3), Some(2));
    assert!(needed_ms >= IN_TURN * 2 * SLOW_SYNC_MS, "{needed_ms} ms: nobody waited for the slow disk");
    // The leader's proposals wait for its disk, until another leads.
    let (leader_ms, _) = decided_in_turn(Some(0), None);
    assert!(leader_ms >= healthy_ms + SLOW_SYNC_MS / 2, "{leader_ms} ms: the leader did not wait for its slow disk");
}

#[test]
fn disk_torn_tail() {
    let mut torn = 0;
    for seed in 0..20 {
        let mut scenario = Scenario::story(4, 10, 4_000);
        (scenario.seed, scenario.faults_us) = (seed, 6_000_000);
        scenario.set_level(Fault::Crashes, Level::High);
        let report = simulate_scenario(scenario);
        assert_eq!(report.end, End::Good, "{report}");
        torn += report.coverage.torn;
    }
    assert!(torn > 0, "no tail was torn");
}
