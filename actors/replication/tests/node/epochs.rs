//! From one epoch to the next, and how a node learns of it to which nobody says so.

use dtvn_messages::certificate::Signatures;
use dtvn_messages::membership::ValidatorsChange;
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    Action, Epoch, Genesis, Height, KeyPair, PublicKey, Statement, Validator, ValidatorIndex, ValidatorSet,
};
use dtvn_replication::node::{Effect, Input};

use crate::harness::{Network, SEED, issue, operation};

/// The first validator has more power, and all of the present ones signed that.
fn change(genesis: &Genesis) -> Action {
    let present = genesis.validators();
    let mut validators: Vec<Validator> = present.iter().map(|(_, validator)| validator.clone()).collect();
    validators[0].power = 2;
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
    network.submit(0, 1, operation(change(&genesis), 1));
    network.run();
    network.run();
    assert_eq!(network.accepted(), [1]);
    for node in 0..4 {
        let node = network.node(node);
        assert_eq!((node.config().epoch, node.show().committed), (Epoch(1), Height(4)));
        assert!(node.show().voting && !node.show().at_epoch_end);
    }
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
    let mut ask = |message| network.input(1, Input::Observer { peer, message });
    let answered = |effects: &[Effect]| {
        let to_it = effects.iter().filter_map(|effect| match effect {
            Effect::Answered { to, message } if *to == peer => Some(message.name()),
            _ => None,
        });
        to_it.collect::<Vec<_>>()
    };
    let blocks = ask(PeerMessage::SyncRequest { from: Height(1), to: Height(3) });
    assert_eq!(answered(&blocks), ["sync_blocks"]);
    let manifest = ask(PeerMessage::SnapshotRequest { height: Height(4), at_least: Height(1) });
    assert_eq!(answered(&manifest), ["snapshot"]);
    let unknown = ask(PeerMessage::SyncRequest { from: Height(100), to: Height(200) });
    assert_eq!(answered(&unknown), [""; 0], "it has no such block");
    for said in [
        PeerMessage::Wish { epoch: Epoch(0), view: dtvn_messages::View(7) },
        PeerMessage::FetchBlocks(Vec::new()),
        PeerMessage::SyncBlocks(Vec::new()),
    ] {
        assert!(ask(said).is_empty());
    }
}
