//! What a seed stands for: swarm testing. Each seed draws the size of the network, small limits (they find more), who
//! lies, and for each fault off, low or high.

mod kinds;
mod plan;

use std::collections::BTreeSet;
use std::fmt;

use dtvn_messages::genesis::{ConsensusParameters, GenesisFile};
use dtvn_messages::{Genesis, limits};

use crate::lies::Behaviour;
use crate::random::{Concern, Random};

pub use kinds::{Fault, Level};
pub use plan::{Plan, PlanError};

/// What goes wrong around the nodes and may not: the oracle must find it. (Bugs in the nodes themselves are
/// [`dtvn_messages::canary`].)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Disks that say that they have synced, and have not.
    LyingDisk,
    /// Nothing heals.
    NoHealing,
}

/// What is changed of what a seed stands for: what shrinking takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Faults that are switched off.
    pub without: BTreeSet<Fault>,
    /// So many validators, at least 1. Liars beyond what they tolerate are honest.
    pub validators: Option<usize>,
    /// So many clients.
    pub clients: Option<usize>,
    /// So long a time of faults.
    pub faults_ms: Option<u64>,
}

impl Changes {
    /// Without some faults.
    #[must_use]
    pub fn without(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self { without: faults.into_iter().collect(), ..Self::default() }
    }
}

/// As options of `cargo sim`, each with a blank before it.
impl fmt::Display for Changes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.without.is_empty() {
            let names: Vec<&str> = self.without.iter().map(|fault| fault.name()).collect();
            write!(formatter, " --without {}", names.join(","))?;
        }
        if let Some(validators) = self.validators {
            write!(formatter, " --nodes {validators}")?;
        }
        if let Some(clients) = self.clients {
            write!(formatter, " --clients {clients}")?;
        }
        self.faults_ms.map_or(Ok(()), |faults_ms| write!(formatter, " --faults-ms {faults_ms}"))
    }
}

/// All links alike, instead of what the levels of faults make of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// How long a message takes: from half of this to half as much again, in microseconds.
    pub latency_us: u64,
    /// How many of a million messages are lost while faults happen.
    pub lost_ppm: u64,
}

/// What clients ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// Anything, about few tickets: most of it is refused.
    Anything,
    /// Each client has a ticket of its own issued, validated and consumed. The clients begin one after the other, within
    /// this time in microseconds.
    Lifecycles {
        /// The time in which all begin.
        within_us: u64,
    },
}

/// What a seed draws.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// How many validators there are.
    pub validators: usize,
    /// How many hosts there are beside them that may become validators.
    pub joiners: usize,
    /// Their voting powers; empty is 1 for each. Unequal ones are drawn only where nobody lies or is lost for good.
    pub powers: Vec<u32>,
    /// Those that lie, and how.
    pub liars: Vec<(usize, Behaviour)>,
    /// How often one says everything that says everything many times.
    pub repeats: usize,
    /// How many more may be lost for good: damaged, or left down when the rest heals.
    pub spare_faults: usize,
    /// The protocol's parameters.
    pub parameters: ConsensusParameters,
    /// Operations in a bundle, at most.
    pub bundle_operations: usize,
    /// After how many blocks a store is made durable.
    pub store_sync_blocks: u64,
    /// What all links are like; none: what the levels of faults make of them.
    pub link: Option<Link>,
    /// What clients ask for.
    pub workload: Workload,
    /// How many clients there are.
    pub clients: usize,
    /// How many operations each asks for.
    pub operations: u64,
    /// How many tickets they are about.
    pub tickets: u64,
    /// Real Ed25519 signatures and the real codec instead of stand-ins.
    pub real: bool,
    /// How long faults happen, in virtual microseconds.
    pub faults_us: u64,
    /// More events than this are a storm, which is a stall of its own kind; none is no bound.
    pub events_max: Option<u64>,
    /// What goes wrong and may not, to see that it is found.
    pub sabotage: Option<Sabotage>,
    /// A bug that is planted in all nodes, to see that it is found.
    #[cfg(feature = "canary")]
    pub planted: Option<dtvn_messages::canary::Canary>,
    /// How much there is of each fault.
    levels: [Level; Fault::ALL.len()],
}

impl Scenario {
    /// A network without faults, liars or work.
    #[must_use]
    pub fn quiet(seed: u64, validators: usize) -> Self {
        Self {
            seed,
            validators,
            joiners: 0,
            powers: Vec::new(),
            liars: Vec::new(),
            repeats: REPEATS,
            spare_faults: 0,
            parameters: ConsensusParameters::default(),
            bundle_operations: limits::BLOCK_OPERATIONS_MAX,
            store_sync_blocks: 3,
            link: None,
            workload: Workload::Anything,
            clients: 0,
            operations: 0,
            tickets: 0,
            real: false,
            faults_us: 0,
            events_max: None,
            sabotage: None,
            #[cfg(feature = "canary")]
            planted: None,
            levels: [Level::Off; Fault::ALL.len()],
        }
    }

