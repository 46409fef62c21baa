//! Blocks, and what other validators say about them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::block::bundles_root;
use dtvn_messages::bundle::BundlePosition;
use dtvn_messages::certificate::Signatures;
use dtvn_messages::view_change::{Sealed, SealedNewView, SealedViewChange};
use dtvn_messages::wire::Status;
use dtvn_messages::{
    Block, Certificate, Checkpoint, CommittedProof, Digest, Epoch, Genesis, Header, Height, NewView,
    PreparedCertificate, RulesVersion, Signed, StableCheckpoint, Succession, Timestamp, ValidatorIndex, View,
    ViewChange, Vote, VoteKind,
};
use dtvn_pbft::{Base, BundleMeta, CertifiedBlock, Message};

use super::fake::{bundle, execute};
use super::sign;

/// A validator by number.
pub fn validator(number: u16) -> ValidatorIndex {
    ValidatorIndex(number)
}

/// The bundle with this number of a validator's first start.
pub fn numbered(origin: u16, number: u64) -> BundleMeta {
    started(origin, 1, number)
}

/// The bundle with this number of some start of a validator.
pub fn started(origin: u16, start: u64, number: u64) -> BundleMeta {
    bundle(validator(origin), BundlePosition { start, number }, 0)
}

/// Makes blocks and statements of one chain.
#[derive(Clone)]
pub struct Story {
    pub genesis: Arc<Genesis>,
}

/// The root of the stand-in state after a block.
pub fn state_root(block: &Block) -> Digest {
    dtvn_messages::sha256(&[b"state", &block.header.log_root.0[..]])
}

impl Story {
    pub fn new(genesis: &Arc<Genesis>) -> Self {
        Self { genesis: Arc::clone(genesis) }
    }

    pub fn digest(&self, block: &Block) -> Digest {
        block.header.digest(self.genesis.chain_id())
    }

    /// When the block at a height is made: ten milliseconds apart.
    pub fn time_at(&self, height: u64) -> Timestamp {
        self.genesis.file().time.plus_micros(1_000_000 + 10_000 * height)
    }

    /// The block of the leader of a view on top of another, or of the genesis, with the right log root.
    pub fn block(&self, view: u64, below: Option<&Block>, bundles: &[BundleMeta]) -> Block {
        let digests: Vec<Digest> = bundles.iter().map(|meta| meta.digest).collect();
        let height = below.map_or(Height(0), |below| below.header.height).next();
        let log = below
            .map_or((0, dtvn_messages::merkle::empty_root()), |below| (below.header.log_size, below.header.log_root));
        let timestamp = self.time_at(height.0);
        let (log_size, log_root) = execute(log, timestamp, &digests);
        let header = Header {
            epoch: Epoch(0),
            rules_version: RulesVersion(1),
            height,
            parent: below.map_or(self.genesis.hash(), |below| self.digest(below)),
            proposer: self.genesis.validators().leader(Epoch(0), View(view)),
            proposed_in_view: View(view),
            timestamp,
            bundles_root: bundles_root(&digests),
            log_size,
            log_root,
        };
        Block { header, bundles: digests }
    }

