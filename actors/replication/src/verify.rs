//! Checking what peers say before anybody acts on it: shape, membership and signatures (consensus.md section 1).
//!
//! Whether a signature is valid must be the same on every replica: strict verification, one by one. Pairs of signer and
//! message that held are remembered, because votes come again inside certificates, and certificates inside view changes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::evidence::{EpochContext, EvidenceError};
use dtvn_messages::limits::VERIFIER_REMEMBERED_MAX;
use dtvn_messages::membership::SignedRecovery;
use dtvn_messages::snapshot::{CheckedManifest, Manifest, ManifestError, decode_entries};
use dtvn_messages::state::Part;
use dtvn_messages::view_change::Sealed;
use dtvn_messages::wire::{CommittedBlock, PeerMessage};
use dtvn_messages::{
    Bundle, CertificateError, ChainId, Digest, Epoch, EpochEnd, Evidence, Height, PublicKey, Scheme, Signature, Signed,
    Statement, ValidatorIndex, ValidatorSet, sha256,
};
use dtvn_pbft::{CertifiedBlock, Config, Message};

use crate::witness::Docket;

use crate::receipts::Said;

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
            if held.order.len() > VERIFIER_REMEMBERED_MAX
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
    /// Those of the epoch before: their last cosignatures may still be on their way.
    pub former: Option<(Epoch, Arc<ValidatorSet>)>,
    /// How signatures are checked.
    pub scheme: Arc<dyn Scheme>,
    /// By what evidence is judged, beside.
    pub evidence: EvidenceRules,
}

/// By what evidence is judged, beside keys; and which is known already.
#[derive(Debug, Clone)]
pub struct EvidenceRules {
    /// Where the epoch begins: height, and digest there.
    pub base: (Height, Digest),
    /// How many heights a view lasts; 0 is for ever.
    pub rotation_interval: u64,
    /// What is known.
    pub docket: Docket,
}

impl EvidenceRules {
    /// Those of an epoch. Nothing is known yet.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let base = (config.epoch_base, config.epoch_base_digest);
        Self { base, rotation_interval: config.parameters.rotation_interval, docket: Docket::default() }
    }
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

/// A message that is about receipts, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// About receipts: every signature holds.
    Said(Said),
    /// Evidence that is new, and proves what it says.
    Evidence(Arc<Evidence>),
    /// Something that is known, or cannot be judged here.
    Nothing,
    /// About something else: not looked at.
    Other(PeerMessage),
}

