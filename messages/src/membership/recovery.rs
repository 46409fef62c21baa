//! The recovery of a validator that lost its memory.

use std::fmt;

use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::{Scheme, Signature};
use crate::ids::{ChainId, Epoch, NodeName, Timestamp};
use crate::limits::RECOVERY_WAITS_MAX;
use crate::statement::Statement;
use crate::validators::ValidatorSet;

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

/// When a validator recovered, and how long after that it must wait until it may again. A recovery ends an epoch, and whoever
/// follows the chain needs a proof of each: so they grow rarer. Layout: agreed time `u64`, wait `u64` microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRecovery {
    /// The agreed time of its block.
    pub at: Timestamp,
    /// The wait in microseconds.
    pub wait_us: u64,
}

impl LastRecovery {
    /// That of a recovery at `now`, after the one before. Each wait is twice as long as the last one, up to
    /// [`RECOVERY_WAITS_MAX`] intervals; where so long a time has passed, half as long, down to one interval.
    #[must_use]
    pub fn after(before: Option<&Self>, now: Timestamp, interval_us: u64) -> Self {
        let longest_us = interval_us.saturating_mul(RECOVERY_WAITS_MAX);
        let wait_us = match before {
            None => interval_us,
            Some(before) if now >= before.at.plus_micros(longest_us) => (before.wait_us / 2).max(interval_us),
            Some(before) => before.wait_us.saturating_mul(2).min(longest_us),
        };
        Self { at: now, wait_us }
    }

    /// Whether the validator may recover again.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.at.plus_micros(self.wait_us)
    }
}

impl Layout for LastRecovery {
    fn write(&self, writer: &mut Writer) {
        self.at.write(writer);
        writer.u64(self.wait_us);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { at: Layout::read(reader)?, wait_us: reader.u64()? })
    }
}

/// "I lost what I remembered, and sign nothing more in this epoch." Signed bytes after the epoch: the validator's name
/// (text), nonce (16 bytes); tag `dtvn/recover/1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
