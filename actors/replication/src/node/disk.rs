//! The storage: what waits is written to the log together and synced once (group commit), and what is covered goes.

use std::collections::VecDeque;

use dtvn_messages::Height;

use super::messages::LogWork;
use super::{Effect, Failure, LogDesk, Mail, Node, NodeSettings, Work};
use crate::archive::{self, Archived};
use crate::consensus;
use crate::log::{Disk, LogError};
use crate::logbook::LogBook;
use crate::record::{Encoded, LogRecord};

impl<D: Disk> LogDesk<D> {
    /// A desk with an open log.
    pub(super) fn new(book: LogBook<D>, records: Vec<LogRecord>) -> Self {
        Self {
            book: Some(book),
            closed: None,
            records: Some(records),
            queue: VecDeque::new(),
            waiting: None,
            flush: false,
            syncing: None,
        }
    }

    pub(super) fn book(&mut self) -> Result<&mut LogBook<D>, Failure> {
        self.book.as_mut().ok_or_else(|| Failure::new(LogError::NoLog))
    }

    /// The thread takes what waits, commits and ends; its successor reads what is there.
    pub(super) fn reopen(&mut self, settings: &NodeSettings, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        self.take_all(0, effects)?;
        self.book()?.commit().map_err(Failure::new)?;
        let Some(book) = self.book.take() else { return Ok(()) };
        let last_start = book.last_start();
        let (identity, chain) = (settings.log_identity(), settings.genesis.chain_id());
        match LogBook::open(book.into_disk(), identity, settings.log_limits, chain) {
            Ok((mut book, records, opened)) => {
                effects.push(Effect::Opened(Some(opened)));
                book.continue_starts(last_start);
                *self = Self::new(book, records);
                Ok(())
            }
            Err(unopened) => {
                self.closed = Some(unopened.disk);
                Err(Failure::new(unopened.error))
            }
        }
    }

    fn append(&mut self, record: Encoded, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        let position = self.book()?.append(&record).map_err(Failure::new)?;
        effects.push(Effect::Logged { number: position.number, record });
        Ok(())
    }

    fn take(&mut self, work: LogWork, replica: u64, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        match work {
            LogWork::Append(record) => self.append(record, effects),
            LogWork::Record(ticket, record) => {
                self.append(record, effects)?;
                if let Some(ticket) = ticket {
                    self.waiting = Some((ticket, replica));
                }
                Ok(())
            }
            LogWork::Flush => {
                self.flush = true;
                Ok(())
            }
            LogWork::Covered(height) => self.book()?.collect(height).map(drop).map_err(Failure::new),
        }
    }

    /// Takes all that waits, whoever waits for it.
    pub(super) fn take_all(&mut self, replica: u64, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        while let Some(work) = self.queue.pop_front() {
            self.take(work, replica, effects)?;
        }
        Ok(())
    }
}

impl<D: Disk> Node<D> {
    /// All that waits is written; and its sync begins, if somebody waits for it. While one is under way, what comes is
    /// gathered for the next.
    pub(super) fn settle_log(&mut self, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        let desk = &mut self.desk;
        if desk.syncing.is_some() || (desk.queue.is_empty() && !desk.flush) {
            return Ok(());
        }
        desk.take_all(self.incarnations.replica, effects)?;
        desk.book()?.write_unsynced().map_err(Failure::new)?;
        if std::mem::take(&mut desk.flush) {
            desk.syncing = Some(desk.waiting.take());
            effects.push(Effect::Work(Work::Sync { incarnation: self.incarnations.log }));
        }
        Ok(())
    }

    /// The sync that was announced happens now.
    pub(super) fn on_synced(&mut self, incarnation: u64) -> Result<(), Failure> {
        if incarnation != self.incarnations.log {
            return Ok(());
        }
        let Some(waiting) = self.desk.syncing.take() else { return Ok(()) };
        self.desk.book()?.commit().map_err(Failure::new)?;
        // A replica that is gone waits for nothing; its successor has tickets of its own.
        if let Some((ticket, replica)) = waiting
            && replica == self.incarnations.replica
        {
            self.mail.push_back(Mail::Replica(consensus::Input::Durable(ticket)));
        }
        Ok(())
    }

    /// A stable checkpoint, or any for a node without a vote: what it covers and the store has durably passed goes from the log.
    pub(super) fn cover(&mut self, stable: Height) {
        let covered = stable.min(self.store.durable());
        if covered > self.covered {
            self.covered = covered;
            self.desk.queue.push_back(LogWork::Covered(covered));
        }
        let retain = self.settings.genesis.parameters().retain_blocks;
        let below =
            archive::collectable(self.store.applied().min(covered), retain, self.config.me.is_some(), self.reach());
        if below > Height(0) {
            self.store.collect(below);
        }
    }

    /// The state that outlives the process, for others.
    pub(super) fn archived(&self) -> Option<&Archived> {
        self.store.archived()
    }

    fn reach(&self) -> Option<Height> {
        let archived = self.archived().map(Archived::height);
        archive::reach(archived, self.settings.genesis.base(), self.store.first_block())
    }

    /// Archives the latest stable state, if one is due.
    pub(super) fn archive(&mut self) {
        if self.config.me.is_none() {
            return;
        }
        let every = archive::every(self.settings.genesis.parameters());
        let due = archive::due(self.execution.shelf(), self.reach(), every).cloned();
        if let Some(snapshot) = due {
            self.store.archive(&snapshot);
        }
    }
}
