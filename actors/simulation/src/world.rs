//! The world: a heap of events keyed (time, sequence), hosts, the network between them, and clients. Whatever happens,
//! happens in one event after the other, and the oracle looks at each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use dtvn_messages::{Digest, Ed25519, Genesis, Height, PublicKey, Scheme, Timestamp};
use dtvn_replication::node::{Effect, Input, Node, Timer, Work};
use dtvn_replication::verify::Remembering;

use crate::clients::Clients;
use crate::coverage::Coverage;
use crate::faults::{Act, LostVotes};
use crate::host::{Host, key_of};
use crate::lies::{Behaviour, Conspiracy, Payload};
use crate::links::{Links, Weather};
use crate::operators::Operators;
use crate::oracle::{Chain, Invariant, Violation};
use crate::random::{Concern, Random};
use crate::scenario::{Fault, Level, Sabotage, Scenario};
use crate::signature::FastScheme;
use crate::stage::Staged;

/// Something that happens.
pub(crate) enum Event {
    /// A message arrives, of a host that had this key.
    Deliver { from: usize, key: PublicKey, to: usize, payload: Payload },
    /// Work that a node announced is done.
    Done { host: usize, incarnation: u64, work: Work },
    /// A timer fires.
    Timer { host: usize, incarnation: u64, timer: Timer },
    /// A host notices that a link came up or went down.
    Link { host: usize, incarnation: u64, peer: usize, up: bool },
    /// A client acts, or has waited long enough.
    Client { client: usize, turn: u64 },
    /// Something breaks, or is mended.
    Act(Act),
}

impl Event {
    /// The host whose process it is for.
    const fn host(&self) -> Option<usize> {
        match self {
            Self::Deliver { to, .. } => Some(*to),
            Self::Done { host, .. } | Self::Timer { host, .. } | Self::Link { host, .. } => Some(*host),
            Self::Client { .. } | Self::Act(_) => None,
        }
    }
}

/// The generators, one for each concern.
pub(crate) struct Randoms {
    pub(crate) network: Random,
    pub(crate) disk: Random,
    pub(crate) clock: Random,
    pub(crate) lies: Random,
    pub(crate) workload: Random,
    pub(crate) faults: Random,
}

/// The world.
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) now_us: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) links: Links,
    pub(crate) weather: Weather,
    pub(crate) randoms: Randoms,
    pub(crate) clients: Clients,
    pub(crate) chain: Chain,
    pub(crate) coverage: Coverage,
    /// The number of the partition of the moment.
    pub(crate) partition: u64,
    /// Votes are lost.
    pub(crate) lossy_votes: Option<LostVotes>,
    /// How many times votes began to be lost.
    pub(crate) vote_loss: u64,
    /// Who changes the validators.
    pub(crate) operators: Operators,
    /// Messages that are said again in another epoch, one of so many, and how many there were.
    pub(crate) archived: Vec<Event>,
    pub(crate) archived_of: u64,
    pub(crate) archived_count: u64,
    /// What a story asks for.
    pub(crate) staged: Staged,
    /// How many messages of each kind arrived.
    pub(crate) arrived: BTreeMap<&'static str, u64>,
    /// The height at which all was decided that anybody asked for, once everything had healed.
    pub(crate) decided_at: Option<Height>,
    /// When a block was first proposed.
    pub(crate) proposed_us: BTreeMap<Digest, u64>,
    /// Whether faults happen.
    pub(crate) is_faulty: bool,
    /// How many events happened.
    pub(crate) events: u64,
    pub(crate) hash: u64,
    /// The keys of those who lie.
    pub(crate) liars: BTreeSet<PublicKey>,
    pub(crate) conspiracy: Conspiracy,
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    pending: Vec<Option<Event>>,
    free: Vec<usize>,
    sequence: u64,
    pub(crate) scheme: Arc<dyn Scheme>,
    pub(crate) effects: Vec<Effect>,
    /// Whose inputs and effects are shown, and to whom.
    pub(crate) trace: Option<Trace>,
}

/// Shows what one host is told and says.
pub(crate) struct Trace {
    pub(crate) host: usize,
    pub(crate) show: Box<dyn FnMut(String)>,
}

/// Virtual time begins a while after the genesis.
const START_US: u64 = 1_000_000;

/// What FNV-1a begins with, and multiplies by.
const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;
const HASH_FACTOR: u64 = 0x0000_0100_0000_01b3;

/// A word for a name, made of all its bytes.
fn word_of(name: &str) -> u64 {
    name.bytes().fold(HASH_START, |word, byte| (word ^ u64::from(byte)).wrapping_mul(HASH_FACTOR))
}

