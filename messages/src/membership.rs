//! Who is a validator, and how that changes (consensus.md sections 4 and 10).
//!
//! A change of the set and the recovery of a validator that lost its memory are operations like others: by their
//! position they end an epoch at the next checkpoint height, and everything that was signed in it is void above that.
//! [`Membership`] is the part of the replicated state that follows from them. [`EpochEnd`] proves to anyone who knows an
//! epoch's set which set follows it: one for each epoch leads from the genesis to the present.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::certificate::{CertificateError, CommittedProof, Signatures, StableCheckpoint};
use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::{Digest, Scheme, Signature};
use crate::ids::{ChainId, Epoch, Height, NodeName, Timestamp};
use crate::limits;
use crate::statement::Statement;
use crate::validators::ValidatorSet;

/// What the validators of an epoch sign to be followed by another set. Signed bytes after the epoch: the hash of the set
/// that is replaced, the hash of the new one (32 bytes each); tag `dtvn/validators-change/1`. The epoch keeps an old
/// change from being used again when the same set is in force once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSet {
    /// The epoch that the change ends.
    pub epoch: Epoch,
    /// The hash of the set of that epoch.
    pub replaces: Digest,
    /// The hash of the set of the next one.
    pub set: Digest,
}

impl Statement for NewSet {
    fn tag(&self) -> &'static str {
        "dtvn/validators-change/1"
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn write_fields(&self, writer: &mut Writer) {
        self.replaces.write(writer);
        self.set.write(writer);
    }
}

impl Layout for NewSet {
    fn write(&self, writer: &mut Writer) {
        self.epoch.write(writer);
        self.write_fields(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { epoch: Layout::read(reader)?, replaces: Layout::read(reader)?, set: Layout::read(reader)? })
    }
}

/// A change of the validator set: the full resulting set, signed by validators of power `Q` of the one that it replaces.
/// Layout: epoch `u64`, hash of the replaced set, new set, signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorsChange {
    /// The epoch that it ends.
    pub epoch: Epoch,
    /// The hash of the set of that epoch.
    pub replaces: Digest,
    /// The set of the next one.
    pub set: ValidatorSet,
    /// Who of the present validators agrees.
    pub signatures: Signatures,
}

impl ValidatorsChange {
    /// What is signed.
    #[must_use]
    pub fn statement(&self) -> NewSet {
        NewSet { epoch: self.epoch, replaces: self.replaces, set: self.set.hash() }
    }

    /// Checks that validators of power `Q` of the present set signed it.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn verify(&self, chain: &ChainId, set: &ValidatorSet, scheme: &dyn Scheme) -> Result<(), CertificateError> {
        self.signatures.verify(&self.statement(), chain, set, scheme)
    }
}

impl Layout for ValidatorsChange {
    fn write(&self, writer: &mut Writer) {
        self.epoch.write(writer);
        self.replaces.write(writer);
        self.set.write(writer);
        self.signatures.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: Layout::read(reader)?,
            replaces: Layout::read(reader)?,
            set: Layout::read(reader)?,
            signatures: Layout::read(reader)?,
        })
    }
}

/// What tells one recovery of a validator from another: 16 random bytes, on its disk before anybody sees them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub [u8; 16]);

impl Nonce {
    /// Reads lower or upper case hexadecimal.
    ///
    /// # Errors
    /// If the text is not exactly 16 hexadecimal bytes.
    pub fn from_hex(text: &str) -> Result<Self, DecodeError> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| DecodeError::Invalid("a nonce is 16 bytes in hexadecimal"))?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Layout for Nonce {
    fn write(&self, writer: &mut Writer) {
        writer.fixed(&self.0);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(reader.array()?))
    }
}

/// "I lost what I remembered, and sign nothing more in this epoch." Signed bytes after the epoch: the validator's name
/// (text), nonce (16 bytes); tag `dtvn/recover/1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The epoch that it ends.
    pub epoch: Epoch,
    /// Who says so.
    pub validator: NodeName,
    /// Which recovery of this validator it is.
    pub nonce: Nonce,
}

impl Statement for Recovery {
    fn tag(&self) -> &'static str {
        "dtvn/recover/1"
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn write_fields(&self, writer: &mut Writer) {
        self.validator.write(writer);
        self.nonce.write(writer);
    }
}

impl Layout for Recovery {
    fn write(&self, writer: &mut Writer) {
        self.epoch.write(writer);
        self.write_fields(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { epoch: Layout::read(reader)?, validator: Layout::read(reader)?, nonce: Layout::read(reader)? })
    }
}

