//! How the rest of the node uses the network: one handle, cheap to clone.

use std::sync::Arc;

use bytes::Bytes;
use dtvn_messages::ids::ValidatorIndex;
use libp2p::PeerId;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::class::Class;
use super::config::{PeerInfo, Validators};
use super::directory::Directory;
use super::keys::KeyError;
use super::manager::ManagerCommand;
use super::metrics::NetworkMetrics;
use super::outbox::{Outbox, SendError};
use super::queue::Kind;
use super::score::Offence;

/// The network layer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the network layer has ended")]
pub struct NetworkEnded;

/// Why a validator set was not put in force.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SetValidatorsError {
    /// A key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The network layer is gone.
    #[error(transparent)]
    Ended(#[from] NetworkEnded),
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
#[derive(Debug, Clone)]
pub struct NetworkHandle {
    pub(super) local: PeerId,
    pub(super) directory: Arc<Directory>,
    pub(super) metrics: Arc<NetworkMetrics>,
    pub(super) commands: mpsc::Sender<ManagerCommand>,
}

impl NetworkHandle {
    /// This node's identity.
    #[must_use]
    pub const fn local_peer(&self) -> PeerId {
        self.local
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Arc<NetworkMetrics> {
        &self.metrics
    }

    /// Queues a frame for a validator, without waiting and without copying its bytes. With a kind it may take the place
    /// of older frames of that kind when the queue is full.
    ///
    /// # Errors
    /// Any [`SendError`].
    pub fn send(&self, to: ValidatorIndex, class: Class, frame: &Bytes, kind: Option<Kind>) -> Result<(), SendError> {
        self.directory.validator(to).ok_or(SendError::UnknownPeer)?.push(class, frame, kind)
    }

    /// Queues a frame for a validator, waiting for room as long as its session stands.
    ///
    /// # Errors
    /// Any [`SendError`] but `Full`.
    pub async fn send_when_room(&self, to: ValidatorIndex, class: Class, frame: &Bytes) -> Result<(), SendError> {
        self.directory.validator(to).ok_or(SendError::UnknownPeer)?.push_when_room(class, frame, None).await
    }

    /// The outbound side of any peer with a session, an observer too: to answer who asked.
    ///
    /// # Errors
    /// `UnknownPeer` if it is neither a validator nor an observer with a session.
    pub fn outbox(&self, peer: &PeerId) -> Result<Arc<Outbox>, SendError> {
        self.directory.peer(peer).ok_or(SendError::UnknownPeer)
    }

    /// Queues one frame for every other validator; its bytes exist once.
    #[must_use]
    pub fn broadcast(&self, class: Class, frame: &Bytes, kind: Option<Kind>) -> Broadcast {
        let mut broadcast = Broadcast::default();
        for outbox in self.directory.table().validators.iter().flatten() {
            match outbox.push(class, frame, kind) {
                Ok(()) => broadcast.queued += 1,
                Err(SendError::Full) => broadcast.full += 1,
                Err(_) => broadcast.disconnected += 1,
            }
        }
        broadcast
    }

    /// How the peers are: validators in their order, then others.
    ///
    /// # Errors
    /// If the network layer is gone.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NetworkEnded> {
        let (reply, answer) = oneshot::channel();
        self.command(ManagerCommand::Peers(reply)).await?;
        answer.await.map_err(|_| NetworkEnded)
    }

    /// Says that a peer sent what only a faulty or malicious one sends. Enough of it, and it is banned for a while.
    ///
    /// # Errors
    /// If the network layer is gone.
    pub async fn report(&self, peer: PeerId, offence: Offence) -> Result<(), NetworkEnded> {
        self.command(ManagerCommand::Report(peer, offence)).await
    }

    /// As [`NetworkHandle::report`] for a validator, without waiting: a report that finds no place is lost.
    pub fn report_validator(&self, validator: ValidatorIndex, offence: Offence) {
        if let Some(outbox) = self.directory.validator(validator) {
            let _full = self.commands.try_send(ManagerCommand::Report(outbox.peer(), offence));
        }
    }

    /// Closes a peer's connections. A validator is dialed again at once.
    ///
    /// # Errors
    /// If the network layer is gone.
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), NetworkEnded> {
        self.command(ManagerCommand::Disconnect(peer)).await
    }

    /// Refuses a peer for a while.
    ///
    /// # Errors
    /// If the network layer is gone.
    pub async fn ban(&self, peer: PeerId) -> Result<(), NetworkEnded> {
        self.command(ManagerCommand::Ban(peer)).await
    }

    /// Puts another validator set in force. Sessions end with those whose role changed, and with no others.
    ///
    /// # Errors
    /// If a key is none, in which case nothing changed, or the network layer is gone.
    pub async fn set_validators(&self, validators: Validators) -> Result<(), SetValidatorsError> {
        let (reply, answer) = oneshot::channel();
        self.command(ManagerCommand::SetValidators(validators, reply)).await?;
        Ok(answer.await.map_err(|_| NetworkEnded)??)
    }

    /// Accepts nothing more, writes what is queued, says goodbye, closes. Returns when done, within a few seconds.
    pub async fn shutdown(&self) {
        let (done, ended) = oneshot::channel();
        if self.command(ManagerCommand::Shutdown(done)).await.is_ok() {
            // An error means that it ended in another way.
            let _ = ended.await;
        }
    }

    async fn command(&self, command: ManagerCommand) -> Result<(), NetworkEnded> {
        self.commands.send(command).await.map_err(|_| NetworkEnded)
    }
}
