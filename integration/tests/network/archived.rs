//! Nodes that can give each other a state whenever they were started.

use std::path::Path;

use dtvn_client::api::{Kind, SeedRequest};

use crate::kit::{accepted, seed_ticket};
use crate::nodes::{Nodes, files};

const INTERVAL: u64 = 8;

/// Changes the genesis of the chain `arena`: its nodes keep few blocks.
fn make_forgetful(folder: &Path) {
    let path = folder.join("arena.json");
    let mut genesis: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (name, value) in [("checkpoint_interval", INTERVAL), ("log_window", 32), ("retain_blocks", 32)] {
        genesis["consensus"][name] = value.into();
    }
    std::fs::write(&path, serde_json::to_string_pretty(&genesis).unwrap()).unwrap();
}

/// Tickets from the first to before the last, one block each.
async fn validate(nodes: &Nodes, from: usize, to: usize) {
    let client = nodes.client(0);
    for number in from..to {
        accepted(&client, Kind::Validate, &seed_ticket(number)).await;
    }
}

/// Node 3 is away for longer than the others keep blocks; then all end, and node 0 stays away. Without node 3 nothing is
/// decided, so there is no next checkpoint; and none of them has a state in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_late_gets_a_state_from_nodes_that_were_all_started_again() {
    let _one = crate::kit::one().await;
    let folder = files();
    let folder = folder.path();
    make_forgetful(folder);
    let mut nodes = Nodes::all(folder, "arena", &[]).await;
    nodes.client(0).seed(SeedRequest::default()).await.unwrap();
    nodes.running.pop().unwrap().kill().await;
    validate(&nodes, 1, 101).await;
    // What is to be collected is durable when a node ends in good order, and goes with the next checkpoint.
    for mut node in nodes.running.drain(..) {
        assert!(node.terminate().await);
    }
    for node in 0..3 {
        nodes.start(node, &[]).await;
    }
    nodes.until_votes(0).await;
    validate(&nodes, 101, 121).await;
    // At a checkpoint a node that starts has its state in memory.
    if nodes.client(0).sequence(None).await.unwrap().height.0.is_multiple_of(INTERVAL) {
        validate(&nodes, 121, 122).await;
    }
    for mut node in nodes.running.drain(..) {
        assert!(node.terminate().await);
    }
    for node in [1, 2, 3] {
        nodes.start(node, &[]).await;
    }
    for node in 0..3 {
        nodes.until_votes(node).await;
    }
    validate(&nodes, 131, 141).await;
    let log = |node: usize| std::fs::read_to_string(folder.join(format!("arena-node{node}.log"))).unwrap();
    assert!(log(3).contains("The core starts again from a certified state."), "{}", log(3));
    for node in [1, 2] {
        assert!(Nodes::data_dir(folder, "arena", node).join("archive/manifest").is_file());
        assert!(log(node).contains("The state is archived.") && !log(node).contains("The archived state is"));
    }
    for mut node in nodes.running {
        assert!(node.terminate().await);
    }
}
