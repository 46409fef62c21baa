//! The network between hosts: links that are cut and heal, lose, repeat and delay.

use std::collections::BTreeSet;

use crate::random::Random;
use crate::scenario::{Fault, Scenario};

/// How long a message takes mostly while nothing is wrong.
const FINE_US: u64 = 300;
/// A message that takes so long is late: while nothing is wrong none takes more than 24 times as long as most do.
const LATE_US: u64 = 24 * FINE_US;

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
            delay: Delay::Changeable(scenario.by_level(Fault::Delay, FINE_US, 3_000, 30_000)),
        }
    }

    /// Once they have healed.
    pub(crate) fn fine(scenario: &Scenario) -> Self {
        let delay = scenario.link.map_or(Delay::Changeable(FINE_US), |link| Delay::Steady(link.latency_us));
        Self { lost_ppm: 0, repeated_ppm: 0, delay }
    }

    /// Whether a message that takes so long takes longer than any does while nothing is wrong.
    pub(crate) const fn is_late(&self, delay_us: u64) -> bool {
        matches!(self.delay, Delay::Changeable(_)) && delay_us >= LATE_US
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

/// How a network is parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One host alone.
    Isolated,
    /// Two groups of any sizes.
    Groups,
    /// Two halves, or nearly: 2-2 of four, 4-3 of seven.
    Halves,
    /// Three groups of any sizes.
    Thirds,
    /// Each host hears only its neighbours.
    Ring,
    /// Some hear others, who do not hear them.
    Asymmetric,
}

impl Shape {
    /// All shapes.
    pub(crate) const ALL: [Self; 6] =
        [Self::Isolated, Self::Groups, Self::Halves, Self::Thirds, Self::Ring, Self::Asymmetric];

    /// The id of its item in faults.md.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Isolated => "net-isolated",
            Self::Groups => "net-groups",
            Self::Halves => "net-half",
            Self::Thirds => "net-thirds",
            Self::Ring => "net-ring",
            Self::Asymmetric => "net-asymmetric",
        }
    }

    /// The links that this cuts.
    fn cut(self, hosts: usize, random: &mut Random) -> BTreeSet<(usize, usize)> {
        let all = (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to)));
        if self == Self::Ring {
            let apart = |from: usize, to: usize| (from + 1) % hosts != to && (to + 1) % hosts != from;
            return all.filter(|(from, to)| from != to && apart(*from, *to)).collect();
        }
        let alone = random.below(hosts as u64) as usize;
        let groups: Vec<u64> = match self {
            Self::Isolated => (0..hosts).map(|host| u64::from(host == alone)).collect(),
            Self::Halves => (0..hosts).map(|host| u64::from((host + alone) % hosts < hosts / 2)).collect(),
            Self::Thirds => (0..hosts).map(|_| random.below(3)).collect(),
            Self::Groups | Self::Asymmetric | Self::Ring => (0..hosts).map(|_| random.below(2)).collect(),
        };
        let is_one_way = self == Self::Asymmetric;
        let apart = |from: usize, to: usize| match is_one_way {
            true => groups[from] < groups[to],
            false => groups[from] != groups[to],
        };
        all.filter(|(from, to)| apart(*from, *to)).collect()
    }
}

/// Which links are cut, in which direction.
#[derive(Debug, Default)]
pub(crate) struct Links {
    cut: BTreeSet<(usize, usize)>,
    /// What a partition that flaps cuts when it comes again.
    flapping: BTreeSet<(usize, usize)>,
    /// Since when they are cut as they are.
    since_us: u64,
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

    /// Parts a network of so many hosts.
    pub(crate) fn cut(&mut self, shape: Shape, hosts: usize, now_us: u64, random: &mut Random) {
        self.cut_these(shape.cut(hosts, random), now_us);
    }

    /// Cuts these links, from one host to another, and no others.
    pub(crate) fn cut_these(&mut self, cut: BTreeSet<(usize, usize)>, now_us: u64) {
        (self.cut, self.flapping, self.since_us) = (cut, BTreeSet::new(), now_us);
    }

    /// What is cut is not, and the other way round.
    pub(crate) fn flap(&mut self, now_us: u64) {
        std::mem::swap(&mut self.cut, &mut self.flapping);
        self.since_us = now_us;
    }

    /// Cuts every link.
    pub(crate) fn cut_all(&mut self, hosts: usize, now_us: u64) {
        self.cut_these((0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to))).collect(), now_us);
    }

    /// Heals all.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.flapping.clear();
    }

    /// Since when links are cut as they are; none if none is.
    pub(crate) fn cut_since_us(&self) -> Option<u64> {
        (!self.cut.is_empty()).then_some(self.since_us)
    }

    /// The hosts from which anything may come to one of so many, by others too.
    pub(crate) fn heard_by(&self, host: usize, hosts: usize) -> BTreeSet<usize> {
        let mut heard = BTreeSet::from([host]);
        let mut next = vec![host];
        while let Some(to) = next.pop() {
            for from in (0..hosts).filter(|from| self.carries(*from, to)) {
                if heard.insert(from) {
                    next.push(from);
                }
            }
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Concern;
    use crate::scenario::Level;

    #[test]
    fn shapes_cut_what_they_say() {
        let mut random = Random::new(1, Concern::Faults);
        for hosts in [2, 4, 7] {
            for _ in 0..20 {
                let mut links = Links::default();
                links.cut(Shape::Halves, hosts, 5, &mut random);
                let halves: BTreeSet<usize> = (0..hosts).map(|host| links.heard_by(host, hosts).len()).collect();
                assert_eq!(halves, BTreeSet::from([hosts / 2, hosts - hosts / 2]));
                assert_eq!(links.cut_since_us(), Some(5));
                links.cut(Shape::Isolated, hosts, 6, &mut random);
                assert!((0..hosts).any(|host| links.heard_by(host, hosts).len() == 1));
                links.cut(Shape::Ring, hosts, 7, &mut random);
                let neighbours = |host: usize| (0..hosts).filter(|to| *to != host && links.joins(host, *to)).count();
                assert!((0..hosts).all(|host| neighbours(host) == 2.min(hosts - 1)));
                assert_eq!(links.heard_by(0, hosts).len(), hosts, "a ring still carries everything");
            }
        }
    }

    #[test]
    fn messages_are_late_only_where_something_delays_them() {
        let mut random = Random::new(1, Concern::Network);
        let mut scenario = Scenario::quiet(1, 4);
        let mut late = |weather: Weather| {
            let delays = (0..1_000).flat_map(|_| weather.delays(&mut random)).collect::<Vec<_>>();
            delays.into_iter().filter(|delay_us| weather.is_late(*delay_us)).count()
        };
        assert_eq!((late(Weather::of(&scenario)), late(Weather::fine(&scenario))), (0, 0));
        scenario.set_level(Fault::Delay, Level::Low);
        assert!((50..500).contains(&late(Weather::of(&scenario))));
        scenario.set_level(Fault::Delay, Level::High);
        assert_eq!((late(Weather::of(&scenario)), late(Weather::fine(&scenario))), (1_000, 0));
    }

    #[test]
    fn what_flaps_comes_and_goes() {
        let mut links = Links::default();
        links.cut_all(4, 1);
        links.flap(2);
        assert!(links.joins(0, 1));
        links.flap(3);
        assert!(!links.joins(0, 1));
        links.heal();
        links.flap(4);
        assert!(links.joins(0, 1), "what has healed does not come again");
    }
}
