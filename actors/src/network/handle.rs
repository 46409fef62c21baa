//! How the rest of the node uses the network: one handle, cheap to clone, valid across restarts.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dtvn_messages::crypto::PublicKey;
use dtvn_messages::ids::ValidatorIndex;
use libp2p::PeerId;
use thiserror::Error;

use super::class::{Class, PerClass};
use super::config::{PeerInfo, TrafficTotals, Validators, ValidatorsError};
use super::keys;
use super::link::{Link, SendError};
use super::metrics::NetworkMetrics;
use super::queue::Kind;
use super::score::Offence;
use super::shared::Shared;
use crate::mailbox::{Address, CallError};
use crate::peer_manager::{PeerManagerMessage, PeerMessage};

/// The peer manager is down, perhaps because it restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the peer manager is down")]
pub struct NetworkDown;

/// Why a validator set was not put in force.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SetValidatorsError {
    /// They cannot be; nothing changed.
    #[error(transparent)]
    Invalid(#[from] ValidatorsError),
    /// The peer manager did not answer; ask again.
    #[error("the peer manager did not answer: {0}")]
    Call(#[from] CallError),
}

/// What became of a broadcast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Broadcast {
    /// To so many validators it is under way.
    pub queued: usize,
    /// The queues of so many were full.
    pub full: usize,
    /// So many have no session that takes the class.
    pub disconnected: usize,
}

/// The handle.
#[derive(Clone)]
pub struct NetworkHandle {
    shared: Arc<Shared>,
    manager: Address<PeerManagerMessage>,
}

impl NetworkHandle {
    pub(super) const fn new(shared: Arc<Shared>, manager: Address<PeerManagerMessage>) -> Self {
        Self { shared, manager }
    }

    /// This node's identity.
    #[must_use]
    pub fn local_peer(&self) -> PeerId {
        self.shared.local
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Arc<NetworkMetrics> {
        &self.shared.metrics
    }

    /// Queues a frame for a validator, without waiting and without copying its bytes. With a kind it may take the place
    /// of older frames of that kind when the queue is full.
    ///
    /// # Errors
    /// Any [`SendError`].
    pub fn send(&self, to: ValidatorIndex, class: Class, frame: &Bytes, kind: Option<Kind>) -> Result<(), SendError> {
        self.shared.contacts.validator(to).ok_or(SendError::UnknownPeer)?.push(class, frame, kind)
    }

    /// Queues a frame for a validator, waiting for room as long as its session stands.
    ///
    /// # Errors
    /// Any [`SendError`] but `Full`.
    pub async fn send_when_room(&self, to: ValidatorIndex, class: Class, frame: &Bytes) -> Result<(), SendError> {
        let link = self.shared.contacts.validator(to).ok_or(SendError::UnknownPeer)?;
        link.push_when_room(class, frame, None).await
    }

    /// The link of anybody known, an observer too: to answer who asked.
    ///
    /// # Errors
    /// `UnknownPeer`.
    pub fn link(&self, peer: &PeerId) -> Result<Arc<Link>, SendError> {
        self.shared.contacts.peer(peer).ok_or(SendError::UnknownPeer)
    }

    /// The link of whoever has this key.
    ///
    /// # Errors
    /// `UnknownPeer`.
    pub fn link_of(&self, key: &PublicKey) -> Result<Arc<Link>, SendError> {
        keys::peer_id(key).map_err(|_| SendError::UnknownPeer).and_then(|peer| self.link(&peer))
    }

    /// The keys of those connected who are no validators, and take requests for what is committed; always in one order, so
    /// that whose turn it is does not change by itself.
    #[must_use]
    pub fn strangers(&self) -> BTreeSet<PublicKey> {
        let table = self.shared.contacts.table();
        let strangers = table.by_peer.values().filter(|link| link.index().is_none());
        let asked = strangers.filter(|link| link.classes().contains(Class::Sync));
        asked.filter_map(|link| keys::public_key(&link.peer())).collect()
    }

    /// Queues one frame for every other validator; its bytes exist once.
    #[must_use]
    pub fn broadcast(&self, class: Class, frame: &Bytes, kind: Option<Kind>) -> Broadcast {
        let mut broadcast = Broadcast::default();
        for link in self.shared.contacts.table().validators.iter().flatten() {
            match link.push(class, frame, kind) {
                Ok(()) => broadcast.queued += 1,
                Err(SendError::Full) => broadcast.full += 1,
                Err(_) => broadcast.disconnected += 1,
            }
        }
        broadcast
    }

    /// How the peers are: validators in their order, then others. Asks nobody, so it answers even while they restart.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        let now = Instant::now();
        let mut peers: Vec<PeerInfo> =
            self.shared.contacts.table().by_peer.values().map(|link| info(link, now)).collect();
        peers.sort_by_key(|peer| (peer.validator.is_none(), peer.validator, peer.peer));
        peers
    }

