//! How large the consensus log grows (consensus.md section 9: "every buffer has a bound").
//!
//! A segment goes once a stable checkpoint covers all its heights and the derived store holds them for good. A replica
//! accepts, and executes, nothing above `log_window` past the highest stable checkpoint that it knows; so the log stays
//! below
//!
//! ```text
//! heights   = log_window + heights that the store's disk is behind
//! checkpoints = heights / checkpoint_interval + 1
//!
//! bytes     = heights * (bundles of a block + views * (proposal + prepared certificate) + committed block)
//!           + bundles that are pending
//!           + (checkpoints + views) * (NEW-VIEW with its VIEW-CHANGEs + own VIEW-CHANGE + stable checkpoint)
//! segments  = bytes / (segment - batch) + 2
//! ```
//!
//! where each record counts as if it were alone in its batch, a segment may end one longest batch early, and two more
//! segments are the one that is written to and the covered part of the oldest one. `views` are those in which the same
//! heights were voted on: one, and one more for each view that failed since the last stable checkpoint. For four
//! validators and the default parameters: usual load: 0.4 GiB (blocks of 100 operations of 300 bytes), largest load: 12.3
//! GiB (nothing but the largest blocks, and a full pool).
//!
//! **A node that cannot checkpoint.** If no checkpoint becomes stable, the window is soon exhausted: nothing more is
//! proposed, accepted or executed, so the heights stay what they are; the pool fills, and clients are refused as
//! `overloaded`. Then only failing views add to the log, each at most [`LogLoad::view_bytes`] and what its leader had fetched into the
//! pool's reserve, at most one in each `view_timeout_cap_ms`. What ends that is the bound on the disk itself: below `DISK_FREE_MIB_MIN` the node votes no more.
//! The same holds for one node that alone hears of no stable checkpoint. A node that fetches more blocks than a window
//! because nobody has a snapshot holds them until it is where their stable checkpoint is: at most what others retain.

use dtvn_messages::genesis::ConsensusParameters;
use dtvn_messages::limits;

use crate::log::LogLimits;

/// What the size of a log depends on beside the parameters of its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLoad {
    /// How many validators there are.
    pub validators: u64,
    /// Bytes of the bundles of one block.
    pub block_bytes: u64,
    /// How many bundles that are.
    pub block_bundles: u64,
    /// Bytes of the bundles that are pending.
    pub pending_bytes: u64,
    /// How many those are.
    pub pending_bundles: u64,
    /// Heights that the derived store applied and may lose with the power.
    pub store_behind: u64,
    /// Views in which the same heights were voted on.
    pub views: u64,
}

/// A header, a vote or checkpoint about it, and what goes around them.
const PROOF_BYTES: u64 = 320;
/// One signature of a certificate.
const SIGNATURE_BYTES: u64 = 66;
/// A record's header, and header and trailer of its batch.
const FRAME_BYTES: u64 = 5 + 29 + 40;

/// What a record takes that is alone in its batch: whole sectors of 512 bytes, of which 507 hold data.
fn alone(payload_bytes: u64) -> u64 {
    (payload_bytes + FRAME_BYTES).div_ceil(507) * 512
}

impl LogLoad {
    /// The largest blocks in one view, and a full pool.
    #[must_use]
    pub fn largest(validators: u64) -> Self {
        // Of each its share, and what it had fetched into its part of the reserve as a leader.
        let part =
            (limits::POOL_RESERVE_BYTES_MAX as u64 / validators.max(1)).max(limits::POOL_RESERVE_PART_BYTES_MIN as u64);
        let bundles = (limits::POOL_ORIGIN_BUNDLES_MAX + limits::BLOCK_BUNDLES_MAX) as u64;
        Self {
            validators,
            pending_bytes: limits::POOL_BYTES_MAX as u64 + validators * part,
            pending_bundles: validators * bundles,
            ..Self::of_blocks(validators, limits::BLOCK_BYTES_MAX as u64, limits::BLOCK_BUNDLES_MAX as u64)
        }
    }

