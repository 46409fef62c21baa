//! When a view ends (consensus.md section 6): timers, wishes, and the move.
//!
//! Deviation (D): WISH. A replica whose timer fires says so and keeps voting; it moves only when wishes of power `Q` are
//! there. So one impatient, paused or isolated node moves nobody and costs no vote.
//!
//! | state | timer runs | starts | reset by | ends |
//! |---|---|---|---|---|
//! | idle: nothing accepted, nothing relayed | no | | | work appears |
//! | waiting for commit | `view_timeout << failed` | when work appears | commit of a non-empty block | no work: idle |
//! | waiting for NEW-VIEW and its first commit | `view_timeout << failed` | at the move | commit of a non-empty block; NEW-VIEW without work | as above |
//! | behind: a certificate above the committed height is known | no | | | caught up |

use std::collections::BTreeMap;

use dtvn_messages::{Digest, Epoch, Now, ValidatorIndex, View};

use crate::config::Config;
use crate::effect::{Cause, Effect, Say, Timer, Unsigned};
use crate::replica::Replica;
use crate::timers::{Fired, Timers};

/// `fairness_timeout` is this many times the view timeout.
const FAIRNESS_FACTOR: u64 = 8;
/// Peers tell each other where they stand at this interval when nothing is pending.
const STATUS_IDLE_US: u64 = 1_000_000;
/// The shortest interval of that while something is pending.
const STATUS_PENDING_US_MIN: u64 = 20_000;

/// Wishes, and how long to wait.
#[derive(Debug)]
pub(crate) struct Pace {
    base_us: u64,
    cap_us: u64,
    failed: u32,
    commits_in_view: u64,
    wishes: BTreeMap<ValidatorIndex, View>,
    own_wish: View,
    /// Why this replica wants the view to end, until it moves.
    asked: Option<Cause>,
    rotation_due: bool,
    /// When the current view began, on the monotonic clock.
    view_since_us: u64,
    /// The bundle that the fairness timer runs for.
    fair_to: Option<Digest>,
}

impl Pace {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            base_us: config.parameters.view_timeout_ms * 1_000,
            cap_us: config.parameters.view_timeout_cap_ms * 1_000,
            failed: 0,
            commits_in_view: 0,
            wishes: BTreeMap::new(),
            own_wish: View(0),
            asked: None,
            rotation_due: false,
            view_since_us: 0,
            fair_to: None,
        }
    }

    /// How long the current view may take.
    pub(crate) fn timeout_us(&self) -> u64 {
        self.base_us.saturating_mul(1 << self.failed.min(32)).min(self.cap_us)
    }

    pub(crate) fn base_us(&self) -> u64 {
        self.base_us
    }

    /// How many views in a row failed.
    pub(crate) fn failed_views(&self) -> u32 {
        self.failed
    }

    /// Notes why this replica wants the view to end; the first cause stays.
    pub(crate) fn ask(&mut self, cause: Cause) {
        self.asked.get_or_insert(cause);
    }

    pub(crate) fn own_wish(&self) -> View {
        self.own_wish
    }

    /// Blocks were committed.
    pub(crate) fn committed(&mut self, has_work: bool, pipeline: u64, timers: &mut Timers) {
        if !has_work {
            return;
        }
        timers.cancel(Timer::View);
        self.commits_in_view += 1;
        if self.commits_in_view.is_multiple_of(pipeline) {
            self.failed = self.failed.saturating_sub(1);
        }
    }

    /// The highest view that wishes of at least this power reach.
    fn reached(&self, config: &Config, power: u64) -> Option<View> {
        let mut views: Vec<View> = self.wishes.values().copied().collect();
        views.sort_unstable_by(|left, right| right.cmp(left));
        views.dedup();
        views.into_iter().find(|view| {
            let wishers = self.wishes.iter().filter(|(_, wish)| *wish >= view).map(|(wisher, _)| *wisher);
            config.set.power_of(wishers) >= power
        })
    }
}

impl Replica {
    pub(crate) fn on_wish(&mut self, from: ValidatorIndex, epoch: Epoch, view: View) {
        if epoch == self.config.epoch {
            self.note_wish(from, view);
        }
    }

    /// Keeps the highest wish of a validator. A VIEW-CHANGE counts as one.
    pub(crate) fn note_wish(&mut self, from: ValidatorIndex, view: View) {
        let wish = self.pace.wishes.entry(from).or_insert(view);
        *wish = (*wish).max(view);
    }

