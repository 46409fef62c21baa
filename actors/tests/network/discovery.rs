//! Discovery that is lied to (faults.md: "poisoned discovery"): who is true is found all the same.

use dtvn_actors::network::NetworkConfig;
use dtvn_messages::limits;
use libp2p::{Multiaddr, PeerId};
use tokio::net::TcpSocket;

use crate::harness::{Node, config, peer_of, validators, votes_pass};
use crate::liar::{Liar, Lie};

/// Each of them, and some that do not exist, are said to be where the liar is, where nobody is, and where nobody can be.
fn lies(about: &[PeerId], own: &Multiaddr) -> Vec<Lie> {
    let nobody = (2..2 + 2 * limits::PEER_LEARNED_ADDRESSES_MAX).map(|last| format!("/ip4/127.0.0.{last}/tcp/1"));
    let impossible = ["/memory/7", "/ip4/0.0.0.0/tcp/0", "/ip4/127.0.0.1/udp/9"].map(str::to_owned);
    let elsewhere = nobody.chain(impossible).map(|address| address.parse().unwrap());
    let addresses: Vec<Multiaddr> = std::iter::once(own.clone()).chain(elsewhere).collect();
    let invented = std::iter::repeat_with(PeerId::random).take(5);
    about.iter().copied().chain(invented).map(|peer| (peer, addresses.clone())).collect()
}

/// Nothing in a node failed, and nobody is blamed for what somebody else says of it.
fn assert_unharmed(node: &Node) {
    for part in node.tree.snapshot().walk() {
        assert_eq!(part.restarts, 0, "{}: {:?}", part.name, part.last_restart_reason);
    }
    let metrics = node.handle.metrics();
    assert_eq!((metrics.bans.get(), metrics.offences.get()), (0, 0));
    assert!(node.handle.peers().iter().all(|peer| peer.points == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn false_answers_do_not_displace_a_configured_address() {
    // A port at which nobody listens yet.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let configured: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", held.local_addr().unwrap().port()).parse().unwrap();
    let liar = Liar::start(None, |own| lies(&[peer_of(1)], own)).await;
    let mut all = validators(&[0, 1]);
    all.entries[1].addresses = vec![configured.clone()];
    let bootstrap = vec![liar.address.clone()];
    let mut first = Node::start(NetworkConfig { bootstrap, ..config(0, all) }).await;
    liar.has_lied(peer_of(0), peer_of(1), 1).await;
    let known = first.info(1).addresses;
    assert_eq!(known[0], configured);
    assert!(known.len() <= 1 + limits::PEER_LEARNED_ADDRESSES_MAX, "{known:?}");

    drop(held);
    // It looks for nobody: it is found where it was configured, or not at all.
    let listen = vec![configured];
    let mut second = Node::start(NetworkConfig { listen, ..config(1, validators(&[0, 1])) }).await;
    first.connected_to(1).await;
    second.connected_to(0).await;
    votes_pass((&mut first, 0), (&mut second, 1)).await;
    assert_unharmed(&first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mesh_forms_and_mends_although_a_stranger_answers_with_false_addresses() {
    let all = validators(&[0, 1, 2]);
    let everybody = [0, 1, 2].map(peer_of);
    let mut first = Node::start(config(0, all.clone())).await;
    let bootstrap = first.addresses.clone();
    let liar = Liar::start(Some(bootstrap[0].clone()), |own| lies(&everybody, own)).await;
    let mut second = Node::start(NetworkConfig { bootstrap: bootstrap.clone(), ..config(1, all.clone()) }).await;
    // Both look for the third one before it is there. Whether they ask the liar is up to them; in the test above they must.
    liar.may_lie(peer_of(0), peer_of(2)).await;
    liar.may_lie(peer_of(1), peer_of(2)).await;
    let mut third = Node::start(NetworkConfig { bootstrap, ..config(2, all) }).await;
    first.fully_connected_to_all([1, 2]).await;
    second.fully_connected_to_all([0, 2]).await;
    third.fully_connected_to_all([0, 1]).await;
    votes_pass((&mut first, 0), (&mut second, 1)).await;
    votes_pass((&mut first, 0), (&mut third, 2)).await;
    votes_pass((&mut second, 1), (&mut third, 2)).await;

    // They find each other again by what they have learned.
    second.handle.disconnect(peer_of(2)).await.unwrap();
    second.disconnected_from(2).await;
    third.disconnected_from(1).await;
    second.fully_connected_to_all([2]).await;
    third.fully_connected_to_all([1]).await;
    votes_pass((&mut second, 1), (&mut third, 2)).await;
    for node in [&first, &second, &third] {
        assert_unharmed(node);
    }
}
