//! Changes of the validators while all else goes on: one is added, removed, gets another key or another power; several
//! after each other, and some that compete. Of any set no more is faulty than it tolerates.

use std::sync::Arc;

use dtvn_messages::{Epoch, Validator, ValidatorSet};

use super::Act;
use crate::oracle::Violation;
use crate::random::Random;
use crate::world::{Event, World};

/// Sets do not grow beyond this.
const VALIDATORS_MAX: usize = 12;
/// Changes that are drawn before one is found that the network tolerates.
const TRIES: usize = 8;
/// Messages that are remembered, to be repeated in another epoch.
pub(crate) const ARCHIVE_MESSAGES: usize = 96;

/// How long an operator waits before giving a key up that others still need.
const REKEY_AGAIN_US: u64 = 300_000;

/// A way to change a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Add,
    Remove,
    Replace,
    Rekey,
    Powers,
}

/// One in the archive of every so many messages.
const ARCHIVED_ONE_OF: u64 = 7;

impl World {
    /// Operators change the validators, if there is a change that the network tolerates.
    pub(super) fn change_members(&mut self) {
        let (epoch, era) = self.chain.eras().latest();
        if era.ends.is_some() && self.randoms.faults.permille(800) {
            return;
        }
        let competing = if self.randoms.faults.permille(250) { 2 } else { 1 };
        for _ in 0..competing {
            let drawn = (0..TRIES).find_map(|_| self.draw_set());
            if let Some(set) = drawn {
                let first = self.randoms.faults.below(self.hosts.len() as u64) as usize;
                let is_signed = !self.randoms.faults.permille(100);
                self.propose_set(epoch, set, first, is_signed);
            }
        }
    }

    fn draw_set(&mut self) -> Option<Vec<Validator>> {
        let present = Arc::clone(&self.chain.eras().latest().1.set);
        let mut validators: Vec<Validator> = present.iter().map(|(_, validator)| validator.clone()).collect();
        let way = self.randoms.faults.pick(&[Way::Add, Way::Add, Way::Remove, Way::Replace, Way::Rekey, Way::Powers]);
        match way {
            Way::Add => self.add_one(&mut validators)?,
            Way::Remove => remove_one(&mut validators, &mut self.randoms.faults)?,
            Way::Replace => {
                self.add_one(&mut validators)?;
                remove_one(&mut validators, &mut self.randoms.faults)?;
            }
            Way::Rekey => self.rekey_one(&mut validators)?,
            Way::Powers => {
                validators.iter_mut().for_each(|validator| validator.power = self.randoms.faults.between(1, 3) as u32);
            }
        }
        let set = ValidatorSet::new(validators.clone()).ok()?;
        (set.hash() != present.hash() && self.is_bearable(&set, None)).then_some(validators)
    }

    /// A host that is none becomes a validator, at any place.
    fn add_one(&mut self, validators: &mut Vec<Validator>) -> Option<()> {
        let host = self.randoms.faults.below(self.hosts.len() as u64) as usize;
        let at = &self.hosts[host];
        let is_known = validators.iter().any(|known| known.name == at.name || at.keys.contains(&known.public_key));
        if is_known || at.is_damaged || at.is_gone || validators.len() >= VALIDATORS_MAX {
            return None;
        }
        let validator = Validator { name: at.name.clone(), public_key: at.key(), power: 1 };
        let place = self.randoms.faults.below(validators.len() as u64 + 1) as usize;
        validators.insert(place, validator);
        Some(())
    }

    /// An honest validator gets another key.
    fn rekey_one(&mut self, validators: &mut [Validator]) -> Option<()> {
        let place = self.randoms.faults.below(validators.len() as u64) as usize;
        let validator = &mut validators[place];
        let host = self.hosts.iter().position(|host| host.is_honest && host.key() == validator.public_key)?;
        validator.public_key = self.next_key(host);
        Some(())
    }

    /// Whether no more of a set is faulty than it tolerates, with one host more if that one is to fail.
    pub(crate) fn is_bearable(&self, set: &ValidatorSet, and: Option<usize>) -> bool {
        let is_faulty = |validator: &Validator| {
            let mut hosts = self.hosts.iter().enumerate().filter(|(_, host)| host.name == validator.name);
            hosts.any(|(number, host)| {
                !host.is_honest || host.is_damaged || host.may_forget || host.is_gone || and == Some(number)
            })
        };
        let faulty = set.iter().filter(|(_, validator)| is_faulty(validator));
        set.power_of(faulty.map(|(index, _)| index)) < set.weak_quorum()
    }

    /// Whether a host may be lost, for as long as it takes, in all sets that are in force or may still come.
    pub(crate) fn may_lose(&self, host: usize) -> bool {
        let eras = self.chain.eras();
        let (epoch, latest) = eras.latest();
        let former = eras.of(epoch.previous()).map(|era| &era.set);
        let sets = former.into_iter().chain([&latest.set]).chain(&latest.next).map(|set| &**set);
        sets.chain(self.operators.wanted()).all(|set| self.is_bearable(set, Some(host)))
    }

