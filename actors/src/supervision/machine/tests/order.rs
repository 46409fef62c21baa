//! Boot, shutdown, and what may come between.

use std::time::Duration;

use super::Rig;
use crate::supervision::machine::{Input, Outcome};
use crate::supervision::{EndCause, GaveUpBecause, Strategy};

const ALL: [Strategy; 3] = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];

#[test]
fn children_start_in_order_and_each_start_is_awaited() {
    for strategy in ALL {
        let mut rig = Rig::new(strategy, &["a", "b", "c"]);
        rig.hold("b");
        rig.boot();
        assert_eq!(rig.take_log(), ["start a", "start b"]);
        rig.came_up("b");
        assert_eq!(rig.take_log(), ["start c", "ready"]);
    }
}

#[test]
fn children_stop_in_reverse_order_and_each_stop_is_awaited() {
    for strategy in ALL {
        let mut rig = Rig::booted(strategy, &["a", "b", "c"]);
        rig.hold("c");
        rig.input(Input::Stop);
        assert_eq!(rig.take_log(), ["stop c"]);
        rig.end("c", EndCause::Asked);
        assert_eq!(rig.take_log(), ["stop b", "stop a", "end"]);
        assert_eq!(rig.outcome, Some(Outcome::Stopped));
    }
}

#[test]
fn a_supervisor_without_children_is_ready_and_ends_at_once() {
    let mut rig = Rig::new(Strategy::OneForOne, &[]);
    rig.boot();
    rig.input(Input::Stop);
    assert_eq!(rig.take_log(), ["ready", "end"]);
}

#[test]
fn a_failed_start_during_boot_stops_what_has_started_and_fails_the_supervisor() {
    for strategy in ALL {
        let mut rig = Rig::new(strategy, &["a", "b", "c"]);
        rig.hold("b");
        rig.boot();
        rig.end("b", EndCause::StartFailed("no disk".to_owned()));
        assert_eq!(rig.take_log(), ["start a", "start b", "give up on b", "stop a", "end"]);
        let Some(Outcome::GaveUp { because, name, restarts, cause, .. }) = rig.outcome else {
            panic!("it did not give up");
        };
        assert_eq!((because, name.as_str(), restarts), (GaveUpBecause::StartFailed, "b", 0));
        assert_eq!(cause, EndCause::StartFailed("no disk".to_owned()));
    }
}

#[test]
fn a_child_that_dies_while_a_later_one_starts_is_restarted_and_boot_goes_on() {
    let mut rig = Rig::new(Strategy::RestForOne, &["a", "b", "c"]);
    rig.hold("b");
    rig.boot();
    rig.take_log();
    rig.fail("a");
    assert_eq!(rig.take_log(), ["stop b"], "b is still starting and must go before a comes again");
    rig.held.clear();
    rig.end("b", EndCause::Asked);
    assert_eq!(rig.take_log(), ["start a", "start b", "start c", "ready"]);
}

#[test]
fn a_stop_during_boot_ends_the_starting_child_too() {
    let mut rig = Rig::new(Strategy::OneForOne, &["a", "b", "c"]);
    rig.hold("b");
    rig.boot();
    rig.take_log();
    rig.input(Input::Stop);
    assert_eq!(rig.take_log(), ["stop b"]);
    rig.came_up("b");
    assert_eq!(rig.take_log(), Vec::<String>::new(), "a start that completes after the stop changes nothing");
    rig.end("b", EndCause::Asked);
    assert_eq!(rig.take_log(), ["stop a", "end"]);
}

#[test]
fn a_stop_during_a_restart_starts_nothing_any_more() {
    let mut rig = Rig::booted(Strategy::RestForOne, &["a", "b", "c"]);
    rig.hold("c");
    rig.fail("a");
    assert_eq!(rig.take_log(), ["stop c"]);
    rig.input(Input::Stop);
    assert_eq!(rig.take_log(), Vec::<String>::new());
    rig.end("c", EndCause::Asked);
    assert_eq!(rig.take_log(), ["stop b", "end"]);
}

#[test]
fn a_death_during_shutdown_is_no_reason_to_restart() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b", "c"]);
    rig.hold("c");
    rig.input(Input::Stop);
    rig.fail("a");
    rig.end("c", EndCause::Asked);
    assert_eq!(rig.take_log(), ["stop c", "stop b", "end"]);
    assert_eq!(rig.outcome, Some(Outcome::Stopped));
}

#[test]
fn an_overdue_stop_becomes_a_kill_and_a_stop_goes_on_without_whom_no_kill_ends() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b"]);
    rig.hold("b");
    rig.input(Input::Stop);
    let (child, start) = rig.place("b");
    rig.input(Input::KillOverdue { child, start });
    assert_eq!(rig.take_log(), ["stop b"], "it was not killed yet");
    rig.input(Input::StopOverdue { child, start });
    rig.input(Input::StopOverdue { child, start });
    assert_eq!(rig.take_log(), ["kill b"]);
    rig.input(Input::KillOverdue { child, start });
    assert_eq!(rig.take_log(), ["abandon b", "stop a", "end"]);
    rig.outcome = None;
    rig.input(Input::Ended { child, start, cause: EndCause::Killed });
    assert_eq!(rig.take_log(), Vec::<String>::new(), "it ends at last, and nobody is there to care");
}

#[test]
fn a_child_whose_threads_are_still_there_has_no_successor() {
    let outlived = || EndCause::Outlived(Duration::from_secs(60));
    // It failed by itself; it was to be restarted.
    for is_asked in [false, true] {
        let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b"]);
        if is_asked {
            rig.hold("b");
            rig.restart("b", 7);
            assert_eq!(rig.take_log(), ["stop b"]);
        }
        rig.end("b", outlived());
        assert_eq!(rig.take_log(), ["give up on b", "stop a", "end"]);
        assert!(matches!(rig.outcome, Some(Outcome::GaveUp { because: GaveUpBecause::Stuck, .. })));
    }
    // Nobody wants it any more: there is no successor to share anything with.
    let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b"]);
    rig.hold("b");
    rig.input(Input::Stop);
    rig.take_log();
    rig.end("b", outlived());
    assert!(matches!(rig.outcome, Some(Outcome::Stopped)), "{:?}", rig.outcome);
}

#[test]
fn a_child_that_cannot_be_ended_is_never_run_twice() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b"]);
    rig.hold("b");
    rig.restart("b", 7);
    let (child, start) = rig.place("b");
    rig.input(Input::StopOverdue { child, start });
    rig.input(Input::KillOverdue { child, start });
    assert_eq!(rig.take_log(), ["stop b", "kill b", "abandon b", "give up on b", "stop a", "end"]);
    assert!(matches!(rig.outcome, Some(Outcome::GaveUp { because: GaveUpBecause::Stuck, .. })));
    assert_eq!(rig.answers.len(), 1);
    assert!(rig.answers[0].1.is_err());
}

#[test]
fn an_overdue_timer_of_a_former_incarnation_is_ignored() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a"]);
    let (child, start) = rig.place("a");
    rig.fail("a");
    rig.restart("a", 1);
    rig.hold("a");
    rig.restart("a", 2);
    rig.take_log();
    rig.input(Input::StopOverdue { child, start });
    assert_eq!(rig.take_log(), Vec::<String>::new());
}
