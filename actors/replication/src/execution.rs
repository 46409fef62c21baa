//! The ledger in its place: executes what consensus orders, hands out what is final, and knows where a replica that
//! starts stands (consensus.md section 11: "load, replay through `step`, go on"), in which epoch (section 10).

use std::sync::Arc;

use dtvn_ledger::{BlockEffects, BlockInput, Executed, Ledger, LedgerImage, LoadError};
use dtvn_messages::{
    Block, Bundle, Certificate, CommittedProof, Digest, Epoch, EpochEnd, Genesis, Height, Nonce, PublicKey, Scheme,
    StableCheckpoint, Succession, Timestamp,
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
    /// The end of the epoch before the present one; none in the first.
    pub opening: Option<EpochEnd>,
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

/// Who a node is, and how it judges signatures.
#[derive(Clone)]
pub struct Identity {
    /// The genesis of its chain.
    pub genesis: Arc<Genesis>,
    /// Its key: where a validator set has it, the node is that validator.
    pub key: PublicKey,
    /// How signatures are checked.
    pub scheme: Arc<dyn Scheme>,
}

impl Identity {
    /// What consensus runs on in an epoch that begins with a membership, on a block of this digest.
    fn config(&self, epoch: Epoch, base: (Height, Digest), set: Arc<dtvn_messages::ValidatorSet>) -> Config {
        Config::of_epoch(&self.genesis, epoch, base, set, Some(&self.key))
    }
}

/// The ledger, the epoch, and the base of a replica above it.
pub struct Execution {
    identity: Identity,
    ledger: Ledger,
    config: Config,
    base: Base,
}

impl Execution {
    /// The ledger of a stored state.
    ///
    /// # Errors
    /// If it is no state that a ledger can have.
    pub fn load(identity: Identity, stored: Stored) -> Result<Self, StateError> {
        let Stored { image, block, stable, opening } = stored;
        let positions = image.last_bundles.clone();
        let ledger = Ledger::load(&identity.genesis, image)?;
        let (held, height) = (ledger.membership(), ledger.committed());
        let epoch = opening.as_ref().map_or(Epoch(0), |end| end.epoch().next());
        let (set, is_turned) = match &opening {
            // The end of the ledger's epoch is reached and proved; its next block is in the next one.
            Some(end) if end.epoch() == held.epoch && end.height() == height => (Arc::new(end.next.clone()), true),
            _ if epoch == held.epoch => (Arc::clone(&held.set), false),
            _ => return Err(StateError::Epoch { ledger: held.epoch, height, epoch }),
        };
        let epoch_base = match &opening {
            Some(end) => (end.height(), end.stable.checkpoint.block),
            None => (Height(0), identity.genesis.hash()),
        };
        let config = identity.config(epoch, epoch_base, set);
        let mut base = Base::genesis(&identity.genesis);
        if let Some(last) = block {
            let header = &last.block.header;
            base.height = header.height;
            base.digest = last.digest;
            base.timestamp = header.timestamp;
            base.log = (header.log_size, header.log_root);
            base.empty_run = u64::from(last.block.bundles.is_empty());
            let proof = |certificate| Arc::new(CommittedProof { header: header.clone(), certificate });
            base.proof = last.certificate.map(proof);
            base.stable = stable.map(Arc::new);
        }
        base.succession = match is_turned {
            true => Succession::steady(epoch, config.set.hash()),
            false => ledger.membership().succession(height),
        };
        for (name, last) in positions {
            let index = config.set.index_of_name(name.as_str());
            if let Some(index) = index.filter(|_| last.epoch == epoch) {
                base.positions.insert(index, last.position);
            }
        }
        Ok(Self { identity, ledger, config, base })
    }

    /// What consensus runs on in the present epoch.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Whether the present epoch was opened by this recovery of this node (consensus.md section 4): then nothing that it
    /// forgot can be held against it any more.
    #[must_use]
    pub fn is_opened_by(&self, nonce: &Nonce) -> bool {
        let Some(me) = self.config.me.and_then(|me| self.config.set.get(me)) else { return false };
        let held = self.ledger.membership();
        let opened_by = match held.epoch == self.config.epoch {
            true => Some(&held.opened_by),
            false => held.pending.as_ref().map(|pending| &pending.recovering),
        };
        opened_by.is_some_and(|opened_by| opened_by.get(&me.name) == Some(nonce))
    }

    /// The epoch is over, as its last block and checkpoint prove: the next one begins on them. Returns what shows that
    /// to others.
    ///
    /// # Panics
    /// If the ledger knows of no end, or of another one: consensus compared it before.
    #[expect(clippy::expect_used, reason = "consensus says so only of an end that execution told it")]
    pub fn end_epoch(&mut self, committed: &CommittedProof, stable: &Arc<StableCheckpoint>) -> EpochEnd {
        self.ledger.roll_back(self.ledger.committed());
        let next = self.ledger.membership().next().expect("an epoch ends when its end is agreed");
        assert_eq!(next.base, self.ledger.committed(), "an epoch ends at the height that is agreed");
        assert_eq!(next.set.hash(), stable.checkpoint.next_set, "the next set is the one that is certified");
        let epoch_base = (next.base, stable.checkpoint.block);
        self.config = self.identity.config(next.epoch, epoch_base, Arc::clone(&next.set));
        self.base.positions.clear();
        self.base.succession = Succession::steady(next.epoch, next.set.hash());
        self.base.proof = Some(Arc::new(committed.clone()));
        self.base.stable = Some(Arc::clone(stable));
        let next = dtvn_messages::ValidatorSet::clone(&next.set);
        EpochEnd { committed: committed.clone(), stable: StableCheckpoint::clone(stable), next }
    }

    /// Executes a block speculatively, directly above the last one.
    pub fn execute(&mut self, height: Height, timestamp: Timestamp, bundles: &[Arc<Bundle>]) -> Executed {
        let (set, scheme) = (&self.config.set, &*self.identity.scheme);
        self.ledger.execute(&BlockInput { height, timestamp, bundles, set, scheme })
    }

    /// Undoes executions above this height.
    pub fn roll_back(&mut self, to: Height) {
        self.ledger.roll_back(to);
    }

    /// A replica starts: undoes all that is not final, and tells where the ledger stands, and in which epoch.
    pub fn reset(&mut self) -> (Config, Base) {
        self.ledger.roll_back(self.ledger.committed());
        (self.config.clone(), self.base.clone())
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
        base.succession = effects.executed.succession;
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
