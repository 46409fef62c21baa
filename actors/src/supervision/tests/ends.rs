//! How actors end, and what their supervisor makes of it.

use super::{Journal, Plan, Say, Stage, gate, soon};
use crate::mailbox::CallError;
use crate::supervision::{Restart, Status, Strategy, SupervisorSpec};
use std::time::Duration;

async fn one_actor(journal: &Journal) -> Stage {
    let plan = Plan::new("a", journal);
    Stage::open(
        SupervisorSpec::new("root", Strategy::OneForOne).intensity(100, Duration::from_secs(5)).child(plan.spec()),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_end_unasked_is_abnormal_and_says_so() {
    let stage = one_actor(&Journal::new()).await;
    let reason = |stage: &Stage| stage.tree.snapshot().find("a").unwrap().last_restart_reason.clone().unwrap();
    for (message, expected) in [
        (Say::Fail, "failed: told to fail"),
        (Say::Panic, "failed: told to panic"),
        (Say::TaskPanic, "failed: a background task panicked: told to panic in a task"),
        (Say::Finish, "finished (told to finish)"),
    ] {
        stage.say_and_await_successor("a", message).await;
        assert_eq!(reason(&stage), expected);
    }
    let former = stage.address("a").incarnation();
    stage.kill("a");
    stage.await_successor("a", former).await;
    assert_eq!(reason(&stage), "was killed");
    let former = stage.address("a").incarnation();
    stage.stop_unasked("a");
    stage.await_successor("a", former).await;
    assert_eq!(reason(&stage), "stopped although nobody asked for it (unasked)");
    assert_eq!(stage.restarts("a"), 6);
    assert_eq!(stage.count("a").await, Ok(0), "the last one works, with fresh state");
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_survives_the_restart_of_its_actor_with_an_empty_mailbox() {
    let journal = Journal::new();
    let stage = one_actor(&journal).await;
    let address = stage.address("a");
    let opened = gate();
    stage.say("a", Say::Block(opened)).await;
    journal.until("busy a").await;
    let (reply, answer) = crate::mailbox::Reply::channel();
    stage.say("a", Say::Count(reply)).await;
    assert_eq!(address.depth(), 1);
    let former = address.incarnation();
    stage.kill("a");
    assert!(soon("answer", answer).await.is_err(), "the question died with the mailbox, and that is told at once");
    stage.await_successor("a", former).await;
    assert_eq!(address.depth(), 0);
    assert!(address.is_up() && address.incarnation() > former);
    assert_eq!(stage.count("a").await, Ok(0));
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_successor_starts_before_state_tasks_and_lifelines_are_gone() {
    let journal = Journal::new();
    let stage = one_actor(&journal).await;
    for message in [Say::Panic, Say::Fail, Say::Finish] {
        stage.say("a", Say::Linger(journal.clone())).await;
        journal.clear();
        stage.say_and_await_successor("a", message).await;
        let all = journal.all();
        let place = |entry: &str| all.iter().position(|other| other == entry).unwrap();
        assert!(place("gone a") < place("start a"), "{all:?}");
        assert!(place("task gone") < place("start a"), "{all:?}");
    }
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deaths_at_the_same_time_are_all_mended() {
    let journal = Journal::new();
    let names = ["a", "b", "c"];
    let root = SupervisorSpec::new("root", Strategy::OneForAll);
    let root = names.iter().fold(root, |root, name| root.child(Plan::new(name, &journal).spec()));
    let stage = Stage::open(root).await;
    let opened = gate();
    let former = names.map(|name| stage.address(name).incarnation());
    for name in names {
        stage.say(name, Say::Block(opened.clone())).await;
        journal.until(&format!("busy {name}")).await;
    }
    for name in names {
        stage.kill(name);
    }
    for (name, former) in names.into_iter().zip(former) {
        stage.await_successor(name, former).await;
        assert_eq!(stage.restarts(name), 1);
        assert_eq!(stage.count(name).await, Ok(0));
    }
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_strategy_restarts_exactly_its_set() {
    for (strategy, expected) in [
        (Strategy::OneForOne, vec!["start b"]),
        (Strategy::OneForAll, vec!["stop c", "gone c", "stop a", "gone a", "start a", "start b", "start c"]),
        (Strategy::RestForOne, vec!["stop c", "gone c", "start b", "start c"]),
    ] {
        let journal = Journal::new();
        let root = SupervisorSpec::new("root", strategy);
        let root = ["a", "b", "c"].iter().fold(root, |root, name| root.child(Plan::new(name, &journal).spec()));
        let stage = Stage::open(root).await;
        journal.clear();
        stage.say("b", Say::Fail).await;
        journal.until(expected.last().unwrap()).await;
        let expected: Vec<_> = std::iter::once("gone b").chain(expected).collect();
        assert_eq!(journal.all(), expected);
        stage.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_actor_that_finishes_is_at_rest_until_it_is_asked_for() {
    let journal = Journal::new();
    let plan = Plan::new("a", &journal);
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(plan.spec().restart(Restart::Transient));
    let stage = Stage::open(root).await;
    stage.say("a", Say::Finish).await;
    journal.until("gone a").await;
    assert_eq!(journal.all(), ["start a", "stop a", "gone a"]);
    assert_eq!(stage.count("a").await, Err(CallError::Down));
    let status = || stage.tree.snapshot().find("a").unwrap().status;
    soon("stopped", async {
        while status() != Status::Stopped {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stage.restart("a").await.unwrap();
    assert_eq!((status(), stage.count("a").await), (Status::Running, Ok(0)));
    stage.shutdown().await;
}
