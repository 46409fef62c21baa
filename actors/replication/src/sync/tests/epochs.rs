//! A snapshot that lies many epochs ahead.

use std::collections::BTreeMap;

use dtvn_messages::block::bundles_root;
use dtvn_messages::crypto::DEVELOPMENT_SEED;
use dtvn_messages::wire::{Class, decode, encode};
use dtvn_messages::{Certificate, CommittedProof, Ed25519, EpochEnd, Genesis, KeyPair, Statement, Vote, VoteKind};
use dtvn_pbft::Config;

use super::super::assemble::all_ends;
use super::*;
use crate::execution::{Shelf, Snapshot, Version};
use crate::verify::{Fault, Verifier};

/// A chain of one validator, who goes on alone from epoch to epoch.
struct OneMan {
    genesis: Genesis,
    key: KeyPair,
}

impl OneMan {
    fn new() -> Self {
        let genesis = Genesis::development(1, DEVELOPMENT_SEED, false).unwrap();
        Self { genesis, key: KeyPair::development(DEVELOPMENT_SEED, "node0") }
    }

    fn signed(&self, statement: &impl Statement) -> Signatures {
        let signature = self.key.sign(&statement.signed_bytes(self.genesis.chain_id()));
        Signatures(vec![(ValidatorIndex(0), signature)])
    }

    /// The only checkpoint of an epoch.
    fn stable(&self, epoch: u64, next_epoch: u64, state_root: Digest) -> StableCheckpoint {
        let (bundles_root, log_root) = (bundles_root(&[]), LogEdge::new().frontier().root());
        let header = Header { epoch: Epoch(epoch), bundles_root, log_root, ..header(4 * (epoch + 1)) };
        let checkpoint = Checkpoint {
            epoch: header.epoch,
            height: header.height,
            block: header.digest(self.genesis.chain_id()),
            state_root,
            next_epoch: Epoch(next_epoch),
            next_set: self.genesis.validators().hash(),
        };
        StableCheckpoint { header, checkpoint, signatures: self.signed(&checkpoint) }
    }

    fn end(&self, epoch: u64) -> Arc<EpochEnd> {
        let stable = self.stable(epoch, epoch + 1, Digest::ZERO);
        let (header, digest) = (stable.header.clone(), stable.checkpoint.block);
        let vote = Vote { kind: VoteKind::Commit, epoch: header.epoch, view: View(0), height: header.height, digest };
        let committed = CommittedProof { header, certificate: Certificate { vote, signatures: self.signed(&vote) } };
        Arc::new(EpochEnd { committed, stable, next: self.genesis.validators().clone() })
    }

    /// A shelf with a snapshot in an epoch, before which so many ended.
    fn shelf(&self, epochs: u64) -> Shelf {
        let (_, map) = manifest(256, 3, 0);
        let stable = Arc::new(self.stable(epochs, epochs, map.root()));
        let block = Arc::new(Block { header: stable.header.clone(), bundles: Vec::new() });
        let version = Arc::new(Version { block, certificate: None, edge: LogEdge::new(), map });
        let snapshots = BTreeMap::from([(stable.height(), Arc::new(Snapshot { stable, version }))]);
        Shelf { snapshots, ends: (0..epochs).map(|epoch| self.end(epoch)).collect(), versions: BTreeMap::new() }
    }

    /// What a node in an epoch checks with.
    fn verifier(&self, epoch: u64) -> Verifier {
        let verifier = Verifier::of(&Config::from_genesis(&self.genesis, None), Arc::new(Ed25519));
        Verifier { epoch: Epoch(epoch), ..verifier }
    }
}

/// What an asker that knows the validators of an epoch is sent, as it arrives.
fn sent(shelf: &Shelf, epoch: Epoch) -> PeerMessage {
    let sent = serve_manifest(shelf, None, Height(1), Height(1), epoch);
    decode(&encode(&sent).unwrap(), Class::Sync).expect("it is one that its receiver takes")
}

fn epochs_of(ends: &[Arc<EpochEnd>]) -> Vec<u64> {
    ends.iter().map(|end| end.epoch().0).collect()
}

