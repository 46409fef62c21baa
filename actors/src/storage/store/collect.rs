//! Collecting what is old: blocks, bodies, digests, NEW-VIEWs and superseded checkpoints below a height (consensus.md
//! section 5: "kept for `retain_blocks`"). Outcomes and their tree are kept for ever.

use dtvn_messages::Height;
use rocksdb::WriteBatch;

use super::Store;
use super::blocks::read_new_view;
use super::database::{GO_ON, Order, Range, View};
use super::error::StoreError;
use super::records::StoredBlock;
use super::schema::{self, Column, meta};

/// The lowest key of a column family with numbers.
const START: [u8; 8] = [0; 8];

impl Store {
    /// Forgets the blocks below a height, with what goes with them; never the last applied one. Gives the lowest height
    /// that is kept.
    ///
    /// The disk space comes back later: for whole files with the first call after a flush, for the rest with compaction.
    ///
    /// # Errors
    /// If the database refuses or is damaged.
    pub fn collect(&mut self, below: Height) -> Result<Height, StoreError> {
        self.delete_collected_files()?;
        let below = below.min(self.applied.borrow().height);
        if below <= self.lowest_block {
            return Ok(self.lowest_block);
        }
        let mut batch = WriteBatch::default();
        {
            let view = self.database.view()?;
            self.collect_digests(&view, below, &mut batch)?;
            self.collect_checkpoints(&view, below, &mut batch)?;
            self.collect_new_views(&view, below, &mut batch)?;
        }
        let end = schema::number(below.0);
        batch.delete_range_cf(&self.database.handle(Column::Blocks), START, end);
        batch.delete_range_cf(&self.database.handle(Column::Bodies), START, end);
        batch.delete_range_cf(&self.database.handle(Column::Receipts), START, end);
        batch.put_cf(&self.database.handle(Column::Meta), meta::LOWEST_BLOCK, end);
        self.database.write(batch)?;
        self.lowest_block = below;
        Ok(below)
    }

    fn collect_digests(&self, view: &View<'_>, below: Height, batch: &mut WriteBatch) -> Result<(), StoreError> {
        let digests = self.database.handle(Column::Digests);
        let range = Range::numbers(self.lowest_block.0, below.0);
        view.scan(Column::Blocks, range, Order::Bulk, |key, value| {
            let height = schema::read_number(key).ok_or_else(|| StoreError::damaged("the key of a block"))?;
            let block = StoredBlock::from_value(Height(height), value)?;
            batch.delete_cf(&digests, schema::digest(&block.digest));
            GO_ON
        })
    }

    /// The latest stable checkpoint stays, however old.
    fn collect_checkpoints(&self, view: &View<'_>, below: Height, batch: &mut WriteBatch) -> Result<(), StoreError> {
        if let Some(latest) = view.latest_stable_checkpoint()? {
            let end = schema::number(below.min(latest.height()).0);
            batch.delete_range_cf(&self.database.handle(Column::Checkpoints), START, end);
        }
        Ok(())
    }

    /// The latest NEW-VIEW stays, however old: it may be that of the current view.
    fn collect_new_views(&self, view: &View<'_>, below: Height, batch: &mut WriteBatch) -> Result<(), StoreError> {
        let column = self.database.handle(Column::NewViews);
        let mut superseded: Option<Vec<u8>> = None;
        view.scan(Column::NewViews, Range::all(), Order::Ascending, |key, value| {
            if key.len() == schema::NEW_VIEW_BYTES {
                if let Some(old) = superseded.take() {
                    batch.delete_range_cf(&column, old.as_slice(), key);
                }
                let (height, _) = read_new_view(value)?;
                superseded = (height < below).then(|| key.to_vec());
            }
            GO_ON
        })
    }

    /// Drops whole files of collected blocks at once, instead of waiting for compaction to read them. This happens on
    /// disk right away, while a collection itself may still be in memory only: so only what is durably collected goes.
    /// What else was in a file's neighbour may show again; readers do not look below the lowest kept height.
    fn delete_collected_files(&self) -> Result<(), StoreError> {
        let lowest = self.database.durable_meta(meta::LOWEST_BLOCK)?;
        let lowest = lowest.and_then(|value| schema::read_number(&value)).unwrap_or(0);
        let Some(last) = lowest.checked_sub(1).filter(|last| *last > 0) else {
            return Ok(());
        };
        let failed = |error: rocksdb::Error| StoreError::rocksdb("deleting files", &error);
        let database = self.database.raw();
        let last_body = schema::body(Height(last), u32::MAX);
        let first_body = schema::body(Height(0), 0);
        database
            .delete_file_in_range_cf(&self.database.handle(Column::Blocks), START, schema::number(last))
            .and_then(|()| {
                database.delete_file_in_range_cf(&self.database.handle(Column::Bodies), first_body, last_body)
            })
            .map_err(failed)
    }
}
