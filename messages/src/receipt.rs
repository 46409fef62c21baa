//! Receipts: what became of an operation, proved to anybody who knows the validators' keys (api.md section 5).
//!
//! A [`ReceiptCertificate`] is a head of the transparency log with cosignatures of power `Q`. A [`Receipt`] is a C2SP
//! `tlog-proof` against it:
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <the leaf: the layout of the outcome, base64>
//! index <index of the leaf>
//! <inclusion path, a hash in base64 for each line>
//!
//! <the checkpoint and its cosignatures: a signed note>
//! ```
//!
//! Signature lines of keys that are not those of the epoch's validators are left alone; one by a known key that does not
//! hold makes the whole receipt invalid.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::certificate::{CertificateError, Signatures};
use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::{Digest, Scheme, Signature};
use crate::head::{Head, cosignature_line, cosigned_text, cosigner_chain, cosigner_name, read_cosignature};
use crate::ids::{ChainId, Epoch, ValidatorIndex};
use crate::limits;
use crate::merkle::{leaf_hash, verify_inclusion};
use crate::note::{NoteError, SignedNote, decimal, decode_base64, encode_base64, key_id};
use crate::outcome::Outcome;
use crate::policy::Policy;
use crate::validators::ValidatorSet;

/// The media type of a receipt.
pub const TLOG_PROOF: &str = "text/vnd.tlog-proof";

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Cosignatures of power `Q` over the head after one block. Layout: the head, then the signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptCertificate {
    /// What all of them signed.
    pub head: Head,
    /// Their signatures.
    pub signatures: Signatures,
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReceiptError {
    /// It is not the text of a receipt.
    #[error("this is no receipt: {0}")]
    Note(#[from] NoteError),
    /// Its leaf is no outcome.
    #[error("its leaf is no outcome: {0}")]
    Leaf(#[from] DecodeError),
    /// The leaf says another index.
    #[error("its leaf has the index {leaf}, the proof is for {proof}")]
    Index {
        /// What the leaf says.
        leaf: u64,
        /// What the proof says.
        proof: u64,
    },
    /// The path does not lead from the leaf to the root.
    #[error("its inclusion path does not lead from its leaf to the root of its checkpoint")]
    Path,
    /// The validators of its epoch are not known.
    #[error("its checkpoint is of epoch {0}, whose validators are not known here")]
    Epoch(Epoch),
    /// A cosignature of a known key does not hold.
    #[error("the cosignature of {0} does not hold")]
    BadSignature(String),
    /// The cosigners have too little power.
    #[error("it is cosigned with power {power}, a quorum is {quorum}")]
    TooFew {
        /// The power of the cosigners.
        power: u64,
        /// The power that is needed.
        quorum: u64,
    },
    /// It is of another chain than whoever judges it asks about.
    #[error("it is of the chain {found}, but the genesis is of {expected}")]
    OtherChain {
        /// Its chain.
        found: ChainId,
        /// The chain that is asked about.
        expected: ChainId,
    },
    /// The keys that are trusted are those of another chain. They may be the same keys.
    #[error("it is of the chain {found}, but the policy is of {expected}")]
    OtherPolicy {
        /// Its chain.
        found: ChainId,
        /// The chain in the name of a witness of the policy that cosigned it.
        expected: String,
    },
    /// The policy asks for nothing.
    #[error("the policy asks for no cosignature at all, so it proves nothing")]
    NothingAsked,
    /// The policy's quorum is not met.
    #[error("its cosigners do not meet the quorum of the policy: {0}")]
    Policy(String),
}

/// What a valid receipt says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What became of the operation.
    pub outcome: Outcome,
    /// The head that proves it. Its time is the latest of the counted cosignatures.
    pub head: Head,
    /// Whose cosignatures hold and were counted, by name.
    pub cosigners: Vec<String>,
    /// Their power, and what was needed; none under a policy, which knows no powers.
    pub power: Option<(u64, u64)>,
}

impl ReceiptCertificate {
    /// Checks that validators of power `Q` of the head's epoch signed it.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn verify(&self, chain: &ChainId, set: &ValidatorSet, scheme: &dyn Scheme) -> Result<(), CertificateError> {
        self.signatures.verify(&self.head, chain, set, scheme)
    }

    /// The cosigned checkpoint, as stock tools read it. `set` is that of the head's epoch.
    #[must_use]
    pub fn to_note(&self, chain: &ChainId, set: &ValidatorSet) -> SignedNote {
        let time = self.head.time_seconds;
        let lines = self.signatures.0.iter().filter_map(|(signer, signature)| {
            let validator = set.get(*signer)?;
            let name = cosigner_name(chain, &validator.name);
            Some(cosignature_line(&name, &validator.public_key, time, signature))
        });
        SignedNote { text: self.head.checkpoint(chain), signatures: lines.collect() }
    }
}

impl Layout for ReceiptCertificate {
    fn write(&self, writer: &mut Writer) {
        self.head.write(writer);
        self.signatures.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { head: Layout::read(reader)?, signatures: Layout::read(reader)? })
    }
}

