//! Certificates: the same statement by validators of power `Q` (consensus.md sections 3 and 5).

use thiserror::Error;

use crate::block::Header;
use crate::checkpoint::Checkpoint;
use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::{Digest, Scheme, Signature};
use crate::ids::{ChainId, Epoch, Height, ValidatorIndex, View};
use crate::limits;
use crate::statement::Statement;
use crate::validators::ValidatorSet;
use crate::vote::{Vote, VoteKind};

/// Why a certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// Signers are not in ascending order, or one is there twice.
    #[error("the signers are not in ascending order without repetition")]
    Order,
    /// A signer is no validator of the epoch.
    #[error("signer {0} is no validator of this epoch")]
    Stranger(ValidatorIndex),
    /// The signers have too little power.
    #[error("the signers have power {power}, a quorum is {quorum}")]
    TooFew {
        /// The power of the signers.
        power: u64,
        /// The power that is needed.
        quorum: u64,
    },
    /// A signature does not hold.
    #[error("the signature of {0} does not hold")]
    BadSignature(ValidatorIndex),
    /// The certificate is about something else than what it comes with.
    #[error("{0}")]
    Mismatch(&'static str),
}

/// Signatures of distinct validators, in ascending order of their index. Layout: count `u32`, then for each the index
/// `u16` and the signature (64 bytes).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signatures(pub Vec<(ValidatorIndex, Signature)>);

impl Signatures {
    /// Who signed.
    pub fn signers(&self) -> impl Iterator<Item = ValidatorIndex> {
        self.0.iter().map(|(signer, _)| *signer)
    }

    /// Checks order, membership and power, then each signature over `statement`.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn verify<T: Statement>(
        &self,
        statement: &T,
        chain: &ChainId,
        set: &ValidatorSet,
        scheme: &dyn Scheme,
    ) -> Result<(), CertificateError> {
        self.verify_power(set)?;
        let message = statement.signed_bytes(chain);
        for (signer, signature) in &self.0 {
            let key = set.key(*signer).ok_or(CertificateError::Stranger(*signer))?;
            if !scheme.verify(&key, &message, signature) {
                return Err(CertificateError::BadSignature(*signer));
            }
        }
        Ok(())
    }

    /// Checks order, membership and power only.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn verify_power(&self, set: &ValidatorSet) -> Result<(), CertificateError> {
        if !self.0.is_sorted_by(|left, right| left.0 < right.0) {
            return Err(CertificateError::Order);
        }
        if let Some(stranger) = self.signers().find(|signer| !set.contains(*signer)) {
            return Err(CertificateError::Stranger(stranger));
        }
        let power = set.power_of(self.signers());
        if power < set.quorum() {
            return Err(CertificateError::TooFew { power, quorum: set.quorum() });
        }
        Ok(())
    }
}

impl Layout for Signatures {
    fn write(&self, writer: &mut Writer) {
        writer.count(self.0.len());
        for (signer, signature) in &self.0 {
            signer.write(writer);
            signature.write(writer);
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.count("the number of signatures", limits::VALIDATORS_MAX, 66)?;
        let mut signatures = Vec::with_capacity(count);
        for _ in 0..count {
            signatures.push((Layout::read(reader)?, Layout::read(reader)?));
        }
        Ok(Self(signatures))
    }
}

/// PREPAREs or COMMITs of power `Q` for one block in one view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What all of them signed.
    pub vote: Vote,
    /// Their signatures.
    pub signatures: Signatures,
}

impl Certificate {
    /// Checks that validators of power `Q` signed the vote.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn verify(&self, chain: &ChainId, set: &ValidatorSet, scheme: &dyn Scheme) -> Result<(), CertificateError> {
        self.signatures.verify(&self.vote, chain, set, scheme)
    }

    fn check_about(&self, header: &Header, chain: &ChainId, kind: VoteKind) -> Result<(), CertificateError> {
        if self.vote.kind != kind {
            return Err(CertificateError::Mismatch("the certificate is of the other kind of vote"));
        }
        if self.vote.epoch != header.epoch || self.vote.height != header.height {
            return Err(CertificateError::Mismatch("the certificate is for another epoch or height than its header"));
        }
        if self.vote.digest != header.digest(chain) {
            return Err(CertificateError::Mismatch("the certificate is for another block than its header"));
        }
        Ok(())
    }
}

