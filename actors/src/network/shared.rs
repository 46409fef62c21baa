//! What the network's actors have in common, and what outlives their restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use dtvn_messages::wire::WIRE_VERSION;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{Notify, mpsc, watch};

use super::class::ClassSet;
use super::config::{NetworkConfig, NetworkEvent, Validators, ValidatorsError};
use super::contacts::Contacts;
use super::events::WaitingEvents;
use super::handshake::Hello;
use super::inbox::FrameSinks;
use super::keys;
use super::metrics::NetworkMetrics;
use super::notices::SwarmCommand;
use super::streams::Access;
use crate::supervision::ActorError;

/// One per node.
pub struct Shared {
    /// What the node was configured with. The validators in it are those of the start.
    pub config: NetworkConfig,
    /// This node's identity.
    pub local: PeerId,
    /// Everybody known.
    pub contacts: Contacts,
    /// Who is offered which streams.
    pub access: Arc<Access>,
    /// Where received frames go.
    pub sinks: FrameSinks,
    /// Where events go.
    pub events: EventOutlet,
    /// The counters.
    pub metrics: Arc<NetworkMetrics>,
    /// Grows with every session: a new neighbour may know where others are.
    pub neighbours: watch::Sender<u64>,
    validators: RwLock<Arc<Validators>>,
    swarm: RwLock<Option<mpsc::Sender<SwarmCommand>>>,
    listening: Mutex<Option<Vec<Multiaddr>>>,
    actor_names: Mutex<BTreeMap<PeerId, String>>,
}

impl Shared {
    /// What a node begins with.
    ///
    /// # Errors
    /// If the validators cannot be put in force.
    pub fn new(
        config: NetworkConfig,
        sinks: FrameSinks,
        events: mpsc::Sender<NetworkEvent>,
    ) -> Result<Self, ValidatorsError> {
        config.validators.check()?;
        Ok(Self {
            local: keys::identity(&config.key).public().to_peer_id(),
            contacts: Contacts::default(),
            access: Arc::default(),
            sinks,
            events: EventOutlet::new(events),
            metrics: Arc::default(),
            neighbours: watch::Sender::new(0),
            validators: RwLock::new(Arc::new(config.validators.clone())),
            swarm: RwLock::new(None),
            listening: Mutex::default(),
            actor_names: Mutex::default(),
            config,
        })
    }

    /// The validators in force.
    pub fn validators(&self) -> Arc<Validators> {
        Arc::clone(&self.validators.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts validators in force that were checked.
    pub fn set_validators(&self, validators: Validators) {
        *self.validators.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(validators);
    }

    /// The name of a peer's actor, the same for as long as this process runs: an actor outlives the restart of the peer
    /// manager, and the place of its peer in the validator set. It is `wanted`, unless that is another peer's: a validator
    /// that goes on with another key has the name of the one with its former key.
    pub fn actor_name(&self, peer: PeerId, wanted: String) -> String {
        let mut names = self.actor_names.lock().unwrap_or_else(PoisonError::into_inner);
        let is_taken = names.iter().any(|(other, name)| *other != peer && *name == wanted);
        let name = names.entry(peer).or_insert(if is_taken { format!("{wanted}-{peer}") } else { wanted });
        name.clone()
    }

    /// How to command the present swarm.
    ///
    /// # Errors
    /// If there is none.
    pub fn swarm(&self) -> Result<mpsc::Sender<SwarmCommand>, ActorError> {
        let swarm = self.swarm.read().unwrap_or_else(PoisonError::into_inner).clone();
        swarm.ok_or_else(|| ActorError::new("there is no swarm"))
    }

    /// A new swarm is there.
    pub fn set_swarm(&self, swarm: mpsc::Sender<SwarmCommand>) {
        *self.swarm.write().unwrap_or_else(PoisonError::into_inner) = Some(swarm);
    }

    /// Where to listen: as configured, or, after a restart (true), where the node listened before.
    pub fn listen(&self) -> (Vec<Multiaddr>, bool) {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let again = listening.is_some();
        (listening.unwrap_or_else(|| self.config.listen.clone()), again)
    }

    /// The configured addresses with their real ports: a restarted network must be where it was.
    pub fn remember_listening(&self, listening: Vec<Multiaddr>) {
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = Some(listening);
    }

    /// What this node says of itself to somebody with whom it is willing to share these classes.
    pub fn hello(&self, classes: ClassSet) -> Hello {
        Hello {
            wire_version: WIRE_VERSION,
            chain_id: self.config.chain_id.clone(),
            genesis: self.config.genesis,
            start: self.config.start,
            classes,
            summary: self.validators().summary.clone(),
            node_name: self.config.node_name.clone(),
        }
    }

    /// Tells the node something.
    pub fn tell(&self, event: NetworkEvent) {
        self.metrics.events_dropped.add(self.events.push(event));
    }
}

/// Events on their way to the node: told by anybody without waiting, handed over by one task.
pub struct EventOutlet {
    waiting: Mutex<WaitingEvents>,
    filled: Notify,
    sink: mpsc::Sender<NetworkEvent>,
}

impl EventOutlet {
    fn new(sink: mpsc::Sender<NetworkEvent>) -> Self {
        Self { waiting: Mutex::default(), filled: Notify::new(), sink }
    }

    fn push(&self, event: NetworkEvent) -> u64 {
        let dropped = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        self.filled.notify_one();
        dropped
    }

    fn pop(&self) -> Option<NetworkEvent> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Hands events over for ever. Cancelling loses none.
    pub async fn run(&self) {
        loop {
            // An event is taken only once there is a place for it. If nobody listens any more, events are dropped.
            let permit = self.sink.reserve().await.ok();
            match (self.pop(), permit) {
                (Some(event), Some(permit)) => permit.send(event),
                (Some(_), None) => {}
                (None, _) => self.filled.notified().await,
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::num::NonZeroU32;

    use dtvn_messages::crypto::{Digest, KeyPair};
    use dtvn_messages::ids::{ChainId, NodeName, ValidatorIndex};

    use super::*;
    use crate::network::class::{Class, PerClass};
    use crate::network::config::ValidatorEntry;
    use crate::network::inbox::fair_inbox;

    /// What the network of the first of two validators has in common; the second one is to be found at this address.
    pub(crate) fn shared_of_two(address: Multiaddr) -> Arc<Shared> {
        let key = |number: u16| KeyPair::development("network-test", &format!("node{number}"));
        let name = |number: u16| NodeName::new(&format!("node{number}")).unwrap();
        let entry = |number: u16, addresses: Vec<Multiaddr>| ValidatorEntry {
            index: ValidatorIndex(number),
            name: name(number),
            public_key: key(number).public(),
            addresses,
        };
        let entries = vec![entry(0, Vec::new()), entry(1, vec![address])];
        let config = NetworkConfig {
            key: key(0),
            chain_id: ChainId::new("network-test").unwrap(),
            genesis: Digest([1; 32]),
            node_name: name(0),
            start: 1,
            listen: Vec::new(),
            announce: Vec::new(),
            bootstrap: Vec::new(),
            frames_per_second: PerClass::build(|_| NonZeroU32::MAX),
            validators: Validators { entries, ..Validators::default() },
        };
        let sink = |class: Class| fair_inbox(class.inbound_bounds()).0;
        let sinks =
            FrameSinks { consensus: sink(Class::Consensus), bundles: sink(Class::Bundles), sync: sink(Class::Sync) };
        Arc::new(Shared::new(config, sinks, mpsc::channel(64).0).unwrap())
    }
}
