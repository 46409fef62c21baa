//! Peers that break the rules, and what they can do to others: nothing.

use bytes::Bytes;
use dtvn_actors::network::{Class, NetworkConfig, NetworkEvent, Offence, PeerState};
use dtvn_messages::crypto::KeyPair;
use dtvn_messages::limits;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p_stream::OpenStreamError;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::harness::{Node, ONE, TWO, ZERO, config, key, opener_and_follower, pair, peer_of, soon, validators};
use crate::raw::RawPeer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_above_the_limit_closes_the_session_and_enough_of_them_ban_the_peer() {
    let (attacker, victim) = opener_and_follower(0, 1);
    let mut node = Node::start(config(victim, validators(&[0, 1]))).await;
    for round in 1..=3 {
        let mut raw = RawPeer::connect(&key(attacker), peer_of(victim), node.addresses[0].clone()).await;
        let session = async {
            let sync = raw.open_greeted("/dtvn/sync").await;
            let mut consensus = raw.open_greeted("/dtvn/consensus").await;
            let bundles = raw.open_greeted("/dtvn/bundles").await;
            let announced = u32::try_from(Class::Consensus.frame_bytes_max() + 1).unwrap();
            consensus.write_all(&announced.to_be_bytes()).await.unwrap();
            consensus.flush().await.unwrap();
            (sync, consensus, bundles)
        };
        let streams = soon("a session", session).await;
        node.connected_to(attacker).await;
        let cause = node.disconnected_from(attacker).await;
        assert!(cause.contains("was announced") || round == 3, "{cause}");
        assert_eq!(node.handle.metrics().frames_too_long.get(), round);
        drop(streams);
        raw.hang_up();
    }
    node.info_that(attacker, "a ban", |info| info.state == PeerState::Banned).await;
    assert_eq!(node.handle.metrics().bans.get(), 1);
    assert_eq!(node.handle.metrics().traffic.frames_in.get(Class::Consensus).get(), 0);
    // It may knock, but is not let in.
    let denied = node.handle.metrics().connections_denied.get();
    let _raw = RawPeer::connect(&key(attacker), peer_of(victim), node.addresses[0].clone()).await;
    soon("a denied connection", async {
        while node.handle.metrics().connections_denied.get() == denied {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_consensus_and_bundle_streams_are_not_even_negotiated() {
    let node = Node::start(config(0, validators(&[0, 1]))).await;
    let stranger = KeyPair::development("somebody else", "stranger");
    let mut raw = RawPeer::connect(&stranger, peer_of(0), node.addresses[0].clone()).await;
    for protocol in ["/dtvn/consensus", "/dtvn/bundles"] {
        // Negotiation is lazy: the refusal shows when the stream is first read.
        let refused = async {
            match raw.open(protocol).await {
                Err(OpenStreamError::UnsupportedProtocol(_)) => true,
                Err(_) => false,
                Ok(mut stream) => {
                    let _ = stream.write_all(&[0, 0, 0, 4, 1, 2, 3, 4]).await;
                    let _ = stream.flush().await;
                    stream.read(&mut [0; 1]).await.map_or(true, |length| length == 0)
                }
            }
        };
        assert!(soon("a refusal", refused).await, "{protocol}");
    }
    let traffic = &node.handle.metrics().traffic;
    assert_eq!(traffic.frames_in.get(Class::Consensus).get() + traffic.frames_in.get(Class::Bundles).get(), 0);
    assert_eq!(traffic.bytes_in.get(Class::Consensus).get() + traffic.bytes_in.get(Class::Bundles).get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_may_speak_tls_instead_of_noise() {
    let (other, ours) = opener_and_follower(0, 1);
    let node = Node::start(config(ours, validators(&[0, 1]))).await;
    let mut raw = RawPeer::connect_by_tls(&key(other), peer_of(ours), node.addresses[0].clone()).await;
    soon("a greeted stream", raw.open_greeted("/dtvn/sync")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_handshake_counts_against_the_peer() {
    let (attacker, victim) = opener_and_follower(0, 1);
    let node = Node::start(config(victim, validators(&[0, 1]))).await;
    let mut raw = RawPeer::connect(&key(attacker), peer_of(victim), node.addresses[0].clone()).await;
    let mut stream = soon("a stream", raw.open("/dtvn/sync")).await.unwrap();
    let announced = u32::try_from(limits::HANDSHAKE_BYTES_MAX + 1).unwrap();
    stream.write_all(&announced.to_be_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let info = node.info_that(attacker, "points", |info| info.points > 0).await;
    assert!(info.points <= Offence::BadHandshake.points());
    assert_eq!(node.handle.metrics().sessions_started.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_on_the_tcp_port_disturbs_nobody() {
    let (first, mut second) = pair(0, 1).await;
    let port = second.addresses[0].iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let port = port.unwrap();
    let junk = tokio::spawn(async move {
        for round in 0..200_u32 {
            let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
            let bytes: Vec<u8> = (0..4_096_u32).map(|byte| (byte.wrapping_mul(round + 7) >> 3) as u8).collect();
            // It may be closed in the middle of it.
            let _ = stream.write_all(&bytes).await;
        }
    });
    let mut round = 0;
    while !junk.is_finished() || round < 100 {
        let frame = Bytes::from(u32::to_be_bytes(round).to_vec());
        first.handle.send(ONE, Class::Consensus, &frame, None).unwrap();
        assert_eq!(second.receive(Class::Consensus).await.bytes, frame);
        round += 1;
    }
    junk.await.unwrap();
    let metrics = second.handle.metrics();
    assert!(metrics.connections_failed.get() + metrics.connections_denied.get() > 0);
    assert_eq!(metrics.sessions_ended.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_does_not_starve_another_peers_frame() {
    let all = validators(&[0, 1, 2]);
    let mut victim = Node::start(config(0, all.clone())).await;
    let bootstrap = victim.addresses.clone();
    let mut flooder = Node::start(NetworkConfig { bootstrap: bootstrap.clone(), ..config(1, all.clone()) }).await;
    let mut honest = Node::start(NetworkConfig { bootstrap, ..config(2, all) }).await;
    victim.connected_to_all([1, 2]).await;
    flooder.connected_to(0).await;
    honest.connected_to(0).await;
    let handle = flooder.handle.clone();
    let flood = Bytes::from(vec![0; 200]);
    let flooding =
        tokio::spawn(async move { while handle.send_when_room(ZERO, Class::Consensus, &flood).await.is_ok() {} });
    // Nobody has received anything yet: the flooder's share of the inbox is full, and everything behind it too.
    let share = limits::INBOUND_CONSENSUS_FRAMES_MAX as u64;
    victim.info_that(1, "a full share", |info| info.traffic.frames_in.get(Class::Consensus) == &share).await;
    for round in 0..100_u64 {
        let vote = Bytes::from(vec![1; 200]);
        honest.handle.send(ZERO, Class::Consensus, &vote, None).unwrap();
        victim.info_that(2, "the vote", |info| info.traffic.frames_in.get(Class::Consensus) == &(round + 1)).await;
        let next = [victim.receive(Class::Consensus).await, victim.receive(Class::Consensus).await];
        assert!(next.iter().any(|frame| frame.validator == Some(TWO)), "the vote is among the next two frames");
    }
    flooding.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_receivers_report_adds_up_to_a_ban() {
    let (mut first, _second) = pair(0, 1).await;
    first.handle.report(peer_of(1), Offence::Lie).await.unwrap();
    // One is no reason; of two dials at one time a session may just be in the place of another.
    first.info_that(1, "a session", |info| info.state == PeerState::Connected).await;
    // Points leak away, so two that make exactly the limit may be a little too few.
    first.handle.report(peer_of(1), Offence::Lie).await.unwrap();
    first.handle.report(peer_of(1), Offence::Junk).await.unwrap();
    first.disconnected_from(1).await;
    first.info_that(1, "a ban", |info| info.state == PeerState::Banned).await;
    assert!(first.handle.send(ONE, Class::Consensus, &"x".into(), None).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_run_twice_is_bounded_and_the_first_session_stays_usable_or_is_replaced() {
    let all = validators(&[0, 1]);
    let mut node = Node::start(config(0, all.clone())).await;
    let bootstrap = node.addresses.clone();
    let twin = || NetworkConfig { bootstrap: bootstrap.clone(), ..config(1, all.clone()) };
    let _first = Node::start(twin()).await;
    node.connected_to(1).await;
    let _second = Node::start(twin()).await;
    // Whatever happens between them, the node keeps answering and one session with that key stands.
    soon("a vote to either", async {
        while node.handle.send(ONE, Class::Consensus, &"vote".into(), None).is_err() {
            let connected = |event: &NetworkEvent| matches!(event, NetworkEvent::Connected(_));
            node.event_that("a session", connected).await;
        }
    })
    .await;
    assert!(node.handle.metrics().peers_connected.get() <= 1);
}
