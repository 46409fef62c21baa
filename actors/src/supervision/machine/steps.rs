//! What happens to children, and the one rule that does the next step.

use super::{Child, ChildKey, Condition, Effect, Machine, Outcome, Phase, StartNumber};
use crate::supervision::cause::EndCause;
use crate::supervision::machine::CommandError;
use crate::supervision::{GaveUpBecause, Restart, Strategy};
use std::sync::Arc;
use std::time::Duration;

impl Machine {
    pub(super) fn on_boot(&mut self) {
        assert_eq!(self.phase, Phase::New, "a supervisor boots once");
        self.phase = Phase::Booting;
    }

    pub(super) fn on_started(&mut self, key: ChildKey, start: StartNumber) {
        let Some(child) = self.present(key, start).filter(|child| child.condition == Condition::Starting) else {
            return;
        };
        let added = child.added.take();
        self.set_condition(key, Condition::Up);
        if let Some(ticket) = added {
            self.effects.push(Effect::Answer { ticket, result: Ok(()) });
        }
    }

    /// Who is tied to this child may well fail next, because it is gone.
    pub(super) fn on_failing(&mut self, key: ChildKey, start: StartNumber, cause: &EndCause) {
        let is_up = |child: &&mut Child| child.condition == Condition::Up && cause.calls_for_restart(child.restart);
        if self.present(key, start).filter(is_up).is_some() {
            self.set_condition(key, Condition::Failing);
        }
    }

    pub(super) fn on_ended(&mut self, key: ChildKey, start: StartNumber, cause: EndCause, now: Duration) {
        let Some(child) = self.present(key, start) else {
            return;
        };
        let expected = child.is_asked_to_end() || child.must_stop;
        let starting = child.condition == Condition::Starting;
        child.must_stop = false;
        self.set_condition(key, Condition::Down);
        self.effects.push(Effect::Ended { child: key, cause: cause.clone() });
        if matches!(self.phase, Phase::Stopping(_)) {
            return;
        }
        if matches!(cause, EndCause::Outlived(_)) && self.is_to_start_again(key, expected, &cause) {
            return self.give_up(key, GaveUpBecause::Stuck, cause);
        }
        if expected {
            return;
        }
        self.on_unwanted_end(key, starting, cause, now);
    }

    fn on_unwanted_end(&mut self, key: ChildKey, starting: bool, cause: EndCause, now: Duration) {
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        if let Some(ticket) = child.added.take() {
            child.wanted = false;
            let result = Err(CommandError::StartFailed(cause.to_string()));
            self.effects.push(Effect::Answer { ticket, result });
            return;
        }
        if starting && self.phase == Phase::Booting {
            return self.give_up(key, GaveUpBecause::StartFailed, cause);
        }
        if !cause.calls_for_restart(child.restart) {
            child.wanted = false;
            return self.refuse_waiting(key);
        }
        if self.is_consequence(key) {
            return self.mark_group(key, &cause.to_string());
        }
        if self.count_failure(now) {
            let because =
                GaveUpBecause::Intensity { restarts_max: self.intensity.restarts_max, window: self.intensity.window };
            return self.give_up(key, because, cause);
        }
        self.mark_group(key, &cause.to_string());
    }

    /// Whether a child that has ended would be started again: as it was asked to, or because nobody asked it to end.
    fn is_to_start_again(&self, key: ChildKey, expected: bool, cause: &EndCause) -> bool {
        let calls = |child: &Child| expected || cause.calls_for_restart(child.restart);
        self.children.get(&key).is_some_and(|child| child.wanted && calls(child))
    }

    /// Whether another child is failing with which this one would have been restarted.
    fn is_consequence(&self, key: ChildKey) -> bool {
        let rank = |key: ChildKey| self.children.get(&key).map_or(key, |child| Self::rank(key, child));
        let ties = |origin: ChildKey| match self.strategy {
            Strategy::OneForOne => false,
            Strategy::OneForAll => origin != key,
            Strategy::RestForOne => rank(origin) < rank(key),
        };
        self.children.iter().any(|(&other, child)| child.condition == Condition::Failing && ties(other))
    }

