//! The derived store: everything that follows from the committed blocks, in RocksDB (architecture.md section 5).
//!
//! One [`Store`] writes, owned by the storage actor's thread; any number of [`StoreReader`]s read, each through a
//! [`View`] that is consistent. The consensus log is the truth and this is its image: a crash takes away the newest
//! blocks of the image, never a part of one, and they are applied again from the log.
//!
//! # What is where
//!
//! Numbers are big-endian, so that the order of keys is theirs. `event 0 ticket` is the event's name, a byte 0, and the
//! ticket's. *Layout* is the canonical layout of crate `dtvn-messages`; *record* is bincode (`records.rs`).
//!
//! | column family | key | value |
//! |---|---|---|
//! | `default` | `schema` | schema version `u32` |
//! | | `identity` | layout of [`StoreIdentity`] |
//! | | `applied` | record of [`Applied`]: height, block digest, time, size and peaks of the log, counts |
//! | | `lowest_block` | lowest kept height `u64` |
//! | | `membership` | layout of the validators and what was agreed about them |
//! | | `epoch_end/` epoch `u64` | layout of what proves how that epoch ended |
//! | | `installed` | if it was made from a snapshot: height `u64`, size of the log `u64`; see `build.rs` |
//! | | `last_bundle/` validator's name | record of its last ordered bundle: epoch, start, number |
//! | `tickets` | event 0 ticket | layout of the ticket |
//! | `flagged` | state `u8`, event 0 ticket, for disputed and revoked tickets only | nothing |
//! | `outcomes` | index `u64` | layout of the outcome: the leaf of the transparency log |
//! | `history` | event 0 ticket 0, index `u64` | nothing |
//! | `keys` | SHA-256 name of scope and key | index of its outcome `u64`, layout of the scope unless it is its event |
//! | `blocks` | height `u64` | record of [`StoredBlock`] |
//! | `digests` | block digest | height `u64` |
//! | `bodies` | height `u64`, ordinal `u32` | the bundle as it travels |
//! | `tiles` | level `u8`, index `u64` | up to 256 hashes of 32 bytes (`tiles.rs`) |
//! | `checkpoints` | height `u64` | layout of the stable checkpoint |
//! | `receipts` | height `u64` | layout of the block's receipt certificate |
//! | `evidence` | name of the evidence: one for culprit, kind and slot | layout of the evidence |
//! | `new_views` | epoch `u64`, view `u64` | adopted at height `u64`, layout of the signed NEW-VIEW |
//! | | epoch `u64`, view `u64`, signer `u16` | layout of the signed VIEW-CHANGE |
//!
//! A held key's payload digest and time are those of its outcome, and keys expire in the order of their outcomes, so
//! neither is stored again. What is written all over is what costs: a scan at a gate writes its ticket, its entry in the
//! history and its key there, and there is no index by the states that every ticket goes through. Outcomes, tiles, history and the latest stable checkpoint are kept for ever; blocks, bodies,
//! digests, older checkpoints and NEW-VIEWs until they are collected.
//!
//! # What survives
//!
//! Everything is written with RocksDB's own log off, and flushed in one atomic step over all column families (see
//! `options.rs`). [`Store::durable_height`] asks the database for the height in its synced files, so it is what a loss
//! of power leaves, and notes it in the [seal](seal), which is how a database that silently lost its end is found out.

mod apply;
mod blocks;
mod build;
mod collect;
mod cursor;
mod database;
mod epochs;
mod error;
mod evidence;
mod image;
pub mod inspect;
mod open;
mod options;
mod outcomes;
mod records;
mod schema;
mod seal;
mod states;
mod stats;
mod tickets;
mod tiles;

#[cfg(test)]
pub(in crate::storage) mod tests;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dtvn_messages::merkle::LogEdge;
use dtvn_messages::{Height, Layout, ReceiptCertificate, StableCheckpoint, limits};
use rocksdb::WriteBatch;
use rocksdb::checkpoint::Checkpoint;
use tokio::sync::watch;

pub use apply::AppliedBlock;
pub use build::Installed;
pub use cursor::Page;
pub use database::View;
pub use error::StoreError;
pub use open::IfMissing;
pub use options::StoreOptions;
pub use records::{Applied, Counts, LocalView, StoreIdentity, StoredBlock, StoredNewView};
pub use stats::{ColumnStats, StoreStats};
pub use tickets::TicketFilter;
pub use tiles::TILE_WIDTH;

