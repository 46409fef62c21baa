//! The thread of the consensus log: appends what waits, and makes it durable with one fdatasync for all of it (group
//! commit, architecture.md section 5).

use std::path::{Path, PathBuf};

use dtvn_messages::{ChainId, Epoch, Height};
use dtvn_pbft::Ticket;
use dtvn_replication::log::{LogError, LogIdentity, LogLimits};
use dtvn_replication::logbook::LogBook;
use dtvn_replication::record::{Encoded, LogRecord};
use dtvn_replication::recovery::Amnesia;
use tokio::sync::mpsc::Receiver;

use super::amnesia;
use super::disk::FileDisk;
use super::message::{Replayed, StorageMessage};
use crate::instruments::{GroupCommit, Instruments};
use crate::mailbox::{Address, Reply};
use crate::replica::ReplicaMessage;
use crate::supervision::Lifeline;

/// Work for the thread.
pub(super) enum LogWork {
    /// A record that nobody waits for.
    Append(Encoded),
    /// The replica's records.
    Records { records: Vec<(Option<Ticket>, Encoded)>, flush: Option<Ticket>, replica: (Address<ReplicaMessage>, u64) },
    /// All records, from the start.
    Replay(Reply<Result<Replayed, String>>),
    /// This node has a memory again: the mark goes.
    Recovered(Epoch, Reply<Result<(), String>>),
    /// Another start number.
    NewStart(Reply<Result<u64, String>>),
    /// Everything up to this height is durable in the store and covered by a stable checkpoint.
    Covered(Height),
}

/// What the thread works on.
pub(super) struct LogThread {
    pub(super) log: Option<LogBook<FileDisk>>,
    pub(super) directory: PathBuf,
    pub(super) data_directory: PathBuf,
    pub(super) identity: LogIdentity,
    pub(super) chain: ChainId,
    /// What was read when the log was opened, for the first who asks.
    pub(super) records: Option<Vec<LogRecord>>,
    pub(super) amnesia: Option<Amnesia>,
    /// The epoch from which on the node remembers what it signed.
    pub(super) votes_from: Epoch,
    pub(super) instruments: Instruments,
    /// The last ticket that was appended and is not durable, and who hears of it.
    pub(super) waiting: Option<(Ticket, (Address<ReplicaMessage>, u64))>,
    pub(super) flush: bool,
    /// Records and their bytes that the next group commit makes durable.
    pub(super) unsynced: GroupCommit,
}

/// Opens the log and reads all its records.
pub(super) fn open_log(
    directory: &Path,
    identity: LogIdentity,
    chain: &ChainId,
) -> Result<(LogBook<FileDisk>, Vec<LogRecord>), LogError> {
    let disk = FileDisk::open(directory)?;
    let opened = LogBook::open(disk, identity, LogLimits::default(), chain);
    let (log, records, opened) = opened.map_err(|unopened| unopened.error)?;
    let (first, last, cut_bytes) = (opened.first, opened.last, opened.cut_bytes);
    tracing::info!(records = records.len(), %first, %last, cut_bytes, "The consensus log is open.");
    Ok((log, records))
}

impl LogThread {
    /// Works until nobody can give it work any more, or the disk fails.
    pub(super) fn run(mut self, mut work: Receiver<LogWork>, storage: &Address<StorageMessage>, life: Lifeline) {
        while let Some(first) = work.blocking_recv() {
            if let Err(error) = self.take_all(first, &mut work) {
                // A failed write is never passed over: the consensus subtree starts again, from what is on the disk.
                tracing::error!(%error, "The consensus log failed.");
                let _down = storage.try_send(StorageMessage::Failed(format!("the consensus log failed: {error}")));
                break;
            }
        }
        if let Some(log) = self.log.as_mut()
            && let Err(error) = log.commit()
        {
            tracing::error!(%error, "The consensus log could not be flushed at its end.");
        }
        drop(self.log);
        drop(life);
    }

    /// Takes all that waits, then writes it at once.
    fn take_all(&mut self, first: LogWork, work: &mut Receiver<LogWork>) -> Result<(), LogError> {
        self.take(first)?;
        while let Ok(next) = work.try_recv() {
            self.take(next)?;
        }
        self.settle()
    }

    fn log(&mut self) -> Result<&mut LogBook<FileDisk>, LogError> {
        self.log.as_mut().ok_or(LogError::NoLog)
    }

    fn append(&mut self, record: &Encoded) -> Result<(), LogError> {
        self.log()?.append(record)?;
        self.unsynced.records += 1;
        self.unsynced.bytes += record.payload.len() as u64;
        Ok(())
    }

    /// Makes all that was appended durable, and counts it.
    fn commit(&mut self) -> Result<(), LogError> {
        let before = std::time::Instant::now();
        self.log()?.commit()?;
        let unsynced = std::mem::take(&mut self.unsynced);
        if unsynced.records > 0 {
            self.instruments.log_synced(GroupCommit { time: before.elapsed(), ..unsynced });
        }
        Ok(())
    }

    fn take(&mut self, work: LogWork) -> Result<(), LogError> {
        match work {
            LogWork::Append(record) => self.append(&record),
            LogWork::Records { records, flush, replica } => {
                for (ticket, record) in records {
                    self.append(&record)?;
                    if let Some(ticket) = ticket {
                        self.waiting = Some((ticket, replica.clone()));
                    }
                }
                self.flush |= flush.is_some();
                Ok(())
            }
            LogWork::Replay(reply) => {
                let replayed = self.replay();
                let failed = replayed.as_ref().err().cloned();
                reply.send(replayed.map_err(|error| error.to_string()));
                failed.map_or(Ok(()), Err)
            }
            LogWork::Recovered(opened, reply) => {
                let lifted = amnesia::lift(&self.data_directory, Some(opened));
                if lifted.is_ok() {
                    self.amnesia = None;
                    self.votes_from = opened;
                }
                reply.send(lifted.map_err(|error| error.to_string()));
                Ok(())
            }
            LogWork::NewStart(reply) => {
                let start = self.log()?.new_start()?;
                reply.send(Ok(start));
                Ok(())
            }
            LogWork::Covered(height) => self.collect(height),
        }
    }

    /// All that was taken is written; and made durable, if somebody waits.
    fn settle(&mut self) -> Result<(), LogError> {
        if !self.flush {
            return self.log()?.write_unsynced();
        }
        self.flush = false;
        self.commit()?;
        if let Some((ticket, (replica, run))) = self.waiting.take() {
            // A replica that is gone waits for nothing; its successor has tickets of its own.
            let _gone = replica.try_send(ReplicaMessage::Durable { run, ticket });
        }
        Ok(())
    }

    fn replay(&mut self) -> Result<Replayed, LogError> {
        let (amnesia, votes_from) = (self.amnesia.clone(), self.votes_from);
        self.waiting = None;
        if let Some(records) = self.records.take() {
            return Ok(Replayed { records, amnesia, votes_from });
        }
        let mut last_start = 0;
        if let Some(mut log) = self.log.take() {
            log.commit()?;
            last_start = log.last_start();
        }
        let (mut log, records) = open_log(&self.directory, self.identity, &self.chain)?;
        log.continue_starts(last_start);
        self.log = Some(log);
        Ok(Replayed { records, amnesia, votes_from })
    }

    fn collect(&mut self, covered: Height) -> Result<(), LogError> {
        let freed = self.log()?.collect(covered)?;
        if freed > 0 {
            tracing::debug!(covered = covered.0, freed, "Segments of the consensus log were dropped.");
        }
        Ok(())
    }
}
