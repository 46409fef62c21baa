//! Sizes and figures of the database, for status pages and metrics.

use rocksdb::properties;

use super::database::Database;
use super::error::StoreError;
use super::schema::Column;

/// One column family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnStats {
    /// Its name.
    pub name: &'static str,
    /// About how many keys it holds.
    pub keys: u64,
    /// Files on disk.
    pub files: usize,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Bytes in memory that are not on disk yet.
    pub memory_bytes: u64,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStats {
    /// Its column families.
    pub columns: Vec<ColumnStats>,
    /// Bytes that compaction still has to rewrite, about.
    pub compaction_pending_bytes: u64,
    /// Faults of background work: above 0 the database takes no more writes.
    pub background_errors: u64,
    /// Views that are open.
    pub views: u64,
}

impl StoreStats {
    /// Bytes on disk of all column families.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.columns.iter().map(|column| column.disk_bytes).sum()
    }

    /// Bytes in memory that are not on disk yet.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.columns.iter().map(|column| column.memory_bytes).sum()
    }

    /// Files on disk.
    #[must_use]
    pub fn files(&self) -> usize {
        self.columns.iter().map(|column| column.files).sum()
    }
}

/// The figures of a database.
pub(super) fn of(database: &Database) -> Result<StoreStats, StoreError> {
    let property = |column: Column, name| {
        let value = database.raw().property_int_value_cf(database.handle(column), name);
        value.map(Option::unwrap_or_default).map_err(|error| StoreError::rocksdb("reading figures", &error))
    };
    let mut columns = Vec::with_capacity(Column::ALL.len());
    let mut compaction_pending_bytes = 0;
    for column in Column::ALL {
        let files = database.raw().get_column_family_metadata_cf(database.handle(column));
        columns.push(ColumnStats {
            name: column.name(),
            keys: property(column, properties::ESTIMATE_NUM_KEYS)?,
            files: files.file_count,
            disk_bytes: files.size,
            memory_bytes: property(column, properties::SIZE_ALL_MEM_TABLES)?,
        });
        compaction_pending_bytes += property(column, properties::ESTIMATE_PENDING_COMPACTION_BYTES)?;
    }
    Ok(StoreStats {
        columns,
        compaction_pending_bytes,
        background_errors: property(Column::Meta, properties::BACKGROUND_ERRORS)?,
        views: property(Column::Meta, properties::NUM_SNAPSHOTS)?,
    })
}