/// A receipt, as it is written and read. That it is well-formed says nothing: [`Receipt::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The leaf: the layout of the outcome.
    pub leaf: Vec<u8>,
    /// Its index in the log.
    pub index: u64,
    /// The inclusion path, from the leaf's sibling upwards.
    pub path: Vec<Digest>,
    /// The cosigned checkpoint.
    pub checkpoint: SignedNote,
}

impl Receipt {
    /// The receipt as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nextra {}\nindex {}\n", encode_base64(&self.leaf), self.index);
        for hash in &self.path {
            text.push_str(&encode_base64(&hash.0));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint.to_text());
        text
    }

    /// Reads a receipt.
    ///
    /// # Errors
    /// If it has not the form, or is longer than [`limits::RECEIPT_BYTES_MAX`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let limit = limits::RECEIPT_BYTES_MAX;
        if text.len() > limit {
            return Err(NoteError::TooLong { found: text.len(), limit });
        }
        let (proof, note) =
            text.split_once("\n\n").ok_or(NoteError::Form("a receipt has a blank line before its checkpoint"))?;
        let mut lines = proof.split('\n');
        let fail = |line, why| NoteError::Line { line, why };
        if lines.next() != Some(FIRST_LINE) {
            return Err(fail(1, "a receipt begins with c2sp.org/tlog-proof@v1"));
        }
        let leaf = lines.next().and_then(|line| line.strip_prefix("extra ")).and_then(decode_base64);
        let leaf = leaf.ok_or(fail(2, "this is no line with the leaf in base64"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(decimal);
        let index = index.ok_or(fail(3, "this is no line with the index of the leaf"))?;
        let mut path = Vec::new();
        for (number, line) in lines.enumerate() {
            let hash = decode_base64(line).and_then(|bytes| bytes.try_into().ok());
            path.push(Digest(hash.ok_or(fail(number + 4, "this is no hash in base64"))?));
        }
        Ok(Self { leaf, index, path, checkpoint: SignedNote::parse(note)? })
    }

    /// The chain that its checkpoint names, if that is one of ours. That it is of this chain is not proved by that.
    #[must_use]
    pub fn chain(&self) -> Option<ChainId> {
        let origin = self.checkpoint.text.lines().next()?;
        ChainId::new(origin.strip_prefix("dtvn/")?).ok()
    }

    /// Checks the receipt with the keys of the validators alone: `set_of` gives those of an epoch.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn verify<'a>(
        &self,
        chain: &ChainId,
        set_of: impl Fn(Epoch) -> Option<&'a ValidatorSet>,
        scheme: &dyn Scheme,
    ) -> Result<Verified, ReceiptError> {
        if let Some(found) = self.chain().filter(|found| found != chain) {
            return Err(ReceiptError::OtherChain { found, expected: chain.clone() });
        }
        let mut head = Head::from_checkpoint(&self.checkpoint.text, chain, 0)?;
        let set = set_of(head.epoch).ok_or(ReceiptError::Epoch(head.epoch))?;
        let outcome = self.included(&head)?;
        let cosigners = counted(&self.checkpoint, chain, set, scheme)?;
        let power = set.power_of(cosigners.keys().copied());
        if power < set.quorum() {
            return Err(ReceiptError::TooFew { power, quorum: set.quorum() });
        }
        head.time_seconds = cosigners.values().map(|(time, _)| *time).max().unwrap_or(0);
        let names = cosigners.into_values().map(|(_, name)| name);
        Ok(Verified { outcome, head, cosigners: names.collect(), power: Some((power, set.quorum())) })
    }

    /// Checks the receipt with a policy (C2SP `tlog-policy`), which knows neither powers nor epochs. A cosignature does not
    /// say the name of its key, so one by a validator of another chain counts for nothing: only the name in the policy tells.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn verify_by_policy(
        &self,
        policy: &Policy,
        chain: &ChainId,
        scheme: &dyn Scheme,
    ) -> Result<Verified, ReceiptError> {
        if policy.is_met(|_| false) {
            return Err(ReceiptError::NothingAsked);
        }
        let mut head = Head::from_checkpoint(&self.checkpoint.text, chain, 0)?;
        let outcome = self.included(&head)?;
        let (mut cosigners, mut elsewhere) = (BTreeMap::new(), None);
        for (label, name, key) in policy.witnesses() {
            let Some((time, _)) = cosignature(&self.checkpoint, name, key, scheme)? else { continue };
            match cosigner_chain(name).filter(|other| *other != chain.as_str()) {
                Some(other) => elsewhere = Some(other),
                None => _ = cosigners.insert(label, time),
            }
        }
        if !policy.is_met(|label| cosigners.contains_key(label)) {
            if let Some(other) = elsewhere {
                return Err(ReceiptError::OtherPolicy { found: chain.clone(), expected: other.to_owned() });
            }
            let names: Vec<&str> = cosigners.keys().copied().collect();
            return Err(ReceiptError::Policy(format!("{} of {}", names.len(), policy.witnesses().count())));
        }
        head.time_seconds = cosigners.values().copied().max().unwrap_or(0);
        let names = cosigners.into_keys().map(str::to_owned);
        Ok(Verified { outcome, head, cosigners: names.collect(), power: None })
    }

    /// The outcome, if the path leads from it to the root of the head.
    fn included(&self, head: &Head) -> Result<Outcome, ReceiptError> {
        let outcome = Outcome::from_bytes(&self.leaf)?;
        if outcome.index != self.index {
            return Err(ReceiptError::Index { leaf: outcome.index, proof: self.index });
        }
        let leaf = leaf_hash(&self.leaf);
        let is_in = verify_inclusion(&leaf, self.index, head.log_size, &self.path, &head.log_root);
        if is_in { Ok(outcome) } else { Err(ReceiptError::Path) }
    }
}

