//! The ends of epochs: what leads from one validator set to the next.

use crate::certificate::{CertificateError, CommittedProof, StableCheckpoint};
use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::Scheme;
use crate::ids::{ChainId, Epoch, Height};
use crate::validators::ValidatorSet;
/// The end of an epoch, proved by its validators: the last block with its commit certificate and its stable checkpoint,
/// and the set that follows, whose hash the checkpoint names. Layout: committed proof, stable checkpoint, set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochEnd {
    /// The last block of the epoch.
    pub committed: CommittedProof,
    /// The checkpoint there.
    pub stable: StableCheckpoint,
    /// The validators of the next epoch.
    pub next: ValidatorSet,
}

impl EpochEnd {
    /// The epoch that ends.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.stable.epoch()
    }

    /// Its last height.
    #[must_use]
    pub fn height(&self) -> Height {
        self.stable.height()
    }

    /// Checks everything, signatures included; `set` is that of the epoch that ends.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn verify(&self, chain: &ChainId, set: &ValidatorSet, scheme: &dyn Scheme) -> Result<(), CertificateError> {
        let checkpoint = &self.stable.checkpoint;
        if checkpoint.next_epoch != checkpoint.epoch.next() {
            return Err(CertificateError::Mismatch("the checkpoint does not end its epoch"));
        }
        if checkpoint.next_set != self.next.hash() {
            return Err(CertificateError::Mismatch("the next validators are others than the checkpoint names"));
        }
        if self.committed.header != self.stable.header {
            return Err(CertificateError::Mismatch("commit certificate and checkpoint are for different blocks"));
        }
        self.committed.verify(chain, set, scheme)?;
        self.stable.verify(chain, set, scheme)
    }
}

impl Layout for EpochEnd {
    fn write(&self, writer: &mut Writer) {
        self.committed.write(writer);
        self.stable.write(writer);
        self.next.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { committed: Layout::read(reader)?, stable: Layout::read(reader)?, next: Layout::read(reader)? })
    }
}

/// Follows the ends of epochs, in their order, from a set that is trusted: the epoch and the set that the last of them
/// leads to (consensus.md section 10; it assumes that former validators do not sell their keys later).
///
/// # Errors
/// If one is not the end of the epoch that the one before leads to, or does not verify.
pub fn follow<'a>(
    chain: &ChainId,
    from: (Epoch, ValidatorSet),
    ends: impl IntoIterator<Item = &'a EpochEnd>,
    scheme: &dyn Scheme,
) -> Result<(Epoch, ValidatorSet), CertificateError> {
    let (mut epoch, mut set) = from;
    for end in ends {
        if end.epoch() != epoch {
            return Err(CertificateError::Mismatch("an epoch is left out, or is there twice"));
        }
        end.verify(chain, &set, scheme)?;
        (epoch, set) = (epoch.next(), end.next.clone());
    }
    Ok((epoch, set))
}
