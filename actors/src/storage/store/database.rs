//! The database handle, and a consistent look at it: every read of this folder goes through a [`View`].

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc;

use rocksdb::{Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBPinnableSlice, FlushOptions, ReadTier, Snapshot};

use super::error::StoreError;
use super::options::{StoreOptions, read_options, write_options};
use super::records::{Applied, StoreIdentity};
use super::schema::{self, Column, meta};

fn descriptors(options: &StoreOptions) -> impl Iterator<Item = ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(options.cache_bytes);
    let descriptor = |column: Column| ColumnFamilyDescriptor::new(column.name(), options.column(column, &cache));
    Column::ALL.map(descriptor).into_iter()
}

fn open_error(path: &Path, error: &rocksdb::Error) -> StoreError {
    let detail = error.to_string();
    if is_lock_refusal(&detail) {
        return StoreError::InUse { path: path.to_path_buf(), detail };
    }
    StoreError::rocksdb("opening the database", error)
}

/// An open database. It is closed when the last holder lets go.
pub(super) struct Database {
    db: DB,
    identity: StoreIdentity,
    /// Never sends: who holds the other end learns of the drop. Fields are dropped in their order, so after `db`.
    _open: mpsc::Sender<Infallible>,
}

impl Database {
    /// Opens the database, or makes one if `create`; the receiver is disconnected once it is closed again.
    pub(super) fn open(
        path: &Path,
        identity: StoreIdentity,
        options: &StoreOptions,
        create: bool,
    ) -> Result<(Self, mpsc::Receiver<Infallible>), StoreError> {
        let db = DB::open_cf_descriptors(&options.database(create), path, descriptors(options));
        let db = db.map_err(|error| open_error(path, &error))?;
        let (open, closed) = mpsc::channel();
        Ok((Self { db, identity, _open: open }, closed))
    }

    /// Opens a database that exists, to read it; its files stay as they are.
    pub(super) fn open_to_look(
        path: &Path,
        identity: StoreIdentity,
        options: &StoreOptions,
    ) -> Result<Self, StoreError> {
        let db = DB::open_cf_descriptors_read_only(&options.database(false), path, descriptors(options), false);
        let db = db.map_err(|error| open_error(path, &error))?;
        Ok(Self { db, identity, _open: mpsc::channel().0 })
    }

    pub(super) fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    pub(super) fn raw(&self) -> &DB {
        &self.db
    }

    #[expect(clippy::expect_used, reason = "open fails unless every column family of the list is there")]
    pub(super) fn handle(&self, column: Column) -> &ColumnFamily {
        self.db.cf_handle(column.name()).expect("every column family was opened")
    }

    /// All handles, by the column's position.
    pub(super) fn handles(&self) -> [&ColumnFamily; Column::ALL.len()] {
        Column::ALL.map(|column| self.handle(column))
    }

    /// Writes a batch: all of it or nothing, in memory.
    pub(super) fn write(&self, batch: rocksdb::WriteBatch) -> Result<(), StoreError> {
        self.db.write_opt(batch, &write_options()).map_err(|error| StoreError::rocksdb("writing", &error))
    }

    /// Makes everything written so far durable, in one atomic step. Without `wait` it only begins to.
    pub(super) fn flush(&self, wait: bool) -> Result<(), StoreError> {
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        self.db
            .flush_cfs_opt(&self.handles(), &options)
            .map_err(|error| StoreError::rocksdb("flushing the database", &error))
    }

    /// What of a key of [`Column::Meta`] is in synced files: what a loss of power leaves.
    pub(super) fn durable_meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut options = read_options();
        options.set_read_tier(ReadTier::Persisted);
        self.db
            .get_cf_opt(self.handle(Column::Meta), key, &options)
            .map_err(|error| StoreError::rocksdb("reading what is durable", &error))
    }

    /// A consistent look at what is stored now.
    pub(super) fn view(&self) -> Result<View<'_>, StoreError> {
        let snapshot = self.db.snapshot();
        let value = snapshot
            .get_cf_opt(self.handle(Column::Meta), meta::APPLIED, read_options())
            .map_err(|error| StoreError::rocksdb("reading the last applied block", &error))?
            .ok_or_else(|| StoreError::damaged("it does not say which block was applied last"))?;
        let applied = Applied::from_value(&value)?;
        Ok(View { database: self, snapshot, applied })
    }
}

