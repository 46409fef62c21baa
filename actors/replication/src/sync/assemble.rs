//! A snapshot that is complete becomes the state that a node stores.

use std::collections::BTreeSet;
use std::sync::Arc;

use dtvn_ledger::state::SnapshotError;
use dtvn_ledger::{LedgerImage, StateEntry, StateMap};
use dtvn_messages::snapshot::{CheckedManifest, decode_entries};
use dtvn_messages::state::NOTHING;
use dtvn_messages::{Block, Digest, EpochEnd, Genesis, StableCheckpoint};

use crate::execution::{LastBlock, Stored};

/// A state to be stored, with its map.
#[derive(Debug)]
pub struct Assembled {
    /// What to store.
    pub stored: Stored,
    /// The state map, whose root is the certified one.
    pub map: StateMap,
}

/// Why a snapshot cannot become a state.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// Parts that were kept are gone or damaged: they are fetched again.
    #[error("{} parts that were kept are gone or damaged", .0.len())]
    Lost(BTreeSet<Digest>),
    /// A quorum signed a state that this program cannot read.
    #[error("the certified state at height {height} is none that this program knows: {why}")]
    Unknown {
        /// The height of the checkpoint.
        height: dtvn_messages::Height,
        /// What is wrong with it.
        why: SnapshotError,
    },
}

/// Makes the state of a manifest from its parts; `read` gives the bytes of the part with a hash. Every part is compared
/// with its hash again, and the whole with the certified root. `ends` are those of the epochs that this node has seen
/// end: of what was before its own epoch the manifest says nothing.
///
/// # Errors
/// If parts are missing or damaged, or the state is unknown to this program.
pub fn assemble(
    genesis: &Genesis,
    checked: &CheckedManifest,
    ends: &[Arc<EpochEnd>],
    mut read: impl FnMut(&Digest) -> Option<Vec<u8>>,
) -> Result<Assembled, AssembleError> {
    let manifest = &checked.manifest;
    let (header, height) = (&manifest.block.header, checked.height());
    let unknown = |why: SnapshotError| AssembleError::Unknown { height, why };
    let (mut entries, mut lost) = (Vec::new(), BTreeSet::new());
    for (part, hash) in checked.parts.iter().filter(|(_, hash)| *hash != NOTHING) {
        let raw = read(hash).and_then(|bytes| decode_entries(&bytes).ok());
        match raw.filter(|raw| part.hash_of(raw) == Some(*hash)) {
            Some(raw) => {
                for entry in &raw {
                    entries.push(StateEntry::from_raw(entry).map_err(|why| unknown(why.into()))?);
                }
            }
            None => drop(lost.insert(*hash)),
        }
    }
    if !lost.is_empty() {
        return Err(AssembleError::Lost(lost));
    }
    let map = StateMap::of(entries.iter().cloned());
    assert_eq!(map.root(), manifest.stable.checkpoint.state_root, "parts that have their hashes have the root");
    let image = LedgerImage::from_entries(genesis, header.height, header.timestamp, entries).map_err(unknown)?;
    let block = LastBlock {
        block: Block::clone(&manifest.block),
        digest: manifest.stable.checkpoint.block,
        certificate: manifest.certificate.clone(),
    };
    let stable = Some(StableCheckpoint::clone(&manifest.stable));
    let ends = all_ends(ends, checked);
    Ok(Assembled { stored: Stored { image, block: Some(block), stable, ends, edge: checked.edge.clone() }, map })
}

/// How all epochs before that of a manifest ended, from the first on: what this node saw itself, and what it was shown.
pub(super) fn all_ends(own: &[Arc<EpochEnd>], checked: &CheckedManifest) -> Vec<Arc<EpochEnd>> {
    let first = checked.ends.first().map_or(checked.manifest.stable.epoch(), |end| end.epoch());
    let before = own.iter().filter(|end| end.epoch() < first);
    before.chain(&checked.ends).cloned().collect()
}
