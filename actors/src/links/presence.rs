//! Presence: tells replica and gossip which validators are connected. Liveness is for people, redial and sync only:
//! never for quorum or leader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dtvn_messages::{Genesis, Validator, ValidatorIndex, ValidatorSet};
use libp2p::Multiaddr;
use tokio::sync::{Mutex, mpsc, watch};

use crate::directory::Role;
use crate::gossip::{self, GossipMessage};
use crate::mailbox::{Address, FullPolicy, Mail};
use crate::network::{Class, ClassSet, NetworkEvent, PeerState, ValidatorEntry, Validators};
use crate::replica::{self, ReplicaMessage};
use crate::shared::Shared;
use crate::supervision::{ActorError, Behaviour, Context};

/// Presence's role.
pub const PRESENCE: Role<PresenceMessage> = Role::new("presence");

/// How often the list of connected peers is compared with the links' own, in case news was lost in a restart.
const COMPARE_EVERY: Duration = Duration::from_secs(5);

/// How long the network may take to put validators in force.
const SET_VALIDATORS_WAIT: Duration = Duration::from_secs(10);

/// What can be said to presence.
pub enum PresenceMessage {
    /// News of the network.
    Event(NetworkEvent),
    /// Compare with what the links say.
    Compare,
    /// Another epoch began: validators have other indices.
    Epoch,
}

impl Mail for PresenceMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Event(_) => "event",
            Self::Compare => "compare",
            Self::Epoch => "epoch",
        }
    }

    fn policy(&self) -> FullPolicy {
        match self {
            Self::Compare => FullPolicy::DropNewest,
            _ => FullPolicy::Wait,
        }
    }
}

/// What presence is made with.
#[derive(Clone)]
pub struct PresenceArguments {
    /// What the node's actors share.
    pub shared: Shared,
    /// The network's news. Whoever holds the lock takes them: one incarnation after the other.
    pub events: Arc<Mutex<mpsc::Receiver<NetworkEvent>>>,
    /// Where this node listens, for whoever wants to know the real ports.
    pub listening: Arc<watch::Sender<Vec<Multiaddr>>>,
}

/// The actor.
pub struct Presence {
    shared: Shared,
    listening: Arc<watch::Sender<Vec<Multiaddr>>>,
    /// Who has a session, and whether it is one for votes.
    connected: BTreeMap<ValidatorIndex, bool>,
    quorum: bool,
    replica: Address<ReplicaMessage>,
    gossip: Address<GossipMessage>,
}

impl Presence {
    /// Starts with whoever is connected.
    ///
    /// # Errors
    /// Never; the signature is every actor's.
    #[expect(clippy::unused_async, reason = "the signature is every actor's")]
    pub async fn start(context: Context<PresenceMessage>, arguments: PresenceArguments) -> Result<Self, ActorError> {
        let PresenceArguments { shared, events, listening } = arguments;
        let mut presence = Self {
            shared,
            listening,
            connected: BTreeMap::new(),
            quorum: false,
            replica: context.address_of(&replica::ROLE),
            gossip: context.address_of(&gossip::ROLE),
        };
        let myself = context.myself();
        context.spawn(async move {
            let mut events = events.lock().await;
            while let Some(event) = events.recv().await {
                if myself.send(PresenceMessage::Event(event)).await.is_err() {
                    return;
                }
            }
        });
        context.send_every(COMPARE_EVERY, || PresenceMessage::Compare);
        watch_neighbours(&context, &presence);
        watch_epochs(&context, &presence.shared);
        presence.compare();
        presence.tell_quorum();
        Ok(presence)
    }

    fn up(&mut self, peer: ValidatorIndex, classes: ClassSet) {
        self.connected.insert(peer, classes.contains(Class::Consensus));
        tracing::info!(peer = peer.0, connected = self.connected.len(), "A validator is connected.");
        let _down = self.gossip.try_send(GossipMessage::Link { peer, up: true });
        let _down = self.replica.try_send(ReplicaMessage::PeerUp(peer));
        self.tell_quorum();
    }

    fn down(&mut self, peer: ValidatorIndex, cause: &str) {
        if self.connected.remove(&peer).is_some() {
            tracing::info!(peer = peer.0, cause, connected = self.connected.len(), "A validator is disconnected.");
            let _down = self.gossip.try_send(GossipMessage::Link { peer, up: false });
            self.tell_quorum();
        }
    }

