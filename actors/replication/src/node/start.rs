//! Start and restart: the parts in their order, each asking those before it for what it needs. A process start and the
//! restart of a part are the same recovery (consensus.md section 11).

use std::collections::{BTreeSet, VecDeque};

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::{Height, Now};
use dtvn_pbft::Base;

use super::{Effect, Failure, Incarnations, LogDesk, Mail, Media, Node, NodeSettings, Part};
use crate::consensus::{self, Consensus};
use crate::execution::Execution;
use crate::intake::{self, Intake, IntakeSettings};
use crate::log::{Disk, DiskError, Opened};
use crate::logbook::{LogBook, Verdict};
use crate::pool::{self, Pool, PoolSettings};
use crate::record::LogRecord;
use crate::sync::Sync;

/// A node that did not start, and what outlives the attempt.
#[derive(Debug)]
pub struct Unstarted<D> {
    /// Why.
    pub why: String,
    /// What is on its disks.
    pub media: Media<D>,
}

/// The log when it is open, with what it held.
type OpenLog<D> = (LogBook<D>, Vec<LogRecord>, Option<Opened>);

/// Opens or makes the log, as the storage does: a damaged one is set aside, and the node marked.
fn open_log<D: Disk>(
    settings: &NodeSettings,
    disk: D,
    used_before: bool,
    applied: Height,
    amnesia: &mut Option<String>,
) -> Result<OpenLog<D>, (String, D)> {
    let (identity, limits, chain) = (settings.log_identity(), settings.log_limits, settings.genesis.chain_id());
    let unopened = match LogBook::open(disk, identity, limits, chain) {
        Ok((book, records, opened)) => return Ok((book, records, Some(opened))),
        Err(unopened) => unopened,
    };
    let (error, mut disk) = (unopened.error, unopened.disk);
    match Verdict::of(&error, used_before, applied) {
        Verdict::Create => {}
        Verdict::Amnesia => {
            amnesia.get_or_insert_with(|| error.to_string());
            if let Err(error) = set_aside(&mut disk) {
                return Err((error.to_string(), disk));
            }
        }
        Verdict::Fail => return Err((error.to_string(), disk)),
    }
    let created = LogBook::create(disk, identity, limits);
    created.map(|book| (book, Vec::new(), None)).map_err(|unopened| (unopened.error.to_string(), unopened.disk))
}

fn set_aside<D: Disk>(disk: &mut D) -> Result<(), DiskError> {
    for name in disk.list()? {
        disk.remove(&name)?;
    }
    disk.sync_directory()
}

