//! From one epoch to the next, how a node learns of it to which nobody says so, and what a validator says that was
//! removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::certificate::Signatures;
use dtvn_messages::membership::ValidatorsChange;
use dtvn_messages::state::Part;
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    Action, Certificate, CommittedProof, Epoch, EpochEnd, Genesis, Header, Height, KeyPair, PublicKey, Signed,
    Statement, Validator, ValidatorIndex, ValidatorSet, View, Vote, VoteKind,
};
use dtvn_replication::archive::Archived;
use dtvn_replication::execution::Shelf;
use dtvn_replication::node::{Effect, Input};
use dtvn_replication::sync::serve_manifest;

use crate::cosignatures::blamed;
use crate::harness::{Network, SEED, issue, operation};

/// The validators are others from now on, and all of the present ones signed that.
fn change(genesis: &Genesis, alter: impl FnOnce(&mut Vec<Validator>)) -> Action {
    let present = genesis.validators();
    let mut validators: Vec<Validator> = present.iter().map(|(_, validator)| validator.clone()).collect();
    alter(&mut validators);
    let set = ValidatorSet::new(validators).unwrap();
    let (epoch, replaces, signatures) = (Epoch(0), present.hash(), Signatures::default());
    let mut change = ValidatorsChange { epoch, replaces, set, signatures };
    let message = change.statement().signed_bytes(genesis.chain_id());
    let sign = |(index, validator): (ValidatorIndex, &Validator)| {
        (index, KeyPair::development(SEED, validator.name.as_str()).sign(&message))
    };
    change.signatures = Signatures(present.iter().map(sign).collect());
    Action::ChangeValidators(Box::new(change))
}

/// Node 3 commits the last block of the epoch, and the proof that the epoch is over never reaches it by itself: those who
/// voted for the checkpoint are gone to the next epoch, and are no validators there.
#[test]
fn who_lacks_the_end_of_its_epoch_and_is_told_nothing_asks_for_it() {
    let mut network = Network::new(4);
    network.run_for(500_000);
    network.tamper = Some(Box::new(|_, to, message| match message {
        PeerMessage::Checkpoint(_) | PeerMessage::StableCheckpoint(_) | PeerMessage::Committed(_) if to == 3 => None,
        message => Some(message),
    }));
    let genesis = network.genesis().clone();
    let heavier = change(&genesis, |validators| validators[0].power = 2);
    network.submit(0, 1, operation(heavier, 1));
    network.run();
    network.run();
    assert_eq!(network.accepted(), [1]);
    for node in 0..4 {
        let node = network.node(node);
        assert_eq!((node.config().epoch, node.show().committed), (Epoch(1), Height(4)));
        assert!(node.show().voting && !node.show().at_epoch_end);
        // What was agreed on has taken effect, though no block of the new epoch is decided.
        let stored = node.store().load();
        assert_eq!((stored.agreed(&genesis), stored.validators(&genesis).total_power()), (None, 5));
    }
}

/// A change is agreed on, and the end of the epoch not proved: what is stored says both who decides and who will.
#[test]
fn who_is_agreed_on_and_who_decides_are_told_apart_until_the_epoch_is_over() {
    let mut network = Network::new(4);
    network.tamper = Some(Box::new(|_, _, message| match message {
        PeerMessage::Checkpoint(_) | PeerMessage::StableCheckpoint(_) | PeerMessage::EpochEnd(_) => None,
        message => Some(message),
    }));
    let genesis = network.genesis().clone();
    let heavier = change(&genesis, |validators| validators[0].power = 2);
    network.submit(0, 1, operation(heavier, 1));
    network.run();
    assert!(network.node(0).show().at_epoch_end);
    let stored = network.node(0).store().load();
    assert_eq!(stored.validators(&genesis).total_power(), 4);
    assert_eq!(stored.agreed(&genesis).map(ValidatorSet::total_power), Some(5));
}

