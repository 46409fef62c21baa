//! The validator set of an epoch: order, keys, powers, quorum and leader (consensus.md section 1).

use std::collections::BTreeSet;

use thiserror::Error;

use crate::canary::{Canary, planted};
use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::{Digest, PublicKey, sha256};
use crate::ids::{Epoch, NodeName, ValidatorIndex, View};
use crate::limits;

/// A member of a validator set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// Its name, unique in the set.
    pub name: NodeName,
    /// Its key, unique in the set: it signs with it, and its network identity derives from it.
    pub public_key: PublicKey,
    /// Its voting power, above 0.
    pub power: u32,
}

/// Why validators do not make a set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValidatorSetError {
    /// There is no validator.
    #[error("a validator set has at least one validator")]
    Empty,
    /// There are too many.
    #[error("a validator set has at most {max} validators, this one has {0}", max = limits::VALIDATORS_MAX)]
    TooMany(usize),
    /// A power is 0.
    #[error("the validator {0} has power 0")]
    NoPower(NodeName),
    /// The sum of the powers is too large.
    #[error("the total power is {0}, it must be below 2^32")]
    TooMuchPower(u64),
    /// A name is there twice.
    #[error("two validators are named {0}")]
    SameName(NodeName),
    /// A key is there twice.
    #[error("the validators {0} and another have the same public key")]
    SameKey(NodeName),
}

/// A checked validator set. Layout: count `u32`, then for each validator name (text), public key (32 bytes), power
/// `u32`; its hash is SHA-256 of the text `dtvn/validators/1` and that layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorSet {
    validators: Vec<Validator>,
    total: u64,
    hash: Digest,
}

impl ValidatorSet {
    /// Checks and takes validators, in their fixed order.
    ///
    /// # Errors
    /// If the set is empty, too large, has a power of 0, too much power, or a name or key twice.
    pub fn new(validators: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        if validators.is_empty() {
            return Err(ValidatorSetError::Empty);
        }
        if validators.len() > limits::VALIDATORS_MAX {
            return Err(ValidatorSetError::TooMany(validators.len()));
        }
        let mut names = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for validator in &validators {
            if validator.power == 0 {
                return Err(ValidatorSetError::NoPower(validator.name.clone()));
            }
            if !names.insert(&validator.name) {
                return Err(ValidatorSetError::SameName(validator.name.clone()));
            }
            if !keys.insert(validator.public_key) {
                return Err(ValidatorSetError::SameKey(validator.name.clone()));
            }
        }
        let total: u64 = validators.iter().map(|validator| u64::from(validator.power)).sum();
        if total > u64::from(u32::MAX) {
            return Err(ValidatorSetError::TooMuchPower(total));
        }
        let mut writer = Writer::default();
        writer.list(&validators);
        let hash = sha256(&[b"dtvn/validators/1", &writer.into_bytes()]);
        Ok(Self { validators, total, hash })
    }

    /// How many validators there are: at least one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.validators.len()
    }

    /// Never: a set has at least one validator.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.validators.is_empty()
    }

    /// The validators in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ValidatorIndex, &Validator)> {
        self.validators
            .iter()
            .enumerate()
            .map(|(position, validator)| (ValidatorIndex(u16::try_from(position).unwrap_or(u16::MAX)), validator))
    }

    /// The validator at an index.
    #[must_use]
    pub fn get(&self, index: ValidatorIndex) -> Option<&Validator> {
        self.validators.get(index.position())
    }

    /// The key of the validator at an index.
    #[must_use]
    pub fn key(&self, index: ValidatorIndex) -> Option<PublicKey> {
        self.get(index).map(|validator| validator.public_key)
    }

    /// The power of the validator at an index; 0 if there is none.
    #[must_use]
    pub fn power(&self, index: ValidatorIndex) -> u64 {
        self.get(index).map_or(0, |validator| u64::from(validator.power))
    }

    /// Whether there is a validator at this index.
    #[must_use]
    pub fn contains(&self, index: ValidatorIndex) -> bool {
        index.position() < self.validators.len()
    }

    /// The index of the validator with this key.
    #[must_use]
    pub fn index_of_key(&self, key: &PublicKey) -> Option<ValidatorIndex> {
        self.iter().find(|(_, validator)| validator.public_key == *key).map(|(index, _)| index)
    }

    /// The index of the validator with this name.
    #[must_use]
    pub fn index_of_name(&self, name: &str) -> Option<ValidatorIndex> {
        self.iter().find(|(_, validator)| validator.name.as_str() == name).map(|(index, _)| index)
    }

    /// `W`, the sum of all powers: below 2^32.
    #[must_use]
    pub fn total_power(&self) -> u64 {
        self.total
    }

    /// `Q = floor(2W/3) + 1`: the least power strictly above two thirds.
    #[must_use]
    pub fn quorum(&self) -> u64 {
        let quorum = 2 * self.total / 3 + 1;
        if planted(Canary::QuorumMinusOne) { (quorum - 1).max(1) } else { quorum }
    }

    /// `F = floor((W-1)/3) + 1`: a set of this power holds an honest validator.
    #[must_use]
    pub fn weak_quorum(&self) -> u64 {
        (self.total - 1) / 3 + 1
    }

    /// The summed power of distinct indices.
    pub fn power_of(&self, indices: impl IntoIterator<Item = ValidatorIndex>) -> u64 {
        indices.into_iter().map(|index| self.power(index)).sum()
    }

    /// `leader(epoch, view) = (epoch + view) mod n`.
    #[must_use]
    pub fn leader(&self, epoch: Epoch, view: View) -> ValidatorIndex {
        let count = self.validators.len() as u64;
        let position = (epoch.0 % count + view.0 % count) % count;
        ValidatorIndex(u16::try_from(position).unwrap_or(0))
    }

    /// The hash of the set.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.hash
    }
}

impl Layout for Validator {
    fn write(&self, writer: &mut Writer) {
        self.name.write(writer);
        self.public_key.write(writer);
        writer.u32(self.power);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { name: Layout::read(reader)?, public_key: Layout::read(reader)?, power: reader.u32()? })
    }
}

impl Layout for ValidatorSet {
    fn write(&self, writer: &mut Writer) {
        writer.list(&self.validators);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let validators = reader.list("the number of validators", limits::VALIDATORS_MAX, 41)?;
        Self::new(validators).map_err(|_| DecodeError::Invalid("the validators do not make a set"))
    }
}
