//! The replica's actor: mailbox to consensus and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dtvn_messages::{Evidence, Head, ValidatorIndex, limits};
use dtvn_pbft::Ticket;
use dtvn_replication::consensus::{Committed, Consensus, Effect, Input, Timer};
use dtvn_replication::record::Encoded;

use super::message::{Pending, ReplicaMessage};
use super::trace::Trace;
use crate::gossip::{self, GossipMessage};
use crate::instruments::Instruments;
use crate::mailbox::{Address, Mail, SendError};
use crate::network::Offence;
use crate::shared::Shared;
use crate::state_machine::{self, CommitOrder, StateMachineMessage};
use crate::storage::{self, StorageMessage, StoreSlot};
use crate::supervision::{ActorError, Behaviour, Context, TaskHandle};
use crate::sync::{self, SyncMessage};

/// What the replica is made with.
#[derive(Clone)]
pub struct ReplicaArguments {
    /// What the node's actors share.
    pub shared: Shared,
    /// The instruments.
    pub instruments: Instruments,
    /// Where the store is read.
    pub store: StoreSlot,
}

/// The replica.
pub struct Replica {
    consensus: Consensus,
    shared: Shared,
    instruments: Instruments,
    trace: Trace,
    timers: BTreeMap<Timer, TaskHandle>,
    storage: Address<StorageMessage>,
    state_machine: Address<StateMachineMessage>,
    gossip: Address<GossipMessage>,
    sync: Address<SyncMessage>,
    effects: Vec<Effect>,
}

/// What one step hands to the storage, in one message.
#[derive(Default)]
struct Records {
    records: Vec<(Option<Ticket>, Encoded)>,
    flush: Option<Ticket>,
}

impl Replica {
    /// Recovers from the ledger's state and the records of the log, and begins.
    ///
    /// # Errors
    /// If state machine or storage do not answer, or the log cannot be read.
    pub async fn start(context: Context<ReplicaMessage>, arguments: ReplicaArguments) -> Result<Self, ActorError> {
        let ReplicaArguments { shared, instruments, store } = arguments;
        let wait = Duration::from_millis(limits::CORE_START_WAIT_MS);
        let state_machine = context.address_of(&state_machine::ROLE);
        let storage = context.address_of(&storage::ROLE);
        let base = state_machine.call(wait, StateMachineMessage::Reset).await?;
        let replayed = storage.call(wait, StorageMessage::Replay).await?.map_err(ActorError::new)?;
        let records = replayed.records.len();
        let voting = replayed.amnesia.is_none() && !shared.board.disk_is_full();
        let docket = shared.verifier.evidence.docket.clone();
        let stored = tokio::task::spawn_blocking(move || Stored::read(&store)).await??;
        stored.evidence.iter().for_each(|evidence| _ = docket.admit(evidence));
        let consensus = Consensus::new(shared.config.clone(), base, voting, shared.signer.clone());
        let mut consensus = consensus.with_docket(docket);
        for record in replayed.records {
            consensus.replay(shared.clock.now(), record);
        }
        let mut replica = Self {
            consensus,
            instruments,
            trace: Trace::default(),
            timers: BTreeMap::new(),
            storage,
            state_machine,
            gossip: context.address_of(&gossip::ROLE),
            sync: context.address_of(&sync::ROLE),
            effects: Vec::new(),
            shared,
        };
        let mut effects = Vec::new();
        replica.consensus.start(replica.shared.clock.now(), stored.uncertified, &mut effects);
        replica.carry_out(&context, effects)?;
        replica.post();
        let shown = replica.consensus.show();
        tracing::info!(
            height = shown.committed.0,
            view = shown.view.0,
            records,
            voting = shown.voting,
            "The replica has recovered."
        );
        Ok(replica)
    }

    fn post(&self) {
        let now = self.shared.clock.now().wall;
        self.shared.board.post_replica(self.consensus.show(), now);
    }

