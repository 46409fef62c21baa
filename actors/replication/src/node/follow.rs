//! Following without being told (consensus.md section 7: "an observer follows the same way"): a node without a vote, or
//! one whose links carry the votes of no quorum, asks for what is committed. The others may be in an epoch in which it is
//! no validator, and say nothing to it. So does one that waits at the end of its epoch: those whose votes it lacks may be
//! in the next epoch, without a vote there.

use dtvn_messages::limits;

use super::{Effect, Mail, Node, Timed, Timer};
use crate::log::Disk;
use crate::sync;

impl<D: Disk> Node<D> {
    /// Whether others say what is committed.
    fn is_told(&self) -> bool {
        self.config.me.is_some() && self.quorum && !self.consensus.show().at_epoch_end
    }

    /// Sets the timer, if it is wanted and not set.
    pub(super) fn follow_unless_told(&mut self, effects: &mut Vec<Effect>) {
        if !self.following && !self.is_told() {
            self.following = true;
            let timer = Timer { of: Timed::Follow, incarnation: 0, generation: 0 };
            let after_us = u64::try_from(limits::OBSERVER_FOLLOW_INTERVAL.as_micros()).unwrap_or(u64::MAX);
            effects.push(Effect::SetTimer { timer, after_us });
        }
    }

    /// Asks for what is committed above what is here.
    pub(super) fn follow(&mut self) {
        self.following = false;
        let is_told = self.is_told();
        let strangers = self.strangers.iter().filter(|_| !is_told).copied().collect();
        self.mail.push_back(Mail::Sync(sync::Input::Strangers(strangers)));
        if is_told || self.sync.is_fetching() {
            return;
        }
        let from = self.consensus.show().committed.next();
        let to = from.plus(limits::SYNC_BLOCKS_MAX as u64 - 1);
        self.mail.push_back(Mail::Sync(sync::Input::Follow { from, to }));
    }
}
