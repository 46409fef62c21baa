//! A worker: one task for each class of frames, and bundles from the gossip.

use std::sync::Arc;

use dtvn_messages::wire::{self, Class, PeerMessage};
use dtvn_messages::{Evidence, ValidatorIndex};
use dtvn_replication::verify::{Checked, Fault};
use tokio::sync::Mutex;

use super::VerifierMessage;
use super::inbound::Inbound;
use crate::gossip::{self, FromPeer, GossipMessage};
use crate::mailbox::Address;
use crate::network::{FairReceiver, InboundFrame, Offence};
use crate::replica::{self, ReplicaMessage};
use crate::shared::Shared;
use crate::supervision::{ActorError, Behaviour, Context};
use crate::sync::{self, SyncMessage};

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
        let Some(from) = frame.validator else {
            // Observers have the sync class only, and get no answers in this version.
            return;
        };
        let message = match wire::decode(&frame.bytes, class) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(peer = from.0, %error, "A peer sent a frame that holds no message.");
                return self.report(from, Offence::Junk);
            }
        };
        match class {
            Class::Consensus => self.on_consensus(from, message).await,
            Class::Bundles => self.on_bundles(from, message).await,
            Class::Sync => self.on_sync(from, message).await,
        }
    }

    async fn on_consensus(&self, from: ValidatorIndex, message: PeerMessage) {
        match self.shared.verifier.consensus(from, message) {
            Ok(None) => {}
            Ok(Some(message)) => {
                let credit = self.shared.replica_credits.take().await;
                // A replica that is down hears again with the next status.
                let _down = self.replica.try_send(ReplicaMessage::Message { from, message, credit });
            }
            Err(fault) => {
                self.blame(from, &fault);
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

    async fn on_bundles(&self, from: ValidatorIndex, message: PeerMessage) {
        let message = match self.shared.verifier.receipts(from, message) {
            Ok(Checked::Other(message)) => message,
            Ok(Checked::Said(said)) => {
                let credit = self.shared.replica_credits.take().await;
                // A replica that is down asks again.
                let _down = self.replica.try_send(ReplicaMessage::Receipts { from, said, credit });
                return;
            }
            Ok(Checked::Evidence(evidence)) => return self.hand_on(evidence).await,
            Ok(Checked::Nothing) => return,
            Err(fault) => return self.blame(from, &fault),
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

    async fn on_sync(&self, peer: ValidatorIndex, message: PeerMessage) {
        match message {
            PeerMessage::SyncRequest { from, to } => {
                let credit = self.shared.sync_credits.take().await;
                let _down = self.sync.try_send(SyncMessage::Request { peer, from, to, credit });
            }
            PeerMessage::SyncBlocks(blocks) => match self.shared.verifier.blocks(blocks) {
                Ok(checked) => {
                    let credit = self.shared.sync_credits.take().await;
                    let checked = Box::new(checked);
                    let _down = self.sync.try_send(SyncMessage::Blocks { peer, checked, credit });
                }
                Err(fault) => {
                    self.blame(peer, &fault);
                    let _down = self.sync.try_send(SyncMessage::Faulty(peer));
                }
            },
            _ => {}
        }
    }

    fn blame(&self, peer: ValidatorIndex, fault: &Fault) {
        tracing::warn!(peer = peer.0, %fault, "A peer sent what does not hold.");
        self.report(peer, Offence::Lie);
    }

    fn report(&self, peer: ValidatorIndex, offence: Offence) {
        if let Some(handle) = self.shared.network.get() {
            handle.report_validator(peer, offence);
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
        let ok = self.shared.verifier.bundle(&bundle);
        // A gossip that is down fetches what it missed.
        let _down = self.gossip.try_send(GossipMessage::Verified { from, bundle, ok });
        Ok(())
    }
}
