//! Observers, and a change of epoch.

use dtvn_actors::network::{Class, ClassSet, NetworkConfig, SendError};
use dtvn_messages::ids::ValidatorIndex;

use crate::harness::{Node, ONE, PATIENCE, ZERO, config, key, name, pair, peer_of, validators};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_may_sync_and_nothing_else() {
    let all = validators(&[0, 1]);
    let mut node = Node::start(config(0, all.clone())).await;
    let bootstrap = node.addresses.clone();
    let mut observer = Node::start(NetworkConfig { bootstrap, ..config(9, all) }).await;
    let seen = node.connected_to(9).await;
    assert_eq!((seen.validator, seen.classes), (None, ClassSet::OBSERVERS));
    assert_eq!(seen.node_name, name(9));
    assert_eq!(observer.connected_to(0).await.classes, ClassSet::OBSERVERS);

    observer.handle.send(ZERO, Class::Sync, &"blocks please".into(), None).unwrap();
    let question = node.receive(Class::Sync).await;
    assert_eq!((question.peer, question.validator), (peer_of(9), None));
    let answer = bytes::Bytes::from(vec![5; 3_000_000]);
    node.handle.link(&question.peer).unwrap().push(Class::Sync, &answer, None).unwrap();
    assert_eq!(observer.receive(Class::Sync).await.bytes, answer);

    let vote = observer.handle.send(ZERO, Class::Consensus, &"a vote".into(), None);
    assert_eq!(vote, Err(SendError::Disconnected));
    // A stranger that sends what only a server may send is cut off.
    let long = bytes::Bytes::from(vec![0; dtvn_messages::limits::STRANGER_FRAME_BYTES_MAX + 1]);
    observer.handle.send(ZERO, Class::Sync, &long, None).unwrap();
    node.disconnected_from(9).await;
    assert_eq!(node.handle.metrics().frames_too_long.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_is_asked_may_answer_at_length() {
    let mut node = Node::start(config(0, validators(&[0]))).await;
    let bootstrap = node.addresses.clone();
    let mut stranger = Node::start(NetworkConfig { bootstrap, ..config(9, validators(&[0])) }).await;
    node.connected_to(9).await;
    stranger.connected_to(0).await;
    let long = bytes::Bytes::from(vec![7; dtvn_messages::limits::STRANGER_FRAME_BYTES_MAX + 1]);
    assert_eq!(node.handle.strangers(), [key(9).public()].into());
    node.handle.link_of(&key(9).public()).unwrap().ask(&"blocks please".into()).unwrap();
    assert_eq!(stranger.receive(Class::Sync).await.bytes, "blocks please");
    stranger.handle.send(ZERO, Class::Sync, &long, None).unwrap();
    assert_eq!(node.receive(Class::Sync).await.bytes, long);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_makes_an_observer_a_validator_and_leaves_other_sessions_alone() {
    let (mut first, mut second) = pair(0, 1).await;
    let bootstrap = first.addresses.clone();
    let before = NetworkConfig { bootstrap, ..config(2, validators(&[0, 1])) };
    let mut third = Node::start(before).await;
    assert_eq!(first.connected_to(2).await.classes, ClassSet::OBSERVERS);
    third.connected_to(0).await;

    // The order of the validators changes as well: node1 is now index 0.
    let after = validators(&[1, 0, 2]);
    for node in [&first, &second, &third] {
        node.handle.set_validators(after.clone(), PATIENCE).await.unwrap();
    }
    first.fully_connected_to_all([2]).await;
    second.fully_connected_to_all([2]).await;
    third.fully_connected_to_all([0, 1]).await;
    first.handle.send(ValidatorIndex(0), Class::Consensus, &"to node1".into(), None).unwrap();
    let vote = second.receive(Class::Consensus).await;
    assert_eq!((vote.bytes, vote.validator), ("to node1".into(), Some(ONE)), "node0 has index 1 now");
    third.handle.send(ValidatorIndex(1), Class::Consensus, &"from the new one".into(), None).unwrap();
    let vote = first.receive(Class::Consensus).await;
    assert_eq!((vote.peer, vote.validator), (peer_of(2), Some(ValidatorIndex(2))));
    let ended = first.handle.peers();
    let untouched = ended.iter().find(|peer| peer.peer == peer_of(1)).unwrap();
    assert_eq!(untouched.name, Some(name(1)));
    assert_eq!(second.info(0).last_error, None, "their session never ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_validator_is_an_observer_from_then_on() {
    let (mut first, mut second) = pair(0, 1).await;
    let without = validators(&[0]);
    first.handle.set_validators(without.clone(), PATIENCE).await.unwrap();
    first.disconnected_from(1).await;
    assert_eq!(first.handle.send(ONE, Class::Consensus, &"vote".into(), None), Err(SendError::UnknownPeer));
    // It does not know yet, and asks for everything; it gets sync, and learns the rest by it.
    let seen = first.connected_to(1).await;
    assert_eq!((seen.validator, seen.classes), (None, ClassSet::OBSERVERS));
    second.disconnected_from(0).await;
    assert_eq!(second.connected_to(0).await.classes, ClassSet::OBSERVERS);
    assert_eq!(second.handle.send(ZERO, Class::Consensus, &"vote".into(), None), Err(SendError::Disconnected));
    second.handle.send(ZERO, Class::Sync, &"what happened?".into(), None).unwrap();
    assert_eq!(first.receive(Class::Sync).await.bytes, "what happened?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_goes_on_with_another_key_under_its_name() {
    let (mut first, second) = pair(0, 1).await;
    let bootstrap = first.addresses.clone();
    let mut with_new_key = Node::start(NetworkConfig { bootstrap, ..config(7, validators(&[0, 1])) }).await;
    assert_eq!(first.connected_to(7).await.validator, None);
    let mut after = validators(&[0, 7]);
    after.entries[1].name = name(1);
    for node in [&first, &with_new_key] {
        node.handle.set_validators(after.clone(), PATIENCE).await.unwrap();
    }
    first.fully_connected_to_all([7]).await;
    with_new_key.fully_connected_to_all([0]).await;
    first.handle.send(ONE, Class::Consensus, &"to the new key".into(), None).unwrap();
    assert_eq!(with_new_key.receive(Class::Consensus).await.bytes, "to the new key");
    drop(second);
}
