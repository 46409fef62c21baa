//! The gossip's actor: mailbox to pool and back.

use std::sync::Arc;
use std::time::Duration;

use dtvn_messages::{Bundle, limits};
use dtvn_replication::pool::{Effect, Input, Pool, PoolLimits, PoolSettings};
use dtvn_replication::record::LogRecord;

use super::message::{FromPeer, GossipMessage};
use crate::intake::{self, IntakeMessage};
use crate::mailbox::{Address, Mail, SendError};
use crate::network::Offence;
use crate::network::keys::peer_id;
use crate::replica::{self, Pending, ReplicaMessage};
use crate::shared::Shared;
use crate::storage::{self, StorageMessage};
use crate::supervision::{ActorError, Behaviour, Context, TaskHandle};
use crate::verifier::{self, VerifierMessage};

/// What the gossip is made with.
#[derive(Clone)]
pub struct GossipArguments {
    /// What the node's actors share.
    pub shared: Shared,
}

/// The gossip.
pub struct Gossip {
    pool: Pool,
    shared: Shared,
    timer: Option<TaskHandle>,
    replica: Address<ReplicaMessage>,
    storage: Address<StorageMessage>,
    intake: Address<IntakeMessage>,
    verifiers: Vec<Address<VerifierMessage>>,
}

impl Gossip {
    /// Starts with what the replica holds.
    ///
    /// # Errors
    /// If the replica does not answer.
    pub async fn start(context: Context<GossipMessage>, arguments: GossipArguments) -> Result<Self, ActorError> {
        let shared = arguments.shared;
        let replica = context.address_of(&replica::ROLE);
        let wait = Duration::from_millis(limits::CORE_START_WAIT_MS);
        // Before it asks: what the replica says after its answer is not lost, nor that it started again since, nor what the
        // intake cuts meanwhile.
        context.listen();
        watch(&context, &replica, || GossipMessage::ReplicaRestarted);
        let Pending { committee, bundles, positions } =
            replica.call_when_up(wait, ReplicaMessage::PendingBundles).await?;
        let epoch = committee.epoch;
        let settings = PoolSettings {
            chain: shared.genesis.chain_id().clone(),
            epoch,
            validators: committee.set,
            own: committee.me,
            seed: shared.clock.now().wall.0 ^ u64::from(std::process::id()).rotate_left(32),
            limits: PoolLimits::default(),
        };
        let mut gossip = Self {
            pool: Pool::new(settings),
            timer: None,
            storage: context.address_of(&storage::ROLE),
            intake: context.address_of(&intake::ROLE),
            verifiers: (0..limits::VERIFIER_WORKERS)
                .map(|worker| context.address_of(&verifier::role(worker)))
                .collect(),
            replica: replica.clone(),
            shared,
        };
        gossip.step(&context, Input::Positions { epoch, positions })?;
        for bundle in bundles {
            gossip.step(&context, Input::Restored(bundle))?;
        }
        for verifier in &gossip.verifiers {
            watch(&context, verifier, || GossipMessage::VerifierRestarted);
        }
        // An intake that is down starts later, and offers nothing yet.
        let _down = gossip.intake.try_send(IntakeMessage::PoolRestarted);
        Ok(gossip)
    }

    fn step(&mut self, context: &Context<GossipMessage>, input: Input) -> Result<(), ActorError> {
        let mut effects = Vec::new();
        self.pool.step(self.shared.clock.now(), input, &mut effects);
        effects.into_iter().try_for_each(|effect| self.carry_out(context, effect))
    }

