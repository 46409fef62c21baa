//! What the world asks the oracle about: all that leaves a host, once that host is honest.

use std::sync::Arc;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{Digest, Epoch, Evidence, Height, Reason, Signed, ValidatorIndex, View, Vote, VoteKind};
use dtvn_replication::intake::{Answer, RequestId};
use dtvn_replication::node::Effect;

use super::super::{Invariant, Violation};
use super::assert_violates;
use super::history::{History, Made, alter, issue, operation, scenario, sign};
use crate::lies::Behaviour;
use crate::run::{Simulation, simulate_scenario};
use crate::scenario::{Changes, Scenario};
use crate::stage::Stage;
use crate::world::World;

/// Four hosts that have not started, of which the last lies.
fn world() -> World {
    let mut scenario = scenario();
    scenario.liars = vec![(3, Behaviour::Silent)];
    World::new(scenario)
}

/// A host says this.
fn says(world: &mut World, host: usize, effect: Effect) -> Result<(), Violation> {
    world.effects.push(effect);
    world.carry_out(host)
}

fn commits(world: &mut World, host: usize, (committed, effects): &Made) -> Result<(), Violation> {
    let (committed, effects) = (Arc::new(committed.clone()), Arc::new(effects.clone()));
    says(world, host, Effect::Committed { committed, effects })
}

/// Host 0 hears so many others, and decides a block that was proposed meanwhile.
fn decided_by(heard: usize) -> Result<(), Violation> {
    let mut world = world();
    let made = History::new().make(Vec::new());
    let apart = (0..4).flat_map(|from| (0..4).map(move |to| (from, to)));
    let is_cut = |(from, to): &(usize, usize)| (*from > heard) != (*to > heard);
    world.links.cut_these(apart.filter(is_cut).collect(), world.now_us);
    world.proposed_us.insert(made.0.digest, world.now_us);
    commits(&mut world, 0, &made)
}

pub(super) fn decided_alone() -> Result<(), Violation> {
    decided_by(0)
}

#[test]
fn a_decision_of_a_minority_is_found() {
    assert_violates(decided_alone(), Invariant::Minority, "with a power of 1 in reach");
    assert_violates(decided_by(1), Invariant::Minority, "with a power of 2 in reach");
    assert_eq!(decided_by(2), Ok(()));
}

fn blame(peer: u16) -> Effect {
    Effect::Blame { peer: ValidatorIndex(peer), why: "it was there".to_owned() }
}

pub(super) fn honest_one_blamed() -> Result<(), Violation> {
    says(&mut world(), 0, blame(1))
}

#[test]
fn false_blame_and_divergence_are_found() {
    assert_violates(honest_one_blamed(), Invariant::NoFalseAccusation, "host 0 blames host 1");
    assert_eq!(says(&mut world(), 0, blame(3)), Ok(()));
    assert_eq!(says(&mut world(), 3, blame(1)), Ok(()), "the word of a liar counts for nothing");
    let mut world_of_strangers = world();
    let [honest, liar] = [1, 3].map(|host: usize| world_of_strangers.hosts[host].key());
    let blame_stranger = |peer| Effect::BlameStranger { peer, why: "it was there".to_owned() };
    assert_eq!(says(&mut world_of_strangers, 0, blame_stranger(liar)), Ok(()));
    let blamed = says(&mut world_of_strangers, 0, blame_stranger(honest));
    assert_violates(blamed, Invariant::NoFalseAccusation, "host 0 blames host 1");
    let diverged = says(&mut world(), 0, Effect::Diverged(Height(1)));
    assert_violates(diverged, Invariant::NoFalseAccusation, "has diverged at 1");
    assert_eq!(says(&mut world(), 3, Effect::Diverged(Height(1))), Ok(()));
}

/// Two votes of a host, in one slot.
fn two_votes(world: &World, host: usize, digests: [u8; 2]) -> Effect {
    let [first, second] = digests.map(|byte| {
        let digest = Digest([byte; 32]);
        let body = Vote { kind: VoteKind::Prepare, epoch: Epoch(0), view: View(0), height: Height(1), digest };
        Signed { body, signer: ValidatorIndex(host as u16), signature: sign(&world.genesis, host, &body) }
    });
    Effect::Evidence(Arc::new(Evidence::TwoVotes(first, second)))
}

#[test]
fn evidence_against_an_honest_one_and_such_that_proves_nothing_are_found() {
    let mut world = world();
    let (proof, harmless, false_one) =
        (two_votes(&world, 3, [1, 2]), two_votes(&world, 3, [1, 1]), two_votes(&world, 1, [1, 2]));
    assert_eq!(says(&mut world, 0, proof), Ok(()));
    assert_violates(says(&mut world, 0, harmless), Invariant::NoFalseAccusation, "has evidence against 3");
    assert_violates(says(&mut world, 0, false_one), Invariant::NoFalseAccusation, "has evidence against 1");
}

