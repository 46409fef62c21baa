//! Starting a tree.

use super::{Journal, PATIENCE, Plan, Say, Stage, gate, soon};
use crate::mailbox::{Address, CallError};
use crate::supervision::{
    ChildSpec, CommandError, EndCause, GaveUpBecause, NodeTree, RootEnd, StartError, Strategy, SupervisorSpec,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Semaphore;

#[tokio::test(flavor = "multi_thread")]
async fn actors_start_in_order_and_each_is_up_before_the_next_begins() {
    let journal = Journal::new();
    let (mut a, b) = (Plan::new("a", &journal), Plan::new("b", &journal));
    let opened = gate();
    a.start_gate = Some(opened.clone());
    let core = SupervisorSpec::new("core", Strategy::RestForOne).child(a.spec());
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(core)).child(b.spec());
    let starting = tokio::spawn(NodeTree::start(root));
    journal.until("start a").await;
    assert_eq!(journal.all(), ["start a"], "b must wait until a is up, although a is a level deeper");
    opened.add_permits(1);
    let tree = soon("start", starting).await.unwrap().unwrap();
    assert_eq!(journal.all(), ["start a", "start b"]);
    for name in ["a", "b"] {
        assert!(tree.directory().address::<Say>(&crate::directory::Role::new(name)).is_up());
    }
    tree.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_tells_who_and_why_and_leaves_nothing_running() {
    let journal = Journal::new();
    let (a, b) = (Plan::new("a", &journal), Plan::new("b", &journal));
    b.failing_starts.store(1, Ordering::Release);
    let core = SupervisorSpec::new("core", Strategy::RestForOne).child(a.spec()).child(b.spec());
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(core));
    let error = soon("start", NodeTree::start(root)).await.unwrap_err();
    assert_eq!(error.to_string(), "the tree could not start: `core/b` could not start: open core/b: no disk");
    assert_eq!(journal.all(), ["start a", "start b", "gone b", "stop a", "gone a"]);
    let StartError::Failed(RootEnd::Failed(EndCause::GaveUp(outer))) = error else { panic!("{error:?}") };
    assert_eq!(outer.because, GaveUpBecause::StartFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_panics_or_takes_too_long_is_a_failed_start() {
    let journal = Journal::new();
    let mut slow = Plan::new("slow", &journal);
    slow.start_gate = Some(gate());
    let root = |child| SupervisorSpec::new("root", Strategy::OneForOne).child(child);
    let limited = slow.spec().start_timeout(Duration::from_millis(20));
    let error = soon("start", NodeTree::start(root(limited))).await.unwrap_err();
    assert!(error.to_string().ends_with("`slow` could not start: it was not up within 20ms"), "{error}");

    let panics = ChildSpec::worker(slow.role(), |_| async { Err::<super::kit::Probe, _>(start_panic()) });
    let error = soon("start", NodeTree::start(root(panics))).await.unwrap_err();
    assert!(error.to_string().ends_with("`slow` could not start: no luck"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_blocks_its_thread_is_not_waited_for_for_ever() {
    let journal = Journal::new();
    let (mut stuck, opened) = (Plan::new("stuck", &journal), gate());
    stuck.start_block = Some(opened.clone());
    let child = stuck.spec().start_timeout(Duration::from_millis(20)).end_timeout(Duration::from_millis(20));
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(child);
    // Started from a task that no worker thread runs, so that the blocked thread holds none of the tree's own tasks.
    let error = soon("start", NodeTree::start(root)).await.unwrap_err();
    assert!(error.to_string().ends_with(&format!("`stuck` {}", EndCause::Stuck)), "{error}");
    opened.add_permits(1);
    journal.until("gone stuck").await;
}

fn start_panic() -> crate::supervision::ActorError {
    panic!("no luck")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_makes_no_sense_is_refused_before_anything_starts() {
    let journal = Journal::new();
    let plan = Plan::new("a", &journal);
    let start = |children: Vec<ChildSpec>| {
        let root = SupervisorSpec::new("root", Strategy::OneForOne);
        NodeTree::start(children.into_iter().fold(root, SupervisorSpec::child))
    };
    let nested = SupervisorSpec::new("x/y", Strategy::OneForOne);
    let twice = start(vec![plan.spec(), plan.spec()]).await.unwrap_err();
    assert_eq!(twice, StartError::Spec(CommandError::AlreadyThere("a".to_owned())));
    let slash = start(vec![ChildSpec::supervisor(nested)]).await.unwrap_err();
    assert_eq!(slash, StartError::Spec(CommandError::BadName("x/y".to_owned())));
    let none = start(vec![plan.spec().mailbox(0)]).await.unwrap_err();
    assert_eq!(none, StartError::Spec(CommandError::BadBound { name: "a".to_owned(), bound: 0 }));
    assert_eq!(journal.all(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_actors_of_one_tree_cannot_hold_the_same_role() {
    let journal = Journal::new();
    let plan = Plan::new("a", &journal);
    let nested = |name| ChildSpec::supervisor(SupervisorSpec::new(name, Strategy::OneForOne).child(plan.spec()));
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(nested("x")).child(nested("y"));
    let error = soon("start", NodeTree::start(root)).await.unwrap_err();
    assert!(error.to_string().ends_with("`y/a` could not start: the role `a` is held by another actor"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_trees_in_one_process_do_not_see_each_other() {
    let journal = Journal::new();
    let plan = Plan::new("a", &journal);
    let root = || SupervisorSpec::new("root", Strategy::OneForOne).child(plan.spec());
    let (one, two) = (Stage::open(root()).await, Stage::open(root()).await);
    one.say("a", Say::Noise(crate::mailbox::FullPolicy::Refuse)).await;
    assert_eq!((one.count("a").await, two.count("a").await), (Ok(1), Ok(0)));
    one.shutdown().await;
    assert!(!one.address("a").is_up());
    assert_eq!(two.count("a").await, Ok(1));
    two.shutdown().await;
}

/// An actor that was up, and whose successors start one by one as the gate lets them.
async fn starting_again(listens: bool) -> (Stage, Plan, Arc<Semaphore>, Address<Say>) {
    let journal = Journal::new();
    let opened = gate();
    opened.add_permits(1);
    let plan = Plan { listens, start_gate: Some(opened.clone()), ..Plan::new("a", &journal) };
    let stage = Stage::open(SupervisorSpec::new("root", Strategy::OneForOne).child(plan.spec())).await;
    let address = stage.address("a");
    address.try_send(Say::Fail).unwrap();
    journal.until_times("start a", 2).await;
    (stage, plan, opened, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_while_it_starts_handles_what_came_meanwhile() {
    let (stage, _plan, opened, address) = starting_again(true).await;
    let asked = address.clone();
    let answer = tokio::spawn(async move { asked.call(PATIENCE, Say::Count).await });
    while address.depth() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(address.is_up() && !address.watch().borrow().up, "it takes messages, and is not up");
    opened.add_permits(1);
    assert_eq!(soon("answer", answer).await.unwrap(), Ok(0));
    assert_eq!(stage.count("a").await, Ok(1));
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_listen_is_down_until_it_is_up() {
    let (stage, _plan, opened, address) = starting_again(false).await;
    assert!(!address.is_up());
    assert_eq!(address.call(PATIENCE, Say::Count).await, Err(CallError::Down));
    opened.add_permits(1);
    assert_eq!(address.call_when_up(PATIENCE, Say::Count).await, Ok(0));
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_to_a_start_that_fails_is_dropped_and_whoever_waits_is_told() {
    let (stage, plan, opened, address) = starting_again(true).await;
    plan.failing_starts.store(1, Ordering::Release);
    let asked = address.clone();
    let once = tokio::spawn(async move { asked.call(PATIENCE, Say::Count).await });
    let asked = address.clone();
    let patient = tokio::spawn(async move { asked.call_when_up(PATIENCE, Say::Count).await });
    while address.depth() < 2 {
        tokio::task::yield_now().await;
    }
    opened.add_permits(1);
    assert_eq!(soon("answer", once).await.unwrap(), Err(CallError::Unanswered));
    plan.journal.until_times("start a", 3).await;
    opened.add_permits(1);
    assert_eq!(soon("answer", patient).await.unwrap(), Ok(0), "the successor has handled nothing before");
    stage.shutdown().await;
}