/// A state of a later epoch that a node archived holds for itself only with the ends of those before it, and is given out
/// with those that its asker lacks.
#[test]
fn an_archived_state_of_a_later_epoch_is_proved_from_the_genesis_on() {
    let mut network = Network::with(4, |parameters| parameters.retain_blocks = 16);
    let genesis = network.genesis().clone();
    for number in 100..110 {
        network.submit(0, number, issue(&format!("T{number}"), number));
        network.run_for(100_000);
    }
    let before = network.node(1).store().archived().unwrap().manifest(Vec::new());
    let heavier = change(&genesis, |validators| validators[0].power = 2);
    network.submit(0, 1, operation(heavier, 1));
    network.run();
    for number in 2..14 {
        network.submit(0, number, issue(&format!("T{number}"), number));
        network.run_for(100_000);
    }
    network.run();
    let node = network.node(1);
    let ends = node.execution().shelf().ends.clone();
    let before = Archived::open(before, &ends, &genesis, &*node.settings().scheme, Arc::new(BTreeMap::new()));
    assert_eq!(before.map(|archived| archived.stable().epoch()).ok(), Some(Epoch(0)), "what ended later is not needed");
    let archived = node.store().archived().unwrap();
    assert_eq!((archived.stable().epoch(), ends.len()), (Epoch(1), 1));
    let scheme = Arc::clone(&node.settings().scheme);
    let opened = |ends: &[Arc<EpochEnd>]| {
        let manifest = node.store().archived().unwrap().manifest(Vec::new());
        Archived::open(manifest, ends, &genesis, &*scheme, Arc::new(BTreeMap::new()))
    };
    assert!(opened(&[]).is_err());
    let opened = opened(&ends).unwrap();
    assert_eq!(opened.height(), archived.height());
    let shelf = Shelf { ends: ends.clone(), ..Shelf::default() };
    let shown = |epoch: u64| match serve_manifest(&shelf, Some(&opened), Height(1), Height(1), Epoch(epoch)) {
        PeerMessage::Snapshot(manifest) => manifest.ends.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((shown(0), shown(1)), (ends.clone(), Vec::new()));
}

/// One that is no validator is given blocks and states, and nothing else that it says is looked at.
#[test]
fn an_observer_is_answered_when_it_asks_and_not_heard_otherwise() {
    let mut network = Network::new(4);
    network.run_for(500_000);
    for number in 0..6 {
        network.submit(0, number, issue(&format!("T{number}"), number));
        network.run_for(100_000);
    }
    let peer = PublicKey([9; 32]);
    let mut ask = |message| network.input(1, Input::Stranger { peer, message });
    let answered = |effects: &[Effect]| {
        let to_it = effects.iter().filter_map(|effect| match effect {
            Effect::SendToStranger { to, message } if *to == peer => Some(message.name()),
            _ => None,
        });
        to_it.collect::<Vec<_>>()
    };
    let blocks = ask(PeerMessage::SyncRequest { from: Height(1), to: Height(3) });
    assert_eq!(answered(&blocks), ["sync_blocks"]);
    let manifest = ask(PeerMessage::SnapshotRequest { height: Height(4), at_least: Height(1), epoch: Epoch(0) });
    assert_eq!(answered(&manifest), ["snapshot"]);
    let unknown = ask(PeerMessage::SyncRequest { from: Height(100), to: Height(200) });
    assert_eq!(answered(&unknown), [""; 0], "it has no such block");
    for said in [
        PeerMessage::Wish { epoch: Epoch(0), view: dtvn_messages::View(7) },
        PeerMessage::FetchBlocks(Vec::new()),
        PeerMessage::SyncBlocks(Vec::new()),
        // What would be blamed if anybody looked.
        PeerMessage::Part { height: Height(4), part: Part::WHOLE, entries: Arc::new(vec![1]) },
    ] {
        assert!(ask(said).is_empty());
    }
}

/// Whoever is behind is shown how epochs ended by one that has started again since.
#[test]
fn a_node_that_starts_again_still_shows_how_an_epoch_ended() {
    let mut network = Network::new(4);
    network.run_for(500_000);
    let heavier = change(&network.genesis().clone(), |validators| validators[0].power = 2);
    network.submit(0, 1, operation(heavier, 1));
    network.run();
    network.run();
    assert_eq!(network.node(1).config().epoch, Epoch(1));
    let media = network.kill(1);
    network.start(1, media);
    let asked = PeerMessage::SyncRequest { from: Height(5), to: Height(9) };
    let effects = network.input(1, Input::Stranger { peer: PublicKey([9; 32]), message: asked });
    let is_end = |effect: &Effect| match effect {
        Effect::SendToStranger { message: PeerMessage::EpochEnd(end), .. } => end.epoch() == Epoch(0),
        _ => false,
    };
    assert!(effects.iter().any(is_end), "{effects:?}");
}

/// Node 3 is removed, and its process has ended. Of the other three node 2 is cut off, so that the block that is proposed
/// in the new epoch has one vote too few: the network, and that block's header.
fn without_node_3_and_a_quorum() -> (Network, Header) {
    let mut network = Network::new(4);
    network.run_for(500_000);
    drop(network.kill(3));
    let genesis = network.genesis().clone();
    let removed = change(&genesis, |validators| drop(validators.pop()));
    network.submit(0, 1, operation(removed, 1));
    network.run();
    network.run();
    for node in 0..3 {
        let node = network.node(node);
        assert_eq!((node.config().epoch, node.show().committed), (Epoch(1), Height(4)));
        assert_eq!(node.config().set.quorum(), 3);
    }
    network.tamper = Some(Box::new(|from, to, message| (from != 2 && to != 2).then_some(message)));
    network.submit(0, 2, issue("A", 2));
    network.run_for(100_000);
    let proposed = network.all_said().find_map(|message| match message {
        PeerMessage::PrePrepare(proposal) => Some(&proposal.block.header).filter(|header| header.epoch == Epoch(1)),
        _ => None,
    });
    let header = proposed.cloned().unwrap();
    assert_eq!(header.height, Height(5));
    (network, header)
}

/// What a validator of epoch 0 signs about a block in epoch 1.
fn voted(network: &Network, signer: u16, kind: VoteKind, header: &Header) -> Signed<Vote> {
    let chain = network.genesis().chain_id();
    let (epoch, height, digest) = (header.epoch, header.height, header.digest(chain));
    let key = KeyPair::development(SEED, &format!("node{signer}"));
    Signed::new(Vote { kind, epoch, view: View(0), height, digest }, chain, ValidatorIndex(signer), &key)
}

#[test]
fn fresh_votes_of_a_removed_validator_count_for_nothing() {
    let (mut network, header) = without_node_3_and_a_quorum();
    let peer = KeyPair::development(SEED, "node3").public();
    for (node, other) in [(0, 1), (1, 0)] {
        for kind in [VoteKind::Prepare, VoteKind::Commit] {
            let message = PeerMessage::Vote(voted(&network, 3, kind, &header));
            let as_observer = network.input(node, Input::Stranger { peer, message: message.clone() });
            assert!(as_observer.is_empty(), "{as_observer:?}");
            // As over a link of the epoch before, and relayed by one that is a validator.
            for (from, expected) in [(3, "does not hold"), (other, "by another than its signer")] {
                let heard =
                    network.input(node, Input::Message { from: ValidatorIndex(from), message: message.clone() });
                let [(culprit, why)] = blamed(&heard)[..] else { panic!("{heard:?}") };
                assert_eq!(culprit, from);
                assert!(why.contains(expected), "{why}");
            }
        }
    }
    network.run_for(100_000);
    assert!([0, 1].into_iter().all(|node| network.node(node).show().committed == Height(4)), "two of three");
    network.tamper = None;
    network.run_for(30_000_000);
    assert_eq!(network.accepted(), [1, 2], "with node 2 it is decided");
}

#[test]
fn a_certificate_with_the_vote_of_a_removed_validator_proves_nothing() {
    let (mut network, header) = without_node_3_and_a_quorum();
    let signed = [0, 1, 3].map(|signer| voted(&network, signer, VoteKind::Commit, &header));
    let signatures = Signatures(signed.iter().map(|vote| (vote.signer, vote.signature)).collect());
    let certificate = Certificate { vote: signed[0].body, signatures };
    let message = PeerMessage::Committed(Arc::new(CommittedProof { header, certificate }));
    let heard = network.input(0, Input::Message { from: ValidatorIndex(1), message });
    let stranger = "a certificate proves nothing: signer 3 is no validator of this epoch";
    assert_eq!(blamed(&heard), [(1, stranger)]);
    network.run_for(100_000);
    assert_eq!(network.node(0).show().committed, Height(4));
}
