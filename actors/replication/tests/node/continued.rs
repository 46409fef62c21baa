//! A chain that goes on where another one ended (`dtvn genesis --from-checkpoint`).

use dtvn_messages::genesis::{Continuation, GenesisFile};
use dtvn_messages::{ChainId, EventId, Genesis, Height, KeyPair, NodeName, TicketState, Timestamp};
use dtvn_replication::initial::{ContinueError, InitialState, InitialStateError, beginning, continue_chain};
use dtvn_replication::intake::Answer;

use crate::harness::{Network, SEED, consume, issue, validate};

/// A network with tickets: `T0` to `T9` are issued, one block each, the first five are validated and `T0` is consumed.
fn former() -> Network {
    let mut network = Network::new(4);
    for number in 0..10 {
        network.submit(0, number, issue(&format!("T{number}"), number));
        network.run_for(60_000);
    }
    for number in 0..5 {
        network.submit(1, 10 + number, validate(&format!("T{number}"), 10 + number));
    }
    network.run();
    network.submit(2, 20, consume("T0", 20));
    network.run();
    network
}

/// What the operator asks for: another name, one validator more, and a later time.
fn asked(former: &Network) -> GenesisFile {
    let mut file = former.genesis().file().clone();
    file.chain_id = ChainId::new("goes-on").unwrap();
    let mut fifth = file.validators[0].clone();
    fifth.name = NodeName::new("node4").unwrap();
    fifth.public_key = KeyPair::development(SEED, "node4").public();
    file.validators.push(fifth);
    file.time = Timestamp(former.genesis().file().time.0 + 3_600_000_000);
    file
}

/// Continues it from what one of its nodes has.
fn continued(former: &Network, node: usize, file: GenesisFile) -> Result<(Genesis, InitialState), ContinueError> {
    continue_chain(former.genesis(), former.nodes().nth(node).unwrap().store().load(), file)
}

fn state(network: &mut Network, node: usize, ticket: &str) -> TicketState {
    let ticket = dtvn_messages::TicketId::new(ticket).unwrap();
    network.node(node).execution().ledger().ticket(&EventId::default_event(), &ticket).unwrap().state
}

#[test]
fn another_chain_goes_on_with_the_state_and_nothing_happens_twice() {
    let mut before = former();
    let (height, log) = (before.node(3).show().committed, before.node(3).execution().ledger().image().log);
    let (genesis, initial) = continued(&before, 3, asked(&before)).unwrap();
    assert_eq!((genesis.base(), genesis.base_log()), (height, (log.size(), log.root())));
    let mut network = Network::on(genesis, Some(initial));
    assert_eq!(network.nodes().count(), 5);
    // A key that was used is still used: the outcome is that of the former chain.
    network.submit(1, 30, consume("T0", 20));
    // What happened there is not forgotten: this ticket was consumed.
    network.submit(2, 31, consume("T0", 31));
    network.submit(4, 32, consume("T1", 32));
    network.submit(0, 33, validate("T9", 33));
    network.run();
    let Answer::Decided(decided) = &network.answers[&30] else { panic!("{:?}", network.answers[&30]) };
    let first = format!("{decided:?}");
    assert!(first.contains(&format!("height: Height({})", before.node(0).show().committed.0)), "{first}");
    assert_eq!(network.accepted(), [30, 32, 33], "a second consumption is refused");
    assert_eq!(state(&mut network, 3, "T1"), TicketState::Consumed);
    assert!(network.nodes().all(|node| node.show().committed > height));
    // Roots of state and log are those of everybody, at checkpoints as well; a node that starts again goes on.
    let media = network.kill(1);
    for number in 40..60 {
        network.submit(0, number, issue(&format!("N{number}"), number));
        network.run_for(60_000);
    }
    network.start(1, media);
    network.run();
    let shown: Vec<_> = network.nodes().map(|node| (node.show().committed_digest, node.show().stable)).collect();
    assert!(shown.windows(2).all(|pair| pair[0] == pair[1]) && shown[0].1 > height, "{shown:?}");
    assert_eq!(network.diverged, []);
    let after = network.node(4).execution().ledger().image().log;
    assert_eq!(after.size(), log.size() + 23, "one log through both chains");
}

