//! What a replica is told at its start and never changes.

use std::sync::Arc;

use dtvn_messages::genesis::ConsensusParameters;
use dtvn_messages::{ChainId, Digest, Epoch, Genesis, Height, PublicKey, RulesVersion, ValidatorIndex, ValidatorSet};

/// The validators of an epoch, and which of them this node is.
#[derive(Debug, Clone)]
pub struct Committee {
    /// The epoch.
    pub epoch: Epoch,
    /// Its validators.
    pub set: Arc<ValidatorSet>,
    /// This node's place among them, if it has one.
    pub me: Option<ValidatorIndex>,
}

/// Identity, validator set and parameters of one epoch.
#[derive(Debug, Clone)]
pub struct Config {
    /// The chain's name, part of every digest and signature.
    pub chain: ChainId,
    /// The hash of the genesis: the parent of the first block.
    pub genesis_hash: Digest,
    /// The epoch.
    pub epoch: Epoch,
    /// The height on which the epoch begins: its first block is one above.
    pub epoch_base: Height,
    /// The digest of the block there; for the first epoch the hash of the genesis.
    pub epoch_base_digest: Digest,
    /// The validators of the epoch.
    pub set: Arc<ValidatorSet>,
    /// Which of them this replica is; none is an observer, which signs nothing.
    pub me: Option<ValidatorIndex>,
    /// The validators of the epoch before, whose last cosignatures may still be on their way.
    pub former: Option<Committee>,
    /// The protocol's parameters.
    pub parameters: ConsensusParameters,
    /// The rules under which blocks are executed.
    pub rules_version: RulesVersion,
}

impl Config {
    /// Whether this node is the validator at an index of an epoch: of this one, or of the one before.
    #[must_use]
    pub fn is_me(&self, epoch: Epoch, index: ValidatorIndex) -> bool {
        let former = self.former.as_ref().filter(|former| former.epoch == epoch).and_then(|former| former.me);
        let me = if epoch == self.epoch { self.me } else { former };
        me == Some(index)
    }

    /// The validators of this epoch.
    #[must_use]
    pub fn committee(&self) -> Committee {
        Committee { epoch: self.epoch, set: Arc::clone(&self.set), me: self.me }
    }

    /// The first epoch of a chain, for the validator with this key, or for an observer.
    #[must_use]
    pub fn from_genesis(genesis: &Genesis, key: Option<&PublicKey>) -> Self {
        let set = Arc::new(genesis.validators().clone());
        Self::of_epoch(genesis, Epoch(0), (genesis.base(), genesis.hash()), set, key)
    }

    /// An epoch that begins on a block, given by its height and digest, for the validator with this key, or for an
    /// observer.
    #[must_use]
    pub fn of_epoch(
        genesis: &Genesis,
        epoch: Epoch,
        (epoch_base, epoch_base_digest): (Height, Digest),
        set: Arc<ValidatorSet>,
        key: Option<&PublicKey>,
    ) -> Self {
        Self {
            chain: genesis.chain_id().clone(),
            genesis_hash: genesis.hash(),
            epoch,
            epoch_base,
            epoch_base_digest,
            me: key.and_then(|key| set.index_of_key(key)),
            former: None,
            set,
            parameters: genesis.parameters().clone(),
            rules_version: genesis.file().rules_version,
        }
    }
}
