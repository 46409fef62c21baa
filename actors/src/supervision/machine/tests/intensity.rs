//! How many failures are mended, and what happens after the last one.

use super::{Rig, WINDOW};
use crate::supervision::machine::{Input, Outcome};
use crate::supervision::{EndCause, GaveUpBecause, Strategy};
use std::time::Duration;

#[test]
fn one_failure_too_many_within_the_window_stops_the_others_in_reverse_order_and_gives_up() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b", "c"]);
    for _ in 0..3 {
        rig.fail("b");
    }
    assert_eq!(rig.take_log(), ["start b", "start b", "start b"]);
    rig.fail("b");
    assert_eq!(rig.take_log(), ["give up on b", "stop c", "stop a", "end"]);
    let Some(Outcome::GaveUp { because, name, restarts, cause, .. }) = rig.outcome else {
        panic!("it did not give up");
    };
    assert_eq!(because, GaveUpBecause::Intensity { restarts_max: 3, window: WINDOW });
    assert_eq!((name.as_str(), restarts), ("b", 3));
    assert_eq!(cause, EndCause::Failed("boom".to_owned()));
}

#[test]
fn the_window_slides() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a"]);
    for _ in 0..20 {
        rig.fail("a");
        rig.now += WINDOW / 3 + Duration::from_millis(1);
    }
    assert_eq!(rig.outcome, None, "never more than three within five seconds");
    for _ in 0..2 {
        rig.fail("a");
    }
    assert!(matches!(rig.outcome, Some(Outcome::GaveUp { .. })));
}

#[test]
fn failures_of_all_children_count_together() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b", "c", "d"]);
    for name in ["a", "b", "c", "d"] {
        rig.fail(name);
    }
    assert!(matches!(rig.outcome, Some(Outcome::GaveUp { name, .. }) if name == "d"));
}

#[test]
fn a_start_that_fails_during_a_restart_counts_as_one_more_failure() {
    let mut rig = Rig::booted(Strategy::RestForOne, &["a", "b"]);
    rig.hold("a");
    rig.fail("a");
    for _ in 0..2 {
        rig.end("a", EndCause::StartFailed("no disk".to_owned()));
    }
    assert_eq!(rig.take_log(), ["stop b", "start a", "start a", "start a"]);
    rig.end("a", EndCause::StartFailed("no disk".to_owned()));
    assert_eq!(rig.take_log(), ["give up on a", "end"]);
}

#[test]
fn requested_restarts_do_not_count() {
    let mut rig = Rig::booted(Strategy::OneForAll, &["a", "b"]);
    for ticket in 0..50 {
        rig.restart("a", ticket);
    }
    assert_eq!(rig.outcome, None);
    assert_eq!(rig.machine.failures.len(), 0);
    assert_eq!(rig.answers.len(), 50);
}

#[test]
fn giving_up_waits_for_a_child_that_is_still_stopping() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b"]);
    rig.hold("a");
    rig.restart("a", 1);
    for _ in 0..4 {
        rig.fail("b");
    }
    assert_eq!(rig.take_log(), ["stop a", "start b", "start b", "start b", "give up on b"]);
    assert_eq!(rig.outcome, None);
    rig.end("a", EndCause::Asked);
    assert_eq!(rig.take_log(), ["end"]);
}

#[test]
fn a_stop_request_while_giving_up_changes_nothing() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b"]);
    rig.hold("b");
    for _ in 0..4 {
        rig.fail("a");
        rig.came_up("a");
    }
    rig.input(Input::Stop);
    rig.end("b", EndCause::Asked);
    assert!(matches!(rig.outcome, Some(Outcome::GaveUp { .. })), "the reason must not be lost");
}

#[test]
fn what_befalls_those_behind_a_failing_child_is_its_failure() {
    let mut rig = Rig::booted(Strategy::RestForOne, &["a", "b", "c"]);
    for _ in 0..3 {
        rig.begin_to_fail("a");
        rig.fail("c");
        rig.fail("b");
        assert_eq!(rig.take_log(), Vec::<String>::new(), "nobody is started while a is going");
        rig.fail("a");
        assert_eq!(rig.take_log(), ["start a", "start b", "start c"]);
    }
    assert_eq!(rig.outcome, None, "three failures, not nine");
    rig.begin_to_fail("a");
    rig.fail("a");
    assert!(rig.take_log().contains(&"give up on a".to_owned()), "the fourth is one too many");
}

#[test]
fn a_failing_child_excuses_nobody_before_it_and_nobody_under_one_for_one() {
    let mut rig = Rig::booted(Strategy::RestForOne, &["a", "b"]);
    rig.begin_to_fail("b");
    rig.fail("a");
    rig.fail("b");
    rig.fail("a");
    rig.fail("a");
    assert!(rig.take_log().contains(&"give up on a".to_owned()));
    let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b"]);
    rig.begin_to_fail("a");
    for _ in 0..3 {
        rig.fail("b");
    }
    rig.fail("a");
    assert!(rig.take_log().contains(&"give up on a".to_owned()));
}

#[test]
fn a_child_that_was_to_stop_anyway_is_not_failing() {
    let mut rig = Rig::booted(Strategy::RestForOne, &["a", "b"]);
    rig.hold("b");
    rig.fail("a");
    assert_eq!(rig.take_log(), ["stop b"]);
    rig.begin_to_fail("b");
    rig.held.clear();
    rig.end("b", EndCause::Failed("boom".to_owned()));
    assert_eq!(rig.take_log(), ["start a", "start b"]);
}