    /// Blocks at heights 1 to `count`, made in a view, each with the next bundle of an origin.
    pub fn chain(&self, view: u64, count: u64, origin: u16) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        for number in 0..count {
            blocks.push(self.block(view, blocks.last(), &[numbered(origin, number)]));
        }
        blocks
    }

    pub fn vote(&self, kind: VoteKind, view: u64, block: &Block) -> Vote {
        let (epoch, height) = (block.header.epoch, block.header.height);
        Vote { kind, epoch, view: View(view), height, digest: self.digest(block) }
    }

    pub fn prepare(&self, view: u64, block: &Block) -> Vote {
        self.vote(VoteKind::Prepare, view, block)
    }

    pub fn commit(&self, view: u64, block: &Block) -> Vote {
        self.vote(VoteKind::Commit, view, block)
    }

    pub fn signed(&self, signer: u16, vote: Vote) -> Signed<Vote> {
        sign(&self.genesis, validator(signer), vote)
    }

    /// PRE-PREPARE as the leader of the view sends it.
    pub fn pre_prepare(&self, view: u64, block: &Block) -> Message {
        let leader = self.genesis.validators().leader(Epoch(0), View(view));
        let signature = self.signed(leader.0, self.prepare(view, block)).signature;
        Message::PrePrepare { view: View(view), block: Arc::new(block.clone()), digest: self.digest(block), signature }
    }

    pub fn certificate(&self, vote: Vote, signers: &[u16]) -> Certificate {
        let signatures =
            signers.iter().map(|signer| (validator(*signer), self.signed(*signer, vote).signature)).collect();
        Certificate { vote, signatures: Signatures(signatures) }
    }

    pub fn prepared(&self, view: u64, block: &Block, signers: &[u16]) -> PreparedCertificate {
        let certificate = self.certificate(self.prepare(view, block), signers);
        PreparedCertificate { header: block.header.clone(), certificate }
    }

    pub fn committed(&self, view: u64, block: &Block, signers: &[u16]) -> CommittedProof {
        let certificate = self.certificate(self.commit(view, block), signers);
        CommittedProof { header: block.header.clone(), certificate }
    }

    /// A block as sync delivers it; with signers it has a certificate of its own.
    pub fn certified(&self, view: u64, block: &Block, signers: &[u16]) -> CertifiedBlock {
        let certificate = (!signers.is_empty()).then(|| self.certificate(self.commit(view, block), signers));
        CertifiedBlock { block: Arc::new(block.clone()), digest: self.digest(block), certificate }
    }

    /// An epoch without an end.
    pub fn steady(&self) -> Succession {
        Succession::steady(Epoch(0), self.genesis.validators().hash())
    }

    pub fn checkpoint(&self, block: &Block) -> Checkpoint {
        Checkpoint {
            epoch: Epoch(0),
            height: block.header.height,
            block: self.digest(block),
            state_root: self.state_root(block),
            next_epoch: Epoch(0),
            next_set: self.genesis.validators().hash(),
        }
    }

    /// The stand-in for the state: a function of the log.
    pub fn state_root(&self, block: &Block) -> Digest {
        state_root(block)
    }

    pub fn checkpoint_vote(&self, signer: u16, block: &Block) -> Signed<Checkpoint> {
        sign(&self.genesis, validator(signer), self.checkpoint(block))
    }

    pub fn stable(&self, block: &Block, signers: &[u16]) -> StableCheckpoint {
        let checkpoint = self.checkpoint(block);
        let signature = |signer: &u16| sign(&self.genesis, validator(*signer), checkpoint).signature;
        let signatures = signers.iter().map(|signer| (validator(*signer), signature(signer))).collect();
        StableCheckpoint { header: block.header.clone(), checkpoint, signatures: Signatures(signatures) }
    }

    /// The derived state after the last block of [`Self::chain`], with its commit certificate.
    pub fn base(&self, last: &Block, origin: u16, signers: &[u16]) -> Base {
        let position = numbered(origin, last.header.height.0 - 1).position;
        Base {
            height: last.header.height,
            digest: self.digest(last),
            timestamp: last.header.timestamp,
            positions: BTreeMap::from([(validator(origin), position)]),
            log: (last.header.log_size, last.header.log_root),
            state_root: Some(self.state_root(last)),
            empty_run: 0,
            succession: self.steady(),
            proof: Some(Arc::new(self.committed(0, last, signers))),
            stable: None,
        }
    }

    /// A VIEW-CHANGE for a view that shows nothing, to be filled in.
    pub fn bare_view_change(&self, view: u64) -> ViewChange {
        ViewChange { epoch: Epoch(0), view: View(view), stable: None, committed: None, prepared: Vec::new() }
    }

    pub fn view_change(&self, signer: u16, body: ViewChange) -> SealedViewChange {
        Sealed::new(sign(&self.genesis, validator(signer), body), self.genesis.chain_id())
    }

    /// NEW-VIEW of the leader of the view that these lead to.
    pub fn new_view(&self, view: u64, view_changes: &[SealedViewChange]) -> SealedNewView {
        let leader = self.genesis.validators().leader(Epoch(0), View(view));
        let named = view_changes.iter().map(|named| (named.signed.signer, named.digest)).collect();
        let body = NewView { epoch: Epoch(0), view: View(view), view_changes: named };
        Sealed::new(sign(&self.genesis, leader, body), self.genesis.chain_id())
    }

    /// What a peer that has seen nothing but the genesis says of itself.
    pub fn status(&self) -> Status {
        Status {
            epoch: Epoch(0),
            view: View(0),
            active: true,
            committed: Height(0),
            stable: Height(0),
            wish: View(0),
            pending: false,
        }
    }
}
