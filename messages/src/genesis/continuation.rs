//! A chain that goes on where another one ended: for the day when more disks are lost than the network tolerates faults, so
//! that the former chain cannot decide anything any more (consensus.md section 4). Those who are left agree, outside of any
//! protocol, on the state of one of them; the genesis of the new chain names it by its roots.
//!
//! What the new chain keeps: tickets, events, idempotency keys, heights and the transparency log, which only grows. What it
//! does not: the validators, who are those of the new genesis, and everything that was signed, which is void under another
//! chain id. The state itself is in a file beside the genesis.

use serde::{Deserialize, Serialize};

use super::{GenesisError, GenesisFile};
use crate::codec::{Layout, Writer};
use crate::crypto::Digest;
use crate::ids::{ChainId, Height};

/// Which chain a new one continues, and from where. Layout, at the end of what the genesis hash covers: chain id (text),
/// genesis hash, height `u64`, block, state root, log size `u64`, log root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continuation {
    /// The former chain's name. The new one must have another: else what was signed on the one would count on the other.
    pub chain_id: ChainId,
    /// The hash of its genesis.
    pub genesis_hash: Digest,
    /// The last height that is taken over; the first block of the new chain is one above.
    pub height: Height,
    /// The digest of the block there, for whoever compares the chains.
    pub block: Digest,
    /// The root of the state that the new chain begins with: [`crate::state`].
    pub state_root: Digest,
    /// The size of the transparency log.
    pub log_size: u64,
    /// Its root.
    pub log_root: Digest,
}

impl Continuation {
    pub(super) fn check(&self, file: &GenesisFile) -> Result<(), GenesisError> {
        if self.chain_id == file.chain_id {
            return Err(GenesisError::SameChain(self.chain_id.clone()));
        }
        if self.height == Height(0) || self.height.0 > HEIGHT_MAX {
            return Err(GenesisError::ContinuesNothing(self.height));
        }
        Ok(())
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        self.chain_id.write(writer);
        self.genesis_hash.write(writer);
        self.height.write(writer);
        self.block.write(writer);
        self.state_root.write(writer);
        writer.u64(self.log_size);
        self.log_root.write(writer);
    }
}

/// No chain gets there, and no sum of heights above it overflows.
const HEIGHT_MAX: u64 = 1 << 48;