/// RocksDB has no error kind for a lock that is held: it is an IO error that names the file.
fn is_lock_refusal(detail: &str) -> bool {
    detail.contains("/LOCK: ")
}

/// The store as it is after one block: whatever is read through one view belongs together. It costs the database
/// memory and disk while it lives, so it is for one answer.
pub struct View<'a> {
    pub(super) database: &'a Database,
    snapshot: Snapshot<'a>,
    applied: Applied,
}

/// Keys from `from` on, up to but without `to`.
#[derive(Debug, Clone)]
pub(super) struct Range {
    pub(super) from: Vec<u8>,
    pub(super) to: Option<Vec<u8>>,
}

impl Range {
    /// Every key.
    pub(super) fn all() -> Self {
        Self { from: Vec::new(), to: None }
    }

    /// The keys that begin with `prefix`.
    pub(super) fn prefix(prefix: Vec<u8>) -> Self {
        let to = schema::after_prefix(&prefix);
        Self { from: prefix, to }
    }

    /// The numbers from `from` on, without `to`.
    pub(super) fn numbers(from: u64, to: u64) -> Self {
        Self { from: schema::number(from).to_vec(), to: Some(schema::number(to).to_vec()) }
    }
}

/// The order in which keys are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
    /// Ascending, over so much that it must not push everything else out of the cache.
    Bulk,
}

/// What a visit of a range says: go on, or that is enough.
pub(super) type Step = Result<ControlFlow<()>, StoreError>;

/// Go on.
pub(super) const GO_ON: Step = Ok(ControlFlow::Continue(()));
/// That is enough.
pub(super) const ENOUGH: Step = Ok(ControlFlow::Break(()));

impl View<'_> {
    /// The last applied block of this view, and what is known right after it.
    #[must_use]
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// The value of a key.
    pub(super) fn get(&self, column: Column, key: impl AsRef<[u8]>) -> Result<Option<DBPinnableSlice<'_>>, StoreError> {
        self.snapshot
            .get_pinned_cf_opt(self.database.handle(column), key, read_options())
            .map_err(|error| StoreError::rocksdb(column.name(), &error))
    }

    /// Visits the keys of a range until one is enough. An iterator that ends early for a fault looks like one that is
    /// done, so its status is always asked for.
    pub(super) fn scan(
        &self,
        column: Column,
        range: Range,
        order: Order,
        mut visit: impl FnMut(&[u8], &[u8]) -> Step,
    ) -> Result<(), StoreError> {
        let mut options = read_options();
        options.set_iterate_lower_bound(range.from);
        if let Some(to) = range.to {
            options.set_iterate_upper_bound(to);
        }
        options.fill_cache(order != Order::Bulk);
        let mut iterator = self.snapshot.raw_iterator_cf_opt(self.database.handle(column), options);
        match order {
            Order::Ascending | Order::Bulk => iterator.seek_to_first(),
            Order::Descending => iterator.seek_to_last(),
        }
        while let Some((key, value)) = iterator.item() {
            if visit(key, value)?.is_break() {
                break;
            }
            match order {
                Order::Ascending | Order::Bulk => iterator.next(),
                Order::Descending => iterator.prev(),
            }
        }
        iterator.status().map_err(|error| StoreError::rocksdb(column.name(), &error))
    }

    /// The value of the highest key.
    pub(super) fn newest(&self, column: Column) -> Result<Option<Vec<u8>>, StoreError> {
        let mut newest = None;
        self.scan(column, Range::all(), Order::Descending, |_, value| {
            newest = Some(value.to_vec());
            ENOUGH
        })?;
        Ok(newest)
    }
}
