//! Opening: whose store is this, and is it all there?

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dtvn_messages::{Height, Layout};
use rocksdb::WriteBatch;
use tokio::sync::watch;

use super::database::{Database, ENOUGH, Order, Range, View};
use super::error::StoreError;
use super::options::StoreOptions;
use super::records::{Applied, StoreIdentity};
use super::schema::{Column, SCHEMA_VERSION, meta, number};
use super::seal::{Seal, database_path};
use super::states::StateTable;
use super::tiles::TileBuilder;
use super::{Opened, Store};
use crate::storage::files;

/// What to do when there is no store yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    /// Make one: this is the node's first start.
    Create,
    /// Refuse: the node was used before, so a missing store is a loss.
    Refuse,
}

impl Store {
    /// Opens the store in `directory`, which holds the seal and the folder of the database.
    ///
    /// Takes about a second per million tickets: their states are read and checked against the counts, the end of the
    /// transparency log against its frontier and the last block.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Foreign`], [`StoreError::Schema`] and [`StoreError::InUse`] leave
    /// everything as it was. [`StoreError::Damaged`] if anything is not what was written, an older or an empty database
    /// included; where the database does not reach the height that was durable, it is left as it was too.
    pub fn open(
        directory: &Path,
        identity: StoreIdentity,
        options: StoreOptions,
        if_missing: IfMissing,
    ) -> Result<(Self, Opened), StoreError> {
        let seal = match Seal::read(directory)? {
            Some(seal) => {
                check_seal(directory, &seal, &identity)?;
                Some(seal)
            }
            None => None,
        };
        let created = seal.is_none();
        let path = database_path(directory);
        match (&seal, if_missing) {
            (Some(_), _) if !path.is_dir() => {
                return Err(StoreError::damaged("its files are gone, only the seal is left"));
            }
            (Some(_), _) => {}
            (None, IfMissing::Create) => fs::create_dir_all(&path)
                .and_then(|()| files::sync_directory(directory))
                .map_err(|error| StoreError::io("making the folder of the database", &error))?,
            (None, IfMissing::Refuse) if path.exists() => return Err(StoreError::damaged("its seal is gone")),
            (None, IfMissing::Refuse) => return Err(StoreError::Missing { path: directory.to_path_buf() }),
        }
        if let Some(seal) = &seal {
            // First a look that changes nothing: RocksDB deletes the files that a damaged manifest does not name, and with
            // them what might have been repaired.
            let database = Database::open_to_look(&path, identity.clone(), &options)?;
            check_content(&database.view()?, seal)?;
        }
        let (database, closed) = Database::open(&path, identity, &options, created)?;
        let seal = match seal {
            Some(seal) => seal,
            None => begin(&database, directory)?,
        };
        let parts = Parts::load(&database, &seal)?;
        let opened = Opened { created, applied: parts.applied.clone(), durable: seal.durable };
        let store = Self {
            database: Arc::new(database),
            closed,
            directory: directory.to_path_buf(),
            seal,
            applied: watch::Sender::new(parts.applied),
            receipts: watch::Sender::new(Height(0)),
            states: parts.states,
            tiles: parts.tiles,
            lowest_block: parts.lowest_block,
            options,
            unflushed_blocks: 0,
        };
        Ok((store, opened))
    }
}

/// Whether the seal is that of this node's store, in a form that this program knows.
fn check_seal(directory: &Path, seal: &Seal, identity: &StoreIdentity) -> Result<(), StoreError> {
    let path = || PathBuf::from(directory);
    if seal.schema != SCHEMA_VERSION {
        return Err(StoreError::Schema { path: path(), found: seal.schema, known: SCHEMA_VERSION });
    }
    match seal.identity.difference(identity) {
        None => Ok(()),
        Some((what, found, expected)) => Err(StoreError::Foreign { path: path(), what, found, expected }),
    }
}

