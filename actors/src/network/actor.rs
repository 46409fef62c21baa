//! The actor `network`: builds the swarm, listens, and keeps the task that drives it.
//!
//! architecture.md section 2: first of the subtree `links`; when it fails, everything after it starts anew. Ports are
//! kept across a restart, because others have learned them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use dtvn_messages::limits;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Swarm};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::driver::Driver;
use super::keys;
use super::notices::{self, SwarmCommand};
use super::shared::Shared;
use super::swarm::{self, Behaviour, StartError};
use crate::mailbox::{FullPolicy, Mail};
use crate::supervision::{ActorError, Behaviour as ActorBehaviour, Context, StopReason};

/// What can be said to the actor `network`.
#[derive(Debug)]
pub enum NetworkMessage {
    /// The swarm's task has ended.
    SwarmEnded,
}

impl Mail for NetworkMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::SwarmEnded => "swarm_ended",
        }
    }

    fn policy(&self) -> FullPolicy {
        FullPolicy::Wait
    }
}

/// The actor.
pub struct NetworkActor {
    commands: mpsc::Sender<SwarmCommand>,
}

impl NetworkActor {
    /// Builds a swarm that listens, and starts the task that drives it.
    ///
    /// # Errors
    /// As [`StartError`].
    pub async fn start(context: Context<NetworkMessage>, shared: Arc<Shared>) -> Result<Self, ActorError> {
        let identity = keys::identity(&shared.config.key);
        let hidden = !shared.config.announce.is_empty();
        let mut swarm = swarm::build(identity, &shared.config.chain_id, hidden, Arc::clone(&shared.access))?;
        let mut listeners = Vec::new();
        let (addresses, again) = shared.listen();
        for address in addresses {
            listeners.push((listen(&mut swarm, &address, again).await?, address));
        }
        shared.config.announce.iter().for_each(|address| swarm.add_external_address(address.clone()));
        let (commands, queue) = notices::queue();
        shared.set_swarm(commands.clone());
        let driver = Driver::new(swarm, listeners, queue, Arc::clone(&shared));
        context.spawn_then(driver.run(), |()| NetworkMessage::SwarmEnded);
        context.spawn(async move { shared.events.run().await });
        Ok(Self { commands })
    }
}

impl ActorBehaviour for NetworkActor {
    type Message = NetworkMessage;

    async fn handle(&mut self, _: &Context<NetworkMessage>, message: NetworkMessage) -> Result<(), ActorError> {
        match message {
            NetworkMessage::SwarmEnded => Err(ActorError::new("the swarm's task ended")),
        }
    }

    async fn stop(&mut self, _: &Context<NetworkMessage>, _: StopReason) -> Result<(), ActorError> {
        let (done, closed) = oneshot::channel();
        let ends = async {
            if self.commands.send(SwarmCommand::Shutdown(done)).await.is_ok() {
                // An error means that the swarm is gone, which is as good.
                let _ = closed.await;
            }
        };
        let late = timeout(2 * limits::NETWORK_FLUSH_TIMEOUT, ends).await.is_err();
        if late { Err(ActorError::new("the swarm did not close in time")) } else { Ok(()) }
    }
}

/// Listens on an address. After a restart the former swarm's sockets may take a moment to go, which nobody announces.
async fn listen(swarm: &mut Swarm<Behaviour>, address: &Multiaddr, again: bool) -> Result<ListenerId, StartError> {
    let attempts = if again { LISTEN_ATTEMPTS } else { 1 };
    for _ in 1..attempts {
        match try_listen(swarm, address) {
            Ok(listener) => return Ok(listener),
            Err(_) => sleep(LISTEN_PAUSE).await,
        }
    }
    try_listen(swarm, address)
}

const LISTEN_ATTEMPTS: u32 = 20;
const LISTEN_PAUSE: Duration = Duration::from_millis(100);

fn try_listen(swarm: &mut Swarm<Behaviour>, address: &Multiaddr) -> Result<ListenerId, StartError> {
    check_free(address).map_err(|error| StartError::refused(address, error.to_string()))?;
    swarm.listen_on(address.clone()).map_err(|error| StartError::listen(address, &error))
}

/// libp2p listens with `SO_REUSEPORT`, by which a second process would silently take half of the connections.
fn check_free(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind(SocketAddr::new(ip, port)).map(drop),
        _ => Ok(()),
    }
}