#[test]
fn who_lost_everything_begins_with_the_file_and_who_diverged_before_a_checkpoint_too() {
    let before = former();
    let (genesis, initial) = continued(&before, 3, asked(&before)).unwrap();
    let mut network = Network::on(genesis, Some(initial));
    network.submit(0, 30, validate("T9", 30));
    network.run();
    drop(network.kill(2));
    network.start(2, network.new_media());
    // On the disk of this one a ticket is another than it was: no checkpoint is behind it that could heal it.
    let mut media = network.kill(3);
    media.store.sync();
    let (event, id) = (EventId::default_event(), dtvn_messages::TicketId::new("T1").unwrap());
    let wrong = network.node(0).execution().ledger().ticket(&event, &id).unwrap();
    media.store.alter(dtvn_messages::Ticket { state: TicketState::Consumed, ..(**wrong).clone() });
    network.start(3, media);
    network.submit(0, 31, consume("T1", 31));
    network.run();
    assert_eq!(network.accepted(), [30, 31]);
    assert!(network.installed.iter().any(|(node, height, _)| (*node, Height(*height)) == (3, network.genesis.base())));
    network.run();
    let shown: Vec<_> = network.nodes().map(|node| node.show().committed_digest).collect();
    assert!(shown.windows(2).all(|pair| pair[0] == pair[1]), "{shown:?}");
    assert_eq!(state(&mut network, 2, "T1"), TicketState::Consumed);
}

#[test]
fn a_chain_without_a_block_or_with_a_time_before_its_state_is_not_continued() {
    let network = Network::new(4);
    let nothing = continue_chain(network.genesis(), beginning(network.genesis(), None).unwrap(), asked(&network));
    assert!(matches!(nothing, Err(ContinueError::Nothing(_))));
    let former = former();
    let time = former.nodes().next().unwrap().store().load().image.timestamp;
    for (time, allowed) in [(time, false), (time.plus_micros(1), true)] {
        let file = GenesisFile { time, ..asked(&former) };
        let made = continued(&former, 3, file);
        assert_eq!(made.is_ok(), allowed, "{:?}", made.err());
    }
    let file = GenesisFile { chain_id: former.genesis().chain_id().clone(), ..asked(&former) };
    let same = continued(&former, 3, file).unwrap_err();
    assert!(same.to_string().contains("needs another chain_id"), "{same}");
}

#[test]
fn keys_whose_time_is_over_are_not_taken_over() {
    let former = former();
    let held = |file| continued(&former, 3, file).unwrap().1.image().keys.len();
    let asked = asked(&former);
    assert_eq!(held(asked.clone()), 16);
    let retention = asked.consensus.key_retention_ms * 1_000;
    let much_later = GenesisFile { time: asked.time.plus_micros(retention), ..asked };
    assert_eq!(held(much_later), 0);
}

#[test]
fn the_file_is_read_back_only_as_it_was_written() {
    let former = former();
    let (genesis, initial) = continued(&former, 3, asked(&former)).unwrap();
    let mut bytes = Vec::new();
    initial.write(&genesis, &mut bytes).unwrap();
    assert_eq!(InitialState::read(&genesis, &mut bytes.as_slice()).unwrap(), initial);
    // A node at the same height writes the same.
    let (same, other) = continued(&former, 0, asked(&former)).unwrap();
    let mut again = Vec::new();
    other.write(&same, &mut again).unwrap();
    assert_eq!((same.hash(), again), (genesis.hash(), bytes.clone()));
    for at in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] ^= 0x10;
        InitialState::read(&genesis, &mut wrong.as_slice()).expect_err("a bit is another");
        InitialState::read(&genesis, &mut &bytes[..at]).expect_err("it ends too early");
    }
    let mut long = bytes.clone();
    long.push(0);
    assert!(matches!(InitialState::read(&genesis, &mut long.as_slice()), Err(InitialStateError::Trailing)));
    let plain = former.genesis();
    assert!(matches!(InitialState::read(plain, &mut bytes.as_slice()), Err(InitialStateError::Unasked)));
    assert!(matches!(beginning(&genesis, None), Err(InitialStateError::Missing(_))));
    let mut strangers = genesis.file().clone();
    strangers.validators.pop();
    let strangers = Genesis::new(strangers).unwrap();
    let other = InitialState::read(&strangers, &mut bytes.as_slice());
    assert!(matches!(other, Err(InitialStateError::OtherState { .. })), "its validators are others");
    let mut file = genesis.file().clone();
    let root = |it: &mut Continuation| it.state_root = it.block;
    root(file.continues.as_mut().unwrap());
    let other = Genesis::new(file).unwrap();
    assert!(matches!(InitialState::read(&other, &mut bytes.as_slice()), Err(InitialStateError::OtherState { .. })));
}
