//! STATUS, and the only retransmission there is (consensus.md section 7): a peer that is behind is sent what proves it,
//! and this replica's own signed messages that it lacks, byte for byte.

use std::sync::Arc;

use dtvn_messages::limits::{
    REPLICA_ANSWER_INTERVAL_MS, REPLICA_STATUS_HEIGHTS_MAX, REPLICA_STATUS_IDLE_MS, REPLICA_STATUS_PENDING_MS_MIN,
};
use dtvn_messages::wire::Status;
use dtvn_messages::{Digest, Height, Signature, Signed, ValidatorIndex, VoteKind};

use crate::effect::{Effect, Unsigned};
use crate::input::Timer;
use crate::replica::Replica;
use crate::slot::{Ask, Slot};

impl Replica {
    /// Where this replica stands.
    pub(crate) fn status(&self) -> Status {
        Status {
            epoch: self.config.epoch,
            view: self.view,
            active: self.active,
            committed: self.chain.committed(),
            stable: self.stable_height(),
            wish: self.pace.own_wish().max(self.view),
            pending: self.is_pending(),
        }
    }

    /// Whether this replica waits for something that its peers may send.
    pub(crate) fn is_pending(&self) -> bool {
        !self.active || self.is_behind() || self.has_work() || self.is_at_epoch_end()
    }

    pub(crate) fn say_status(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Broadcast(Unsigned::Status(self.status())));
        if self.is_pending() {
            self.fetch_missing_again(effects);
            if self.active {
                self.fill_selected(effects);
            }
            self.want_again(effects);
        }
        let interval_us = self.status_interval_us();
        self.set_timer(Timer::Status, interval_us, effects);
    }

    pub(crate) fn status_interval_us(&self) -> u64 {
        let pending_ms = (self.config.parameters.view_timeout_ms / 4).max(REPLICA_STATUS_PENDING_MS_MIN);
        let idle_ms = REPLICA_STATUS_IDLE_MS;
        if self.is_pending() { pending_ms.min(idle_ms) * 1_000 } else { idle_ms * 1_000 }
    }

    /// Whether a peer may be answered now: one that asks more often is a flood.
    pub(crate) fn may_answer(&mut self, peer: ValidatorIndex, ask: Ask) -> bool {
        let now_us = self.now.monotonic_us;
        let last = self.answered_us.get(&(peer, ask));
        if last.is_some_and(|last| now_us < last.saturating_add(REPLICA_ANSWER_INTERVAL_MS * 1_000)) {
            return false;
        }
        self.answered_us.insert((peer, ask), now_us);
        true
    }

    /// A peer says where it stands: it is sent what it lacks.
    pub(crate) fn on_status(&mut self, from: ValidatorIndex, status: Status, effects: &mut Vec<Effect>) {
        if status.epoch != self.config.epoch {
            return self.help_with_epoch(from, status.epoch, effects);
        }
        self.note_wish(from, status.wish);
        if !self.may_answer(from, Ask::Status) {
            return;
        }
        if self.pace.own_wish() > status.wish {
            let view = self.pace.own_wish();
            self.tell(from, Unsigned::Wish { epoch: self.config.epoch, view }, effects);
        }
        self.help_with_view(from, &status, effects);
        self.help_with_checkpoint(from, &status, effects);
        if status.committed < self.chain.committed()
            && let Some(proof) = &self.tip_proof
        {
            self.tell(from, Unsigned::Committed(Arc::clone(proof)), effects);
        }
        if status.view == self.view && self.active && status.active {
            self.help_with_votes(from, &status, effects);
        }
    }

    fn help_with_view(&self, from: ValidatorIndex, status: &Status, effects: &mut Vec<Effect>) {
        if status.view > self.view || (status.view == self.view && status.active) {
            return;
        }
        if let Some(own) = &self.own_view_change {
            self.tell(from, Unsigned::ViewChange(Arc::clone(own)), effects);
        }
        // Its view changes are fetched by digest, if the peer lacks any.
        if let Some((new_view, _)) = self.new_view.as_ref().filter(|_| self.active) {
            self.tell(from, Unsigned::NewView(Arc::clone(new_view)), effects);
        }
    }

    fn help_with_checkpoint(&self, from: ValidatorIndex, status: &Status, effects: &mut Vec<Effect>) {
        if let Some(stable) = self.stable.as_ref().filter(|stable| stable.height() > status.stable) {
            self.tell(from, Unsigned::Stable(Arc::clone(stable)), effects);
        }
        let Some(me) = self.config.me else { return };
        for votes in self.checkpoint_votes.range(status.stable.next()..).map(|(_, votes)| votes) {
            if let Some(own) = votes.get(&me) {
                self.tell(from, Unsigned::Checkpoint(own.clone()), effects);
            }
        }
    }

    /// Own proposals and votes above the peer's committed height, as they were first signed, and prepared certificates.
    fn help_with_votes(&self, from: ValidatorIndex, status: &Status, effects: &mut Vec<Effect>) {
        let Some(me) = self.config.me else { return };
        let above = status.committed.max(self.selection.base).next();
        for (height, slot) in self.slots.range(above..).take(REPLICA_STATUS_HEIGHTS_MAX) {
            let height = *height;
            if let Some(own) = slot.prepares.get(&me) {
                self.repeat_prepare(from, height, slot, *own, effects);
            }
            let kept = self.prepared.get(&height).filter(|_| slot.prepared.is_some());
            if let Some(kept) = kept.filter(|kept| kept.certificate.view() == self.view) {
                self.tell(from, Unsigned::Prepared(Arc::clone(&kept.certificate)), effects);
            }
            if let Some((digest, signature)) = slot.commits.get(&me).copied() {
                let body = self.vote(VoteKind::Commit, height, digest);
                self.tell(from, Unsigned::Vote(Signed { body, signer: me, signature }), effects);
            }
        }
    }

    /// The leader's PREPARE for a block of its own is its proposal.
    fn repeat_prepare(
        &self,
        to: ValidatorIndex,
        height: Height,
        slot: &Slot,
        (digest, signature): (Digest, Signature),
        effects: &mut Vec<Effect>,
    ) {
        let Some(me) = self.config.me else { return };
        let is_own = self.is_leader() && height > self.selection.end;
        match slot.proposal.as_ref().filter(|proposal| is_own && proposal.digest == digest) {
            Some(proposal) => {
                let (view, block) = (self.view, Arc::clone(&proposal.block));
                self.tell(to, Unsigned::PrePrepare { view, block, signature }, effects);
            }
            None => {
                let body = self.vote(VoteKind::Prepare, height, digest);
                self.tell(to, Unsigned::Vote(Signed { body, signer: me, signature }), effects);
            }
        }
    }
}
