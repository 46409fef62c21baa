//! Bundles: the operations that one validator took in within a short window (consensus.md section 2).

use std::sync::Arc;

use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::{Digest, KeyPair, Scheme, Signature};
use crate::ids::{ChainId, Epoch, ValidatorIndex};
use crate::limits;
use crate::operation::Operation;
use crate::statement::{Signed, Statement};
use crate::validators::ValidatorSet;

/// What an origin signs. Signed bytes after the epoch: origin `u16`, start `u64`, number `u64`, list of operations; tag
/// `dtvn/bundle/1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleBody {
    /// The epoch.
    pub epoch: Epoch,
    /// The validator that took the operations in; it signs the bundle.
    pub origin: ValidatorIndex,
    /// Which start of that node, counted and durable at each start.
    pub start: u64,
    /// The bundle's number within that start, from 0.
    pub number: u64,
    /// The operations; at least one.
    pub operations: Vec<Operation>,
}

impl Statement for BundleBody {
    fn tag(&self) -> &'static str {
        "dtvn/bundle/1"
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn write_fields(&self, writer: &mut Writer) {
        self.origin.write(writer);
        writer.u64(self.start);
        writer.u64(self.number);
        writer.list(&self.operations);
    }
}

impl Layout for BundleBody {
    fn write(&self, writer: &mut Writer) {
        self.epoch.write(writer);
        self.write_fields(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let body = Self {
            epoch: Layout::read(reader)?,
            origin: Layout::read(reader)?,
            start: reader.u64()?,
            number: reader.u64()?,
            operations: reader.list("the number of operations in a bundle", limits::BUNDLE_OPERATIONS_MAX, 32)?,
        };
        if body.operations.is_empty() {
            return Err(DecodeError::Invalid("a bundle has no operation"));
        }
        Ok(body)
    }
}

impl BundleBody {
    /// Its place among the bundles of its origin.
    #[must_use]
    pub fn position(&self) -> BundlePosition {
        BundlePosition { start: self.start, number: self.number }
    }

    /// What the state holds of its origin once it is ordered.
    #[must_use]
    pub fn as_last(&self) -> LastBundle {
        LastBundle { epoch: self.epoch, position: self.position() }
    }

    /// Whether it may be ordered when `last` is the last ordered bundle of its origin: never one of an earlier epoch,
    /// in the same epoch what [`BundlePosition::follows`], in a later one number 0.
    #[must_use]
    pub fn may_follow(&self, last: Option<LastBundle>) -> bool {
        match last {
            Some(last) if self.epoch < last.epoch => false,
            Some(last) if self.epoch == last.epoch => self.position().follows(Some(last.position)),
            _ => self.position().follows(None),
        }
    }
}

/// A bundle's place among those of its origin: ordered by start, then number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct BundlePosition {
    /// Which start of the origin.
    pub start: u64,
    /// The number within it.
    pub number: u64,
}

impl BundlePosition {
    /// Whether a bundle here may be ordered right after the one at `last`: the next number, or number 0 of a later
    /// start.
    #[must_use]
    pub fn follows(self, last: Option<Self>) -> bool {
        match last {
            None => self.number == 0,
            Some(last) => {
                (self.start == last.start && last.number.checked_add(1) == Some(self.number))
                    || (self.start > last.start && self.number == 0)
            }
        }
    }
}

/// The last bundle of an origin that was ordered. The replicated state holds one for each origin, so deduplication
/// needs no endless memory (consensus.md section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct LastBundle {
    /// Its epoch: positions begin anew in each.
    pub epoch: Epoch,
    /// Its place in that epoch.
    pub position: BundlePosition,
}

/// A bundle with the name and the bytes under which it travels and is stored. Shared, never changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Its body, whose signer is the origin.
    pub body: BundleBody,
    /// The origin's signature.
    pub signature: Signature,
    /// SHA-256 of the signed bytes: its name.
    pub digest: Digest,
    /// The layout of body and signature, as received.
    pub bytes: Vec<u8>,
}

impl Bundle {
    /// Makes and signs a bundle. `body` must have at least one and at most the allowed number of operations.
    #[must_use]
    pub fn sign(body: BundleBody, chain: &ChainId, key: &KeyPair) -> Arc<Self> {
        let signed = body.signed_bytes(chain);
        let signature = key.sign(&signed);
        Self::assemble(body, signature, chain)
    }

    /// Puts a body and its signature together.
    #[must_use]
    pub fn assemble(body: BundleBody, signature: Signature, chain: &ChainId) -> Arc<Self> {
        let digest = body.digest(chain);
        let mut writer = Writer::with_capacity(256 * body.operations.len() + 128);
        signature.write(&mut writer);
        body.write(&mut writer);
        Arc::new(Self { body, signature, digest, bytes: writer.into_bytes() })
    }

    /// Reads a bundle as it travels; the signature is not checked yet.
    ///
    /// # Errors
    /// If the bytes are not the layout of a bundle or exceed the limit.
    pub fn from_bytes(bytes: &[u8], chain: &ChainId) -> Result<Arc<Self>, DecodeError> {
        if bytes.len() > limits::BUNDLE_BYTES_MAX {
            let (what, found, limit) = ("the length of a bundle", bytes.len(), limits::BUNDLE_BYTES_MAX);
            return Err(DecodeError::TooLarge { what, found, limit });
        }
        let mut reader = Reader::new(bytes);
        let signature = Signature::read(&mut reader)?;
        let body = BundleBody::read(&mut reader)?;
        reader.finish()?;
        let digest = body.digest(chain);
        Ok(Arc::new(Self { body, signature, digest, bytes: bytes.to_vec() }))
    }

    /// Whether the origin is a validator of `set` and signed it.
    #[must_use]
    pub fn verify(&self, chain: &ChainId, set: &ValidatorSet, scheme: &dyn Scheme) -> bool {
        match set.key(self.body.origin) {
            Some(key) => scheme.verify(&key, &self.body.signed_bytes(chain), &self.signature),
            None => false,
        }
    }

    /// Its place among the bundles of its origin.
    #[must_use]
    pub fn position(&self) -> BundlePosition {
        self.body.position()
    }

    /// As a signed statement.
    #[must_use]
    pub fn signed(&self) -> Signed<BundleBody> {
        Signed { body: self.body.clone(), signer: self.body.origin, signature: self.signature }
    }
}
