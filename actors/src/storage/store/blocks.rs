//! Reading blocks, their bundles, checkpoints and NEW-VIEWs.

use std::sync::Arc;

use dtvn_messages::view_change::NewView;
use dtvn_messages::wire::CommittedBlock;
use dtvn_messages::{
    Digest, Epoch, Head, Height, Layout, Reader, ReceiptCertificate, Signed, StableCheckpoint, View as ViewNumber,
    Writer,
};

use super::cursor::{List, Page};
use super::database::{ENOUGH, GO_ON, Order, Range, View};
use super::error::StoreError;
use super::records::{StoredBlock, StoredNewView};
use super::schema::{self, Column, meta};

impl View<'_> {
    /// The lowest height of which the block is kept; one above the applied height if there is none yet.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn lowest_block(&self) -> Result<Height, StoreError> {
        let value = self.get(Column::Meta, meta::LOWEST_BLOCK)?;
        let lowest = value.and_then(|value| schema::read_number(&value));
        let lowest = lowest.ok_or_else(|| StoreError::damaged("it does not say which block is the lowest"))?;
        if lowest > self.applied().height.0 + 1 {
            return Err(StoreError::damaged("its lowest block is above the last"));
        }
        Ok(Height(lowest))
    }

    /// The lowest height from which on all blocks are here with their bundles; one above the applied height if there is
    /// none yet.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn first_block(&self) -> Result<Height, StoreError> {
        Ok(self.lowest_block()?.max(self.installed()?.height.next()))
    }

    /// A block; none if it is collected or not applied yet.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn block(&self, height: Height) -> Result<Option<StoredBlock>, StoreError> {
        if height < self.lowest_block()? || height > self.applied().height {
            return Ok(None);
        }
        let value = self.get(Column::Blocks, schema::number(height.0))?;
        let value = value.ok_or_else(|| StoreError::damaged(format!("block {height} is gone")))?;
        StoredBlock::from_value(height, &value).map(Some)
    }

    /// The height of a block that is kept; none for an unknown digest.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn height_of(&self, digest: &Digest) -> Result<Option<Height>, StoreError> {
        let value = self.get(Column::Digests, schema::digest(digest))?;
        let read = |value: &[u8]| {
            schema::read_number(value).map(Height).ok_or_else(|| StoreError::damaged("the height of a digest"))
        };
        value.map(|value| read(&value)).transpose()
    }

    /// Blocks, newest first, behind a cursor.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`] if the cursor is not of this list, or if what is stored is damaged.
    pub fn blocks(&self, after: Option<&str>, limit: usize) -> Result<Page<StoredBlock>, StoreError> {
        let range = Range::numbers(self.lowest_block()?.0, self.applied().height.0 + 1);
        let mut name = Writer::default();
        name.text("blocks");
        let list = List { column: Column::Blocks, range, order: Order::Descending, name };
        self.page(list, after, limit, |key, value| {
            let height = schema::read_number(key).ok_or_else(|| StoreError::damaged("the key of a block"))?;
            Ok(Some((StoredBlock::from_value(Height(height), value)?, value.len())))
        })
    }

    /// A block as it is sent to one who is behind; none if it is collected or not applied yet.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn committed_block(&self, height: Height) -> Result<Option<CommittedBlock>, StoreError> {
        let Some(stored) = self.block(height)? else {
            return Ok(None);
        };
        if height <= self.installed()?.height {
            return Ok(None);
        }
        let mut bundles = Vec::with_capacity(stored.block.bundles.len());
        let range = Range::prefix(schema::number(height.0).to_vec());
        self.scan(Column::Bodies, range, Order::Ascending, |_, body| {
            bundles.push(Arc::new(body.to_vec()));
            GO_ON
        })?;
        if bundles.len() != stored.block.bundles.len() {
            return Err(StoreError::damaged(format!("bundles of block {height} are gone")));
        }
        Ok(Some(CommittedBlock { block: Arc::new(stored.block), certificate: stored.certificate, bundles }))
    }

    /// The receipt certificate of a block that is applied, if it is here.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn receipt(&self, height: Height) -> Result<Option<ReceiptCertificate>, StoreError> {
        if height > self.applied().height {
            return Ok(None);
        }
        let value = self.get(Column::Receipts, schema::number(height.0))?;
        value.map(|value| read_receipt(&value)).transpose()
    }

    /// The first receipt certificate whose log holds the leaf at an index: the head of its block or, if that has no
    /// certificate here, of a later one.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn receipt_of_leaf(&self, height: Height, index: u64) -> Result<Option<ReceiptCertificate>, StoreError> {
        let range = Range::numbers(height.0, self.applied().height.0 + 1);
        let mut found = None;
        self.scan(Column::Receipts, range, Order::Ascending, |_, value| {
            found = Some(read_receipt(value)?).filter(|certificate| certificate.head.log_size > index);
            if found.is_some() { ENOUGH } else { GO_ON }
        })?;
        Ok(found)
    }

    /// The highest receipt certificate of a block that is applied.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn latest_receipt(&self) -> Result<Option<ReceiptCertificate>, StoreError> {
        let range = Range::numbers(0, self.applied().height.0 + 1);
        let mut found = None;
        self.scan(Column::Receipts, range, Order::Descending, |_, value| {
            found = Some(read_receipt(value)?);
            ENOUGH
        })?;
        Ok(found)
    }

    /// The heads of the newest blocks, as many as are asked for, that have no receipt certificate here, ascending.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn uncertified(&self, heights: u64) -> Result<Vec<Head>, StoreError> {
        let last = self.applied().height;
        let first = Height(last.0.saturating_sub(heights)).next().max(self.lowest_block()?).max(Height(1));
        let mut heads = Vec::new();
        for height in (first.0..=last.0).map(Height) {
            if self.receipt(height)?.is_none()
                && let Some(stored) = self.block(height)?
            {
                heads.push(Head::of(&stored.block.header, stored.digest));
            }
        }
        Ok(heads)
    }

    /// The stable checkpoint at a height.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn stable_checkpoint(&self, height: Height) -> Result<Option<StableCheckpoint>, StoreError> {
        let value = self.get(Column::Checkpoints, schema::number(height.0))?;
        value.map(|value| read_checkpoint(&value)).transpose()
    }

    /// The highest stable checkpoint.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn latest_stable_checkpoint(&self) -> Result<Option<StableCheckpoint>, StoreError> {
        self.newest(Column::Checkpoints)?.map(|value| read_checkpoint(&value)).transpose()
    }

    /// The NEW-VIEW of a view, if this node adopted it and it is not collected.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn new_view(&self, epoch: Epoch, view: ViewNumber) -> Result<Option<StoredNewView>, StoreError> {
        let key = schema::new_view(epoch, view);
        let Some(value) = self.get(Column::NewViews, key)? else {
            return Ok(None);
        };
        let (height, new_view) = read_new_view(&value)?;
        let mut view_changes = Vec::new();
        let range = Range { from: schema::after(&key), ..Range::prefix(key.to_vec()) };
        self.scan(Column::NewViews, range, Order::Ascending, |_, value| {
            let read = Signed::from_bytes(value);
            view_changes.push(read.map_err(|error| StoreError::undecodable("a VIEW-CHANGE", &error))?);
            GO_ON
        })?;
        Ok(Some(StoredNewView { height, new_view, view_changes }))
    }
}

pub(super) fn read_receipt(value: &[u8]) -> Result<ReceiptCertificate, StoreError> {
    ReceiptCertificate::from_bytes(value).map_err(|error| StoreError::undecodable("a receipt certificate", &error))
}

pub(super) fn read_checkpoint(value: &[u8]) -> Result<StableCheckpoint, StoreError> {
    StableCheckpoint::from_bytes(value).map_err(|error| StoreError::undecodable("a stable checkpoint", &error))
}

/// The value of a NEW-VIEW: the height at which it was adopted, and its layout.
pub(super) fn new_view_value(height: Height, new_view: &Signed<NewView>) -> Vec<u8> {
    let mut writer = Writer::with_capacity(512);
    height.write(&mut writer);
    new_view.write(&mut writer);
    writer.into_bytes()
}

/// The parts of such a value.
pub(super) fn read_new_view(value: &[u8]) -> Result<(Height, Signed<NewView>), StoreError> {
    let read = |reader: &mut Reader<'_>| {
        let parts = (Height::read(reader)?, Signed::read(reader)?);
        reader.finish()?;
        Ok(parts)
    };
    read(&mut Reader::new(value)).map_err(|error| StoreError::undecodable("a NEW-VIEW", &error))
}
