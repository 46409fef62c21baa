//! State root, divergence and snapshots between whole nodes (consensus.md sections 5 and 7).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_messages::snapshot::Manifest;
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    Action, ChainId, Epoch, EventId, Genesis, Operation, Ticket, TicketId, TicketState, ValidatorIndex,
};
use dtvn_replication::archive::Archived;
use dtvn_replication::log::MemoryDisk;
use dtvn_replication::node::{Input, Media, MemoryStore};

use crate::harness::{Network, issue, validate};

/// Four nodes that keep few blocks.
fn forgetful() -> Network {
    Network::with(4, |parameters| {
        parameters.log_window = 12;
        parameters.retain_blocks = 12;
    })
}

/// Issues tickets, one block each, at nodes in turn.
fn work(network: &mut Network, first: u64, count: u64, nodes: &[usize]) {
    for number in first..first + count {
        let node = nodes[usize::try_from(number).unwrap() % nodes.len()];
        network.submit(node, number, issue(&format!("T{number}"), number));
        network.run_for(60_000);
    }
}

/// All nodes that run have the same state.
fn assert_alike(network: &mut Network) {
    network.run();
    network.run();
    let shown: Vec<_> = network.nodes().map(|node| (node.show().committed, node.show().committed_digest)).collect();
    assert!(shown.windows(2).all(|pair| pair[0] == pair[1]), "{shown:?}");
    let genesis = network.genesis().clone();
    let roots: BTreeSet<_> =
        network.nodes().map(|node| node.execution().ledger().image().state_root(&genesis)).collect();
    assert_eq!(roots.len(), 1);
    let stored: BTreeSet<_> = network.nodes().map(|node| node.store().load().image.state_root(&genesis)).collect();
    assert_eq!(stored, roots, "what is stored is what the ledger has");
}

fn altered(network: &mut Network, state: TicketState) -> Ticket {
    let ticket = TicketId::new("T2").unwrap();
    let found = network.node(3).execution().ledger().ticket(&EventId::default_event(), &ticket).cloned();
    let ticket = Arc::unwrap_or_clone(found.unwrap());
    Ticket { data: Some("altered on the disk".into()), state, ..ticket }
}

/// Ends node 3; on what it leaves behind the ticket T2 is altered, and in this state.
fn wrong_media(network: &mut Network, state: TicketState) -> Media<MemoryDisk> {
    let wrong = altered(network, state);
    let mut media = network.kill(3);
    media.store.sync();
    media.store.alter(wrong);
    media
}

fn start_with_wrong_ticket(network: &mut Network, state: TicketState) {
    let media = wrong_media(network, state);
    network.start(3, media);
    network.run();
}

#[test]
fn a_node_that_is_late_by_more_than_others_keep_gets_a_snapshot_and_goes_on() {
    let mut network = forgetful();
    work(&mut network, 0, 6, &[0, 1, 2, 3]);
    let media = network.kill(3);
    work(&mut network, 10, 40, &[0, 1, 2]);
    assert!(network.node(0).store().block(dtvn_messages::Height(10)).is_none(), "it was collected");
    network.start(3, media);
    network.run();
    let [(3, height, None)] = network.installed.as_slice() else { panic!("{:?}", network.installed) };
    assert!(*height >= 36 && height.is_multiple_of(4), "{height}");
    let height = *height;
    let archived = network.node(3).store().archived().map(|archived| archived.height().0);
    assert_eq!(archived, Some(height), "it has no blocks below, and can give others what it was given");
    work(&mut network, 60, 10, &[3, 0]);
    assert_alike(&mut network);
    assert_eq!(network.accepted().len(), 6 + 40 + 10);
    assert!(network.node(3).show().voting);
}

/// All that a node shows to others must outlive its process: here nobody comes to another checkpoint without the late one.
#[test]
fn a_node_that_is_late_gets_a_snapshot_although_all_others_were_started_again() {
    let mut network = forgetful();
    work(&mut network, 0, 6, &[0, 1, 2, 3]);
    let late = network.kill(3);
    work(&mut network, 10, 41, &[0, 1, 2]);
    let others = [0, 1, 2].map(|node| network.kill(node));
    for (node, mut media) in others.into_iter().enumerate().skip(1) {
        media.store.sync();
        network.start(node, media);
        assert!(network.node(node).execution().shelf().snapshots.is_empty(), "not between two checkpoints");
        assert!(network.node(node).store().block(dtvn_messages::Height(20)).is_none(), "it was collected");
    }
    network.start(3, late);
    // It asks node 0 first.
    network.run_for(10_000_000);
    let [(3, height, None)] = network.installed.as_slice() else { panic!("{:?}", network.installed) };
    assert!(*height >= 32 && height.is_multiple_of(4), "{height}");
    work(&mut network, 60, 3, &[1, 2, 3]);
    assert_alike(&mut network);
    assert_eq!(network.accepted().len(), 6 + 41 + 3);
}

