//! What a node keeps on its disk, and how it makes sure that the disk is its own.
//!
//! Architecture section 5: "Two things on disk, one owner". A data directory is `LOCK node.json log/ db/`, and of the
//! sync `snapshots/ archive/`:
//! [`lock`] refuses a second process, [`identity`] another chain or node, [`disk`] is what the consensus log
//! (`dtvn_replication::log`) writes to, and [`store`] is what follows from it, in RocksDB.

pub mod amnesia;
pub mod disk;
pub(crate) mod files;
pub mod identity;
pub mod initial;
pub mod install;
pub mod lock;
pub mod stopped;
pub mod store;

mod actor;
mod log_thread;
mod message;
mod store_thread;

pub use actor::{Storage, StorageArguments, StoreSlot, make_log};
pub use message::{Loaded, ROLE, Replayed, StorageMessage};