    fn tell_quorum(&mut self) {
        let epoch = self.shared.epoch();
        let config = &epoch.config;
        let own = config.me.into_iter();
        // A validator counts who shares votes with it: the others may be in another epoch, and then tell it nothing.
        let counts = |votes: bool| votes || config.me.is_none();
        let others = self.connected.iter().filter(|(_, votes)| counts(**votes)).map(|(peer, _)| *peer);
        let power = config.set.power_of(others.chain(own));
        let quorum = power >= config.set.quorum();
        self.shared.board.post_quorum(quorum);
        if quorum != self.quorum {
            self.quorum = quorum;
            let _down = self.replica.try_send(ReplicaMessage::QuorumConnected(quorum));
        }
    }

    /// Compares with what the links say: news that a former incarnation took are known to nobody else.
    fn compare(&mut self) {
        let Some(handle) = self.shared.network.get() else { return };
        let connected = |state: PeerState| matches!(state, PeerState::Connected | PeerState::Suspect);
        let peers = handle.peers().into_iter().filter(|peer| connected(peer.state));
        let now: BTreeMap<_, _> = peers.filter_map(|peer| Some((peer.validator?, peer.classes))).collect();
        let gone: Vec<_> = self.connected.keys().filter(|peer| !now.contains_key(peer)).copied().collect();
        gone.into_iter().for_each(|peer| self.down(peer, "the network lists it no more"));
        for (peer, classes) in now {
            if self.connected.get(&peer) != Some(&classes.contains(Class::Consensus)) {
                self.up(peer, classes);
            }
        }
    }
}

/// Whenever another epoch has begun, and at the start in case that one had: the network puts its validators in force.
fn watch_epochs(context: &Context<PresenceMessage>, shared: &Shared) {
    let (myself, shared) = (context.myself(), shared.clone());
    context.spawn(async move {
        let mut epochs = shared.board.epochs();
        loop {
            let epoch = Arc::clone(&epochs.borrow_and_update());
            if let Some(handle) = shared.network.get() {
                let validators = validators_of(&shared.genesis, &epoch.config.set);
                if let Err(error) = handle.set_validators(validators, SET_VALIDATORS_WAIT).await {
                    tracing::warn!(%error, "The network does not know the validators of this epoch yet.");
                    tokio::time::sleep(COMPARE_EVERY).await;
                    epochs.mark_changed();
                }
                if myself.send(PresenceMessage::Epoch).await.is_err() {
                    return;
                }
            }
            if epochs.changed().await.is_err() {
                return;
            }
        }
    });
}

/// A validator set as the network wants it. Addresses are those of the genesis file, by key; who is not in it dials, or is
/// found.
#[must_use]
pub fn validators_of(genesis: &Genesis, set: &ValidatorSet) -> Validators {
    let listed = &genesis.file().validators;
    let entry = |(index, validator): (ValidatorIndex, &Validator)| {
        let known = listed.iter().find(|listed| listed.public_key == validator.public_key);
        let addresses = known.map(|known| known.addresses.iter().filter_map(|text| text.parse().ok()).collect());
        ValidatorEntry {
            index,
            name: validator.name.clone(),
            public_key: validator.public_key,
            addresses: addresses.unwrap_or_default(),
        }
    };
    Validators { entries: set.iter().map(entry).collect(), summary: Bytes::copy_from_slice(&set.hash().0) }
}

/// A gossip or replica that starts again does not know who is connected.
fn watch_neighbours(context: &Context<PresenceMessage>, presence: &Presence) {
    let (board, replica) = (presence.shared.board.clone(), presence.replica.clone());
    let mut presence = replica.watch();
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

impl Behaviour for Presence {
    type Message = PresenceMessage;

    async fn handle(&mut self, _: &Context<PresenceMessage>, message: PresenceMessage) -> Result<(), ActorError> {
        match message {
            PresenceMessage::Event(NetworkEvent::Connected(peer)) => {
                if let Some(validator) = peer.validator {
                    self.up(validator, peer.classes);
                }
            }
            PresenceMessage::Event(NetworkEvent::Disconnected { validator, cause, .. }) => {
                if let Some(validator) = validator {
                    self.down(validator, &cause);
                }
            }
            PresenceMessage::Event(NetworkEvent::Refused { peer, refusal, .. }) => {
                tracing::warn!(%peer, differences = ?refusal.differences, "A peer belongs to another network.");
            }
            PresenceMessage::Event(NetworkEvent::Suspect { peer, suspect, .. }) => {
                tracing::debug!(%peer, suspect, "A peer is silent, or is heard again.");
            }
            PresenceMessage::Event(NetworkEvent::Listening(addresses)) => {
                tracing::info!(addresses = ?addresses, "The node listens for peers.");
                self.listening.send_replace(addresses);
            }
            PresenceMessage::Compare => self.compare(),
            PresenceMessage::Epoch => {
                self.connected.clear();
                self.compare();
                self.tell_quorum();
            }
        }
        Ok(())
    }
}