#[test]
fn of_an_archived_state_on_a_disk_nothing_is_believed() {
    let mut network = forgetful();
    work(&mut network, 0, 20, &[0, 1, 2, 3]);
    let genesis = network.genesis().clone();
    let manifest = network.node(0).store().archived().unwrap().manifest(Vec::new());
    let scheme = Arc::clone(&network.node(0).settings().scheme);
    let open = |manifest: &Manifest, genesis: &Genesis| {
        let source = Arc::new(BTreeMap::new());
        Archived::open(manifest.clone(), &[], genesis, &*scheme, source).map(|archived| archived.height())
    };
    assert_eq!(open(&manifest, &genesis), Ok(manifest.stable.height()));
    let faults: [fn(&mut Manifest); 4] = [
        |manifest| Arc::make_mut(&mut manifest.stable).signatures.0.clear(),
        |manifest| Arc::make_mut(&mut manifest.stable).checkpoint.state_root.0[0] ^= 1,
        |manifest| manifest.cut.0[0].1.0[0] ^= 1,
        |manifest| manifest.edge[0][0].0[0] ^= 1,
    ];
    for fault in faults {
        let mut false_one = manifest.clone();
        fault(&mut false_one);
        assert!(open(&false_one, &genesis).is_err());
    }
    let mut other = genesis.file().clone();
    other.chain_id = ChainId::new("another").unwrap();
    let other = Genesis::new(other).unwrap();
    assert!(open(&manifest, &other).is_err(), "of another chain");
}

#[test]
fn a_node_that_lost_its_log_and_its_state_gets_both_back_and_its_vote_by_a_new_epoch() {
    let mut network = forgetful();
    work(&mut network, 0, 30, &[0, 1, 2, 3]);
    network.kill(3);
    work(&mut network, 40, 10, &[0, 1, 2]);
    network.start(3, Media { used_before: true, ..network.new_media() });
    work(&mut network, 60, 10, &[0, 1, 2]);
    assert_alike(&mut network);
    assert_eq!(network.installed.len(), 1);
    assert!(network.node(3).show().voting);
    assert_eq!(network.node(3).config().epoch, Epoch(1));
}

/// An operation that fills segments of the log soon.
fn heavy(number: u64) -> Operation {
    let mut operation = issue(&format!("T{number}"), number);
    if let Action::Issue { data, .. } = &mut operation.action {
        *data = Some("x".repeat(4_000).into());
    }
    operation
}

/// Node 3 loses its derived state; the others go on meanwhile. Says how many snapshots it took to be alike again.
fn without_state(blocks: u64, make: fn(u64) -> Operation) -> usize {
    let mut network = forgetful();
    for number in 0..blocks {
        network.submit(usize::try_from(number % 4).unwrap(), number, make(number));
        network.run_for(60_000);
    }
    let media = network.kill(3);
    work(&mut network, 200, 10, &[0, 1, 2]);
    let genesis = network.genesis().clone();
    network.start(3, Media { store: MemoryStore::new(&genesis), ..media });
    network.run();
    // Two others and this one are a quorum.
    network.kill(0);
    work(&mut network, 260, 10, &[1, 2, 3]);
    assert_alike(&mut network);
    assert_eq!(network.accepted().len() as u64, blocks + 20);
    network.installed.len()
}

#[test]
fn a_node_that_lost_its_state_rebuilds_it_from_its_log_or_from_peers_and_votes() {
    let small = |number: u64| issue(&format!("T{number}"), number);
    assert_eq!(without_state(30, small), 0, "its log held every block");
    assert_eq!(without_state(100, heavy), 1, "segments of its log were collected");
}