impl World {
    /// A network that is not started.
    pub(crate) fn new(scenario: Scenario) -> Self {
        let genesis = Arc::new(scenario.genesis());
        let seed = scenario.seed;
        let scheme: Arc<dyn Scheme> = match scenario.real {
            true => Arc::new(Remembering::new(Ed25519)),
            false => Arc::new(FastScheme),
        };
        let liars: BTreeSet<PublicKey> = scenario.liars.iter().map(|(liar, _)| key_of(*liar, 0).public()).collect();
        let chain = Chain::new(Arc::clone(&genesis), Arc::clone(&scheme), liars.clone());
        let random = |concern| Random::new(seed, concern);
        let mut world = Self {
            now_us: START_US,
            hosts: Vec::new(),
            links: Links::default(),
            weather: Weather::of(&scenario),
            randoms: Randoms {
                network: random(Concern::Network),
                disk: random(Concern::Disk),
                clock: random(Concern::Clock),
                lies: random(Concern::Lies),
                workload: random(Concern::Workload),
                faults: random(Concern::Faults),
            },
            clients: Clients::new(&scenario),
            chain,
            coverage: Coverage::default(),
            partition: 0,
            lossy_votes: None,
            vote_loss: 0,
            operators: Operators::default(),
            archived: Vec::new(),
            archived_of: Self::archives(scenario.level(Fault::Members) != Level::Off || scenario.joiners > 0),
            archived_count: 0,
            staged: Staged::default(),
            arrived: BTreeMap::new(),
            decided_at: None,
            proposed_us: BTreeMap::new(),
            is_faulty: true,
            events: 0,
            hash: HASH_START,
            liars,
            conspiracy: Conspiracy::default(),
            heap: BinaryHeap::new(),
            pending: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            scheme,
            effects: Vec::new(),
            trace: None,
            genesis,
            scenario,
        };
        world.make_hosts();
        world
    }

