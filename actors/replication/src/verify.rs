//! Checking what peers say before anybody acts on it: shape, membership and signatures (consensus.md section 1).
//!
//! Whether a signature is valid must be the same on every replica: strict verification, one by one. Pairs of signer and
//! message that held are remembered, because votes come again inside certificates, and certificates inside view changes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::view_change::Sealed;
use dtvn_messages::wire::{CommittedBlock, PeerMessage};
use dtvn_messages::{
    Bundle, CertificateError, ChainId, Digest, Epoch, PublicKey, Scheme, Signature, Statement, ValidatorIndex,
    ValidatorSet, sha256,
};
use dtvn_pbft::{CertifiedBlock, Message};

/// How many verified signatures are remembered; the oldest is forgotten first, and would be checked again.
const REMEMBERED_MAX: usize = 16_384;

/// A scheme that remembers what held.
pub struct Remembering<S> {
    scheme: S,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    known: BTreeSet<Digest>,
    order: VecDeque<Digest>,
}

impl<S> Remembering<S> {
    /// Puts a memory in front of a scheme.
    pub fn new(scheme: S) -> Self {
        Self { scheme, held: Mutex::default() }
    }
}

impl<S: Scheme> Scheme for Remembering<S> {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let name = sha256(&[&key.0, &signature.0, message]);
        if self.held.lock().unwrap_or_else(PoisonError::into_inner).known.contains(&name) {
            return true;
        }
        let holds = self.scheme.verify(key, message, signature);
        if holds {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if held.known.insert(name) {
                held.order.push_back(name);
            }
            if held.order.len() > REMEMBERED_MAX
                && let Some(oldest) = held.order.pop_front()
            {
                held.known.remove(&oldest);
            }
        }
        holds
    }
}

/// What is checked against.
#[derive(Clone)]
pub struct Verifier {
    /// The chain's name.
    pub chain: ChainId,
    /// The current epoch.
    pub epoch: Epoch,
    /// Its validators.
    pub set: Arc<ValidatorSet>,
    /// How signatures are checked.
    pub scheme: Arc<dyn Scheme>,
}

/// Committed blocks of an answer to a sync request, checked: contiguous, chained, each covered by a certificate at or
/// above it, with the bundles that they name.
#[derive(Debug, Clone)]
pub struct CheckedBlocks {
    /// The blocks, in ascending order; the last has a certificate.
    pub blocks: Vec<CertifiedBlock>,
    /// Their bundles, in order.
    pub bundles: Vec<Arc<Bundle>>,
}