    fn carry_out(&mut self, context: &Context<ReplicaMessage>, effects: Vec<Effect>) -> Result<(), ActorError> {
        let mut records = Records::default();
        for effect in effects {
            self.carry_out_one(context, effect, &mut records)?;
        }
        if !records.records.is_empty() || records.flush.is_some() {
            let Records { records, flush } = records;
            deliver(&self.storage, StorageMessage::Records { records, flush, replica: context.myself() })?;
        }
        Ok(())
    }

    fn carry_out_one(
        &mut self,
        context: &Context<ReplicaMessage>,
        effect: Effect,
        records: &mut Records,
    ) -> Result<(), ActorError> {
        match effect {
            Effect::Append { ticket, record } => records.records.push((ticket, record)),
            Effect::Flush { ticket } => records.flush = Some(ticket),
            Effect::Broadcast(message) => self.shared.network.broadcast(&message),
            Effect::Send { to, message } => self.shared.network.send(to, &message),
            Effect::Execute { id, height, timestamp, bundles } => {
                self.trace.executing(height, self.shared.clock.now().wall);
                let replica = context.myself();
                let message = StateMachineMessage::Execute { id, height, timestamp, bundles, replica };
                deliver(&self.state_machine, message)?;
            }
            Effect::RollBack { to } => deliver(&self.state_machine, StateMachineMessage::RollBack(to))?,
            Effect::Commit(committed) => self.commit(*committed)?,
            Effect::Evidence(evidence) => self.keep_evidence(evidence)?,
            Effect::Certified(certificate) => deliver(&self.storage, StorageMessage::Receipt(certificate))?,
            Effect::Want { digests, holders } => deliver(&self.gossip, GossipMessage::Want { digests, holders })?,
            Effect::Unwant { digests } => deliver(&self.gossip, GossipMessage::Unwant(digests))?,
            Effect::Relay { digests, leader } => deliver(&self.gossip, GossipMessage::Relay { digests, leader })?,
            Effect::Sync { from, to, holders } => deliver(&self.sync, SyncMessage::Ask { from, to, holders })?,
            Effect::Stable(stable) => {
                tracing::debug!(height = stable.height().0, "A checkpoint is stable.");
                deliver(&self.gossip, GossipMessage::Stable(stable.height()))?;
                deliver(&self.storage, StorageMessage::Stable(stable))?;
            }
            Effect::SetTimer { timer, generation, after_us } => {
                let after = Duration::from_micros(after_us);
                let handle = context.send_after(after, ReplicaMessage::Timer { timer, generation });
                if let Some(former) = self.timers.insert(timer, handle) {
                    former.cancel();
                }
            }
            Effect::Prepared { height, signers } => {
                self.trace.prepared(height, signers, self.shared.clock.now().wall);
            }
            Effect::Moved { view, cause } => {
                tracing::info!(view = view.0, cause = cause.name(), "The replica moved to another view.");
                self.shared.board.count_view_change(cause);
                self.instruments.view_changed(cause);
            }
            Effect::Active { view } => tracing::info!(view = view.0, "The view is active."),
            Effect::Blame { peer, why } => self.blame(peer, why),
            Effect::Diverged { height, certified, own } => {
                tracing::error!(
                    height = height.0,
                    %certified,
                    %own,
                    "This node's state differs from what a quorum certified: it stops voting."
                );
            }
        }
        Ok(())
    }

    fn commit(&mut self, committed: Committed) -> Result<(), ActorError> {
        let now = self.shared.clock.now().wall;
        let view = self.consensus.show().view;
        let local = self.trace.committed(&committed, view, now, &self.instruments);
        let height = committed.block.header.height;
        let digests = committed.block.bundles.clone();
        let positions = committed.bundles.iter().map(|bundle| (bundle.body.origin, bundle.position())).collect();
        deliver(&self.gossip, GossipMessage::Ordered { height, digests, positions })?;
        let order = Box::new(CommitOrder { committed, local });
        deliver(&self.state_machine, StateMachineMessage::Commit(order))
    }

