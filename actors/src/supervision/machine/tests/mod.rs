//! The supervisor's mind, tested without an actor: plain values in, plain values out.
//!
//! [`Rig`] plays the world around the machine: it does at once what the machine asks for (a started child comes up, a
//! stopped one ends) unless the test holds a child back, and writes down what was asked as a line per effect.

mod intensity;
mod order;
mod random;
mod requests;
mod strategies;

use super::{ChildKey, CommandError, Effect, Input, Machine, Outcome, StartNumber};
use crate::supervision::{EndCause, Intensity, Restart, Strategy};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

pub(super) const WINDOW: Duration = Duration::from_secs(5);

pub(super) struct Rig {
    pub(super) machine: Machine,
    pub(super) now: Duration,
    pub(super) log: Vec<String>,
    /// Children that neither come up nor end by themselves.
    pub(super) held: BTreeSet<String>,
    pub(super) answers: Vec<(u64, Result<(), CommandError>)>,
    pub(super) outcome: Option<Outcome>,
    names: Vec<(String, ChildKey, StartNumber)>,
    reactions: VecDeque<Input>,
}

impl Rig {
    pub(super) fn new(strategy: Strategy, names: &[&str]) -> Self {
        let children: Vec<_> = names.iter().map(|name| (*name, Restart::Permanent)).collect();
        Self::with(strategy, &children)
    }

    pub(super) fn with(strategy: Strategy, children: &[(&str, Restart)]) -> Self {
        let intensity = Intensity { restarts_max: 3, window: WINDOW };
        let named = children.iter().map(|(name, restart)| ((*name).to_owned(), *restart));
        let names = (0..).zip(children).map(|(key, (name, _))| ((*name).to_owned(), key, 0)).collect();
        Self {
            machine: Machine::new(strategy, intensity, 2, named),
            now: Duration::ZERO,
            log: Vec::new(),
            held: BTreeSet::new(),
            answers: Vec::new(),
            outcome: None,
            names,
            reactions: VecDeque::new(),
        }
    }

    pub(super) fn booted(strategy: Strategy, names: &[&str]) -> Self {
        let mut rig = Self::new(strategy, names);
        rig.boot();
        rig.log.clear();
        rig
    }

    pub(super) fn boot(&mut self) {
        self.input(Input::Boot);
    }

    pub(super) fn hold(&mut self, name: &str) {
        self.held.insert(name.to_owned());
    }

    pub(super) fn input(&mut self, input: Input) {
        let effects = self.machine.step(input, self.now);
        self.obey(effects);
    }

    /// Does what is asked for, and then what follows from it.
    fn obey(&mut self, effects: Vec<Effect>) {
        self.carry_out(effects);
        while let Some(reaction) = self.reactions.pop_front() {
            let effects = self.machine.step(reaction, self.now);
            self.carry_out(effects);
        }
    }

    /// The child dies by itself.
    pub(super) fn fail(&mut self, name: &str) {
        self.end(name, EndCause::Failed("boom".to_owned()));
    }

    /// The child has died by itself, and what it owned is still there.
    pub(super) fn begin_to_fail(&mut self, name: &str) {
        let (child, start) = self.place(name);
        self.input(Input::Failing { child, start, cause: EndCause::Failed("boom".to_owned()) });
    }

    pub(super) fn end(&mut self, name: &str, cause: EndCause) {
        let (child, start) = self.place(name);
        self.input(Input::Ended { child, start, cause });
    }

    pub(super) fn came_up(&mut self, name: &str) {
        let (child, start) = self.place(name);
        self.input(Input::Started { child, start });
    }

    pub(super) fn add(&mut self, name: &str, restart: Restart, ticket: u64) {
        match self.machine.add(name, restart, ticket) {
            Ok(key) => {
                self.names.push((name.to_owned(), key, 0));
                let effects = self.machine.go_on();
                self.obey(effects);
            }
            Err(error) => self.answers.push((ticket, Err(error))),
        }
    }

    pub(super) fn remove(&mut self, name: &str, ticket: u64) {
        let effects = self.machine.remove(name, ticket);
        self.obey(effects);
    }

    pub(super) fn restart(&mut self, name: &str, ticket: u64) {
        let effects = self.machine.restart(name, ticket);
        self.obey(effects);
    }

    /// The child's key and its latest start.
    pub(super) fn place(&self, name: &str) -> (ChildKey, StartNumber) {
        let (_, key, start) = self.names.iter().rev().find(|(other, ..)| other == name).unwrap();
        (*key, *start)
    }

    /// What was asked since the last look, one word and name each.
    pub(super) fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            assert!(self.outcome.is_none(), "an effect after the end: {effect:?}");
            match effect {
                Effect::Start { child, start, .. } => self.on_start(child, start),
                Effect::Stop { child, start } => self.on_stop(child, start),
                Effect::Kill { child, .. } => self.note("kill", child),
                Effect::Ended { .. } | Effect::Rests { .. } => {}
                Effect::Abandoned { child } => self.note("abandon", child),
                Effect::Forget { child } => self.note("forget", child),
                Effect::Answer { ticket, result } => self.answers.push((ticket, result)),
                Effect::Ready => self.log.push("ready".to_owned()),
                Effect::GivingUp { child, .. } => self.note("give up on", child),
                Effect::End(outcome) => {
                    self.log.push("end".to_owned());
                    self.outcome = Some(outcome);
                }
            }
        }
    }

    fn note(&mut self, what: &str, child: ChildKey) {
        let name = self.name(child);
        self.log.push(format!("{what} {name}"));
    }

    fn name(&self, child: ChildKey) -> String {
        self.names.iter().find(|(_, key, _)| *key == child).unwrap().0.clone()
    }

    fn on_start(&mut self, child: ChildKey, start: StartNumber) {
        self.note("start", child);
        self.names.iter_mut().find(|(_, key, _)| *key == child).unwrap().2 = start;
        if !self.held.contains(&self.name(child)) {
            self.reactions.push_back(Input::Started { child, start });
        }
    }

    fn on_stop(&mut self, child: ChildKey, start: StartNumber) {
        self.note("stop", child);
        if !self.held.contains(&self.name(child)) {
            self.reactions.push_back(Input::Ended { child, start, cause: EndCause::Asked });
        }
    }
}
