//! What others ask of a supervisor: add, remove, restart.

use super::{Child, ChildKey, Condition, Effect, Machine, Phase, Ticket};
use crate::supervision::Restart;

/// Why a supervisor did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such actor in the tree.
    #[error("there is no actor `{0}`")]
    Unknown(String),
    /// The path leads to a worker where a supervisor is needed, or the other way round.
    #[error("`{0}` is not of the kind that this needs")]
    WrongKind(String),
    /// A child's name is empty or has a slash.
    #[error("`{0}` is no name for an actor: it must not be empty nor have a slash")]
    BadName(String),
    /// A mailbox must hold at least one message.
    #[error("`{name}` cannot have a mailbox for {bound} messages")]
    BadBound {
        /// The child.
        name: String,
        /// The bound that it asks for.
        bound: usize,
    },
    /// A sibling has this name already.
    #[error("`{0}` is there already")]
    AlreadyThere(String),
    /// The supervisor has as many dynamic children as it may.
    #[error("there are {0} dynamic children already, which is the limit")]
    TooMany(usize),
    /// Only dynamic children can be removed.
    #[error("`{0}` is a fixed part of the tree and cannot be removed")]
    Fixed(String),
    /// A temporary child is never restarted.
    #[error("`{0}` is temporary and is never restarted")]
    Temporary(String),
    /// The new child could not start; it was not added.
    #[error("the new child {0}")]
    StartFailed(String),
    /// The child was removed, or will not run, before the command was done.
    #[error("the actor was removed meanwhile")]
    Removed,
    /// The supervisor is stopping or giving up.
    #[error("the supervisor is stopping")]
    Stopping,
    /// The supervisor is not running at the moment.
    #[error("the supervisor is down")]
    Down,
    /// Crashing actors on purpose needs fault injection to be on.
    #[error("fault injection is off")]
    FaultInjectionOff,
}

impl Machine {
    /// Takes in a new dynamic child, to be started as soon as order allows; the ticket is answered when it is up. The
    /// shell learns the key before any effect speaks of it, and then takes the effects from [`Machine::go_on`].
    pub(crate) fn add(&mut self, name: &str, restart: Restart, ticket: Ticket) -> Result<ChildKey, CommandError> {
        if !matches!(self.phase, Phase::Booting | Phase::Running) {
            return Err(CommandError::Stopping);
        }
        if self.by_name.contains_key(name) {
            return Err(CommandError::AlreadyThere(name.to_owned()));
        }
        if self.dynamic_count >= self.dynamic_max {
            return Err(CommandError::TooMany(self.dynamic_max));
        }
        let mut child = Child::new(name.to_owned(), restart, true);
        child.added = Some(ticket);
        Ok(self.insert(child))
    }

    /// Ends and forgets a dynamic child; the ticket is answered when it is gone.
    pub(crate) fn remove(&mut self, name: &str, ticket: Ticket) -> Vec<Effect> {
        match self.find_for_removal(name) {
            Ok(child) => {
                child.wanted = false;
                child.must_stop = matches!(child.condition, Condition::Starting | Condition::Up);
                child.removing.push(ticket);
                let added = child.added.take();
                if let Some(&key) = self.by_name.get(name) {
                    self.touched.insert(key);
                    self.refuse_waiting(key);
                }
                let removed = |ticket| Effect::Answer { ticket, result: Err(CommandError::Removed) };
                self.effects.extend(added.map(removed));
            }
            Err(error) => self.effects.push(Effect::Answer { ticket, result: Err(error) }),
        }
        self.finish_step()
    }

    fn find_for_removal(&mut self, name: &str) -> Result<&mut Child, CommandError> {
        let unknown = || CommandError::Unknown(name.to_owned());
        let key = self.by_name.get(name).ok_or_else(unknown)?;
        let child = self.children.get_mut(key).ok_or_else(unknown)?;
        if child.dynamic { Ok(child) } else { Err(CommandError::Fixed(name.to_owned())) }
    }

    /// An orderly restart of a child with all that the strategy ties to it; does not count against the intensity. The
    /// ticket is answered when they are up again.
    pub(crate) fn restart(&mut self, name: &str, ticket: Ticket) -> Vec<Effect> {
        match self.find_for_restart(name) {
            Ok(key) => {
                self.mark_group(key, "requested");
                self.waiting.push((key, ticket));
            }
            Err(error) => self.effects.push(Effect::Answer { ticket, result: Err(error) }),
        }
        self.finish_step()
    }

    fn find_for_restart(&self, name: &str) -> Result<ChildKey, CommandError> {
        if !matches!(self.phase, Phase::Booting | Phase::Running) {
            return Err(CommandError::Stopping);
        }
        let unknown = || CommandError::Unknown(name.to_owned());
        let key = *self.by_name.get(name).ok_or_else(unknown)?;
        let child = self.children.get(&key).ok_or_else(unknown)?;
        match child.restart {
            Restart::Temporary => Err(CommandError::Temporary(name.to_owned())),
            _ if !child.removing.is_empty() => Err(CommandError::Removed),
            _ => Ok(key),
        }
    }

    /// The effects of a child that was added.
    pub(crate) fn go_on(&mut self) -> Vec<Effect> {
        self.finish_step()
    }

    /// Forgets dynamic children that are down and will not run again.
    pub(super) fn forget_removed(&mut self) {
        let gone = |key: &ChildKey| {
            let child = self.children.get(key)?;
            (child.dynamic && child.is_down() && !child.wanted).then_some(*key)
        };
        let gone: Vec<ChildKey> = self.touched.iter().filter_map(gone).collect();
        for key in gone {
            let Some(child) = self.children.remove(&key) else {
                continue;
            };
            self.by_name.remove(&child.name);
            self.dynamic_count -= 1;
            self.effects.push(Effect::Forget { child: key });
            let done = |ticket| Effect::Answer { ticket, result: Ok(()) };
            self.effects.extend(child.removing.into_iter().map(done));
            self.refuse_waiting(key);
        }
    }

    /// Answers those who wait for a restart: of this child, or of any, when everything has settled.
    pub(super) fn answer_waiting(&mut self, settled: Option<ChildKey>) {
        let children = &self.children;
        let effects = &mut self.effects;
        self.waiting.retain(|&(key, ticket)| {
            let Some(child) = children.get(&key).filter(|_| settled.is_none_or(|one| one == key)) else {
                return true;
            };
            let result = if child.condition == Condition::Up { Ok(()) } else { Err(CommandError::Removed) };
            effects.push(Effect::Answer { ticket, result });
            false
        });
    }

    pub(super) fn refuse_waiting(&mut self, removed: ChildKey) {
        let effects = &mut self.effects;
        self.waiting.retain(|&(key, ticket)| {
            if key == removed {
                effects.push(Effect::Answer { ticket, result: Err(CommandError::Removed) });
            }
            key != removed
        });
    }
}
