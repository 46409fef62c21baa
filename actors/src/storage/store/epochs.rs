//! Who is a validator, and how each epoch ended (consensus.md section 10). The ends are kept for ever: one for each epoch
//! leads from the genesis to the present.

use dtvn_messages::{Epoch, EpochEnd, Layout, Membership};
use rocksdb::WriteBatch;

use super::Store;
use super::database::{ENOUGH, GO_ON, Order, Range, View};
use super::error::StoreError;
use super::schema::{Column, meta};

impl Store {
    /// Keeps how an epoch ended.
    ///
    /// # Errors
    /// If the database fails.
    pub fn put_epoch_end(&mut self, end: &EpochEnd) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(&self.database.handle(Column::Meta), meta::epoch_end(end.epoch()), end.to_bytes());
        self.database.write(batch)
    }
}

impl View<'_> {
    /// The validators and what was agreed about them; none while they are those of the genesis.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn membership(&self) -> Result<Option<Membership>, StoreError> {
        let value = self.get(Column::Meta, meta::MEMBERSHIP)?;
        value.as_deref().map(read_membership).transpose()
    }

    /// How an epoch ended, if it did.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn epoch_end(&self, epoch: Epoch) -> Result<Option<EpochEnd>, StoreError> {
        self.get(Column::Meta, meta::epoch_end(epoch))?.as_deref().map(read_end).transpose()
    }

    /// How the epochs from this one on ended, as far as they are over, ascending; so many at most.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn epoch_ends(&self, from: Epoch, limit: usize) -> Result<Vec<EpochEnd>, StoreError> {
        let mut ends = Vec::new();
        let mut range = Range::prefix(meta::EPOCH_END.to_vec());
        range.from = meta::epoch_end(from);
        self.scan(Column::Meta, range, Order::Ascending, |_, value| {
            ends.push(read_end(value)?);
            if ends.len() < limit { GO_ON } else { ENOUGH }
        })?;
        Ok(ends)
    }
}

pub(super) fn read_membership(value: &[u8]) -> Result<Membership, StoreError> {
    Membership::from_bytes(value).map_err(|_| StoreError::damaged("the validators"))
}

pub(super) fn read_end(value: &[u8]) -> Result<EpochEnd, StoreError> {
    EpochEnd::from_bytes(value).map_err(|_| StoreError::damaged("the end of an epoch"))
}
