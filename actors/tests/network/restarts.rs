//! The network's actors crash, one after the other, and the mesh comes back each time (faults.md: "an actor of any kind
//! killed at any moment").

use dtvn_actors::network::{Class, NetworkConfig, NetworkEvent};
use dtvn_actors::supervision::Status;

use crate::harness::{Node, ONE, TWO, ZERO, config, peer_of, soon, validators};

async fn three() -> [Node; 3] {
    let all = validators(&[0, 1, 2]);
    let first = Node::start(config(0, all.clone())).await;
    let bootstrap = first.addresses.clone();
    let second = Node::start(NetworkConfig { bootstrap: bootstrap.clone(), ..config(1, all.clone()) }).await;
    let third = Node::start(NetworkConfig { bootstrap, ..config(2, all) }).await;
    let mut nodes = [first, second, third];
    for (number, node) in (0..).zip(&mut nodes) {
        node.connected_to_all((0..3).filter(|other| *other != number)).await;
    }
    nodes
}

/// Sends between the first node and the others until it arrives: sessions may still be changing.
async fn all_talk(nodes: &mut [Node; 3], word: &'static str) {
    let [first, second, third] = nodes;
    for (other, to) in [(second, ONE), (third, TWO)] {
        for class in Class::ALL {
            soon("frames both ways", async {
                loop {
                    let _ = first.handle.send(to, class, &word.into(), None);
                    let _ = other.handle.send(ZERO, class, &word.into(), None);
                    tokio::task::yield_now().await;
                    let (there, back) = (other.inbox(class).try_receive(), first.inbox(class).try_receive());
                    let is_it = |frame: &dtvn_actors::network::InboundFrame| frame.bytes == word;
                    if there.as_ref().is_some_and(is_it) && back.as_ref().is_some_and(is_it) {
                        return;
                    }
                }
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peers_actor_that_crashes_costs_its_session_and_no_other() {
    let mut nodes = three().await;
    nodes[0].tree.crash("links/peers/peer-node1", "test").unwrap();
    assert_eq!(nodes[0].disconnected_from(1).await, "this node let go of it");
    nodes[0].connected_to(1).await;
    nodes[1].disconnected_from(0).await;
    nodes[1].connected_to(0).await;
    all_talk(&mut nodes, "after").await;
    let metrics = nodes[0].handle.metrics();
    assert_eq!((metrics.sessions_ended.get(), metrics.peers_connected.get()), (1, 2));
    assert!(nodes[0].info(2).connected_for.unwrap() >= nodes[0].info(1).connected_for.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_manager_that_crashes_takes_over_a_clean_slate() {
    let mut nodes = three().await;
    nodes[0].tree.crash("links/peer_manager", "test").unwrap();
    nodes[0].connected_to_all([1, 2]).await;
    all_talk(&mut nodes, "after").await;
    assert_eq!(nodes[0].handle.metrics().peers_connected.get(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swarm_that_crashes_comes_back_on_the_same_port() {
    let mut nodes = three().await;
    let before = nodes[0].addresses.clone();
    nodes[0].tree.crash("links/network", "test").unwrap();
    nodes[0].listening().await;
    assert_eq!(nodes[0].addresses, before);
    nodes[0].connected_to_all([1, 2]).await;
    all_talk(&mut nodes, "after").await;
    assert_eq!(nodes[0].handle.metrics().peers_connected.get(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tree_shows_an_actor_for_each_validator() {
    let nodes = three().await;
    let snapshot = nodes[0].tree.snapshot();
    let names: Vec<&str> =
        snapshot.walk().filter(|node| node.status == Status::Running).map(|node| node.name.as_str()).collect();
    for wanted in ["network", "peer_manager", "peers", "peer-node1", "peer-node2"] {
        assert!(names.iter().any(|name| *name == wanted || name.ends_with(&format!("/{wanted}"))), "{names:?}");
    }
    assert!(!names.iter().any(|name| name.ends_with("peer-node0")), "it is no peer of itself: {names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_listener_learns_the_final_state() {
    let mut nodes = three().await;
    // Nobody takes the first node's events while its peer comes and goes.
    for _ in 0..3 {
        nodes[0].handle.disconnect(peer_of(1)).await.unwrap();
        nodes[1].disconnected_from(0).await;
        nodes[1].connected_to(0).await;
    }
    let mut connected = true;
    let mut changes = 0;
    soon("all the news", async {
        while changes < 6 {
            match nodes[0].events.recv().await.unwrap() {
                NetworkEvent::Connected(peer) if peer.peer == peer_of(1) => {
                    assert!(!connected);
                    connected = true;
                    changes += 1;
                }
                NetworkEvent::Disconnected { peer, .. } if peer == peer_of(1) => {
                    assert!(connected);
                    connected = false;
                    changes += 1;
                }
                _ => {}
            }
        }
    })
    .await;
    assert!(connected);
}
