//! A whole node as one value: consensus with its outbox, the ledger, the bundle pool, catching up, the intake, checks of
//! what peers say, and the consensus log in its real format, behind [`Node::step`] (architecture.md section 1).
//!
//! The actors of a node wrap the same parts. Here mailboxes are one queue that is empty at the end of each step, and what
//! takes time elsewhere (a sync, an execution, a check of a bundle's signature, a timer) is announced as an effect and
//! comes back as an input, when the world says so. There is no clock, randomness or thread in it. Where an actor's order
//! matters, the same order stands here:
//!
//! | here | the actor |
//! |---|---|
//! | `start` | the tree in its order: storage, state machine, replica, sync, gossip, intake |
//! | `disk` | storage: group commit of the log, the store, collecting |
//! | `replica` | replica and state machine |
//! | `links` | verifier, presence, gossip, sync |
//! | `snapshot` | sync and storage: a state in the place of this node's |
//! | `edge` | intake |
//! | `epoch` | all of them, from one epoch to the next |
//! | `follow` | sync: those to whom nobody says anything |
//! | `requests` | sync and verifier: what peers ask for and answer |
//!
//! What outlives the process is [`Media`].

mod disk;
mod edge;
mod epoch;
mod follow;
mod links;
mod messages;
mod replica;
mod requests;
mod snapshot;
mod start;
mod store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use dtvn_messages::{Digest, Epoch, Genesis, Height, NodeName, Nonce, Now, PublicKey, Scheme, Signer, ValidatorIndex};
use dtvn_pbft::{Config, ReplicaView, Ticket};

use crate::consensus::{self, Consensus};
use crate::execution::{Execution, Identity, Stored};
use crate::initial::InitialState;
use crate::intake::{self, Intake, IntakeLimits};
use crate::log::{Disk, Log, LogIdentity, LogLimits};
use crate::logbook::LogBook;
use crate::pool::{self, Pool, PoolLimits};
use crate::record::LogRecord;
use crate::recovery::Amnesia;
use crate::sync::{self, Sync};
use crate::verify::Verifier;

pub use messages::{Checked, Effect, Executed, Input, Part, Timed, Timer, Work};
pub use start::Unstarted;
pub use store::{MemoryStore, StoreFull};

use messages::LogWork;

/// What a node is made with.
#[derive(Clone)]
pub struct NodeSettings {
    /// The genesis of its chain.
    pub genesis: Arc<Genesis>,
    /// The state that the chain begins with, if it continues another one.
    pub initial: Option<Arc<InitialState>>,
    /// Its name.
    pub name: NodeName,
    /// Its key.
    pub signer: Arc<dyn Signer>,
    /// How it checks signatures.
    pub scheme: Arc<dyn Scheme>,
    /// The name of the recovery that it asks for if its log turns out to be damaged: random, another one at each start.
    pub nonce: Nonce,
    /// Sizes of its consensus log.
    pub log_limits: LogLimits,
    /// The bounds of its bundle pool.
    pub pool_limits: PoolLimits,
    /// The bounds of its intake.
    pub intake_limits: IntakeLimits,
    /// A number that others do not know: see [`pool::PoolSettings::seed`].
    pub pool_seed: u64,
    /// The store is made durable whenever so many blocks were applied since.
    pub store_sync_blocks: u64,
}

impl NodeSettings {
    fn identity(&self) -> Identity {
        let (genesis, key) = (Arc::clone(&self.genesis), Some(self.signer.public()));
        Identity { genesis, key, scheme: Arc::clone(&self.scheme) }
    }

    fn verifier(&self, config: &Config) -> Verifier {
        Verifier::of(config, Arc::clone(&self.scheme))
    }

    fn log_identity(&self) -> LogIdentity {
        LogIdentity::new(self.genesis.chain_id(), &self.name, &self.genesis.hash())
    }
}