    /// Says that a peer sent what only a faulty or malicious one sends. Enough of it, and it is banned for a while.
    ///
    /// # Errors
    /// If the peer manager is down.
    pub async fn report(&self, peer: PeerId, offence: Offence) -> Result<(), NetworkDown> {
        self.forward(peer, PeerMessage::Report(offence)).await
    }

    /// As [`NetworkHandle::report`] for a validator, without waiting: a report that finds no place is lost.
    pub fn report_validator(&self, validator: ValidatorIndex, offence: Offence) {
        if let Some(link) = self.shared.contacts.validator(validator) {
            self.report_peer(link.peer(), offence);
        }
    }

    /// As [`NetworkHandle::report`] for one who is no validator, without waiting: a report that finds no place is lost.
    pub fn report_stranger(&self, stranger: &PublicKey, offence: Offence) {
        if let Ok(peer) = keys::peer_id(stranger) {
            self.report_peer(peer, offence);
        }
    }

    /// As [`NetworkHandle::report`], without waiting: a report that finds no place is lost.
    pub fn report_peer(&self, peer: PeerId, offence: Offence) {
        // A liar goes on lying; the next report will do.
        let _lost = self.manager.try_send(PeerManagerMessage::Forward(peer, PeerMessage::Report(offence)));
    }

    /// Closes a peer's connections. A validator is dialed again at once.
    ///
    /// # Errors
    /// If the peer manager is down.
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), NetworkDown> {
        self.forward(peer, PeerMessage::Disconnect).await
    }

    /// Refuses a peer for a while.
    ///
    /// # Errors
    /// If the peer manager is down.
    pub async fn ban(&self, peer: PeerId) -> Result<(), NetworkDown> {
        self.forward(peer, PeerMessage::Ban).await
    }

    /// Puts another validator set in force, and returns when its members can be reached. Sessions end with those whose
    /// role changed, and with no others.
    ///
    /// # Errors
    /// If they cannot be put in force, or the peer manager does not answer in time.
    pub async fn set_validators(&self, validators: Validators, timeout: Duration) -> Result<(), SetValidatorsError> {
        let answer = self.manager.call(timeout, |reply| PeerManagerMessage::SetValidators(validators, reply)).await;
        Ok(answer??)
    }

    async fn forward(&self, peer: PeerId, message: PeerMessage) -> Result<(), NetworkDown> {
        self.manager.send(PeerManagerMessage::Forward(peer, message)).await.map_err(|_| NetworkDown)
    }
}

impl fmt::Debug for NetworkHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NetworkHandle({})", self.shared.local)
    }
}

fn info(link: &Link, now: Instant) -> PeerInfo {
    let (role, status, traffic) = (link.role(), link.status(), link.traffic());
    PeerInfo {
        peer: link.peer(),
        validator: role.validator.as_ref().map(|(index, _)| *index),
        name: role.validator.map(|(_, name)| name),
        classes: link.classes(),
        state: status.state,
        addresses: status.addresses,
        connected_for: status.connected_since.map(|since| now.saturating_duration_since(since)),
        round_trip: status.round_trip,
        points: status.points,
        queue_depths: PerClass::build(|class| link.depth(class)),
        traffic: TrafficTotals {
            frames_in: PerClass::build(|class| traffic.frames_in.get(class).get()),
            bytes_in: PerClass::build(|class| traffic.bytes_in.get(class).get()),
            frames_out: PerClass::build(|class| traffic.frames_out.get(class).get()),
            bytes_out: PerClass::build(|class| traffic.bytes_out.get(class).get()),
        },
        bytes_in_last_heartbeat: status.bytes_in_last_heartbeat,
        last_error: status.last_error,
    }
}