#[test]
fn a_host_that_fails_or_does_not_start_is_found() {
    let failed = || Effect::Failed("no more".to_owned());
    let mut broken = world();
    assert_violates(says(&mut broken, 0, failed()), Invariant::NoCrash, "host 0 failed");
    broken.hosts[0].is_disk_broken = true;
    assert_eq!(says(&mut broken, 0, failed()), Ok(()));
    let mut stuck = world();
    stuck.hosts[0].media.as_mut().unwrap().disk.make_read_only();
    assert_violates(stuck.start(0), Invariant::NoCrash, "host 0 does not start");
}

/// Code panics in a run.
pub(super) fn panic() -> Violation {
    let mut simulation = Simulation::new(scenario());
    simulation.trace(0, Box::new(|shown: String| assert!(shown.is_empty(), "whoever watches it panics")));
    assert!(simulation.advance(u64::MAX));
    simulation.report().end.violation().unwrap().clone()
}

/// More events than a network has use for.
pub(super) fn storm() -> Violation {
    let mut scenario = Scenario::draw(1, &Changes::default());
    scenario.events_max = Some(100);
    simulate_scenario(scenario).end.violation().unwrap().clone()
}

#[test]
fn panics_and_storms_are_found() {
    assert_violates(Err(panic()), Invariant::NoCrash, "whoever watches it panics");
    assert_violates(Err(storm()), Invariant::Liveness, "a storm: ");
}

#[test]
fn a_host_that_goes_back_is_found() {
    let mut history = History::new();
    let [first, second] = [history.make(Vec::new()), history.make(Vec::new())];
    let mut world = world();
    commits(&mut world, 0, &first).unwrap();
    assert_violates(commits(&mut world, 0, &first), Invariant::Chain, "commits block 1 right after block 1");
    commits(&mut world, 0, &second).unwrap();
    let installed = |made: &Made| {
        let height = made.0.block.header.height;
        Effect::Installed { height, digest: made.0.digest, difference: None }
    };
    assert_violates(says(&mut world, 0, installed(&first)), Invariant::Chain, "takes the state of height 1");
    assert_eq!(says(&mut world, 1, installed(&second)), Ok(()));
    // Its process, which has nothing.
    assert_violates(world.start(0), Invariant::Chain, "stands at height 0");
}

#[test]
fn a_loss_of_power_excuses_what_was_not_durable_and_a_mere_restart_does_not() {
    let stood = |is_power| {
        let mut world = world();
        world.start(0).unwrap();
        world.hosts[0].heights.stands(Height(3), Height(1)).unwrap();
        world.crash(0, is_power);
        world
    };
    assert_violates(stood(false).hosts[0].heights.stands(Height(2), Height(2)), Invariant::Chain, "stands at height 2");
    assert_eq!(stood(true).hosts[0].heights.stands(Height(1), Height(1)), Ok(()));
    assert_violates(stood(true).start(0), Invariant::Chain, "stands at height 0");
    let mut replaced = stood(true);
    replaced.replace(0);
    assert_eq!(replaced.start(0), Ok(()));
}

#[test]
fn what_is_not_durable_or_signed_twice_is_found_as_it_leaves() {
    let mut world = world();
    (0..3).for_each(|host| world.start(host).unwrap());
    let made = History::new().make(Vec::new());
    let (epoch, height, digest) = (Epoch(0), Height(1), made.0.digest);
    let body = Vote { kind: VoteKind::Prepare, epoch, view: View(0), height, digest };
    let vote = Signed { body, signer: ValidatorIndex(0), signature: sign(&world.genesis, 0, &body) };
    let vote = || PeerMessage::Vote(vote.clone());
    let sent = says(&mut world, 0, Effect::Broadcast(vote()));
    assert_violates(sent, Invariant::DurableBeforeSent, "node0 sends Prepare at 1");
    let sent = says(&mut world, 0, Effect::Send { to: ValidatorIndex(1), message: vote() });
    assert_violates(sent, Invariant::DurableBeforeSent, "node0 sends Prepare at 1");
    let sent = says(&mut world, 1, Effect::Broadcast(vote()));
    assert_violates(sent, Invariant::Integrity, "node1 signs as 0");
    let opened = says(&mut world, 0, Effect::Opened(None));
    assert_violates(opened, Invariant::DurableBeforeSent, "its log ends at 0");
}

#[test]
fn false_answers_and_certificates_are_found_as_they_leave() {
    let mut history = History::new();
    let made = history.make(vec![operation("first", issue("one"))]);
    let mut stage = Stage::new(scenario());
    let request = RequestId(stage.ask(0, "a key of some length", "one"));
    let mut told = made.1.results[0].clone();
    alter(&mut told, |outcome| outcome.index = 7);
    let answer = |answer| Effect::Answer { request, index: 0, answer };
    let world = &mut stage.world;
    let decided = says(world, 0, answer(Answer::Decided(told)));
    assert_violates(decided, Invariant::CertifiedOutcome, "the history says None");
    let consumed = Answer::Refused { reason: Reason::AlreadyConsumed, detail: None };
    assert_violates(says(world, 0, answer(consumed)), Invariant::Rules, "one node refuses an operation by itself");
    let few = Effect::Certified(Arc::new(history.receipt(&made.0, 2)));
    assert_violates(says(world, 0, few), Invariant::CertifiedOutcome, "the receipt certificate of 1");
}
