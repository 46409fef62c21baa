//! A scenario that somebody asks for: `dtvn simulator -nodes 7 -byzantine 2 ...`.

use std::time::Duration;

use dtvn_messages::genesis::ConsensusParameters;
use dtvn_messages::limits::{
    SIMULATOR_DURATION_US_MAX, SIMULATOR_LATENCY_US_MAX, SIMULATOR_NODES_MAX, SIMULATOR_TICKETS_MAX,
};

use super::{Fault, Level, Link, Scenario, Workload};
use crate::lies::{Behaviour, Occasion};
use crate::random::{Concern, Random};

/// Operations in the life of a ticket: issued, validated, consumed.
const STEPS_OF_A_TICKET: u64 = 3;
/// All tickets begin within this part of the duration, so that the last have some of it left.
const BEGIN_WITHIN_PERCENT: u64 = 90;
/// A view lasts for at least so many latencies: a decision takes five, a view change some more.
const VIEW_LATENCIES: u64 = 12;
/// A proposal may be late by so many latencies.
const DRIFT_LATENCIES: u64 = 3;
const MILLION: u64 = 1_000_000;

/// What is to be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// What everything by chance is drawn from: who lies and how, delays, losses, partitions.
    pub seed: u64,
    /// Validators, 1 to 31.
    pub nodes: usize,
    /// How many of them lie, at most a third less one.
    pub byzantine: usize,
    /// Tickets, each issued, validated and consumed; 1 to 100,000.
    pub tickets: usize,
    /// The virtual time of faults, in microseconds, up to a day. After it all heals, and what is open must be decided.
    pub duration_us: u64,
    /// How long a message takes: from half of this to half as much again, in microseconds, up to 10 s.
    pub latency_us: u64,
    /// How many of a million messages are lost.
    pub lost_ppm: u64,
    /// Whether the network is parted and healed, again and again.
    pub partition: bool,
}

/// Why something cannot be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More liars than any protocol survives.
    #[error(
        "{nodes} nodes tolerate at most {most} Byzantine nodes, (n-1)/3, and not {asked}: a network of {needed} would"
    )]
    TooManyByzantine {
        /// The nodes.
        nodes: usize,
        /// The liars that were asked for.
        asked: usize,
        /// The liars that so many nodes tolerate.
        most: usize,
        /// How many nodes would tolerate them.
        needed: usize,
    },
    /// A number out of its bounds.
    #[error("{name} must be from {least} to {most}, and not {asked}")]
    OutOfBounds {
        /// Which.
        name: &'static str,
        /// What was asked for.
        asked: u64,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A time out of its bounds.
    #[error("{name} must be from {least:?} to {most:?}, and not {asked:?}")]
    TimeOutOfBounds {
        /// Which.
        name: &'static str,
        /// What was asked for.
        asked: Duration,
        /// The least.
        least: Duration,
        /// The most.
        most: Duration,
    },
}

impl Plan {
    /// Whether it can be simulated.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn check(&self) -> Result<(), PlanError> {
        let bounds = [
            ("the number of nodes", self.nodes as u64, 1, SIMULATOR_NODES_MAX as u64),
            ("the number of tickets", self.tickets as u64, 1, SIMULATOR_TICKETS_MAX as u64),
            ("the number of messages lost of a million", self.lost_ppm, 0, MILLION),
        ];
        for (name, asked, least, most) in bounds {
            if !(least..=most).contains(&asked) {
                return Err(PlanError::OutOfBounds { name, asked, least, most });
            }
        }
        let times = [
            ("the duration", self.duration_us, 1, SIMULATOR_DURATION_US_MAX),
            ("the latency", self.latency_us, 0, SIMULATOR_LATENCY_US_MAX),
        ];
        for (name, asked_us, least_us, most_us) in times {
            if !(least_us..=most_us).contains(&asked_us) {
                let [asked, least, most] = [asked_us, least_us, most_us].map(Duration::from_micros);
                return Err(PlanError::TimeOutOfBounds { name, asked, least, most });
            }
        }
        let (nodes, asked, most) = (self.nodes, self.byzantine, (self.nodes - 1) / 3);
        if asked > most {
            return Err(PlanError::TooManyByzantine { nodes, asked, most, needed: asked.saturating_mul(3) + 1 });
        }
        Ok(())
    }

    /// The scenario: the parameters of a real network, faults and liars as asked for and nothing else.
    ///
    /// # Errors
    /// As [`Plan::check`].
    pub fn scenario(&self) -> Result<Scenario, PlanError> {
        self.check()?;
        let mut random = Random::new(self.seed, Concern::Scenario);
        // Of the lies those that they will have occasion for; who lies as a leader leads first.
        let has_occasion = |it: &Behaviour| it.occasion() != Occasion::Trouble || self.partition;
        let behaviours: Vec<Behaviour> = Behaviour::ALL.into_iter().filter(has_occasion).collect();
        let mut liars: Vec<(usize, Behaviour)> = Vec::new();
        while liars.len() < self.byzantine {
            let behaviour = random.pick(&behaviours);
            let is_liar = |host: usize| liars.iter().any(|(known, _)| *known == host);
            let host = match behaviour.occasion() {
                Occasion::Leading => (0..self.nodes).find(|host| !is_liar(*host)).unwrap_or(0),
                Occasion::Always | Occasion::Trouble => random.below(self.nodes as u64) as usize,
            };
            if !is_liar(host) {
                liars.push((host, behaviour));
            }
        }
        let mut scenario = Scenario::quiet(self.seed, self.nodes);
        scenario.liars = liars;
        scenario.parameters = parameters(self.latency_us);
        scenario.link = Some(Link { latency_us: self.latency_us, lost_ppm: self.lost_ppm });
        scenario.workload = Workload::Lifecycles { within_us: self.duration_us / 100 * BEGIN_WITHIN_PERCENT };
        scenario.clients = self.tickets;
        scenario.operations = STEPS_OF_A_TICKET;
        scenario.faults_us = self.duration_us;
        if self.partition {
            scenario.set_level(Fault::Partitions, Level::Low);
        }
        Ok(scenario)
    }
}