#[test]
fn a_state_that_was_altered_on_disk_is_found_at_the_next_checkpoint_named_and_healed() {
    let mut network = Network::new(4);
    work(&mut network, 0, 9, &[0, 1, 2, 3]);
    start_with_wrong_ticket(&mut network, TicketState::Issued);
    assert_eq!(network.diverged, [], "nobody looked yet");
    work(&mut network, 20, 8, &[0, 1, 2]);
    assert_alike(&mut network);
    let [(3, height)] = network.diverged.as_slice() else { panic!("{:?}", network.diverged) };
    assert!(height.is_multiple_of(4));
    let [(3, installed, Some(difference))] = network.installed.as_slice() else { panic!("{:?}", network.installed) };
    assert_eq!(installed, height, "the state at the height where it differed was fetched, to compare");
    assert!(difference.contains("ticket T2 of event default"), "{difference}");
    let show = network.node(3).show();
    assert!(show.voting && !show.diverged);
}

#[test]
fn a_state_that_leads_to_another_log_is_found_at_a_prepared_certificate_and_healed() {
    let mut network = Network::new(4);
    work(&mut network, 0, 9, &[0, 1, 2, 3]);
    start_with_wrong_ticket(&mut network, TicketState::Revoked);
    network.submit(0, 30, validate("T2", 30));
    network.run();
    assert_eq!(network.diverged.len(), 1, "{:?}", network.diverged);
    assert_eq!(network.accepted().last(), Some(&30));
    assert_alike(&mut network);
    assert_eq!(network.installed.len(), 1);
    assert!(network.node(3).show().voting);
}

#[test]
fn before_the_first_checkpoint_a_wrong_state_is_made_anew_from_the_log() {
    let mut network = Network::with(4, |parameters| {
        parameters.checkpoint_interval = 64;
        parameters.log_window = 256;
    });
    work(&mut network, 0, 9, &[0, 1, 2, 3]);
    start_with_wrong_ticket(&mut network, TicketState::Revoked);
    network.submit(0, 30, validate("T2", 30));
    assert_alike(&mut network);
    assert_eq!(network.diverged.len(), 1);
    assert_eq!(network.installed, [(3, 0, None)]);
    assert!(network.node(3).show().voting);
}

#[test]
fn a_diverged_node_signs_nothing_until_it_is_healed() {
    let mut network = Network::new(4);
    work(&mut network, 0, 9, &[0, 1, 2, 3]);
    let media = wrong_media(&mut network, TicketState::Issued);
    // Nobody gives it a snapshot.
    network.tamper = Some(Box::new(|_, to, message| match message {
        PeerMessage::Snapshot(_) if to == 3 => None,
        message => Some(message),
    }));
    network.start(3, media);
    work(&mut network, 20, 8, &[0, 1, 2]);
    network.run();
    assert_eq!(network.diverged.len(), 1);
    let votes = |network: &Network| {
        network.said(3, |message| {
            matches!(message, PeerMessage::Vote(_) | PeerMessage::PrePrepare(_) | PeerMessage::Checkpoint(_))
        })
    };
    let before = votes(&network);
    work(&mut network, 40, 8, &[0, 1, 2]);
    assert_eq!(votes(&network), before);
    assert!(!network.node(3).show().voting && network.node(3).show().diverged);
    network.tamper = None;
    network.run_for(30_000_000);
    work(&mut network, 60, 4, &[0, 1, 2]);
    assert_alike(&mut network);
    assert!(votes(&network) > before);
}

/// A late node and a peer that answers requests for snapshots as `tamper` says.
fn late_with(tamper: crate::harness::Tamper) -> Network {
    let mut network = forgetful();
    work(&mut network, 0, 6, &[0, 1, 2, 3]);
    let media = network.kill(3);
    work(&mut network, 10, 40, &[0, 1, 2]);
    network.tamper = Some(tamper);
    network.start(3, media);
    network.run_for(30_000_000);
    assert_alike(&mut network);
    assert_eq!(network.installed.len(), 1, "{:?}", network.installed);
    network
}

fn blames(network: &Network, peer: usize) -> usize {
    network.blamed.iter().filter(|line| line.starts_with(&format!("3 blames {peer}"))).count()
}

#[test]
fn a_peer_that_sends_false_parts_is_blamed_and_replaced() {
    let network = late_with(Box::new(|from, _, message| {
        Some(match message {
            PeerMessage::Part { height, part, entries } if from != 2 => {
                let mut other = entries.to_vec();
                *other.last_mut().unwrap() ^= 1;
                PeerMessage::Part { height, part, entries: Arc::new(other) }
            }
            message => message,
        })
    }));
    assert!(blames(&network, 0) + blames(&network, 1) > 0, "{:?}", network.blamed);
    assert_eq!(blames(&network, 2), 0);
}