    /// Counts a failure; true when the intensity is exceeded.
    fn count_failure(&mut self, now: Duration) -> bool {
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|first| now.saturating_sub(*first) > self.intensity.window) {
            self.failures.pop_front();
        }
        self.failures.len() > self.intensity.restarts_max as usize
    }

    /// Wishes the child and those that the strategy ties to it to be stopped, as far as they live, and started.
    pub(super) fn mark_group(&mut self, origin: ChildKey, why: &str) {
        let Some(failed) = self.children.get(&origin) else {
            return;
        };
        let own: Arc<str> = why.into();
        let others: Arc<str> = format!("with `{}`, which {why}", failed.name).into();
        let origin_rank = Self::rank(origin, failed);
        for (&key, child) in &mut self.children {
            let rank = Self::rank(key, child);
            let included = match self.strategy {
                Strategy::OneForOne => false,
                Strategy::OneForAll => true,
                Strategy::RestForOne => rank > origin_rank,
            };
            if key == origin || included {
                child.wish_restart(if key == origin { &own } else { &others });
                self.touched.insert(key);
            }
        }
    }

    pub(super) fn give_up(&mut self, key: ChildKey, because: GaveUpBecause, cause: EndCause) {
        let Some(child) = self.children.get_mut(&key) else {
            return;
        };
        child.wanted = false;
        let (name, restarts) = (child.name.clone(), child.restarts);
        self.effects.push(Effect::GivingUp { child: key, cause: cause.clone() });
        self.begin_stopping(Outcome::GaveUp { because, child: key, name, restarts, cause });
    }

    pub(super) fn begin_stopping(&mut self, outcome: Outcome) {
        if matches!(self.phase, Phase::Stopping(_) | Phase::Ended) {
            return;
        }
        self.phase = Phase::Stopping(outcome);
        for (&key, child) in &mut self.children {
            if std::mem::replace(&mut child.wanted, false) && child.is_down() {
                self.effects.push(Effect::Rests { child: key });
            }
            child.must_stop = matches!(child.condition, Condition::Starting | Condition::Up);
            if let Some(ticket) = child.added.take() {
                self.effects.push(Effect::Answer { ticket, result: Err(CommandError::Stopping) });
            }
        }
        for (_, ticket) in std::mem::take(&mut self.waiting) {
            self.effects.push(Effect::Answer { ticket, result: Err(CommandError::Stopping) });
        }
    }

    pub(super) fn on_stop_overdue(&mut self, key: ChildKey, start: StartNumber) {
        if self.present(key, start).is_some_and(|child| child.condition == Condition::Stopping) {
            self.set_condition(key, Condition::Killed);
            self.effects.push(Effect::Kill { child: key, start });
        }
    }

    /// A handler that blocks its thread cannot be killed. A stop goes on without it; otherwise two incarnations would
    /// run side by side, so the supervisor gives up.
    pub(super) fn on_kill_overdue(&mut self, key: ChildKey, start: StartNumber) {
        if self.present(key, start).is_none_or(|child| child.condition != Condition::Killed) {
            return;
        }
        self.set_condition(key, Condition::Down);
        self.effects.push(Effect::Abandoned { child: key });
        let wanted = self.wants(key);
        if wanted {
            self.give_up(key, GaveUpBecause::Stuck, EndCause::Stuck);
        }
    }

    /// Does all steps that wishes and order allow now.
    pub(super) fn advance(&mut self) {
        if matches!(self.phase, Phase::New | Phase::Ended) {
            return;
        }
        self.forget_removed();
        if self.strategy == Strategy::OneForOne && self.phase == Phase::Running {
            self.advance_each();
        } else if self.advance_in_order() {
            self.settle();
        }
        self.touched.clear();
    }

    /// Each child on its own: stop who must, start who is wanted, answer who waited for it.
    fn advance_each(&mut self) {
        for key in std::mem::take(&mut self.touched) {
            let Some(child) = self.children.get(&key) else {
                continue;
            };
            match child.condition {
                Condition::Starting | Condition::Up if child.must_stop => self.issue_stop(key),
                Condition::Down if child.wanted => self.issue_start(key),
                Condition::Up => self.answer_waiting(Some(key)),
                _ => {}
            }
        }
    }

    /// In order, one rank at a time; true when nothing is left to do or to wait for.
    fn advance_in_order(&mut self) -> bool {
        if self.ending > 0 {
            return false;
        }
        let alive = |child: &Child| matches!(child.condition, Condition::Starting | Condition::Up);
        if let Some(rank) = self.ranks(|child| child.must_stop && alive(child)).max() {
            self.each_of_rank(rank, |child| child.must_stop && alive(child), Self::issue_stop);
            return false;
        }
        if let Some(rank) = self.ranks(|child| child.wanted && child.condition != Condition::Up).min() {
            self.each_of_rank(rank, |child| child.wanted && child.is_down(), Self::issue_start);
            return false;
        }
        true
    }

    /// The ranks of the children that satisfy the condition.
    fn ranks(&self, which: impl Fn(&Child) -> bool) -> impl Iterator<Item = ChildKey> {
        self.children.iter().filter(move |(_, child)| which(child)).map(|(key, child)| Self::rank(*key, child))
    }

    fn each_of_rank(&mut self, rank: ChildKey, which: impl Fn(&Child) -> bool, action: fn(&mut Self, ChildKey)) {
        let of_rank =
            |(key, child): (&ChildKey, &Child)| (Self::rank(*key, child) == rank && which(child)).then_some(*key);
        let keys: Vec<ChildKey> = self.children.iter().filter_map(of_rank).collect();
        for key in keys {
            action(self, key);
        }
    }

    /// Nothing is left to do: the phase is over, and who waited for a restart gets the answer.
    fn settle(&mut self) {
        match &self.phase {
            Phase::Booting => {
                self.phase = Phase::Running;
                self.effects.push(Effect::Ready);
                self.answer_waiting(None);
            }
            Phase::Running => self.answer_waiting(None),
            Phase::Stopping(outcome) if self.alive == 0 => {
                self.effects.push(Effect::End(outcome.clone()));
                self.phase = Phase::Ended;
            }
            Phase::New | Phase::Stopping(_) | Phase::Ended => {}
        }
    }

    fn issue_stop(&mut self, key: ChildKey) {
        self.set_condition(key, Condition::Stopping);
        if let Some(child) = self.children.get_mut(&key) {
            child.must_stop = false;
            self.effects.push(Effect::Stop { child: key, start: child.start });
        }
    }

    fn issue_start(&mut self, key: ChildKey) {
        self.set_condition(key, Condition::Starting);
        let start = self.next_start;
        self.next_start += 1;
        if let Some(child) = self.children.get_mut(&key) {
            child.start = start;
            let restart = child.why.take();
            child.restarts += u64::from(restart.is_some());
            self.effects.push(Effect::Start { child: key, start, restart });
        }
    }
}

impl Child {
    /// Wishes a fresh incarnation. One that is being removed, and a temporary one, only goes.
    fn wish_restart(&mut self, why: &Arc<str>) {
        self.must_stop |= matches!(self.condition, Condition::Starting | Condition::Up);
        self.wanted = self.removing.is_empty() && (self.restart != Restart::Temporary || self.added.is_some());
        if self.wanted && self.added.is_none() && self.why.is_none() {
            self.why = Some(Arc::clone(why));
        }
    }
}
