//! Snapshots (consensus.md section 7): the state at a stable checkpoint, in parts that each prove themselves.
//!
//! The manifest is checked against nothing but the validators' keys: the stable checkpoint by its signatures, the cut of
//! the state map by the state root in it, the edge of the transparency log by the log root in the block's header. Then each
//! part is what its hash in the cut says, or it is not, whoever sent it.

use std::sync::Arc;

use crate::block::Block;
use crate::certificate::{Certificate, CertificateError, CommittedProof, StableCheckpoint};
use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{Digest, Scheme};
use crate::ids::{ChainId, Epoch, Height};
use crate::limits;
use crate::membership::{EpochEnd, follow};
use crate::merkle::LogEdge;
use crate::state::{Cut, Part, RawEntry};
use crate::validators::ValidatorSet;

/// What is to be fetched, and why it is right.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Manifest {
    /// The certificate of the checkpoint.
    pub stable: Arc<StableCheckpoint>,
    /// The block at the checkpoint.
    pub block: Arc<Block>,
    /// The block's own commit certificate, if it has one.
    pub certificate: Option<Certificate>,
    /// The state map, cut into parts.
    pub cut: Cut,
    /// The levels of the edge of the transparency log: [`LogEdge`].
    pub edge: Vec<Vec<Digest>>,
    /// How each epoch before that of the checkpoint ended, from the one on that its asker named: they lead to its
    /// validators.
    pub ends: Vec<Arc<EpochEnd>>,
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Its checkpoint, or its block's certificate, proves nothing.
    #[error("a certificate of the manifest proves nothing: {0}")]
    Certificate(#[from] CertificateError),
    /// Its parts do not belong together.
    #[error("the manifest does not fit its checkpoint: {0}")]
    Mismatch(&'static str),
}

/// A manifest that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedManifest {
    /// The manifest.
    pub manifest: Arc<Manifest>,
    /// The parts of the state with their hashes.
    pub parts: Vec<(Part, Digest)>,
    /// The edge of the transparency log.
    pub edge: LogEdge,
    /// How each epoch before that of the checkpoint ended, from the one on that its checker is in: each is proved.
    pub ends: Vec<Arc<EpochEnd>>,
}

impl CheckedManifest {
    /// The height of the checkpoint.
    #[must_use]
    pub fn height(&self) -> Height {
        self.manifest.stable.height()
    }
}

impl Manifest {
    /// Checks everything, signatures included. `known` is the epoch that the caller is in, and its validators: from there
    /// the ends of epochs lead to those who signed the checkpoint.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn check(
        self: Arc<Self>,
        chain: &ChainId,
        known: (Epoch, &ValidatorSet),
        scheme: &dyn Scheme,
    ) -> Result<CheckedManifest, ManifestError> {
        let wrong = |why| Err(ManifestError::Mismatch(why));
        let news = self.ends.iter().filter(|end| end.epoch() >= known.0);
        let ends: Vec<Arc<EpochEnd>> = news.cloned().collect();
        let (epoch, set) = follow(chain, (known.0, known.1.clone()), ends.iter().map(|end| &**end), scheme)?;
        if epoch != self.stable.epoch() {
            return wrong("the ends of epochs do not lead to that of the checkpoint");
        }
        let set = &set;
        self.stable.verify(chain, set, scheme)?;
        let header = &self.stable.header;
        if self.block.header != *header || !self.block.is_consistent() {
            return wrong("the block is another");
        }
        let checkpoint = &self.stable.checkpoint;
        if self.certificate.is_none() && checkpoint.next_epoch != checkpoint.epoch {
            return wrong("the block ends its epoch, and has no certificate of its own");
        }
        if let Some(certificate) = &self.certificate {
            let proof = CommittedProof { header: header.clone(), certificate: certificate.clone() };
            proof.verify(chain, set, scheme)?;
        }
        let Some(edge) = LogEdge::from_parts(header.log_size, self.edge.clone()) else {
            return wrong("the edge of the log is that of another size");
        };
        if edge.frontier().root() != header.log_root {
            return wrong("the edge of the log has another root");
        }
        let Some(parts) = self.cut.parts(&self.stable.checkpoint.state_root) else {
            return wrong("the parts are not the state that was signed");
        };
        Ok(CheckedManifest { parts, edge, ends, manifest: self })
    }
}

/// The entries of a part as they travel and are kept: a list, as in [`crate::codec`].
#[must_use]
pub fn encode_entries(entries: &[RawEntry]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(entries.iter().map(|entry| entry.name.len() + entry.value.len() + 9).sum());
    writer.list(entries);
    writer.into_bytes()
}

/// The entries in such bytes.
///
/// # Errors
/// If they are longer than a part may be, or not what encoding would give.
pub fn decode_entries(bytes: &[u8]) -> Result<Vec<RawEntry>, DecodeError> {
    const ENTRY_BYTES_MIN: usize = 9;
    let limit = usize::try_from(limits::SNAPSHOT_PART_BYTES_MAX).unwrap_or(usize::MAX);
    if bytes.len() > limit + 4 {
        return Err(DecodeError::TooLarge { what: "a part of a snapshot", found: bytes.len(), limit });
    }
    let mut reader = Reader::new(bytes);
    let entries = reader.list("the entries of a part", limit / ENTRY_BYTES_MIN, ENTRY_BYTES_MIN)?;
    reader.finish()?;
    Ok(entries)
}
