//! Evidence of lies, by its name: there is one piece for each culprit, kind and slot.

use std::sync::Arc;

use dtvn_messages::{Evidence, Layout, Writer};
use rocksdb::WriteBatch;

use super::Store;
use super::cursor::{List, Page};
use super::database::{GO_ON, Order, Range, View};
use super::error::StoreError;
use super::schema::{self, Column};

impl Store {
    /// Keeps evidence, durably: what proves a lie is needed after whatever the lie leads to. It is rare, and the docket
    /// bounds how much of it there is.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn put_evidence(&mut self, evidence: &[Arc<Evidence>]) -> Result<(), StoreError> {
        if evidence.is_empty() {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        let column = self.database.handle(Column::Evidence);
        for piece in evidence {
            batch.put_cf(&column, schema::digest(&piece.name()), piece.to_bytes());
        }
        self.database.write(batch)?;
        self.flush().map(drop)
    }
}

impl View<'_> {
    /// All evidence, behind a cursor.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`] if the cursor is not of this list, or if what is stored is damaged.
    pub fn evidence(&self, after: Option<&str>, limit: usize) -> Result<Page<Evidence>, StoreError> {
        let mut name = Writer::default();
        name.text("evidence");
        let list = List { column: Column::Evidence, range: Range::all(), order: Order::Ascending, name };
        self.page(list, after, limit, |_, value| Ok(Some((read_evidence(value)?, value.len()))))
    }

    /// All evidence.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn all_evidence(&self) -> Result<Vec<Evidence>, StoreError> {
        let mut all = Vec::new();
        self.scan(Column::Evidence, Range::all(), Order::Ascending, |_, value| {
            all.push(read_evidence(value)?);
            GO_ON
        })?;
        Ok(all)
    }
}

pub(super) fn read_evidence(value: &[u8]) -> Result<Evidence, StoreError> {
    Evidence::decode(value).map_err(|error| StoreError::undecodable("evidence", &error))
}
