//! What breaks, and when; and how all heals.
//!
//! | module | what |
//! |---|---|
//! | `nodes` | crashes with what the disk keeps, parts that fail, pauses, clocks |
//! | `disks` | disks that are full, read-only or slow, syncs that fail, damage |
//! | `network` | partitions of all shapes, votes that are lost |
//! | `members` | changes of the validators |

mod disks;
pub(crate) mod members;
mod network;
mod nodes;

pub use network::LostVotes;

use crate::links::Weather;
use crate::oracle::Violation;
use crate::scenario::{Fault, Level, Sabotage};
use crate::world::{Event, World};

/// Something breaks, or is mended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    /// The next fault of a kind.
    Next(Fault),
    /// A host starts again.
    Start(usize),
    /// The partition of this number heals.
    Heal(u64),
    /// The partition of this number comes or goes, so many times more.
    Flap(u64, u64),
    /// The disk of a host works again.
    Mend(usize),
    /// Votes get through again, if this was the last time that they were lost.
    Votes(u64),
    /// The clock of a host runs on.
    Clock(usize),
    /// A host that stood still moves again, unless it is to stand still for longer.
    Wake(usize),
    /// An operator hands a change of the validators in, at a host.
    HandIn(usize, usize),
    /// A host starts with another key.
    Rekey(usize),
}

/// The kinds that happen now and then.
const SUDDEN: [Fault; 12] = [
    Fault::Partitions,
    Fault::Crashes,
    Fault::Parts,
    Fault::Pauses,
    Fault::Clocks,
    Fault::SlowDisks,
    Fault::Damage,
    Fault::Leaders,
    Fault::Disks,
    Fault::Votes,
    Fault::Outages,
    Fault::Members,
];

impl World {
    /// Starts all hosts and clients, and lets faults begin.
    pub(crate) fn begin(&mut self) -> Result<(), Violation> {
        for host in 0..self.hosts.len() {
            self.start(host)?;
        }
        self.start_clients();
        SUDDEN.into_iter().for_each(|fault| self.schedule_next(fault));
        Ok(())
    }

    fn schedule_next(&mut self, fault: Fault) {
        let often_us = if fault == Fault::Outages { 4 } else { 1 };
        let typical_us = often_us * self.scenario.by_level(fault, 0, 6_000_000, 1_500_000);
        if typical_us > 0 {
            let after_us = self.randoms.faults.between(typical_us / 10, 2 * typical_us);
            self.schedule(after_us, Event::Act(Act::Next(fault)));
        }
    }

    pub(crate) fn act(&mut self, act: Act) -> Result<(), Violation> {
        match act {
            Act::Next(fault) if self.is_faulty => {
                self.note(7, fault as u64, 0);
                self.schedule_next(fault);
                return self.break_something(fault);
            }
            Act::Start(host) if !self.hosts[host].is_up() && !self.hosts[host].is_gone => {
                self.note(8, host as u64, 0);
                return self.start(host);
            }
            Act::Heal(partition) if partition == self.partition => {
                self.note(9, partition, 0);
                self.heal_links();
            }
            Act::Flap(partition, times) if partition == self.partition => self.flap(partition, times),
            Act::Mend(host) => self.mend_disk(host),
            Act::Votes(time) if time == self.vote_loss => self.lossy_votes = None,
            Act::Clock(host) => self.hosts[host].clock.frozen_us = None,
            Act::Wake(host) if !self.hosts[host].is_paused(self.now_us) => return self.wake(host),
            Act::HandIn(proposal, host) => return self.hand_in(proposal, host),
            Act::Rekey(host) => return self.rekey(host),
            Act::Next(_) | Act::Start(_) | Act::Heal(_) | Act::Flap(..) | Act::Votes(_) | Act::Wake(_) => {}
        }
        Ok(())
    }

    fn break_something(&mut self, fault: Fault) -> Result<(), Violation> {
        let hosts = self.hosts.len();
        let host = self.randoms.faults.below(hosts as u64) as usize;
        match fault {
            Fault::Partitions => self.part(),
            Fault::Votes => self.lose_votes(),
            Fault::Crashes => self.crash_one(host),
            Fault::Outages => self.crash_all(),
            Fault::Leaders => self.crash_leaders(),
            Fault::Parts => return self.restart_part(host),
            Fault::Pauses => self.pause(host),
            Fault::Clocks => self.disturb_clock(host),
            Fault::SlowDisks => self.slow_disk(host),
            Fault::Disks => self.break_disk(host),
            Fault::Damage => self.damage(host),
            Fault::Members => self.change_members(),
            Fault::Loss | Fault::Repetition | Fault::Delay | Fault::Lies => {}
        }
        Ok(())
    }

    /// All faults end: links, clocks and disks are as they should be, who is down starts, except as many as may stay away
    /// for good, and who stands still moves again. Liars go on lying.
    pub(crate) fn heal(&mut self) -> Result<(), Violation> {
        if self.scenario.sabotage == Some(Sabotage::NoHealing) {
            self.links.cut_all(self.hosts.len(), self.now_us);
            return Ok(());
        }
        self.is_faulty = false;
        self.weather = Weather::fine(&self.scenario);
        self.lossy_votes = None;
        for host in 0..self.hosts.len() {
            self.mend_disk(host);
            let at = &mut self.hosts[host];
            at.clock = Default::default();
            at.slow_disk = false;
        }
        while self.scenario.spare_faults > 0 {
            self.scenario.spare_faults -= 1;
            let host = self.randoms.faults.below(self.hosts.len() as u64) as usize;
            let stays_away = self.randoms.faults.permille(500) && self.scenario.level(Fault::Crashes) != Level::Off;
            let at = &self.hosts[host];
            if stays_away && at.is_honest && !at.is_damaged && self.may_lose(host) {
                self.crash(host, false);
                self.hosts[host].is_gone = true;
            }
        }
        for host in 0..self.hosts.len() {
            if !self.hosts[host].is_up() && !self.hosts[host].is_gone {
                self.start(host)?;
            }
        }
        self.partition += 1;
        self.heal_links();
        (0..self.hosts.len()).try_for_each(|host| self.wake(host))
    }
}
