//! Stopping a tree: in reverse order, awaited, and within a bound.

use super::{Journal, PATIENCE, Plan, Say, Stage, gate, soon};
use crate::mailbox::{CallError, FullPolicy, SendError};
use crate::supervision::{ChildSpec, RootEnd, ShutdownError, Status, Strategy, SupervisorSpec};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn actors_stop_in_reverse_order_and_a_slow_stop_delays_the_earlier_ones() {
    let journal = Journal::new();
    let plans = ["a", "b", "c"].map(|name| Plan::new(name, &journal));
    let [a, b, mut c] = plans;
    let opened = gate();
    c.stop_gate = Some(opened.clone());
    let core = SupervisorSpec::new("core", Strategy::RestForOne).child(b.spec()).child(c.spec());
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(a.spec()).child(ChildSpec::supervisor(core));
    let stage = Stage::open(root).await;
    journal.clear();
    let tree = stage.tree.clone();
    let stopping = tokio::spawn(async move { tree.shutdown(PATIENCE).await });
    journal.until("stop c").await;
    assert_eq!(journal.all(), ["stop c"]);
    assert_eq!(stage.count("a").await, Ok(0), "a still works");
    assert_eq!(stage.count("c").await, Err(CallError::Down), "c takes nothing new while it stops");
    assert_eq!(stage.tree.snapshot().find("core/c").unwrap().status, Status::Stopping);
    opened.add_permits(1);
    soon("shutdown", stopping).await.unwrap().unwrap();
    assert_eq!(journal.all(), ["stop c", "gone c", "stop b", "gone b", "stop a", "gone a"]);
    assert_eq!(stage.tree.ended().await, RootEnd::Stopped);
    assert!(stage.tree.snapshot().walk().all(|node| node.status == Status::Stopped), "{:#?}", stage.tree.snapshot());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_beyond_its_timeout_is_killed_logged_and_counted() {
    let journal = Journal::new();
    let (a, mut b) = (Plan::new("a", &journal), Plan::new("b", &journal));
    b.stop_gate = Some(gate());
    let root = SupervisorSpec::new("root", Strategy::OneForOne)
        .child(a.spec())
        .child(b.spec().stop_timeout(Duration::from_millis(20)));
    let stage = Stage::open(root).await;
    journal.clear();
    stage.shutdown().await;
    assert_eq!(journal.all(), ["stop b", "gone b", "stop a", "gone a"]);
    assert_eq!(stage.events.all(), ["killed b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_deadline_what_is_left_is_named_and_killed() {
    let journal = Journal::new();
    let (a, mut b) = (Plan::new("a", &journal), Plan::new("b", &journal));
    b.stop_gate = Some(gate());
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(a.spec()).child(b.spec());
    let stage = Stage::open(root).await;
    let deadline = Duration::from_millis(50);
    let error = soon("shutdown", stage.tree.shutdown(deadline)).await.unwrap_err();
    let unfinished = ["root", "a", "b"].map(str::to_owned).to_vec();
    assert_eq!(error, ShutdownError::Deadline { deadline, unfinished });
    soon("a", journal.until("gone a")).await;
    soon("b", journal.until("gone b")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_blocks_its_thread_does_not_hold_up_the_shutdown_for_ever() {
    let journal = Journal::new();
    let (a, b) = (Plan::new("a", &journal), Plan::new("b", &journal));
    let root = SupervisorSpec::new("root", Strategy::OneForOne)
        .child(a.spec())
        .child(b.spec().stop_timeout(Duration::from_millis(20)).end_timeout(Duration::from_millis(20)));
    let stage = Stage::open(root).await;
    let opened = gate();
    // A thread that blocks also holds the task that it woke last, which tokio lets no other thread take. Make sure that
    // this is not the supervisor: b has told it of its start, and it has heard.
    assert_eq!(stage.count("b").await, Ok(0));
    stage.restart("a").await.unwrap();
    stage.events.clear();
    stage.say("b", Say::BlockThread(opened.clone())).await;
    journal.until("busy b").await;
    stage.shutdown().await;
    assert_eq!(stage.events.all(), ["killed b", "abandoned b"]);
    assert!(journal.all().contains(&"gone a".to_owned()));
    opened.add_permits(1);
    journal.until("gone b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_during_a_restart_ends_everything() {
    let journal = Journal::new();
    let (mut a, b) = (Plan::new("a", &journal), Plan::new("b", &journal));
    let opened = gate();
    opened.add_permits(1);
    a.start_gate = Some(opened.clone());
    let root = SupervisorSpec::new("root", Strategy::RestForOne)
        .child(a.spec().stop_timeout(Duration::from_millis(20)))
        .child(b.spec());
    let stage = Stage::open(root).await;
    stage.say("a", Say::Panic).await;
    journal.until_times("start a", 2).await;
    journal.clear();
    stage.shutdown().await;
    assert_eq!(journal.all(), ["gone a"], "a never came up again, and b was not started");
    assert_eq!(stage.tree.snapshot().find("b").unwrap().status, Status::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_drains_handles_first_what_waits() {
    let journal = Journal::new();
    let plan = Plan::new("a", &journal);
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(plan.spec().drain_before_stop());
    let stage = Stage::open(root).await;
    let opened = gate();
    stage.say("a", Say::Block(opened.clone())).await;
    journal.until("busy a").await;
    let address = stage.address("a");
    let (reply, answer) = crate::mailbox::Reply::channel();
    address.send(Say::Count(reply)).await.unwrap();
    let tree = stage.tree.clone();
    let stopping = tokio::spawn(async move { tree.shutdown(PATIENCE).await });
    let mut presence = address.watch();
    soon("refusing", presence.wait_for(|now| !now.up)).await.unwrap();
    assert!(matches!(address.try_send(Say::Noise(FullPolicy::Refuse)), Err(SendError::Down(_))));
    opened.add_permits(1);
    assert_eq!(soon("answer", answer).await, Ok(1), "the question was asked before the stop");
    soon("shutdown", stopping).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_draining_what_waits_is_dropped_and_its_callers_learn_it() {
    let journal = Journal::new();
    let stage =
        Stage::open(SupervisorSpec::new("root", Strategy::OneForOne).child(Plan::new("a", &journal).spec())).await;
    let opened = gate();
    stage.say("a", Say::Block(opened.clone())).await;
    let (reply, answer) = crate::mailbox::Reply::channel();
    stage.say("a", Say::Count(reply)).await;
    let tree = stage.tree.clone();
    let stopping = tokio::spawn(async move { tree.shutdown(PATIENCE).await });
    let mut presence = stage.address("a").watch();
    soon("refusing", presence.wait_for(|now| !now.up)).await.unwrap();
    opened.add_permits(1);
    assert!(soon("answer", answer).await.is_err());
    soon("shutdown", stopping).await.unwrap().unwrap();
}
