//! When a view ends (consensus.md section 6): timers, wishes, and the move.
//!
//! Deviation (D): WISH. A replica whose timer fires says so and keeps voting; it moves only when wishes of power `Q`
//! are there. So one impatient, paused or isolated node moves nobody and costs no vote.
//!
//! | state | view timer runs | starts | reset by | ends |
//! |---|---|---|---|---|
//! | idle: nothing accepted, nothing relayed that can be ordered | no | | | work appears |
//! | waiting for commit | yes | when work appears | commit of a non-empty block | no work: idle |
//! | waiting for NEW-VIEW and its first commit | yes | at the move | as above | NEW-VIEW without work: idle |
//! | behind: a certificate above the committed height is known | stands still | | as above | caught up: runs on |
//!
//! The fairness timer runs on the oldest bundle that is relayed and can be ordered; only its commit or a move resets
//! it.

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::{Block, Epoch, ValidatorIndex, View};

use crate::effect::{Cause, Effect, Say, Unsigned};
use crate::input::Timer;
use crate::pace::Failed;
use crate::replica::Replica;
use crate::timers::Fired;

impl Replica {
    pub(crate) fn on_wish(&mut self, from: ValidatorIndex, epoch: Epoch, view: View) {
        if epoch == self.config.epoch {
            self.note_wish(from, view);
        }
    }

    /// Keeps the highest wish of a validator. A VIEW-CHANGE counts as one.
    pub(crate) fn note_wish(&mut self, from: ValidatorIndex, view: View) {
        self.pace.note_wish(from, view);
    }

    /// Wishes, joins others' wishes, and moves when a quorum wishes.
    pub(crate) fn move_on(&mut self, effects: &mut Vec<Effect>) -> bool {
        let (view, may_vote) = (self.view, self.may_vote());
        if may_vote && self.active && self.chain.committed() >= self.last_height_of_view() && view.next() > view {
            self.move_to(view.next(), Cause::Planned, effects);
            return true;
        }
        let progress = may_vote && self.wish(effects);
        // An observer moves with the quorum, and says nothing.
        let Some(reached) = self.pace.reached(&self.config, self.config.set.quorum()).filter(|reached| *reached > view)
        else {
            return progress;
        };
        let is_planned = reached == view.next() && (self.is_at_its_end() || self.is_near_its_time());
        let cause = self.pace.asked().unwrap_or(if is_planned { Cause::Planned } else { Cause::JoinedOthers });
        self.move_to(reached, cause, effects);
        true
    }

    /// Whether others have proved the last height of this view, before this replica committed it.
    fn is_at_its_end(&self) -> bool {
        self.active && self.proved_height() >= self.last_height_of_view()
    }

    /// Whether this view's time is over by the clock of a peer, which began it a moment earlier.
    fn is_near_its_time(&self) -> bool {
        let soon_us = self.now.monotonic_us.saturating_add(self.pace.relay_us());
        self.active && self.timers.deadline_us(Timer::Rotation).is_some_and(|due_us| due_us <= soon_us)
    }

    /// Wishes for the next view if there is a cause, or for a later one if others of power `F` do.
    fn wish(&mut self, effects: &mut Vec<Effect>) -> bool {
        if self.pace.rotation_due && self.has_work() {
            self.pace.ask(Cause::Planned);
        }
        let mut wish = self.pace.own_wish().max(self.view);
        if self.pace.asked().is_some() {
            wish = wish.max(self.view.next());
        }
        if let Some(joined) = self.pace.reached(&self.config, self.config.set.weak_quorum()) {
            wish = wish.max(joined);
        }
        if wish <= self.pace.own_wish() || wish <= self.view {
            return false;
        }
        self.pace.wish(self.config.me, wish);
        effects.push(Effect::Broadcast(Unsigned::Wish { epoch: self.config.epoch, view: wish }));
        true
    }

    /// After a restart: a replica that moved to a view wished for it, and begins it anew.
    pub(crate) fn note_own_wish(&mut self) {
        self.pace.wish(self.config.me, self.view);
        self.pace.view_since_us = self.now.monotonic_us;
    }

    fn failed_with(&self, block: &Block) -> Failed {
        let alone = match block.bundles.as_slice() {
            [only] => self.bundles.get(only).map(|meta| meta.origin),
            _ => None,
        };
        Failed { alone, is_own: Some(block.header.proposer) == self.config.me }
    }

    /// Leaves the current view for a later one, and says what is known to be prepared or committed.
    fn move_to(&mut self, view: View, cause: Cause, effects: &mut Vec<Effect>) {
        if cause != Cause::Planned {
            let next = self.chain.committed().next();
            let tried = self.slots.get(&next).and_then(|slot| slot.proposal.as_ref());
            let failed = tried.map(|proposal| self.failed_with(&proposal.block));
            self.pace.failed(next, failed);
        }
        self.drop_unfinished(effects);
        self.enter_view(view);
        effects.push(Effect::WantNothing);
        effects.push(Effect::Moved { view, cause });
        self.pace.wish(self.config.me, view);
        self.pace.view_since_us = self.now.monotonic_us;
        self.timers.cancel(Timer::Rotation);
        self.set_timer(Timer::View, self.pace.timeout_us(), effects);
        if self.may_vote() {
            let after = self.next_ticket();
            effects.push(Effect::Say { after, say: Say::ViewChange(self.view_change()) });
        }
        self.want_again(effects);
    }

    /// A block that this replica was building as leader of the view that it leaves.
    fn drop_unfinished(&mut self, effects: &mut Vec<Effect>) {
        let top = self.chain.top();
        if self.chain.link(top).is_some_and(|link| link.block.is_none()) {
            self.roll_back_to(top.previous(), effects);
        }
    }

