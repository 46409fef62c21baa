//! Two wire versions in one mesh (faults.md: "old and new binaries mixed"): who speaks another one is refused by name,
//! knows why, and disturbs nobody.

use dtvn_actors::network::{NetworkConfig, NetworkEvent, PeerState};
use dtvn_messages::ids::ValidatorIndex;
use dtvn_messages::wire::WIRE_VERSION;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Node, config, key, opener_and_follower, peer_of, soon, validators, votes_pass};
use crate::raw::{RawPeer, hello_of_version, read_frame};

/// The one that only looks on.
const THIRD: u16 = 2;

/// A peer of another version meets a node, in the role that their ids give it, until the node has judged it.
async fn meet(node: &Node, ours: u16, theirs: u16, version: u8) -> RawPeer {
    let (target, address) = (peer_of(ours), node.addresses[0].clone());
    let (raw, mut stream) = if opener_and_follower(ours, theirs).0 == theirs {
        let mut raw = RawPeer::connect(&key(theirs), target, address).await;
        let stream = raw.open("/dtvn/sync").await.unwrap();
        (raw, stream)
    } else {
        RawPeer::connect_and_accept(&key(theirs), target, address, "/dtvn/sync").await
    };
    stream.write_all(&hello_of_version(version)).await.unwrap();
    stream.flush().await.unwrap();
    let heard = read_frame(&mut stream).await;
    assert_eq!(heard[0], WIRE_VERSION, "it learns as well what differs");
    // A stream that was judged and refused is let go of.
    assert!(stream.read(&mut [0; 1]).await.map_or(true, |length| length == 0));
    raw
}

/// The next refusal must be that of a validator with this version.
async fn is_refused(node: &mut Node, number: u16, version: u8) {
    match node.event_that("a refusal", |event| matches!(event, NetworkEvent::Refused { .. })).await {
        NetworkEvent::Refused { peer, validator, refusal } => {
            assert_eq!((peer, validator), (peer_of(number), Some(ValidatorIndex(number))));
            assert_eq!(refusal.to_string(), format!("wire version: ours {WIRE_VERSION}, theirs {version}"));
        }
        other => panic!("{other:?}"),
    }
}

async fn another_version_is_refused_and_disturbs_nobody(ours: u16, theirs: u16) {
    let all = validators(&[0, 1, THIRD]);
    let mut node = Node::start(config(ours, all.clone())).await;
    let bootstrap = node.addresses.clone();
    let mut third = Node::start(NetworkConfig { bootstrap: bootstrap.clone(), ..config(THIRD, all.clone()) }).await;
    node.connected_to(THIRD).await;
    third.connected_to(ours).await;

    let newer = WIRE_VERSION + 1;
    let raw = soon("a judgement", meet(&node, ours, theirs, newer)).await;
    is_refused(&mut node, theirs, newer).await;
    votes_pass((&mut node, ours), (&mut third, THIRD)).await;
    raw.hang_up();
    // The same again is not told again, and a third version is.
    soon("a judgement", meet(&node, ours, theirs, newer)).await.hang_up();
    let raw = soon("a judgement", meet(&node, ours, theirs, newer + 1)).await;
    is_refused(&mut node, theirs, newer + 1).await;
    votes_pass((&mut node, ours), (&mut third, THIRD)).await;
    let says_why = |error: &String| error.starts_with("wire version");
    let info = node.info_that(theirs, "the reason", |info| info.last_error.as_ref().is_some_and(says_why)).await;
    assert_eq!((info.state, info.points), (PeerState::Disconnected, 0), "it is no offence");
    assert_eq!(node.handle.metrics().refused.get(), 2);
    for metrics in [node.handle.metrics(), third.handle.metrics()] {
        assert_eq!((metrics.sessions_started.get(), metrics.sessions_ended.get(), metrics.bans.get()), (1, 0, 0));
    }
    raw.hang_up();

    // With the binary that the others have it is one of them.
    let mut again = Node::start(NetworkConfig { bootstrap, ..config(theirs, all) }).await;
    node.connected_to(theirs).await;
    again.connected_to(ours).await;
    votes_pass((&mut node, ours), (&mut again, theirs)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_another_version_that_opens_the_streams_is_refused_by_name() {
    let (opener, follower) = opener_and_follower(0, 1);
    another_version_is_refused_and_disturbs_nobody(follower, opener).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_another_version_to_which_streams_are_opened_is_refused_by_name() {
    let (opener, follower) = opener_and_follower(0, 1);
    another_version_is_refused_and_disturbs_nobody(opener, follower).await;
}