    /// What a seed stands for, changed in some ways.
    #[must_use]
    pub fn draw(seed: u64, changes: &Changes) -> Self {
        let mut random = Random::new(seed, Concern::Scenario);
        let validators = random.pick(&[4, 4, 4, 4, 4, 4, 5, 6, 7, 7, 10, 3, 2, 1]);
        let faulty_max = (validators - 1) / 3;
        // Three of four networks have as many liars as they tolerate.
        let lying = if random.permille(750) { faulty_max } else { random.below(faulty_max as u64 + 1) as usize };
        let mut liars = Vec::new();
        while liars.len() < lying {
            let behaviour = if random.permille(250) { Behaviour::Mixed } else { random.pick(&Behaviour::ALL) };
            let liar = (random.below(validators as u64) as usize, behaviour);
            if liars.iter().all(|(known, _)| *known != liar.0) {
                liars.push(liar);
            }
        }
        let mut levels = [Level::Off; Fault::ALL.len()];
        for fault in Fault::ALL.into_iter().filter(|fault| *fault != Fault::Members) {
            levels[fault as usize] = random.pick(&[Level::Off, Level::Low, Level::Low, Level::High]);
        }
        let parameters = draw_parameters(&mut random);
        let mut scenario = Self {
            liars,
            spare_faults: faulty_max - lying,
            parameters,
            bundle_operations: random.pick(&[1, 2, 8, 100]),
            store_sync_blocks: random.pick(&[1, 3, 10]),
            clients: random.between(1, 8) as usize,
            operations: random.between(5, 60),
            tickets: random.between(2, 40),
            real: random.permille(60),
            faults_us: random.between(5, 30) * 1_000_000,
            levels,
            events_max: Some(EVENTS_MAX),
            ..Self::quiet(seed, validators)
        };
        if random.permille(120) {
            scenario.powers = (0..validators).map(|_| random.between(1, 3) as u32).collect();
            scenario.liars.clear();
            scenario.spare_faults = 0;
        }
        scenario.draw_members(&mut random);
        scenario.change(changes);
        scenario
    }

    /// What was added to the scenarios last is drawn last.
    fn draw_members(&mut self, random: &mut Random) {
        self.set_level(Fault::Members, random.pick(&[Level::Off, Level::Off, Level::Low, Level::High]));
        self.joiners = random.between(1, 3) as usize;
        let parameters = &mut self.parameters;
        parameters.retain_blocks = random.pick(&[1_000_000, 1_000_000, 1_000_000, parameters.log_window]);
        // Where there are lies about states, nodes are soon late enough to need one.
        if self.liars.iter().any(|(_, behaviour)| behaviour.is_of_snapshots() || *behaviour == Behaviour::Mixed) {
            parameters.checkpoint_interval = random.pick(&[1, 2]);
            parameters.log_window = 2 * parameters.checkpoint_interval + parameters.pipeline;
            parameters.retain_blocks = parameters.log_window;
            self.set_level(Fault::Crashes, Level::High);
        }
        // One that lies may join where there is room for its lies.
        let (joiner, behaviour) = (random.below(self.joiners as u64) as usize, random.pick(&Behaviour::ALL));
        if random.permille(250) && behaviour != Behaviour::Twin {
            self.liars.push((self.validators + joiner, behaviour));
        }
    }

    fn change(&mut self, changes: &Changes) {
        for (fault, level) in Fault::ALL.iter().zip(&mut self.levels) {
            if changes.without.contains(fault) {
                *level = Level::Off;
            }
        }
        if let Some(validators) = changes.validators {
            self.validators = validators;
            let faulty_max = (validators - 1) / 3;
            self.liars.retain(|(liar, _)| *liar < validators);
            self.liars.truncate(faulty_max);
            self.spare_faults = self.spare_faults.min(faulty_max - self.liars.len());
        }
        self.clients = changes.clients.unwrap_or(self.clients);
        self.faults_us = changes.faults_ms.map_or(self.faults_us, |faults_ms| faults_ms * 1_000);
        if self.level(Fault::Members) == Level::Off {
            self.joiners = 0;
        }
        let hosts = self.validators + self.joiners;
        self.liars.retain(|(liar, _)| *liar < hosts);
        if self.level(Fault::Lies) == Level::Off {
            self.liars.clear();
        }
    }

    /// How much there is of a fault.
    #[must_use]
    pub fn level(&self, fault: Fault) -> Level {
        self.levels[fault as usize]
    }

    /// Sets how much there is of a fault.
    pub fn set_level(&mut self, fault: Fault, level: Level) {
        self.levels[fault as usize] = level;
    }

