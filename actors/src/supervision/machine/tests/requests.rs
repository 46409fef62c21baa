//! Adding, removing and restarting by request.

use super::Rig;
use crate::supervision::machine::{CommandError, Input};
use crate::supervision::{EndCause, Restart, Strategy};

#[test]
fn a_requested_restart_takes_the_strategys_group_and_is_answered_when_all_are_up() {
    let mut rig = Rig::booted(Strategy::RestForOne, &["a", "b", "c"]);
    rig.hold("c");
    rig.restart("b", 7);
    assert_eq!(rig.take_log(), ["stop c"]);
    rig.end("c", EndCause::Asked);
    assert_eq!(rig.take_log(), ["stop b", "start b", "start c"]);
    assert_eq!(rig.answers, [], "c is not up yet");
    rig.came_up("c");
    assert_eq!(rig.answers, [(7, Ok(()))]);
}

#[test]
fn under_one_for_one_a_requested_restart_is_answered_when_that_child_is_up() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a", "b"]);
    rig.hold("a");
    rig.hold("b");
    rig.restart("a", 1);
    rig.restart("b", 2);
    rig.end("b", EndCause::Asked);
    rig.came_up("b");
    assert_eq!(rig.answers, [(2, Ok(()))]);
    rig.end("a", EndCause::Asked);
    rig.came_up("a");
    assert_eq!(rig.answers, [(2, Ok(())), (1, Ok(()))]);
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut rig = Rig::with(Strategy::OneForOne, &[("a", Restart::Permanent), ("t", Restart::Temporary)]);
    rig.boot();
    rig.restart("x", 1);
    rig.restart("t", 2);
    rig.remove("x", 3);
    rig.remove("a", 4);
    rig.add("a", Restart::Temporary, 5);
    let unknown = || CommandError::Unknown("x".to_owned());
    let expected = [
        (1, Err(unknown())),
        (2, Err(CommandError::Temporary("t".to_owned()))),
        (3, Err(unknown())),
        (4, Err(CommandError::Fixed("a".to_owned()))),
        (5, Err(CommandError::AlreadyThere("a".to_owned()))),
    ];
    assert_eq!(rig.answers, expected);
}

#[test]
fn dynamic_children_are_bounded_and_their_places_are_given_back() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a"]);
    rig.add("p1", Restart::Temporary, 1);
    rig.add("p2", Restart::Transient, 2);
    rig.add("p3", Restart::Temporary, 3);
    assert_eq!(rig.answers, [(1, Ok(())), (2, Ok(())), (3, Err(CommandError::TooMany(2)))]);
    rig.take_log();
    rig.fail("p1");
    rig.end("p2", EndCause::Finished("closed".to_owned()));
    assert_eq!(rig.take_log(), ["forget p1", "forget p2"]);
    rig.add("p1", Restart::Temporary, 4);
    rig.add("p3", Restart::Temporary, 5);
    assert_eq!(rig.answers[3..], [(4, Ok(())), (5, Ok(()))]);
}

#[test]
fn a_dynamic_child_that_cannot_start_is_not_added_and_counts_nothing() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a"]);
    rig.hold("p");
    rig.add("p", Restart::Permanent, 1);
    rig.end("p", EndCause::StartFailed("refused".to_owned()));
    assert_eq!(rig.take_log(), ["start p", "forget p"]);
    let why = "could not start: refused".to_owned();
    assert_eq!(rig.answers, [(1, Err(CommandError::StartFailed(why)))]);
    assert_eq!(rig.machine.failures.len(), 0);
    rig.held.clear();
    rig.add("p", Restart::Permanent, 2);
    assert_eq!(rig.answers[1], (2, Ok(())), "the name is free again");
}

#[test]
fn a_dynamic_permanent_child_is_restarted() {
    let mut rig = Rig::booted(Strategy::OneForOne, &[]);
    rig.add("p", Restart::Permanent, 1);
    rig.fail("p");
    assert_eq!(rig.take_log(), ["start p", "start p"]);
    assert_eq!(rig.machine.failures.len(), 1);
}