impl<D: Disk> Node<D> {
    /// Starts a node on what its former process left, or on [`Media::new`].
    ///
    /// # Errors
    /// If log or store cannot be opened for another reason than damage. A log that is missing or damaged is none: the
    /// node then follows and does not vote.
    pub fn start(
        settings: NodeSettings,
        media: Media<D>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Self, Box<Unstarted<D>>> {
        let Media { disk, store, mut amnesia, used_before } = media;
        let applied = store.applied();
        let (book, records, opened) = match open_log(&settings, disk, used_before, applied, &mut amnesia) {
            Ok(open) => open,
            Err((why, disk)) => {
                return Err(Box::new(Unstarted { why, media: Media { disk, store, amnesia, used_before } }));
            }
        };
        let execution = match Execution::load(&settings.genesis, &settings.config, store.load()) {
            Ok(execution) => execution,
            Err(error) => {
                let media = Media { disk: book.into_disk(), store, amnesia, used_before: true };
                return Err(Box::new(Unstarted { why: error.to_string(), media }));
            }
        };
        let base = Base::genesis(&settings.genesis);
        let mut node = Self {
            now,
            mail: VecDeque::new(),
            incarnations: Incarnations::default(),
            desk: LogDesk::new(book, records),
            store,
            covered: Height(0),
            consensus: Consensus::new(settings.config.clone(), base, false, settings.signer.clone()),
            execution,
            amnesia,
            sync: Sync::new(),
            pool: Pool::new(pool_settings(&settings)),
            intake: Intake::new(intake_settings(&settings, 0)),
            connected: BTreeSet::new(),
            quorum: false,
            syncing: false,
            failed: false,
            settings,
        };
        effects.push(Effect::Opened(opened));
        match node.start_parts(effects) {
            Ok(()) => Ok(node),
            Err(Failure(why)) => Err(Box::new(Unstarted { why, media: node.kill() })),
        }
    }

    fn start_parts(&mut self, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        self.start_replica(effects)?;
        self.tell_quorum();
        self.start_gossip(effects);
        self.restart_intake(effects)?;
        self.settle_all(effects)
    }

    /// A part failed: it starts again, and with it what comes after it in its subtree.
    pub(super) fn restart(&mut self, part: Part, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        match part {
            Part::Core => {
                self.reopen_log(effects)?;
                self.restart_from_state_machine(effects)?;
            }
            Part::StateMachine => self.restart_from_state_machine(effects)?,
            Part::Replica => self.restart_replica(effects)?,
            Part::Sync => self.start_sync(),
            Part::Gossip => {
                self.start_gossip(effects);
                self.mail.push_back(Mail::Intake(intake::Input::PoolRestarted));
            }
            Part::Intake => self.restart_intake(effects)?,
        }
        Ok(())
    }

    fn reopen_log(&mut self, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        self.desk.reopen(&self.settings, effects)?;
        self.incarnations.log += 1;
        Ok(())
    }

    fn restart_from_state_machine(&mut self, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        let loaded = Execution::load(&self.settings.genesis, &self.settings.config, self.store.load());
        self.execution = loaded.map_err(Failure::new)?;
        self.restart_replica(effects)
    }

    /// Those who watch the replica tell its successor what it must know.
    fn restart_replica(&mut self, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        self.start_replica(effects)?;
        self.mail.push_back(Mail::Gossip(pool::Input::ReplicaRestarted));
        self.mail.push_back(Mail::Replica(consensus::Input::QuorumConnected(self.quorum)));
        Ok(())
    }

    /// Replica and sync: the ledger's base, then every record of the log, then the start.
    fn start_replica(&mut self, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        self.incarnations.replica += 1;
        let base = self.execution.reset();
        if self.desk.records.is_none() {
            self.reopen_log(effects)?;
        }
        let records = self.desk.records.take().unwrap_or_default();
        let voting = self.amnesia.is_none() || planted(Canary::AmnesiacVotes);
        let (config, signer) = (self.settings.config.clone(), self.settings.signer.clone());
        self.consensus = Consensus::new(config, base, voting, signer);
        for record in records {
            self.consensus.replay(self.now, record);
        }
        let mut said = Vec::new();
        self.consensus.start(self.now, &mut said);
        self.carry_out_replica(said, effects)?;
        self.start_sync();
        Ok(())
    }

    fn start_sync(&mut self) {
        self.incarnations.sync += 1;
        self.sync = Sync::new();
    }

    /// The pool starts with what the replica holds.
    fn start_gossip(&mut self, effects: &mut Vec<Effect>) {
        self.incarnations.gossip += 1;
        self.pool = Pool::new(pool_settings(&self.settings));
        let pending: Vec<_> = self.consensus.pending_bundles().cloned().collect();
        self.step_gossip(pool::Input::Positions(self.consensus.positions()), effects);
        for bundle in pending {
            self.step_gossip(pool::Input::Restored(bundle), effects);
        }
    }

    /// The intake starts with a number of its own, durable before its first bundle, and with what is pending.
    pub(super) fn restart_intake(&mut self, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        self.incarnations.intake += 1;
        // The storage takes it after all that was given to it before.
        self.desk.take_all(self.incarnations.replica, effects)?;
        let start = self.desk.book()?.new_start().map_err(Failure::new)?;
        self.intake = Intake::new(intake_settings(&self.settings, start));
        let me = self.settings.config.me;
        let own = self.consensus.pending_bundles().filter(|bundle| Some(bundle.body.origin) == me);
        let own: Vec<_> = own.cloned().collect();
        let told = [intake::Input::Quorum(self.quorum), intake::Input::Syncing(self.syncing)];
        for input in own.into_iter().map(intake::Input::Restored).chain(told) {
            self.mail.push_back(Mail::Intake(input));
        }
        Ok(())
    }
}

fn pool_settings(settings: &NodeSettings) -> PoolSettings {
    PoolSettings {
        chain: settings.config.chain.clone(),
        epoch: settings.config.epoch,
        validators: settings.config.set.clone(),
        own: settings.config.me,
        seed: settings.pool_seed,
        limits: settings.pool_limits,
    }
}

fn intake_settings(settings: &NodeSettings, start: u64) -> IntakeSettings {
    IntakeSettings {
        epoch: settings.config.epoch,
        origin: settings.config.me,
        start,
        key_retention_ms: settings.genesis.parameters().key_retention_ms,
        limits: settings.intake_limits,
    }
}
