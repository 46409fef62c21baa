//! Whole nodes: what one says, waits for, remembers and forgets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod continued;
mod cosignatures;
mod disks;
mod epochs;
mod harness;
mod log_size;
mod parts;
mod snapshots;

use std::sync::Arc;

use dtvn_messages::wire::{Class, PeerMessage, WIRE_VERSION, WireError, encode};
use dtvn_messages::{
    Digest, Epoch, Evidence, Height, KeyPair, Signed, Statement, ValidatorIndex, View, Vote, VoteKind,
};
use dtvn_replication::intake::Answer;
use dtvn_replication::node::{Effect, Input};

use harness::{Network, issue, validate};

#[test]
fn operations_are_decided_by_all_nodes_alike() {
    let mut network = Network::new(4);
    network.submit(0, 1, issue("A", 1));
    network.submit(3, 2, issue("B", 2));
    network.run();
    network.submit(2, 3, validate("A", 3));
    network.submit(1, 4, validate("unknown", 4));
    network.run();
    assert_eq!(network.accepted(), [1, 2, 3]);
    assert!(matches!(network.answers[&4], Answer::Decided(_)), "a refusal is an outcome as well");
    let states: Vec<_> = network.nodes().map(|node| node.show().committed_digest).collect();
    assert!(states.windows(2).all(|pair| pair[0] == pair[1]), "{states:?}");
    let roots: Vec<_> = network.nodes().map(|node| node.execution().ledger().root_at(node.show().committed)).collect();
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]), "{roots:?}");
    assert_eq!(roots[0].unwrap().log_size, 4);
    assert_eq!(network.diverged, []);
}

#[test]
fn one_node_alone_is_a_network() {
    let mut network = Network::new(1);
    network.submit(0, 1, issue("A", 1));
    network.run();
    assert_eq!(network.accepted(), [1]);
}

#[test]
fn a_proposal_leaves_when_it_is_on_the_disk() {
    let mut network = Network::new(4);
    network.hold_syncs_of(0);
    network.submit(0, 1, issue("A", 1));
    network.run_for(50_000);
    let proposed = |network: &Network| network.said(0, |message| matches!(message, PeerMessage::PrePrepare(_)));
    assert_eq!(proposed(&network), 0, "the leader's disk is slow");
    assert!(network.said(0, |message| matches!(message, PeerMessage::Bundle(_))) > 0, "a bundle waits for no disk");
    network.release_syncs();
    network.run_for(50_000);
    assert_eq!(proposed(&network), 1);
    assert_eq!(network.accepted(), [1]);
}

#[test]
fn a_commit_vote_leaves_when_the_prepared_certificate_is_on_the_disk() {
    let mut network = Network::new(4);
    network.submit(0, 1, issue("A", 1));
    let is_vote =
        |kind| move |message: &PeerMessage| matches!(message, PeerMessage::Vote(vote) if vote.body.kind == kind);
    while network.said(1, is_vote(VoteKind::Prepare)) == 0 {
        assert!(network.step(), "node 1 never voted");
    }
    network.hold_syncs_of(1);
    network.run_for(50_000);
    assert_eq!(network.said(1, is_vote(VoteKind::Commit)), 0);
    assert_eq!(network.accepted(), [1], "three others are enough");
    network.release_syncs();
    network.run_for(50_000);
    assert_eq!(network.said(1, is_vote(VoteKind::Commit)), 1);
}

#[test]
fn what_comes_while_the_disk_is_busy_is_synced_together() {
    let mut network = Network::new(4);
    network.hold_syncs_of(0);
    for ticket in 0..6 {
        network.submit(1, ticket, issue(&format!("T{ticket}"), ticket));
        network.run_for(50_000);
    }
    assert_eq!(network.held_syncs(), 1, "one is under way, the rest waits for the next");
    network.release_syncs();
    network.run();
    assert_eq!(network.accepted(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn frames_are_decoded_and_junk_is_blamed() {
    let mut network = Network::new(4);
    let bytes = encode(&PeerMessage::SyncRequest { from: Height(1), to: Height(2) }).unwrap();
    let from = ValidatorIndex(2);
    let frame = |class, bytes: Vec<u8>| Input::Frame { from, class, bytes };
    let blamed = |effects: &[Effect]| {
        effects.iter().filter(|effect| matches!(effect, Effect::Blame { peer, .. } if *peer == from)).count()
    };
    assert_eq!(blamed(&network.input(0, frame(Class::Sync, bytes.clone()))), 0);
    assert_eq!(blamed(&network.input(0, frame(Class::Consensus, bytes.clone()))), 1, "on the wrong stream");
    assert_eq!(blamed(&network.input(0, frame(Class::Sync, bytes[..bytes.len() - 1].to_vec()))), 1, "cut short");
}

#[test]
fn a_frame_of_another_version_is_blamed_by_name_and_one_of_ours_is_answered_after_it() {
    let mut network = Network::new(4);
    let from = ValidatorIndex(2);
    let mut hear = |version| {
        let request = PeerMessage::SnapshotRequest { height: Height(4), at_least: Height(1), epoch: Epoch(0) };
        let mut bytes = encode(&request).unwrap();
        bytes[0] = version;
        let effects = network.input(0, Input::Frame { from, class: Class::Sync, bytes });
        let said = effects.into_iter().filter_map(|effect| match effect {
            Effect::Blame { peer, why } if peer == from => Some(why),
            Effect::Send { to, message } if to == from => Some(message.name().to_owned()),
            _ => None,
        });
        said.collect::<Vec<_>>()
    };
    assert_eq!(hear(WIRE_VERSION + 1), [WireError::Version(WIRE_VERSION + 1).to_string()]);
    assert_eq!(hear(WIRE_VERSION), ["snapshot_refused"]);
}

#[test]
fn who_was_not_there_is_told_what_shows_a_lie_when_it_comes_back() {
    let mut network = Network::new(4);
    let away = network.kill(3);
    let (genesis, liar) = (network.genesis().clone(), ValidatorIndex(2));
    let key = KeyPair::development(harness::SEED, "node2");
    let lie = |byte| {
        let digest = Digest([byte; 32]);
        let vote = Vote { kind: VoteKind::Prepare, epoch: Epoch(0), view: View(0), height: Height(5), digest };
        let signature = key.sign(&vote.signed_bytes(genesis.chain_id()));
        Signed { body: vote, signer: liar, signature }
    };
    let evidence = Arc::new(Evidence::TwoVotes(lie(1), lie(2)));
    let message = PeerMessage::Evidence(Arc::clone(&evidence));
    network.input(0, Input::Message { from: ValidatorIndex(1), message });
    network.run();
    let knows = |network: &mut Network, node: usize| network.node(node).store().evidence().any(|it| *it == evidence);
    assert!([0, 1].into_iter().all(|node| knows(&mut network, node)), "told to all that are there");
    network.start(3, away);
    network.run();
    assert!(knows(&mut network, 3));
    assert_eq!(network.blamed, Vec::<String>::new());
    // The one that told it was restarted meanwhile: it knows from its store.
    let late = network.kill(3);
    let fresh = network.new_media();
    drop(late);
    for node in [0, 1, 2] {
        let media = network.kill(node);
        network.start(node, media);
    }
    network.start(3, fresh);
    network.run();
    assert!(knows(&mut network, 3));
}