/// Those of a real network; where messages take long, views last longer, and proposals may come later.
fn parameters(latency_us: u64) -> ConsensusParameters {
    let defaults = ConsensusParameters::default();
    let view_timeout_ms = defaults.view_timeout_ms.max(VIEW_LATENCIES * latency_us / 1_000);
    let view_timeout_cap_ms = defaults.view_timeout_cap_ms.max(view_timeout_ms);
    let max_clock_drift_ms = defaults.max_clock_drift_ms.max(DRIFT_LATENCIES * latency_us / 1_000);
    ConsensusParameters { view_timeout_ms, view_timeout_cap_ms, max_clock_drift_ms, ..defaults }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        seed: 1,
        nodes: 7,
        byzantine: 2,
        tickets: 100,
        duration_us: 60_000_000,
        latency_us: 50_000,
        lost_ppm: 10_000,
        partition: false,
    };

    #[test]
    fn more_liars_than_a_third_are_refused_in_a_clear_sentence() {
        assert_eq!(PLAN.check(), Ok(()));
        let error = Plan { byzantine: 3, ..PLAN }.scenario().unwrap_err();
        let text = "7 nodes tolerate at most 2 Byzantine nodes, (n-1)/3, and not 3: a network of 10 would";
        assert_eq!(error.to_string(), text);
        for (nodes, most) in [(1, 0), (3, 0), (4, 1), (6, 1), (10, 3), (31, 10)] {
            assert!(Plan { nodes, byzantine: most, ..PLAN }.check().is_ok(), "{nodes}");
            assert!(Plan { nodes, byzantine: most + 1, ..PLAN }.check().is_err(), "{nodes}");
        }
    }

    #[test]
    fn numbers_out_of_their_bounds_are_refused() {
        let wrong = [
            Plan { nodes: 0, ..PLAN },
            Plan { nodes: 32, ..PLAN },
            Plan { tickets: 0, ..PLAN },
            Plan { tickets: 100_001, ..PLAN },
            Plan { duration_us: 0, ..PLAN },
            Plan { latency_us: 10_000_001, ..PLAN },
            Plan { lost_ppm: 1_000_001, ..PLAN },
        ];
        for plan in wrong {
            let refused = plan.check();
            let is_refused = matches!(refused, Err(PlanError::OutOfBounds { .. } | PlanError::TimeOutOfBounds { .. }));
            assert!(is_refused, "{plan:?}");
        }
    }

    #[test]
    fn a_plan_makes_the_scenario_that_it_names_and_no_other_fault() {
        let scenario = Plan { partition: true, ..PLAN }.scenario().unwrap();
        assert_eq!((scenario.validators, scenario.liars.len(), scenario.clients), (7, 2, 100));
        for fault in Fault::ALL {
            let expected = if fault == Fault::Partitions { Level::Low } else { Level::Off };
            assert_eq!(scenario.level(fault), expected, "{}", fault.name());
        }
        assert_eq!(scenario.genesis().validators().len(), 7);
        let slow = Plan { latency_us: 10_000_000, ..PLAN }.scenario().unwrap();
        assert!(slow.parameters.view_timeout_ms >= 120_000);
        assert_eq!(slow.genesis().validators().len(), 7);
    }
}