    /// Schedules an event; its number.
    pub(crate) fn schedule(&mut self, after_us: u64, event: Event) -> u64 {
        self.sequence += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.pending[place] = Some(event);
                place
            }
            None => {
                self.pending.push(Some(event));
                self.pending.len() - 1
            }
        };
        self.heap.push(Reverse((self.now_us + after_us, self.sequence, place)));
        self.sequence
    }

    /// Starts the process of a host, on what its last one left.
    pub(crate) fn start(&mut self, host: usize) -> Result<(), Violation> {
        let settings = self.settings(host);
        let now = self.now_of(host);
        let (epoch, set) = self.epoch_of_media(host);
        self.enter(host, epoch, set);
        let Some(media) = self.hosts[host].media.take() else { return Ok(()) };
        if self.scenario.sabotage == Some(Sabotage::LyingDisk) {
            self.hosts[host].stale_disk = Some(media.disk.clone());
        }
        let mut effects = Vec::new();
        match Node::start(settings, media, now, &mut effects) {
            Ok(node) => {
                let is_amnesiac = node.amnesia().is_some();
                let at = &mut self.hosts[host];
                at.node = Some(Box::new(node));
                at.linked.clear();
                at.announced.clear();
                at.timers.clear();
                at.busy_until_us = [0; 2];
                if is_amnesiac && !at.is_damaged {
                    at.is_damaged = true;
                    self.coverage.amnesiacs += 1;
                }
                if !is_amnesiac && std::mem::take(&mut at.may_forget) {
                    // The harm met nothing that its log holds.
                    self.scenario.spare_faults += usize::from(at.is_honest);
                }
                self.effects = effects;
                self.carry_out(host)?;
                self.greet(host);
                Ok(())
            }
            Err(unstarted) => {
                self.hosts[host].media = Some(unstarted.media);
                self.count_struck(host);
                if self.hosts[host].is_disk_broken || !self.hosts[host].is_honest {
                    // The next attempt is another process: it reads the disk anew.
                    if let Some(media) = self.hosts[host].media.as_mut() {
                        media.disk.restart();
                    }
                    self.schedule(200_000, Event::Act(Act::Start(host)));
                    return Ok(());
                }
                Err(Violation::new(Invariant::NoCrash, format!("host {host} does not start: {}", unstarted.why)))
            }
        }
    }

    /// The time on a host.
    fn now_of(&self, host: usize) -> dtvn_messages::Now {
        self.hosts[host].now(Timestamp(self.genesis.file().time.0), self.now_us)
    }

    /// Takes the next event; false if there is none until then.
    pub(crate) fn step(&mut self, until_us: u64) -> Result<bool, Violation> {
        let Some(Reverse((at_us, sequence, place))) = self.heap.peek().copied().filter(|next| next.0.0 <= until_us)
        else {
            self.now_us = self.now_us.max(until_us);
            return Ok(false);
        };
        self.heap.pop();
        self.now_us = at_us;
        self.free.push(place);
        if let Some(event) = self.pending[place].take() {
            self.happen(sequence, event)?;
        }
        Ok(true)
    }

    pub(crate) fn happen(&mut self, sequence: u64, event: Event) -> Result<(), Violation> {
        // What comes for a host that stands still waits, in its order.
        if let Some(host) = event.host().filter(|host| self.hosts[*host].is_paused(self.now_us)) {
            self.hosts[host].waiting.push((sequence, event));
            return Ok(());
        }
        match event {
            Event::Deliver { from, key, to, payload } => self.deliver((from, key), to, payload),
            Event::Done { host, incarnation, work } => {
                if self.hosts[host].incarnation != incarnation {
                    return Ok(());
                }
                self.note(2, host as u64, incarnation);
                self.input(host, Input::Done(work))
            }
            Event::Timer { host, incarnation, timer } => {
                let at = &mut self.hosts[host];
                if at.incarnation != incarnation || at.timers.get(&timer.name()) != Some(&sequence) {
                    return Ok(());
                }
                at.timers.remove(&timer.name());
                self.note(3, host as u64, incarnation);
                self.input(host, Input::Timer(timer))
            }
            Event::Link { host, incarnation, peer, up } => self.on_link(host, incarnation, peer, up),
            Event::Client { client, turn } => self.on_client(client, turn),
            Event::Act(act) => self.act(act),
        }
    }

    fn deliver(&mut self, (from, key): (usize, PublicKey), to: usize, payload: Payload) -> Result<(), Violation> {
        if !self.hosts[to].is_up() || !self.links.carries(from, to) || !self.share(from, to, payload.class()) {
            return Ok(());
        }
        self.coverage.delivered += 1;
        *self.arrived.entry(payload.name()).or_default() += 1;
        self.note(1, (to as u64) << 32 | from as u64, word_of(payload.name()));
        if self.is_ignored(to, &payload) {
            return Ok(());
        }
        match self.received((from, key), to, payload) {
            Some(input) => self.input(to, input),
            None => Ok(()),
        }
    }

    /// Whether a liar closes its ears to something.
    fn is_ignored(&mut self, to: usize, payload: &Payload) -> bool {
        let (Some(filter), Payload::Message(message)) = (&mut self.hosts[to].filter, payload) else { return false };
        filter.hear(message);
        let is_ignored = filter.ignores(message);
        self.coverage.told.0[Behaviour::OriginCensored as usize] += u64::from(is_ignored);
        is_ignored
    }

    /// Hands an input to a host's node, and carries out what follows.
    pub(crate) fn input(&mut self, host: usize, input: Input) -> Result<(), Violation> {
        let now = self.now_of(host);
        self.show(host, "<-", &input);
        let at = &mut self.hosts[host];
        let Some(node) = at.node.as_mut() else { return Ok(()) };
        self.coverage.skewed_clocks += u64::from(at.clock.ahead_us != 0);
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        node.step(now, input, &mut effects);
        self.effects = effects;
        self.carry_out(host)?;
        if std::mem::take(&mut self.hosts[host].has_failed) {
            self.on_failed(host);
        }
        Ok(())
    }

    pub(crate) fn show(&mut self, host: usize, arrow: &str, what: &dyn std::fmt::Debug) {
        let now_us = self.now_us;
        if let Some(trace) = self.trace.as_mut().filter(|trace| trace.host == host) {
            (trace.show)(format!("{now_us:>10} {arrow} {what:?}"));
        }
    }

    /// Folds something into the event hash.
    pub(crate) fn note(&mut self, kind: u64, first: u64, second: u64) {
        self.events += 1;
        for word in [kind, self.now_us, first, second] {
            self.hash = (self.hash ^ word).wrapping_mul(HASH_FACTOR);
            self.hash ^= self.hash >> 31;
        }
    }
}

#[cfg(test)]
mod tests {
    use dtvn_messages::Height;
    use dtvn_messages::wire::PeerMessage;

    use super::*;

    /// The event hash after one message arrived.
    fn hash_of(message: PeerMessage) -> u64 {
        let mut world = World::new(Scenario::quiet(1, 4));
        world.begin().unwrap();
        let (key, before) = (world.hosts[0].key(), world.hash);
        world.deliver((0, key), 1, Payload::Message(message)).unwrap();
        assert_ne!(world.hash, before, "it arrived");
        world.hash
    }

    #[test]
    fn the_hash_tells_messages_apart_whose_names_are_of_one_length() {
        let request =
            PeerMessage::SnapshotRequest { height: Height(1), at_least: Height(1), epoch: dtvn_messages::Epoch(0) };
        let refusal = PeerMessage::SnapshotRefused { height: Height(1) };
        assert_eq!(request.name().len(), refusal.name().len());
        assert_eq!(hash_of(request.clone()), hash_of(request.clone()));
        assert_ne!(hash_of(request), hash_of(refusal));
    }
}