/// What outlives a node's process.
#[derive(Debug, Clone)]
pub struct Media<D> {
    /// The consensus log's disk.
    pub disk: D,
    /// The derived state.
    pub store: MemoryStore,
    /// That the node must not vote, if it must not: its log is missing or damaged.
    pub amnesia: Option<Amnesia>,
    /// The epoch that the node's last recovery opened: it forgot what it signed before, and signs nothing in earlier ones,
    /// into which the loss of a database may take it back.
    pub votes_from: Epoch,
    /// Whether the node was started before.
    pub used_before: bool,
    /// Parts of snapshots by their hash, as they travelled: what a fetch that was cut short goes on with.
    pub parts: BTreeMap<Digest, Vec<u8>>,
}

impl<D> Media<D> {
    /// What a new node has, whose chain begins with this.
    #[must_use]
    pub fn new(disk: D, beginning: Stored) -> Self {
        Self {
            disk,
            store: MemoryStore::of(beginning),
            amnesia: None,
            votes_from: Epoch(0),
            used_before: false,
            parts: BTreeMap::new(),
        }
    }
}

/// What one part of the node tells another.
enum Mail {
    Replica(consensus::Input),
    Gossip(pool::Input),
    Sync(sync::Input),
    Intake(intake::Input),
}

/// The incarnations of the parts: what was meant for a former one is dropped.
#[derive(Debug, Default)]
struct Incarnations {
    log: u64,
    replica: u64,
    sync: u64,
    gossip: u64,
    intake: u64,
}

/// The thread of the consensus log.
struct LogDesk<D> {
    /// The log; none after it could not be opened again.
    book: Option<LogBook<D>>,
    /// The disk of a log that could not be opened again.
    closed: Option<D>,
    /// What was read when the log was opened, for the replica that asks first.
    records: Option<Vec<LogRecord>>,
    /// What came while a sync was under way.
    queue: VecDeque<LogWork>,
    /// The last ticket that was appended and is not durable, and the incarnation of the replica that hears of it.
    waiting: Option<(Ticket, u64)>,
    flush: bool,
    /// A sync is under way; with what becomes durable by it.
    syncing: Option<Option<(Ticket, u64)>>,
}

/// A node.
pub struct Node<D> {
    settings: NodeSettings,
    now: Now,
    mail: VecDeque<Mail>,
    incarnations: Incarnations,
    desk: LogDesk<D>,
    store: MemoryStore,
    covered: Height,
    amnesia: Option<Amnesia>,
    votes_from: Epoch,
    /// The present epoch.
    config: Config,
    verifier: Verifier,
    parts: BTreeMap<Digest, Vec<u8>>,
    execution: Execution,
    consensus: Consensus,
    sync: Sync,
    pool: Pool,
    intake: Intake,
    connected: BTreeSet<ValidatorIndex>,
    /// Those connected that are no validators of the epoch.
    strangers: BTreeSet<PublicKey>,
    quorum: bool,
    syncing: bool,
    /// It asks for what is committed from time to time: nobody says so.
    following: bool,
    failed: bool,
}

/// Why a node cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

impl Failure {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl<D: Disk> Node<D> {
    /// Takes one input and appends what follows from it. A node that said [`Effect::Failed`] does nothing more.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        self.now = now;
        if self.failed {
            return;
        }
        let stepped = self.take(input, effects).and_then(|()| self.settle_all(effects));
        if let Err(failure) = stepped {
            self.failed = true;
            effects.push(Effect::Failed(failure.0));
        }
    }

    fn take(&mut self, input: Input, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        match input {
            Input::Frame { from, class, bytes } => self.on_frame(from, class, &bytes, effects),
            Input::Message { from, message } => self.on_message(from, message, effects),
            Input::Stranger { peer, message } => self.on_stranger(peer, message, effects),
            Input::PeerUp(peer) => self.on_peer_up(peer),
            Input::PeerDown(peer) => self.on_peer_down(peer),
            Input::StrangerUp(peer) => drop(self.strangers.insert(peer)),
            Input::StrangerDown(peer) => drop(self.strangers.remove(&peer)),
            Input::Submit { request, operations, wait_ms } => {
                self.mail.push_back(Mail::Intake(intake::Input::Submit { request, operations, wait_ms }));
            }
            Input::Done(Work::Sync { incarnation }) => return self.on_synced(incarnation),
            Input::Done(Work::Execute(executed)) => self.on_executed(&executed),
            Input::Done(Work::Verify(Checked { from, bundle, ok })) => {
                self.mail.push_back(Mail::Gossip(pool::Input::Verified { from, bundle, ok }));
            }
            Input::Timer(timer) => self.on_timer(timer, effects),
            Input::Restart(part) => return self.restart(part, effects),
        }
        Ok(())
    }

