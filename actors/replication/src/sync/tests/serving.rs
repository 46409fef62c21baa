//! What those who catch up are sent.

use std::collections::BTreeMap;

use dtvn_messages::wire::{Class, CommittedBlock, decode, encode};
use dtvn_messages::{Certificate, CommittedProof, EpochEnd, Genesis, Vote, VoteKind};

use super::*;
use crate::execution::{Shelf, Snapshot, Version};

#[test]
fn an_answer_ends_with_the_last_block_that_has_a_certificate() {
    let none = |_| Ok::<_, std::convert::Infallible>(None);
    assert_eq!(serve(Height(1), Height(5), none), Ok(Vec::new()));
}

/// A shelf with one snapshot in the epoch that so many ends lead to.
fn shelf(ends: usize) -> Shelf {
    let (checked, map) = manifest(256, 3, 0);
    let mut stable = StableCheckpoint::clone(&checked.manifest.stable);
    (stable.header.epoch, stable.checkpoint.epoch) = (Epoch(1), Epoch(1));
    let block = Arc::clone(&checked.manifest.block);
    let version = Arc::new(Version { block, certificate: None, edge: LogEdge::new(), map });
    let vote =
        Vote { kind: VoteKind::Commit, epoch: Epoch(0), view: View(0), height: Height(256), digest: Digest::ZERO };
    let certificate = Certificate { vote, signatures: Signatures(Vec::new()) };
    let committed = CommittedProof { header: checked.manifest.block.header.clone(), certificate };
    let next = Genesis::development(1, "bounds", false).unwrap().validators().clone();
    let end = Arc::new(EpochEnd { committed, stable: StableCheckpoint::clone(&checked.manifest.stable), next });
    let snapshot = Arc::new(Snapshot { stable: Arc::new(stable), version });
    Shelf { snapshots: BTreeMap::from([(Height(256), snapshot)]), ends: vec![end; ends], versions: BTreeMap::new() }
}

#[test]
fn a_snapshot_behind_more_epochs_than_a_manifest_may_show_is_refused_and_not_sent() {
    let most = shelf(limits::EPOCH_ENDS_MAX);
    let sent = serve_manifest(&most, Height(256), Height(1));
    assert!(matches!(sent, PeerMessage::Snapshot(_)));
    assert!(decode(&encode(&sent).unwrap(), Class::Sync).is_ok(), "it is one that its receiver takes");
    let sent = serve_manifest(&shelf(limits::EPOCH_ENDS_MAX + 1), Height(256), Height(1));
    assert_eq!(sent, PeerMessage::SnapshotRefused { height: Height(256) });
}

/// What a store with blocks of this size, each with a certificate or only the last of some, gives who asks for all.
fn served(bundle_bytes: usize, certified_every: u64) -> Vec<CommittedBlock> {
    let block = |height: Height| {
        let header = header(height.0);
        let vote = Vote { kind: VoteKind::Commit, epoch: Epoch(0), view: View(0), height, digest: Digest::ZERO };
        let certificate = Certificate { vote, signatures: Signatures(Vec::new()) };
        let certificate = height.0.is_multiple_of(certified_every).then_some(certificate);
        let bundles = vec![Arc::new(vec![0; bundle_bytes])];
        Ok::<_, std::convert::Infallible>(Some(CommittedBlock {
            block: Arc::new(Block { header, bundles: Vec::new() }),
            certificate,
            bundles,
        }))
    };
    serve(Height(1), Height(10_000), block).unwrap()
}

#[test]
fn an_answer_has_so_many_blocks_and_bytes_and_its_receiver_takes_it() {
    assert_eq!(served(10, 1).len(), limits::SYNC_BLOCKS_MAX);
    assert_eq!(served(10, 100).len(), 200, "up to the last certificate");
    let mebibyte = 1024 * 1024;
    let large = served(mebibyte, 1);
    assert_eq!(large.len(), limits::SYNC_FRAME_BYTES_MAX / 2 / (mebibyte + 2_048));
    for (blocks, of_one_certificate) in [(large, 1), (served(3 * mebibyte, 5), 5), (served(mebibyte, 10), 10)] {
        assert!(blocks.len() >= of_one_certificate, "{} of {of_one_certificate}", blocks.len());
        let frame = encode(&PeerMessage::SyncBlocks(blocks)).unwrap();
        assert!(decode(&frame, Class::Sync).is_ok());
    }
    // Three blocks of eight megabytes under one certificate fit into no frame: their asker takes a snapshot instead.
    assert_eq!(served(8 * mebibyte, 3).len(), 0);
}