    /// What a move changes, also when it is replayed from the log.
    pub(crate) fn enter_view(&mut self, view: View) {
        self.view = view;
        self.active = planted(Canary::ActiveViewIgnored);
        self.adopting = None;
        self.said_new_view = None;
        self.own_view_change = None;
        self.new_view = None;
        self.view_was_collected = false;
        self.awaiting_new_views.retain(|_, (new_view, _)| new_view.signed.body.view >= view);
        self.slots.clear();
        self.pace.enter_view();
    }

    /// Whether there is work that this replica knows everyone can know: an accepted block, or a relayed bundle that can
    /// be ordered. Accepted blocks follow each other without holes.
    pub(crate) fn has_work(&self) -> bool {
        if self.is_at_epoch_end() {
            return false;
        }
        let committed = self.chain.committed();
        let next = self.slots.get(&committed.next()).and_then(|slot| slot.proposal.as_ref());
        self.selection.end > committed
            || next.is_some_and(|proposal| proposal.is_accepted())
            || self.bundles.oldest_work().is_some()
            || self.has_end_to_reach()
    }

    pub(crate) fn on_timer(&mut self, timer: Timer, generation: u64, effects: &mut Vec<Effect>) {
        let timeout_us = self.pace.timeout_us();
        let now_us = self.now.monotonic_us;
        match (timer, self.timers.fire(timer, generation, now_us, timeout_us / 2)) {
            (_, Fired::Stale) => {}
            // The process was paused: what waits in the sockets may well be what was missed.
            (Timer::View | Timer::Fairness, Fired::Late) => {
                let generation = self.timers.set_again(timer, now_us, timeout_us);
                effects.push(Effect::SetTimer { timer, generation, after_us: timeout_us });
            }
            (Timer::View, Fired::Due) => self.on_view_timeout(effects),
            (Timer::Fairness, Fired::Due) => self.pace.ask(Cause::Unfair),
            (Timer::Relay, _) => self.relay(effects),
            (Timer::Rotation, _) => self.pace.rotation_due = true,
            (Timer::Status, _) => self.say_status(effects),
            (Timer::Hold, _) => self.release_held(effects),
        }
    }

    fn on_view_timeout(&mut self, effects: &mut Vec<Effect>) {
        let next = self.slots.get(&self.chain.committed().next());
        let cause = if !self.active {
            Cause::BadNewView
        } else if next.is_some_and(|slot| slot.proposal.is_some()) {
            Cause::NoQuorum
        } else {
            Cause::NoProposal
        };
        self.pace.ask(cause);
        // A wish is lost as easily as any message: it is repeated with the status, and the timer goes on.
        self.set_timer(Timer::View, self.pace.timeout_us(), effects);
    }

    fn relay(&mut self, effects: &mut Vec<Effect>) {
        let now_us = self.now.monotonic_us;
        let until_us = now_us.saturating_sub(self.pace.relay_us());
        let digests = self.bundles.relay(until_us, &self.chain.tip().positions, now_us);
        if !digests.is_empty() {
            effects.push(Effect::Relay { digests, leader: self.leader() });
        }
    }

    /// Sets and cancels timers as the table at the head of this module says.
    pub(crate) fn update_timers(&mut self, effects: &mut Vec<Effect>) {
        self.update_view_timer(effects);
        self.update_bundle_timers(effects);
        if self.active && !self.timers.is_set(Timer::Rotation) && !self.pace.rotation_due {
            let rotation_us = self.config.parameters.rotation_time_ms * 1_000;
            self.set_timer(Timer::Rotation, rotation_us, effects);
        }
        let interval_us = self.status_interval_us();
        let due_us = self.timers.deadline_us(Timer::Status);
        if due_us.is_none_or(|due_us| due_us > self.now.monotonic_us.saturating_add(interval_us)) {
            self.set_timer(Timer::Status, interval_us, effects);
        }
    }

    fn update_view_timer(&mut self, effects: &mut Vec<Effect>) {
        let deadline_us = self.timers.deadline_us(Timer::View);
        if self.active && !self.has_work() {
            self.pace.stopped_us = None;
            self.timers.cancel(Timer::View);
        } else if self.is_behind() {
            if let Some(deadline_us) = deadline_us {
                self.pace.stopped_us = Some(deadline_us.saturating_sub(self.now.monotonic_us));
                self.timers.cancel(Timer::View);
            }
        } else if deadline_us.is_none() {
            let left_us = self.pace.stopped_us.take().unwrap_or_else(|| self.pace.timeout_us());
            self.set_timer(Timer::View, left_us, effects);
        }
    }

    fn update_bundle_timers(&mut self, effects: &mut Vec<Effect>) {
        let now_us = self.now.monotonic_us;
        // Not cancelled when nothing waits any more: it then fires once, and finds nothing to do.
        if let Some(arrived_us) = self.bundles.oldest_unrelayed_us()
            && !self.timers.is_set(Timer::Relay)
        {
            let due_us = arrived_us.saturating_add(self.pace.relay_us());
            self.set_timer(Timer::Relay, due_us.saturating_sub(now_us), effects);
        }
        let oldest = self.bundles.oldest_work();
        if oldest.map(|(digest, _)| digest) == self.pace.fair_to {
            return;
        }
        self.pace.fair_to = oldest.map(|(digest, _)| digest);
        match oldest {
            None => self.timers.cancel(Timer::Fairness),
            Some((_, since_us)) => {
                let due_us = since_us.max(self.pace.view_since_us).saturating_add(self.pace.fairness_us());
                self.set_timer(Timer::Fairness, due_us.saturating_sub(now_us), effects);
            }
        }
    }
}
