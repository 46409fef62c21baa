//! What is on the disk of a node that does not run: for the operator's commands. Whoever calls holds the directory's lock.

use std::path::Path;

use dtvn_messages::{Genesis, Height, NodeName, limits};
use dtvn_replication::execution::Stored;
use dtvn_replication::left::{Left, LeftError, bring_up};
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
    /// The database holds no state that a ledger can have, or another one than the log says.
    #[error(transparent)]
    Left(#[from] LeftError),
    /// The consensus log holds a committed block to which nothing leads: an epoch ends between, or records are missing.
    #[error(
        "its state can be brought up to height {applied}, but its consensus log holds the committed block {logged}: start \
         the node once, alone, and stop it with SIGTERM; it then brings its database up to date"
    )]
    Behind {
        /// The height of the state.
        applied: Height,
        /// The highest committed block of the log.
        logged: Height,
    },
}

/// The state in the database of a data directory, without what the consensus log holds above it; none if there is no
/// database.
///
/// # Errors
/// If it is damaged, or another node's.
pub fn stored(directory: &Path, genesis: &Genesis, owner: StoreIdentity) -> Result<Option<Stored>, StoreError> {
    if !install::database(directory).exists() {
        return Ok(None);
    }
    read(directory, genesis, owner).map(Some)
}

/// What is in a data directory: the state, brought up to what the consensus log proves.
#[derive(Debug)]
pub struct Found {
    /// The state.
    pub left: Left,
    /// Why there is no consensus log to go by, if there is none: the database may be far behind what the node knew.
    pub log_lost: Option<String>,
}

/// The state in a data directory, after the last block that its consensus log proves to be committed or prepared. A log that
/// is lost or damaged is no error: then the database is all that is left.
///
/// # Errors
/// If the database is missing, damaged, another node's or another than a quorum found, the disk refuses, or the log holds
/// committed blocks to which nothing leads from the database.
pub fn state(directory: &Path, genesis: &Genesis, owner: StoreIdentity) -> Result<Found, StoppedError> {
    let (records, log_lost) = logged(directory, genesis, &owner.node)?;
    let left = bring_up(genesis, read(directory, genesis, owner)?, &records)?;
    if left.logged > left.committed {
        return Err(StoppedError::Behind { applied: left.committed, logged: left.logged });
    }
    Ok(Found { left, log_lost })
}

fn read(directory: &Path, genesis: &Genesis, owner: StoreIdentity) -> Result<Stored, StoreError> {
    let condemned = install::condemned(directory);
    // A node that starts would not use it either.
    if let Some(what) = condemned.map_err(|error| StoreError::io("reading whether the database is sound", &error))? {
        return Err(StoreError::Damaged { what });
    }
    let database = install::database(directory);
    let (store, _) = Store::open(&database, owner, StoreOptions::default(), IfMissing::Refuse)?;
    let loaded = load(&store, &genesis.hash())?;
    store.close(limits::NODE_STOP_TIMEOUT)?;
    Ok(loaded.into())
}

/// The records of the consensus log; or none, and why, if it is lost or damaged. Its end is cut if it is torn, as at a
/// start.
fn logged(directory: &Path, genesis: &Genesis, name: &NodeName) -> Result<(Vec<LogRecord>, Option<String>), LogError> {
    let (chain, directory) = (genesis.chain_id(), directory.join("log"));
    let identity = LogIdentity::new(chain, name, &genesis.hash());
    if !directory.is_dir() {
        return Ok((Vec::new(), Some(LogError::NoLog.to_string())));
    }
    match open_log(&directory, identity, chain) {
        Ok((_, records)) => Ok((records, None)),
        Err(error) if matches!(error, LogError::NoLog) || error.is_damage() => {
            Ok((Vec::new(), Some(error.to_string())))
        }
        Err(error) => Err(error),
    }
}