#[test]
fn a_snapshot_behind_any_number_of_epochs_is_reached_in_several_answers() {
    let chain = OneMan::new();
    let most = limits::EPOCH_ENDS_MAX as u64;
    let count = 2 * most + 3;
    let (shelf, verifier) = (chain.shelf(count), chain.verifier(0));
    let mut shown = Vec::new();
    let mut epoch = Epoch(0);
    let checked = loop {
        match sent(&shelf, epoch) {
            PeerMessage::EpochEnds(ends) => {
                shown.push(ends.len() as u64);
                epoch = verifier.epoch_ends(&ends).unwrap();
            }
            PeerMessage::Snapshot(manifest) => {
                shown.push(manifest.ends.len() as u64);
                break verifier.manifest(manifest).unwrap().expect("it leads there");
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((shown, epoch), (vec![most, most, 3], Epoch(2 * most)));
    assert_eq!(epochs_of(&checked.ends), (0..count).collect::<Vec<_>>());
    // Who is not so far behind needs one answer.
    for (known, lacking) in [(count - most, most), (count - 1, 1), (count, 0)] {
        let PeerMessage::Snapshot(manifest) = sent(&shelf, Epoch(known)) else { panic!("{known} of {count}") };
        assert_eq!(manifest.ends.len() as u64, lacking);
        assert!(chain.verifier(known).manifest(manifest).unwrap().is_some());
    }
}

#[test]
fn what_leads_nowhere_is_left_out_without_blame_and_what_is_forged_is_not_gone_along() {
    let chain = OneMan::new();
    let (shelf, verifier) = (chain.shelf(5), chain.verifier(0));
    let PeerMessage::Snapshot(later) = sent(&shelf, Epoch(2)) else { panic!("it is near") };
    assert_eq!(verifier.manifest(Arc::clone(&later)).unwrap(), None, "how two epochs ended is missing");
    assert_eq!(verifier.epoch_ends(&shelf.ends[2..]).unwrap(), Epoch(0));
    let mut forged = shelf.ends.clone();
    Arc::make_mut(&mut forged[1]).stable.signatures.0[0].1.0[7] ^= 1;
    assert!(matches!(verifier.epoch_ends(&forged), Err(Fault::Certificate(_))));
    assert_eq!(verifier.epoch_ends(&[]).unwrap(), Epoch(0), "nothing of it is kept");
    assert_eq!(verifier.epoch_ends(&shelf.ends[..2]).unwrap(), Epoch(2));
    assert_eq!(
        verifier.epoch_ends(&shelf.ends[..3]).unwrap(),
        Epoch(3),
        "what is known comes again, and something new"
    );
    let checked = verifier.manifest(later).unwrap().expect("it leads there by now");
    assert_eq!(epochs_of(&checked.ends), [0, 1, 2, 3, 4]);
}

#[test]
fn a_node_keeps_the_ends_that_it_saw_itself_before_those_that_it_was_shown() {
    let chain = OneMan::new();
    let shelf = chain.shelf(9);
    let PeerMessage::Snapshot(manifest) = sent(&shelf, Epoch(5)) else { panic!("it is near") };
    let checked = chain.verifier(5).manifest(manifest).unwrap().unwrap();
    assert_eq!(epochs_of(&checked.ends), [5, 6, 7, 8]);
    for own in [&shelf.ends[..5], &shelf.ends[..7]] {
        assert_eq!(epochs_of(&all_ends(own, &checked)), (0..9).collect::<Vec<_>>());
    }
}

/// The epoch from which on a step asks how epochs ended.
fn named(effects: &[Effect]) -> Option<Epoch> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send { message: PeerMessage::SnapshotRequest { epoch, .. }, .. } => Some(*epoch),
        _ => None,
    })
}

#[test]
fn who_is_shown_how_epochs_ended_asks_the_next_peer_from_there_on() {
    let mut sync = Sync::new(Epoch(7), (0..9).map(ValidatorIndex).collect(), (Height(0), RETAINED), BTreeSet::new());
    let effects = ask(&mut sync, 1, 9_999, &[2]);
    assert_eq!(named(&effects), Some(Epoch(7)));
    let first = manifest_asked(&effects).unwrap();
    let effects = step(&mut sync, Input::EpochEnds { from: first, leads_to: Epoch(263) });
    assert_eq!(named(&effects), Some(Epoch(263)));
    let second = manifest_asked(&effects).unwrap();
    let unasked = step(&mut sync, Input::EpochEnds { from: first, leads_to: Epoch(300) });
    assert_eq!(named(&unasked), None, "its turn is over");
    let effects = step(&mut sync, Input::EpochEnds { from: second, leads_to: Epoch(263) });
    assert_eq!(named(&effects), Some(Epoch(263)), "nothing new was shown");
    let third = manifest_asked(&effects).unwrap();
    assert!(first != second && second != third && first != third);
    let effects = step(&mut sync, Input::Manifest { from: third, checked: manifest(256, 3, 0).0 });
    assert!(!parts_asked(&effects).is_empty());
    sync.begin_epoch(Epoch(8), (0..9).map(ValidatorIndex).collect());
    assert_eq!(named(&ask(&mut sync, 1, 9_999, &[2])), Some(Epoch(8)));
}
