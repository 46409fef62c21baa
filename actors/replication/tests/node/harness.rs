//! Some nodes on one queue of events, with links and disks that do what they should.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_messages::genesis::ConsensusParameters;
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    Action, Ed25519, Genesis, IdempotencyKey, KeyPair, Nonce, Now, Operation, TicketId, ValidatorIndex,
};
use dtvn_replication::initial::{InitialState, beginning};
use dtvn_replication::intake::{Answer, IntakeLimits, RequestId};
use dtvn_replication::log::{LogLimits, MemoryDisk};
use dtvn_replication::node::{Effect, Input, Media, Node, NodeSettings, Timer, Work};
use dtvn_replication::pool::PoolLimits;
use dtvn_replication::verify::Remembering;

pub const SEED: &str = "whole nodes";
pub const LOG_LIMITS: LogLimits = LogLimits { segment_bytes: 128 * 1024, batch_bytes_max: 64 * 1024 };

pub struct Network {
    pub genesis: Arc<Genesis>,
    initial: Option<Arc<InitialState>>,
    nodes: Vec<Option<Node<MemoryDisk>>>,
    pub now_us: u64,
    queue: BTreeMap<(u64, u64), (usize, u64, Input)>,
    sequence: u64,
    incarnations: Vec<u64>,
    pub answers: BTreeMap<u64, Answer>,
    said: Vec<Vec<PeerMessage>>,
    /// All that was sent to one, in order.
    to_one: Vec<PeerMessage>,
    slow: BTreeSet<usize>,
    held: Vec<(usize, u64, Work)>,
    pub blamed: Vec<String>,
    /// Who diverged, at which height.
    pub diverged: Vec<(usize, u64)>,
    /// Who took over another state: at which height, and what differed.
    pub installed: Vec<(usize, u64, Option<String>)>,
    /// Answers to requests for snapshots: from whom, what.
    pub sent: Vec<(usize, PeerMessage)>,
    /// Changes, or drops, what a node sends to another.
    pub tamper: Option<Tamper>,
}

/// What becomes of a message from one node to another.
pub type Tamper = Box<dyn FnMut(usize, usize, PeerMessage) -> Option<PeerMessage>>;

pub fn operation(action: Action, key: u64) -> Operation {
    Operation::new(IdempotencyKey::new(&format!("a key of a test {key:>8}")).unwrap(), action)
}

pub fn issue(ticket: &str, key: u64) -> Operation {
    let ticket = TicketId::new(ticket).unwrap();
    let action =
        Action::Issue { ticket, data: None, metadata: Default::default(), valid_from: None, valid_until: None };
    operation(action, key)
}

pub fn validate(ticket: &str, key: u64) -> Operation {
    operation(Action::Validate { ticket: TicketId::new(ticket).unwrap(), data: None }, key)
}

pub fn consume(ticket: &str, key: u64) -> Operation {
    operation(Action::Consume { ticket: TicketId::new(ticket).unwrap(), data: None }, key)
}

impl Network {
    pub fn new(count: usize) -> Self {
        Self::with(count, |_| {})
    }

    /// A network with other parameters.
    pub fn with(count: usize, change: impl FnOnce(&mut ConsensusParameters)) -> Self {
        let mut file = Genesis::development(count, SEED, false).unwrap().file().clone();
        file.consensus.checkpoint_interval = 4;
        file.consensus.log_window = 16;
        change(&mut file.consensus);
        Self::on(Genesis::new(file).unwrap(), None)
    }