impl Layout for Certificate {
    fn write(&self, writer: &mut Writer) {
        self.vote.write(writer);
        self.signatures.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { vote: Layout::read(reader)?, signatures: Layout::read(reader)? })
    }
}

macro_rules! proof {
    ($(#[$doc:meta])* $name:ident, $kind:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            /// The block's header.
            pub header: Header,
            /// The votes.
            pub certificate: Certificate,
        }

        impl $name {
            /// The height of the block.
            #[must_use]
            pub fn height(&self) -> Height {
                self.header.height
            }

            /// The view in which the votes were cast.
            #[must_use]
            pub fn view(&self) -> View {
                self.certificate.vote.view
            }

            /// The digest of the block. Only [`Self::check`] says that it is the header's.
            #[must_use]
            pub fn digest(&self) -> Digest {
                self.certificate.vote.digest
            }

            /// Checks everything except the signatures: that the votes are about this header, and that the signers
            /// are distinct validators of power `Q`.
            ///
            /// # Errors
            /// With the first fault found.
            pub fn check(&self, chain: &ChainId, set: &ValidatorSet) -> Result<(), CertificateError> {
                self.certificate.check_about(&self.header, chain, $kind)?;
                self.certificate.signatures.verify_power(set)
            }

            /// Checks everything, signatures included.
            ///
            /// # Errors
            /// With the first fault found.
            pub fn verify(
                &self,
                chain: &ChainId,
                set: &ValidatorSet,
                scheme: &dyn Scheme,
            ) -> Result<(), CertificateError> {
                self.certificate.check_about(&self.header, chain, $kind)?;
                self.certificate.verify(chain, set, scheme)
            }
        }

        impl Layout for $name {
            fn write(&self, writer: &mut Writer) {
                self.header.write(writer);
                self.certificate.write(writer);
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self { header: Layout::read(reader)?, certificate: Layout::read(reader)? })
            }
        }
    };
}

proof!(
    /// A header and PREPAREs of power `Q` for it: no other block can be prepared in that view at that height.
    PreparedCertificate,
    VoteKind::Prepare
);
proof!(
    /// A header and COMMITs of power `Q` for it: the block and all below it are final.
    CommittedProof,
    VoteKind::Commit
);

/// CHECKPOINTs of power `Q`, with the header of their block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StableCheckpoint {
    /// The header of the block at the checkpoint.
    pub header: Header,
    /// What all of them signed.
    pub checkpoint: Checkpoint,
    /// Their signatures.
    pub signatures: Signatures,
}

impl StableCheckpoint {
    /// The height of the checkpoint.
    #[must_use]
    pub fn height(&self) -> Height {
        self.checkpoint.height
    }

    /// The epoch of the checkpoint.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.checkpoint.epoch
    }

    /// Checks everything except the signatures.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn check(&self, chain: &ChainId, set: &ValidatorSet) -> Result<(), CertificateError> {
        let checkpoint = &self.checkpoint;
        if checkpoint.epoch != self.header.epoch || checkpoint.height != self.header.height {
            return Err(CertificateError::Mismatch("the checkpoint is for another epoch or height than its header"));
        }
        if checkpoint.block != self.header.digest(chain) {
            return Err(CertificateError::Mismatch("the checkpoint is for another block than its header"));
        }
        self.signatures.verify_power(set)
    }

    /// Checks everything, signatures included.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn verify(&self, chain: &ChainId, set: &ValidatorSet, scheme: &dyn Scheme) -> Result<(), CertificateError> {
        self.check(chain, set)?;
        self.signatures.verify(&self.checkpoint, chain, set, scheme)
    }
}

impl Layout for StableCheckpoint {
    fn write(&self, writer: &mut Writer) {
        self.header.write(writer);
        self.checkpoint.write(writer);
        self.signatures.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { header: Layout::read(reader)?, checkpoint: Layout::read(reader)?, signatures: Layout::read(reader)? })
    }
}
