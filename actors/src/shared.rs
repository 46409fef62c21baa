//! What all actors of one node share: who it is, its clock, its network handle, and credits for what comes from outside.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use dtvn_messages::wire::{self, Class, PeerMessage};
use dtvn_messages::{Genesis, Now, PublicKey, Signer, Timestamp, ValidatorIndex, limits};
use dtvn_replication::execution::{Identity, Shelf};
use dtvn_replication::sync::Peer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::board::{Board, EpochShown};
use crate::network::{self, Kind, NetworkHandle, Offence};

/// The clock of one node.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time, as the pure crates want it.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { monotonic_us: u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX), wall: wall() }
    }
}

/// Wall time. A clock before 1970 counts as 1970: its node's blocks are refused, which says enough.
#[must_use]
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Places in an actor's mailbox for what comes from peers. They are fewer than the mailbox has, so that the node's own
/// messages, of which the protocol bounds how many are under way, always find one, and no two actors wait for each
/// other. A message carries its credit and gives it back when it is handled or dropped.
#[derive(Debug, Clone)]
pub struct Credits(Arc<Semaphore>);

/// A place for one message from a peer.
#[derive(Debug)]
pub struct Credit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Credits {
    /// So many places.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// A place, if there is one now.
    #[must_use]
    pub fn try_take(&self) -> Option<Credit> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(Credit)
    }

    /// Waits for a place: the peer's stream is not read meanwhile.
    pub async fn take(&self) -> Credit {
        match Arc::clone(&self.0).acquire_owned().await {
            Ok(permit) => Credit(permit),
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }
}

/// The way to the peers; empty while the network actor restarts, and then everything sent is lost, as it may always be.
#[derive(Debug, Clone, Default)]
pub struct NetworkSlot(Arc<RwLock<Option<NetworkHandle>>>);

impl NetworkSlot {
    /// Puts a new handle in place.
    pub fn publish(&self, handle: Option<NetworkHandle>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = handle;
    }

    /// The handle, if the network is up.
    #[must_use]
    pub fn get(&self) -> Option<NetworkHandle> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends to all other validators. What finds no room is lost, and sent again with the next status.
    pub fn broadcast(&self, message: &PeerMessage) {
        if let (Some(handle), Some((class, frame))) = (self.get(), frame(message)) {
            let _lost = handle.broadcast(class, &frame, kind_of(message));
        }
    }

    /// Sends to one validator. What finds no room is lost, and sent again with the next status.
    pub fn send(&self, to: ValidatorIndex, message: &PeerMessage) {
        if let (Some(handle), Some((class, frame))) = (self.get(), frame(message))
            && let Err(error) = handle.send(to, class, &frame, kind_of(message))
        {
            tracing::debug!(to = to.0, message = message.name(), %error, "A message to a peer was not queued.");
        }
    }
}

impl NetworkSlot {
    /// Sends a request for blocks or a state, or the answer, and says how long that was in bytes. What finds no room is
    /// lost: who asked asks again.
    pub fn send_to_peer(&self, to: Peer, message: &PeerMessage) -> usize {
        let (Some(handle), Some((class, frame))) = (self.get(), frame(message)) else { return 0 };
        let sent = match to {
            Peer::Validator(validator) => handle.send(validator, class, &frame, None),
            Peer::Stranger(key) => handle.link_of(&key).and_then(|link| match message.is_sync_request() {
                true => link.ask(&frame),
                false => link.push(class, &frame, None),
            }),
        };
        if let Err(error) = sent {
            tracing::debug!(?to, message = message.name(), %error, "A message to a peer was not queued.");
        }
        frame.len()
    }

    /// Says that a peer sent what only a faulty or malicious one sends.
    pub fn report(&self, peer: Peer, offence: Offence) {
        let Some(handle) = self.get() else { return };
        match peer {
            Peer::Validator(validator) => handle.report_validator(validator, offence),
            Peer::Stranger(key) => handle.report_stranger(&key, offence),
        }
    }
}

/// A frame of a message; none if it is longer than its class allows, which no honest message is.
#[must_use]
pub fn frame(message: &PeerMessage) -> Option<(network::Class, Bytes)> {
    match wire::encode(message) {
        Ok(bytes) => Some((network_class(message.class()), Bytes::from(bytes))),
        Err(error) => {
            tracing::error!(message = message.name(), %error, "A message of this node does not fit its frame.");
            None
        }
    }
}

