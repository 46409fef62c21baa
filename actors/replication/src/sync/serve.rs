//! What peers that are behind are sent: committed blocks, and parts of a state that is kept at a stable checkpoint.

use std::sync::Arc;

use dtvn_messages::snapshot::Manifest;
use dtvn_messages::state::Part;
use dtvn_messages::wire::{CommittedBlock, PeerMessage};
use dtvn_messages::{Epoch, EpochEnd, Height, StableCheckpoint, limits};

use crate::archive::{Archived, bytes_of};
use crate::execution::{Shelf, Snapshot};

/// What a peer is sent that asks for the committed blocks from `from` to `to`: as far as the limits of one answer go,
/// and the last has a certificate. `block` reads one from the store; none is beyond its end, or collected. An empty answer
/// tells the peer that it needs a snapshot: also where so many large blocks have one certificate that no frame holds them.
///
/// # Errors
/// Those of `block`.
pub fn serve<E>(
    from: Height,
    to: Height,
    mut block: impl FnMut(Height) -> Result<Option<CommittedBlock>, E>,
) -> Result<Vec<CommittedBlock>, E> {
    let bytes_max = limits::SYNC_FRAME_BYTES_MAX / 2;
    // Blocks wait for the certificate of one above them, but not for more than a frame holds.
    let frame_bytes_max = limits::SYNC_FRAME_BYTES_MAX - 64 * 1_024;
    let mut blocks = Vec::new();
    let (mut bytes, mut certified) = (0, 0);
    let mut height = from;
    while height <= to && blocks.len() < limits::SYNC_BLOCKS_MAX {
        let Some(block) = block(height)? else { break };
        bytes += length(&block);
        if (bytes > bytes_max && certified > 0) || bytes > frame_bytes_max {
            break;
        }
        blocks.push(block);
        if blocks.last().is_some_and(|block| block.certificate.is_some()) {
            certified = blocks.len();
        }
        height = height.next();
    }
    blocks.truncate(certified);
    Ok(blocks)
}

/// About how long a block is in an answer, and not less.
fn length(block: &CommittedBlock) -> usize {
    let signatures = block.certificate.as_ref().map_or(0, |certificate| certificate.signatures.0.len());
    let bundles: usize = block.bundles.iter().map(|bundle| bundle.len() + 16).sum();
    bundles + 32 * block.block.bundles.len() + 66 * signatures + 1_024
}

/// What a peer is sent that asks for the manifest of the snapshot at a height: that one, or else the latest, if it is not
/// below `at_least`. `epoch` is the latest whose validators the peer knows. If more epochs lie between than one answer may
/// show, it is sent how the first of them ended: from there on it asks again.
#[must_use]
pub fn serve_manifest(
    shelf: &Shelf,
    archived: Option<&Archived>,
    height: Height,
    at_least: Height,
    epoch: Epoch,
) -> PeerMessage {
    let exact = shelf.snapshots.get(&height).map(|snapshot| Held::Fresh(snapshot));
    let exact = exact.or_else(|| archived.filter(|archived| archived.height() == height).map(Held::Archived));
    let latest = || shelf.snapshots.last_key_value().map(|(_, snapshot)| Held::Fresh(snapshot));
    let found = exact.or_else(latest).or_else(|| archived.map(Held::Archived));
    let Some(held) = found.filter(|held| held.stable().height() >= at_least) else {
        return PeerMessage::SnapshotRefused { height };
    };
    let between = epoch..held.stable().epoch();
    let mut ends = shelf.ends.iter().filter(|end| between.contains(&end.epoch())).cloned();
    let shown: Vec<Arc<EpochEnd>> = ends.by_ref().take(limits::EPOCH_ENDS_MAX).collect();
    if ends.next().is_some() {
        return PeerMessage::EpochEnds(shown);
    }
    PeerMessage::Snapshot(Arc::new(match held {
        Held::Fresh(snapshot) => manifest(snapshot, shown),
        Held::Archived(archived) => archived.manifest(shown),
    }))
}

/// A state that can be served.
enum Held<'a> {
    Fresh(&'a Snapshot),
    Archived(&'a Archived),
}

impl Held<'_> {
    fn stable(&self) -> &StableCheckpoint {
        match self {
            Self::Fresh(snapshot) => &snapshot.stable,
            Self::Archived(archived) => archived.stable(),
        }
    }
}

pub(crate) fn manifest(snapshot: &Snapshot, ends: Vec<Arc<EpochEnd>>) -> Manifest {
    let version = &snapshot.version;
    Manifest {
        stable: Arc::clone(&snapshot.stable),
        block: Arc::clone(&version.block),
        certificate: version.certificate.clone(),
        cut: version.map.cut(limits::SNAPSHOT_PART_BYTES),
        edge: version.edge.levels().to_vec(),
        ends,
    }
}

/// What a peer is sent that asks for a part of the snapshot at a height.
#[must_use]
pub fn serve_part(shelf: &Shelf, archived: Option<&Archived>, height: Height, part: Part) -> PeerMessage {
    let fresh = shelf.snapshots.get(&height).and_then(|snapshot| bytes_of(snapshot, &part));
    let archived = || archived.filter(|archived| archived.height() == height)?.part(&part);
    match fresh.or_else(archived) {
        Some(entries) => PeerMessage::Part { height, part, entries: Arc::new(entries) },
        None => PeerMessage::SnapshotRefused { height },
    }
}
