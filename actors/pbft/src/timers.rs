//! Timers with generations: a late one is recognised by its number.

use std::collections::BTreeMap;

use crate::input::Timer;

#[derive(Debug, Clone, Copy, Default)]
struct State {
    generation: u64,
    deadline_us: Option<u64>,
    /// It was late, and is armed once more.
    again: bool,
}

/// What a fired timer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fired {
    /// It was set again or cancelled since.
    Stale,
    /// It is due.
    Due,
    /// It is due, but far later than it was set for: the process was paused.
    Late,
}

/// The state of all timers.
#[derive(Debug, Default)]
pub struct Timers {
    states: BTreeMap<Timer, State>,
}

impl Timers {
    /// Sets a timer anew, and returns its generation.
    pub fn set(&mut self, timer: Timer, now_us: u64, after_us: u64) -> u64 {
        let state = self.states.entry(timer).or_default();
        *state = State {
            generation: state.generation + 1,
            deadline_us: Some(now_us.saturating_add(after_us)),
            again: false,
        };
        state.generation
    }

    /// Sets a timer once more because it fired late. A second late one counts as due, so that a slow clock cannot put it
    /// off for ever.
    pub fn set_again(&mut self, timer: Timer, now_us: u64, after_us: u64) -> u64 {
        let generation = self.set(timer, now_us, after_us);
        if let Some(state) = self.states.get_mut(&timer) {
            state.again = true;
        }
        generation
    }

    /// Cancels a timer.
    pub fn cancel(&mut self, timer: Timer) {
        if let Some(state) = self.states.get_mut(&timer) {
            state.deadline_us = None;
        }
    }

    /// Whether a timer runs.
    pub fn is_set(&self, timer: Timer) -> bool {
        self.deadline_us(timer).is_some()
    }

    /// When a running timer is due.
    pub fn deadline_us(&self, timer: Timer) -> Option<u64> {
        self.states.get(&timer).and_then(|state| state.deadline_us)
    }

    /// Takes the news that a timer fired. `late_us` is how far behind its time counts as late.
    pub fn fire(&mut self, timer: Timer, generation: u64, now_us: u64, late_us: u64) -> Fired {
        let Some(state) = self.states.get_mut(&timer) else { return Fired::Stale };
        let Some(deadline_us) = state.deadline_us.filter(|_| state.generation == generation) else {
            return Fired::Stale;
        };
        state.deadline_us = None;
        if now_us > deadline_us.saturating_add(late_us) && !state.again { Fired::Late } else { Fired::Due }
    }
}
