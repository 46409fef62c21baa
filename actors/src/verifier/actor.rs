//! A worker: one task for each class of frames, and bundles from the gossip.

use std::sync::Arc;

use dtvn_messages::wire::{self, Class, PeerMessage};
use dtvn_messages::{Evidence, Height, ValidatorIndex};
use dtvn_replication::sync::{Answer, Peer};
use dtvn_replication::verify::{Checked, Fault};
use libp2p::PeerId;
use tokio::sync::Mutex;

use super::VerifierMessage;
use super::inbound::Inbound;
use crate::board::EpochShown;
use crate::gossip::{self, FromPeer, GossipMessage};
use crate::intake::{self, IntakeMessage};
use crate::mailbox::Address;
use crate::network::{FairReceiver, InboundFrame, Offence, keys};
use crate::replica::{self, ReplicaMessage};
use crate::shared::{Credit, Shared};
use crate::supervision::{ActorError, Behaviour, Context};
use crate::sync::{self, SnapshotAsk, SyncMessage};

/// What a worker is made with.
#[derive(Clone)]
pub struct WorkerArguments {
    /// What the node's actors share.
    pub shared: Shared,
    /// The lanes.
    pub inbound: Arc<Inbound>,
    /// Which worker it is.
    pub worker: usize,
}

/// A worker.
pub struct Worker {
    shared: Shared,
    gossip: Address<GossipMessage>,
}

/// Where a worker's tasks hand on what they checked.
#[derive(Clone)]
struct Receivers {
    shared: Shared,
    replica: Address<ReplicaMessage>,
    gossip: Address<GossipMessage>,
    sync: Address<SyncMessage>,
    intake: Address<IntakeMessage>,
}

impl Worker {
    /// Starts to read its lanes.
    ///
    /// # Errors
    /// If there is no lane for it.
    #[expect(clippy::unused_async, reason = "the signature is every actor's")]
    pub async fn start(context: Context<VerifierMessage>, arguments: WorkerArguments) -> Result<Self, ActorError> {
        let WorkerArguments { shared, inbound, worker } = arguments;
        let lanes = inbound.lanes(worker).ok_or_else(|| ActorError::new("there is no lane for this worker"))?;
        let gossip = context.address_of(&gossip::ROLE);
        let receivers = Receivers {
            shared: shared.clone(),
            replica: context.address_of(&replica::ROLE),
            gossip: gossip.clone(),
            sync: context.address_of(&sync::ROLE),
            intake: context.address_of(&intake::ROLE),
        };
        context.spawn(read(lanes.consensus, Class::Consensus, receivers.clone()));
        context.spawn(read(lanes.bundles, Class::Bundles, receivers.clone()));
        context.spawn(read(lanes.sync, Class::Sync, receivers));
        Ok(Self { shared, gossip })
    }
}

/// Reads a lane for ever.
async fn read(lane: Arc<Mutex<FairReceiver>>, class: Class, receivers: Receivers) {
    let mut lane = lane.lock().await;
    loop {
        let frame = lane.receive().await;
        receivers.take(frame, class).await;
    }
}

