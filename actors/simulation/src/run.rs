//! A run: a seed, two phases, and what came of it; a batch of runs; and shrinking one that failed.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use dtvn_messages::Height;

use crate::coverage::Coverage;
use crate::oracle::{Invariant, Violation};
use crate::scenario::{Fault, Scenario};
use crate::world::{Trace, World};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every invariant held, and all was decided.
    Good,
    /// An invariant of safety was violated.
    Unsafe(Violation),
    /// Not all was decided in time.
    Stalled(Violation),
    /// Code panicked, or an honest node failed.
    Crashed(Violation),
}

impl End {
    fn of(violation: Violation) -> Self {
        match violation.invariant {
            Invariant::Liveness => Self::Stalled(violation),
            Invariant::NoCrash => Self::Crashed(violation),
            _ => Self::Unsafe(violation),
        }
    }

    /// What the process exits with.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Crashed(_) => 3,
            Self::Stalled(_) => 4,
            Self::Unsafe(_) => 5,
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was switched off.
    pub without: BTreeSet<Fault>,
    /// What the seed stood for.
    pub scenario: String,
    /// How it ended.
    pub end: End,
    /// What it met.
    pub coverage: Coverage,
    /// How many events happened.
    pub events: u64,
    /// A hash of all of them: equal for equal seeds, on every machine.
    pub hash: u64,
    /// How long after the faults had healed all was decided, in virtual microseconds.
    pub recovery_us: u64,
}

impl Report {
    /// The command that runs this again.
    #[must_use]
    pub fn command(&self) -> String {
        let mut command = format!("cargo sim --seed {}", self.seed);
        if !self.without.is_empty() {
            let names: Vec<&str> = self.without.iter().map(|fault| fault.name()).collect();
            command = format!("{command} --without {}", names.join(","));
        }
        command
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match &self.end {
            End::Good => "good".to_owned(),
            End::Unsafe(violation) => format!("UNSAFE, {violation}"),
            End::Stalled(violation) => format!("STALLED, {violation}"),
            End::Crashed(violation) => format!("CRASHED, {violation}"),
        };
        write!(
            formatter,
            "seed {}: {verdict} (hash {:016x}, {} events, {} blocks, recovery {} ms)",
            self.seed,
            self.hash,
            self.events,
            self.coverage.commits,
            self.recovery_us / 1_000
        )
    }
}

/// Runs a seed, without some faults.
#[must_use]
pub fn simulate(seed: u64, without: &BTreeSet<Fault>) -> Report {
    simulate_world(World::new(Scenario::draw(seed, without)), without)
}

/// Runs a scenario that somebody changed.
#[must_use]
pub fn simulate_scenario(scenario: Scenario) -> Report {
    simulate_world(World::new(scenario), &BTreeSet::new())
}

/// As [`simulate`]; shows what one host is told (`<-`) and what it says (`->`), with the virtual time.
#[must_use]
pub fn simulate_traced(seed: u64, without: &BTreeSet<Fault>, host: usize, show: Box<dyn FnMut(String)>) -> Report {
    let mut world = World::new(Scenario::draw(seed, without));
    world.trace = Some(Trace { host, show });
    simulate_world(world, without)
}

fn simulate_world(mut world: World, without: &BTreeSet<Fault>) -> Report {
    let seed = world.scenario.seed;
    let scenario = world.scenario.to_string();
    let patience_us = world.scenario.patience_us();
    let mut healed_us = 0;
    let ran = catch_unwind(AssertUnwindSafe(|| run(&mut world, patience_us, &mut healed_us)));
    let end = match ran {
        Ok(Ok(())) => End::Good,
        Ok(Err(violation)) => End::of(violation),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            End::of(Violation::new(Invariant::NoCrash, text.unwrap_or_else(|| "a panic".to_owned())))
        }
    };
    Report {
        seed,
        without: without.clone(),
        scenario,
        end,
        coverage: world.coverage,
        events: world.events,
        hash: world.hash,
        recovery_us: world.now_us.saturating_sub(healed_us),
    }
}

/// Two phases: faults; then everything heals, and all that clients asked for must be decided.
fn run(world: &mut World, patience_us: u64, healed_us: &mut u64) -> Result<(), Violation> {
    world.begin()?;
    let until_us = world.now_us + world.scenario.faults_us;
    while world.step(until_us)? {}
    *healed_us = world.now_us;
    world.clients.finish();
    world.heal()?;
    let until_us = world.now_us + patience_us;
    while !world.is_settled() {
        if !world.step(until_us)? {
            return Err(Violation::new(Invariant::Liveness, world.describe()));
        }
    }
    Ok(())
}

impl World {
    /// Whether all is decided, and all honest nodes that are up have all of it.
    fn is_settled(&self) -> bool {
        self.clients.are_content()
            && self.are_all_voting()
            && self.heights().all(|height| height == self.chain.height())
    }

    /// Whether every honest node that lost its memory has one again.
    fn are_all_voting(&self) -> bool {
        let mut honest = self.hosts.iter().filter(|host| host.is_honest).filter_map(|host| host.node.as_ref());
        honest.all(|node| node.amnesia().is_none())
    }

    fn heights(&self) -> impl Iterator<Item = Height> {
        let honest = self.hosts.iter().filter(|host| host.is_honest);
        honest.filter_map(|host| host.node.as_ref()).map(|node| node.show().committed)
    }

    fn describe(&self) -> String {
        let mut text = format!("undecided after healing: {:?}", self.clients.undecided());
        for (number, host) in self.hosts.iter().enumerate() {
            let what = match &host.node {
                Some(node) => format!("{:?} pool {:?}", node.show(), node.pool().usage()),
                None => "down".to_owned(),
            };
            let kind = if host.is_honest { "" } else { " (liar)" };
            text = format!("{text}\n  host {number}{kind}: {what}");
        }
        text
    }
}

/// Looks for a simpler run of a seed that fails in the same way: faults are switched off one by one for as long as it
/// still fails.
#[must_use]
pub fn shrink(failed: &Report) -> Report {
    let mut simplest = failed.clone();
    loop {
        let found = Fault::ALL.into_iter().filter(|fault| !simplest.without.contains(fault)).find_map(|fault| {
            let mut without = simplest.without.clone();
            without.insert(fault);
            let report = simulate(failed.seed, &without);
            (report.end.exit_code() == failed.end.exit_code()).then_some(report)
        });
        match found {
            Some(simpler) => simplest = simpler,
            None => return simplest,
        }
    }
}
