//! The ledger in its place: executes what consensus orders, hands out what is final, and knows where a replica that
//! starts stands (consensus.md section 11: "load, replay through `step`, go on"), and in which epoch (section 10).
//!
//! Beside it the state map (section 5). Its root is wanted after each committed checkpoint block, and bringing the map up
//! to date is [`Rooting`]: work that can be done elsewhere while the ledger goes on. What the map was at a checkpoint
//! stays readable, and is served to others once the checkpoint is stable ([`Snapshot`], section 7).

mod rooting;
mod shelf;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use dtvn_ledger::{BlockEffects, BlockInput, Executed, Ledger, StateMap};
use dtvn_messages::merkle::LogEdge;
use dtvn_messages::{
    Bundle, Certificate, CommittedProof, Digest, Epoch, EpochEnd, Genesis, Height, Nonce, PublicKey, Scheme,
    StableCheckpoint, Succession, Timestamp, ValidatorSet,
};
use dtvn_pbft::{Base, Committee, Config};

use crate::consensus::Committed;
use rooting::Due;

#[cfg(test)]
pub(crate) use shelf::tests::shelf_of;

pub use rooting::{Rooted, Rooting};
pub use shelf::{Shelf, Snapshot, Version};
pub use stored::{LastBlock, StateError, Stored};

/// Consensus and ledger disagree about how many blocks became final at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} blocks were committed where one was due")]
pub struct NotOneBlock(usize);

/// Who a node is, and how it judges signatures.
#[derive(Clone)]
pub struct Identity {
    /// The genesis of its chain.
    pub genesis: Arc<Genesis>,
    /// Its key: where a validator set has it, the node is that validator. None for one that never votes.
    pub key: Option<PublicKey>,
    /// How signatures are checked.
    pub scheme: Arc<dyn Scheme>,
}

impl Identity {
    /// What consensus runs on in an epoch that begins with a membership, on a block of this digest.
    fn config(
        &self,
        epoch: Epoch,
        base: (Height, Digest),
        set: Arc<ValidatorSet>,
        former: Option<Arc<ValidatorSet>>,
    ) -> Config {
        let mut config = Config::of_epoch(&self.genesis, epoch, base, set, self.key.as_ref());
        config.former = former.map(|set| {
            let me = self.key.as_ref().and_then(|key| set.index_of_key(key));
            Committee { epoch: epoch.previous(), set, me }
        });
        config
    }
}

/// The ledger, the epoch, the state map, and the base of a replica above them.
pub struct Execution {
    identity: Identity,
    ledger: Ledger,
    config: Config,
    base: Base,
    interval: u64,
    /// The state after the last checkpoint, or as it was loaded; none while a [`Rooting`] has it.
    map: Option<StateMap>,
    edge: LogEdge,
    /// What was committed since.
    changes: Vec<Arc<BlockEffects>>,
    due: VecDeque<Due>,
    shelf: Arc<Shelf>,
}

