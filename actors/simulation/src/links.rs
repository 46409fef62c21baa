//! The network between hosts: links that are cut and heal, lose, repeat and delay.

use std::collections::BTreeSet;

use crate::random::Random;
use crate::scenario::{Fault, Scenario};

/// The weather on all links.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    lost_permille: u64,
    repeated_permille: u64,
    delay_us: u64,
}

impl Weather {
    /// While faults happen.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        Self {
            lost_permille: scenario.by_level(Fault::Loss, 0, 5, 100),
            repeated_permille: scenario.by_level(Fault::Repetition, 0, 10, 150),
            delay_us: scenario.by_level(Fault::Delay, 300, 3_000, 30_000),
        }
    }

    /// Once they have healed.
    pub(crate) const fn fine() -> Self {
        Self { lost_permille: 0, repeated_permille: 0, delay_us: 300 }
    }

    /// After how long copies of a message arrive; none is lost.
    pub(crate) fn delays(&self, random: &mut Random) -> Vec<u64> {
        if random.permille(self.lost_permille) {
            return Vec::new();
        }
        let copies = if random.permille(self.repeated_permille) { 2 } else { 1 };
        (0..copies).map(|_| random.around(self.delay_us)).collect()
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
