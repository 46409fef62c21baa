//! The network: authenticated, bounded links to the other nodes, over libp2p.
//!
//! architecture.md sections 4, 6 and 7; consensus.md section 9. From the outside it is three things: a
//! [`NetworkHandle`] to send and to ask with, a [`FrameSink`] per class for what arrives, and a bounded queue of
//! [`NetworkEvent`]s. Inside:
//!
//! - the actor `network` (`actor`) owns the swarm, whose task (`driver`) decides nothing; `swarm`, `streams`, `gate` and
//!   `muxer` are what the swarm consists of;
//! - `crate::peer_manager` decides: whom to dial, to greet, to distrust;
//! - `session` reads and writes the streams of one peer; `link`, `queue`, `inbox`, `frame` are its bounded queues.
//!
//! A frame's way is caller, link, writer, stream, reader, sink: no actor touches it.

mod actor;
pub(crate) mod class;
pub(crate) mod config;
pub(crate) mod contacts;
mod driver;
mod events;
mod frame;
mod gate;
mod handle;
pub(crate) mod handshake;
mod inbox;
pub(crate) mod keys;
pub(crate) mod link;
mod metrics;
mod muxer;
pub(crate) mod notices;
pub mod pace;
mod queue;
pub(crate) mod score;
pub(crate) mod session;
pub(crate) mod shared;
pub(crate) mod status;
pub(crate) mod streams;
mod swarm;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::directory::{Directory, Role as ActorRole};
use crate::peer_manager::{self, PEER_MANAGER};
use crate::supervision::ChildSpec;

pub use actor::NetworkMessage;
pub use class::{Class, ClassSet, PerClass, QueueBounds};
pub use config::{
    ConnectedPeer, NetworkConfig, NetworkEvent, PeerInfo, TrafficTotals, ValidatorEntry, Validators, ValidatorsError,
};
pub use frame::{FrameReader, FrameTooLong};
pub use handle::{Broadcast, NetworkDown, NetworkHandle, SetValidatorsError};
pub use handshake::{Difference, GreetingError, Hello, Refusal, greet};
pub use inbox::{FairInbox, FairReceiver, FrameSink, FrameSinks, InboundFrame, OfferError, fair_inbox};
pub use keys::{KeyError, identity, peer_id};
pub use link::{Link, SendError};
pub use metrics::{Counter, NetworkMetrics, Traffic};
pub use queue::Kind;
pub use score::Offence;
pub use status::{PeerState, PeerStatus, Role};
pub use swarm::StartError;

use actor::NetworkActor;
use shared::Shared;

/// The role of the actor that owns the swarm.
pub const NETWORK: ActorRole<NetworkMessage> = ActorRole::new("network");

/// A node's network: what belongs into its tree, and how to use it.
pub struct Network {
    /// To use it with. Valid before, during and after the life of the children.
    pub handle: NetworkHandle,
    /// The first children of `links` (rest_for_one), in start order: the swarm, the peers, the peer manager.
    pub children: Vec<ChildSpec>,
}

/// Describes a node's network; nothing runs until the children are started. Frames go to `sinks`, the rest of the news
/// to `events`. `directory` is that of the tree in which the children will stand.
///
/// # Errors
/// If the validators cannot be put in force.
pub fn network(
    config: NetworkConfig,
    sinks: FrameSinks,
    events: mpsc::Sender<NetworkEvent>,
    directory: &Directory,
) -> Result<Network, ValidatorsError> {
    let shared = Arc::new(Shared::new(config, sinks, events)?);
    let handle = NetworkHandle::new(Arc::clone(&shared), directory.address(&PEER_MANAGER));
    let of_manager = peer_manager::children(&shared);
    let swarm = ChildSpec::worker(NETWORK, move |context| NetworkActor::start(context, Arc::clone(&shared)));
    let children = std::iter::once(swarm).chain(of_manager).collect();
    Ok(Network { handle, children })
}
