//! A network of nodes on one queue of events: virtual time, links that lose, repeat and delay, disks that take their time,
//! nodes that crash and come back. One seed reproduces a whole run.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::{Digest, Genesis, Height, Now, Timestamp, ValidatorIndex, VoteKind};
use dtvn_pbft::{BundleMeta, Input, Message, Record, select};

use super::lies::distort;
use super::node::{Entry, Later, Node, Out, Wire};
use super::oracle::Oracle;
use super::random::Random;

/// How bad the world is.
#[derive(Debug, Clone)]
pub struct Weather {
    /// Of 100 messages, how many are lost and how many come twice.
    pub lost: u64,
    pub repeated: u64,
    /// Of 100 votes of each kind, how many are lost beside.
    pub lost_prepares: u64,
    pub lost_commits: u64,
    pub delay_us: (u64, u64),
    pub disk_us: (u64, u64),
    pub execute_us: (u64, u64),
}

impl Weather {
    pub fn fine() -> Self {
        Self {
            lost: 0,
            repeated: 0,
            lost_prepares: 0,
            lost_commits: 0,
            delay_us: (100, 300),
            disk_us: (50, 200),
            execute_us: (0, 20),
        }
    }
}

#[derive(Debug)]
enum Event {
    Deliver { to: usize, from: ValidatorIndex, wire: Box<Wire> },
    Later { node: usize, incarnation: u64, later: Later },
}

pub struct Network {
    pub genesis: Arc<Genesis>,
    pub now_us: u64,
    pub weather: Weather,
    pub random: Random,
    pub nodes: Vec<Node>,
    pub oracle: Oracle,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    /// Which group each node is in: messages pass only within one.
    pub groups: Vec<u64>,
    /// Clocks that are wrong, in microseconds.
    pub skews_us: Vec<i64>,
    /// Nodes that share a key.
    pub twins: Vec<bool>,
    /// Nodes that lie.
    pub liars: Vec<bool>,
    /// Whether logs are collected at stable checkpoints.
    pub collects: bool,
    pub bundles: BTreeMap<Digest, BundleMeta>,
    stables: Vec<Height>,
}

impl Network {
    /// A network that is not started: one node for each validator, and a second one for each of `twins`.
    pub fn new(genesis: &Arc<Genesis>, seed: u64, twins: &[usize]) -> Self {
        let indices: Vec<ValidatorIndex> = genesis.validators().iter().map(|(index, _)| index).collect();
        let with_twins = indices.iter().copied().chain(twins.iter().map(|twin| indices[*twin]));
        let nodes: Vec<Node> = with_twins.map(|index| Node::new(genesis, index)).collect();
        let count = nodes.len();
        Self {
            genesis: Arc::clone(genesis),
            now_us: 1_000_000,
            weather: Weather::fine(),
            random: Random::new(seed),
            twins: nodes.iter().map(|node| twins.contains(&node.index.position())).collect(),
            nodes,
            oracle: Oracle::default(),
            queue: BTreeMap::new(),
            sequence: 0,
            liars: vec![false; count],
            groups: vec![0; count],
            skews_us: vec![0; count],
            collects: false,
            bundles: BTreeMap::new(),
            stables: vec![Height(0); count],
        }
    }

    pub fn now(&self, node: usize) -> Now {
        let wall = self.genesis.file().time.0 + 1_000_000_000 + self.now_us;
        Now { monotonic_us: self.now_us, wall: Timestamp(wall.saturating_add_signed(self.skews_us[node])) }
    }

    pub fn start(&mut self, node: usize) {
        let mut outs = Vec::new();
        let now = self.now(node);
        let random = &mut self.random;
        self.nodes[node].start(now, random, &mut outs);
        if self.nodes[node].replica().show().view.0 > 0 {
            self.oracle.count.resumed_views += 1;
        }
        self.carry_out(node, outs);
        self.greet(node);
    }