#[test]
fn a_manifest_without_a_quorum_or_of_another_state_is_blamed_and_nothing_of_it_is_installed() {
    for fault in 0..4 {
        let network = late_with(Box::new(move |from, _, message| {
            Some(match message {
                PeerMessage::Snapshot(manifest) if from != 1 => {
                    let mut manifest = Arc::unwrap_or_clone(manifest);
                    let mut stable = Arc::unwrap_or_clone(manifest.stable);
                    match fault {
                        0 => drop(stable.signatures.0.pop()),
                        1 => stable.checkpoint.state_root.0[0] ^= 1,
                        2 => manifest.cut.0[0].1.0[0] ^= 1,
                        _ => manifest.edge[0][0].0[0] ^= 1,
                    }
                    manifest.stable = Arc::new(stable);
                    PeerMessage::Snapshot(Arc::new(manifest))
                }
                message => message,
            })
        }));
        assert!(blames(&network, 0) + blames(&network, 2) > 0, "fault {fault}: {:?}", network.blamed);
        assert_eq!(blames(&network, 1), 0);
    }
}

#[test]
fn peers_that_refuse_or_say_nothing_are_replaced_without_blame() {
    for silent in [false, true] {
        let network = late_with(Box::new(move |from, _, message| match message {
            PeerMessage::Snapshot(_) | PeerMessage::Part { .. } if from != 0 && silent => None,
            PeerMessage::Snapshot(manifest) if from != 0 => {
                Some(PeerMessage::SnapshotRefused { height: manifest.stable.height() })
            }
            PeerMessage::Part { height, .. } if from != 0 => Some(PeerMessage::SnapshotRefused { height }),
            message => Some(message),
        }));
        assert_eq!(network.blamed, [] as [String; 0]);
    }
}

#[test]
fn what_was_fetched_before_a_restart_is_not_fetched_again() {
    let mut network = forgetful();
    for number in 0..200u64 {
        network.submit(usize::try_from(number % 3).unwrap(), number, heavy(number));
        network.run_for(20_000);
    }
    network.run();
    network.kill(3);
    // Of the parts only the first few arrive; then the process ends.
    let mut passed = 0;
    network.tamper = Some(Box::new(move |_, to, message| match message {
        PeerMessage::Part { .. } if to == 3 => {
            passed += 1;
            (passed <= 2).then_some(message)
        }
        message => Some(message),
    }));
    network.start(3, Media { used_before: true, ..network.new_media() });
    network.run();
    let media = network.kill(3);
    assert_eq!(media.parts.len(), 2);
    let kept: BTreeSet<_> = media.parts.keys().copied().collect();
    network.tamper = None;
    network.sent.clear();
    network.start(3, media);
    network.run();
    assert_alike(&mut network);
    assert_eq!(network.installed.len(), 1);
    let hash = |message: &PeerMessage| match message {
        PeerMessage::Part { part, entries, .. } => {
            part.hash_of(&dtvn_messages::snapshot::decode_entries(entries).unwrap())
        }
        _ => None,
    };
    let again: Vec<_> = network.sent.iter().filter_map(|(_, message)| hash(message)).collect();
    assert!(again.len() >= 2 && again.iter().all(|hash| !kept.contains(hash)), "{} parts were fetched", again.len());
    let servers: BTreeSet<_> = network.sent.iter().map(|(from, _)| *from).collect();
    assert!(servers.len() > 1, "several peers at once");
}

#[test]
fn a_part_that_nobody_asked_for_is_dropped() {
    let mut network = forgetful();
    work(&mut network, 0, 20, &[0, 1, 2, 3]);
    let part = dtvn_messages::state::Part::WHOLE;
    let height = network.node(0).show().stable;
    let message = PeerMessage::PartRequest { height, part };
    network.input(0, Input::Message { from: ValidatorIndex(3), message });
    let (_, sent) = network.sent.last().cloned().unwrap();
    assert!(matches!(sent, PeerMessage::Part { .. }));
    network.input(3, Input::Message { from: ValidatorIndex(0), message: sent });
    assert!(network.kill(3).parts.is_empty());
    assert_eq!(network.blamed, [] as [String; 0]);
}