/// A part of a snapshot, well formed, with the hash that it really has.
#[derive(Debug, Clone)]
pub struct CheckedPart {
    /// The height of the checkpoint that it is said to be of.
    pub height: Height,
    /// The part.
    pub part: Part,
    /// Its hash.
    pub hash: Digest,
    /// Its entries, as they travelled.
    pub entries: Arc<Vec<u8>>,
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
    /// A validator signed a VIEW-CHANGE that shows what is not so.
    #[error("a certificate in a signed view change proves nothing: {0}")]
    Forged(CertificateError, Arc<Evidence>),
    /// Evidence proves nothing.
    #[error("evidence that proves nothing: {0}")]
    Evidence(String),
    /// Blocks of a sync answer do not fit together.
    #[error("synced blocks do not fit: {0}")]
    Blocks(&'static str),
    /// A snapshot's manifest does not hold.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A part of a snapshot is malformed.
    #[error("a part of a snapshot is malformed: {0}")]
    Part(&'static str),
}

impl Fault {
    /// What the fault proves to anybody.
    #[must_use]
    pub fn evidence(&self) -> Option<&Arc<Evidence>> {
        match self {
            Self::Forged(_, evidence) => Some(evidence),
            _ => None,
        }
    }
}

impl Verifier {
    /// That of an epoch.
    #[must_use]
    pub fn of(config: &Config, scheme: Arc<dyn Scheme>) -> Self {
        let former = config.former.as_ref().map(|former| (former.epoch, Arc::clone(&former.set)));
        let (chain, epoch, set) = (config.chain.clone(), config.epoch, Arc::clone(&config.set));
        Self { chain, epoch, set, former, scheme, evidence: EvidenceRules::of(config) }
    }

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
                if let Err(error) = signed.body.verify(&self.chain, &self.set, &*self.scheme) {
                    let evidence = Evidence::ForgedCertificate(Box::new(Signed::clone(&signed)));
                    return Err(Fault::Forged(error, Arc::new(evidence)));
                }
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

    /// Checks evidence that a peer shows. What is known costs nothing; what proves nothing is the sender's lie.
    fn judge(&self, evidence: Arc<Evidence>) -> Result<Checked, Fault> {
        if evidence.slot().epoch != self.epoch || !self.evidence.docket.wants(&evidence) {
            return Ok(Checked::Nothing);
        }
        if !evidence.kind().is_proof() {
            return Err(Fault::Evidence("an accusation proves nothing to others".to_owned()));
        }
        match self.check_evidence(&evidence) {
            Ok(()) => Ok(Checked::Evidence(evidence)),
            Err(error) => Err(Fault::Evidence(error.to_string())),
        }
    }

    /// Whether evidence of this epoch holds.
    ///
    /// # Errors
    /// With why it proves nothing.
    pub fn check_evidence(&self, evidence: &Evidence) -> Result<(), EvidenceError> {
        let EvidenceRules { base, rotation_interval, .. } = self.evidence;
        let context = EpochContext { set: &self.set, base, rotation_interval };
        evidence.verify(&self.chain, |epoch| (epoch == self.epoch).then_some(context), &*self.scheme)
    }

    /// The validators of the present epoch, or of the one before.
    fn set_of(&self, epoch: Epoch) -> Option<&ValidatorSet> {
        let former = self.former.as_ref().filter(|(former, _)| *former == epoch).map(|(_, set)| &**set);
        if epoch == self.epoch { Some(&*self.set) } else { former }
    }

    /// The index that the validator at an index of the present set has in that of an epoch.
    fn index_in(&self, epoch: Epoch, now: ValidatorIndex) -> Option<ValidatorIndex> {
        self.set_of(epoch)?.index_of_key(&self.set.key(now)?)
    }

    /// Checks what a peer says about receipts or lies; a message about something else is handed back. What is of an epoch that is
    /// neither this one nor the one before is left out, without blame.
    ///
    /// # Errors
    /// With the fault for which its sender is to blame.
    pub fn receipts(&self, from: ValidatorIndex, message: PeerMessage) -> Result<Checked, Fault> {
        let name = message.name();
        let (chain, scheme) = (&self.chain, &*self.scheme);
        let said = match message {
            PeerMessage::Cosign(mut list) => {
                list.retain(|signed| self.set_of(signed.body.epoch).is_some());
                if list.iter().any(|signed| self.index_in(signed.body.epoch, from) != Some(signed.signer)) {
                    return Err(Fault::Foreign(name));
                }
                let set = |epoch| self.set_of(epoch);
                if !list
                    .iter()
                    .all(|signed| set(signed.body.epoch).is_some_and(|set| signed.verify(chain, set, scheme)))
                {
                    return Err(Fault::Signature(name));
                }
                Said::Cosignatures(list)
            }
            PeerMessage::Receipts(mut list) => {
                list.retain(|certificate| self.set_of(certificate.head.epoch).is_some());
                for certificate in &list {
                    if let Some(set) = self.set_of(certificate.head.epoch) {
                        certificate.verify(chain, set, scheme)?;
                    }
                }
                Said::Certificates(list)
            }
            PeerMessage::FetchReceipts { above } => Said::Wanted { above },
            PeerMessage::Evidence(evidence) => return self.judge(evidence),
            other => return Ok(Checked::Other(other)),
        };
        Ok(Checked::Said(said))
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

    /// Checks how this epoch ended: the two certificates, for the replica. Nothing for another epoch.
    ///
    /// # Errors
    /// With the fault for which its sender is to blame.
    pub fn epoch_end(&self, end: &EpochEnd) -> Result<Vec<Message>, Fault> {
        if end.epoch() != self.epoch {
            return Ok(Vec::new());
        }
        end.verify(&self.chain, &self.set, &*self.scheme)?;
        let committed = Message::Committed(Arc::new(end.committed.clone()));
        Ok(vec![committed, Message::Stable(Arc::new(end.stable.clone()))])
    }

    /// Checks the recovery that a validator asks for. False is one of another epoch, dropped without blame.
    ///
    /// # Errors
    /// With the fault for which its sender is to blame.
    pub fn recovery(&self, from: ValidatorIndex, asked: &SignedRecovery) -> Result<bool, Fault> {
        if asked.body.epoch != self.epoch {
            return Ok(false);
        }
        if self.set.index_of_name(asked.body.validator.as_str()) != Some(from) {
            return Err(Fault::Foreign("recover"));
        }
        if asked.verify(&self.chain, &self.set, &*self.scheme) { Ok(true) } else { Err(Fault::Signature("recover")) }
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

    /// Checks a snapshot's manifest. None is one of an earlier epoch.
    ///
    /// # Errors
    /// With the fault for which its sender is to blame.
    pub fn manifest(&self, manifest: Arc<Manifest>) -> Result<Option<Arc<CheckedManifest>>, Fault> {
        if manifest.stable.epoch() < self.epoch {
            return Ok(None);
        }
        let checked = manifest.check(&self.chain, (self.epoch, &self.set), &*self.scheme)?;
        Ok(Some(Arc::new(checked)))
    }

    /// Checks a part of a snapshot by itself, and hashes it: the certified hash is known to who asked for it.
    ///
    /// # Errors
    /// With the fault for which its sender is to blame.
    pub fn part(&self, height: Height, part: Part, entries: Arc<Vec<u8>>) -> Result<CheckedPart, Fault> {
        let raw = decode_entries(&entries).map_err(|_| Fault::Part("it cannot be read, or is too long"))?;
        let hash = part.hash_of(&raw).ok_or(Fault::Part("its entries are foreign to it, or not in order"))?;
        Ok(CheckedPart { height, part, hash, entries })
    }

    /// Checks the blocks of an answer to a sync request that asked from `first` on.
    ///
    /// # Errors
    /// With the fault for which its sender is to blame.
    pub fn blocks(&self, blocks: Vec<CommittedBlock>) -> Result<CheckedBlocks, Fault> {
        let mut checked = CheckedBlocks { blocks: Vec::with_capacity(blocks.len()), bundles: Vec::new() };
        // What lies beyond the end of this epoch is for a later request: its validators are not known yet.
        let blocks: Vec<_> =
            blocks.into_iter().take_while(|received| received.block.header.epoch == self.epoch).collect();
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Every signature holds, and is counted.
    struct Counting(AtomicUsize);

    impl Scheme for Counting {
        fn verify(&self, _: &PublicKey, _: &[u8], _: &Signature) -> bool {
            self.0.fetch_add(1, Ordering::Relaxed);
            true
        }
    }

    #[test]
    fn the_signature_that_was_checked_first_is_forgotten_first_and_checked_again() {
        let scheme = Remembering::new(Counting(AtomicUsize::new(0)));
        let verify = |number: usize| scheme.verify(&PublicKey([0; 32]), &number.to_be_bytes(), &Signature([0; 64]));
        let checked = |scheme: &Remembering<Counting>| scheme.scheme.0.load(Ordering::Relaxed);
        (0..=VERIFIER_REMEMBERED_MAX).for_each(|number| assert!(verify(number)));
        assert_eq!(checked(&scheme), VERIFIER_REMEMBERED_MAX + 1);
        assert_eq!(scheme.held.lock().unwrap().known.len(), VERIFIER_REMEMBERED_MAX);
        assert!(verify(1) && verify(VERIFIER_REMEMBERED_MAX));
        assert_eq!(checked(&scheme), VERIFIER_REMEMBERED_MAX + 1, "they are remembered");
        assert!(verify(0));
        assert_eq!(checked(&scheme), VERIFIER_REMEMBERED_MAX + 2, "it was forgotten");
    }
}