    /// Says loudly, once, that a validator lies, and keeps what shows it.
    fn keep_evidence(&self, evidence: Arc<Evidence>) -> Result<(), ActorError> {
        let (slot, culprit) = (evidence.slot(), evidence.culprit());
        let name = self.shared.config.set.get(culprit).map_or("", |validator| validator.name.as_str());
        tracing::error!(
            culprit = name,
            kind = evidence.kind().name(),
            epoch = slot.epoch.0,
            view = slot.view.0,
            height = slot.height.0,
            evidence = %evidence.name(),
            "A validator does not follow the protocol: the evidence is at /api/v1/evidence."
        );
        self.instruments.evidence(evidence.kind());
        deliver(&self.storage, StorageMessage::Evidence(evidence))
    }

    fn blame(&self, peer: ValidatorIndex, why: &'static str) {
        tracing::warn!(peer = peer.0, why, "A peer broke the protocol.");
        self.instruments.blamed();
        let Some(handle) = self.shared.network.get() else { return };
        handle.report_validator(peer, Offence::Lie);
    }
}

/// What the replica must know of the store.
struct Stored {
    /// Heads of recent blocks that have no receipt certificate.
    uncertified: Vec<Head>,
    evidence: Vec<Evidence>,
}

impl Stored {
    fn read(store: &StoreSlot) -> Result<Self, ActorError> {
        let reader = store.get().ok_or_else(|| ActorError::new("the store is not open"))?;
        let read = reader.read(|view| {
            let uncertified = view.uncertified(limits::RECEIPTS_KEPT_HEIGHTS)?;
            Ok(Self { uncertified, evidence: view.all_evidence()? })
        });
        read.map_err(ActorError::from)
    }
}

/// Gives a message to a neighbour. One that is down starts again and asks for what it needs; one whose mailbox is full
/// breaks an invariant.
fn deliver<M: Mail>(to: &Address<M>, message: M) -> Result<(), ActorError> {
    match to.try_send(message) {
        Ok(()) | Err(SendError::Down(_)) => Ok(()),
        Err(error) => Err(ActorError::new(error.to_string())),
    }
}

impl Behaviour for Replica {
    type Message = ReplicaMessage;

    async fn handle(&mut self, context: &Context<ReplicaMessage>, message: ReplicaMessage) -> Result<(), ActorError> {
        let input = match message {
            ReplicaMessage::Message { from, message, credit } => {
                drop(credit);
                Input::Message { from, message }
            }
            ReplicaMessage::Receipts { from, said, credit } => {
                drop(credit);
                Input::Receipts { from, said }
            }
            ReplicaMessage::Evidence { evidence, credit } => {
                drop(credit);
                Input::Evidence(evidence)
            }
            ReplicaMessage::Bundle(bundle) => Input::Bundle(bundle),
            ReplicaMessage::Executed { id, log_size, log_root } => Input::Executed { id, log_size, log_root },
            ReplicaMessage::Durable(ticket) => Input::Durable(ticket),
            ReplicaMessage::Timer { timer, generation } => Input::Timer { timer, generation },
            ReplicaMessage::Synced(checked) => Input::Synced(*checked),
            ReplicaMessage::PeerUp(peer) => Input::PeerUp(peer),
            ReplicaMessage::QuorumConnected(connected) => Input::QuorumConnected(connected),
            ReplicaMessage::PendingBundles(reply) => {
                let bundles = self.consensus.pending_bundles().cloned().collect();
                reply.send(Pending { bundles, positions: self.consensus.positions() });
                return Ok(());
            }
        };
        let mut effects = std::mem::take(&mut self.effects);
        self.consensus.step(self.shared.clock.now(), input, &mut effects);
        self.carry_out(context, effects)?;
        self.post();
        Ok(())
    }
}
