//! What a supervisor cannot mend, its own supervisor hears of, up to the root.

use super::{Journal, Plan, Say, Stage, soon};
use crate::supervision::{
    ChildSpec, EndCause, GaveUpBecause, RootEnd, ShutdownError, Status, Strategy, SupervisorSpec,
};
use std::sync::atomic::Ordering;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread")]
async fn a_subtree_that_gives_up_is_restarted_whole_by_its_supervisor() {
    let journal = Journal::new();
    let (a, b) = (Plan::new("a", &journal), Plan::new("b", &journal));
    let core = SupervisorSpec::new("core", Strategy::OneForOne).intensity(0, HOUR).child(a.spec()).child(b.spec());
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(core));
    let stage = Stage::open(root).await;
    let former = stage.address("b").incarnation();
    journal.clear();
    stage.say("a", Say::Panic).await;
    stage.await_successor("b", former).await;
    assert_eq!(journal.all(), ["gone a", "stop b", "gone b", "start a", "start b"]);
    let events = stage.events.all();
    assert_eq!(events[0], "escalated core for core/a");
    assert_eq!(
        events[1],
        "restarted core: failed: `core` gave up after more than 0 failures within 3600s, the last of `core/a`, which \
         it had restarted 0 times: `core/a` failed: told to panic"
    );
    assert_eq!((stage.restarts("core"), stage.restarts("core/a")), (1, 0));
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_root_ends_the_tree_with_the_whole_chain() {
    let journal = Journal::new();
    let (a, b) = (Plan::new("a", &journal), Plan::new("b", &journal));
    let core = SupervisorSpec::new("core", Strategy::RestForOne).intensity(1, HOUR).child(a.spec());
    let root = SupervisorSpec::new("root", Strategy::OneForOne)
        .intensity(1, HOUR)
        .child(b.spec())
        .child(ChildSpec::supervisor(core));
    let stage = Stage::open(root).await;
    let tree = stage.tree.clone();
    let ended = tokio::spawn(async move { tree.ended().await });
    for _ in 0..3 {
        stage.say_and_await_successor("a", Say::Fail).await;
    }
    journal.clear();
    stage.say("a", Say::Fail).await;
    let end = soon("end", ended).await.unwrap();
    assert_eq!(journal.all(), ["gone a", "stop b", "gone b"], "nothing is left running");
    assert_eq!(
        end.to_string(),
        "`root` gave up after more than 1 failures within 3600s, the last of `core`, which it had restarted 1 times: \
         `core` gave up after more than 1 failures within 3600s, the last of `core/a`, which it had restarted 1 \
         times: `core/a` failed: told to fail"
    );
    let RootEnd::Failed(EndCause::GaveUp(escalation)) = &end else { panic!("{end:?}") };
    assert_eq!(escalation.because, GaveUpBecause::Intensity { restarts_max: 1, window: HOUR });
    assert_eq!(escalation.chain().len(), 3);
    assert_eq!(stage.tree.snapshot().status, Status::Failed);
    let shutdown = stage.tree.shutdown(HOUR).await;
    assert_eq!(shutdown, Err(ShutdownError::Failed(end)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_keeps_failing_during_a_restart_is_escalated() {
    let journal = Journal::new();
    let a = Plan::new("a", &journal);
    let stage = Stage::open(SupervisorSpec::new("root", Strategy::OneForOne).child(a.spec())).await;
    a.failing_starts.store(usize::MAX, Ordering::Release);
    stage.say("a", Say::Fail).await;
    let end = soon("end", stage.tree.ended()).await;
    assert_eq!(
        end.to_string(),
        "`root` gave up after more than 3 failures within 5s, the last of `a`, which it had restarted 3 times: `a` \
         could not start: open a: no disk"
    );
    assert_eq!(stage.restarts("a"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_supervisor_takes_its_children_with_it_and_comes_back_with_them() {
    let journal = Journal::new();
    let a = Plan::new("a", &journal);
    let inner = SupervisorSpec::new("inner", Strategy::OneForOne).child(a.spec());
    let outer = SupervisorSpec::new("outer", Strategy::OneForOne).child(ChildSpec::supervisor(inner));
    let stage = Stage::open(SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(outer))).await;
    stage.say("a", Say::Linger(journal.clone())).await;
    assert_eq!(stage.count("a").await, Ok(1));
    journal.clear();
    let former = stage.address("a").incarnation();
    stage.kill("outer");
    stage.await_successor("a", former).await;
    let all = journal.all();
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(all.last().map(String::as_str), Some("start a"), "not before all of the former one was gone: {all:?}");
    assert_eq!(stage.tree.snapshot().find("outer").unwrap().last_restart_reason.as_deref(), Some("was killed"));
    stage.shutdown().await;
}
