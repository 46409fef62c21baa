//! Actors that die: the smallest broken subtree starts again, and nothing acknowledged is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dtvn_client::api::{ActorCommandAnswer, Kind};
use dtvn_client::{Client, ClientConfig};
use dtvn_messages::TicketState;

use crate::kit::{Network, accepted, seed_ticket, until};

/// Every kind of actor there is, except sessions: those come and go with their connections.
const ACTORS: &[&str] = &[
    "core/storage",
    "core/state_machine",
    "core/replica",
    "core/sync",
    "verifier/checker-0",
    "links/network",
    "links/peers/peer-node1",
    "links/peer_manager",
    "links/presence",
    "links/gossip",
    "edge/intake",
    "edge/events",
    "edge/http",
    "edge/health",
    "edge/admin",
];

/// The operator's way to node 0.
fn admin(network: &Network) -> Client {
    Client::new(&ClientConfig::new(network.cluster.admin_urls())).unwrap().only(0)
}

async fn crash(admin: &Client, actor: &str) {
    let path = format!("/admin/actors/{actor}/crash");
    let _: ActorCommandAnswer = admin.command(&path).await.unwrap_or_else(|error| panic!("{actor}: {error}"));
}

/// How often an actor was restarted, and why the last time, as the tree tells.
async fn restarts(admin: &Client, actor: &str) -> (u64, String) {
    let node: serde_json::Value = admin.get(&format!("/admin/actors/{actor}")).await.unwrap();
    let count = node["restarts"].as_u64().unwrap_or_else(|| panic!("{node}"));
    (count, node["last_restart_reason"].to_string())
}

/// What Prometheus would scrape from node 0.
async fn metrics(network: &Network) -> String {
    let url = format!("{}/metrics", network.cluster.admin_urls()[0]);
    let output = tokio::process::Command::new("curl").args(["-sS", &url]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Validates and consumes tickets through all nodes until told to end: which were acknowledged.
async fn work(network: &Network, end: Arc<AtomicBool>) -> Vec<String> {
    let mut done = Vec::new();
    for number in 1..=400 {
        if end.load(Ordering::Relaxed) {
            break;
        }
        let ticket = seed_ticket(number);
        accepted(&network.at(number % 4), Kind::Validate, &ticket).await;
        accepted(&network.at((number + 1) % 4), Kind::Consume, &ticket).await;
        done.push(ticket);
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_actor_dies_under_load_and_the_node_goes_on() {
    let network = Network::start(&["--fault-injection"]).await;
    network.seed().await;
    let admin = admin(&network);
    let end = Arc::new(AtomicBool::new(false));
    let crashes = async {
        for (number, actor) in ACTORS.iter().enumerate() {
            let before = restarts(&admin, actor).await.0;
            crash(&admin, actor).await;
            until(&format!("the tree shows the restart of {actor}"), async || {
                let node = admin.get::<serde_json::Value>(&format!("/admin/actors/{actor}")).await;
                node.is_ok_and(|node| node["restarts"].as_u64() > Some(before) && node["status"] == "running")
            })
            .await;
            let why = restarts(&admin, actor).await.1;
            assert!(why.contains("asked for by the operator"), "{actor}: {why}");
            network.until_healthy(0).await;
            // Through the very node whose actor died.
            let again = seed_ticket(number + 451);
            accepted(&network.at(0), Kind::Validate, &again).await;
            // A crash counts against the intensity of its subtree for five seconds: no more than its three at once.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        end.store(true, Ordering::Relaxed);
    };
    let (done, ()) = tokio::join!(work(&network, Arc::clone(&end)), crashes);
    assert!(done.len() > ACTORS.len(), "there was load: {}", done.len());
    network.assert_equal_histories().await;
    for ticket in &done {
        assert_eq!(network.state(0, ticket).await, TicketState::Consumed, "{ticket}");
    }
    let (log, metrics) = (network.log(0), metrics(&network).await);
    for actor in ACTORS {
        let counted = format!("dtvn_actor_restarts_total{{actor=\"{actor}\"");
        assert!(metrics.lines().any(|line| line.starts_with(&counted)), "{actor} in the metrics");
        assert!(
            log.lines().any(|line| line.contains("is being started again") && line.contains(actor)),
            "{actor} in the log"
        );
    }
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_that_are_cut_while_gossip_or_intake_start_again_are_decided() {
    let network = Network::start(&["--fault-injection"]).await;
    network.seed().await;
    let (admin, node) = (admin(&network), network.at(0));
    let mut next = 1;
    for actor in ["links/gossip", "edge/intake"].into_iter().cycle().take(8) {
        let visitors: Vec<_> = (next..next + 30).map(seed_ticket).collect();
        next += visitors.len();
        // Some before the crash, some in the midst of the start, some after it.
        let work = visitors.iter().enumerate().map(async |(number, ticket)| {
            tokio::time::sleep(Duration::from_millis(number as u64 / 3)).await;
            accepted(&node, Kind::Validate, ticket).await
        });
        let late = async {
            tokio::time::sleep(Duration::from_millis(3)).await;
            crash(&admin, actor).await;
        };
        tokio::join!(futures::future::join_all(work), late);
        // A crash counts against the intensity of its subtree for five seconds: no more than its three at once.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    network.assert_equal_histories().await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_dies_too_often_ends_the_process_with_a_clear_last_line() {
    let mut network = Network::start(&["--fault-injection"]).await;
    network.seed().await;
    let admin = admin(&network);
    let path = "/admin/actors/core/replica/crash";
    let crashes = async {
        // More than its supervisor mends: then the subtree gives up, then the process. The last calls find nobody.
        until("the process ends", async || {
            let _down = admin.command::<ActorCommandAnswer>(path).await;
            false
        })
        .await;
    };
    let end = tokio::select! {
        end = network.cluster.next_end() => end,
        () = crashes => None,
    };
    let (node, end) = end.unwrap();
    assert_eq!(node, 0);
    assert!(!end.in_order, "{}", end.how);
    assert!(end.how.contains('1'), "an exit code, not a signal: {}", end.how);
    let log = network.log(0);
    let last = log.trim_end().lines().last().unwrap();
    for part in ["core", "gave up", "failures within", "core/replica", "asked for by the operator"] {
        assert!(last.contains(part), "the last line should say {part:?}: {last}");
    }
    accepted(&network.at(1), Kind::Validate, "TICKET-001").await;
    network.cluster.restart(0).await.unwrap();
    network.until_healthy(0).await;
    network.assert_equal_histories().await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_refused_unless_faults_may_be_injected() {
    let network = Network::start(&[]).await;
    let admin = admin(&network);
    let refused: Result<ActorCommandAnswer, _> = admin.command("/admin/actors/core/replica/crash").await;
    assert!(refused.is_err());
    until("the tree is served", async || admin.get::<serde_json::Value>("/admin/actors").await.is_ok()).await;
    network.stop().await;
}
