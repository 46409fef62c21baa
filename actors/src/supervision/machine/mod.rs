//! The supervisor's mind: a value that turns what happened to its children into what to do next. No clock, no IO.
//!
//! Each child has a *condition* (what it is: down, starting, up, stopping) and two wishes: `wanted` (it shall run) and
//! `must_stop` (the present incarnation shall end). Whatever happens only changes wishes; [`Machine::advance`] then does
//! the next step that wishes and order allow. So there is no "restart in progress" that a second death, a stop request
//! or an admin's restart could disturb: they widen the wishes, and the same rule goes on from there.
//! - Order: a child has a *rank* (its place; dynamic children share the last one). Stops go from the highest rank down,
//!   and one rank is awaited before the next; starts go upwards, when no stop is outstanding, one rank at a time.
//!   Under `OneForOne` this holds for boot and shutdown only; in between each child goes its own way.
//! - Every end is reported exactly once by a guardian, with the number of its start, so a report about a former
//!   incarnation is recognised and ignored.
//! - An end counts against the intensity if nobody wanted it: not while the child was to stop anyway, nor while one is
//!   *failing* with which it would have been restarted: then it is most likely a consequence. A child is failing from
//!   the news that it ended by itself until all that it owned is gone, and till then nobody tied to it is started.

mod requests;
mod steps;
#[cfg(test)]
mod tests;

use crate::supervision::cause::EndCause;
use crate::supervision::{GaveUpBecause, Intensity, Restart, Strategy};
pub use requests::CommandError;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A child's place among its siblings, in start order. Never reused.
pub(crate) type ChildKey = u64;
/// The number of one start, unique in the life of a supervisor. Never reused.
pub(crate) type StartNumber = u64;
/// Who waits for a command's outcome; the shell knows the reply.
pub(crate) type Ticket = u64;

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// The supervisor starts: start the static children.
    Boot,
    /// A child is up.
    Started { child: ChildKey, start: StartNumber },
    /// A child has ended by itself; all that it owned is not gone yet.
    Failing { child: ChildKey, start: StartNumber, cause: EndCause },
    /// A child's incarnation, and all that it owned, is gone.
    Ended { child: ChildKey, start: StartNumber, cause: EndCause },
    /// A stop takes longer than allowed.
    StopOverdue { child: ChildKey, start: StartNumber },
    /// Even a kill has not ended it.
    KillOverdue { child: ChildKey, start: StartNumber },
    /// Our own supervisor wants us to stop.
    Stop,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Start a child; `restart` says why it is started again.
    Start { child: ChildKey, start: StartNumber, restart: Option<Arc<str>> },
    /// Ask it to stop and watch the clock.
    Stop { child: ChildKey, start: StartNumber },
    /// Kill it and watch the clock.
    Kill { child: ChildKey, start: StartNumber },
    /// A child has ended: to be shown, and said if it is not clean.
    Ended { child: ChildKey, cause: EndCause },
    /// A child that is down, and was to be started again, will not be.
    Rests { child: ChildKey },
    /// It could not be ended and is no longer waited for.
    Abandoned { child: ChildKey },
    /// A dynamic child is gone for good.
    Forget { child: ChildKey },
    /// A command is done.
    Answer { ticket: Ticket, result: Result<(), CommandError> },
    /// All children are up for the first time.
    Ready,
    /// Intensity is exceeded: the children are being stopped, [`Effect::End`] will follow.
    GivingUp { child: ChildKey, cause: EndCause },
    /// All children are down: end, with this outcome.
    End(Outcome),
}

/// How a supervisor ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As asked.
    Stopped,
    /// It gave up.
    GaveUp { because: GaveUpBecause, child: ChildKey, name: String, restarts: u64, cause: EndCause },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    New,
    Booting,
    Running,
    Stopping(Outcome),
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Down,
    Starting,
    Up,
    /// It ended by itself, and what it owned is going.
    Failing,
    Stopping,
    Killed,
}

#[derive(Debug)]
struct Child {
    name: String,
    restart: Restart,
    dynamic: bool,
    condition: Condition,
    start: StartNumber,
    wanted: bool,
    must_stop: bool,
    restarts: u64,
    why: Option<Arc<str>>,
    added: Option<Ticket>,
    removing: Vec<Ticket>,
}

impl Child {
    fn new(name: String, restart: Restart, dynamic: bool) -> Self {
        Self {
            name,
            restart,
            dynamic,
            condition: Condition::Down,
            start: 0,
            wanted: true,
            must_stop: false,
            restarts: 0,
            why: None,
            added: None,
            removing: Vec::new(),
        }
    }

