//! A run: two phases, and what came of it.

mod report;
mod shrink;

use std::panic::{AssertUnwindSafe, catch_unwind};

use dtvn_messages::{Epoch, Height, ValidatorSet};
use dtvn_replication::log::MemoryDisk;
use dtvn_replication::node::Node;

use crate::host::Host;
use crate::oracle::{Invariant, Violation};
use crate::scenario::{Changes, Scenario};
use crate::world::{Trace, World};

pub use report::{End, Latency, Report};
pub use shrink::shrink;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not begun.
    New,
    /// Faults, until this virtual time.
    Faults { until_us: u64 },
    /// Everything has healed; what is outstanding must be decided until this virtual time.
    Healed { until_us: u64 },
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The virtual time since the start, in microseconds.
    pub virtual_us: u64,
    /// Operations that clients asked for.
    pub asked: u64,
    /// Operations that they will have asked for in the end, as far as that is known.
    pub planned: u64,
    /// Whether the faults are over.
    pub is_healed: bool,
}

/// A run that goes on for as long as somebody wants it to.
pub struct Simulation {
    world: World,
    changes: Changes,
    scenario: String,
    phase: Phase,
    began_us: u64,
    healed_us: u64,
    end: Option<End>,
}

impl Simulation {
    /// A run of a scenario, about to begin.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        let world = World::new(scenario);
        let scenario = world.scenario.to_string();
        let (began_us, changes) = (world.now_us, Changes::default());
        Self { world, changes, scenario, phase: Phase::New, began_us, healed_us: began_us, end: None }
    }

    /// Shows what one host is told (`<-`) and what it says (`->`), with the virtual time.
    pub fn trace(&mut self, host: usize, show: Box<dyn FnMut(String)>) {
        self.world.trace = Some(Trace { host, show });
    }

    /// Lets so many events happen. Says whether the run is over.
    pub fn advance(&mut self, events: u64) -> bool {
        if self.end.is_none() {
            #[cfg(feature = "canary")]
            dtvn_messages::canary::plant(self.world.scenario.planted);
            let ran = catch_unwind(AssertUnwindSafe(|| self.run(events)));
            #[cfg(feature = "canary")]
            dtvn_messages::canary::plant(None);
            self.end = match ran {
                Ok(Ok(is_over)) => is_over.then_some(End::Good),
                Ok(Err(violation)) => Some(End::of(violation)),
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    let text = text.unwrap_or_else(|| "a panic".to_owned());
                    Some(End::of(Violation::new(Invariant::NoCrash, text)))
                }
            };
        }
        self.end.is_some()
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let (asked, planned) = self.world.clients.progress();
        let is_healed = matches!(self.phase, Phase::Healed { .. });
        Progress { virtual_us: self.world.now_us - self.began_us, asked, planned, is_healed }
    }

    /// What came of it so far.
    #[must_use]
    pub fn report(mut self) -> Report {
        let world = &mut self.world;
        let latencies_us = world.clients.latencies_us();
        Report {
            seed: world.scenario.seed,
            changes: self.changes,
            scenario: self.scenario,
            validators: world.scenario.validators,
            clients: world.scenario.clients,
            faults_us: world.scenario.faults_us,
            liars: world.scenario.liars.clone(),
            end: self.end.unwrap_or(End::Unfinished),
            coverage: world.coverage,
            events: world.events,
            hash: world.hash,
            virtual_us: world.now_us - self.began_us,
            recovery_us: world.now_us.saturating_sub(self.healed_us),
            height: world.chain.height(),
            tickets: world.chain.tickets_by_state(),
            asked: world.clients.progress().0,
            decided: latencies_us.len() as u64,
            accepted: world.clients.accepted(),
            latency: Latency::of(&latencies_us),
        }
    }

    /// Two phases: faults; then everything heals, and all that clients asked for must be decided.
    fn run(&mut self, events: u64) -> Result<bool, Violation> {
        let world = &mut self.world;
        for _ in 0..events {
            match self.phase {
                _ if world.scenario.events_max.is_some_and(|most| world.events > most) => {
                    let events = format!("a storm: {} events, most by {}", world.events, world.busiest());
                    let storm = format!("{events}; {}", world.describe());
                    return Err(Violation::new(Invariant::Liveness, storm));
                }
                Phase::New => {
                    world.begin()?;
                    self.phase = Phase::Faults { until_us: world.now_us + world.scenario.faults_us };
                }
                Phase::Faults { until_us } => {
                    if !world.step(until_us)? {
                        self.healed_us = world.now_us;
                        world.clients.finish();
                        world.heal()?;
                        self.phase = Phase::Healed { until_us: world.now_us + world.scenario.patience_us() };
                    }
                }
                Phase::Healed { .. } if world.is_settled() => return Ok(true),
                Phase::Healed { until_us } => {
                    world.note_decided();
                    if !world.step(until_us)? {
                        return Err(Violation::new(Invariant::Liveness, world.describe()));
                    }
                }
            }
        }
        Ok(false)
    }
}

/// Runs a seed, changed in some ways.
#[must_use]
pub fn simulate(seed: u64, changes: &Changes) -> Report {
    run_to_its_end(Simulation::new(Scenario::draw(seed, changes)), changes)
}

/// Runs a scenario that somebody changed.
#[must_use]
pub fn simulate_scenario(scenario: Scenario) -> Report {
    run_to_its_end(Simulation::new(scenario), &Changes::default())
}

