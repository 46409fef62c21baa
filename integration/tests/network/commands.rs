//! Every command that talks to a network, as a user types it: what it prints, and how it exits.

use std::process::{Command, Output};

use serde_json::Value;

use crate::kit::{Network, one};

fn dtvn(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtvn-under-test"));
    command.env_remove("DTVN_NODES").env_remove("DTVN_ADMIN").env_remove("DTVN_API_KEY");
    command.args(arguments).output().unwrap()
}

/// What a command prints, and that it exits with this code.
fn prints(arguments: &[&str], code: i32) -> String {
    let output = dtvn(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str], code: i32) -> Value {
    let text = prints(arguments, code);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_readme_do_what_they_say() {
    let network = Network::start(&[]).await;
    let urls = network.cluster.urls().join(",");
    let nodes = format!("--nodes={urls}");
    let nodes = nodes.as_str();
    assert!(prints(&["ticket", "seed", nodes], 0).contains("500"));
    assert_eq!(json(&["ticket", "validate", "TICKET-001", nodes, "--json"], 0)["ticket"]["state"], "VALIDATED");
    assert_eq!(json(&["ticket", "consume", "TICKET-001", nodes, "--json"], 0)["ticket"]["state"], "CONSUMED");
    let issued = json(&["ticket", "issue", "OWN-1", nodes, "--json"], 0);
    assert_eq!(issued["ticket"]["state"], "ISSUED");
    prints(&["ticket", "validate", "TICKET-002", nodes], 0);
    prints(&["ticket", "dispute", "TICKET-002", nodes], 0);
    let refused = dtvn(&["ticket", "consume", "TICKET-001", nodes]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr) + String::from_utf8_lossy(&refused.stdout);
    assert!(said.contains("already consumed"), "{said}");
    assert!(prints(&["ticket", "get", "TICKET-001", nodes], 0).contains("CONSUMED"));
    let listed = json(&["ticket", "list", "--state=DISPUTED", nodes, "--json"], 0);
    assert!(listed.to_string().contains("TICKET-002") && !listed.to_string().contains("TICKET-003"), "{listed}");
    let history = prints(&["ticket", "history", "TICKET-001", nodes], 0);
    for part in ["validate", "consume", "already_consumed"] {
        assert!(history.contains(part), "{part}: {history}");
    }
    for command in [["explain", "NOPE", nodes].as_slice(), ["ticket", "history", "NOPE", nodes].as_slice()] {
        let refused = dtvn(command);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("there is no ticket NOPE in the event default"), "{command:?}: {said}");
    }
    assert_eq!(json(&["explain", "NOPE", nodes, "--json"], 1)["reason"], "unknown_ticket");
    let explained = prints(&["explain", "TICKET-001", nodes], 0);
    for part in ["node", "consume"] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    let block = prints(&["explain", "1", nodes], 0);
    assert!(block.contains("seed") && block.contains(": 1 operation\n"), "{block}");
    network.assert_equal_histories().await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_operator_do_what_they_say() {
    let mut network = Network::start(&["--fault-injection"]).await;
    network.seed().await;
    let urls = network.cluster.urls().join(",");
    let nodes = format!("--nodes={urls}");
    let nodes = nodes.as_str();
    let admin = format!("--admin={}", network.cluster.admin_urls()[0]);
    let admin = admin.as_str();
    let tree = prints(&["actors", admin], 0);
    for part in ["root (one_for_one)", "core (rest_for_one)", "storage", "state_machine", "replica", "intake", "http"] {
        assert!(tree.contains(part), "{part}: {tree}");
    }
    prints(&["actors", "restart", "gossip", admin], 0);
    prints(&["actors", "crash", "core/sync", admin], 0);
    crate::kit::until("both restarts are in the tree", async || {
        let tree = json(&["actors", admin, "--json"], 0).to_string();
        tree.contains("crashed on purpose")
    })
    .await;
    assert!(dtvn(&["actors", "crash", "nobody", admin]).status.code() == Some(1));
    let watched = prints(&["watch", "--once", nodes], 0);
    for node in 0..4 {
        assert!(watched.contains(&format!("node{node}")), "{watched}");
    }
    assert!(prints(&["load", "--preset=medium", nodes], 0).contains("100"));
    prints(&["checksum", nodes], 0);
    network.cluster.kill(3).await;
    assert_eq!(dtvn(&["watch", "--once", nodes, "--deadline=2s"]).status.code(), Some(3));
    assert_ne!(dtvn(&["checksum", nodes, "--deadline=2s", "--wait=1s"]).status.code(), Some(0));
    network.cluster.restart(3).await.unwrap();
    network.until_healthy(3).await;
    let warnings = network.log(3).matches("begins with an empty data directory and a derived key").count();
    assert_eq!(warnings, 1, "at the first start only: {}", network.log(3));
    network.assert_equal_histories().await;
    network.stop().await;
}

/// A network in the background, which ends with the test.
struct InBackground<'a>(&'a str);

impl Drop for InBackground<'_> {
    fn drop(&mut self) {
        let _ended = dtvn(&["devnet", "stop", "--data-dir", self.0]);
    }
}

/// The first command of the README, several times: each node is asked while others may still execute what it was told.
#[tokio::test]
async fn a_new_network_shows_a_tickets_way() {
    let _one = one().await;
    for _ in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let network = InBackground(path);
        let said = prints(&["devnet", "--data-dir", path, "--base-port", "0", "--detach", "--demo"], 0);
        let steps = [
            "500 tickets seeded",
            "$ dtvn ticket validate TICKET-001 --gate north",
            "$ dtvn ticket consume TICKET-001 --gate north",
            "all 4 nodes have the same history",
        ];
        for step in steps {
            assert!(said.contains(step), "{step}: {said}");
        }
        drop(network);
    }
}
