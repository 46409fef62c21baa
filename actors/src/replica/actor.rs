//! The replica's actor: mailbox to consensus and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dtvn_ledger::Executed;
use dtvn_messages::{Evidence, Height, ValidatorIndex, limits};
use dtvn_pbft::Ticket;
use dtvn_replication::consensus::{Committed, Consensus, Effect, Input, Timer};
use dtvn_replication::record::Encoded;
use dtvn_replication::recovery::Amnesia;

use super::epoch;
use super::message::{Pending, ReplicaMessage};
use super::trace::Trace;
use crate::gossip::{self, GossipMessage};
use crate::instruments::Instruments;
use crate::intake::{self, IntakeMessage};
use crate::mailbox::{Address, Mail, SendError};
use crate::network::Offence;
use crate::shared::Shared;
use crate::state_machine::{self, CommitOrder, StateMachineMessage};
use crate::storage::{self, StorageMessage, StoreSlot};
use crate::supervision::{ActorError, Behaviour, Context, TaskHandle};
use crate::sync::{self, SyncMessage};

/// How often a validator that lost its memory asks for its recovery.
const RECOVERY_AGAIN: Duration = Duration::from_millis(limits::RECOVERY_AGAIN_MS);

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
    pub(super) consensus: Consensus,
    /// Counts the values of `consensus`, one for each epoch: what was meant for a former one is dropped.
    pub(super) run: u64,
    /// That this node lost its memory.
    pub(super) amnesia: Option<Amnesia>,
    pub(super) store: StoreSlot,
    pub(super) intake: Address<IntakeMessage>,
    pub(super) shared: Shared,
    pub(super) instruments: Instruments,
    pub(super) trace: Trace,
    pub(super) timers: BTreeMap<Timer, TaskHandle>,
    pub(super) storage: Address<StorageMessage>,
    pub(super) state_machine: Address<StateMachineMessage>,
    pub(super) gossip: Address<GossipMessage>,
    pub(super) sync: Address<SyncMessage>,
    pub(super) effects: Vec<Effect>,
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
        let state_machine = context.address_of(&state_machine::ROLE);
        let storage = context.address_of(&storage::ROLE);
        let mut effects = Vec::new();
        let before = shared.epoch().config.epoch;
        // Before the ledger says where it stands: the root of a state that is known after that is not lost.
        context.listen();
        let recovered = epoch::recover(&shared, (&state_machine, &storage), &store, &mut effects).await?;
        let mut replica = Self {
            consensus: recovered.consensus,
            run: 1,
            amnesia: recovered.amnesia,
            store,
            instruments,
            trace: Trace::default(),
            timers: BTreeMap::new(),
            storage,
            state_machine,
            gossip: context.address_of(&gossip::ROLE),
            sync: context.address_of(&sync::ROLE),
            intake: context.address_of(&intake::ROLE),
            effects: Vec::new(),
            shared,
        };
        // A state that was installed may be of a later one.
        if replica.shared.epoch().config.epoch != before {
            replica.tell_epoch()?;
        }
        context.send_every(RECOVERY_AGAIN, || ReplicaMessage::AskForRecovery);
        // Its log may hold what the pool gave up: it votes for it, so it must be there for others.
        let pending = replica.consensus.pending_bundles().cloned().collect();
        deliver(&replica.gossip, GossipMessage::Restored(pending))?;
        replica.carry_out(&context, effects).await?;
        replica.post();
        Ok(replica)
    }

    fn post(&self) {
        let now = self.shared.clock.now().wall;
        self.shared.board.post_replica(self.consensus.show(), now);
    }

    async fn carry_out(&mut self, context: &Context<ReplicaMessage>, effects: Vec<Effect>) -> Result<(), ActorError> {
        let mut todo = effects;
        // An epoch that begins has effects of its own.
        while !todo.is_empty() {
            let mut records = Records::default();
            let mut over = None;
            for effect in todo.drain(..) {
                match effect {
                    Effect::EpochOver { committed, stable } => over = Some((committed, stable)),
                    other => self.carry_out_one(context, other, &mut records)?,
                }
            }
            if !records.records.is_empty() || records.flush.is_some() {
                let Records { records, flush } = records;
                let (replica, run) = (context.myself(), self.run);
                deliver(&self.storage, StorageMessage::Records { records, flush, replica, run })?;
            }
            if let Some((committed, stable)) = over {
                self.begin_epoch(committed, stable, &mut todo).await?;
            }
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
            Effect::EpochOver { .. } => {}
            Effect::ShowEpochEnd { to, epoch } => self.show_epoch_end(context, to, epoch),
            Effect::Broadcast(message) => self.shared.network.broadcast(&message),
            Effect::Send { to, message } => self.shared.network.send(to, &message),
            Effect::Execute { id, height, timestamp, bundles } => {
                self.trace.executing(height, self.shared.clock.now().wall);
                let replica = context.myself();
                let run = self.run;
                let message = StateMachineMessage::Execute { id, height, timestamp, bundles, replica, run };
                deliver(&self.state_machine, message)?;
            }
            Effect::RollBack { to } => deliver(&self.state_machine, StateMachineMessage::RollBack(to))?,
            Effect::Commit(committed) => self.commit(*committed)?,
            Effect::Evidence(evidence) => self.keep_evidence(evidence)?,
            Effect::Certified(certificate) => deliver(&self.storage, StorageMessage::Receipt(certificate))?,
            Effect::Want { digests, holders, proposer } => {
                deliver(&self.gossip, GossipMessage::Want { digests, holders, proposer })?
            }
            Effect::Release { digests } => deliver(&self.gossip, GossipMessage::Release(digests))?,
            Effect::Unwant { digests } => deliver(&self.gossip, GossipMessage::Unwant(digests))?,
            Effect::Relay { digests, leader } => deliver(&self.gossip, GossipMessage::Relay { digests, leader })?,
            Effect::Sync { from, to, holders } => deliver(&self.sync, SyncMessage::Ask { from, to, holders })?,
            Effect::Stable(stable) => {
                tracing::debug!(height = stable.height().0, "A checkpoint is stable.");
                deliver(&self.gossip, GossipMessage::Stable(stable.height()))?;
                deliver(&self.state_machine, StateMachineMessage::Stable(Arc::clone(&stable)))?;
                deliver(&self.storage, StorageMessage::Stable(stable))?;
            }
            Effect::SetTimer { timer, generation, after_us } => {
                let after = Duration::from_micros(after_us);
                let run = self.run;
                let handle = context.send_after(after, ReplicaMessage::Timer { run, timer, generation });
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
            Effect::CheckpointDiffers { peer, height } => self.on_other_checkpoint(peer, height),
            Effect::Diverged { height, certified, own } => {
                self.instruments.diverged();
                let at_least = self.consensus.show().stable;
                let why = format!("at height {height} the state differed from what a quorum certified");
                deliver(&self.storage, StorageMessage::Distrust(why))?;
                // One that is not up yet looks at the board when it starts.
                deliver(&self.sync, SyncMessage::Heal { at_least, differs_at: height })?;
                tracing::error!(
                    height = height.0,
                    %certified,
                    %own,
                    "This node's state differs from what a quorum certified: it stops voting, and fetches the certified one."
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
        let epoch = committed.block.header.epoch;
        let positions = committed.bundles.iter().map(|bundle| (bundle.body.origin, bundle.position())).collect();
        deliver(&self.gossip, GossipMessage::Ordered { epoch, height, digests, positions })?;
        let order = Box::new(CommitOrder { committed, local });
        deliver(&self.state_machine, StateMachineMessage::Commit(order))
    }

    /// Says loudly, once, that a validator lies, and keeps what shows it.
    fn keep_evidence(&self, evidence: Arc<Evidence>) -> Result<(), ActorError> {
        let (slot, culprit) = (evidence.slot(), evidence.culprit());
        let epoch = self.shared.epoch();
        let name = epoch.config.set.get(culprit).map_or("", |validator| validator.name.as_str());
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

    fn on_other_checkpoint(&self, peer: ValidatorIndex, height: Height) {
        self.instruments.checkpoint_differed();
        let epoch = self.shared.epoch();
        let peer = epoch.config.set.get(peer).map(|validator| validator.name.to_string());
        let (peer, height) = (peer.unwrap_or_default(), height.0);
        tracing::warn!(peer, height, "A validator's checkpoint is not the certified one: it has diverged, or lies.");
    }

    fn blame(&self, peer: ValidatorIndex, why: &'static str) {
        tracing::warn!(peer = peer.0, why, "A peer broke the protocol.");
        self.instruments.blamed();
        let Some(handle) = self.shared.network.get() else { return };
        handle.report_validator(peer, Offence::Lie);
    }
}

/// Gives a message to a neighbour. One that is down starts again and asks for what it needs; one whose mailbox is full
/// breaks an invariant.
pub(super) fn deliver<M: Mail>(to: &Address<M>, message: M) -> Result<(), ActorError> {
    match to.try_send(message) {
        Ok(()) | Err(SendError::Down(_)) => Ok(()),
        Err(error) => Err(ActorError::new(error.to_string())),
    }
}

impl Behaviour for Replica {
    type Message = ReplicaMessage;

    async fn handle(&mut self, context: &Context<ReplicaMessage>, message: ReplicaMessage) -> Result<(), ActorError> {
        let input = match message {
            // What was checked in the epoch before says nothing in this one: there its sender's index is perhaps another's.
            // Whoever it is tells it again, in the right epoch.
            ReplicaMessage::Message { epoch, .. } | ReplicaMessage::Receipts { epoch, .. }
                if epoch != self.consensus.epoch() =>
            {
                return Ok(());
            }
            ReplicaMessage::Message { from, message, credit, .. } => {
                drop(credit);
                Input::Message { from, message }
            }
            ReplicaMessage::Receipts { from, said, credit, .. } => {
                drop(credit);
                Input::Receipts { from, said }
            }
            ReplicaMessage::Evidence { evidence, credit } => {
                drop(credit);
                Input::Evidence(evidence)
            }
            ReplicaMessage::EpochEnd { end, credit } => {
                drop(credit);
                Input::EpochEnd(end)
            }
            ReplicaMessage::Bundle(bundle) => Input::Bundle(bundle),
            ReplicaMessage::PoolFull(held) => Input::PoolFull(held),
            // What was meant for the consensus of a former epoch.
            ReplicaMessage::Executed { run, .. }
            | ReplicaMessage::Durable { run, .. }
            | ReplicaMessage::Timer { run, .. }
                if run != self.run =>
            {
                return Ok(());
            }
            ReplicaMessage::Executed { id, executed, .. } => {
                let Executed { log_size, log_root, succession } = executed;
                Input::Executed { id, log_size, log_root, succession }
            }
            ReplicaMessage::AskForRecovery => {
                self.ask_for_recovery();
                return Ok(());
            }
            ReplicaMessage::StateRoot { height, root } => Input::StateRoot { height, root },
            ReplicaMessage::Durable { ticket, .. } => Input::Durable(ticket),
            ReplicaMessage::Timer { timer, generation, .. } => Input::Timer { timer, generation },
            ReplicaMessage::Synced(checked) => Input::Synced(*checked),
            ReplicaMessage::PeerUp(peer) => Input::PeerUp(peer),
            ReplicaMessage::QuorumConnected(connected) => Input::QuorumConnected(connected),
            ReplicaMessage::PendingBundles(reply) => {
                let committee = self.shared.epoch().config.committee();
                let bundles = self.consensus.pending_bundles().cloned().collect();
                reply.send(Pending { committee, bundles, positions: self.consensus.positions() });
                return Ok(());
            }
        };
        let mut effects = std::mem::take(&mut self.effects);
        self.consensus.step(self.shared.clock.now(), input, &mut effects);
        self.carry_out(context, effects).await?;
        self.post();
        Ok(())
    }
}
