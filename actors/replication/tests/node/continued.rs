//! A chain that goes on where another one ended (`dtvn genesis --from-checkpoint`).

use std::io;
use std::sync::Arc;

use dtvn_messages::genesis::{Continuation, GenesisFile};
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    ChainId, Digest, EventId, Genesis, Height, KeyPair, NodeName, Ticket, TicketId, TicketState, Timestamp, View,
    VoteKind, limits,
};
use dtvn_pbft::Record;
use dtvn_replication::initial::{ContinueError, InitialState, InitialStateError, beginning, continue_chain};
use dtvn_replication::intake::Answer;
use dtvn_replication::left::{Left, LeftError, PreparedBlock, bring_up};
use dtvn_replication::log::{LogIdentity, MemoryDisk};
use dtvn_replication::logbook::LogBook;
use dtvn_replication::node::{Media, MemoryStore};
use dtvn_replication::record::LogRecord;

use crate::harness::{LOG_LIMITS, Network, SEED, consume, issue, validate};

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
    let stored = former.nodes().nth(node).unwrap().store().load();
    continue_chain(former.genesis(), stored, file).map(|(genesis, initial, _)| (genesis, initial))
}

/// What the log of node 3 holds after a loss of power.
fn records(network: &Network, mut disk: MemoryDisk) -> Vec<LogRecord> {
    disk.crash(|_| 0);
    let genesis = network.genesis();
    let identity = LogIdentity::new(genesis.chain_id(), &NodeName::new("node3").unwrap(), &genesis.hash());
    LogBook::open(disk, identity, LOG_LIMITS, genesis.chain_id()).unwrap().1
}

/// What a node that is left has: its store, and its log after a loss of power.
fn left(network: &Network, media: Media<MemoryDisk>) -> Left {
    let Media { disk, store, .. } = media;
    bring_up(network.genesis(), store.load(), &records(network, disk)).unwrap()
}

/// The consumption of `T1` is committed at node 2 alone, which is lost, and prepared by the others. Gives the height below.
fn prepared() -> (Network, Height) {
    let mut network = former();
    let before = network.node(3).show().committed;
    // Only node 2 hears COMMITs, and answers its client; nobody hears that of it.
    network.tamper = Some(Box::new(|from, to, message| match &message {
        PeerMessage::Vote(vote) if vote.body.kind == VoteKind::Commit && to != 2 => None,
        PeerMessage::Vote(_) | PeerMessage::PrePrepare(_) | PeerMessage::Bundle(_) => Some(message),
        _ if from == 2 => None,
        _ => Some(message),
    }));
    network.submit(2, 30, consume("T1", 30));
    network.run_for(300_000);
    assert!(network.accepted().contains(&30), "its client was told");
    drop(network.kill(2));
    assert_eq!(network.node(3).show().committed, before, "it does not know");
    (network, before)
}

#[test]
fn a_block_that_only_a_lost_node_saw_committed_is_taken_over_from_one_that_prepared_it() {
    let (mut network, before) = prepared();
    let media = network.kill(3);
    let left = left(&network, media);
    assert_eq!((left.committed, left.logged, left.lacking), (before, before, None));
    let [PreparedBlock { height, view, block }] = left.prepared.as_slice() else { panic!("{:?}", left.prepared) };
    assert_eq!((*height, *view), (before.next(), View(0)));
    let (genesis, initial, _) = continue_chain(network.genesis(), left.stored, asked(&network)).unwrap();
    let continues = genesis.file().continues.clone().unwrap();
    assert_eq!((continues.height, continues.block), (before.next(), *block));
    let mut network = Network::on(genesis, Some(initial));
    assert_eq!(state(&mut network, 0, "T1"), TicketState::Consumed);
    network.submit(1, 31, consume("T1", 31));
    network.run();
    assert!(network.accepted().is_empty(), "it is not consumed twice");
}

#[test]
fn a_database_on_which_no_quorum_prepared_the_next_block_is_not_gone_on_with() {
    let (mut network, before) = prepared();
    let mut media = network.kill(3);
    media.store.sync();
    // Here the ticket was consumed before: the consumption would be refused.
    let (event, id) = (EventId::default_event(), TicketId::new("T1").unwrap());
    let ticket = network.node(0).execution().ledger().ticket(&event, &id).unwrap();
    media.store.alter(Ticket { state: TicketState::Consumed, ..(**ticket).clone() });
    let Media { disk, store, .. } = media;
    let refused = bring_up(network.genesis(), store.load(), &records(&network, disk)).unwrap_err();
    assert_eq!(refused, LeftError::Diverged(before.next()));
    assert!(refused.to_string().starts_with("this database differs from what a quorum prepared at height"));
}