#[test]
fn removing_stops_forgets_and_answers() {
    let mut rig = Rig::booted(Strategy::OneForOne, &[]);
    rig.add("p", Restart::Permanent, 1);
    rig.hold("p");
    rig.take_log();
    rig.remove("p", 2);
    rig.remove("p", 3);
    assert_eq!(rig.take_log(), ["stop p"]);
    assert_eq!(rig.answers, [(1, Ok(()))]);
    rig.end("p", EndCause::Asked);
    assert_eq!(rig.take_log(), ["forget p"]);
    assert_eq!(rig.answers[1..], [(2, Ok(())), (3, Ok(()))]);
}

#[test]
fn removing_a_child_that_is_being_restarted_wins() {
    let mut rig = Rig::booted(Strategy::OneForOne, &[]);
    rig.add("p", Restart::Permanent, 1);
    rig.hold("p");
    rig.restart("p", 2);
    rig.remove("p", 3);
    rig.restart("p", 4);
    rig.end("p", EndCause::Asked);
    assert_eq!(rig.take_log(), ["start p", "stop p", "forget p"]);
    let removed = || Err(CommandError::Removed);
    assert_eq!(rig.answers[1..], [(2, removed()), (4, removed()), (3, Ok(()))]);
}

#[test]
fn dynamic_children_share_a_rank_so_they_stop_together_and_before_all_others() {
    let mut rig = Rig::booted(Strategy::RestForOne, &["a", "b"]);
    rig.add("p1", Restart::Permanent, 1);
    rig.add("p2", Restart::Permanent, 2);
    rig.hold("p1");
    rig.hold("p2");
    rig.take_log();
    rig.input(Input::Stop);
    assert_eq!(rig.take_log(), ["stop p1", "stop p2"]);
    rig.end("p2", EndCause::Asked);
    assert_eq!(rig.take_log(), ["forget p2"]);
    rig.end("p1", EndCause::Asked);
    assert_eq!(rig.take_log(), ["forget p1", "stop b", "stop a", "end"]);
}

#[test]
fn a_failed_dynamic_child_takes_no_other_dynamic_child_with_it_under_rest_for_one() {
    let mut rig = Rig::booted(Strategy::RestForOne, &["a"]);
    rig.add("p1", Restart::Permanent, 1);
    rig.add("p2", Restart::Permanent, 2);
    rig.take_log();
    rig.fail("p1");
    assert_eq!(rig.take_log(), ["start p1"]);
    rig.fail("a");
    assert_eq!(rig.take_log(), ["stop p1", "stop p2", "start a", "start p1", "start p2"]);
}

#[test]
fn everybody_who_waits_is_answered_when_the_supervisor_stops() {
    let mut rig = Rig::booted(Strategy::OneForOne, &["a"]);
    rig.hold("a");
    rig.hold("p");
    rig.restart("a", 1);
    rig.add("p", Restart::Permanent, 2);
    rig.input(Input::Stop);
    let stopping = || Err(CommandError::Stopping);
    assert_eq!(rig.answers, [(2, stopping()), (1, stopping())]);
    rig.restart("a", 3);
    rig.add("q", Restart::Permanent, 4);
    assert_eq!(rig.answers[2..], [(3, stopping()), (4, stopping())]);
}

#[test]
fn a_restart_that_is_waited_for_is_answered_when_the_child_finishes_instead() {
    let mut rig = Rig::with(Strategy::OneForOne, &[("a", Restart::Transient)]);
    rig.boot();
    rig.hold("a");
    rig.restart("a", 1);
    rig.end("a", EndCause::Asked);
    rig.end("a", EndCause::Finished("nothing to do".to_owned()));
    assert_eq!(rig.answers, [(1, Err(CommandError::Removed))]);
}
