//! Who was a validator when (consensus.md section 10): the sets of all epochs, from the genesis on. One certificate for each
//! epoch leads from one to the next, so whoever knows the genesis can follow, and check what any epoch signed.

use crate::certificate::CertificateError;
use crate::crypto::{Digest, Scheme};
use crate::evidence::EpochContext;
use crate::genesis::Genesis;
use crate::ids::{ChainId, Epoch, Height};
use crate::membership::EpochEnd;
use crate::validators::ValidatorSet;

/// The epochs of a chain up to one of them. It assumes that former validators do not sell their keys later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chronicle {
    chain: ChainId,
    rotation_interval: u64,
    /// By epoch: on which height and block it begins, and its validators. Never empty.
    epochs: Vec<((Height, Digest), ValidatorSet)>,
}

impl Chronicle {
    /// The first epoch of a chain.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        Self {
            chain: genesis.chain_id().clone(),
            rotation_interval: genesis.parameters().rotation_interval,
            epochs: vec![((genesis.base(), genesis.hash()), genesis.validators().clone())],
        }
    }

    /// The last epoch that it knows of.
    #[must_use]
    pub fn last(&self) -> Epoch {
        Epoch(self.epochs.len() as u64 - 1)
    }

    /// Goes on by one epoch, for which this must be the proof.
    ///
    /// # Errors
    /// If it is the end of another epoch than the last, or proves nothing.
    pub fn follow(&mut self, end: &EpochEnd, scheme: &dyn Scheme) -> Result<(), CertificateError> {
        if let Some(set) = self.set(self.last()) {
            end.verify(&self.chain, set, scheme)?;
        }
        self.follow_own(end)
    }

    /// As [`Chronicle::follow`], with a proof that was checked before: one of the node's own database.
    ///
    /// # Errors
    /// If it is the end of another epoch than the last.
    pub fn follow_own(&mut self, end: &EpochEnd) -> Result<(), CertificateError> {
        if end.epoch() != self.last() {
            return Err(CertificateError::Mismatch("an epoch is left out, or is there twice"));
        }
        self.epochs.push(((end.height(), end.stable.checkpoint.block), end.next.clone()));
        Ok(())
    }

    /// The validators of an epoch, if it is known.
    #[must_use]
    pub fn set(&self, epoch: Epoch) -> Option<&ValidatorSet> {
        self.of(epoch).map(|(_, set)| set)
    }

    /// On which height an epoch begins, and the digest of the block there.
    #[must_use]
    pub fn base(&self, epoch: Epoch) -> Option<(Height, Digest)> {
        self.of(epoch).map(|(base, _)| *base)
    }

    /// What evidence of an epoch is judged by.
    #[must_use]
    pub fn context(&self, epoch: Epoch) -> Option<EpochContext<'_>> {
        let rotation_interval = self.rotation_interval;
        self.of(epoch).map(|(base, set)| EpochContext { set, base: *base, rotation_interval })
    }

    fn of(&self, epoch: Epoch) -> Option<&((Height, Digest), ValidatorSet)> {
        self.epochs.get(usize::try_from(epoch.0).ok()?)
    }
}
