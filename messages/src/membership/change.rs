//! A change of the validator set, signed by a quorum of the set that it replaces.

use crate::certificate::{CertificateError, Signatures};
use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::{Digest, Scheme};
use crate::ids::{ChainId, Epoch};
use crate::statement::Statement;
use crate::validators::ValidatorSet;
/// What the validators of an epoch sign to be followed by another set. Signed bytes after the epoch: the hash of the set
/// that is replaced, the hash of the new one (32 bytes each); tag `dtvn/validators-change/1`. The epoch keeps an old
/// change from being used again when the same set is in force once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSet {
    /// The epoch that the change ends.
    pub epoch: Epoch,
    /// The hash of the set of that epoch.
    pub replaces: Digest,
    /// The hash of the set of the next one.
    pub set: Digest,
}

impl Statement for NewSet {
    fn tag(&self) -> &'static str {
        "dtvn/validators-change/1"
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn write_fields(&self, writer: &mut Writer) {
        self.replaces.write(writer);
        self.set.write(writer);
    }
}

impl Layout for NewSet {
    fn write(&self, writer: &mut Writer) {
        self.epoch.write(writer);
        self.write_fields(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { epoch: Layout::read(reader)?, replaces: Layout::read(reader)?, set: Layout::read(reader)? })
    }
}

/// A change of the validator set: the full resulting set, signed by validators of power `Q` of the one that it replaces.
/// Layout: epoch `u64`, hash of the replaced set, new set, signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorsChange {
    /// The epoch that it ends.
    pub epoch: Epoch,
    /// The hash of the set of that epoch.
    pub replaces: Digest,
    /// The set of the next one.
    pub set: ValidatorSet,
    /// Who of the present validators agrees.
    pub signatures: Signatures,
}

impl ValidatorsChange {
    /// What is signed.
    #[must_use]
    pub fn statement(&self) -> NewSet {
        NewSet { epoch: self.epoch, replaces: self.replaces, set: self.set.hash() }
    }

    /// Checks that validators of power `Q` of the present set signed it.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn verify(&self, chain: &ChainId, set: &ValidatorSet, scheme: &dyn Scheme) -> Result<(), CertificateError> {
        self.signatures.verify(&self.statement(), chain, set, scheme)
    }
}

impl Layout for ValidatorsChange {
    fn write(&self, writer: &mut Writer) {
        self.epoch.write(writer);
        self.replaces.write(writer);
        self.set.write(writer);
        self.signatures.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: Layout::read(reader)?,
            replaces: Layout::read(reader)?,
            set: Layout::read(reader)?,
            signatures: Layout::read(reader)?,
        })
    }
}
