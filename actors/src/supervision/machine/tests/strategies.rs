//! Who is restarted with whom, and which ends count.

use super::Rig;
use crate::supervision::machine::Input;
use crate::supervision::{EndCause, Restart, Strategy};

#[test]
fn one_for_one_restarts_the_failed_child_alone() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b", "c"]);
    rig.fail("b");
    assert_eq!(rig.take_log(), ["start b"]);
}

#[test]
fn one_for_all_restarts_all_in_order() {
    let mut rig = Rig::booted(Strategy::OneForAll, &["a", "b", "c"]);
    rig.fail("b");
    assert_eq!(rig.take_log(), ["stop c", "stop a", "start a", "start b", "start c"]);
}

#[test]
fn rest_for_one_restarts_the_failed_child_and_those_after_it() {
    let mut rig = Rig::booted(Strategy::RestForOne, &["a", "b", "c", "d"]);
    rig.fail("b");
    assert_eq!(rig.take_log(), ["stop d", "stop c", "start b", "start c", "start d"]);
    rig.fail("d");
    assert_eq!(rig.take_log(), ["start d"]);
}

#[test]
fn under_one_for_one_a_slow_child_holds_up_nobody() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b"]);
    rig.hold("a");
    rig.fail("a");
    rig.fail("b");
    assert_eq!(rig.take_log(), ["start a", "start b"]);
}

#[test]
fn a_death_before_the_failed_child_widens_a_rest_for_one_restart() {
    let mut rig = Rig::booted(Strategy::RestForOne, &["a", "b", "c", "d"]);
    rig.hold("d");
    rig.fail("c");
    assert_eq!(rig.take_log(), ["stop d"]);
    rig.fail("a");
    assert_eq!(rig.take_log(), Vec::<String>::new(), "d is still awaited");
    rig.held.clear();
    rig.end("d", EndCause::Asked);
    assert_eq!(rig.take_log(), ["stop b", "start a", "start b", "start c", "start d"]);
}

#[test]
fn a_death_during_the_start_phase_of_a_restart_begins_it_anew_from_there() {
    let mut rig = Rig::booted(Strategy::RestForOne, &["a", "b", "c"]);
    rig.hold("c");
    rig.fail("b");
    rig.end("c", EndCause::Asked);
    assert_eq!(rig.take_log(), ["stop c", "start b", "start c"]);
    rig.fail("a");
    assert_eq!(rig.take_log(), ["stop c"]);
    rig.held.clear();
    rig.end("c", EndCause::Killed);
    assert_eq!(rig.take_log(), ["stop b", "start a", "start b", "start c"]);
}

#[test]
fn simultaneous_deaths_are_one_restart_when_the_strategy_ties_them() {
    let mut rig = Rig::booted(Strategy::OneForAll, &["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        rig.hold(name);
    }
    rig.fail("b");
    assert_eq!(rig.take_log(), ["stop c"]);
    rig.fail("a");
    rig.fail("c");
    assert_eq!(rig.take_log(), ["start a"], "all are down, so all come again, once");
    assert_eq!(rig.machine.failures.len(), 1, "and it counts once");
}

#[test]
fn simultaneous_deaths_count_each_when_nothing_ties_them() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        rig.fail(name);
    }
    assert_eq!(rig.take_log(), ["start a", "start b", "start c"]);
    assert_eq!(rig.machine.failures.len(), 3);
}

#[test]
fn reports_about_a_former_incarnation_are_ignored() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a"]);
    let (child, former) = rig.place("a");
    rig.hold("a");
    rig.fail("a");
    assert_eq!(rig.take_log(), ["start a"]);
    rig.input(Input::Ended { child, start: former, cause: EndCause::Killed });
    rig.input(Input::Started { child, start: former });
    assert_eq!(rig.take_log(), Vec::<String>::new());
    assert_eq!(rig.machine.failures.len(), 1);
    rig.restart("a", 1);
    assert_eq!(rig.take_log(), ["stop a"], "it is starting, not up, whatever a former incarnation said");
}

#[test]
fn every_end_that_nobody_asked_for_is_abnormal_for_a_permanent_child() {
    let causes = [
        EndCause::Failed("boom".to_owned()),
        EndCause::Killed,
        EndCause::Cancelled,
        EndCause::Unasked(None),
        EndCause::Finished("done".to_owned()),
    ];
    for cause in causes {
        let mut rig = Rig::booted(Strategy::OneForOne, &["a"]);
        rig.end("a", cause.clone());
        assert_eq!(rig.take_log(), ["start a"], "{cause}");
        assert_eq!(rig.machine.failures.len(), 1, "{cause}");
    }
}

#[test]
fn a_transient_child_may_finish_and_nothing_else() {
    let mut rig = Rig::with(Strategy::OneForOne, &[("a", Restart::Transient)]);
    rig.boot();
    for cause in [EndCause::Failed("boom".to_owned()), EndCause::Killed, EndCause::Unasked(None)] {
        rig.take_log();
        rig.end("a", cause);
        assert_eq!(rig.take_log(), ["start a"]);
    }
    rig.end("a", EndCause::Finished("done".to_owned()));
    assert_eq!(rig.take_log(), Vec::<String>::new());
    assert_eq!(rig.machine.failures.len(), 3);
}

#[test]
fn a_temporary_child_is_never_restarted_not_even_with_its_neighbours() {
    let children = [("a", Restart::Permanent), ("b", Restart::Temporary), ("c", Restart::Temporary)];
    let mut rig = Rig::with(Strategy::RestForOne, &children);
    rig.boot();
    rig.take_log();
    rig.end("c", EndCause::Killed);
    assert_eq!(rig.take_log(), Vec::<String>::new());
    assert_eq!(rig.machine.failures.len(), 0);
    rig.fail("a");
    assert_eq!(rig.take_log(), ["stop b", "start a"]);
}

#[test]
fn a_finished_transient_neighbour_is_started_again_with_the_group() {
    let mut rig = Rig::with(Strategy::RestForOne, &[("a", Restart::Permanent), ("b", Restart::Transient)]);
    rig.boot();
    rig.end("b", EndCause::Finished("done".to_owned()));
    rig.take_log();
    rig.fail("a");
    assert_eq!(rig.take_log(), ["start a", "start b"]);
}