    /// An epoch began in the history: what changed, whose key is to change, and what was said before is said again.
    pub(crate) fn on_era(&mut self) {
        let eras = self.chain.eras();
        let (epoch, latest) = eras.latest();
        let Some(former) = eras.of(epoch.previous()).map(|era| Arc::clone(&era.set)) else { return };
        let set = Arc::clone(&latest.set);
        for (_, validator) in set.iter() {
            let before = former.index_of_name(validator.name.as_str()).and_then(|index| former.get(index));
            self.coverage.members_added += u64::from(before.is_none());
            self.coverage.members_rekeyed += u64::from(before.is_some_and(|it| it.public_key != validator.public_key));
            self.coverage.members_weighed += u64::from(before.is_some_and(|it| it.power != validator.power));
            let waits = |host: &usize| {
                self.hosts[*host].name == validator.name && !self.hosts[*host].keys.contains(&validator.public_key)
            };
            if let Some(host) = (0..self.hosts.len()).find(waits) {
                let after_us = self.randoms.faults.around(200_000);
                self.schedule(after_us, Event::Act(Act::Rekey(host)));
            }
        }
        let is_gone = |validator: &Validator| set.index_of_name(validator.name.as_str()).is_none();
        self.coverage.members_removed += former.iter().filter(|(_, validator)| is_gone(validator)).count() as u64;
        self.repeat_archive();
    }

    /// Whether nobody is cut off when a host gives its key up: in each epoch that a host has still to go through it must
    /// find another one by its key among the validators, and one that is through it.
    fn may_rekey(&self, host: usize) -> bool {
        let eras = self.chain.eras();
        let latest = eras.latest().0;
        let finds = |left: usize, epoch: Epoch| {
            let Some(era) = eras.of(epoch) else { return true };
            let is_found = |other: usize| {
                let at = &self.hosts[other];
                let key = if other == host { self.next_key(host) } else { at.key() };
                let is_through = at.is_honest && !at.is_gone && at.addresses.epoch > epoch;
                other != left && is_through && era.set.index_of_key(&key).is_some()
            };
            (0..self.hosts.len()).any(is_found)
        };
        let mut behind = (0..self.hosts.len()).filter(|left| self.hosts[*left].is_honest && !self.hosts[*left].is_gone);
        behind.all(|left| {
            let first = self.hosts[left].addresses.epoch.0;
            (first..latest.0).all(|epoch| finds(left, Epoch(epoch)))
        })
    }

    /// The process of a host ends, and another starts with the next key, as soon as its operator sees that nobody needs
    /// the former one.
    pub(super) fn rekey(&mut self, host: usize) -> Result<(), Violation> {
        let is_wanted = self.chain.eras().latest().1.set.index_of_key(&self.next_key(host)).is_some();
        if !is_wanted {
            return Ok(());
        }
        if !self.may_rekey(host) {
            self.schedule(REKEY_AGAIN_US, Event::Act(Act::Rekey(host)));
            return Ok(());
        }
        self.rekey_now(host)
    }

    pub(crate) fn rekey_now(&mut self, host: usize) -> Result<(), Violation> {
        self.note(11, host as u64, 0);
        self.crash(host, false);
        let key = self.next_key(host);
        self.hosts[host].keys.push(key);
        self.find_all();
        if self.hosts[host].is_gone { Ok(()) } else { self.start(host) }
    }

    /// Some of what travels is remembered.
    pub(crate) fn archive(&mut self, event: impl FnOnce() -> Event) {
        if self.archived_of == 0 {
            return;
        }
        self.archived_count += 1;
        if self.archived_count.is_multiple_of(self.archived_of) {
            let place = (self.archived_count / self.archived_of) as usize % ARCHIVE_MESSAGES;
            let event = event();
            match self.archived.get_mut(place) {
                Some(former) => *former = event,
                None => self.archived.push(event),
            }
        }
    }

    pub(crate) fn repeat_archive(&mut self) {
        for event in std::mem::take(&mut self.archived) {
            self.coverage.old_messages += 1;
            let after_us = self.randoms.faults.between(1_000, 3_000_000);
            self.schedule(after_us, event);
        }
    }

    /// Whether messages are archived: where validators change.
    pub(crate) const fn archives(changes: bool) -> u64 {
        if changes { ARCHIVED_ONE_OF } else { 0 }
    }
}

fn remove_one(validators: &mut Vec<Validator>, random: &mut Random) -> Option<()> {
    if validators.len() < 2 {
        return None;
    }
    validators.remove(random.below(validators.len() as u64) as usize);
    Some(())
}
