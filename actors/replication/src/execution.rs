//! The ledger in its place: executes what consensus orders, hands out what is final, and knows where a replica that
//! starts stands (consensus.md section 11: "load, replay through `step`, go on").

use std::sync::Arc;

use dtvn_ledger::{BlockEffects, BlockInput, Executed, Ledger, LedgerImage, LoadError};
use dtvn_messages::{
    Block, Bundle, Certificate, CommittedProof, Digest, Genesis, Height, StableCheckpoint, Timestamp, ValidatorSet,
};
use dtvn_pbft::{Base, Config};

use crate::consensus::Committed;

/// What a store holds: the derived state after a committed block.
#[derive(Debug)]
pub struct Stored {
    /// The ledger's state.
    pub image: LedgerImage,
    /// The last block; none at the genesis.
    pub block: Option<LastBlock>,
    /// The latest stable checkpoint.
    pub stable: Option<StableCheckpoint>,
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

/// Consensus and ledger disagree about how many blocks became final at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} blocks were committed where one was due")]
pub struct NotOneBlock(usize);

/// The ledger, and the base of a replica above it.
pub struct Execution {
    ledger: Ledger,
    set: Arc<ValidatorSet>,
    base: Base,
}

impl Execution {
    /// The ledger of a stored state.
    ///
    /// # Errors
    /// If it is no state that a ledger can have.
    pub fn load(genesis: &Genesis, config: &Config, stored: Stored) -> Result<Self, LoadError> {
        let base = base_of(genesis, config, &stored);
        Ok(Self { ledger: Ledger::load(genesis, stored.image)?, set: Arc::clone(&config.set), base })
    }

    /// Executes a block speculatively, directly above the last one.
    pub fn execute(&mut self, height: Height, timestamp: Timestamp, bundles: &[Arc<Bundle>]) -> Executed {
        self.ledger.execute(&BlockInput { height, timestamp, bundles, set: &self.set })
    }

    /// Undoes executions above this height.
    pub fn roll_back(&mut self, to: Height) {
        self.ledger.roll_back(to);
    }

    /// A replica starts: undoes all that is not final, and tells where the ledger stands.
    pub fn reset(&mut self) -> Base {
        self.ledger.roll_back(self.ledger.committed());
        self.base.clone()
    }

    /// The block at the next height is final: what it changed.
    ///
    /// # Errors
    /// If it is not the next height.
    pub fn commit(&mut self, committed: &Committed) -> Result<BlockEffects, NotOneBlock> {
        let header = &committed.block.header;
        let effects = self.ledger.commit(header.height);
        let [effects] = <[BlockEffects; 1]>::try_from(effects).map_err(|effects| NotOneBlock(effects.len()))?;
        let base = &mut self.base;
        base.height = header.height;
        base.digest = committed.digest;
        base.timestamp = header.timestamp;
        base.log = (header.log_size, header.log_root);
        base.empty_run = if committed.block.bundles.is_empty() { base.empty_run + 1 } else { 0 };
        for bundle in &committed.bundles {
            base.positions.insert(bundle.body.origin, bundle.position());
        }
        if let Some(certificate) = &committed.certificate {
            let proof = CommittedProof { header: header.clone(), certificate: certificate.clone() };
            base.proof = Some(Arc::new(proof));
        }
        Ok(effects)
    }

    /// The ledger, to look at.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

/// Where the ledger stands, for a replica that starts.
fn base_of(genesis: &Genesis, config: &Config, stored: &Stored) -> Base {
    let mut base = Base::genesis(genesis);
    let Some(last) = &stored.block else { return base };
    let header = &last.block.header;
    base.height = header.height;
    base.digest = last.digest;
    base.timestamp = header.timestamp;
    base.log = (header.log_size, header.log_root);
    base.empty_run = u64::from(last.block.bundles.is_empty());
    for (name, last) in &stored.image.last_bundles {
        let index = config.set.index_of_name(name.as_str());
        if let Some(index) = index.filter(|_| last.epoch == config.epoch) {
            base.positions.insert(index, last.position);
        }
    }
    base.proof = last
        .certificate
        .as_ref()
        .map(|certificate| Arc::new(CommittedProof { header: header.clone(), certificate: certificate.clone() }));
    base.stable = stored.stable.clone().map(Arc::new);
    base
}
