//! Reading outcomes: the leaves of the transparency log.

use dtvn_ledger::KeyScope;
use dtvn_messages::{IdempotencyKey, Layout, Outcome, Reader, limits};
use rocksdb::DBPinnableSlice;

use super::database::{ENOUGH, GO_ON, Order, Range, View};
use super::error::StoreError;
use super::records::StoredBlock;
use super::schema::{self, Column};

impl View<'_> {
    /// The bytes of a leaf of the transparency log, as they are hashed; none behind its end, or where this store does not
    /// reach back to it.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn leaf(&self, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
        if index >= self.applied().log.size() {
            return Ok(None);
        }
        match self.get(Column::Outcomes, schema::number(index))? {
            Some(leaf) => Ok(Some(leaf.to_vec())),
            None if index < self.installed()?.log_size => Ok(None),
            None => Err(gone(index)),
        }
    }

    /// An outcome by its index in the transparency log; none behind its end.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn outcome(&self, index: u64) -> Result<Option<Outcome>, StoreError> {
        self.leaf(index)?.map(|leaf| read_outcome(index, &leaf)).transpose()
    }

    /// The outcomes from an index on, ascending: at most `limit`, which counts as at least 1 and at most
    /// [`limits::STORE_PAGE_ITEMS_MAX`], and fewer if they are large. Empty only at the end of the log. Those that this
    /// store does not reach back to are left out.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn outcomes(&self, from: u64, limit: usize) -> Result<Vec<Outcome>, StoreError> {
        let limit = limit.clamp(1, limits::STORE_PAGE_ITEMS_MAX);
        let end = self.applied().log.size();
        let from = from.max(self.installed()?.log_size);
        let (mut outcomes, mut bytes) = (Vec::new(), 0);
        if from >= end {
            return Ok(outcomes);
        }
        self.scan(Column::Outcomes, Range::numbers(from, end), Order::Ascending, |_, leaf| {
            if outcomes.len() == limit || bytes >= limits::STORE_PAGE_BYTES_MAX {
                return ENOUGH;
            }
            outcomes.push(read_outcome(from + outcomes.len() as u64, leaf)?);
            bytes += leaf.len();
            GO_ON
        })?;
        if outcomes.is_empty() { Err(gone(from)) } else { Ok(outcomes) }
    }

    /// All outcomes of a block, ascending: none if it only repeats what was decided before.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn outcomes_of(&self, block: &StoredBlock) -> Result<Vec<Outcome>, StoreError> {
        let (mut next, end) = (block.first_index, block.block.header.log_size);
        let mut outcomes = Vec::new();
        while next < end {
            let page = self.outcomes(next, usize::try_from(end - next).unwrap_or(usize::MAX))?;
            if page.is_empty() {
                return Err(gone(next));
            }
            next += page.len() as u64;
            outcomes.extend(page);
        }
        Ok(outcomes)
    }

    /// The outcome of the operation that used up a key; none if the key is free, or free again.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn outcome_of_key(&self, scope: &KeyScope, key: &IdempotencyKey) -> Result<Option<Outcome>, StoreError> {
        let Some(value) = self.get(Column::Keys, schema::digest(&scope.digest(key)))? else {
            return Ok(None);
        };
        let (index, stored) = read_key(&value)?;
        let outcome = read_outcome(index, &self.known_leaf(index)?)?;
        let stored = stored.unwrap_or_else(|| KeyScope::Event(outcome.event.clone()));
        if outcome.key != *key || stored != *scope {
            return Err(StoreError::damaged("a key leads to another key's outcome"));
        }
        Ok(Some(outcome))
    }

    /// A leaf that must be there.
    pub(super) fn known_leaf(&self, index: u64) -> Result<DBPinnableSlice<'_>, StoreError> {
        self.get(Column::Outcomes, schema::number(index))?.ok_or_else(|| gone(index))
    }
}

/// The outcome in a leaf, which must be the one at its index.
pub(super) fn read_outcome(index: u64, leaf: &[u8]) -> Result<Outcome, StoreError> {
    let outcome = Outcome::from_bytes(leaf).map_err(|error| StoreError::undecodable("an outcome", &error))?;
    if outcome.index == index { Ok(outcome) } else { Err(gone(index)) }
}

fn gone(index: u64) -> StoreError {
    StoreError::damaged(format!("outcome {index} is gone"))
}

/// The index of the outcome in the value of a held key, and the scope, if it is not the event of that outcome.
pub(super) fn read_key(value: &[u8]) -> Result<(u64, Option<KeyScope>), StoreError> {
    let read = |reader: &mut Reader<'_>| {
        let index = reader.u64()?;
        let scope = if reader.remaining() == 0 { None } else { Some(KeyScope::read(reader)?) };
        reader.finish()?;
        Ok((index, scope))
    };
    read(&mut Reader::new(value)).map_err(|error| StoreError::undecodable("a held key", &error))
}
