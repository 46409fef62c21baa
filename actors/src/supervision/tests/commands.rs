//! What can be asked of a running tree.

use super::{Journal, PATIENCE, Plan, Say, Stage, gate, soon};
use crate::mailbox::CallError;
use crate::supervision::{
    ChildSpec, CommandError, NodeTree, Restart, Status, Strategy, SupervisionObserver, SupervisorSpec, TreeOptions,
};
use dtvn_messages::limits::SUPERVISOR_COMMANDS_MAX;
use futures::FutureExt as _;
use futures::future::join_all;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

#[tokio::test(flavor = "multi_thread")]
async fn a_requested_restart_is_orderly_takes_the_later_ones_and_counts_no_failure() {
    let journal = Journal::new();
    let names = ["a", "b", "c"];
    let core = SupervisorSpec::new("core", Strategy::RestForOne).intensity(0, Duration::from_secs(5));
    let core = names.iter().fold(core, |core, name| core.child(Plan::new(name, &journal).spec()));
    let stage = Stage::open(SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(core))).await;
    journal.clear();
    stage.restart("core/b").await.unwrap();
    assert_eq!(journal.all(), ["stop c", "gone c", "stop b", "gone b", "start b", "start c"]);
    let snapshot = stage.tree.snapshot();
    let reason = |path: &str| snapshot.find(path).unwrap().last_restart_reason.clone();
    assert_eq!(reason("core/a"), None);
    assert_eq!(reason("core/b").as_deref(), Some("requested"));
    assert_eq!(reason("core/c").as_deref(), Some("with `b`, which requested"));
    journal.clear();
    stage.restart("core").await.unwrap();
    assert_eq!(journal.all()[..2], ["stop c", "gone c"]);
    assert_eq!(journal.all()[6..], ["start a", "start b", "start c"]);
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarting_a_deaf_actor_kills_it_after_its_timeout() {
    let journal = Journal::new();
    let plan = Plan::new("a", &journal);
    let root = SupervisorSpec::new("root", Strategy::OneForOne);
    let stage = Stage::open(root.child(plan.spec().stop_timeout(Duration::from_millis(20)))).await;
    stage.say("a", Say::Block(gate())).await;
    journal.until("busy a").await;
    stage.restart("a").await.unwrap();
    assert_eq!(stage.events.all(), ["killed a", "restarted a: requested"]);
    assert_eq!(stage.count("a").await, Ok(0));
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_the_wrong_place_are_refused() {
    let journal = Journal::new();
    let stage =
        Stage::open(SupervisorSpec::new("root", Strategy::OneForOne).child(Plan::new("a", &journal).spec())).await;
    let unknown = |path: &str| Err(CommandError::Unknown(path.to_owned()));
    assert_eq!(stage.restart("b").await, unknown("b"));
    assert_eq!(stage.restart("x/a").await, unknown("x"));
    assert_eq!(stage.restart("a/b").await, Err(CommandError::WrongKind("a".to_owned())));
    assert_eq!(stage.tree.remove("a").await, Err(CommandError::Fixed("a".to_owned())));
    assert_eq!(stage.tree.crash("b", "test"), unknown("b"));
    stage.shutdown().await;
    assert_eq!(stage.restart("a").await, Err(CommandError::Down));
}

#[tokio::test(flavor = "multi_thread")]
async fn crashing_on_purpose_needs_fault_injection() {
    let journal = Journal::new();
    let root = || SupervisorSpec::new("root", Strategy::OneForOne).child(Plan::new("a", &journal).spec());
    let strict = NodeTree::start(root()).await.unwrap();
    assert_eq!(strict.crash("a", "test"), Err(CommandError::FaultInjectionOff));
    let stage = Stage::open(root()).await;
    let former = stage.address("a").incarnation();
    stage.tree.crash("a", "test").unwrap();
    stage.await_successor("a", former).await;
    let reason = stage.tree.snapshot().find("a").unwrap().last_restart_reason.clone();
    assert_eq!(reason.as_deref(), Some("failed: crashed on purpose: test"));
    assert_eq!(strict.snapshot().find("a").unwrap().restarts, 0);
    stage.shutdown().await;
    strict.shutdown(super::PATIENCE).await.unwrap();
}

async fn with_pool(journal: &Journal, children_max: usize) -> Stage {
    let pool = SupervisorSpec::new("pool", Strategy::OneForOne).dynamic(children_max);
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(Plan::new("a", journal).spec());
    Stage::open(root.child(ChildSpec::supervisor(pool))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamic_children_come_and_go_within_their_bound() {
    let journal = Journal::new();
    let stage = with_pool(&journal, 2).await;
    let child = |name| Plan::new(name, &journal).spec().restart(Restart::Temporary);
    stage.tree.add("pool", child("p1")).await.unwrap();
    stage.tree.add("pool", child("p2")).await.unwrap();
    assert_eq!(stage.tree.add("pool", child("p3")).await, Err(CommandError::TooMany(2)));
    assert_eq!(stage.tree.add("", child("p3")).await, Err(CommandError::TooMany(0)), "the root takes none");
    assert_eq!(stage.tree.add("a", child("p3")).await, Err(CommandError::WrongKind("a".to_owned())));
    assert_eq!(stage.count("p1").await, Ok(0));
    soon("remove", stage.tree.remove("pool/p1")).await.unwrap();
    assert_eq!(stage.count("p1").await, Err(CallError::Down));
    assert!(stage.tree.snapshot().find("pool/p1").is_none());
    stage.tree.add("pool", child("p3")).await.unwrap();
    stage.tree.remove("pool/p3").await.unwrap();
    stage.tree.add("pool", child("p1")).await.unwrap();
    assert_eq!(stage.count("p1").await, Ok(0), "an old address finds the new one of the same name");
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dynamic_child_that_ends_for_good_gives_its_place_back() {
    let journal = Journal::new();
    let stage = with_pool(&journal, 1).await;
    for (restart, farewell) in [(Restart::Temporary, Say::Panic), (Restart::Transient, Say::Finish)] {
        stage.tree.add("pool", Plan::new("p", &journal).spec().restart(restart)).await.unwrap();
        stage.say("p", farewell).await;
        let gone = async {
            while stage.tree.snapshot().find("pool/p").is_some() {
                tokio::task::yield_now().await;
            }
        };
        soon("gone", gone).await;
    }
    assert_eq!(stage.restarts("pool"), 0);
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dynamic_child_that_cannot_start_is_told_to_who_added_it() {
    let journal = Journal::new();
    let stage = with_pool(&journal, 1).await;
    let plan = Plan::new("p", &journal);
    plan.failing_starts.store(1, Ordering::Release);
    let error = stage.tree.add("pool", plan.spec()).await.unwrap_err();
    assert_eq!(error.to_string(), "the new child could not start: open pool/p: no disk");
    assert!(stage.tree.snapshot().find("pool/p").is_none());
    assert_eq!(stage.tree.add("pool", plan.spec()).await, Ok(()));
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_supervisor_begins_without_dynamic_children() {
    let journal = Journal::new();
    let stage = with_pool(&journal, 1).await;
    stage.tree.add("pool", Plan::new("p", &journal).spec()).await.unwrap();
    stage.restart("pool").await.unwrap();
    assert!(stage.tree.snapshot().find("pool").unwrap().children.is_empty());
    assert!(journal.all().contains(&"gone p".to_owned()));
    stage.tree.add("pool", Plan::new("p", &journal).spec()).await.unwrap();
    assert_eq!(stage.tree.snapshot().find("pool/p").unwrap().status, Status::Running);
    stage.shutdown().await;
}

/// Says what is restarted, and then blocks the supervisor's own task until the gate has a permit.
struct Hindrance(Arc<Semaphore>, Journal);

impl SupervisionObserver for Hindrance {
    fn restarted(&self, path: &str, _: &str) {
        self.1.note(format!("restarted {path}"));
        let began = Instant::now();
        while self.0.try_acquire().map(SemaphorePermit::forget).is_err() && began.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn so_many_commands_wait_for_a_supervisor_and_the_next_caller_waits_for_a_place() {
    const CALLERS: usize = 3 * SUPERVISOR_COMMANDS_MAX;
    let (journal, gate) = (Journal::new(), gate());
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(Plan::new("a", &journal).spec());
    let observer = Arc::new(Hindrance(Arc::clone(&gate), journal.clone()));
    let options = TreeOptions { observer, ..TreeOptions::default() };
    let tree = NodeTree::start_with(root, options).await.unwrap();
    let busy = tree.clone();
    let first = tokio::spawn(async move { busy.restart("a").await });
    journal.until("restarted a").await;
    let mut callers: Vec<_> = (0..CALLERS).map(|_| Box::pin(tree.restart("a"))).collect();
    assert!(callers.iter_mut().all(|caller| caller.as_mut().now_or_never().is_none()));
    assert_eq!(tree.snapshot().mailbox_depth, SUPERVISOR_COMMANDS_MAX);
    gate.add_permits(10 * CALLERS);
    soon("the one that hindered", first).await.unwrap().unwrap();
    let answers = soon("all answers", join_all(callers)).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    soon("shutdown", tree.shutdown(PATIENCE)).await.unwrap();
}
