//! What a validator signs: a domain tag, the chain id, the epoch, and the statement's fields (consensus.md section 1).
//!
//! Layout of the signed bytes: tag (text), chain id (text), epoch (`u64`), then the fields in the order that each
//! statement documents, all as in [`crate::codec`]. On the wire and on disk the same fields travel with the epoch and
//! without tag and chain id; as the layout has exactly one encoding per value, the signed bytes can be rebuilt from
//! them, byte for byte.

use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::{Digest, KeyPair, Scheme, Signature, sha256};
use crate::ids::{ChainId, Epoch, ValidatorIndex};
use crate::validators::ValidatorSet;

/// Something that a validator signs.
pub trait Statement: Layout {
    /// The domain tag: no two kinds of statement share one.
    fn tag(&self) -> &'static str;
    /// The epoch in which the statement is made.
    fn epoch(&self) -> Epoch;
    /// Appends the fields that follow the epoch in the signed bytes.
    fn write_fields(&self, writer: &mut Writer);

    /// The bytes that are signed.
    fn signed_bytes(&self, chain: &ChainId) -> Vec<u8> {
        let mut writer = Writer::with_capacity(256);
        writer.text(self.tag());
        chain.write(&mut writer);
        self.epoch().write(&mut writer);
        self.write_fields(&mut writer);
        writer.into_bytes()
    }

    /// The hash of the signed bytes: the name of this statement.
    fn digest(&self, chain: &ChainId) -> Digest {
        sha256(&[&self.signed_bytes(chain)])
    }
}

/// A statement with its signer and signature. Whether the signature holds is another question: [`Signed::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T> {
    /// What is said.
    pub body: T,
    /// Who says so.
    pub signer: ValidatorIndex,
    /// The signature over [`Statement::signed_bytes`].
    pub signature: Signature,
}

impl<T: Statement> Signed<T> {
    /// Signs a statement.
    pub fn new(body: T, chain: &ChainId, signer: ValidatorIndex, key: &KeyPair) -> Self {
        let signature = key.sign(&body.signed_bytes(chain));
        Self { body, signer, signature }
    }

    /// Whether the signer is a validator of `set` and the signature is its own.
    pub fn verify(&self, chain: &ChainId, set: &ValidatorSet, scheme: &dyn Scheme) -> bool {
        match set.key(self.signer) {
            Some(key) => scheme.verify(&key, &self.body.signed_bytes(chain), &self.signature),
            None => false,
        }
    }
}

impl<T: Statement> Layout for Signed<T> {
    fn write(&self, writer: &mut Writer) {
        self.signer.write(writer);
        self.signature.write(writer);
        self.body.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { signer: Layout::read(reader)?, signature: Layout::read(reader)?, body: T::read(reader)? })
    }
}
