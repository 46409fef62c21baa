//! A store made from a whole state instead of from blocks: what a snapshot becomes (consensus.md section 7).
//!
//! Outcomes, history and tiles below the state are not part of it. What the log needs to be continued, its edge, is; so is
//! the outcome of every key that is held. `installed` in [`meta`] says from where on the rest is there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use dtvn_messages::{Height, Layout};
use dtvn_replication::execution::{LastBlock, Stored};
use rocksdb::WriteBatch;

use super::apply::key_value;
use super::database::{Database, View};
use super::error::StoreError;
use super::options::StoreOptions;
use super::records::{Applied, Counts, LocalView, StoreIdentity, StoredBlock, encode};
use super::schema::{self, Column, SCHEMA_VERSION, meta, number};
use super::seal::{Seal, database_path};
use super::tiles::edge_tiles;
use super::{IfMissing, Store};
use crate::storage::files;

/// Entries that are written in one step.
const STEP_ENTRIES: usize = 1_024;
/// How long closing may take: nobody reads it yet.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

impl Store {
    /// Makes a store with this state in a directory that is replaced. It is complete, and durable, once its seal is there:
    /// that is the last thing to be written.
    ///
    /// # Errors
    /// If the database or the disk refuses. What was begun is left there, without a seal.
    pub fn build(
        directory: &Path,
        identity: StoreIdentity,
        options: &StoreOptions,
        stored: &Stored,
    ) -> Result<(), StoreError> {
        let failed = |error: std::io::Error| StoreError::io("making the folder of a new database", &error);
        if directory.exists() {
            fs::remove_dir_all(directory).map_err(failed)?;
        }
        fs::create_dir_all(directory).map_err(failed)?;
        if stored.image.height == Height(0) {
            let (store, _) = Self::open(directory, identity, options.clone(), IfMissing::Create)?;
            return store.close(CLOSE_TIMEOUT).map(drop);
        }
        let path = database_path(directory);
        fs::create_dir_all(&path).and_then(|()| files::sync_directory(directory)).map_err(failed)?;
        let (database, closed) = Database::open(&path, identity.clone(), options, true)?;
        write_state(&database, stored)?;
        database.flush(true)?;
        Seal { schema: SCHEMA_VERSION, identity, durable: stored.image.height }.write(directory)?;
        drop(database);
        let _closed = closed.recv_timeout(CLOSE_TIMEOUT);
        Ok(())
    }
}

fn write_state(database: &Database, stored: &Stored) -> Result<(), StoreError> {
    let image = &stored.image;
    let mut counts = Counts::default();
    (counts.keys, counts.accepted) = (image.keys.len() as u64, image.accepted);
    counts.refused = image.log.size().checked_sub(image.accepted).ok_or_else(|| StoreError::Inconsistent {
        height: image.height,
        what: "more outcomes are accepted than there are".to_owned(),
    })?;
    let columns = database.handles();
    let column = |column: Column| columns[column.position()];
    for tickets in image.tickets.chunks(STEP_ENTRIES) {
        let mut batch = WriteBatch::default();
        for ticket in tickets {
            let key = schema::ticket(&ticket.event, &ticket.id);
            batch.put_cf(&column(Column::Tickets), &key, ticket.to_bytes());
            if schema::is_flagged(ticket.state) {
                batch.put_cf(&column(Column::Flagged), schema::flagged(ticket.state, &key), []);
            }
            counts.move_ticket(None, ticket.state);
        }
        database.write(batch)?;
    }
    for keys in image.keys.chunks(STEP_ENTRIES) {
        let mut batch = WriteBatch::default();
        for entry in keys {
            let outcome = &entry.outcome;
            batch.put_cf(&column(Column::Keys), schema::digest(&entry.digest()), key_value(entry));
            batch.put_cf(&column(Column::Outcomes), number(outcome.index), outcome.to_bytes());
            if let Some(ticket) = &outcome.ticket {
                let ticket = schema::ticket(&outcome.event, ticket);
                batch.put_cf(&column(Column::History), schema::history(&ticket, outcome.index), []);
            }
        }
        database.write(batch)?;
    }
    database.write(ends(database, stored, counts))
}

