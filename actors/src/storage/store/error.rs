//! What can go wrong with the derived store.

use std::path::PathBuf;

use dtvn_messages::{DecodeError, Height};
use thiserror::Error;

/// Why the store cannot do what it was asked for.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no store, and it was not asked to make one.
    #[error("there is no database at {path}: a node that was used before must not start without it")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The store belongs to something else: another chain, genesis or node.
    #[error("the database at {path} is of {what} {found}, this node is of {expected}: use another data directory")]
    Foreign {
        /// Where it is.
        path: PathBuf,
        /// What differs: chain, genesis, node or key.
        what: &'static str,
        /// What the store says.
        found: String,
        /// What this node is.
        expected: String,
    },
    /// The store was written by another version of this program, in a form that this one does not know.
    #[error("the database at {path} has schema version {found}, this program knows {known}")]
    Schema {
        /// Where it is.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The version of this program.
        known: u32,
    },
    /// Another process, or another part of this one, has the store open.
    #[error("the database at {path} is in use by another process: {detail}")]
    InUse {
        /// Where it is.
        path: PathBuf,
        /// What the database says.
        detail: String,
    },
    /// What is stored is not what was written. Nothing of it is served; it is healed by fetching the state anew.
    #[error("the database is damaged: {what}")]
    Damaged {
        /// What is wrong with which part.
        what: String,
    },
    /// The disk, or the operating system, refuses. What is in memory only may be lost: start again from the log.
    #[error("the disk refuses while {doing}: {detail}")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// What was said.
        detail: String,
    },
    /// A block that is not the next one. The caller lost count, so it must start again from the log.
    #[error("block {found} cannot be applied: the next one is {expected}")]
    OutOfOrder {
        /// The next height.
        expected: Height,
        /// The height of the block.
        found: Height,
    },
    /// Effects that contradict their block, or what is stored.
    #[error("the effects of block {height} do not fit: {what}")]
    Inconsistent {
        /// The block.
        height: Height,
        /// What does not fit.
        what: String,
    },
    /// The cursor was not made by this network for this list.
    #[error("the cursor was not made for this list")]
    BadCursor,
    /// The store is closed: the node, or its storage, is starting or stopping.
    #[error("the database is closed")]
    Closed,
}

impl StoreError {
    /// Damage to one part.
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    /// A stored value that cannot be read.
    pub(super) fn undecodable(what: &'static str, error: &DecodeError) -> Self {
        Self::Damaged { what: format!("{what} cannot be read: {error}") }
    }

    /// What RocksDB said while something was being done.
    ///
    /// A checksum that does not match, a file that is gone and a structure that contradicts itself are damage; what is
    /// left (no space, no permission, a device error) is the disk's.
    pub(super) fn rocksdb(doing: &'static str, error: &rocksdb::Error) -> Self {
        use rocksdb::ErrorKind::{ColumnFamilyDropped, Corruption, IOError, InvalidArgument, NotFound};
        let detail = error.to_string();
        let damaged = match error.kind() {
            Corruption | NotFound | ColumnFamilyDropped | InvalidArgument => true,
            IOError => detail.contains("No such file or directory"),
            _ => false,
        };
        if damaged { Self::Damaged { what: format!("{doing}: {detail}") } } else { Self::Disk { doing, detail } }
    }

    /// What the operating system said while something was being done.
    pub(in crate::storage) fn io(doing: &'static str, error: &std::io::Error) -> Self {
        Self::Disk { doing, detail: error.to_string() }
    }
}
