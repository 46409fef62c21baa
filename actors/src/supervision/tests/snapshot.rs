//! The tree can be looked at whatever its actors do.

use super::{Journal, Plan, Say, Stage, gate, soon};
use crate::mailbox::FullPolicy;
use crate::supervision::{ChildSpec, NodeKind, Status, Strategy, SupervisorSpec};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

async fn stage(journal: &Journal, plan: &Plan) -> Stage {
    let core = SupervisorSpec::new("core", Strategy::RestForOne)
        .child(plan.spec().mailbox(2))
        .child(Plan::new("b", journal).spec());
    Stage::open(SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(core))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_actors_figures_are_there_without_asking_it() {
    let journal = Journal::new();
    let stage = stage(&journal, &Plan::new("a", &journal)).await;
    assert_eq!(stage.count("a").await, Ok(0));
    let opened = gate();
    stage.say("a", Say::Block(opened.clone())).await;
    journal.until("busy a").await;
    let address = stage.address("a");
    for policy in [FullPolicy::Wait, FullPolicy::Must, FullPolicy::Refuse, FullPolicy::Must, FullPolicy::DropNewest] {
        let _full = address.try_send(Say::Noise(policy));
    }
    let snapshot = stage.tree.snapshot();
    let a = snapshot.find("core/a").unwrap();
    assert_eq!((a.kind, a.status, a.strategy), (NodeKind::Worker, Status::Running, None));
    assert_eq!((a.mailbox_depth, a.mailbox_bound, a.mailbox_high_water), (2, 2, 2));
    assert_eq!((a.mailbox_refused, a.mailbox_dropped, a.messages_handled), (2, 1, 1));
    let busy_us = a.handling_us.unwrap();
    assert!(stage.tree.snapshot().find("core/a").unwrap().handling_us.unwrap() >= busy_us);
    opened.add_permits(1);
    assert_eq!(stage.count("a").await, Ok(4));
    let snapshot = stage.tree.snapshot();
    let a = snapshot.find("core/a").unwrap();
    assert_eq!((a.mailbox_depth, a.mailbox_high_water), (0, 2));
    let kinds: Vec<_> = a.kinds.iter().map(|kind| (kind.kind.as_str(), kind.handled)).collect();
    assert_eq!(kinds[1..], [("block", 1), ("noise", 2)]);
    assert!(a.handler_max_us >= busy_us && a.handler_total_us >= a.handler_max_us, "{a:?}");
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_in_the_middle_of_a_restart_can_be_looked_at() {
    let journal = Journal::new();
    let mut plan = Plan::new("a", &journal);
    let opened = gate();
    opened.add_permits(1);
    plan.start_gate = Some(opened.clone());
    let stage = stage(&journal, &plan).await;
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let former = stage.address("b").incarnation();
    stage.say("a", Say::Fail).await;
    journal.until_times("start a", 2).await;
    let snapshot = stage.tree.snapshot();
    let (a, b) = (snapshot.find("core/a").unwrap(), snapshot.find("core/b").unwrap());
    assert_eq!((a.status, b.status), (Status::Restarting, Status::Restarting));
    assert_eq!((a.restarts, a.uptime_ms), (1, 0));
    assert_eq!(a.last_restart_reason.as_deref(), Some("failed: told to fail"));
    let at = Duration::from_micros(a.last_restart_at.unwrap());
    assert!(at + Duration::from_millis(1) >= before && at < before + super::PATIENCE);
    opened.add_permits(1);
    stage.await_successor("b", former).await;
    let running = async {
        while stage.tree.snapshot().walk().any(|node| node.status != Status::Running) {
            tokio::task::yield_now().await;
        }
    };
    soon("all running", running).await;
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_has_the_form_that_the_admin_endpoint_shows() {
    let journal = Journal::new();
    let stage = stage(&journal, &Plan::new("a", &journal)).await;
    let json = serde_json::to_value(stage.tree.snapshot()).unwrap();
    let core = &json["children"][0];
    assert_eq!((&json["name"], &core["name"]), (&"root".into(), &"core".into()));
    assert_eq!((&core["kind"], &core["strategy"]), (&"supervisor".into(), &"rest_for_one".into()));
    assert_eq!((&core["children"][0]["name"], &core["children"][0]["status"]), (&"core/a".into(), &"running".into()));
    stage.shutdown().await;
}
