//! The network: authenticated, bounded links to the other nodes, over libp2p.
//!
//! architecture.md sections 4, 6 and 7; consensus.md section 9. From the outside it is three things: a
//! [`NetworkHandle`] to send and to ask with, a [`FrameSink`] per class for what arrives, and a bounded queue of
//! [`NetworkEvent`]s. Inside:
//!
//! - `driver` owns the swarm and decides nothing; `swarm`, `streams`, `gate`, `muxer` are what it consists of;
//! - `manager` holds one [`peer::Peer`] value for everybody known and does what these want done;
//! - `session` reads and writes the streams of one peer; `outbox`, `inbox`, `queue`, `frame` are its bounded queues.
//!
//! A frame's way is caller, outbox, writer, stream, reader, sink: neither the manager nor the swarm's task touches it.

mod bootstrap;
mod class;
mod config;
mod dialing;
mod directory;
mod driver;
mod events;
mod frame;
mod gate;
mod handle;
mod handshake;
mod inbox;
mod keys;
mod manager;
mod metrics;
mod muxer;
mod outbox;
mod peer;
mod queue;
mod score;
mod session;
mod streams;
mod swarm;

use std::sync::Arc;

use dtvn_messages::limits;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use class::{Class, ClassSet, PerClass, QueueBounds};
pub use config::{ConnectedPeer, NetworkConfig, NetworkEvent, PeerInfo, TrafficTotals, ValidatorEntry, Validators};
pub use handle::{Broadcast, NetworkEnded, NetworkHandle, SetValidatorsError};
pub use handshake::{Difference, Refusal};
pub use inbox::{FairInbox, FairReceiver, FrameSink, FrameSinks, InboundFrame, OfferError, fair_inbox};
pub use keys::{
    DEVELOPMENT_KEY_SEED, KeyError, development_keypair, development_seed, keypair_from_seed, peer_id, public_key,
};
pub use metrics::{Counter, NetworkMetrics, Traffic};
pub use outbox::{Outbox, SendError};
pub use peer::PeerState;
pub use queue::Kind;
pub use score::Offence;
pub use swarm::StartError;

use directory::Directory;
use driver::Driver;
use manager::{Manager, ManagerChannels};
use streams::Access;

/// A running network layer.
#[derive(Debug)]
pub struct Network {
    /// To use it with.
    pub handle: NetworkHandle,
    /// Its two tasks, the peer manager and the swarm. Both end after a shutdown; dropping them ends them at once.
    pub tasks: JoinSet<()>,
}

/// Starts the network layer: listens, and dials whom it is told of. Must be called inside a tokio runtime.
///
/// # Errors
/// If an address cannot be listened on, a transport cannot be set up, or a validator's key is none.
pub fn start(
    config: NetworkConfig,
    sinks: FrameSinks,
    events: mpsc::Sender<NetworkEvent>,
) -> Result<Network, StartError> {
    let metrics = Arc::new(NetworkMetrics::default());
    let access = Arc::new(Access::default());
    let directory = Arc::new(Directory::default());
    let (command_sender, commands) = mpsc::channel(limits::NETWORK_QUEUE_MAX);
    let (swarm_sender, swarm_commands) = mpsc::channel(limits::NETWORK_QUEUE_MAX);
    let (notice_sender, notices) = mpsc::channel(limits::NETWORK_QUEUE_MAX);

    let mut swarm = swarm::build(config.keypair.clone(), &config.chain_id, Arc::clone(&access))?;
    let mut listeners = Vec::with_capacity(config.listen.len());
    for address in &config.listen {
        let listening = swarm.listen_on(address.clone());
        listeners.push(listening.map_err(|error| StartError::listen(address, &error))?);
    }
    config.announce.iter().for_each(|address| swarm.add_external_address(address.clone()));
    let local = *swarm.local_peer_id();
    let driver = Driver::new(swarm, listeners, swarm_commands, notice_sender, Arc::clone(&metrics));
    let channels = ManagerChannels { commands, swarm: swarm_sender, notices, events };
    let manager = Manager::new(config, sinks, Arc::clone(&directory), access, Arc::clone(&metrics), channels)?;

    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run());
    tasks.spawn(manager.run());
    Ok(Network { handle: NetworkHandle { local, directory, metrics, commands: command_sender }, tasks })
}