/// A [`Recovery`] with the signature of the validator that it names. Layout: signature, recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRecovery {
    /// What is said.
    pub body: Recovery,
    /// The signature of the validator that `body` names.
    pub signature: Signature,
}

impl SignedRecovery {
    /// Whether the validator that it names is in the set and signed it.
    #[must_use]
    pub fn verify(&self, chain: &ChainId, set: &ValidatorSet, scheme: &dyn Scheme) -> bool {
        let key = set.index_of_name(self.body.validator.as_str()).and_then(|index| set.key(index));
        key.is_some_and(|key| scheme.verify(&key, &self.body.signed_bytes(chain), &self.signature))
    }
}

impl Layout for SignedRecovery {
    fn write(&self, writer: &mut Writer) {
        self.signature.write(writer);
        self.body.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { signature: Layout::read(reader)?, body: Layout::read(reader)? })
    }
}

/// An end of the present epoch that is agreed and has not come yet. Layout: height `u64`, new set (option), then count
/// `u32` and for each recovering validator its name and nonce, ascending by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEnd {
    /// The last height of the epoch: the first checkpoint height at or above the block that asked for it.
    pub ends: Height,
    /// The set of the next epoch, if that is another one.
    pub set: Option<Arc<ValidatorSet>>,
    /// Who recovers with the next epoch.
    pub recovering: BTreeMap<NodeName, Nonce>,
}

/// The validator set in force, and what was agreed about the next one: a part of the replicated state. Layout: epoch
/// `u64`, base `u64`, set, openers (count `u32`, then name and nonce), pending end (option), last recoveries (count
/// `u32`, then name and agreed time `u64`), each list ascending by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The epoch.
    pub epoch: Epoch,
    /// The height on which it begins: its first block is one above.
    pub base: Height,
    /// Its validators.
    pub set: Arc<ValidatorSet>,
    /// Whose recovery, and which, opened it: these may vote in it, whatever they forgot of earlier ones.
    pub opened_by: BTreeMap<NodeName, Nonce>,
    /// Its end, if that is agreed.
    pub pending: Option<PendingEnd>,
    /// When each validator last asked for a recovery.
    pub recoveries: BTreeMap<NodeName, Timestamp>,
}

/// What follows a block: whether its epoch is about to end, and what holds for the height above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Succession {
    /// The last height of the block's epoch, if that is agreed.
    pub ends: Option<Height>,
    /// The epoch of the height above the block.
    pub next_epoch: Epoch,
    /// The hash of the validator set of that height.
    pub next_set: Digest,
}

impl Succession {
    /// An epoch whose end is not agreed.
    #[must_use]
    pub const fn steady(epoch: Epoch, set: Digest) -> Self {
        Self { ends: None, next_epoch: epoch, next_set: set }
    }
}

impl Membership {
    /// That of a new chain.
    #[must_use]
    pub fn first(set: Arc<ValidatorSet>) -> Self {
        Self {
            epoch: Epoch(0),
            base: Height(0),
            set,
            opened_by: BTreeMap::new(),
            pending: None,
            recoveries: BTreeMap::new(),
        }
    }

    /// Whether it is that of a new chain: nothing was ever agreed about it.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.epoch == Epoch(0) && self.pending.is_none() && self.recoveries.is_empty()
    }

    /// What follows the block at `height` of this epoch.
    #[must_use]
    pub fn succession(&self, height: Height) -> Succession {
        let steady = Succession::steady(self.epoch, self.set.hash());
        match &self.pending {
            None => steady,
            Some(pending) if height < pending.ends => Succession { ends: Some(pending.ends), ..steady },
            Some(pending) => Succession {
                ends: Some(pending.ends),
                next_epoch: self.epoch.next(),
                next_set: pending.set.as_ref().map_or(steady.next_set, |set| set.hash()),
            },
        }
    }

    /// That of the next epoch; none while no end is agreed.
    #[must_use]
    pub fn next(&self) -> Option<Self> {
        let pending = self.pending.as_ref()?;
        let set = pending.set.as_ref().unwrap_or(&self.set);
        let mut recoveries = self.recoveries.clone();
        recoveries.retain(|name, _| set.index_of_name(name.as_str()).is_some());
        Some(Self {
            epoch: self.epoch.next(),
            base: pending.ends,
            set: Arc::clone(set),
            opened_by: pending.recovering.clone(),
            pending: None,
            recoveries,
        })
    }
}

