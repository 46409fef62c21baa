//! From one epoch to the next, and how a validator that lost its memory comes back (consensus.md sections 4 and 10).
//!
//! The end of an epoch is a restart of the replica with another configuration: it stands at the last block of the epoch,
//! and of its log only the records of the new one count. So a crash in the middle, or a start on an old state, goes
//! through the very same steps.

use std::sync::Arc;

use dtvn_messages::membership::{Recovery, SignedRecovery};
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{CommittedProof, Epoch, StableCheckpoint, Statement, ValidatorIndex};

use super::{Effect, Failure, Mail, Node, Timed, Timer};
use crate::log::Disk;
use crate::recovery::{self, RECOVERY_AGAIN_US};
use crate::{intake, pool};

impl<D: Disk> Node<D> {
    /// The epoch is over: ledger, store, checks, replica, intake and pool go over to the next one, in this order.
    pub(super) fn begin_epoch(
        &mut self,
        committed: &CommittedProof,
        stable: &Arc<StableCheckpoint>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Failure> {
        let end = self.execution.end_epoch(committed, stable);
        self.store.put_epoch_end(end);
        self.enter_epoch();
        self.tell_epoch(effects);
        self.restart_replica(effects)?;
        let pending: Vec<_> = self.consensus.pending_bundles().cloned().collect();
        for bundle in pending {
            self.tell_gossip(pool::Input::Restored(bundle));
        }
        self.tell_quorum();
        Ok(())
    }

    /// Indices mean others from now on: intake and pool hear of it, and the world says again who is connected.
    pub(super) fn tell_epoch(&mut self, effects: &mut Vec<Effect>) {
        self.connected.clear();
        self.strangers.clear();
        let (epoch, own) = (self.config.epoch, self.config.me);
        effects.push(Effect::EpochBegan(epoch));
        self.mail.push_back(Mail::Intake(intake::Input::Epoch { epoch, origin: own }));
        self.tell_gossip(pool::Input::Epoch { epoch, validators: Arc::clone(&self.config.set), own });
    }

    /// Takes over the epoch in which the ledger stands.
    pub(super) fn enter_epoch(&mut self) {
        self.config = self.execution.config().clone();
        self.verifier = self.settings.verifier(&self.config);
    }

    /// A validator that is behind is shown the two certificates that end its epoch.
    pub(super) fn show_epoch_end(&self, to: ValidatorIndex, epoch: Epoch, effects: &mut Vec<Effect>) {
        let Some(end) = self.store.epoch_end(epoch) else { return };
        let committed = PeerMessage::Committed(Arc::new(end.committed.clone()));
        let stable = PeerMessage::StableCheckpoint(Arc::new(end.stable.clone()));
        effects.extend([committed, stable].map(|message| Effect::Send { to, message }));
    }

    /// A replica starts: if the epoch was opened by this node's own recovery, it has a memory again.
    pub(super) fn recover_if_opened(&mut self, effects: &mut Vec<Effect>) {
        let opened_by = self.execution.own_recovery();
        if opened_by.is_some() && self.amnesia.as_ref().map(|amnesia| amnesia.nonce) == opened_by {
            self.amnesia = None;
            self.votes_from = self.config.epoch;
            effects.push(Effect::Recovered);
        }
    }

    /// Asks for the recovery of this node, and does so again until it has come.
    pub(super) fn ask_for_recovery(&mut self, effects: &mut Vec<Effect>) {
        let Some(amnesia) = &self.amnesia else { return };
        let held = self.execution.ledger().membership();
        if let Some(me) = self.config.me.and_then(|me| self.config.set.get(me))
            && recovery::is_wanted(held, &self.config, &me.name, &amnesia.nonce)
        {
            let body = Recovery { epoch: self.config.epoch, validator: me.name.clone(), nonce: amnesia.nonce };
            let signature = self.settings.signer.sign(&body.signed_bytes(&self.config.chain));
            effects.push(Effect::Broadcast(PeerMessage::Recover(Box::new(SignedRecovery { body, signature }))));
        }
        let timer = Timer { of: Timed::Recovery, incarnation: 0, generation: 0 };
        effects.push(Effect::SetTimer { timer, after_us: RECOVERY_AGAIN_US });
    }

    /// A validator lost its memory: this one takes its recovery in like an operation of a client, for whom nobody waits.
    pub(super) fn on_recover(&mut self, from: ValidatorIndex, asked: SignedRecovery, effects: &mut Vec<Effect>) {
        match self.verifier.recovery(from, &asked) {
            Ok(true) => {
                for input in recovery::taken_in(asked) {
                    self.mail.push_back(Mail::Intake(input));
                }
            }
            Ok(false) => {}
            Err(fault) => effects.push(Effect::Blame { peer: from, why: fault.to_string() }),
        }
    }
}