/// Time and signature of the cosignature by this key, if there is one and it holds.
fn cosignature(
    note: &SignedNote,
    name: &str,
    key: &crate::crypto::PublicKey,
    scheme: &dyn Scheme,
) -> Result<Option<(u64, Signature)>, ReceiptError> {
    let id = key_id(name, key);
    let mut found = None;
    for line in note.signatures.iter().filter(|line| line.name == name && line.key_id == id) {
        let bad = || ReceiptError::BadSignature(name.to_owned());
        let (time, signature) = read_cosignature(&line.payload).ok_or_else(bad)?;
        if !scheme.verify(key, cosigned_text(time, &note.text).as_bytes(), &signature) {
            return Err(bad());
        }
        found = Some((time, signature));
    }
    Ok(found)
}

/// The validators whose cosignatures hold, each once, with time and name.
fn counted(
    note: &SignedNote,
    chain: &ChainId,
    set: &ValidatorSet,
    scheme: &dyn Scheme,
) -> Result<BTreeMap<ValidatorIndex, (u64, String)>, ReceiptError> {
    let mut counted = BTreeMap::new();
    for (index, validator) in set.iter() {
        let name = cosigner_name(chain, &validator.name);
        if let Some((time, _)) = cosignature(note, &name, &validator.public_key, scheme)? {
            counted.insert(index, (time, validator.name.to_string()));
        }
    }
    Ok(counted)
}

/// Reads a cosigned checkpoint back: the head and its cosignatures by validators of `set`, if all of them say one time.
///
/// # Errors
/// If it is no checkpoint of this chain, a known key's cosignature does not hold, or too few cosigned.
pub fn certificate_of_note(
    note: &SignedNote,
    chain: &ChainId,
    set: &ValidatorSet,
    scheme: &dyn Scheme,
) -> Result<ReceiptCertificate, ReceiptError> {
    let mut signatures = Vec::new();
    let mut time = None;
    for (index, validator) in set.iter() {
        let name = cosigner_name(chain, &validator.name);
        if let Some((said, signature)) = cosignature(note, &name, &validator.public_key, scheme)? {
            if *time.get_or_insert(said) != said {
                return Err(ReceiptError::BadSignature(validator.name.to_string()));
            }
            signatures.push((index, signature));
        }
    }
    let head = Head::from_checkpoint(&note.text, chain, time.unwrap_or(0))?;
    let power = set.power_of(signatures.iter().map(|(index, _)| *index));
    if power < set.quorum() {
        return Err(ReceiptError::TooFew { power, quorum: set.quorum() });
    }
    Ok(ReceiptCertificate { head, signatures: Signatures(signatures) })
}

const _: () = assert!(limits::NOTE_SIGNATURES_MAX >= limits::VALIDATORS_MAX);
