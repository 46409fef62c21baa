//! Checking what peers say before anybody acts on it: shape, membership and signatures (consensus.md section 1).
//!
//! Whether a signature is valid must be the same on every replica: strict verification, one by one. Pairs of signer and
//! message that held are remembered, because votes come again inside certificates, and certificates inside view changes.

mod remembering;
mod synced;
mod way;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::evidence::{EpochContext, EvidenceError};
use dtvn_messages::membership::SignedRecovery;
use dtvn_messages::snapshot::ManifestError;
use dtvn_messages::view_change::Sealed;
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    Bundle, CertificateError, ChainId, Digest, Epoch, EpochEnd, Evidence, Height, Scheme, Signature, Signed, Statement,
    ValidatorIndex, ValidatorSet,
};
use dtvn_pbft::{Config, Message};

use crate::witness::Docket;

use crate::receipts::Said;

pub use remembering::Remembering;
pub use synced::{CheckedBlocks, CheckedPart};
pub use way::Way;

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
    /// The heights above a stable checkpoint at which anything may be prepared.
    pub log_window: u64,
    /// How signatures are checked.
    pub scheme: Arc<dyn Scheme>,
    /// By what evidence is judged, beside.
    pub evidence: EvidenceRules,
    /// What leads to later epochs, while this node is behind.
    pub way: Way,
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
        let (log_window, evidence) = (config.parameters.log_window, EvidenceRules::of(config));
        Self { chain, epoch, set, former, log_window, scheme, evidence, way: Way::default() }
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
                // Whoever shows more than a window of heights shows what is stable: no honest one does.
                if signed.body.prepared.len() as u64 > self.log_window {
                    let why = "a view change shows more prepared blocks than a window has heights";
                    return Err(Fault::Certificate(CertificateError::Mismatch(why)));
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

    /// Checks how this epoch ended: the two certificates, for the replica. False for another epoch.
    ///
    /// # Errors
    /// With the fault for which its sender is to blame.
    pub fn epoch_end(&self, end: &EpochEnd) -> Result<bool, Fault> {
        if end.epoch() != self.epoch {
            return Ok(false);
        }
        end.verify(&self.chain, &self.set, &*self.scheme)?;
        Ok(true)
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
}