    fn carry_out(&mut self, context: &Context<GossipMessage>, effect: Effect) -> Result<(), ActorError> {
        match effect {
            Effect::Send { to, message } => self.shared.network.send(to, &message),
            Effect::Broadcast(message) => self.shared.network.broadcast(&message),
            Effect::Verify { from, bundle } => self.verify(from, bundle)?,
            Effect::Log(bundle) => deliver(&self.storage, StorageMessage::Append(LogRecord::Bundle(bundle).encode()))?,
            Effect::Available(meta) => {
                if let Some(bundle) = self.pool.bundle(&meta.digest) {
                    deliver(&self.replica, ReplicaMessage::Bundle(Arc::clone(bundle)))?;
                }
            }
            Effect::Superseded { bundle, last } => {
                if self.shared.epoch().config.is_me(bundle.body.epoch, bundle.body.origin) {
                    deliver(&self.intake, IntakeMessage::BundleGone { bundle, last })?;
                }
            }
            Effect::Conflict { first, second } => {
                tracing::warn!(
                    origin = first.body.origin.0,
                    first = %first.digest,
                    second = %second.digest,
                    "A validator signed two bundles under one number."
                );
            }
            Effect::Refused { from, refusal } => {
                tracing::debug!(from = from.0, ?refusal, "A bundle of a peer was not taken.");
            }
            Effect::WantRefused { digests } => {
                tracing::warn!(count = digests.len(), "The replica wants more bundles than may be looked for at once.");
            }
            Effect::ReserveFull { held } => deliver(&self.replica, ReplicaMessage::PoolFull(held))?,
            Effect::Full(full) => deliver(&self.intake, IntakeMessage::PoolFull(full))?,
            Effect::Blame { peer, why } => {
                tracing::warn!(peer = peer.0, why = why.name(), "A peer broke the rules of gossip.");
                // By its key: in the epoch that the network is in its index may be another's.
                let key = self.pool.validators().key(peer);
                if let (Some(handle), Some(Ok(peer))) = (self.shared.network.get(), key.map(|key| peer_id(&key))) {
                    handle.report_peer(peer, Offence::Lie);
                }
            }
            Effect::SetTimer { generation, after_ms } => {
                let after = Duration::from_millis(after_ms);
                let handle = context.send_after(after, GossipMessage::Timer(generation));
                if let Some(former) = self.timer.replace(handle) {
                    former.cancel();
                }
            }
        }
        Ok(())
    }

    fn verify(&self, from: dtvn_messages::ValidatorIndex, bundle: Arc<Bundle>) -> Result<(), ActorError> {
        let worker = from.position() % self.verifiers.len().max(1);
        match self.verifiers.get(worker) {
            Some(verifier) => deliver(verifier, VerifierMessage::Bundle { from, bundle }),
            None => Ok(()),
        }
    }
}

/// Tells the gossip when a neighbour has started again: it has lost what it was told.
fn watch<M: Mail>(context: &Context<GossipMessage>, neighbour: &Address<M>, news: fn() -> GossipMessage) {
    let mut presence = neighbour.watch();
    let known = presence.borrow_and_update().incarnation;
    let myself = context.myself();
    context.spawn(async move {
        let mut known = known;
        while presence.changed().await.is_ok() {
            let now = *presence.borrow_and_update();
            if now.up && now.incarnation != known {
                known = now.incarnation;
                let _over = myself.try_send(news());
            }
        }
    });
}

/// Gives a message to a neighbour. One that is down starts again and asks for what it needs; one whose mailbox is full
/// breaks an invariant.
fn deliver<M: Mail>(to: &Address<M>, message: M) -> Result<(), ActorError> {
    match to.try_send(message) {
        Ok(()) | Err(SendError::Down(_)) => Ok(()),
        Err(error) => Err(ActorError::new(error.to_string())),
    }
}

impl Behaviour for Gossip {
    type Message = GossipMessage;

    async fn handle(&mut self, context: &Context<GossipMessage>, message: GossipMessage) -> Result<(), ActorError> {
        let input = match message {
            GossipMessage::Peer { from, what, credit } => {
                drop(credit);
                match what {
                    FromPeer::Bundle(bytes) => Input::Received { from, bytes },
                    FromPeer::Fetch(digests) => Input::Fetch { from, digests },
                    FromPeer::Announce(digests) => Input::Announce { from, digests },
                }
            }
            GossipMessage::Own(bundle) => Input::Own(bundle),
            GossipMessage::Verified { from, bundle, ok } => Input::Verified { from, bundle, ok },
            GossipMessage::Want { digests, holders, proposer } => Input::Want { digests, holders, proposer },
            GossipMessage::Restored(bundles) => {
                let mut restored = bundles.into_iter().map(Input::Restored);
                return restored.try_for_each(|input| self.step(context, input));
            }
            GossipMessage::Release(digests) => Input::Release { digests },
            GossipMessage::Unwant(digests) => Input::Unwant { digests },
            GossipMessage::Relay { digests, leader } => Input::Relay { digests, leader },
            GossipMessage::Ordered { epoch, height, digests, positions } => {
                self.step(context, Input::Ordered { height, digests })?;
                Input::Positions { epoch, positions }
            }
            GossipMessage::Stable(height) => Input::Stable { height },
            GossipMessage::Link { peer, up: true } => Input::PeerUp(peer),
            GossipMessage::Link { peer, up: false } => Input::PeerDown(peer),
            GossipMessage::Epoch(now) => Input::Epoch { epoch: now.epoch, validators: now.set, own: now.me },
            GossipMessage::ReplicaRestarted => Input::ReplicaRestarted,
            GossipMessage::VerifierRestarted => Input::VerifierRestarted,
            GossipMessage::Timer(generation) => Input::Timer { generation },
        };
        self.step(context, input)
    }
}