/// Writes what an empty store holds, then its seal. A first start that was cut short before that is begun anew; content
/// without a seal is not.
fn begin(database: &Database, directory: &Path) -> Result<Seal, StoreError> {
    let identity = database.identity();
    let nothing = Applied::nothing(identity);
    for column in Column::ALL {
        let mut iterator = database.raw().raw_iterator_cf(database.handle(column));
        iterator.seek_to_first();
        let is_begun = column == Column::Meta && database.view().is_ok_and(|view| *view.applied() == nothing);
        if iterator.valid() && !is_begun {
            return Err(StoreError::damaged("its seal is gone"));
        }
        iterator.status().map_err(|error| StoreError::rocksdb(column.name(), &error))?;
    }
    let column = database.handle(Column::Meta);
    let mut batch = WriteBatch::default();
    batch.put_cf(&column, meta::SCHEMA, SCHEMA_VERSION.to_be_bytes());
    batch.put_cf(&column, meta::IDENTITY, identity.to_bytes());
    batch.put_cf(&column, meta::APPLIED, nothing.to_value());
    batch.put_cf(&column, meta::LOWEST_BLOCK, number(1));
    database.write(batch)?;
    database.flush(true)?;
    let seal = Seal { schema: SCHEMA_VERSION, identity: identity.clone(), durable: Height(0) };
    seal.write(directory)?;
    Ok(seal)
}

/// What the writer keeps in memory of what is stored.
struct Parts {
    applied: Applied,
    states: StateTable,
    tiles: TileBuilder,
    lowest_block: Height,
}

impl Parts {
    fn load(database: &Database, seal: &Seal) -> Result<Self, StoreError> {
        let view = database.view()?;
        check_content(&view, seal)?;
        Ok(Self {
            applied: view.applied().clone(),
            states: StateTable::load(&view)?,
            tiles: TileBuilder::load(&view)?,
            lowest_block: view.lowest_block()?,
        })
    }
}

/// Whether the database is the one that was sealed, and ends where it says.
fn check_content(view: &View<'_>, seal: &Seal) -> Result<(), StoreError> {
    let schema = view.get(Column::Meta, meta::SCHEMA)?;
    let identity = view.get(Column::Meta, meta::IDENTITY)?;
    if schema.as_deref() != Some(&SCHEMA_VERSION.to_be_bytes())
        || identity.as_deref() != Some(&seal.identity.to_bytes())
    {
        return Err(StoreError::damaged("it is not the database that the seal beside it is of"));
    }
    let applied = view.applied();
    if applied.height < seal.durable {
        let (found, sealed) = (applied.height, seal.durable);
        return Err(StoreError::damaged(format!("it ends at block {found}, although block {sealed} was durable")));
    }
    check_last_block(view)?;
    let mut above = false;
    let beyond = Range { from: number(applied.log.size()).to_vec(), to: None };
    view.scan(Column::Outcomes, beyond, Order::Ascending, |_, _| {
        above = true;
        ENOUGH
    })?;
    if above { Err(StoreError::damaged("there are outcomes behind the end of the log")) } else { Ok(()) }
}

fn check_last_block(view: &View<'_>) -> Result<(), StoreError> {
    let applied = view.applied();
    let identity = view.database.identity();
    if applied.height == Height(0) {
        let is_nothing = *applied == Applied::nothing(identity);
        return if is_nothing { Ok(()) } else { Err(StoreError::damaged("it says too much of height 0")) };
    }
    // The state that the chain began with, above which no block was applied yet: it has none of its own.
    if applied.block == identity.genesis && applied.timestamp == identity.genesis_time {
        return Ok(());
    }
    let last = view.block(applied.height)?;
    let last = last.ok_or_else(|| StoreError::damaged(format!("its last block, {}, is gone", applied.height)))?;
    let header = &last.block.header;
    let same_log = header.log_size == applied.log.size() && header.log_root == applied.log.root();
    if last.digest != applied.block || header.timestamp != applied.timestamp || !same_log {
        return Err(StoreError::damaged(format!("its last block, {}, is not the one it was", applied.height)));
    }
    Ok(())
}
