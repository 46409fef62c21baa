//! Checking what is sent to those who catch up: blocks with certificates, and snapshots (consensus.md section 7).

use std::sync::Arc;

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::snapshot::{CheckedManifest, Manifest, decode_entries};
use dtvn_messages::state::Part;
use dtvn_messages::wire::CommittedBlock;
use dtvn_messages::{Bundle, Digest, Height};
use dtvn_pbft::CertifiedBlock;

use super::{Fault, Verifier};

/// Committed blocks of an answer to a sync request, checked: contiguous, chained, each covered by a certificate at or
/// above it, with the bundles that they name.
#[derive(Debug, Clone)]
pub struct CheckedBlocks {
    /// The blocks, in ascending order; the last has a certificate.
    pub blocks: Vec<CertifiedBlock>,
    /// Their bundles, in order.
    pub bundles: Vec<Arc<Bundle>>,
}

/// A part of a snapshot, well formed, with the hash that it really has.
#[derive(Debug, Clone)]
pub struct CheckedPart {
    /// The height of the checkpoint that it is said to be of.
    pub height: Height,
    /// The part.
    pub part: Part,
    /// Its hash.
    pub hash: Digest,
    /// Its entries, as they travelled.
    pub entries: Arc<Vec<u8>>,
}

impl Verifier {
    /// Checks a snapshot's manifest. None is one of an earlier epoch, or one to which nothing leads from here: it was asked
    /// for when more was known.
    ///
    /// # Errors
    /// With the fault for which its sender is to blame.
    pub fn manifest(&self, manifest: Arc<Manifest>) -> Result<Option<Arc<CheckedManifest>>, Fault> {
        let epoch = manifest.stable.epoch();
        if epoch < self.epoch {
            return Ok(None);
        }
        let mut ends = self.way.before(epoch);
        let known = self.led_by(&ends);
        let first = manifest.ends.iter().map(|end| end.epoch()).find(|first| *first >= known.0);
        if first.unwrap_or(epoch) > known.0 {
            return Ok(None);
        }
        let mut checked = manifest.check(&self.chain, known, &*self.scheme)?;
        ends.append(&mut checked.ends);
        checked.ends = ends;
        Ok(Some(Arc::new(checked)))
    }

    /// Checks a part of a snapshot by itself, and hashes it: the certified hash is known to who asked for it.
    ///
    /// # Errors
    /// With the fault for which its sender is to blame.
    pub fn part(&self, height: Height, part: Part, entries: Arc<Vec<u8>>) -> Result<CheckedPart, Fault> {
        let raw = decode_entries(&entries).map_err(|_| Fault::Part("it cannot be read, or is too long"))?;
        let hash = part.hash_of(&raw).ok_or(Fault::Part("its entries are foreign to it, or not in order"))?;
        Ok(CheckedPart { height, part, hash, entries })
    }

    /// Checks the blocks of an answer to a sync request that asked from `first` on.
    ///
    /// # Errors
    /// With the fault for which its sender is to blame.
    pub fn blocks(&self, blocks: Vec<CommittedBlock>) -> Result<CheckedBlocks, Fault> {
        let mut checked = CheckedBlocks { blocks: Vec::with_capacity(blocks.len()), bundles: Vec::new() };
        // What lies beyond the end of this epoch is for a later request: its validators are not known yet.
        let blocks: Vec<_> =
            blocks.into_iter().take_while(|received| received.block.header.epoch == self.epoch).collect();
        if blocks.last().is_some_and(|last| last.certificate.is_none()) {
            return Err(Fault::Blocks("the last has no certificate"));
        }
        for received in blocks {
            let block = received.block;
            let digest = block.header.digest(&self.chain);
            if let Some(below) = checked.blocks.last() {
                let follows = block.header.height == below.block.header.height.next();
                if !follows || block.header.parent != below.digest {
                    return Err(Fault::Blocks("one does not build on the one before"));
                }
            }
            if !block.is_consistent() || received.bundles.len() != block.bundles.len() {
                return Err(Fault::Blocks("one has other bundles than its header says"));
            }
            if let Some(certificate) = &received.certificate {
                let header = block.header.clone();
                let proof = dtvn_messages::CommittedProof { header, certificate: certificate.clone() };
                if !planted(Canary::SyncUnproven) {
                    proof.verify(&self.chain, &self.set, &*self.scheme)?;
                }
            }
            for (bytes, named) in received.bundles.iter().zip(&block.bundles) {
                let bundle =
                    Bundle::from_bytes(bytes, &self.chain).map_err(|_| Fault::Blocks("a bundle is malformed"))?;
                if bundle.digest != *named {
                    return Err(Fault::Blocks("a bundle is not the one that its block names"));
                }
                checked.bundles.push(bundle);
            }
            checked.blocks.push(CertifiedBlock { block, digest, certificate: received.certificate });
        }
        Ok(checked)
    }
}
