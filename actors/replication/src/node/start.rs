//! Start and restart: the parts in their order, each asking those before it for what it needs. A process start and the
//! restart of a part are the same recovery (consensus.md section 11).

use std::collections::{BTreeSet, VecDeque};

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::{Height, Now};
use dtvn_pbft::{Base, Config};

use super::{Effect, Failure, Incarnations, LogDesk, Mail, Media, Node, NodeSettings, Part};
use crate::consensus::{self, Consensus};
use crate::execution::Execution;
use crate::intake::{self, Intake, IntakeSettings};
use crate::log::{Disk, DiskError, Opened};
use crate::logbook::{LogBook, Verdict};
use crate::pool::{self, Pool, PoolSettings};
use crate::record::LogRecord;
use crate::recovery::Amnesia;
use crate::sync::{self, Sync};

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
    has_blocks: bool,
    amnesia: &mut Option<Amnesia>,
) -> Result<OpenLog<D>, (String, D)> {
    let (identity, limits, chain) = (settings.log_identity(), settings.log_limits, settings.genesis.chain_id());
    let unopened = match LogBook::open(disk, identity, limits, chain) {
        Ok((book, records, opened)) => return Ok((book, records, Some(opened))),
        Err(unopened) => unopened,
    };
    let (error, mut disk) = (unopened.error, unopened.disk);
    match Verdict::of(&error, used_before, has_blocks) {
        Verdict::Create => {}
        Verdict::Amnesia => {
            amnesia.get_or_insert_with(|| Amnesia { why: error.to_string(), nonce: settings.nonce });
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
        let Media { disk, store, mut amnesia, votes_from, used_before, parts } = media;
        let has_blocks = store.applied() > settings.genesis.base();
        let (book, records, opened) = match open_log(&settings, disk, used_before, has_blocks, &mut amnesia) {
            Ok(open) => open,
            Err((why, disk)) => {
                return Err(Box::new(Unstarted {
                    why,
                    media: Media { disk, store, amnesia, votes_from, used_before, parts },
                }));
            }
        };
        let execution = match Execution::load(settings.identity(), store.load()) {
            Ok(execution) => execution,
            Err(error) => {
                let disk = book.into_disk();
                let media = Media { disk, store, amnesia, votes_from, used_before: true, parts };
                return Err(Box::new(Unstarted { why: error.to_string(), media }));
            }
        };
        let base = Base::genesis(&settings.genesis);
        let config = execution.config().clone();
        let mut node = Self {
            now,
            mail: VecDeque::new(),
            incarnations: Incarnations::default(),
            desk: LogDesk::new(book, records),
            store,
            covered: Height(0),
            consensus: Consensus::new(config.clone(), base, false, settings.signer.clone()),
            execution,
            amnesia,
            votes_from,
            parts,
            sync: Sync::default(),
            pool: Pool::new(pool_settings(&settings, &config)),
            intake: Intake::new(intake_settings(&settings, &config, 0)),
            verifier: settings.verifier(&config),
            config,
            connected: BTreeSet::new(),
            strangers: BTreeSet::new(),
            quorum: false,
            syncing: false,
            following: false,
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
        self.ask_for_recovery(effects);
        self.settle_all(effects)
    }

    /// A part failed: it starts again, and with it what comes after it in its subtree.
    pub(super) fn restart(&mut self, part: Part, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        match part {
            Part::Core => {
                // What the storage had not taken from its mailbox goes with it: also bundles that gossip gave it.
                self.desk.queue.clear();
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

    pub(super) fn restart_from_state_machine(&mut self, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        let before = self.config.epoch;
        let loaded = Execution::load(self.settings.identity(), self.store.load());
        self.execution = loaded.map_err(Failure::new)?;
        self.enter_epoch();
        if self.config.epoch != before {
            self.tell_epoch(effects);
        }
        self.restart_replica(effects)
    }

    /// Those who watch the replica tell its successor what it must know.
    pub(super) fn restart_replica(&mut self, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        self.start_replica(effects)?;
        // Its log may hold what the pool gave up: it votes for it, so it must be there for others.
        let pending = self.consensus.pending_bundles().cloned().map(pool::Input::Restored).map(Mail::Gossip);
        self.mail.extend(pending);
        self.mail.push_back(Mail::Gossip(pool::Input::ReplicaRestarted));
        self.mail.push_back(Mail::Replica(consensus::Input::QuorumConnected(self.quorum)));
        Ok(())
    }

    /// Replica and sync: the ledger's base, then every record of the log, then the start.
    fn start_replica(&mut self, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        self.incarnations.replica += 1;
        let (config, base) = self.execution.reset();
        self.recover_if_opened(effects);
        if self.desk.records.is_none() {
            self.reopen_log(effects)?;
        }
        let records = self.desk.records.take().unwrap_or_default();
        let remembers = self.amnesia.is_none() && self.config.epoch >= self.votes_from;
        let voting = remembers || planted(Canary::AmnesiacVotes);
        let docket = self.verifier.evidence.docket.clone();
        self.store.evidence().for_each(|evidence| _ = docket.admit(evidence));
        self.consensus = Consensus::new(config, base, voting, self.settings.signer.clone()).with_docket(docket);
        for record in records {
            self.consensus.replay(self.now, record);
        }
        let mut said = Vec::new();
        self.consensus.start(self.now, self.store.uncertified(), &mut said);
        self.carry_out_replica(said, effects)?;
        self.start_sync();
        Ok(())
    }

    fn start_sync(&mut self) {
        self.archive();
        self.incarnations.sync += 1;
        let others = self.config.set.iter().map(|(index, _)| index);
        let others = others.filter(|index| Some(*index) != self.config.me).collect();
        let kept = self.parts.keys().copied().collect();
        let genesis = &self.settings.genesis;
        let held = (genesis.base(), genesis.parameters().retain_blocks);
        self.sync = Sync::new(self.config.epoch, others, held, kept);
        let shown = self.consensus.show();
        if shown.diverged {
            let (at_least, differs_at) = (shown.stable, shown.executed);
            self.mail.push_back(Mail::Sync(sync::Input::Heal { at_least, differs_at }));
        }
    }

    /// The last ordered bundles, as the replica knows them.
    pub(super) fn positions(&self) -> pool::Input {
        pool::Input::Positions { epoch: self.config.epoch, positions: self.consensus.positions() }
    }

    /// The pool starts with what the replica holds.
    fn start_gossip(&mut self, effects: &mut Vec<Effect>) {
        self.incarnations.gossip += 1;
        self.pool = Pool::new(pool_settings(&self.settings, &self.config));
        let pending: Vec<_> = self.consensus.pending_bundles().cloned().collect();
        self.step_gossip(self.positions(), effects);
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
        self.intake = Intake::new(intake_settings(&self.settings, &self.config, start));
        let me = self.config.me;
        let own = self.consensus.pending_bundles().filter(|bundle| Some(bundle.body.origin) == me);
        let own: Vec<_> = own.cloned().collect();
        let told = [intake::Input::Quorum(self.quorum), intake::Input::Syncing(self.syncing)];
        for input in own.into_iter().map(intake::Input::Restored).chain(told) {
            self.mail.push_back(Mail::Intake(input));
        }
        Ok(())
    }
}

fn pool_settings(settings: &NodeSettings, config: &Config) -> PoolSettings {
    PoolSettings {
        chain: config.chain.clone(),
        epoch: config.epoch,
        validators: config.set.clone(),
        own: config.me,
        seed: settings.pool_seed,
        limits: settings.pool_limits,
    }
}

fn intake_settings(settings: &NodeSettings, config: &Config, start: u64) -> IntakeSettings {
    IntakeSettings {
        epoch: config.epoch,
        origin: config.me,
        start,
        key_retention_ms: settings.genesis.parameters().key_retention_ms,
        limits: settings.intake_limits,
    }
}
