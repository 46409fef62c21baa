//! What is on the disk of a node that does not run: for the operator's commands. Whoever calls holds the directory's lock.

use std::path::Path;

use dtvn_messages::{Genesis, Height, NodeName, limits};
use dtvn_pbft::Record;
use dtvn_replication::execution::Stored;
use dtvn_replication::log::{LogError, LogIdentity};
use dtvn_replication::record::LogRecord;
use thiserror::Error;

use super::install;
use super::log_thread::open_log;
use super::store::{IfMissing, Store, StoreError, StoreIdentity, StoreOptions};
use super::store_thread::load;

/// Why the state of a node that does not run cannot be had.
#[derive(Debug, Error)]
pub enum StoppedError {
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The consensus log cannot be read, and not because it is lost or damaged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The consensus log goes on where the database ends.
    #[error(
        "its database ends at height {applied}, but its consensus log holds the committed block {logged}: start the node \
         once, alone, and stop it with SIGTERM; it then brings its database up to date"
    )]
    Behind {
        /// The height of the database.
        applied: Height,
        /// The highest committed block of the log.
        logged: Height,
    },
}

/// How far the database of a data directory is; 0 if there is none.
///
/// # Errors
/// If it is damaged, or another node's.
pub fn applied(directory: &Path, owner: StoreIdentity) -> Result<Height, StoreError> {
    if !install::database(directory).exists() {
        return Ok(Height(0));
    }
    let store = open(directory, owner)?;
    let height = store.applied().height;
    store.close(limits::NODE_STOP_TIMEOUT)?;
    Ok(height)
}

/// The state in a data directory, after its last committed block. A consensus log that is lost or damaged is no error: then
/// the database is all that is left.
///
/// # Errors
/// If the database is missing, damaged or another node's, the disk refuses, or the log holds committed blocks above it.
pub fn state(directory: &Path, genesis: &Genesis, owner: StoreIdentity) -> Result<Stored, StoppedError> {
    let logged = logged(directory, genesis, &owner.node)?;
    let store = open(directory, owner)?;
    let loaded = load(&store, &genesis.hash())?;
    store.close(limits::NODE_STOP_TIMEOUT)?;
    let applied = loaded.applied.height;
    match logged.filter(|logged| *logged > applied) {
        Some(logged) => Err(StoppedError::Behind { applied, logged }),
        None => Ok(loaded.into()),
    }
}

fn open(directory: &Path, owner: StoreIdentity) -> Result<Store, StoreError> {
    let database = install::database(directory);
    Ok(Store::open(&database, owner, StoreOptions::default(), IfMissing::Refuse)?.0)
}

/// The highest committed block that the consensus log holds; none if the log is lost or damaged. Its end is cut if it is
/// torn, as at a start.
fn logged(directory: &Path, genesis: &Genesis, name: &NodeName) -> Result<Option<Height>, LogError> {
    let (chain, directory) = (genesis.chain_id(), directory.join("log"));
    let identity = LogIdentity::new(chain, name, &genesis.hash());
    if !directory.is_dir() {
        return Ok(None);
    }
    let records = match open_log(&directory, identity, chain) {
        Ok((_, records)) => records,
        Err(error) if matches!(error, LogError::NoLog) || error.is_damage() => return Ok(None),
        Err(error) => return Err(error),
    };
    let committed = records.iter().filter_map(|record| match record {
        LogRecord::Replica(Record::Committed { block, .. }) => Some(block.header.height),
        _ => None,
    });
    Ok(committed.max())
}