    /// One of three values, by the level of a fault.
    pub fn by_level<T>(&self, fault: Fault, off: T, low: T, high: T) -> T {
        match self.level(fault) {
            Level::Off => off,
            Level::Low => low,
            Level::High => high,
        }
    }

    /// The genesis of the network.
    ///
    /// # Panics
    /// Never: what a seed draws keeps within the bounds of a genesis; a test draws many.
    #[must_use]
    #[expect(clippy::expect_used, reason = "what a seed draws keeps within the bounds; a test draws many")]
    pub fn genesis(&self) -> Genesis {
        let development = Genesis::development(self.validators, KEY_SEED, self.seed.is_multiple_of(2));
        let file = development.expect("the number of validators is within the bounds").file().clone();
        let mut file = GenesisFile { consensus: self.parameters.clone(), ..file };
        for (validator, power) in file.validators.iter_mut().zip(&self.powers) {
            validator.power = *power;
        }
        Genesis::new(file).expect("the parameters are within the bounds")
    }

    /// How long after the faults have healed everything must be decided, in virtual microseconds.
    #[must_use]
    pub fn patience_us(&self) -> u64 {
        let latency_us = self.link.map_or(0, |link| link.latency_us);
        (30_000 + 30 * self.parameters.view_timeout_cap_ms) * 1_000 + 100 * latency_us
    }
}

/// How often everything is said that is said many times, amid all other faults; a story says it a thousand times.
const REPEATS: usize = 12;

/// More events than any network that a seed draws has use for: most have some ten thousands.
const EVENTS_MAX: u64 = 1_500_000;

/// The seed text of the validators' keys.
pub const KEY_SEED: &str = "simulation";

fn draw_parameters(random: &mut Random) -> ConsensusParameters {
    let view_timeout_ms = random.pick(&[100, 250, 500]);
    let pipeline = random.pick(&[1, 2, 4, 4]);
    let checkpoint_interval = random.pick(&[1, 2, 4, 8, 16]);
    ConsensusParameters {
        view_timeout_ms,
        view_timeout_cap_ms: view_timeout_ms * random.pick(&[4, 8]),
        pipeline,
        checkpoint_interval,
        log_window: 2 * checkpoint_interval + pipeline + random.pick(&[0, 0, 8]),
        rotation_interval: random.pick(&[0, 3, 10, 1_000]),
        rotation_time_ms: random.pick(&[500, 3_000, 60_000]),
        max_clock_drift_ms: random.pick(&[100, 500]),
        retain_blocks: 1_000_000,
        key_retention_ms: 24 * 3_600 * 1_000,
        recovery_interval_ms: 2_000,
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = &self.parameters;
        write!(
            formatter,
            "{} validators, pipeline {}, checkpoint interval {}, window {}, rotation {}, view timeout {} ms, {} clients, \
             {} ms of faults",
            self.validators,
            p.pipeline,
            p.checkpoint_interval,
            p.log_window,
            p.rotation_interval,
            p.view_timeout_ms,
            self.clients,
            self.faults_us / 1_000
        )?;
        for fault in Fault::ALL.into_iter().filter(|fault| *fault != Fault::Lies) {
            if self.level(fault) != Level::Off {
                let much = if self.level(fault) == Level::High { "much " } else { "" };
                write!(formatter, ", {much}{}", fault.name())?;
            }
        }
        for (liar, behaviour) in &self.liars {
            write!(formatter, ", node{liar} lies ({})", behaviour.name())?;
        }
        if !self.powers.is_empty() {
            write!(formatter, ", powers {:?}", self.powers)?;
        }
        if self.joiners > 0 {
            write!(formatter, ", {} joiners", self.joiners)?;
        }
        if self.real { formatter.write_str(", real signatures and codec") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_draws_a_network_that_may_exist() {
        for seed in 0..500 {
            let scenario = Scenario::draw(seed, &Changes::default());
            let genesis = scenario.genesis();
            let power = genesis.validators().weak_quorum();
            let liars = scenario.liars.iter().filter(|(liar, _)| *liar < scenario.validators).count();
            let lost = (liars + scenario.spare_faults) as u64;
            assert!(lost < power && (lost == 0 || scenario.powers.is_empty()), "seed {seed}");
        }
    }

    #[test]
    fn switching_a_fault_off_changes_nothing_else() {
        for seed in 0..50 {
            let all = Scenario::draw(seed, &Changes::default());
            let some = Scenario::draw(seed, &Changes::without([Fault::Loss]));
            assert_eq!(some.level(Fault::Loss), Level::Off);
            assert_eq!(
                (all.validators, &all.parameters, all.clients),
                (some.validators, &some.parameters, some.clients)
            );
            for fault in Fault::ALL.into_iter().filter(|fault| *fault != Fault::Loss) {
                assert_eq!(all.level(fault), some.level(fault));
            }
        }
    }
}
