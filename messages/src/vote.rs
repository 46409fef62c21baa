//! PREPARE and COMMIT (consensus.md section 3).

use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::Digest;
use crate::ids::{Epoch, Height, View};
use crate::statement::Statement;

/// Which of the two votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoteKind {
    /// "I accepted this block in this view, and hold its bundles."
    Prepare,
    /// "I hold a prepared certificate for this block in this view."
    Commit,
}

/// A vote. Signed bytes after the epoch: view `u64`, height `u64`, block digest 32 bytes; tag `dtvn/prepare/1` or
/// `dtvn/commit/1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vote {
    /// PREPARE or COMMIT.
    pub kind: VoteKind,
    /// The epoch.
    pub epoch: Epoch,
    /// The view in which the vote is cast.
    pub view: View,
    /// The block's height.
    pub height: Height,
    /// The digest of the block's header.
    pub digest: Digest,
}

impl Statement for Vote {
    fn tag(&self) -> &'static str {
        match self.kind {
            VoteKind::Prepare => "dtvn/prepare/1",
            VoteKind::Commit => "dtvn/commit/1",
        }
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn write_fields(&self, writer: &mut Writer) {
        self.view.write(writer);
        self.height.write(writer);
        self.digest.write(writer);
    }
}

impl Layout for VoteKind {
    fn write(&self, writer: &mut Writer) {
        writer.u8(match self {
            VoteKind::Prepare => 1,
            VoteKind::Commit => 2,
        });
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            1 => Ok(VoteKind::Prepare),
            2 => Ok(VoteKind::Commit),
            _ => Err(DecodeError::Invalid("a vote is neither PREPARE (1) nor COMMIT (2)")),
        }
    }
}

impl Layout for Vote {
    fn write(&self, writer: &mut Writer) {
        self.kind.write(writer);
        self.epoch.write(writer);
        self.write_fields(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: Layout::read(reader)?,
            epoch: Layout::read(reader)?,
            view: Layout::read(reader)?,
            height: Layout::read(reader)?,
            digest: Layout::read(reader)?,
        })
    }
}