    /// Hands over all mail, and what follows from it, until nothing is left.
    fn settle_all(&mut self, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        while let Some(mail) = self.mail.pop_front() {
            match mail {
                Mail::Replica(input) => self.step_replica(input, effects)?,
                Mail::Gossip(input) => self.step_gossip(input, effects),
                Mail::Sync(input) => self.step_sync(input, effects)?,
                Mail::Intake(input) => self.step_intake(input, effects)?,
            }
        }
        self.follow_unless_told(effects);
        self.settle_log(effects)
    }

    fn on_timer(&mut self, timer: Timer, effects: &mut Vec<Effect>) {
        let Timer { of, incarnation, generation } = timer;
        let mail = match of {
            Timed::Replica(timer) if incarnation == self.incarnations.replica => {
                Mail::Replica(consensus::Input::Timer { timer, generation })
            }
            Timed::Pool if incarnation == self.incarnations.gossip => Mail::Gossip(pool::Input::Timer { generation }),
            Timed::Sync if incarnation == self.incarnations.sync => Mail::Sync(sync::Input::Timer { generation }),
            Timed::Intake if incarnation == self.incarnations.intake => {
                Mail::Intake(intake::Input::Timer { generation })
            }
            Timed::Recovery => return self.ask_for_recovery(effects),
            Timed::Follow => return self.follow(),
            _ => return,
        };
        self.mail.push_back(mail);
    }

    /// What the replica shows of itself.
    #[must_use]
    pub fn show(&self) -> ReplicaView {
        self.consensus.show()
    }

    /// The consensus log; none in a node that failed for want of it.
    #[must_use]
    pub fn log(&self) -> Option<&Log<D>> {
        self.desk.book.as_ref().map(LogBook::log)
    }

    /// The disk of the consensus log, for a simulator that plants faults in it.
    pub fn disk_mut(&mut self) -> Option<&mut D> {
        self.desk.book.as_mut().map(LogBook::disk_mut)
    }

    /// The ledger with its speculation.
    #[must_use]
    pub const fn execution(&self) -> &Execution {
        &self.execution
    }

    /// The derived state.
    #[must_use]
    pub const fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// The derived state, for a simulator that plants faults in it.
    pub const fn store_mut(&mut self) -> &mut MemoryStore {
        &mut self.store
    }

    /// The bundle pool.
    #[must_use]
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The intake.
    #[must_use]
    pub const fn intake(&self) -> &Intake {
        &self.intake
    }

    /// That the node must not vote, if it must not.
    #[must_use]
    pub const fn amnesia(&self) -> Option<&Amnesia> {
        self.amnesia.as_ref()
    }

    /// The present epoch, and which of its validators the node is.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The snapshot that is being fetched: its height, how many of its parts are missing, and how many it has.
    #[must_use]
    pub fn fetching(&self) -> Option<(Height, usize, usize)> {
        self.sync.snapshot()
    }

    /// Parts of snapshots that are kept, by their hash.
    #[must_use]
    pub const fn parts(&self) -> &BTreeMap<Digest, Vec<u8>> {
        &self.parts
    }

    /// Who it is.
    #[must_use]
    pub const fn settings(&self) -> &NodeSettings {
        &self.settings
    }

    /// The process is killed: what outlives it. (When the machine loses its power too, more is lost:
    /// [`crate::log::MemoryDisk::crash`], [`MemoryStore::crash`].)
    #[must_use]
    #[expect(clippy::expect_used, reason = "a log that is closed leaves its disk")]
    pub fn kill(self) -> Media<D> {
        let Self { desk, store, amnesia, votes_from, parts, .. } = self;
        let disk = desk.book.map(LogBook::into_disk).or(desk.closed).expect("the disk is in the log or beside it");
        Media { disk, store, amnesia, votes_from, used_before: true, parts }
    }
}
