//! What a store holds, and why a state cannot be gone on from.

use std::sync::Arc;

use dtvn_ledger::{Ledger, LedgerImage, LoadError};
use dtvn_messages::merkle::LogEdge;
use dtvn_messages::{Block, Certificate, Digest, Epoch, EpochEnd, Genesis, Height, StableCheckpoint, ValidatorSet};

/// What a store holds: the derived state after a committed block.
#[derive(Debug)]
pub struct Stored {
    /// The ledger's state.
    pub image: LedgerImage,
    /// The last block; none at the genesis.
    pub block: Option<LastBlock>,
    /// The latest stable checkpoint.
    pub stable: Option<StableCheckpoint>,
    /// How each epoch before the present one ended, from the first on.
    pub ends: Vec<Arc<EpochEnd>>,
    /// The right edge of the transparency log.
    pub edge: LogEdge,
}

impl Stored {
    /// What a store of a new node holds.
    #[must_use]
    pub fn genesis(genesis: &Genesis) -> Self {
        let image = Ledger::new(genesis).image();
        Self { image, block: None, stable: None, ends: Vec::new(), edge: LogEdge::new() }
    }

    /// The validators of the epoch that it leads to.
    #[must_use]
    pub fn validators<'a>(&'a self, genesis: &'a Genesis) -> &'a ValidatorSet {
        self.ends.last().map_or_else(|| genesis.validators(), |end| &end.next)
    }

    /// The validators that are agreed on for the next epoch, if they are others and it has not begun.
    #[must_use]
    pub fn agreed(&self, genesis: &Genesis) -> Option<&ValidatorSet> {
        let pending = self.image.membership.as_ref()?.pending.as_ref()?;
        pending.set.as_deref().filter(|set| set.hash() != self.validators(genesis).hash())
    }
}

/// The last block of a stored state.
#[derive(Debug, Clone)]
pub struct LastBlock {
    /// The block.
    pub block: Block,
    /// Its digest.
    pub digest: Digest,
    /// Its own commit certificate, if it has one.
    pub certificate: Option<Certificate>,
}

/// Why a stored state cannot be gone on from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It is no state that a ledger can have.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The ledger is in another epoch than the stored ends of epochs lead to.
    #[error("the stored state is of epoch {ledger} at height {height}, and the stored ends of epochs lead to {epoch}")]
    Epoch {
        /// The ledger's epoch.
        ledger: Epoch,
        /// Its height.
        height: Height,
        /// The epoch that the ends lead to.
        epoch: Epoch,
    },
}