    /// Blocks of this size in one view; nothing is pending.
    #[must_use]
    pub fn of_blocks(validators: u64, block_bytes: u64, block_bundles: u64) -> Self {
        // The store writes its memory to the disk at so many blocks or bytes, and holds as much again meanwhile.
        let by_bytes = 2 * limits::STORE_MEMORY_BYTES as u64 / block_bytes.max(1);
        let store_behind = by_bytes.min(2 * limits::STORE_MEMORY_BLOCKS) + limits::STORE_APPLY_BLOCKS_MAX as u64;
        Self { validators, block_bytes, block_bundles, pending_bytes: 0, pending_bundles: 0, store_behind, views: 1 }
    }

    fn proof_bytes(&self) -> u64 {
        PROOF_BYTES + SIGNATURE_BYTES * self.validators
    }

    /// The most that one more view adds: its moves, and for each height of the window a proposal and a certificate.
    #[must_use]
    pub fn view_bytes(&self, parameters: &ConsensusParameters) -> u64 {
        let heights = parameters.log_window + self.store_behind;
        self.moves_bytes(parameters) + heights * self.vote_bytes()
    }

    /// Proposal and prepared certificate of one height in one view.
    fn vote_bytes(&self) -> u64 {
        alone(PROOF_BYTES + 32 * self.block_bundles) + alone(self.proof_bytes())
    }

    /// A VIEW-CHANGE with a certificate for each height of the window, a NEW-VIEW with one of each validator, and a stable
    /// checkpoint.
    fn moves_bytes(&self, parameters: &ConsensusParameters) -> u64 {
        let view_change = (parameters.log_window + 2) * self.proof_bytes();
        alone(view_change) + alone(self.validators * view_change + self.proof_bytes()) + alone(self.proof_bytes())
    }

    /// The bundles, the committed block and this node's checkpoint vote of one height.
    fn block_bytes(&self) -> u64 {
        let bundles = self.block_bytes + self.block_bundles * alone(0) + self.block_bytes / 64;
        bundles + alone(self.proof_bytes() + 32 * self.block_bundles) + alone(PROOF_BYTES)
    }

    /// The size below which the consensus log stays, in bytes of its files.
    #[must_use]
    pub fn log_bytes_max(&self, parameters: &ConsensusParameters, log: &LogLimits) -> u64 {
        let heights = parameters.log_window + self.store_behind;
        let checkpoints = heights / parameters.checkpoint_interval + 1;
        let pending = self.pending_bytes + self.pending_bytes / 64 + self.pending_bundles * alone(0);
        let bytes = heights * (self.block_bytes() + self.views * self.vote_bytes())
            + pending
            + (checkpoints + self.views) * self.moves_bytes(parameters);
        let usable = u64::from(log.segment_bytes - log.batch_bytes_max);
        (bytes.div_ceil(usable) + 2) * u64::from(log.segment_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = 1_073_741_824.0;

    fn gib(load: LogLoad) -> f64 {
        let bytes = load.log_bytes_max(&ConsensusParameters::default(), &LogLimits::default());
        (bytes as f64 / GIB * 10.0).round() / 10.0
    }

    #[test]
    fn the_sizes_of_the_documentation_are_those_of_the_formula() {
        // Blocks of 100 operations of 300 bytes each; and the largest blocks without end, and a full pool.
        let usual = LogLoad::of_blocks(4, 30_000, 4);
        let stated = [("usual", gib(usual)), ("largest", gib(LogLoad::largest(4)))];
        for document in [include_str!("../../../messages/BOUNDS.md"), include_str!("log_size.rs")] {
            let text = document.replace("\n//!", "").replace('\n', " ");
            for (name, size) in stated {
                let said = format!("{name} load: {size} GiB");
                assert!(text.contains(&said), "a document does not say {said:?}");
            }
        }
    }
}