    pub fn start_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
    }

    pub fn crash(&mut self, node: usize) {
        self.oracle.count.crashes += 1;
        let random = &mut self.random;
        self.nodes[node].crash(random);
    }

    /// Whether the oracle takes a node's word.
    pub fn is_honest(&self, node: usize) -> bool {
        !self.twins[node] && !self.liars[node]
    }

    pub fn is_up(&self, node: usize) -> bool {
        self.nodes[node].replica.is_some()
    }

    /// Links come up: each side hears of the other, and pools show each other what is pending.
    pub fn greet(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            if other != node && self.is_up(other) && self.is_up(node) && self.groups[other] == self.groups[node] {
                self.greet_one(node, other);
                self.greet_one(other, node);
            }
        }
    }

    fn greet_one(&mut self, node: usize, other: usize) {
        let peer = self.nodes[other].index;
        let mut outs = Vec::new();
        let now = self.now(node);
        self.nodes[node].run(now, Input::PeerUp(peer), &mut outs);
        let positions = &self.nodes[node].states.last_key_value().unwrap().1.positions;
        let is_pending = |meta: &&BundleMeta| positions.get(&meta.origin).is_none_or(|last| meta.position > *last);
        let pending: Vec<BundleMeta> = self.nodes[node].held.values().filter(is_pending).copied().collect();
        self.carry_out(node, outs);
        for meta in pending {
            self.send(node, other, Wire::Bundle(meta));
        }
    }

    pub fn make_bundle(&mut self, node: usize) {
        let mut outs = Vec::new();
        let (now, salt) = (self.now(node), self.random.next());
        let meta = self.nodes[node].make_bundle(now, salt, &mut outs);
        self.bundles.insert(meta.digest, meta);
        self.carry_out(node, outs);
    }

    pub fn input(&mut self, node: usize, input: Input) {
        let mut outs = Vec::new();
        let now = self.now(node);
        self.nodes[node].run(now, input, &mut outs);
        self.carry_out(node, outs);
    }

    fn schedule(&mut self, after_us: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now_us + after_us, self.sequence), event);
    }

    /// Sends, or what a liar sends instead.
    pub fn send(&mut self, from: usize, to: usize, wire: Wire) {
        if self.liars[from] {
            let peer = self.nodes[to].index;
            for lie in distort(&self.nodes[from], peer, &wire, &mut self.random) {
                self.transmit(from, to, lie);
            }
        } else {
            self.transmit(from, to, wire);
        }
    }

    fn transmit(&mut self, from: usize, to: usize, wire: Wire) {
        let lost_votes = match &wire {
            Wire::Core(Message::Vote(vote)) if vote.body.kind == VoteKind::Commit => self.weather.lost_commits,
            Wire::Core(Message::Vote(_)) => self.weather.lost_prepares,
            Wire::Core(Message::Committed(_) | Message::Prepared(_)) => {
                self.weather.lost_commits.max(self.weather.lost_prepares)
            }
            _ => 0,
        };
        let is_cut = self.groups[from] != self.groups[to];
        if is_cut || self.random.chance(self.weather.lost) || self.random.chance(lost_votes) {
            return;
        }
        let copies = if self.random.chance(self.weather.repeated) { 2 } else { 1 };
        for _ in 0..copies {
            let delay_us = self.random.between(self.weather.delay_us.0, self.weather.delay_us.1);
            let from = self.nodes[from].index;
            self.schedule(delay_us, Event::Deliver { to, from, wire: Box::new(wire.clone()) });
        }
    }

    pub fn carry_out(&mut self, node: usize, outs: Vec<Out>) {
        let incarnation = self.nodes[node].incarnation;
        for out in outs {
            match out {
                Out::Broadcast(wire) => {
                    self.check(node, &wire);
                    for other in 0..self.nodes.len() {
                        if self.nodes[other].index != self.nodes[node].index {
                            self.send(node, other, wire.clone());
                        }
                    }
                }
                Out::Send(to, wire) => {
                    self.check(node, &wire);
                    for other in 0..self.nodes.len() {
                        if self.nodes[other].index == to && other != node {
                            self.send(node, other, wire.clone());
                        }
                    }
                }
                Out::Later(after_us, later) => {
                    let (low, high) = match later {
                        Later::Flushed { .. } => self.weather.disk_us,
                        _ => self.weather.execute_us,
                    };
                    let after_us = after_us.unwrap_or_else(|| self.random.between(low, high));
                    self.schedule(after_us, Event::Later { node, incarnation, later });
                }
                Out::Committed { block, digest } => {
                    if self.is_honest(node) {
                        self.oracle.on_commit(&self.nodes[node], block.header.height, digest);
                    }
                }
                Out::Diverged if !self.is_honest(node) => {}
                Out::Diverged => panic!("{} says that it has diverged", self.nodes[node].index),
            }
        }
        self.after_step(node);
    }

    fn check(&mut self, node: usize, wire: &Wire) {
        if self.is_honest(node) {
            self.oracle.on_sent(&self.nodes[node], wire);
        }
        match wire {
            Wire::SyncBlocks { .. } => self.oracle.count.synced += 1,
            Wire::Core(Message::NewView(sealed)) if sealed.signed.signer == self.nodes[node].index => {
                self.count_new_view(node, sealed.digest);
            }
            _ => {}
        }
    }

    /// A NEW-VIEW leaves: what does it take over?
    fn count_new_view(&mut self, node: usize, digest: Digest) {
        let named = self.nodes[node].log.iter().find_map(|entry| match entry {
            Entry::Replica(Record::NewView { new_view, view_changes }) if new_view.digest == digest => {
                Some(view_changes)
            }
            _ => None,
        });
        let Some(named) = named else { return };
        let shown: Vec<_> = named.iter().map(|named| &named.signed.body).collect();
        let selection = select(&shown, (Height(0), self.genesis.hash()));
        let prepared = shown.iter().flat_map(|shown| &shown.prepared);
        let count = &mut self.oracle.count;
        count.new_views += 1;
        count.selected += u64::from(!selection.blocks.is_empty());
        count.stopped += u64::from(prepared.clone().any(|prepared| prepared.height() > selection.end));
        let lost = |height: Height, digest: Digest| {
            selection.blocks.get(&height).is_some_and(|selected| selected.digest != digest)
        };
        count.outvoted += u64::from(prepared.clone().any(|prepared| lost(prepared.height(), prepared.digest())));
    }

    fn after_step(&mut self, node: usize) {
        let Some(replica) = self.nodes[node].replica.as_ref() else { return };
        let stable = replica.stable_height();
        if stable > self.stables[node] {
            self.stables[node] = stable;
            self.oracle.count.stable += 1;
        }
        if self.collects && stable > self.nodes[node].applied {
            self.nodes[node].collect(stable);
        }
    }

    /// Takes the next event; false if there is none until `until_us`.
    pub fn step(&mut self, until_us: u64) -> bool {
        let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until_us) else {
            self.now_us = self.now_us.max(until_us);
            return false;
        };
        self.now_us = entry.key().0;
        let mut outs = Vec::new();
        let node = match entry.remove() {
            Event::Deliver { to, from, wire } => {
                let now = self.now(to);
                if self.is_up(to) {
                    self.nodes[to].receive(now, from, *wire, &mut outs);
                }
                to
            }
            Event::Later { node, incarnation, later } => {
                let now = self.now(node);
                if self.nodes[node].incarnation == incarnation && self.is_up(node) {
                    self.nodes[node].later(now, later, &mut outs);
                }
                node
            }
        };
        self.carry_out(node, outs);
        true
    }

    pub fn run_for(&mut self, duration_us: u64) {
        let until_us = self.now_us + duration_us;
        while self.step(until_us) {}
    }

    /// Runs until `done`, at most for a time; says whether it is done.
    pub fn run_until(&mut self, duration_us: u64, done: impl Fn(&Self) -> bool) -> bool {
        let until_us = self.now_us + duration_us;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(until_us) {
                return done(self);
            }
        }
    }

    /// Whether every bundle that its origin made in its current start is committed at every node that is up.
    pub fn is_all_committed(&self) -> bool {
        let up = || (0..self.nodes.len()).filter(|node| self.is_up(*node) && self.is_honest(*node));
        up().all(|node| {
            let (_, state) = self.nodes[node].states.last_key_value().unwrap();
            up().all(|origin| {
                let origin = &self.nodes[origin];
                let last = state.positions.get(&origin.index);
                origin.next_number() == 0
                    || last.is_some_and(|last| last.start == origin.start && last.number + 1 == origin.next_number())
            })
        })
    }

    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (number, node) in self.nodes.iter().enumerate() {
            match &node.replica {
                Some(replica) => {
                    let positions = &node.states.last_key_value().unwrap().1.positions;
                    text += &format!(
                        "{number}: {:?} start {} next {} {positions:?}\n",
                        replica.show(),
                        node.start,
                        node.next_number()
                    );
                }
                None => text += &format!("{number}: down\n"),
            }
        }
        text
    }
}
