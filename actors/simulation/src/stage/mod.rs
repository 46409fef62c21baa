//! A stage for directed scenarios: a network without any faults but those that a story asks for, step by step. Every
//! invariant is checked all the same; a violation ends the story.

mod members;

use std::collections::{BTreeMap, BTreeSet};

use dtvn_messages::{Action, EventId, Height, IdempotencyKey, Operation, TicketId, Timestamp, View};
use dtvn_replication::intake::{Answer, RequestId};
use dtvn_replication::node::Input;

use crate::coverage::Coverage;
use crate::faults::LostVotes;
use crate::oracle::Violation;
use crate::scenario::{Scenario, Workload};
use crate::world::World;

pub use members::Member;

/// Requests of a stage have numbers from here on.
const FIRST_REQUEST: u64 = 1 << 40;

/// How the log of a host is harmed, or what comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// A bit is flipped.
    BitFlip,
    /// A file of it is cut.
    Truncated,
    /// A file of it is lost.
    LostFile,
    /// The disk is replaced by an empty one.
    Empty,
    /// The log is whole, and the derived state is gone.
    StoreLost,
}

/// What goes wrong with a disk, until it is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// There is no space for anything new.
    Full,
    /// There is space for blocks, and none for the next segment of the log, which takes all of its space at once.
    NoSegment,
    /// Nothing can be written.
    ReadOnly,
    /// The next sync fails.
    NextSync,
}

/// What was asked for on a stage, and what was answered: by the request's number.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    asked: BTreeMap<u64, Operation>,
    answers: BTreeMap<u64, Answer>,
}

impl Staged {
    pub(crate) fn operation(&self, request: RequestId) -> Option<&Operation> {
        self.asked.get(&request.0)
    }

    pub(crate) fn answered(&mut self, request: RequestId, answer: Answer) {
        self.answers.insert(request.0, answer);
    }
}

/// A network that does what a story says.
pub struct Stage {
    pub(crate) world: World,
}

impl Scenario {
    /// A network without faults and with short timeouts, in which so many clients have a ticket of their own issued,
    /// validated and consumed, one client after the other within a time.
    #[must_use]
    pub fn story(validators: usize, clients: usize, within_ms: u64) -> Self {
        let mut scenario = Self::quiet(1, validators);
        scenario.parameters.view_timeout_ms = 250;
        scenario.parameters.view_timeout_cap_ms = 4_000;
        scenario.parameters.checkpoint_interval = 8;
        scenario.parameters.log_window = 24;
        scenario.parameters.rotation_interval = 0;
        scenario.workload = Workload::Lifecycles { within_us: within_ms * 1_000 };
        (scenario.clients, scenario.operations) = (clients, 3);
        scenario
    }
}

/// A ticket with so many bytes of data.
#[expect(clippy::expect_used, reason = "a story names things that can be named")]
fn issue(key: &str, name: &str, bytes: usize) -> Operation {
    let ticket = TicketId::new(name).expect("the name of a ticket");
    let key = IdempotencyKey::new(key).expect("an idempotency key of 16 characters or more");
    let data = (bytes > 0).then(|| "x".repeat(bytes).into());
    let action = Action::Issue { ticket, data, metadata: BTreeMap::new(), valid_from: None, valid_until: None };
    let (event, valid_until) = (EventId::default_event(), Timestamp(0));
    Operation { key, valid_until, event, gate: None, device: None, scanned_at: None, seen: None, action }
}

/// A violation ends the story.
fn must<T>(what: Result<T, Violation>) -> T {
    what.unwrap_or_else(|violation| panic!("{violation}"))
}