/// Why a message is dropped, and its sender blamed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A signature does not hold, or its signer is no validator.
    #[error("a signature of a {0} message does not hold")]
    Signature(&'static str),
    /// A certificate proves nothing.
    #[error("a certificate proves nothing: {0}")]
    Certificate(#[from] CertificateError),
    /// A message that must come from its signer came from another.
    #[error("a {0} message was sent by another than its signer")]
    Foreign(&'static str),
    /// Blocks of a sync answer do not fit together.
    #[error("synced blocks do not fit: {0}")]
    Blocks(&'static str),
}

impl Verifier {
    /// Checks a message of the consensus class. None is a message of another epoch: too old or too new to judge, dropped
    /// without blame.
    ///
    /// # Errors
    /// With the fault for which its sender is to blame.
    pub fn consensus(&self, from: ValidatorIndex, message: PeerMessage) -> Result<Option<Message>, Fault> {
        let name = message.name();
        let own = |signer: ValidatorIndex| if signer == from { Ok(()) } else { Err(Fault::Foreign(name)) };
        let holds = |ok: bool| if ok { Ok(()) } else { Err(Fault::Signature(name)) };
        let checked = match message {
            PeerMessage::PrePrepare(proposal) => {
                if proposal.block.header.epoch != self.epoch {
                    return Ok(None);
                }
                let leader = self.set.leader(self.epoch, proposal.view);
                own(leader)?;
                let digest = proposal.block.header.digest(&self.chain);
                holds(self.holds(leader, &proposal.vote(digest), &proposal.signature))?;
                let (view, signature) = (proposal.view, proposal.signature);
                Message::PrePrepare { view, block: Arc::clone(&proposal.block), digest, signature }
            }
            PeerMessage::Vote(vote) => {
                if vote.body.epoch != self.epoch {
                    return Ok(None);
                }
                if !planted(Canary::SignaturesIgnored) {
                    own(vote.signer)?;
                    holds(vote.verify(&self.chain, &self.set, &*self.scheme))?;
                }
                Message::Vote(vote)
            }
            PeerMessage::Wish { epoch, view } => Message::Wish { epoch, view },
            PeerMessage::ViewChange(signed) => {
                if signed.body.epoch != self.epoch {
                    return Ok(None);
                }
                holds(signed.verify(&self.chain, &self.set, &*self.scheme))?;
                signed.body.verify(&self.chain, &self.set, &*self.scheme)?;
                Message::ViewChange(Sealed::new(Arc::unwrap_or_clone(signed), &self.chain))
            }
            PeerMessage::NewView(signed) => {
                if signed.body.epoch != self.epoch {
                    return Ok(None);
                }
                holds(signed.verify(&self.chain, &self.set, &*self.scheme))?;
                Message::NewView(Sealed::new(Arc::unwrap_or_clone(signed), &self.chain))
            }
            PeerMessage::FetchViewChanges { view, digests } => Message::FetchViewChanges { view, digests },
            PeerMessage::Checkpoint(vote) => {
                if vote.body.epoch != self.epoch {
                    return Ok(None);
                }
                own(vote.signer)?;
                holds(vote.verify(&self.chain, &self.set, &*self.scheme))?;
                Message::Checkpoint(vote)
            }
            other => return self.proofs(other),
        };
        Ok(Some(checked))
    }

    fn proofs(&self, message: PeerMessage) -> Result<Option<Message>, Fault> {
        let (chain, set, scheme) = (&self.chain, &*self.set, &*self.scheme);
        let checked = match message {
            PeerMessage::StableCheckpoint(stable) => {
                if stable.epoch() != self.epoch {
                    return Ok(None);
                }
                stable.verify(chain, set, scheme)?;
                Message::Stable(stable)
            }
            PeerMessage::Prepared(prepared) => {
                if prepared.header.epoch != self.epoch {
                    return Ok(None);
                }
                prepared.verify(chain, set, scheme)?;
                Message::Prepared(prepared)
            }
            PeerMessage::Committed(proof) => {
                if proof.header.epoch != self.epoch {
                    return Ok(None);
                }
                proof.verify(chain, set, scheme)?;
                Message::Committed(proof)
            }
            PeerMessage::FetchBlocks(digests) => Message::FetchBlocks(digests),
            PeerMessage::Block(block) => {
                let digest = block.header.digest(chain);
                Message::Block { block, digest }
            }
            PeerMessage::Status(status) => Message::Status(status),
            _ => return Ok(None),
        };
        Ok(Some(checked))
    }

    fn holds<T: Statement>(&self, signer: ValidatorIndex, statement: &T, signature: &Signature) -> bool {
        let key = self.set.key(signer);
        key.is_some_and(|key| self.scheme.verify(&key, &statement.signed_bytes(&self.chain), signature))
    }

    /// Whether a bundle's origin signed it.
    #[must_use]
    pub fn bundle(&self, bundle: &Bundle) -> bool {
        bundle.verify(&self.chain, &self.set, &*self.scheme)
    }

    /// Checks the blocks of an answer to a sync request that asked from `first` on.
    ///
    /// # Errors
    /// With the fault for which its sender is to blame.
    pub fn blocks(&self, blocks: Vec<CommittedBlock>) -> Result<CheckedBlocks, Fault> {
        let mut checked = CheckedBlocks { blocks: Vec::with_capacity(blocks.len()), bundles: Vec::new() };
        if blocks.last().is_some_and(|last| last.certificate.is_none()) {
            return Err(Fault::Blocks("the last has no certificate"));
        }
        for received in blocks {
            let block = received.block;
            let digest = block.header.digest(&self.chain);
            if let Some(below) = checked.blocks.last() {
                let follows = block.header.height == below.block.header.height.next();
                if !follows || block.header.parent != below.digest {
                    return Err(Fault::Blocks("one does not build on the one before"));
                }
            }
            if !block.is_consistent() || received.bundles.len() != block.bundles.len() {
                return Err(Fault::Blocks("one has other bundles than its header says"));
            }
            if let Some(certificate) = &received.certificate {
                let header = block.header.clone();
                let proof = dtvn_messages::CommittedProof { header, certificate: certificate.clone() };
                if !planted(Canary::SyncUnproven) {
                    proof.verify(&self.chain, &self.set, &*self.scheme)?;
                }
            }
            for (bytes, named) in received.bundles.iter().zip(&block.bundles) {
                let bundle =
                    Bundle::from_bytes(bytes, &self.chain).map_err(|_| Fault::Blocks("a bundle is malformed"))?;
                if bundle.digest != *named {
                    return Err(Fault::Blocks("a bundle is not the one that its block names"));
                }
                checked.bundles.push(bundle);
            }
            checked.blocks.push(CertifiedBlock { block, digest, certificate: received.certificate });
        }
        Ok(checked)
    }
}