impl Execution {
    /// The ledger of a stored state. The state map is made from it: it is not stored, so that a state that was altered on
    /// disk is found at the next checkpoint.
    ///
    /// # Errors
    /// If it is no state that a ledger can have.
    pub fn load(identity: Identity, stored: Stored) -> Result<Self, StateError> {
        let Stored { image, block, stable, ends, edge } = stored;
        let opening = ends.last();
        let is_whole = ends.iter().zip(0..).all(|(end, epoch)| end.epoch() == Epoch(epoch));
        let positions = image.last_bundles.clone();
        let map = image.state_map(&identity.genesis);
        let ledger = Ledger::load(&identity.genesis, image)?;
        let (held, height) = (ledger.membership(), ledger.committed());
        let epoch = opening.map_or(Epoch(0), |end| end.epoch().next());
        let (set, is_turned) = match opening {
            // The end of the ledger's epoch is reached and proved; its next block is in the next one.
            Some(end) if end.epoch() == held.epoch && end.height() == height => (Arc::new(end.next.clone()), true),
            _ if epoch == held.epoch && is_whole => (Arc::clone(&held.set), false),
            _ => return Err(StateError::Epoch { ledger: held.epoch, height, epoch }),
        };
        let epoch_base = match opening {
            Some(end) => (end.height(), end.stable.checkpoint.block),
            None => (identity.genesis.base(), identity.genesis.hash()),
        };
        let before = ends.len().checked_sub(2).and_then(|before| ends.get(before)).map(|end| &end.next);
        let former = opening.map(|_| before.unwrap_or_else(|| identity.genesis.validators()).clone());
        let config = identity.config(epoch, epoch_base, set, former.map(Arc::new));
        let mut base = base_of(&identity.genesis, block.as_ref(), stable.clone().map(Arc::new));
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
        let interval = identity.genesis.parameters().checkpoint_interval;
        let mut shelf = Shelf { ends, ..Shelf::default() };
        if let Some(last) = block.filter(|last| last.block.header.height.0.is_multiple_of(interval)) {
            base.state_root = Some(map.root());
            let (block, certificate) = (Arc::new(last.block), last.certificate);
            let version = Version { block, certificate, edge: edge.clone(), map: map.clone() };
            shelf.put(Arc::new(version));
        }
        if let Some(stable) = stable {
            shelf.stable(&Arc::new(stable));
        }
        Ok(Self {
            identity,
            ledger,
            config,
            base,
            interval,
            map: Some(map),
            edge,
            changes: Vec::new(),
            due: VecDeque::new(),
            shelf: Arc::new(shelf),
        })
    }

    /// What consensus runs on in the present epoch.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The recovery of this node that opened the present epoch, if one did (consensus.md section 4): then nothing that it
    /// forgot before can be held against it any more.
    #[must_use]
    pub fn own_recovery(&self) -> Option<Nonce> {
        let me = self.config.me.and_then(|me| self.config.set.get(me))?;
        let held = self.ledger.membership();
        let opened_by = match held.epoch == self.config.epoch {
            true => Some(&held.opened_by),
            false => held.pending.as_ref().map(|pending| &pending.recovering),
        };
        opened_by?.get(&me.name).copied()
    }

    /// The epoch is over, as its last block and checkpoint prove: the next one begins on them. Returns what shows that
    /// to others.
    ///
    /// # Panics
    /// If the ledger knows of no end, or of another one: consensus compared it before.
    #[expect(clippy::expect_used, reason = "consensus says so only of an end that execution told it")]
    pub fn end_epoch(&mut self, committed: &CommittedProof, stable: &Arc<StableCheckpoint>) -> Arc<EpochEnd> {
        self.ledger.roll_back(self.ledger.committed());
        let next = self.ledger.membership().next().expect("an epoch ends when its end is agreed");
        assert_eq!(next.base, self.ledger.committed(), "an epoch ends at the height that is agreed");
        assert_eq!(next.set.hash(), stable.checkpoint.next_set, "the next set is the one that is certified");
        let epoch_base = (next.base, stable.checkpoint.block);
        let former = Some(Arc::clone(&self.config.set));
        self.config = self.identity.config(next.epoch, epoch_base, Arc::clone(&next.set), former);
        self.base.positions.clear();
        self.base.succession = Succession::steady(next.epoch, next.set.hash());
        self.base.proof = Some(Arc::new(committed.clone()));
        self.base.stable = Some(Arc::clone(stable));
        let next = ValidatorSet::clone(&next.set);
        let end = EpochEnd { committed: committed.clone(), stable: StableCheckpoint::clone(stable), next };
        let end = Arc::new(end);
        Arc::make_mut(&mut self.shelf).ends.push(Arc::clone(&end));
        end
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
        let mut config = self.config.clone();
        // Whoever forgot what it said in the epoch before adds nothing to it.
        if self.own_recovery().is_some()
            && let Some(former) = &mut config.former
        {
            former.me = None;
        }
        (config, self.base.clone())
    }