    /// The network of a genesis, all of whose validators run; and the state that its chain begins with, if it has one.
    pub fn on(genesis: Genesis, initial: Option<InitialState>) -> Self {
        let (genesis, initial) = (Arc::new(genesis), initial.map(Arc::new));
        let count = genesis.validators().len();
        let mut network = Self {
            nodes: (0..count).map(|_| None).collect(),
            now_us: 1_000_000,
            queue: BTreeMap::new(),
            sequence: 0,
            incarnations: vec![0; count],
            answers: BTreeMap::new(),
            said: vec![Vec::new(); count],
            to_one: Vec::new(),
            slow: BTreeSet::new(),
            held: Vec::new(),
            blamed: Vec::new(),
            diverged: Vec::new(),
            installed: Vec::new(),
            sent: Vec::new(),
            tamper: None,
            genesis,
            initial,
        };
        for node in 0..count {
            network.start(node, network.new_media());
        }
        network
    }

    /// What a new node has.
    pub fn new_media(&self) -> Media<MemoryDisk> {
        Media::new(MemoryDisk::new(), beginning(&self.genesis, self.initial.as_ref()).unwrap())
    }

    fn settings(&self, node: usize) -> NodeSettings {
        let name = self.genesis.validators().get(ValidatorIndex(node as u16)).unwrap().name.clone();
        let key = KeyPair::development(SEED, name.as_str());
        NodeSettings {
            genesis: Arc::clone(&self.genesis),
            initial: self.initial.clone(),
            name,
            signer: Arc::new(key),
            scheme: Arc::new(Remembering::new(Ed25519)),
            // Another one for each process, as a random one is.
            nonce: Nonce(std::array::from_fn(|at| if at == 0 { self.incarnations[node] as u8 } else { node as u8 })),
            log_limits: LOG_LIMITS,
            pool_limits: PoolLimits::default(),
            intake_limits: IntakeLimits::default(),
            pool_seed: node as u64,
            store_sync_blocks: 3,
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_us: self.now_us, wall: self.genesis.file().time.plus_micros(self.now_us) }
    }

    pub fn start(&mut self, node: usize, media: Media<MemoryDisk>) {
        let mut effects = Vec::new();
        let started = Node::start(self.settings(node), media, self.now(), &mut effects);
        self.nodes[node] = Some(started.unwrap_or_else(|unstarted| panic!("{}", unstarted.why)));
        self.carry_out(node, effects);
        for other in 0..self.nodes.len() {
            if other != node && self.nodes[other].is_some() {
                self.input(node, Input::PeerUp(ValidatorIndex(other as u16)));
                self.input(other, Input::PeerUp(ValidatorIndex(node as u16)));
            }
        }
    }