use database::Database;
use schema::{Column, meta};
use seal::{Seal, database_path};
use states::StateTable;
use tiles::TileBuilder;

/// What was found at open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Whether the store was made just now.
    pub created: bool,
    /// The last block that is in it: the log is replayed above.
    pub applied: Applied,
    /// The height up to which it was known to be durable.
    pub durable: Height,
}

/// The writer's side. There is one for a directory; it belongs to one thread, and its calls block it.
pub struct Store {
    database: Arc<Database>,
    closed: Receiver<Infallible>,
    directory: PathBuf,
    seal: Seal,
    applied: watch::Sender<Applied>,
    receipts: watch::Sender<Height>,
    states: StateTable,
    tiles: TileBuilder,
    lowest_block: Height,
    options: StoreOptions,
    unflushed_blocks: u64,
}

impl Store {
    /// A reader. Readers are cheap, work from any thread, and do not keep the store open.
    #[must_use]
    pub fn reader(&self) -> StoreReader {
        StoreReader {
            database: Arc::downgrade(&self.database),
            applied: self.applied.subscribe(),
            receipts: self.receipts.subscribe(),
        }
    }

    /// The last applied block.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.applied.borrow().clone()
    }

    /// Applies blocks, each directly above the one before, and tells who waits for the height. They are one atomic step,
    /// or several if there are more than [`limits::STORE_APPLY_BLOCKS_MAX`]: together they cost less than one by one. In
    /// memory only, until [`Store::durable_height`] says otherwise.
    ///
    /// # Errors
    /// Then nothing of the step was applied. [`StoreError::OutOfOrder`] and [`StoreError::Inconsistent`] are faults of
    /// the caller; after any other the store must be opened anew.
    pub fn apply(&mut self, blocks: &[AppliedBlock]) -> Result<(), StoreError> {
        blocks.chunks(limits::STORE_APPLY_BLOCKS_MAX).try_for_each(|step| self.apply_step(step))
    }

    fn apply_step(&mut self, blocks: &[AppliedBlock]) -> Result<(), StoreError> {
        let mut builder = apply::BatchBuilder::new(
            self.database.identity(),
            &self.states,
            self.database.handles(),
            &self.applied.borrow(),
            &self.tiles,
            blocks,
        );
        blocks.iter().try_for_each(|block| builder.add(block))?;
        let apply::Outcomes { batch, applied, tiles, moved } = builder.finish();
        self.database.write(batch)?;
        for (ticket_key, state) in &moved {
            self.states.set(ticket_key, *state);
        }
        self.tiles = tiles;
        self.applied.send_replace(applied);
        self.unflushed_blocks += blocks.len() as u64;
        if self.unflushed_blocks >= self.options.memory_blocks {
            self.database.flush(false)?;
            self.unflushed_blocks = 0;
        }
        Ok(())
    }

    /// The right edge of the transparency log after the last applied block.
    ///
    /// # Errors
    /// If the growing tiles are not those of a log of its size.
    pub fn edge(&self) -> Result<LogEdge, StoreError> {
        self.tiles.edge().ok_or_else(|| StoreError::damaged("the growing tiles are not those of the log"))
    }

    /// Keeps a stable checkpoint.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn put_stable_checkpoint(&mut self, checkpoint: &StableCheckpoint) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        let key = schema::number(checkpoint.height().0);
        batch.put_cf(&self.database.handle(Column::Checkpoints), key, checkpoint.to_bytes());
        self.database.write(batch)
    }

    /// Keeps receipt certificates, each with its block.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn put_receipts(&mut self, certificates: &[Arc<ReceiptCertificate>]) -> Result<(), StoreError> {
        if certificates.is_empty() {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        let column = self.database.handle(Column::Receipts);
        for certificate in certificates {
            batch.put_cf(&column, schema::number(certificate.head.height.0), certificate.to_bytes());
        }
        self.database.write(batch)?;
        let last = certificates.iter().map(|certificate| certificate.head.height).max();
        self.receipts.send_modify(|highest| *highest = last.unwrap_or_default().max(*highest));
        Ok(())
    }

    /// Keeps an adopted NEW-VIEW with the VIEW-CHANGEs that it names.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn put_new_view(&mut self, new_view: &StoredNewView) -> Result<(), StoreError> {
        let StoredNewView { height, new_view, view_changes } = new_view;
        let column = self.database.handle(Column::NewViews);
        let key = schema::new_view(new_view.body.epoch, new_view.body.view);
        let mut batch = WriteBatch::default();
        batch.put_cf(&column, key, blocks::new_view_value(*height, new_view));
        for view_change in view_changes {
            batch.put_cf(&column, schema::view_change(key, view_change.signer), view_change.to_bytes());
        }
        self.database.write(batch)
    }

    /// The highest height of which all effects survive a loss of power. The consensus log is needed above it.
    ///
    /// Costs a look into the database; when the height has risen also a synced write of a small file.
    ///
    /// # Errors
    /// If the database or the disk refuses.
    pub fn durable_height(&mut self) -> Result<Height, StoreError> {
        let durable = self.database.durable_meta(meta::APPLIED)?;
        let durable = durable.ok_or_else(|| StoreError::damaged("its synced files do not say where they end"))?;
        let height = Applied::from_value(&durable)?.height;
        if height > self.seal.durable {
            let seal = Seal { durable: height, ..self.seal.clone() };
            seal.write(&self.directory)?;
            self.seal = seal;
        }
        Ok(self.seal.durable)
    }

    /// Makes everything that was applied durable, and waits for it. Nothing is written if there is nothing new.
    ///
    /// # Errors
    /// If the database or the disk refuses; then it is not known what is durable.
    pub fn flush(&mut self) -> Result<Height, StoreError> {
        self.database.flush(true)?;
        self.unflushed_blocks = 0;
        self.durable_height()
    }

    /// A copy of the store as it is, in a directory that must not exist yet, on the same file system: files are shared
    /// by hard links. The copy can be opened as a store of the same node.
    ///
    /// # Errors
    /// If the database or the disk refuses. What was begun in `directory` is left there.
    pub fn checkpoint_to(&mut self, directory: &Path) -> Result<Applied, StoreError> {
        std::fs::create_dir(directory).map_err(|error| StoreError::io("making the folder of the copy", &error))?;
        let failed = |error: rocksdb::Error| StoreError::rocksdb("copying the database", &error);
        let checkpoint = Checkpoint::new(self.database.raw()).map_err(failed)?;
        checkpoint.create_checkpoint(database_path(directory)).map_err(failed)?;
        let applied = self.applied();
        Seal { durable: applied.height, ..self.seal.clone() }.write(directory)?;
        Ok(applied)
    }

    /// Flushes, lets go of the database, and waits until the last reader has ended its view.
    ///
    /// # Errors
    /// If the last flush fails, or a reader still has a view after `timeout`.
    pub fn close(mut self, timeout: Duration) -> Result<Height, StoreError> {
        let durable = self.flush()?;
        let Self { database, closed, directory, applied, .. } = self;
        drop(applied);
        drop(database);
        match closed.recv_timeout(timeout) {
            Err(RecvTimeoutError::Disconnected) => Ok(durable),
            Err(RecvTimeoutError::Timeout) => {
                Err(StoreError::InUse { path: directory, detail: "a reader has not ended its view".to_owned() })
            }
            Ok(never) => match never {},
        }
    }
}

