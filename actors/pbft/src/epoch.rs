//! The end of an epoch (consensus.md section 10).
//!
//! A change of the validators, or the recovery of one, ends the epoch by its position: at the first checkpoint height at
//! or above its block. Execution says so ([`Succession`](dtvn_messages::Succession)), so what holds is a property of the
//! chain and not of the moment at which somebody learns of it; a block that is rolled back takes its change along. Above
//! that height nobody proposes, executes or votes in this epoch. It is over once the commit certificate and the stable
//! checkpoint of its last height are here: then this replica has done its part, and its shell starts the next one, whose
//! base is that height, at view 0 and without NEW-VIEW. Nothing that was signed in an epoch means anything in another.

use std::sync::Arc;

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::{CommittedProof, Epoch, Height, StableCheckpoint, ValidatorIndex};

use crate::effect::{Effect, Record, Unsigned};
use crate::replica::Replica;
use crate::slot::Ask;

impl Record {
    /// The epoch that the record belongs to.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Proposal { block, .. } | Self::Committed { block, .. } => block.header.epoch,
            Self::Prepared(prepared) => prepared.header.epoch,
            Self::ViewChange(view_change) => view_change.signed.body.epoch,
            Self::NewView { new_view, .. } => new_view.signed.body.epoch,
            Self::Checkpoint(vote) => vote.body.epoch,
            Self::Stable(stable) => stable.epoch(),
        }
    }
}

impl Replica {
    /// The last height of this epoch, if a committed block says so.
    #[must_use]
    pub fn epoch_ends(&self) -> Option<Height> {
        self.chain.tip().succession.ends
    }

    /// Whether the epoch ends above the committed height: then the blocks up to there are work, empty ones too.
    pub(crate) fn has_end_to_reach(&self) -> bool {
        self.epoch_ends().is_some_and(|end| self.chain.committed() < end)
    }

    /// Whether the last height of the epoch is committed: what is pending now is for the next one.
    pub(crate) fn is_at_epoch_end(&self) -> bool {
        self.epoch_ends() == Some(self.chain.committed())
    }

    /// Whether a block at this height, on what is executed below it, would be above the end of the epoch.
    pub(crate) fn is_above_epoch(&self, height: Height) -> bool {
        let ends = self.chain.succession_at(height.previous()).and_then(|succession| succession.ends);
        ends.is_some_and(|end| height > end) && !planted(Canary::EpochEndIgnored)
    }

    /// Says once that the epoch is over: its last height is committed, with a certificate, and stable.
    pub(crate) fn end_epoch(&mut self, effects: &mut Vec<Effect>) {
        if self.over || !self.is_at_epoch_end() {
            return;
        }
        let end = self.chain.committed();
        let committed = self.certificate_of_tip().cloned();
        let stable = self.stable.clone().filter(|stable| stable.height() == end);
        if let (Some(committed), Some(stable)) = (committed, stable) {
            self.over = true;
            effects.push(Effect::EpochOver { committed, stable });
        }
    }

    /// Somebody shows how this epoch ended. It is of use where its last height is committed: blocks below it are asked for.
    pub(crate) fn on_epoch_end(
        &mut self,
        committed: Arc<CommittedProof>,
        stable: Arc<StableCheckpoint>,
        effects: &mut Vec<Effect>,
    ) {
        if stable.epoch() == self.config.epoch && stable.height() <= self.chain.committed() {
            self.complete_tip(committed);
            self.become_stable(stable, effects);
        }
    }

    /// A peer stands in another epoch: one that is behind is shown how its epoch ended, one that is ahead is told where
    /// this replica stands, and does the same.
    pub(crate) fn help_with_epoch(&mut self, from: ValidatorIndex, epoch: Epoch, effects: &mut Vec<Effect>) {
        if !self.may_answer(from, Ask::Status) {
            return;
        }
        if epoch < self.config.epoch {
            effects.push(Effect::ShowEpochEnd { to: from, epoch });
        } else {
            self.tell(from, Unsigned::Status(self.status()), effects);
        }
    }
}
