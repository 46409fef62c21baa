//! The peer manager: who is connected. Liveness is for people, redial and sync only: never for quorum or leader.

use std::collections::BTreeSet;
use std::time::Duration;

use dtvn_messages::ValidatorIndex;

use crate::directory::Role;
use crate::gossip::{self, GossipMessage};
use crate::mailbox::{Address, FullPolicy, Mail};
use crate::network::{NetworkEvent, PeerState};
use crate::replica::{self, ReplicaMessage};
use crate::shared::Shared;
use crate::supervision::{ActorError, Behaviour, Context};

/// The peer manager's role.
pub const PEER_MANAGER: Role<PeerManagerMessage> = Role::new("peer_manager");

/// How often the list of connected peers is compared with the network's own, in case news was lost in a restart.
const COMPARE_EVERY: Duration = Duration::from_secs(5);

/// What can be said to the peer manager.
pub enum PeerManagerMessage {
    /// News of the network.
    Event(NetworkEvent),
    /// Compare with what the network says.
    Compare,
    /// The validators that the network says are connected.
    Connected(Vec<ValidatorIndex>),
}

impl Mail for PeerManagerMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Event(_) => "event",
            Self::Compare => "compare",
            Self::Connected(_) => "connected",
        }
    }

    fn policy(&self) -> FullPolicy {
        match self {
            Self::Compare => FullPolicy::DropNewest,
            _ => FullPolicy::Wait,
        }
    }
}

/// What the peer manager is made with.
#[derive(Clone)]
pub struct PeerManagerArguments {
    /// What the node's actors share.
    pub shared: Shared,
}

/// The peer manager.
pub struct PeerManager {
    shared: Shared,
    connected: BTreeSet<ValidatorIndex>,
    quorum: bool,
    replica: Address<ReplicaMessage>,
    gossip: Address<GossipMessage>,
}

impl PeerManager {
    /// Starts with nobody connected, and compares at once.
    ///
    /// # Errors
    /// Never; the signature is every actor's.
    #[expect(clippy::unused_async, reason = "the signature is every actor's")]
    pub async fn start(
        context: Context<PeerManagerMessage>,
        arguments: PeerManagerArguments,
    ) -> Result<Self, ActorError> {
        let mut manager = Self {
            shared: arguments.shared,
            connected: BTreeSet::new(),
            quorum: false,
            replica: context.address_of(&replica::ROLE),
            gossip: context.address_of(&gossip::ROLE),
        };
        context.send_every(COMPARE_EVERY, || PeerManagerMessage::Compare);
        let _full = context.myself().try_send(PeerManagerMessage::Compare);
        watch_neighbours(&context, &manager);
        manager.tell_quorum();
        Ok(manager)
    }

    fn up(&mut self, peer: ValidatorIndex) {
        self.connected.insert(peer);
        tracing::info!(peer = peer.0, connected = self.connected.len(), "A validator is connected.");
        let _down = self.gossip.try_send(GossipMessage::Link { peer, up: true });
        let _down = self.replica.try_send(ReplicaMessage::PeerUp(peer));
        self.tell_quorum();
    }

    fn down(&mut self, peer: ValidatorIndex, cause: &str) {
        if self.connected.remove(&peer) {
            tracing::info!(peer = peer.0, cause, connected = self.connected.len(), "A validator is disconnected.");
            let _down = self.gossip.try_send(GossipMessage::Link { peer, up: false });
            self.tell_quorum();
        }
    }

    fn tell_quorum(&mut self) {
        let config = &self.shared.config;
        let own = config.me.into_iter();
        let power = config.set.power_of(self.connected.iter().copied().chain(own));
        let quorum = power >= config.set.quorum();
        self.shared.board.post_quorum(quorum);
        if quorum != self.quorum {
            self.quorum = quorum;
            let _down = self.replica.try_send(ReplicaMessage::QuorumConnected(quorum));
        }
    }

    /// Asks the network beside the mailbox.
    fn compare(&self, context: &Context<PeerManagerMessage>) {
        let Some(handle) = self.shared.network.get() else { return };
        context.spawn_then(async move { handle.peers().await }, |peers| {
            let connected = |state: PeerState| matches!(state, PeerState::Connected | PeerState::Suspect);
            let peers = peers.unwrap_or_default().into_iter().filter(|peer| connected(peer.state));
            PeerManagerMessage::Connected(peers.filter_map(|peer| peer.validator).collect())
        });
    }

    fn on_connected(&mut self, now: Vec<ValidatorIndex>) {
        let now: BTreeSet<ValidatorIndex> = now.into_iter().collect();
        for peer in self.connected.difference(&now).copied().collect::<Vec<_>>() {
            self.down(peer, "the network lists it no more");
        }
        for peer in now.difference(&self.connected).copied().collect::<Vec<_>>() {
            self.up(peer);
        }
    }
}

/// A gossip or replica that starts again does not know who is connected.
fn watch_neighbours(context: &Context<PeerManagerMessage>, manager: &PeerManager) {
    let mut presence = manager.replica.watch();
    let (board, replica) = (manager.shared.board.clone(), manager.replica.clone());
    context.spawn(async move {
        let mut known = presence.borrow_and_update().incarnation;
        while presence.changed().await.is_ok() {
            let now = *presence.borrow_and_update();
            if now.up && now.incarnation != known {
                known = now.incarnation;
                let connected = *board.quorum().borrow();
                let _down = replica.try_send(ReplicaMessage::QuorumConnected(connected));
            }
        }
    });
}

impl Behaviour for PeerManager {
    type Message = PeerManagerMessage;

    async fn handle(
        &mut self,
        context: &Context<PeerManagerMessage>,
        message: PeerManagerMessage,
    ) -> Result<(), ActorError> {
        match message {
            PeerManagerMessage::Event(NetworkEvent::Connected(peer)) => {
                if let Some(validator) = peer.validator {
                    self.up(validator);
                }
            }
            PeerManagerMessage::Event(NetworkEvent::Disconnected { validator, cause, .. }) => {
                if let Some(validator) = validator {
                    self.down(validator, &cause);
                }
            }
            PeerManagerMessage::Event(NetworkEvent::Refused { peer, refusal, .. }) => {
                tracing::warn!(%peer, differences = ?refusal.differences, "A peer belongs to another network.");
            }
            PeerManagerMessage::Event(NetworkEvent::Suspect { peer, suspect, .. }) => {
                tracing::debug!(%peer, suspect, "A peer is silent, or is heard again.");
            }
            PeerManagerMessage::Event(NetworkEvent::Listening(_)) => {}
            PeerManagerMessage::Compare => self.compare(context),
            PeerManagerMessage::Connected(now) => self.on_connected(now),
        }
        Ok(())
    }
}