/// The readers' side: cheap to clone, usable from any thread. Reading blocks for as long as the disk takes, which is
/// nothing for what is cached: an async caller uses a blocking task for long pages.
#[derive(Clone)]
pub struct StoreReader {
    database: Weak<Database>,
    applied: watch::Receiver<Applied>,
    receipts: watch::Receiver<Height>,
}

impl StoreReader {
    /// Reads through one consistent view. A view is for one answer: it holds back the store's close.
    ///
    /// # Errors
    /// [`StoreError::Closed`] once the store is closed, and what `read` says.
    pub fn read<T>(&self, read: impl FnOnce(&View<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let database = self.database.upgrade().ok_or(StoreError::Closed)?;
        let view = database.view()?;
        read(&view)
    }

    /// The last applied block, and its successors: what is read after a height was seen here is of that height or above.
    /// The channel ends when the store is closed.
    #[must_use]
    pub fn applied_watch(&self) -> watch::Receiver<Applied> {
        self.applied.clone()
    }

    /// The highest height that got a receipt certificate since the store was opened, and news of each.
    #[must_use]
    pub fn receipts_watch(&self) -> watch::Receiver<Height> {
        self.receipts.clone()
    }

    /// Sizes and figures of the database.
    ///
    /// # Errors
    /// [`StoreError::Closed`] once the store is closed, or if the database refuses.
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        let database = self.database.upgrade().ok_or(StoreError::Closed)?;
        stats::of(&database)
    }
}