impl Stage {
    /// A network whose nodes and clients have started.
    ///
    /// # Panics
    /// As all methods: if an invariant is violated.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        let mut world = World::new(scenario);
        must(world.begin());
        Self { world }
    }

    /// Time passes.
    pub fn run(&mut self, milliseconds: u64) {
        let until_us = self.world.now_us + milliseconds * 1_000;
        while must(self.world.step(until_us)) {}
    }

    /// Time passes until something holds. Says how many milliseconds that took.
    ///
    /// # Panics
    /// If it does not hold within so many milliseconds.
    pub fn until(&mut self, what: &str, within_ms: u64, holds: impl Fn(&Self) -> bool) -> u64 {
        let (began_us, until_us) = (self.world.now_us, self.world.now_us + within_ms * 1_000);
        while !holds(self) {
            if !must(self.world.step(until_us)) {
                panic!("not within {within_ms} ms: {what}\n{}", self.world.describe());
            }
        }
        (self.world.now_us - began_us) / 1_000
    }

    /// Time passes until all clients have all their outcomes, and all honest nodes that are up have all blocks. Says how
    /// many milliseconds that took.
    pub fn settle(&mut self, within_ms: u64) -> u64 {
        self.until("everything is decided everywhere", within_ms, |stage| stage.world.is_settled())
    }

    /// Somebody asks a host to validate, and so to issue, a new ticket, under this key. The number of the request.
    ///
    /// # Panics
    /// If `name` is no name of a ticket, or `key` none of a key.
    pub fn ask(&mut self, host: usize, key: &str, name: &str) -> u64 {
        self.submit(host, issue(key, name, 0))
    }

    fn submit(&mut self, host: usize, operation: Operation) -> u64 {
        self.world.chain.asked(&operation);
        let request = FIRST_REQUEST + self.world.staged.asked.len() as u64;
        self.world.staged.asked.insert(request, operation.clone());
        let wait_ms = 3_600_000;
        let input = Input::Submit { request: RequestId(request), operations: vec![operation], wait_ms };
        must(self.world.input(host, input));
        request
    }

    /// The answer to a request, if there is one.
    #[must_use]
    pub fn answer(&self, request: u64) -> Option<&Answer> {
        self.world.staged.answers.get(&request)
    }

    /// A process ends; its machine goes on.
    pub fn kill(&mut self, host: usize) {
        self.world.crash(host, false);
    }

    /// A machine loses its power.
    pub fn power_off(&mut self, host: usize) {
        self.world.crash(host, true);
    }

    /// A process starts again.
    pub fn start(&mut self, host: usize) {
        must(self.world.start(host));
    }

    /// A process stands still for a while.
    pub fn pause(&mut self, host: usize, milliseconds: u64) {
        self.world.pause_for(host, milliseconds * 1_000);
    }

    /// A machine without power has its log harmed at its beginning, where that is surely noticed. Says whether there was
    /// anything to harm.
    pub fn harm(&mut self, host: usize, harm: Harm) -> bool {
        self.world.harm_beginning(host, harm as u64)
    }

    /// The same anywhere in its log, also where nothing was written yet.
    pub fn harm_anywhere(&mut self, host: usize, harm: Harm) -> bool {
        self.world.harm(host, harm as u64)
    }

    /// Whether the log of a host that is up has something that a loss of power may take.
    #[must_use]
    pub fn is_unsynced(&self, host: usize) -> bool {
        let log = self.world.hosts[host].node.as_ref().and_then(|node| node.log());
        log.is_some_and(|log| log.disk().is_unsynced())
    }

    /// A disk breaks.
    pub fn break_disk(&mut self, host: usize, broken: Broken) {
        self.world.break_disk_so(host, broken);
    }

    /// A disk works again.
    pub fn mend_disk(&mut self, host: usize) {
        self.world.mend_disk(host);
    }

    /// A disk is slow, or no longer.
    pub fn slow_disk(&mut self, host: usize, is_slow: bool) {
        self.world.hosts[host].slow_disk = is_slow;
    }

    /// A wall clock goes wrong by so many milliseconds.
    pub fn shift_clock(&mut self, host: usize, milliseconds: i64) {
        self.world.hosts[host].clock.ahead_us = milliseconds * 1_000;
    }

    /// A wall clock stands still, or no longer.
    pub fn freeze_clock(&mut self, host: usize, is_frozen: bool) {
        self.world.hosts[host].clock.frozen_us = is_frozen.then_some(self.world.now_us);
    }

    /// Only hosts of one group hear each other; who is in none hears nobody.
    pub fn part(&mut self, groups: &[&[usize]]) {
        let group = |host: usize| groups.iter().position(|group| group.contains(&host));
        let hosts = self.world.hosts.len();
        let all = (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to)));
        let apart = all.filter(|(from, to)| from != to && (group(*from) != group(*to) || group(*from).is_none()));
        self.cut(apart.collect());
    }

    /// These links carry nothing, from one host to another; all others do.
    pub fn cut(&mut self, links: BTreeSet<(usize, usize)>) {
        self.world.partition += 1;
        let now_us = self.world.now_us;
        self.world.links.cut_these(links, now_us);
        self.world.look_at_all();
    }

    /// Votes are lost, or no longer.
    pub fn lose_votes(&mut self, lost: Option<LostVotes>) {
        self.world.lossy_votes = lost;
    }

    /// All links carry everything again.
    pub fn heal(&mut self) {
        self.world.partition += 1;
        self.world.heal_links();
    }

    /// How many hosts there are.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.world.hosts.len()
    }

    /// The highest agreed height.
    #[must_use]
    pub fn height(&self) -> Height {
        self.world.chain.height()
    }

    /// How many tickets there are.
    #[must_use]
    pub fn tickets(&self) -> u64 {
        self.world.chain.tickets_by_state().iter().map(|(_, count)| count).sum()
    }

    /// What the replica of a host shows of itself; none is down.
    #[must_use]
    pub fn show(&self, host: usize) -> Option<dtvn_pbft::ReplicaView> {
        self.world.hosts[host].node.as_ref().map(|node| node.show())
    }

    /// The size of the files of a host's log, in bytes; 0 if it is down.
    #[must_use]
    pub fn log_bytes(&self, host: usize) -> u64 {
        let log = self.world.hosts[host].node.as_ref().and_then(|node| node.log());
        log.map_or(0, |log| log.segments().map(|segment| segment.file_bytes).sum())
    }

    /// The committed height of a host; 0 if it is down.
    #[must_use]
    pub fn committed(&self, host: usize) -> Height {
        self.show(host).map_or(Height(0), |shown| shown.committed)
    }

    /// The highest view of an honest node.
    #[must_use]
    pub fn view(&self) -> View {
        self.world.highest_view().1
    }

    /// The host that leads the highest view.
    #[must_use]
    pub fn leader(&self) -> usize {
        let (epoch, view) = self.world.highest_view();
        let set = &self.world.chain.eras().latest().1.set;
        let leader = set.key(set.leader(epoch, view));
        let found = self.world.hosts.iter().position(|host| Some(host.key()) == leader);
        found.unwrap_or_else(|| panic!("no host has the key of the leader"))
    }

    /// Why a host may not vote; none if it may, or is down.
    #[must_use]
    pub fn amnesia(&self, host: usize) -> Option<&str> {
        self.world.hosts[host].node.as_ref()?.amnesia().map(|amnesia| amnesia.why.as_str())
    }

    /// What the story has met.
    #[must_use]
    pub const fn coverage(&self) -> &Coverage {
        &self.world.coverage
    }
}