fn network_class(class: Class) -> network::Class {
    match class {
        Class::Consensus => network::Class::Consensus,
        Class::Bundles => network::Class::Bundles,
        Class::Sync => network::Class::Sync,
    }
}

/// What a newer message of the same kind replaces when a queue is full.
fn kind_of(message: &PeerMessage) -> Option<Kind> {
    match message {
        PeerMessage::Status(_) => Some(Kind(1)),
        PeerMessage::Wish { .. } => Some(Kind(2)),
        _ => None,
    }
}

/// The former states that the state machine keeps, for the sync to read.
#[derive(Debug, Clone, Default)]
pub struct ShelfSlot(Arc<RwLock<Arc<Shelf>>>);

impl ShelfSlot {
    /// Puts what is kept now in place.
    pub fn publish(&self, shelf: &Arc<Shelf>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(shelf);
    }

    /// What is kept.
    #[must_use]
    pub fn get(&self) -> Arc<Shelf> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The strangers of whom the sync awaits an answer.
#[derive(Debug, Clone, Default)]
pub struct Awaited(Arc<RwLock<BTreeSet<PublicKey>>>);

impl Awaited {
    /// These are awaited now.
    pub fn publish(&self, strangers: BTreeSet<PublicKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = strangers;
    }

    /// Whether one is.
    #[must_use]
    pub fn contains(&self, stranger: &PublicKey) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(stranger)
    }
}

/// What all actors of one node share.
#[derive(Clone)]
pub struct Shared {
    /// What the node shows of itself.
    pub board: Arc<Board>,
    /// The genesis of its chain.
    pub genesis: Arc<Genesis>,
    /// Its key.
    pub signer: Arc<dyn Signer>,
    /// Its clock.
    pub clock: Clock,
    /// The way to its peers.
    pub network: NetworkSlot,
    /// The former states that are kept.
    pub shelf: ShelfSlot,
    /// The strangers whose answers are awaited.
    pub awaited: Awaited,
    /// Whoever writes to the archive holds it: an incarnation that is over may still be at it.
    pub archive: Arc<Mutex<()>>,
    /// Places for peers' messages in the replica's mailbox.
    pub replica_credits: Credits,
    /// Places for peers' messages in the gossip's mailbox.
    pub gossip_credits: Credits,
    /// Places for peers' messages in the sync's mailbox.
    pub sync_credits: Credits,
    /// Places there for those of nodes without a vote.
    pub observer_credits: Credits,
}

impl Shared {
    /// What the actors of a node share.
    #[must_use]
    pub fn new(board: Arc<Board>, signer: Arc<dyn Signer>) -> Self {
        Self {
            genesis: Arc::clone(&board.identity.genesis),
            board,
            signer,
            clock: Clock::start(),
            network: NetworkSlot::default(),
            shelf: ShelfSlot::default(),
            awaited: Awaited::default(),
            archive: Arc::default(),
            replica_credits: Credits::new(limits::REPLICA_CREDITS),
            gossip_credits: Credits::new(limits::GOSSIP_CREDITS),
            sync_credits: Credits::new(limits::SYNC_CREDITS),
            observer_credits: Credits::new(limits::OBSERVER_CREDITS),
        }
    }

    /// The epoch that the node is in.
    #[must_use]
    pub fn epoch(&self) -> Arc<EpochShown> {
        self.board.epoch()
    }

    /// Who the node is, for its ledger.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let scheme = Arc::clone(&self.epoch().verifier.scheme);
        Identity { genesis: Arc::clone(&self.genesis), key: self.board.identity.voting_key(), scheme }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use dtvn_messages::crypto::DEVELOPMENT_SEED;
    use dtvn_messages::{Ed25519, Genesis, KeyPair, NodeName, Timestamp};

    use super::*;

    /// What the actors of the first node of a development network share, in the first epoch.
    pub(crate) fn shared() -> Shared {
        shared_of("node0")
    }

    /// What the actors of another node share.
    pub(crate) fn shared_of(name: &str) -> Shared {
        let key = KeyPair::development(DEVELOPMENT_SEED, name);
        let identity = crate::board::Identity {
            name: NodeName::new(name).unwrap(),
            public_key: key.public(),
            may_vote: true,
            genesis: Arc::new(Genesis::development(4, DEVELOPMENT_SEED, false).unwrap()),
            started_at: Timestamp(0),
        };
        Shared::new(Board::new(identity, Arc::new(Ed25519)), Arc::new(key))
    }
}
