//! Finding each other, losing each other, finding each other again.

use dtvn_actors::network::{Class, NetworkConfig, NetworkEvent, PeerState};
use dtvn_messages::crypto::Digest;
use dtvn_messages::ids::ChainId;

use crate::harness::{Node, ONE, QUIC, TCP, ZERO, config, name, pair, pair_listening, peer_of, soon, validators};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mesh_of_four_forms_from_one_bootstrap_address() {
    let all = validators(&[0, 1, 2, 3]);
    let mut nodes = vec![Node::start(config(0, all.clone())).await];
    let bootstrap = nodes[0].addresses.clone();
    for number in 1..4 {
        nodes.push(Node::start(NetworkConfig { bootstrap: bootstrap.clone(), ..config(number, all.clone()) }).await);
    }
    for number in 0..4 {
        let others = (0..4).filter(|other| *other != number);
        nodes[usize::from(number)].connected_to_all(others).await;
    }
    for (number, node) in nodes.iter().enumerate() {
        let peers = node.handle.peers();
        let validators: Vec<usize> =
            peers.iter().filter_map(|peer| peer.validator).map(|index| index.position()).collect();
        assert_eq!(validators, (0..4).filter(|other| *other != number).collect::<Vec<_>>());
        for peer in &peers {
            assert_eq!(peer.state, PeerState::Connected, "{peer:?}");
            assert_eq!(peer.name, peer.validator.map(|index| name(index.0)));
            assert!(peer.connected_for.is_some() && !peer.addresses.is_empty());
        }
        assert_eq!(node.handle.metrics().peers_connected.get(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bootstrap_address_may_be_a_name_and_may_come_up_later() {
    let all = validators(&[0, 1]);
    // A port that is free now, and that node0 will have later.
    let placeholder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = placeholder.local_addr().unwrap().port();
    drop(placeholder);
    let by_name = format!("/dns4/localhost/tcp/{port}").parse().unwrap();
    let mut late = Node::start(NetworkConfig { bootstrap: vec![by_name], ..config(1, all.clone()) }).await;
    let failures = late.handle.metrics().clone();
    soon("a few failed dials", async {
        while failures.dial_failures.get() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let listen = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()];
    let mut first = Node::start(NetworkConfig { listen, ..config(0, all) }).await;
    late.connected_to(0).await;
    first.connected_to(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_dial_at_once_and_one_session_remains_on_each_side() {
    let mut all = validators(&[0, 1]);
    let ports: Vec<u16> = {
        let held: Vec<_> = (0..2).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
    };
    for (entry, port) in all.entries.iter_mut().zip(&ports) {
        entry.addresses = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()];
    }
    let listening = |number: u16| NetworkConfig {
        listen: all.entries[usize::from(number)].addresses.clone(),
        ..config(number, all.clone())
    };
    let (mut first, mut second) = tokio::join!(Node::start(listening(0)), Node::start(listening(1)));
    first.connected_to(1).await;
    second.connected_to(0).await;
    for round in 0..100_u8 {
        first.handle.send(ONE, Class::Consensus, &vec![round; 50].into(), None).unwrap();
        assert_eq!(second.receive(Class::Consensus).await.bytes[0], round);
        second.handle.send(ZERO, Class::Consensus, &vec![round; 50].into(), None).unwrap();
        assert_eq!(first.receive(Class::Consensus).await.bytes[0], round);
    }
    for node in [&first, &second] {
        assert_eq!(node.handle.metrics().sessions_started.get(), 1);
        assert_eq!(node.handle.metrics().sessions_ended.get(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_crashed_comes_back_with_the_same_key_and_streams_resume() {
    let all = validators(&[0, 1]);
    let mut first = Node::start(config(0, all.clone())).await;
    let bootstrap = first.addresses.clone();
    let mut second = Node::start_mortal(NetworkConfig { bootstrap, ..config(1, all) }).await;
    first.connected_to(1).await;
    second.connected_to(0).await;
    let port = second.addresses.clone();
    second.crash();
    first.disconnected_from(1).await;
    assert!(first.handle.send(ONE, Class::Bundles, &"lost".into(), None).is_err());
    // It knows nobody and waits to be dialed, at the address where it was before.
    let again = NetworkConfig { listen: port, start: 2, ..config(1, validators(&[0, 1])) };
    let mut second = start_where_it_was(again).await;
    assert_eq!(first.connected_to(1).await.start, 2);
    second.connected_to(0).await;
    for class in Class::ALL {
        first.handle.send(ONE, class, &"to the new one".into(), None).unwrap();
        assert_eq!(second.receive(class).await.bytes, "to the new one");
        second.handle.send(ZERO, class, &"from the new one".into(), None).unwrap();
        assert_eq!(first.receive(class).await.bytes, "from the new one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_peer_is_suspect_then_lost_and_comes_back_when_it_wakes() {
    let all = validators(&[0, 1]);
    let mut first = Node::start(config(0, all.clone())).await;
    let bootstrap = first.addresses.clone();
    let mut second = Node::start_mortal(NetworkConfig { bootstrap, ..config(1, all) }).await;
    first.connected_to(1).await;
    second.connected_to(0).await;
    let thaw = second.freeze();
    let suspect = |event: &NetworkEvent| matches!(event, NetworkEvent::Suspect { suspect: true, .. });
    first.event_that("suspicion", suspect).await;
    assert_eq!(first.info(1).state, PeerState::Suspect);
    assert_eq!(first.handle.metrics().peers_suspect.get(), 1);
    assert_eq!(first.disconnected_from(1).await, "it stopped answering");
    assert_eq!(first.handle.metrics().peers_suspect.get(), 0);
    drop(thaw);
    first.connected_to(1).await;
    second.connected_to(0).await;
    second.crash();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_disconnect_is_followed_by_a_new_session() {
    let (mut first, mut second) = pair(0, 1).await;
    first.handle.disconnect(peer_of(1)).await.unwrap();
    first.disconnected_from(1).await;
    second.disconnected_from(0).await;
    first.connected_to(1).await;
    second.connected_to(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_genesis_is_refused_on_both_sides_and_the_field_is_named() {
    let all = validators(&[0, 1]);
    let mut first = Node::start(config(0, all.clone())).await;
    let bootstrap = first.addresses.clone();
    let other = NetworkConfig { genesis: Digest([2; 32]), bootstrap, ..config(1, all) };
    let mut second = Node::start(other).await;
    for (node, peer) in [(&mut first, peer_of(1)), (&mut second, peer_of(0))] {
        let event = node.event_that("a refusal", |event| !matches!(event, NetworkEvent::Listening(_))).await;
        match event {
            NetworkEvent::Refused { peer: refused, validator, refusal } => {
                assert_eq!(refused, peer);
                assert!(validator.is_some());
                let text = refusal.to_string();
                assert!(text.starts_with("genesis hash: ours") && !text.contains("chain id"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(node.handle.metrics().sessions_started.get(), 0);
        assert_eq!(node.handle.metrics().refused.get(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_chain_is_refused_by_name_even_if_it_has_more_validators() {
    let mut first = Node::start(config(0, validators(&[0, 1]))).await;
    let bootstrap = first.addresses.clone();
    let larger = NetworkConfig {
        chain_id: ChainId::new("network-test-7").unwrap(),
        bootstrap,
        ..config(5, validators(&[0, 1, 2, 3, 4, 5]))
    };
    let mut second = Node::start(larger).await;
    for node in [&mut first, &mut second] {
        let event = node.event_that("a refusal", |event| matches!(event, NetworkEvent::Refused { .. })).await;
        match event {
            NetworkEvent::Refused { refusal, .. } => assert!(refusal.to_string().contains("chain id"), "{refusal}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_works_as_well() {
    let (mut first, mut second) = pair_listening(0, 1, QUIC).await;
    let info = first.info(1);
    assert!(info.addresses.iter().all(|address| address.to_string().contains("quic-v1")), "{info:?}");
    let long = bytes::Bytes::from(vec![7; 1_000_000]);
    for class in Class::ALL {
        first.handle.send(ONE, class, &long, None).unwrap();
        second.handle.send(ZERO, class, &long, None).unwrap();
        assert_eq!(second.receive(class).await.bytes, long);
        assert_eq!(first.receive(class).await.bytes, long);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_may_listen_on_both_transports_and_tells_the_real_ports() {
    let listen = vec![TCP.parse().unwrap(), QUIC.parse().unwrap()];
    let node = Node::start(NetworkConfig { listen, ..config(0, validators(&[0, 1])) }).await;
    assert_eq!(node.addresses.len(), 2);
    assert!(node.addresses.iter().all(|address| !address.to_string().contains("/0")), "{:?}", node.addresses);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_in_use_is_named_at_the_start() {
    let node = Node::start(config(0, validators(&[0, 1]))).await;
    let taken = NetworkConfig { listen: node.addresses.clone(), ..config(1, validators(&[0, 1])) };
    let error = Node::try_start(taken).await.err().expect("two nodes cannot have one port").to_string();
    assert!(error.contains(&node.addresses[0].to_string()) && error.contains("in use"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_measure_the_round_trip() {
    let (first, second) = pair(0, 1).await;
    for (node, other) in [(&first, 1), (&second, 0)] {
        let info = node.info_that(other, "a heartbeat", |info| info.round_trip.is_some()).await;
        assert_eq!(info.state, PeerState::Connected);
    }
}

/// The dead node's socket may take a moment to go.
async fn start_where_it_was(config: NetworkConfig) -> Node {
    soon("a free port", async {
        loop {
            match Node::try_start(config.clone()).await {
                Ok(node) => return node,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await
}