    /// Wishes, joins others' wishes, and moves when a quorum wishes.
    pub(crate) fn move_on(&mut self, now: Now, effects: &mut Vec<Effect>) -> bool {
        let Some(me) = self.config.me.filter(|_| self.may_vote()) else { return self.follow_wishes(now, effects) };
        if self.chain.committed() >= self.last_height_of_view() && self.active {
            self.move_to(now, self.view.next(), Cause::Planned, effects);
            return true;
        }
        let mut progress = false;
        if self.pace.rotation_due && self.has_work() {
            self.pace.ask(Cause::Planned);
        }
        let mut wish = self.pace.own_wish.max(self.view);
        if self.pace.asked.is_some() {
            wish = wish.max(self.view.next());
        }
        if let Some(joined) = self.pace.reached(&self.config, self.config.set.weak_quorum()) {
            wish = wish.max(joined);
        }
        if wish > self.pace.own_wish && wish > self.view {
            self.pace.own_wish = wish;
            self.note_wish(me, wish);
            effects.push(Effect::Broadcast(Unsigned::Wish { epoch: self.config.epoch, view: wish }));
            progress = true;
        }
        if let Some(view) = self.pace.reached(&self.config, self.config.set.quorum())
            && view > self.view
        {
            let cause = self.pace.asked.unwrap_or(Cause::JoinedOthers);
            self.move_to(now, view, cause, effects);
            progress = true;
        }
        progress
    }

    /// An observer moves with the quorum, and says nothing.
    fn follow_wishes(&mut self, now: Now, effects: &mut Vec<Effect>) -> bool {
        match self.pace.reached(&self.config, self.config.set.quorum()) {
            Some(view) if view > self.view => {
                self.move_to(now, view, Cause::JoinedOthers, effects);
                true
            }
            _ => false,
        }
    }

    /// After a restart: a replica that moved to a view wished for it.
    pub(crate) fn note_own_wish(&mut self) {
        self.pace.own_wish = self.view;
        if let Some(me) = self.config.me {
            self.note_wish(me, self.view);
        }
    }

    /// Leaves the current view for a later one, and says what is known to be prepared or committed.
    fn move_to(&mut self, now: Now, view: View, cause: Cause, effects: &mut Vec<Effect>) {
        if cause != Cause::Planned {
            self.pace.failed = (self.pace.failed + 1).min(32);
            self.note_tries();
        }
        self.drop_unfinished(effects);
        self.enter_view(view);
        effects.push(Effect::WantNothing);
        self.pace.view_since_us = now.monotonic_us;
        effects.push(Effect::Moved { view, cause });
        self.pace.fair_to = None;
        self.timers.cancel(Timer::Rotation);
        let timeout_us = self.pace.timeout_us();
        self.set_timer(Timer::View, now, timeout_us, effects);
        if self.may_vote() {
            let after = self.next_ticket();
            effects.push(Effect::Say { after, say: Say::ViewChange(self.view_change()) });
        }
    }

    /// A block that this replica was building as leader of the view that it leaves.
    fn drop_unfinished(&mut self, effects: &mut Vec<Effect>) {
        let top = self.chain.top();
        if self.chain.link(top).is_some_and(|link| link.block.is_none()) {
            self.roll_back_to(top.previous(), effects);
        }
    }

    /// The bundles of the lowest block that was not committed share the blame for a failed view.
    fn note_tries(&mut self) {
        let height = self.chain.committed().next();
        let Some(proposal) = self.slots.get(&height).and_then(|slot| slot.proposal.as_ref()) else { return };
        for digest in &proposal.block.bundles {
            *self.bundle_tries.entry(*digest).or_insert(0) += 1;
        }
    }

    /// What a move changes, also when it is replayed from the log.
    pub(crate) fn enter_view(&mut self, view: View) {
        self.view = view;
        self.active = false;
        self.adopting = None;
        self.new_view_said = false;
        self.own_view_change = None;
        self.new_view = None;
        self.awaiting_new_view = None;
        self.slots.clear();
        self.pace.asked = None;
        self.pace.rotation_due = false;
        self.pace.commits_in_view = 0;
    }

    /// Whether there is work that this replica knows everyone can know: an accepted block or a relayed bundle.
    pub(crate) fn has_work(&self) -> bool {
        let committed = self.chain.committed();
        let accepted = self.slots.range(committed.next()..).any(|(_, slot)| slot.proposal.is_some());
        accepted || self.selection.end > committed || self.bundles.oldest_relayed().is_some()
    }

    pub(crate) fn on_timer(&mut self, now: Now, timer: Timer, generation: u64, effects: &mut Vec<Effect>) {
        let late_us = self.pace.timeout_us() / 2;
        match (timer, self.timers.fire(timer, generation, now.monotonic_us, late_us)) {
            (_, Fired::Stale) => {}
            // The process was paused: what waits in the sockets may well be what was missed.
            (Timer::View | Timer::Fairness, Fired::Late) => {
                let timeout_us = self.pace.timeout_us();
                self.set_timer(timer, now, timeout_us, effects);
            }
            (Timer::View, Fired::Due) => self.on_view_timeout(now, effects),
            (Timer::Fairness, Fired::Due) => self.pace.ask(Cause::Unfair),
            (Timer::Relay, _) => self.relay(now, effects),
            (Timer::Rotation, _) => self.pace.rotation_due = true,
            (Timer::Status, _) => self.say_status(now, effects),
            (Timer::Hold, _) => self.release_held(now, effects),
        }
    }

