//! The core: the replica, and the ledger that executes what it orders.

use std::sync::Arc;

use super::messages::LogWork;
use super::{Effect, Executed, Failure, Mail, Node, Timed, Timer, Work};
use crate::consensus::{self, Committed};
use crate::log::Disk;
use crate::{intake, pool, sync};

impl<D: Disk> Node<D> {
    pub(super) fn step_replica(&mut self, input: consensus::Input, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        let mut said = Vec::new();
        self.consensus.step(self.now, input, &mut said);
        self.carry_out_replica(said, effects)
    }

    /// As the replica's actor: its neighbours hear at once, the storage gets all records of a step together.
    pub(super) fn carry_out_replica(
        &mut self,
        said: Vec<consensus::Effect>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Failure> {
        let mut records = Vec::new();
        let mut over = None;
        for effect in said {
            match effect {
                consensus::Effect::Append { ticket, record } => records.push(LogWork::Record(ticket, record)),
                consensus::Effect::Flush { .. } => records.push(LogWork::Flush),
                consensus::Effect::EpochOver { committed, stable } => over = Some((committed, stable)),
                other => self.carry_out_one(other, effects)?,
            }
        }
        self.desk.queue.extend(records);
        let syncing = intake::is_syncing(&self.consensus.show());
        if syncing != self.syncing {
            self.syncing = syncing;
            self.mail.push_back(Mail::Intake(intake::Input::Syncing(syncing)));
        }
        match over {
            Some((committed, stable)) => self.begin_epoch(&committed, &stable, effects),
            None => Ok(()),
        }
    }

    fn carry_out_one(&mut self, effect: consensus::Effect, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        use consensus::Effect as Said;
        match effect {
            Said::Append { .. } | Said::Flush { .. } | Said::Prepared { .. } | Said::EpochOver { .. } => {}
            Said::ShowEpochEnd { to, epoch } => self.show_epoch_end(to, epoch, effects),
            Said::Broadcast(message) => effects.push(Effect::Broadcast(message)),
            Said::Send { to, message } => effects.push(Effect::Send { to, message }),
            Said::Execute { id, height, timestamp, bundles } => {
                let executed = self.execution.execute(height, timestamp, &bundles);
                let dtvn_ledger::Executed { log_size, log_root, succession } = executed;
                let incarnation = self.incarnations.replica;
                let executed = Executed { incarnation, id, log_size, log_root, succession };
                effects.push(Effect::Work(Work::Execute(executed)));
            }
            Said::RollBack { to } => {
                self.execution.roll_back(to);
                effects.push(Effect::RolledBack(to));
            }
            Said::Commit(committed) => self.commit(*committed, effects)?,
            Said::Evidence(evidence) => {
                self.store.put_evidence(Arc::clone(&evidence));
                effects.push(Effect::Evidence(evidence));
            }
            Said::Certified(certificate) => {
                self.store.put_receipt(Arc::clone(&certificate));
                effects.push(Effect::Certified(certificate));
            }
            Said::Want { digests, holders, proposer } => {
                self.tell_gossip(pool::Input::Want { digests, holders, proposer })
            }
            Said::Release { digests } => self.tell_gossip(pool::Input::Release { digests }),
            Said::Unwant { digests } => self.tell_gossip(pool::Input::Unwant { digests }),
            Said::Relay { digests, leader } => self.tell_gossip(pool::Input::Relay { digests, leader }),
            Said::Sync { from, to, holders } => {
                self.mail.push_back(Mail::Sync(sync::Input::Ask { from, to, holders }));
            }
            Said::Stable(stable) => {
                let height = stable.height();
                self.tell_gossip(pool::Input::Stable { height });
                self.execution.stable(&stable);
                self.store.put_stable(stable);
                self.archive();
                self.cover(height);
                effects.push(Effect::Stable(height));
            }
            Said::SetTimer { timer, generation, after_us } => {
                let incarnation = self.incarnations.replica;
                let timer = Timer { of: Timed::Replica(timer), incarnation, generation };
                effects.push(Effect::SetTimer { timer, after_us });
            }
            Said::Moved { view, cause } => effects.push(Effect::Moved { view, cause }),
            Said::Active { view } => effects.push(Effect::Active(view)),
            // For people.
            Said::CheckpointDiffers { .. } => {}
            Said::Blame { peer, why } => effects.push(Effect::Blame { peer, why: why.to_owned() }),
            Said::Diverged { height, .. } => {
                effects.push(Effect::Diverged(height));
                let at_least = self.consensus.show().stable;
                self.mail.push_back(Mail::Sync(sync::Input::Heal { at_least, differs_at: height }));
            }
        }
        Ok(())
    }

    pub(super) fn tell_gossip(&mut self, input: pool::Input) {
        self.mail.push_back(Mail::Gossip(input));
    }

    /// A block is final: the pool hears first, then the state machine, and from it the intake and the store.
    fn commit(&mut self, committed: Committed, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        let height = committed.block.header.height;
        let digests = committed.block.bundles.clone();
        let positions = committed.bundles.iter().map(|bundle| (bundle.body.origin, bundle.position())).collect();
        self.tell_gossip(pool::Input::Ordered { height, digests });
        self.tell_gossip(pool::Input::Positions { epoch: committed.block.header.epoch, positions });
        let changed = self.execution.commit(&committed).map_err(Failure::new)?;
        while let Some(rooting) = self.execution.next_rooting() {
            let (height, root) = self.execution.rooted(rooting.run());
            self.mail.push_back(Mail::Replica(consensus::Input::StateRoot { height, root }));
        }
        let bundles = committed.bundles.clone();
        self.mail.push_back(Mail::Intake(intake::Input::Decided { bundles, effects: Arc::clone(&changed) }));
        self.store.check_space().map_err(Failure::new)?;
        self.store.apply(&committed, &changed);
        if self.store.applied().above(self.store.durable()) >= self.settings.store_sync_blocks {
            self.store.sync();
        }
        // Without a vote it is shown no stable checkpoint, and promised nothing that its log would have to keep.
        let interval = self.settings.genesis.parameters().checkpoint_interval;
        if self.config.me.is_none() && height.0.is_multiple_of(interval) {
            self.cover(height);
        }
        effects.push(Effect::Committed { committed: Arc::new(committed), effects: changed });
        Ok(())
    }

    pub(super) fn on_executed(&mut self, executed: &Executed) {
        // A replica that is gone waits for nothing; its successor resets the ledger.
        if executed.incarnation == self.incarnations.replica {
            let Executed { id, log_size, log_root, succession, .. } = *executed;
            self.mail.push_back(Mail::Replica(consensus::Input::Executed { id, log_size, log_root, succession }));
        }
    }
}