fn write_nonces(nonces: &BTreeMap<NodeName, Nonce>, writer: &mut Writer) {
    writer.count(nonces.len());
    for (name, nonce) in nonces {
        name.write(writer);
        nonce.write(writer);
    }
}

/// A map by name, in strictly ascending order: there is one encoding.
fn read_by_name<T: Layout>(
    reader: &mut Reader<'_>,
    what: &'static str,
    bytes_min: usize,
) -> Result<BTreeMap<NodeName, T>, DecodeError> {
    let count = reader.count(what, limits::VALIDATORS_MAX, bytes_min)?;
    let mut read: BTreeMap<NodeName, T> = BTreeMap::new();
    for _ in 0..count {
        let name = NodeName::read(reader)?;
        if read.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(DecodeError::Invalid("validators are not listed in ascending order of their names"));
        }
        read.insert(name, T::read(reader)?);
    }
    Ok(read)
}

impl Layout for PendingEnd {
    fn write(&self, writer: &mut Writer) {
        self.ends.write(writer);
        writer.option(self.set.as_deref());
        write_nonces(&self.recovering, writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            ends: Layout::read(reader)?,
            set: reader.option()?.map(Arc::new),
            recovering: read_by_name(reader, "the number of recovering validators", 21)?,
        })
    }
}

impl Layout for Membership {
    fn write(&self, writer: &mut Writer) {
        self.epoch.write(writer);
        self.base.write(writer);
        self.set.write(writer);
        write_nonces(&self.opened_by, writer);
        writer.option(self.pending.as_ref());
        writer.count(self.recoveries.len());
        for (name, time) in &self.recoveries {
            name.write(writer);
            time.write(writer);
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: Layout::read(reader)?,
            base: Layout::read(reader)?,
            set: Arc::new(Layout::read(reader)?),
            opened_by: read_by_name(reader, "the number of recovered validators", 21)?,
            pending: reader.option()?,
            recoveries: read_by_name(reader, "the number of recoveries", 13)?,
        })
    }
}

/// The end of an epoch, proved by its validators: the last block with its commit certificate and its stable checkpoint,
/// and the set that follows, whose hash the checkpoint names. Layout: committed proof, stable checkpoint, set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochEnd {
    /// The last block of the epoch.
    pub committed: CommittedProof,
    /// The checkpoint there.
    pub stable: StableCheckpoint,
    /// The validators of the next epoch.
    pub next: ValidatorSet,
}

impl EpochEnd {
    /// The epoch that ends.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.stable.epoch()
    }

    /// Its last height.
    #[must_use]
    pub fn height(&self) -> Height {
        self.stable.height()
    }

    /// Checks everything, signatures included; `set` is that of the epoch that ends.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn verify(&self, chain: &ChainId, set: &ValidatorSet, scheme: &dyn Scheme) -> Result<(), CertificateError> {
        let checkpoint = &self.stable.checkpoint;
        if checkpoint.next_epoch != checkpoint.epoch.next() {
            return Err(CertificateError::Mismatch("the checkpoint does not end its epoch"));
        }
        if checkpoint.next_set != self.next.hash() {
            return Err(CertificateError::Mismatch("the next validators are others than the checkpoint names"));
        }
        if self.committed.header != self.stable.header {
            return Err(CertificateError::Mismatch("commit certificate and checkpoint are for different blocks"));
        }
        self.committed.verify(chain, set, scheme)?;
        self.stable.verify(chain, set, scheme)
    }
}

impl Layout for EpochEnd {
    fn write(&self, writer: &mut Writer) {
        self.committed.write(writer);
        self.stable.write(writer);
        self.next.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { committed: Layout::read(reader)?, stable: Layout::read(reader)?, next: Layout::read(reader)? })
    }
}

/// Follows the ends of epochs, in their order, from a set that is trusted: the epoch and the set that the last of them
/// leads to (consensus.md section 10; it assumes that former validators do not sell their keys later).
///
/// # Errors
/// If one is not the end of the epoch that the one before leads to, or does not verify.
pub fn follow<'a>(
    chain: &ChainId,
    from: (Epoch, ValidatorSet),
    ends: impl IntoIterator<Item = &'a EpochEnd>,
    scheme: &dyn Scheme,
) -> Result<(Epoch, ValidatorSet), CertificateError> {
    let (mut epoch, mut set) = from;
    for end in ends {
        if end.epoch() != epoch {
            return Err(CertificateError::Mismatch("an epoch is left out, or is there twice"));
        }
        end.verify(chain, &set, scheme)?;
        (epoch, set) = (epoch.next(), end.next.clone());
    }
    Ok((epoch, set))
}
