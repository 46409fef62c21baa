//! The network between hosts: links that are cut and heal, lose, repeat and delay.

use std::collections::BTreeSet;

use crate::random::Random;
use crate::scenario::{Fault, Scenario};

/// How long messages take.
#[derive(Debug, Clone, Copy)]
enum Delay {
    /// Mostly about this long, and sometimes many times as long.
    Changeable(u64),
    /// Between half of this and half as much again.
    Steady(u64),
}

/// The weather on all links.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    lost_ppm: u64,
    repeated_ppm: u64,
    delay: Delay,
}

impl Weather {
    /// While faults happen.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        if let Some(link) = scenario.link {
            return Self { lost_ppm: link.lost_ppm, repeated_ppm: 0, delay: Delay::Steady(link.latency_us) };
        }
        Self {
            lost_ppm: scenario.by_level(Fault::Loss, 0, 5_000, 100_000),
            repeated_ppm: scenario.by_level(Fault::Repetition, 0, 10_000, 150_000),
            delay: Delay::Changeable(scenario.by_level(Fault::Delay, 300, 3_000, 30_000)),
        }
    }

    /// Once they have healed.
    pub(crate) fn fine(scenario: &Scenario) -> Self {
        let delay = scenario.link.map_or(Delay::Changeable(300), |link| Delay::Steady(link.latency_us));
        Self { lost_ppm: 0, repeated_ppm: 0, delay }
    }

    /// After how long copies of a message arrive; none is lost.
    pub(crate) fn delays(&self, random: &mut Random) -> Vec<u64> {
        if random.ppm(self.lost_ppm) {
            return Vec::new();
        }
        let copies = if random.ppm(self.repeated_ppm) { 2 } else { 1 };
        let mut delay_us = || match self.delay {
            Delay::Changeable(typical_us) => random.around(typical_us),
            Delay::Steady(typical_us) => random.between(typical_us / 2, typical_us + typical_us / 2),
        };
        (0..copies).map(|_| delay_us()).collect()
    }
}

/// Which links are cut, in which direction.
#[derive(Debug, Default)]
pub(crate) struct Links {
    cut: BTreeSet<(usize, usize)>,
}

impl Links {
    /// Whether what one host sends reaches another.
    pub(crate) fn carries(&self, from: usize, to: usize) -> bool {
        self.cut.is_empty() || !self.cut.contains(&(from, to))
    }

    /// Whether both hear each other.
    pub(crate) fn joins(&self, left: usize, right: usize) -> bool {
        self.carries(left, right) && self.carries(right, left)
    }

    /// Cuts a network of so many hosts in some way: in groups, one host alone, or single directions.
    pub(crate) fn cut(&mut self, hosts: usize, random: &mut Random) {
        self.cut.clear();
        let groups: Vec<u64> = match random.below(3) {
            0 => {
                let alone = random.below(hosts as u64) as usize;
                (0..hosts).map(|host| u64::from(host == alone)).collect()
            }
            1 => (0..hosts).map(|_| random.below(2)).collect(),
            _ => (0..hosts).map(|_| random.below(3)).collect(),
        };
        let is_one_way = random.permille(200);
        for from in 0..hosts {
            for to in 0..hosts {
                let apart = if is_one_way { groups[from] < groups[to] } else { groups[from] != groups[to] };
                if apart {
                    self.cut.insert((from, to));
                }
            }
        }
    }

    /// Cuts every link.
    pub(crate) fn cut_all(&mut self, hosts: usize) {
        self.cut = (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to))).collect();
    }

    /// Heals all.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }
}
