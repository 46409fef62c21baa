//! Lying checkpoints and sync.

use std::sync::Arc;

use dtvn_messages::limits::SYNC_BLOCKS_MAX;
use dtvn_messages::wire::{CommittedBlock, PeerMessage, Status};
use dtvn_messages::{Block, Checkpoint, Height, sha256};

use super::{Behaviour, Filter, Lie, Moment, Payload, Said, one};

/// How late a slow server is.
const SLOW_US: u64 = 3_000_000;
/// How far ahead a boaster is.
const BOAST: u64 = 1_000;

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
