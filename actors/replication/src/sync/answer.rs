//! What peers answer, checked: it proves itself, whoever sent it.

use std::sync::Arc;

use dtvn_messages::EpochEnd;
use dtvn_messages::wire::PeerMessage;

use super::{Input, Peer};
use crate::verify::{Fault, Verifier};

/// A checked answer, and whose it is.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The replica's: how the present epoch ended.
    Replica(Arc<EpochEnd>),
    /// The sync's.
    Sync(Input),
}

impl Answer {
    /// Checks what a peer answered. None is one that is of no use by now, or no answer.
    ///
    /// # Errors
    /// With the fault for which the peer is to blame.
    pub fn check(verifier: &Verifier, from: Peer, message: PeerMessage) -> Result<Option<Self>, Fault> {
        let input = match message {
            PeerMessage::EpochEnd(end) => return Ok(verifier.epoch_end(&end)?.then_some(Self::Replica(end))),
            PeerMessage::SyncBlocks(blocks) => Some(Input::Blocks { from, checked: verifier.blocks(blocks)? }),
            PeerMessage::Snapshot(manifest) => {
                verifier.manifest(manifest)?.map(|checked| Input::Manifest { from, checked })
            }
            PeerMessage::EpochEnds(ends) => Some(Input::EpochEnds { from, leads_to: verifier.epoch_ends(&ends)? }),
            PeerMessage::Part { height, part, entries } => {
                Some(Input::Part { from, part: verifier.part(height, part, entries)? })
            }
            PeerMessage::SnapshotRefused { height } => Some(Input::Refused { from, height }),
            _ => None,
        };
        Ok(input.map(Self::Sync))
    }
}
