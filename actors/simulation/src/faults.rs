//! What breaks, and when: crashes with what the disk keeps, parts that fail, partitions, pauses, clocks, slow disks, and
//! damaged logs; and how all heals.

use dtvn_replication::log::Unsynced;
use dtvn_replication::node::{Input, Part};

use crate::links::Weather;
use crate::oracle::Violation;
use crate::random::Random;
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
}

/// The kinds that happen now and then.
const SUDDEN: [Fault; 7] =
    [Fault::Partitions, Fault::Crashes, Fault::Parts, Fault::Pauses, Fault::Clocks, Fault::SlowDisks, Fault::Damage];

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
        let typical_us = self.scenario.by_level(fault, 0, 6_000_000, 1_500_000);
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
                self.break_something(fault)
            }
            Act::Start(host) if !self.hosts[host].is_up() && !self.hosts[host].is_gone => {
                self.note(8, host as u64, 0);
                self.start(host)
            }
            Act::Heal(partition) if partition == self.coverage.partitions => {
                self.note(9, partition, 0);
                self.heal_links();
                Ok(())
            }
            Act::Next(_) | Act::Start(_) | Act::Heal(_) => Ok(()),
        }
    }

    fn break_something(&mut self, fault: Fault) -> Result<(), Violation> {
        let hosts = self.hosts.len();
        let host = self.randoms.faults.below(hosts as u64) as usize;
        match fault {
            Fault::Partitions => self.part(),
            Fault::Crashes => self.crash_some(host),
            Fault::Parts => {
                let part = self.randoms.faults.pick(&Part::ALL);
                if self.hosts[host].is_up() {
                    self.coverage.part_restarts += 1;
                    return self.input(host, Input::Restart(part));
                }
            }
            Fault::Pauses => {
                self.coverage.pauses += 1;
                self.hosts[host].paused_until_us = self.now_us + self.randoms.faults.around(700_000);
            }
            Fault::Clocks => {
                self.coverage.clock_jumps += 1;
                let jump_us = self.scenario.by_level(Fault::Clocks, 0, 50_000, 2_000_000);
                let ahead_us = self.randoms.clock.between(0, 2 * jump_us) as i64 - jump_us as i64;
                self.hosts[host].clock.ahead_us = ahead_us;
            }
            Fault::SlowDisks => self.hosts[host].slow_disk = !self.hosts[host].slow_disk,
            Fault::Damage => self.damage(host),
            Fault::Loss | Fault::Repetition | Fault::Delay | Fault::Lies => {}
        }
        Ok(())
    }

    fn part(&mut self) {
        self.coverage.partitions += 1;
        self.links.cut(self.hosts.len(), &mut self.randoms.faults);
        let (partition, after_us) = (self.coverage.partitions, self.randoms.faults.around(1_000_000));
        self.schedule(after_us, Event::Act(Act::Heal(partition)));
        self.look_at_all();
    }

    fn heal_links(&mut self) {
        self.links.heal();
        self.look_at_all();
    }

    /// All hosts notice soon which of their links are up.
    fn look_at_all(&mut self) {
        for host in 0..self.hosts.len() {
            for peer in 0..self.hosts.len() {
                let is_linked = self.hosts[host].linked.contains(&self.hosts[peer].index);
                let is_joined = self.hosts[peer].is_up() && self.links.joins(host, peer);
                if host != peer && self.hosts[host].is_up() && is_linked != is_joined {
                    self.look(host, peer, is_joined);
                }
            }
        }
    }

    fn crash_some(&mut self, host: usize) {
        let all = self.randoms.faults.permille(80);
        let is_power = self.randoms.faults.permille(600);
        let away_us = self.randoms.faults.around(400_000);
        for host in if all { 0..self.hosts.len() } else { host..host + 1 } {
            self.crash(host, is_power);
            self.schedule(away_us, Event::Act(Act::Start(host)));
        }
    }

    /// The process of a host ends; with it the power of its machine, perhaps.
    fn crash(&mut self, host: usize, is_power: bool) {
        let Some(node) = self.hosts[host].node.take() else { return };
        self.coverage.restarts += 1;
        let mut media = node.kill();
        media.disk.restart();
        if is_power {
            self.coverage.power_losses += 1;
            let disk = &mut self.randoms.disk;
            let manner = disk.below(3);
            media.disk.crash(|unsynced| keep(manner, unsynced, disk));
            media.store.crash(disk.below(12) as usize);
            if let Some(stale) = self.hosts[host].stale_disk.take() {
                media.disk = stale;
            }
        }
        let at = &mut self.hosts[host];
        at.media = Some(media);
        at.incarnation += 1;
        at.linked.clear();
        at.paused_until_us = 0;
        for peer in 0..self.hosts.len() {
            if peer != host && self.hosts[peer].is_up() {
                self.look(peer, host, false);
            }
        }
    }

    /// Flips a bit in the log of a host, if that many may be lost for good.
    fn damage(&mut self, host: usize) {
        let may_be = self.scenario.spare_faults > 0 && self.hosts[host].is_honest && !self.hosts[host].is_damaged;
        if !may_be || self.randoms.faults.permille(700) {
            return;
        }
        self.crash(host, true);
        // The header and the first batch: they are never torn.
        let bit = self.randoms.disk.below(8 * 1_024);
        let name = format!("{:0>16}.segment", self.hosts[host].first_segment);
        let Some(media) = self.hosts[host].media.as_mut() else { return };
        if media.disk.flip_bit(&name, bit) {
            self.scenario.spare_faults -= 1;
            self.hosts[host].may_forget = true;
        }
        self.schedule(500_000, Event::Act(Act::Start(host)));
    }

    /// All faults end: links, clocks and disks are as they should be, and who is down starts, except as many as may stay
    /// away for good. Liars go on lying.
    pub(crate) fn heal(&mut self) -> Result<(), Violation> {
        if self.scenario.sabotage == Some(Sabotage::NoHealing) {
            self.links.cut_all(self.hosts.len());
            return Ok(());
        }
        self.is_faulty = false;
        self.weather = Weather::fine(&self.scenario);
        for host in 0..self.hosts.len() {
            let at = &mut self.hosts[host];
            at.clock.ahead_us = 0;
            at.slow_disk = false;
            at.paused_until_us = 0;
        }
        while self.scenario.spare_faults > 0 {
            self.scenario.spare_faults -= 1;
            let host = self.randoms.faults.below(self.hosts.len() as u64) as usize;
            let stays_away = self.randoms.faults.permille(500) && self.scenario.level(Fault::Crashes) != Level::Off;
            if stays_away && self.hosts[host].is_honest && !self.hosts[host].is_damaged {
                self.crash(host, false);
                self.hosts[host].is_gone = true;
            }
        }
        for host in 0..self.hosts.len() {
            if !self.hosts[host].is_up() && !self.hosts[host].is_gone {
                self.start(host)?;
            }
        }
        self.heal_links();
        Ok(())
    }
}

/// How much of something unsynced a loss of power keeps: nothing, all, or anything.
fn keep(manner: u64, _unsynced: Unsynced<'_>, random: &mut Random) -> u64 {
    match (manner, random.below(4)) {
        (0, _) => 0,
        (1, 0..3) | (_, 0) => u64::MAX,
        (_, 1) => random.below(512),
        _ => 0,
    }
}