impl Receivers {
    async fn take(&self, frame: InboundFrame, class: Class) {
        // By the validators of this very epoch: the network may have heard of it a moment later.
        let epoch = self.shared.epoch();
        let Some(from) = epoch.peers.get(&frame.peer).copied() else {
            return self.on_stranger(&epoch, frame.peer, &frame.bytes, class).await;
        };
        let message = match wire::decode(&frame.bytes, class) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(peer = from.0, %error, "A peer sent a frame that holds no message.");
                return self.report(frame.peer, Offence::Junk);
            }
        };
        match class {
            Class::Consensus => self.on_consensus(&epoch, from, message).await,
            Class::Bundles => self.on_bundles(&epoch, from, message).await,
            Class::Sync => self.on_sync(&epoch, from, message).await,
        }
    }

    /// One that is no validator may ask, and answer where it was asked: nothing else that it says is looked at. What it asks
    /// is answered when there is time: one that finds no place asks again, and no validator waits behind it.
    async fn on_stranger(&self, epoch: &EpochShown, peer: PeerId, bytes: &[u8], class: Class) {
        let Some(key) = keys::public_key(&peer).filter(|_| class == Class::Sync) else { return };
        let (Ok(message), peer) = (wire::decode(bytes, class), Peer::Stranger(key)) else { return };
        if let Some(ask) = Ask::of(&message) {
            if let Some(credit) = self.shared.observer_credits.try_take() {
                let _down = self.sync.try_send(ask.of_peer(peer, credit));
            }
        } else if self.shared.awaited.contains(&key) {
            self.on_answer(epoch, peer, message).await;
        }
    }

    async fn on_consensus(&self, epoch: &EpochShown, from: ValidatorIndex, message: PeerMessage) {
        if let PeerMessage::Recover(asked) = message {
            match epoch.verifier.recovery(from, &asked) {
                // An intake that is down, or has no room, is asked again.
                Ok(true) => drop(self.intake.try_send(IntakeMessage::Recover(asked))),
                Ok(false) => {}
                Err(fault) => self.blame(epoch, from, &fault),
            }
            return;
        }
        match epoch.verifier.consensus(from, message) {
            Ok(None) => {}
            Ok(Some(message)) => {
                let credit = self.shared.replica_credits.take().await;
                let epoch = epoch.config.epoch;
                // A replica that is down hears again with the next status.
                let _down = self.replica.try_send(ReplicaMessage::Message { epoch, from, message, credit });
            }
            Err(fault) => {
                self.blame(epoch, from, &fault);
                if let Some(evidence) = fault.evidence() {
                    self.hand_on(Arc::clone(evidence)).await;
                }
            }
        }
    }

    async fn hand_on(&self, evidence: Arc<Evidence>) {
        let credit = self.shared.replica_credits.take().await;
        // A replica that is down hears of the next lie.
        let _down = self.replica.try_send(ReplicaMessage::Evidence { evidence, credit });
    }

    async fn on_bundles(&self, epoch: &EpochShown, from: ValidatorIndex, message: PeerMessage) {
        let message = match epoch.verifier.receipts(from, message) {
            Ok(Checked::Other(message)) => message,
            Ok(Checked::Said(said)) => {
                let credit = self.shared.replica_credits.take().await;
                let epoch = epoch.config.epoch;
                // A replica that is down asks again.
                let _down = self.replica.try_send(ReplicaMessage::Receipts { epoch, from, said, credit });
                return;
            }
            Ok(Checked::Evidence(evidence)) => return self.hand_on(evidence).await,
            Ok(Checked::Nothing) => return,
            Err(fault) => return self.blame(epoch, from, &fault),
        };
        let what = match message {
            PeerMessage::Bundle(bytes) => FromPeer::Bundle(bytes),
            PeerMessage::FetchBundles(digests) => FromPeer::Fetch(digests),
            PeerMessage::AnnounceBundles(digests) => FromPeer::Announce(digests),
            _ => return,
        };
        let credit = self.shared.gossip_credits.take().await;
        // A gossip that is down fetches what it missed.
        let _down = self.gossip.try_send(GossipMessage::Peer { from, what, credit });
    }

    async fn on_sync(&self, epoch: &EpochShown, peer: ValidatorIndex, message: PeerMessage) {
        let peer = Peer::Validator(peer);
        match Ask::of(&message) {
            Some(ask) => {
                let credit = self.shared.sync_credits.take().await;
                let _down = self.sync.try_send(ask.of_peer(peer, credit));
            }
            None => self.on_answer(epoch, peer, message).await,
        }
    }

    /// What was asked for proves itself, whoever sent it.
    async fn on_answer(&self, epoch: &EpochShown, peer: Peer, answer: PeerMessage) {
        match Answer::check(&epoch.verifier, peer, answer) {
            Ok(None) => {}
            Ok(Some(Answer::Replica(end))) => {
                let credit = self.shared.replica_credits.take().await;
                // A replica that is down asks again.
                let _down = self.replica.try_send(ReplicaMessage::EpochEnd { end, credit });
            }
            Ok(Some(Answer::Sync(input))) => {
                let credit = self.shared.sync_credits.take().await;
                let _down = self.sync.try_send(SyncMessage::Answer { input: Box::new(input), credit });
            }
            Err(fault) => {
                tracing::warn!(?peer, %fault, "A peer sent what does not hold.");
                self.shared.network.report(peer, Offence::Lie);
                let _down = self.sync.try_send(SyncMessage::Faulty(peer));
            }
        }
    }

    fn blame(&self, epoch: &EpochShown, from: ValidatorIndex, fault: &Fault) {
        tracing::warn!(peer = from.0, %fault, "A peer sent what does not hold.");
        if let Some((peer, _)) = epoch.peers.iter().find(|(_, index)| **index == from) {
            self.report(*peer, Offence::Lie);
        }
    }

    fn report(&self, peer: PeerId, offence: Offence) {
        if let Some(handle) = self.shared.network.get() {
            handle.report_peer(peer, offence);
        }
    }
}

/// What a peer asks for.
#[derive(Clone, Copy)]
enum Ask {
    Blocks(Height, Height),
    State(SnapshotAsk),
}

impl Ask {
    /// What a message asks for, if it is a request.
    const fn of(message: &PeerMessage) -> Option<Self> {
        match *message {
            PeerMessage::SyncRequest { from, to } => Some(Self::Blocks(from, to)),
            PeerMessage::SnapshotRequest { height, at_least, epoch } => {
                Some(Self::State(SnapshotAsk::Manifest(height, at_least, epoch)))
            }
            PeerMessage::PartRequest { height, part } => Some(Self::State(SnapshotAsk::Part(height, part))),
            _ => None,
        }
    }

    /// The same to the sync, once there is a place for it.
    const fn of_peer(self, peer: Peer, credit: Credit) -> SyncMessage {
        match self {
            Self::Blocks(from, to) => SyncMessage::Request { peer, from, to, credit },
            Self::State(ask) => SyncMessage::SnapshotRequest { peer, ask, credit },
        }
    }
}

impl Behaviour for Worker {
    type Message = VerifierMessage;

    async fn handle(
        &mut self,
        _context: &Context<VerifierMessage>,
        message: VerifierMessage,
    ) -> Result<(), ActorError> {
        let VerifierMessage::Bundle { from, bundle } = message;
        let epoch = self.shared.epoch();
        // The validators of another epoch are no judges of its origin; the gossip forgets it when it hears of the epoch.
        if bundle.body.epoch != epoch.config.epoch {
            return Ok(());
        }
        let ok = epoch.verifier.bundle(&bundle);
        // A gossip that is down fetches what it missed.
        let _down = self.gossip.try_send(GossipMessage::Verified { from, bundle, ok });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