    /// The block at the next height is final: what it changed. At a checkpoint height [`Self::next_rooting`] has work
    /// then.
    ///
    /// # Errors
    /// If it is not the next height.
    pub fn commit(&mut self, committed: &Committed) -> Result<Arc<BlockEffects>, NotOneBlock> {
        let header = &committed.block.header;
        let effects = self.ledger.commit(header.height);
        let [effects] = <[BlockEffects; 1]>::try_from(effects).map_err(|effects| NotOneBlock(effects.len()))?;
        let effects = Arc::new(effects);
        let base = &mut self.base;
        base.height = header.height;
        base.digest = committed.digest;
        base.timestamp = header.timestamp;
        base.log = (header.log_size, header.log_root);
        base.succession = effects.executed.succession;
        base.state_root = None;
        base.empty_run = if committed.block.bundles.is_empty() { base.empty_run + 1 } else { 0 };
        for bundle in &committed.bundles {
            base.positions.insert(bundle.body.origin, bundle.position());
        }
        if let Some(certificate) = &committed.certificate {
            let proof = CommittedProof { header: header.clone(), certificate: certificate.clone() };
            base.proof = Some(Arc::new(proof));
        }
        effects.log.leaves.iter().for_each(|leaf| self.edge.append(*leaf));
        self.changes.push(Arc::clone(&effects));
        if header.height.0.is_multiple_of(self.interval) {
            self.due.push_back(Due {
                block: Arc::clone(&committed.block),
                certificate: committed.certificate.clone(),
                edge: self.edge.clone(),
                changes: std::mem::take(&mut self.changes),
            });
        }
        Ok(effects)
    }

    /// The next checkpoint whose state root is wanted, if no other is being worked on. Give the result of
    /// [`Rooting::run`] to [`Self::rooted`].
    pub fn next_rooting(&mut self) -> Option<Rooting> {
        let map = self.map.take_if(|_| !self.due.is_empty())?;
        self.due.pop_front().map(|due| Rooting { map, due })
    }

    /// The state map is up to date with a checkpoint: its height, and the state root.
    pub fn rooted(&mut self, rooted: Rooted) -> (Height, Digest) {
        let Rooted { map, due } = rooted;
        let Due { block, certificate, edge, .. } = due;
        let (height, root) = (block.header.height, map.root());
        if self.base.height == height {
            self.base.state_root = Some(root);
        }
        let version = Version { block, certificate, edge, map: map.clone() };
        let shelf = Arc::make_mut(&mut self.shelf);
        shelf.put(Arc::new(version));
        // Others may have been faster.
        if let Some(stable) = self.base.stable.as_ref().filter(|stable| stable.height() == height) {
            shelf.stable(stable);
        }
        self.map = Some(map);
        (height, root)
    }

    /// A checkpoint is stable: its state can be served, those before the last one are forgotten.
    pub fn stable(&mut self, stable: &Arc<StableCheckpoint>) {
        self.base.stable = Some(Arc::clone(stable));
        Arc::make_mut(&mut self.shelf).stable(stable);
    }

    /// The former states that are kept.
    #[must_use]
    pub const fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// The ledger, to look at.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}

/// Where the ledger stands, for a replica that starts.
fn base_of(genesis: &Genesis, last: Option<&LastBlock>, stable: Option<Arc<StableCheckpoint>>) -> Base {
    let mut base = Base::genesis(genesis);
    let Some(last) = last else { return base };
    let header = &last.block.header;
    base.height = header.height;
    base.digest = last.digest;
    base.timestamp = header.timestamp;
    base.log = (header.log_size, header.log_root);
    base.empty_run = u64::from(last.block.bundles.is_empty());
    let proof = |certificate: &Certificate| CommittedProof { header: header.clone(), certificate: certificate.clone() };
    base.proof = last.certificate.as_ref().map(|certificate| Arc::new(proof(certificate)));
    base.stable = stable;
    base
}
