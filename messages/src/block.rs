//! Blocks: a header and the digests of the bundles that it orders (consensus.md section 2).

use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::{Digest, sha256};
use crate::ids::{ChainId, Epoch, Height, RulesVersion, Timestamp, ValidatorIndex, View};
use crate::limits;
use crate::statement::Statement;

/// A block's header; its digest is the block's name. Hashed bytes: tag `dtvn/block/1` (text), chain id (text), epoch
/// `u64`, rules version `u32`, height `u64`, parent (32 bytes), proposer `u16`, view of the first proposal `u64`,
/// timestamp `u64` (microseconds), bundles root (32 bytes), log size `u64`, log root (32 bytes).
///
/// The view in which a block is voted on is not part of it: a block survives a view change unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The epoch.
    pub epoch: Epoch,
    /// The version of the rules under which it was executed.
    pub rules_version: RulesVersion,
    /// Its position in the chain, from 1.
    pub height: Height,
    /// The digest of the block below; for height 1 the hash of the genesis.
    pub parent: Digest,
    /// Who proposed it first.
    pub proposer: ValidatorIndex,
    /// The view of that first proposal.
    pub proposed_in_view: View,
    /// Agreed time in microseconds since the Unix epoch, above the parent's.
    pub timestamp: Timestamp,
    /// The hash of the ordered list of bundle digests: [`bundles_root`].
    pub bundles_root: Digest,
    /// How many outcomes the transparency log holds after this block.
    pub log_size: u64,
    /// The RFC 6962 root of the transparency log after this block.
    pub log_root: Digest,
}

impl Header {
    /// The digest that names the block.
    #[must_use]
    pub fn digest(&self, chain: &ChainId) -> Digest {
        Statement::digest(self, chain)
    }
}

/// The root over an ordered list of bundle digests: SHA-256 of the text `dtvn/bundles/1`, the count `u32`, and the
/// digests.
#[must_use]
pub fn bundles_root(bundles: &[Digest]) -> Digest {
    let mut writer = Writer::with_capacity(4 + 32 * bundles.len());
    writer.list(bundles);
    sha256(&[b"dtvn/bundles/1", &writer.into_bytes()])
}

impl Statement for Header {
    fn tag(&self) -> &'static str {
        "dtvn/block/1"
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn write_fields(&self, writer: &mut Writer) {
        self.rules_version.write(writer);
        self.height.write(writer);
        self.parent.write(writer);
        self.proposer.write(writer);
        self.proposed_in_view.write(writer);
        self.timestamp.write(writer);
        self.bundles_root.write(writer);
        writer.u64(self.log_size);
        self.log_root.write(writer);
    }
}

impl Layout for Header {
    fn write(&self, writer: &mut Writer) {
        self.epoch.write(writer);
        self.write_fields(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: Layout::read(reader)?,
            rules_version: Layout::read(reader)?,
            height: Layout::read(reader)?,
            parent: Layout::read(reader)?,
            proposer: Layout::read(reader)?,
            proposed_in_view: Layout::read(reader)?,
            timestamp: Layout::read(reader)?,
            bundles_root: Layout::read(reader)?,
            log_size: reader.u64()?,
            log_root: Layout::read(reader)?,
        })
    }
}

/// A header with the bundle digests that its `bundles_root` commits to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The digests of the bundles, in their order.
    pub bundles: Vec<Digest>,
}

impl Block {
    /// Whether the list of bundles is the one that the header commits to.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        bundles_root(&self.bundles) == self.header.bundles_root
    }
}

impl Layout for Block {
    fn write(&self, writer: &mut Writer) {
        self.header.write(writer);
        writer.list(&self.bundles);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            header: Layout::read(reader)?,
            bundles: reader.list("the number of bundles in a block", limits::BLOCK_BUNDLES_MAX, 32)?,
        })
    }
}
