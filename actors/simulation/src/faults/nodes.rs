//! Nodes that end and start, parts of them that fail, pauses and clocks.

use std::sync::Arc;

use dtvn_messages::{Epoch, View};
use dtvn_replication::log::Unsynced;
use dtvn_replication::node::{Input, Part};

use super::{Act, disks};
use crate::oracle::Violation;
use crate::random::Random;
use crate::scenario::Fault;
use crate::world::{Event, World};

/// A long pause: it lasts so long, or until all heals.
const LONG_PAUSE_US: u64 = 30_000_000;

impl World {
    pub(super) fn crash_one(&mut self, host: usize) {
        let is_power = self.randoms.faults.permille(600);
        let away_us = self.randoms.faults.around(400_000);
        self.crash_for(host, is_power, away_us);
    }

    fn crash_for(&mut self, host: usize, is_power: bool, away_us: u64) {
        self.crash(host, is_power);
        self.schedule(away_us, Event::Act(Act::Start(host)));
    }

    /// All at once, as when a room loses its power.
    pub(super) fn crash_all(&mut self) {
        self.coverage.all_killed += 1;
        let is_power = self.randoms.faults.permille(700);
        for host in 0..self.hosts.len() {
            let away_us = self.randoms.faults.around(400_000);
            self.crash_for(host, is_power, away_us);
        }
    }

    /// The leader of the moment, and perhaps those that would follow it.
    pub(super) fn crash_leaders(&mut self) {
        let (epoch, view) = self.highest_view();
        let set = Arc::clone(&self.chain.eras().latest().1.set);
        let faulty_max = (set.len() - 1) / 3;
        let in_a_row = if self.randoms.faults.permille(300) { faulty_max.max(1) } else { 1 };
        let away_us = self.randoms.faults.around(800_000);
        let before = self.coverage.leaders_killed;
        for above in 0..in_a_row as u64 {
            let leader = set.key(set.leader(epoch, View(view.0 + above)));
            if let Some(host) = self.hosts.iter().position(|host| Some(host.key()) == leader) {
                self.coverage.leaders_killed += u64::from(self.hosts[host].is_up());
                self.crash_for(host, false, away_us);
            }
        }
        self.coverage.leaders_in_a_row += u64::from(self.coverage.leaders_killed > before + 1);
    }

    /// The highest view of an honest node that is up, in the latest epoch.
    pub(crate) fn highest_view(&self) -> (Epoch, View) {
        let epoch = self.chain.eras().latest().0;
        let honest = self.hosts.iter().filter(|host| host.is_honest && host.addresses.epoch == epoch);
        let views = honest.filter_map(|host| host.node.as_ref()).map(|node| node.show().view);
        (epoch, views.max().unwrap_or_default())
    }

    /// The process of a host ends; with it the power of its machine, perhaps.
    pub(crate) fn crash(&mut self, host: usize, is_power: bool) {
        let Some(node) = self.hosts[host].node.take() else { return };
        self.coverage.restarts += 1;
        let mut media = node.kill();
        media.disk.restart();
        if is_power {
            let disk = &mut self.randoms.disk;
            let manner = disk.below(3);
            media.disk.crash(|unsynced| keep(manner, unsynced, disk));
            let applied = media.store.applied();
            media.store.crash(disk.below(12) as usize);
            self.hosts[host].heights.lost_power();
            self.coverage.blocks_lost += u64::from(media.store.applied() < applied);
        }
        disks::count(&mut self.coverage, &mut media);
        if let Some(stale) = self.hosts[host].stale_disk.take_if(|_| is_power) {
            media.disk = stale;
        }
        let at = &mut self.hosts[host];
        at.media = Some(media);
        at.incarnation += 1;
        at.linked.clear();
        at.announced.clear();
        // What came for a process that stood still goes with it.
        drop(self.end_pause(host));
        for peer in 0..self.hosts.len() {
            if peer != host && self.hosts[peer].is_up() {
                self.look(peer, host, false);
            }
        }
    }

    pub(super) fn restart_part(&mut self, host: usize) -> Result<(), Violation> {
        let part = self.randoms.faults.pick(&Part::ALL);
        if !self.hosts[host].is_up() || self.hosts[host].is_paused(self.now_us) {
            return Ok(());
        }
        self.coverage.part_restarts += 1;
        self.input(host, Input::Restart(part))
    }

    pub(super) fn pause(&mut self, host: usize) {
        let is_long = self.randoms.faults.permille(100);
        let pause_us = if is_long { LONG_PAUSE_US } else { self.randoms.faults.around(700_000) };
        self.pause_for(host, pause_us);
    }

    /// The process of a host stands still for so long, if it runs; one that stands still already, for the longer time.
    pub(crate) fn pause_for(&mut self, host: usize, pause_us: u64) {
        let until_us = self.now_us + pause_us;
        let at = &mut self.hosts[host];
        if at.is_up() && at.paused_until_us < until_us {
            (at.paused_until_us, at.pause_us) = (until_us, at.pause_us.max(pause_us));
            self.schedule(pause_us, Event::Act(Act::Wake(host)));
        }
    }

    /// A process moves again, and takes in what came meanwhile, in its order.
    pub(super) fn wake(&mut self, host: usize) -> Result<(), Violation> {
        for (sequence, event) in self.end_pause(host) {
            self.happen(sequence, event)?;
        }
        Ok(())
    }

    /// A pause is over: what has waited for its end. If that is nothing, nobody noticed.
    fn end_pause(&mut self, host: usize) -> Vec<(u64, Event)> {
        let at = &mut self.hosts[host];
        let pause_us = std::mem::take(&mut at.pause_us);
        at.paused_until_us = 0;
        let waited = std::mem::take(&mut at.waiting);
        self.coverage.pauses += u64::from(!waited.is_empty());
        self.coverage.long_pauses += u64::from(!waited.is_empty() && pause_us >= LONG_PAUSE_US);
        waited
    }

    pub(super) fn disturb_clock(&mut self, host: usize) {
        if self.randoms.clock.permille(300) {
            self.coverage.clocks_frozen += 1;
            self.hosts[host].clock.frozen_us = Some(self.now_us);
            let after_us = self.randoms.clock.around(1_500_000);
            self.schedule(after_us, Event::Act(Act::Clock(host)));
            return;
        }
        self.coverage.clock_jumps += 1;
        let jump_us = self.scenario.by_level(Fault::Clocks, 0, 50_000, 2_000_000);
        let ahead_us = self.randoms.clock.between(0, 2 * jump_us) as i64 - jump_us as i64;
        self.hosts[host].clock.ahead_us = ahead_us;
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
