//! Who is a validator, and how that changes (consensus.md sections 4 and 10).
//!
//! A change of the set and the recovery of a validator that lost its memory are operations like others: by their
//! position they end an epoch at the next checkpoint height, and everything that was signed in it is void above that.
//! [`Membership`] is the part of the replicated state that follows from them. [`EpochEnd`] proves to anyone who knows an
//! epoch's set which set follows it: one for each epoch leads from the genesis to the present.

mod change;
mod end;
mod recovery;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::Digest;
use crate::genesis::Genesis;
use crate::ids::{Epoch, Height, NodeName};
use crate::limits;
use crate::validators::ValidatorSet;

pub use change::{NewSet, ValidatorsChange};
pub use end::{EpochEnd, follow};
pub use recovery::{LastRecovery, Nonce, Recovery, SignedRecovery};

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
/// `u32`, then name and [`LastRecovery`]), each list ascending by name.
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
    /// The last recovery of each validator.
    pub recoveries: BTreeMap<NodeName, LastRecovery>,
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
    pub fn first(genesis: &Genesis) -> Self {
        Self {
            epoch: Epoch(0),
            base: genesis.base(),
            set: Arc::new(genesis.validators().clone()),
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
        for (name, last) in &self.recoveries {
            name.write(writer);
            last.write(writer);
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: Layout::read(reader)?,
            base: Layout::read(reader)?,
            set: Arc::new(Layout::read(reader)?),
            opened_by: read_by_name(reader, "the number of recovered validators", 21)?,
            pending: reader.option()?,
            recoveries: read_by_name(reader, "the number of recoveries", 21)?,
        })
    }
}
