//! How a node finds its first peer.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::http::PATIENCE;
use crate::kit::TestNode;

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_address_need_not_say_who_is_there() {
    let node = TestNode::start().await;
    node.issue("A").await;
    let named = node.ready().p2p[0].clone();
    let (nameless, peer) = named.split_once("/p2p/").unwrap();
    let observer = TestNode::observer(nameless).await;
    let begin = Instant::now();
    // It learns who answered, and follows: what was decided before it came is with it.
    while observer.get("/api/v1/tickets/A").await.status != 200 {
        assert!(begin.elapsed() < PATIENCE, "{:?}", observer.get("/api/v1/peers").await.json());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let peers = observer.get("/api/v1/peers").await.good();
    assert_eq!(peers["count"], 1, "{peers}");
    let known = peers["peers"].as_array().unwrap().iter().find(|known| known["id"] == peer);
    assert_eq!(known.map(|known| &known["node_id"]), Some(&json!("node0")), "{peers}");
    observer.stop().await;
    node.stop().await;
}