/// As [`simulate`]; shows one host: see [`Simulation::trace`].
#[must_use]
pub fn simulate_traced(seed: u64, changes: &Changes, host: usize, show: Box<dyn FnMut(String)>) -> Report {
    let mut simulation = Simulation::new(Scenario::draw(seed, changes));
    simulation.trace(host, show);
    run_to_its_end(simulation, changes)
}

fn run_to_its_end(mut simulation: Simulation, changes: &Changes) -> Report {
    simulation.changes = changes.clone();
    while !simulation.advance(u64::MAX) {}
    simulation.report()
}

impl World {
    /// Whether all is decided, and all honest nodes that are up have all of it.
    pub(crate) fn is_settled(&self) -> bool {
        let (epoch, era) = self.chain.eras().latest();
        let mut honest = self.hosts.iter().filter(|host| host.is_honest);
        self.is_decided() && honest.all(|host| self.is_done(host, epoch, &era.set))
    }

    /// Whether all is decided that anybody asked for.
    fn is_decided(&self) -> bool {
        let (_, era) = self.chain.eras().latest();
        self.clients.are_content() && self.operators.are_content() && era.ends.is_none()
    }

    /// Notes the height at which all that anybody asked for is decided.
    fn note_decided(&mut self) {
        self.decided_at = self.is_decided().then(|| self.decided_at.unwrap_or(self.chain.height()));
    }

    /// Whether a node that has come to a height has all that matters. A chain that liars never let come to rest it need not
    /// have caught up with at any one moment.
    fn has_all(&self, committed: Height) -> bool {
        let is_restless = !self.scenario.liars.is_empty();
        committed == self.chain.height() || is_restless && self.decided_at.is_some_and(|height| committed >= height)
    }

    /// Whether a host that is up has all blocks, and votes if it is a validator: then it has its memory too.
    fn is_done(&self, host: &Host, epoch: Epoch, set: &ValidatorSet) -> bool {
        let Some(node) = &host.node else { return true };
        let shown = node.show();
        let is_wanted = set.index_of_name(host.name.as_str()).is_some();
        let may_vote = node.config().epoch == epoch && node.config().me.is_some() && shown.voting;
        self.has_all(shown.committed) && (may_vote || !is_wanted)
    }

    /// The kind of message that arrived most often.
    fn busiest(&self) -> String {
        let most = self.arrived.iter().max_by_key(|(_, count)| **count);
        most.map_or_else(|| "nothing".to_owned(), |(name, count)| format!("{name} ({count} arrived)"))
    }

    /// What is not done, and where every node stands: a line each.
    pub(crate) fn describe(&self) -> String {
        let (epoch, era) = self.chain.eras().latest();
        let undecided = self.clients.undecided();
        let undecided = if undecided.is_empty() { "nothing".to_owned() } else { undecided.join(", ") };
        let end = era.ends.map_or_else(String::new, |end| format!(", which ends at height {end}"));
        let mut lines = vec![
            format!("not decided after everything had healed: {undecided}"),
            format!("the chain is at height {}, in epoch {epoch}{end}", self.chain.height()),
        ];
        for (number, host) in self.hosts.iter().enumerate() {
            let what = host.node.as_deref().map_or_else(|| "down".to_owned(), standing);
            let kind = if host.is_honest { "" } else { " (liar)" };
            lines.push(format!("  host {number}{kind}: {what}"));
        }
        lines.join("\n")
    }
}

/// Where a node stands.
fn standing(node: &Node<MemoryDisk>) -> String {
    let (config, shown, pool) = (node.config(), node.show(), node.pool().usage());
    let role = config.me.map_or_else(|| "no validator".to_owned(), |me| format!("validator {me}"));
    let may = |can: bool, word: &'static str| if can { "" } else { word };
    let seeks = if shown.proved > shown.committed { format!(" of {}", shown.proved) } else { String::new() };
    format!(
        "epoch {}, {role}{}; view {}{}, leader {}; committed {}{seeks}, executed {}, stable {}{}{}; {} bundles wait, {} are looked for",
        config.epoch,
        may(shown.voting, " without a vote"),
        shown.view,
        may(shown.active, " (not begun)"),
        shown.leader,
        shown.committed,
        shown.executed,
        shown.stable,
        may(!shown.diverged, ", its state is wrong"),
        may(!shown.at_epoch_end, ", at the end of its epoch"),
        pool.pending_bundles,
        pool.searches
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lies::Behaviour;

    #[test]
    fn a_node_has_all_that_is_at_the_tip_or_where_liars_are_has_what_was_asked_for() {
        for liars in [Vec::new(), vec![(0, Behaviour::BundleForEach)]] {
            let has_liars = !liars.is_empty();
            let mut scenario = Scenario::story(4, 0, 0);
            scenario.liars = liars;
            let mut world = World::new(scenario);
            assert!(world.has_all(world.chain.height()) && !world.has_all(Height(5)), "nothing is known to be decided");
            world.decided_at = Some(Height(5));
            assert_eq!([4, 5, 6].map(|committed| world.has_all(Height(committed))), [false, has_liars, has_liars]);
        }
    }

    #[test]
    fn what_is_decided_is_noted_once_and_for_as_long_as_it_is() {
        let mut world = World::new(Scenario::story(4, 0, 0));
        world.note_decided();
        assert_eq!(world.decided_at, Some(world.chain.height()));
        world.decided_at = Some(Height(7));
        world.note_decided();
        assert_eq!(world.decided_at, Some(Height(7)), "not anew at each event");
    }
}
