//! Lying checkpoints and sync.

use std::sync::Arc;

use dtvn_messages::limits::{SNAPSHOT_PART_BYTES_MAX, SYNC_BLOCKS_MAX};
use dtvn_messages::snapshot::Manifest;
use dtvn_messages::wire::{CommittedBlock, PeerMessage, Status};
use dtvn_messages::{Block, Checkpoint, Height, sha256};

use dtvn_replication::sync::serve_manifest;

use super::{Behaviour, Filter, Lie, Moment, Payload, Said, one};

/// How late a slow server is.
const SLOW_US: u64 = 3_000_000;
/// How far ahead a boaster is.
const BOAST: u64 = 1_000;

/// Lies about states that are fetched.
pub(super) const OF_SNAPSHOTS: [Behaviour; 7] = [
    Behaviour::SnapshotParts,
    Behaviour::SnapshotLong,
    Behaviour::SnapshotForged,
    Behaviour::SnapshotStale,
    Behaviour::SnapshotRefused,
    Behaviour::SnapshotSlow,
    Behaviour::SnapshotVanishes,
];

/// Whether a message serves a state.
pub(super) const fn is_of_snapshot(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::Snapshot(_) | PeerMessage::Part { .. })
}

impl Filter {
    pub(super) fn say_of_sync(&self, behaviour: Behaviour, message: &PeerMessage, moment: &mut Moment<'_>) -> Lie {
        match (behaviour, message) {
            (Behaviour::WrongCheckpoint, PeerMessage::Checkpoint(vote)) => {
                let state_root = sha256(&[b"another state"]);
                one(PeerMessage::Checkpoint(self.sign(Checkpoint { state_root, ..vote.body })))
            }
            (Behaviour::StatusBoast, PeerMessage::Status(status)) => {
                let ahead = |height: Height| height.plus(BOAST);
                let (committed, stable) = (ahead(status.committed), ahead(status.stable));
                one(PeerMessage::Status(Status { committed, stable, ..*status }))
            }
            (behaviour, PeerMessage::SyncBlocks(blocks)) => self.serve_otherwise(behaviour, blocks, moment),
            (Behaviour::SnapshotSlow, message) if is_of_snapshot(message) => {
                Some(vec![Said { after_us: SLOW_US, payload: Payload::Message(message.clone()) }])
            }
            (Behaviour::SnapshotRefused, PeerMessage::Part { height, .. }) => {
                one(PeerMessage::SnapshotRefused { height: *height })
            }
            (behaviour, PeerMessage::Snapshot(manifest)) => show_otherwise(behaviour, manifest, moment),
            (behaviour, PeerMessage::Part { .. }) => part_otherwise(behaviour, message, moment),
            _ => None,
        }
    }

    fn serve_otherwise(&self, behaviour: Behaviour, blocks: &[CommittedBlock], moment: &mut Moment<'_>) -> Lie {
        let mut blocks = blocks.to_vec();
        match behaviour {
            Behaviour::SyncRefused => return Some(Vec::new()),
            Behaviour::SyncSlow => {
                return Some(vec![Said {
                    after_us: SLOW_US,
                    payload: Payload::Message(PeerMessage::SyncBlocks(blocks)),
                }]);
            }
            Behaviour::SyncWrong => self.alter_last(&mut blocks)?,
            Behaviour::SyncForged => {
                self.alter_last(&mut blocks)?;
                let last = blocks.last_mut()?;
                let digest = last.block.header.digest(self.chain());
                let certificate = last.certificate.as_mut()?;
                certificate.vote.digest = digest;
                let own = self.sign(certificate.vote).signature;
                certificate.signatures.0.iter_mut().for_each(|(_, signature)| *signature = own);
            }
            Behaviour::SyncEndless => {
                let again = blocks.clone();
                blocks.extend(again.into_iter().cycle().take(SYNC_BLOCKS_MAX));
            }
            Behaviour::SyncStale => {
                let first: Vec<CommittedBlock> =
                    (1..=blocks.len() as u64).map_while(|height| moment.node.store().block(Height(height))).collect();
                blocks = first;
            }
            _ => return None,
        }
        one(PeerMessage::SyncBlocks(blocks))
    }

    /// The last block is another one, a microsecond later.
    fn alter_last(&self, blocks: &mut [CommittedBlock]) -> Option<()> {
        let last = blocks.last_mut()?;
        let mut block = Block::clone(&last.block);
        block.header.timestamp = block.header.timestamp.plus_micros(1);
        last.block = Arc::new(block);
        Some(())
    }
}

/// Another manifest than the true one.
fn show_otherwise(behaviour: Behaviour, manifest: &Arc<Manifest>, moment: &mut Moment<'_>) -> Lie {
    let height = manifest.stable.height();
    match behaviour {
        Behaviour::SnapshotRefused => one(PeerMessage::SnapshotRefused { height }),
        Behaviour::SnapshotStale => {
            let shelf = moment.node.execution().shelf();
            let oldest = *shelf.snapshots.first_key_value().filter(|(oldest, _)| **oldest < height)?.0;
            let epoch = manifest.ends.first().map_or(manifest.stable.epoch(), |end| end.epoch());
            one(serve_manifest(shelf, None, oldest, Height(0), epoch))
        }
        Behaviour::SnapshotForged => {
            let mut manifest = Manifest::clone(manifest);
            let stable = Arc::make_mut(&mut manifest.stable);
            match moment.random.below(4) {
                0 => stable.signatures.0.truncate(1),
                1 => stable.checkpoint.state_root.0[0] ^= 1,
                2 => manifest.cut.0.first_mut()?.1.0[0] ^= 1,
                _ => Arc::make_mut(&mut manifest.block).header.timestamp.0 += 1,
            }
            one(PeerMessage::Snapshot(Arc::new(manifest)))
        }
        _ => None,
    }
}

/// Another part than the true one.
fn part_otherwise(behaviour: Behaviour, message: &PeerMessage, moment: &mut Moment<'_>) -> Lie {
    let PeerMessage::Part { height, part, entries } = message else { return None };
    let send = |entries: Vec<u8>| one(PeerMessage::Part { height: *height, part: *part, entries: Arc::new(entries) });
    match behaviour {
        Behaviour::SnapshotParts => {
            let mut entries = entries.to_vec();
            *entries.last_mut()? ^= 1;
            send(entries)
        }
        Behaviour::SnapshotLong => {
            let mut entries = entries.to_vec();
            entries.resize(SNAPSHOT_PART_BYTES_MAX as usize + 5, 0);
            send(entries)
        }
        Behaviour::SnapshotVanishes => moment.random.permille(700).then(Vec::new),
        _ => None,
    }
}