#[test]
fn a_prepared_block_that_cannot_be_taken_over_is_named() {
    let (mut network, before) = prepared();
    let Media { disk, store, .. } = network.kill(3);
    let records = records(&network, disk);
    let is_bundle = |record: &LogRecord| matches!(record, LogRecord::Bundle(_));
    let is_proposal = |record: &LogRecord| {
        let LogRecord::Replica(Record::Proposal { block, .. }) = record else { return false };
        block.header.height == before.next()
    };
    let without = |is_lost: &dyn Fn(&LogRecord) -> bool| {
        let kept: Vec<LogRecord> = records.iter().filter(|record| !is_lost(record)).cloned().collect();
        let left = bring_up(network.genesis(), store.load(), &kept).unwrap();
        assert_eq!((left.committed, left.prepared.len()), (before, 0));
        left.lacking.map(|lacking| (lacking.height, lacking.what))
    };
    assert_eq!(without(&is_bundle), Some((before.next(), "all of its operations")));
    assert_eq!(without(&is_proposal), Some((before.next(), "its contents")));
}

#[test]
fn a_state_that_is_behind_its_log_is_brought_up_to_it() {
    let mut network = former();
    let expected = network.node(3).store().load();
    let mut media = network.kill(3);
    // Not a block of the store was on the disk.
    media.store = MemoryStore::new(network.genesis());
    let left = left(&network, media);
    assert_eq!((left.committed, left.prepared.len()), (expected.image.height, 0));
    let genesis = network.genesis();
    assert_eq!(left.stored.image.state_root(genesis), expected.image.state_root(genesis));
    let root = |stored| continue_chain(genesis, stored, asked(&network)).map(|(made, _, root)| (made.hash(), root));
    assert_eq!(root(left.stored).unwrap(), root(expected).unwrap());
}

#[test]
fn a_state_that_is_not_what_was_certified_is_not_gone_on_with() {
    let former = former();
    let load = || former.nodes().nth(3).unwrap().store().load();
    let refused = |stored| continue_chain(former.genesis(), stored, asked(&former)).map(drop).unwrap_err().to_string();
    let mut other_log = load();
    other_log.block.as_mut().unwrap().block.header.log_root = Digest([7; 32]);
    assert!(refused(other_log).contains("its transparency log is"));
    // As if the last block were at a checkpoint.
    let mut other_state = load();
    let height = other_state.image.height;
    other_state.stable.as_mut().unwrap().checkpoint.height = height;
    assert!(refused(other_state).contains("its state is"));
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

/// A file on a disk that fails.
struct Unreadable;

impl io::Read for Unreadable {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("no medium"))
    }
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
    for at in 0..b"dtvn/initial-state/1".len() {
        let short = InitialState::read(&genesis, &mut &bytes[..at]);
        assert!(matches!(short, Err(InitialStateError::Magic)), "it is not even the beginning of one");
    }
    let mut long = bytes.clone();
    long.push(0);
    assert!(matches!(InitialState::read(&genesis, &mut long.as_slice()), Err(InitialStateError::Trailing)));
    let at = b"dtvn/initial-state/1\n".len();
    for length in [limits::SNAPSHOT_PART_BYTES_MAX as u32 + 5, u32::MAX] {
        let endless = [&bytes[..at], &length.to_be_bytes(), &bytes[at + 4..]].concat();
        let refused = InitialState::read(&genesis, &mut endless.as_slice());
        assert!(matches!(refused, Err(InitialStateError::TooLong(found)) if found == u64::from(length)));
    }
    let refused = InitialState::read(&genesis, &mut Unreadable);
    assert!(matches!(refused, Err(InitialStateError::Io(_))), "a disk that fails says nothing about the file");
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

#[test]
fn a_large_state_is_written_in_parts_that_a_reader_takes() {
    let former = former();
    let mut stored = former.nodes().next().unwrap().store().load();
    // As if there had been no checkpoint at this height, which would name another state.
    stored.stable = None;
    let one = stored.image.tickets[0].clone();
    let more = (0..5_000_u64)
        .map(|n| Arc::new(Ticket { id: TicketId::new(&format!("more-{n:05}")).unwrap(), ..(*one).clone() }));
    stored.image.tickets.extend(more);
    let (genesis, initial, _) = continue_chain(former.genesis(), stored, asked(&former)).unwrap();
    let mut bytes = Vec::new();
    initial.write(&genesis, &mut bytes).unwrap();
    assert_eq!(InitialState::read(&genesis, &mut bytes.as_slice()).unwrap(), initial);
    // Magic, the edge of the log, the parts, and an empty record.
    let (mut rest, mut lengths) = (&bytes[b"dtvn/initial-state/1\n".len()..], Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        lengths.push(length as u64);
        rest = &after[length..];
    }
    let parts = &lengths[1..lengths.len() - 1];
    let (last, full) = parts.split_last().unwrap();
    assert!(!full.is_empty() && *last > 0);
    // An entry is far smaller than half a part; a part begins with the number of its entries.
    assert!(
        full.iter().all(|length| (limits::SNAPSHOT_PART_BYTES / 2..=limits::SNAPSHOT_PART_BYTES + 4).contains(length))
    );
}
