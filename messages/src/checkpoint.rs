//! CHECKPOINT (consensus.md section 5).

use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::Digest;
use crate::ids::{Epoch, Height};
use crate::statement::Statement;

/// "I have committed, executed and made durable everything up to this block, and my state has this root." Signed bytes
/// after the epoch: height `u64`, block digest, state root (32 bytes each), next epoch `u64`, hash of its validator set
/// (32 bytes); tag `dtvn/checkpoint/1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checkpoint {
    /// The epoch.
    pub epoch: Epoch,
    /// The height, a multiple of the checkpoint interval.
    pub height: Height,
    /// The digest of the block at that height.
    pub block: Digest,
    /// The root of the replicated state after it: [`crate::state`].
    pub state_root: Digest,
    /// The epoch of the next height: another one than `epoch` if this height ends it.
    pub next_epoch: Epoch,
    /// The hash of the validator set of the next height.
    pub next_set: Digest,
}

impl Statement for Checkpoint {
    fn tag(&self) -> &'static str {
        "dtvn/checkpoint/1"
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn write_fields(&self, writer: &mut Writer) {
        self.height.write(writer);
        self.block.write(writer);
        self.state_root.write(writer);
        self.next_epoch.write(writer);
        self.next_set.write(writer);
    }
}

impl Layout for Checkpoint {
    fn write(&self, writer: &mut Writer) {
        self.epoch.write(writer);
        self.write_fields(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: Layout::read(reader)?,
            height: Layout::read(reader)?,
            block: Layout::read(reader)?,
            state_root: Layout::read(reader)?,
            next_epoch: Layout::read(reader)?,
            next_set: Layout::read(reader)?,
        })
    }
}