/// What the state ends with: the last block if the chain has one, the edge of the log, and how far it is.
fn ends(database: &Database, stored: &Stored, counts: Counts) -> WriteBatch {
    let image = &stored.image;
    let (height, timestamp, log) = (image.height, image.timestamp, image.log.clone());
    let columns = database.handles();
    let column = |column: Column| columns[column.position()];
    let mut batch = WriteBatch::default();
    if let Some(last) = &stored.block {
        batch.put_cf(&column(Column::Blocks), number(height.0), without_operations(last).to_value());
        batch.put_cf(&column(Column::Digests), schema::digest(&last.digest), number(height.0));
    }
    let block = stored.block.as_ref().map_or(database.identity().genesis, |last| last.digest);
    let lowest = if stored.block.is_some() { height } else { height.next() };
    let applied = Applied { height, block, timestamp, log, counts };
    if let Some(stable) = &stored.stable {
        batch.put_cf(&column(Column::Checkpoints), number(stable.height().0), stable.to_bytes());
    }
    for tile in edge_tiles(&stored.edge) {
        batch.put_cf(&column(Column::Tiles), tile.key(), tile.value());
    }
    let meta_column = column(Column::Meta);
    for (origin, last_bundle) in &image.last_bundles {
        batch.put_cf(&meta_column, meta::last_bundle(origin), encode(last_bundle));
    }
    if let Some(membership) = &image.membership {
        batch.put_cf(&meta_column, meta::MEMBERSHIP, membership.to_bytes());
    }
    for end in &stored.ends {
        batch.put_cf(&meta_column, meta::epoch_end(end.epoch()), end.to_bytes());
    }
    let installed = Installed { height, log_size: image.log.size() };
    batch.put_cf(&meta_column, meta::INSTALLED, installed_value(installed));
    batch.put_cf(&meta_column, meta::SCHEMA, SCHEMA_VERSION.to_be_bytes());
    batch.put_cf(&meta_column, meta::IDENTITY, database.identity().to_bytes());
    batch.put_cf(&meta_column, meta::APPLIED, applied.to_value());
    batch.put_cf(&meta_column, meta::LOWEST_BLOCK, number(lowest.0));
    batch
}

/// The last block of a state, whose bundles are not part of it.
fn without_operations(last: &LastBlock) -> StoredBlock {
    StoredBlock {
        block: last.block.clone(),
        digest: last.digest,
        certificate: last.certificate.clone(),
        local: LocalView::default(),
        first_index: last.block.header.log_size,
        accepted: 0,
        refused: 0,
        repeated: 0,
        bundle_bytes: 0,
    }
}

/// Where a store that was made from a state begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Installed {
    /// The height of the state. Its block is there without its bundles.
    pub height: Height,
    /// The size of the log then: of the outcomes below, only those of keys that were held are there.
    pub log_size: u64,
}

impl View<'_> {
    /// Where the store begins; at 0 if it was made from blocks.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn installed(&self) -> Result<Installed, StoreError> {
        let value = self.get(Column::Meta, meta::INSTALLED)?;
        value.as_deref().map_or_else(|| Ok(Installed::default()), read_installed)
    }
}

pub(super) fn installed_value(installed: Installed) -> Vec<u8> {
    [number(installed.height.0), number(installed.log_size)].concat()
}

pub(super) fn read_installed(value: &[u8]) -> Result<Installed, StoreError> {
    let parts = value.split_at_checked(8).and_then(|(height, size)| {
        Some(Installed { height: Height(schema::read_number(height)?), log_size: schema::read_number(size)? })
    });
    parts.ok_or_else(|| StoreError::damaged("it does not say where it begins"))
}