    /// The process ends; what comes for it is lost.
    pub fn kill(&mut self, node: usize) -> Media<MemoryDisk> {
        self.incarnations[node] += 1;
        self.held.retain(|(held, ..)| *held != node);
        let media = self.nodes[node].take().unwrap().kill();
        for other in 0..self.nodes.len() {
            if self.nodes[other].is_some() {
                self.input(other, Input::PeerDown(ValidatorIndex(node as u16)));
            }
        }
        media
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node<MemoryDisk>> {
        self.nodes.iter().flatten()
    }

    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    pub fn node(&mut self, node: usize) -> &mut Node<MemoryDisk> {
        self.nodes[node].as_mut().unwrap()
    }

    pub fn submit(&mut self, node: usize, request: u64, operation: Operation) {
        let operations = vec![operation];
        self.input(node, Input::Submit { request: RequestId(request), operations, wait_ms: 60_000 });
    }

    /// Hands over an input now; what follows from it.
    pub fn input(&mut self, node: usize, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let now = self.now();
        let Some(target) = self.nodes[node].as_mut() else { return effects };
        target.step(now, input, &mut effects);
        self.carry_out(node, effects.clone());
        effects
    }

    fn later(&mut self, node: usize, after_us: u64, input: Input) {
        self.sequence += 1;
        let entry = (node, self.incarnations[node], input);
        self.queue.insert((self.now_us + after_us, self.sequence), entry);
    }

    fn send(&mut self, from: usize, to: usize, message: PeerMessage) {
        let message = match &mut self.tamper {
            Some(tamper) => tamper(from, to, message),
            None => Some(message),
        };
        let Some(message) = message else { return };
        if matches!(message, PeerMessage::Snapshot(_) | PeerMessage::Part { .. } | PeerMessage::SnapshotRefused { .. })
        {
            self.sent.push((from, message.clone()));
        }
        if from != to && self.nodes[to].is_some() {
            let from = ValidatorIndex(from as u16);
            self.later(to, 200, Input::Message { from, message });
        }
    }

    fn carry_out(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Broadcast(message) => {
                    self.said[node].push(message.clone());
                    (0..self.nodes.len()).for_each(|to| self.send(node, to, message.clone()));
                }
                Effect::Send { to, message } => {
                    self.to_one.push(message.clone());
                    self.send(node, to.position(), message);
                }
                Effect::Work(work @ Work::Sync { .. }) if self.slow.contains(&node) => {
                    self.held.push((node, self.incarnations[node], work));
                }
                Effect::Work(work) => self.later(node, 100, Input::Done(work)),
                Effect::SetTimer { timer, after_us } => self.set_timer(node, timer, after_us),
                Effect::Answer { request, answer, .. } => drop(self.answers.insert(request.0, answer)),
                Effect::Blame { peer, why } => self.blamed.push(format!("{node} blames {peer}: {why}")),
                Effect::EpochBegan(_) => {
                    for other in (0..self.nodes.len()).filter(|other| *other != node) {
                        if self.nodes[other].is_some() {
                            self.later(node, 1, Input::PeerUp(ValidatorIndex(other as u16)));
                        }
                    }
                }
                Effect::Failed(why) => panic!("node {node} failed: {why}"),
                Effect::Diverged(height) => self.diverged.push((node, height.0)),
                Effect::Installed { height, difference, .. } => self.installed.push((node, height.0, difference)),
                _ => {}
            }
        }
    }

    fn set_timer(&mut self, node: usize, timer: Timer, after_us: u64) {
        self.later(node, after_us, Input::Timer(timer));
    }

    pub fn hold_syncs_of(&mut self, node: usize) {
        self.slow.insert(node);
    }

    pub fn held_syncs(&self) -> usize {
        self.held.len()
    }

    pub fn release_syncs(&mut self) {
        self.slow.clear();
        for (node, incarnation, work) in std::mem::take(&mut self.held) {
            if self.incarnations[node] == incarnation {
                self.later(node, 0, Input::Done(work));
            }
        }
    }

    /// All that was said, to all or to one.
    #[allow(dead_code, reason = "the corpus of messages is recorded with it")]
    pub fn all_said(&self) -> impl Iterator<Item = &PeerMessage> {
        self.said.iter().flatten().chain(&self.to_one)
    }

    /// How many broadcasts of a node are like this.
    pub fn said(&self, node: usize, like: impl Fn(&PeerMessage) -> bool) -> usize {
        self.said[node].iter().filter(|message| like(message)).count()
    }

    /// The requests that were accepted.
    pub fn accepted(&self) -> Vec<u64> {
        let is_accepted =
            |answer: &Answer| matches!(answer, Answer::Decided(result) if result.outcome().verdict.is_accepted());
        self.answers.iter().filter(|(_, answer)| is_accepted(answer)).map(|(request, _)| *request).collect()
    }

    pub fn step(&mut self) -> bool {
        let Some(((at_us, _), (node, incarnation, input))) = self.queue.pop_first() else { return false };
        self.now_us = at_us;
        if self.incarnations[node] == incarnation {
            self.input(node, input);
        }
        true
    }

    pub fn run_for(&mut self, duration_us: u64) {
        let until_us = self.now_us + duration_us;
        while self.queue.first_key_value().is_some_and(|((at_us, _), _)| *at_us <= until_us) {
            self.step();
        }
        self.now_us = until_us;
    }

    /// Two seconds: enough for anything that needs no second view change.
    pub fn run(&mut self) {
        self.run_for(2_000_000);
    }
}