    fn is_down(&self) -> bool {
        self.condition == Condition::Down
    }

    fn is_ending(&self) -> bool {
        matches!(self.condition, Condition::Failing | Condition::Stopping | Condition::Killed)
    }

    fn is_asked_to_end(&self) -> bool {
        matches!(self.condition, Condition::Stopping | Condition::Killed)
    }
}

/// The state of one supervisor incarnation.
#[derive(Debug)]
pub(crate) struct Machine {
    strategy: Strategy,
    intensity: Intensity,
    dynamic_max: usize,
    phase: Phase,
    children: BTreeMap<ChildKey, Child>,
    by_name: BTreeMap<String, ChildKey>,
    dynamic_count: usize,
    next_key: ChildKey,
    next_start: StartNumber,
    alive: usize,
    ending: usize,
    failures: VecDeque<Duration>,
    touched: BTreeSet<ChildKey>,
    waiting: Vec<(ChildKey, Ticket)>,
    effects: Vec<Effect>,
}

impl Machine {
    /// A supervisor with these static children, in start order; names are unique (the spec is checked before).
    pub(crate) fn new(
        strategy: Strategy,
        intensity: Intensity,
        dynamic_max: usize,
        children: impl IntoIterator<Item = (String, Restart)>,
    ) -> Self {
        let mut machine = Self {
            strategy,
            intensity,
            dynamic_max,
            phase: Phase::New,
            children: BTreeMap::new(),
            by_name: BTreeMap::new(),
            dynamic_count: 0,
            next_key: 0,
            next_start: 1,
            alive: 0,
            ending: 0,
            failures: VecDeque::new(),
            touched: BTreeSet::new(),
            waiting: Vec::new(),
            effects: Vec::new(),
        };
        for (name, restart) in children {
            machine.insert(Child::new(name, restart, false));
        }
        machine
    }

    /// Takes in what happened at `now` (since any fixed moment; never backwards) and says what to do, in order.
    pub(crate) fn step(&mut self, input: Input, now: Duration) -> Vec<Effect> {
        match input {
            Input::Boot => self.on_boot(),
            Input::Started { child, start } => self.on_started(child, start),
            Input::Failing { child, start, cause } => self.on_failing(child, start, &cause),
            Input::Ended { child, start, cause } => self.on_ended(child, start, cause, now),
            Input::StopOverdue { child, start } => self.on_stop_overdue(child, start),
            Input::KillOverdue { child, start } => self.on_kill_overdue(child, start),
            Input::Stop => self.begin_stopping(Outcome::Stopped),
        }
        self.finish_step()
    }

    /// Whether the child will be started (again) after its present end.
    pub(crate) fn wants(&self, child: ChildKey) -> bool {
        self.children.get(&child).is_some_and(|child| child.wanted)
    }

    fn finish_step(&mut self) -> Vec<Effect> {
        self.advance();
        // Who hears an answer finds everything done that it is about. The sort keeps the order of all others.
        self.effects.sort_by_key(|effect| match effect {
            Effect::Answer { .. } => 1,
            Effect::End(_) => 2,
            _ => 0,
        });
        std::mem::take(&mut self.effects)
    }

    fn insert(&mut self, child: Child) -> ChildKey {
        let key = self.next_key;
        self.next_key += 1;
        self.dynamic_count += usize::from(child.dynamic);
        let former = self.by_name.insert(child.name.clone(), key);
        assert!(former.is_none(), "two children named `{}`", child.name);
        self.children.insert(key, child);
        self.touched.insert(key);
        key
    }

    /// The child, if `start` is its present incarnation.
    fn present(&mut self, key: ChildKey, start: StartNumber) -> Option<&mut Child> {
        self.children.get_mut(&key).filter(|child| child.start == start && !child.is_down())
    }

    fn rank(key: ChildKey, child: &Child) -> ChildKey {
        if child.dynamic { ChildKey::MAX } else { key }
    }

    fn set_condition(&mut self, key: ChildKey, condition: Condition) {
        if let Some(child) = self.children.get_mut(&key) {
            self.alive -= usize::from(!child.is_down());
            self.ending -= usize::from(child.is_ending());
            child.condition = condition;
            self.alive += usize::from(!child.is_down());
            self.ending += usize::from(child.is_ending());
            self.touched.insert(key);
        }
    }
}
