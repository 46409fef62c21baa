//! What a replica is told at its start and never changes.

use std::sync::Arc;

use dtvn_messages::genesis::ConsensusParameters;
use dtvn_messages::{ChainId, Digest, Epoch, Genesis, Height, PublicKey, RulesVersion, ValidatorIndex, ValidatorSet};

/// Identity, validator set and parameters of one epoch.
#[derive(Debug, Clone)]
pub struct Config {
    /// The chain's name, part of every digest and signature.
    pub chain: ChainId,
    /// The hash of the genesis: the parent of height 1.
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
    /// The protocol's parameters.
    pub parameters: ConsensusParameters,
    /// The rules under which blocks are executed.
    pub rules_version: RulesVersion,
}

impl Config {
    /// The first epoch of a chain, for the validator with this key, or for an observer.
    #[must_use]
    pub fn from_genesis(genesis: &Genesis, key: Option<&PublicKey>) -> Self {
        let set = Arc::new(genesis.validators().clone());
        Self {
            chain: genesis.chain_id().clone(),
            genesis_hash: genesis.hash(),
            epoch: Epoch(0),
            epoch_base: Height(0),
            epoch_base_digest: genesis.hash(),
            me: key.and_then(|key| set.index_of_key(key)),
            set,
            parameters: genesis.parameters().clone(),
            rules_version: genesis.file().rules_version,
        }
    }
}
