//! STATUS, and the only retransmission there is (consensus.md section 7): a peer that is behind is sent what proves it,
//! and this replica's own signed messages that it lacks, byte for byte.

use std::sync::Arc;

use dtvn_messages::wire::Status;
use dtvn_messages::{Height, Now, Signed, ValidatorIndex, VoteKind};

use crate::effect::{Effect, Timer, Unsigned};
use crate::replica::Replica;

/// A peer's status is answered at most this often: more is a flood.
const STATUS_REPLY_US: u64 = 15_000;
/// Heights for which one answer carries proposals and votes.
const STATUS_HEIGHTS_MAX: usize = 64;

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

    pub(crate) fn say_status(&mut self, now: Now, effects: &mut Vec<Effect>) {
        effects.push(Effect::Broadcast(Unsigned::Status(self.status())));
        if let Some((new_view, from)) = self.awaiting_new_view.clone() {
            self.on_new_view(from, new_view, effects);
        }
        self.fill_all_selected(true, effects);
        let interval_us = self.status_interval_us();
        self.set_timer(Timer::Status, now, interval_us, effects);
    }

    /// A peer says where it stands: it is sent what it lacks.
    pub(crate) fn on_status(&mut self, now: Now, from: ValidatorIndex, status: Status, effects: &mut Vec<Effect>) {
        if status.epoch != self.config.epoch {
            return;
        }
        self.note_wish(from, status.wish);
        self.peer_committed.insert(from, status.committed);
        let last = self.status_replies.get(&from).copied();
        if last.is_some_and(|last| now.monotonic_us < last.saturating_add(STATUS_REPLY_US)) {
            return;
        }
        self.status_replies.insert(from, now.monotonic_us);
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
        for (height, votes) in &self.checkpoint_votes {
            if *height > status.stable
                && let Some(own) = votes.get(&me)
            {
                self.tell(from, Unsigned::Checkpoint(own.clone()), effects);
            }
        }
    }

    /// Own proposals and votes above the peer's committed height, as they were first signed.
    fn help_with_votes(&self, from: ValidatorIndex, status: &Status, effects: &mut Vec<Effect>) {
        let Some(me) = self.config.me else { return };
        let above: Height = status.committed.next();
        for (height, slot) in self.slots.range(above..).take(STATUS_HEIGHTS_MAX) {
            let own_prepare = slot.prepares.get(&me).copied();
            if let Some((digest, signature)) = own_prepare {
                let proposal = slot.proposal.as_ref().filter(|proposal| proposal.digest == digest);
                let is_own = self.is_leader() && *height > self.selection.end;
                match proposal.filter(|_| is_own) {
                    Some(proposal) => {
                        let (view, block) = (self.view, Arc::clone(&proposal.block));
                        self.tell(from, Unsigned::PrePrepare { view, block, signature }, effects);
                    }
                    None => {
                        let body = self.vote(VoteKind::Prepare, *height, digest);
                        self.tell(from, Unsigned::Vote(Signed { body, signer: me, signature }), effects);
                    }
                }
            }
            if let Some((digest, signature)) = slot.commits.get(&me).copied() {
                let body = self.vote(VoteKind::Commit, *height, digest);
                self.tell(from, Unsigned::Vote(Signed { body, signer: me, signature }), effects);
            }
        }
    }
}
