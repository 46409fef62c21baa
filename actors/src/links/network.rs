//! The network actor: starts the libp2p layer, publishes its handle, and passes its news on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use tokio::sync::{mpsc, watch};

use super::peer_manager::{PEER_MANAGER, PeerManagerMessage};
use crate::directory::Role;
use crate::mailbox::{Address, FullPolicy, Mail};
use crate::network::{self, Network, NetworkConfig, NetworkEvent, NetworkHandle};
use crate::shared::Shared;
use crate::supervision::{ActorError, Behaviour, Context, StopReason};
use crate::verifier::Inbound;
use dtvn_messages::limits;

/// The network's role.
pub const NETWORK: Role<NetworkMessage> = Role::new("network");

/// How long the sockets of a network that crashed may take to close.
const RELISTEN_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause between two tries.
const RELISTEN_PAUSE: Duration = Duration::from_millis(20);

/// What can be said to the network actor.
pub enum NetworkMessage {
    /// News of the libp2p layer.
    Event(NetworkEvent),
    /// One of its tasks ended.
    Ended(String),
}

impl Mail for NetworkMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Event(_) => "event",
            Self::Ended(_) => "ended",
        }
    }

    fn policy(&self) -> FullPolicy {
        FullPolicy::Wait
    }
}

/// What the network actor is made with.
#[derive(Clone)]
pub struct NetworkArguments {
    /// What the node's actors share.
    pub shared: Shared,
    /// Keys, addresses, validators. After a restart the same ports are asked for again.
    pub config: NetworkConfig,
    /// Where received frames go.
    pub inbound: Arc<Inbound>,
    /// Where this node listens, for whoever wants to know the real ports.
    pub listening: Arc<watch::Sender<Vec<Multiaddr>>>,
}

/// The network actor.
pub struct NetworkActor {
    shared: Shared,
    handle: NetworkHandle,
    listening: Arc<watch::Sender<Vec<Multiaddr>>>,
    peer_manager: Address<PeerManagerMessage>,
}

impl NetworkActor {
    /// Starts to listen and to dial.
    ///
    /// # Errors
    /// If an address cannot be listened on.
    pub async fn start(context: Context<NetworkMessage>, arguments: NetworkArguments) -> Result<Self, ActorError> {
        let NetworkArguments { shared, mut config, inbound, listening } = arguments;
        // Ports that the system chose at the first start are kept: peers know them by now.
        let former = listening.borrow().clone();
        let is_restart = !former.is_empty();
        if is_restart {
            config.listen = former;
        }
        let (network, mut events) = listen(config, &inbound, is_restart).await?;
        let mut tasks = network.tasks;
        let myself = context.myself();
        let for_tasks = myself.clone();
        context.spawn(async move {
            while let Some(event) = events.recv().await {
                if myself.send(NetworkMessage::Event(event)).await.is_err() {
                    return;
                }
            }
        });
        context.spawn(async move {
            let why = match tasks.join_next().await {
                Some(Err(error)) => error.to_string(),
                Some(Ok(())) | None => "a task of the network layer ended".to_owned(),
            };
            let _over = for_tasks.send(NetworkMessage::Ended(why)).await;
        });
        shared.network.publish(Some(network.handle.clone()));
        let peer_manager = context.address_of(&PEER_MANAGER);
        Ok(Self { shared, handle: network.handle, listening, peer_manager })
    }
}

/// Starts the libp2p layer. After a crash its sockets may take a moment to close: then it is tried again for a while.
async fn listen(
    config: NetworkConfig,
    inbound: &Inbound,
    is_restart: bool,
) -> Result<(Network, mpsc::Receiver<NetworkEvent>), ActorError> {
    let begin = Instant::now();
    loop {
        let (sender, events) = mpsc::channel(limits::NETWORK_EVENTS_MAX);
        match network::start(config.clone(), inbound.sinks(), sender) {
            Ok(network) => return Ok((network, events)),
            Err(error) if is_restart && begin.elapsed() < RELISTEN_TIMEOUT => {
                tracing::debug!(%error, "The former sockets are not closed yet.");
                tokio::time::sleep(RELISTEN_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl Behaviour for NetworkActor {
    type Message = NetworkMessage;

    async fn handle(&mut self, _context: &Context<NetworkMessage>, message: NetworkMessage) -> Result<(), ActorError> {
        match message {
            NetworkMessage::Event(NetworkEvent::Listening(addresses)) => {
                tracing::info!(addresses = ?addresses, "The node listens for peers.");
                self.listening.send_replace(addresses);
                Ok(())
            }
            NetworkMessage::Event(event) => {
                // A peer manager that starts again begins with nobody connected: rest_for_one restarts it after this
                // actor only, so its own restart loses what this one knows; it asks the handle then.
                let _down = self.peer_manager.send(PeerManagerMessage::Event(event)).await;
                Ok(())
            }
            NetworkMessage::Ended(why) => Err(ActorError::new(why)),
        }
    }

    async fn stop(&mut self, _context: &Context<NetworkMessage>, _reason: StopReason) -> Result<(), ActorError> {
        self.shared.network.publish(None);
        self.handle.shutdown().await;
        Ok(())
    }
}