    fn on_view_timeout(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let committed = self.chain.committed();
        let cause = if !self.active {
            Cause::BadNewView
        } else if self.slots.range(committed.next()..).any(|(_, slot)| slot.proposal.is_some()) {
            Cause::NoQuorum
        } else {
            Cause::NoProposal
        };
        self.pace.ask(cause);
        // A wish is lost as easily as any message: it is repeated with the status, and the timer goes on.
        let timeout_us = self.pace.timeout_us();
        self.set_timer(Timer::View, now, timeout_us, effects);
    }

    fn relay(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let until_us = now.monotonic_us.saturating_sub(self.pace.base_us() / 2);
        let digests = self.bundles.relay(until_us, now.monotonic_us);
        if !digests.is_empty() {
            effects.push(Effect::Relay { digests, leader: self.leader() });
        }
    }

    fn release_held(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let drift_us = self.config.parameters.max_clock_drift_ms * 1_000;
        let limit = now.wall.plus_micros(drift_us);
        let mut released = Vec::new();
        let mut next = None;
        for (height, slot) in &mut self.slots {
            let Some(proposal) = slot.proposal.as_mut().filter(|proposal| proposal.held) else { continue };
            let timestamp = proposal.block.header.timestamp;
            if timestamp <= limit {
                proposal.held = false;
                released.push(*height);
            } else {
                next = Some(timestamp.0 - limit.0).min(next.or(Some(u64::MAX)));
            }
        }
        for height in released {
            self.want_bundles_of(height, effects);
        }
        if let Some(wait_us) = next {
            self.set_timer(Timer::Hold, now, wait_us, effects);
        }
    }

    /// A quorum that was lost is connected again: patience that grew meanwhile is not needed any more.
    pub(crate) fn on_quorum_connected(&mut self, connected: bool) {
        if connected {
            self.pace.failed = 0;
            self.timers.cancel(Timer::View);
        }
    }

    /// Sets and cancels timers as the table at the head of this module says.
    pub(crate) fn update_timers(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let must_move = !self.active || self.adopting.is_some();
        let runs = (self.has_work() || must_move) && !self.is_behind();
        match (runs, self.timers.is_set(Timer::View)) {
            (true, false) => {
                let timeout_us = self.pace.timeout_us();
                self.set_timer(Timer::View, now, timeout_us, effects);
            }
            (false, true) => self.timers.cancel(Timer::View),
            _ => {}
        }
        self.update_bundle_timers(now, effects);
        if self.active && !self.timers.is_set(Timer::Rotation) && !self.pace.rotation_due {
            let rotation_us = self.config.parameters.rotation_time_ms * 1_000;
            self.set_timer(Timer::Rotation, now, rotation_us, effects);
        }
        let interval_us = self.status_interval_us();
        let due = self.timers.deadline_us(Timer::Status);
        if due.is_none_or(|due| due > now.monotonic_us.saturating_add(interval_us)) {
            self.set_timer(Timer::Status, now, interval_us, effects);
        }
    }

    fn update_bundle_timers(&mut self, now: Now, effects: &mut Vec<Effect>) {
        // Not cancelled when nothing waits any more: it then fires once, and finds nothing to do.
        if let Some(arrived_us) = self.bundles.oldest_unrelayed_us()
            && !self.timers.is_set(Timer::Relay)
        {
            let due_us = arrived_us + self.pace.base_us() / 2;
            self.set_timer(Timer::Relay, now, due_us.saturating_sub(now.monotonic_us), effects);
        }
        let oldest = self.bundles.oldest_relayed();
        if oldest.map(|(digest, _)| digest) == self.pace.fair_to {
            return;
        }
        self.pace.fair_to = oldest.map(|(digest, _)| digest);
        match oldest {
            None => self.timers.cancel(Timer::Fairness),
            Some((_, relayed_us)) => {
                let since_us = relayed_us.max(self.pace.view_since_us);
                let due_us = since_us + FAIRNESS_FACTOR * self.pace.base_us();
                self.set_timer(Timer::Fairness, now, due_us.saturating_sub(now.monotonic_us), effects);
            }
        }
    }

    pub(crate) fn status_interval_us(&self) -> u64 {
        match self.is_pending() {
            true => (self.pace.base_us() / 4).max(STATUS_PENDING_US_MIN),
            false => STATUS_IDLE_US,
        }
    }

    /// Whether this replica waits for something that its peers may send.
    pub(crate) fn is_pending(&self) -> bool {
        !self.active || self.adopting.is_some() || self.is_behind() || self.has_work()
    }
}
