//! What the network layer is told when it starts, and what it tells.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use dtvn_messages::crypto::{Digest, PublicKey};
use dtvn_messages::ids::{ChainId, NodeName, ValidatorIndex};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};

use super::class::{ClassSet, PerClass};
use super::handshake::Refusal;
use super::peer::PeerState;

/// A validator as the network layer needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorEntry {
    /// Its place in the validator set.
    pub index: ValidatorIndex,
    /// Its name.
    pub name: NodeName,
    /// Its key, which is its identity.
    pub public_key: PublicKey,
    /// Where it may be found; may be empty, then discovery finds it.
    pub addresses: Vec<Multiaddr>,
}

/// The validators of the current epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Validators {
    /// All of them, this node too if it is one.
    pub entries: Vec<ValidatorEntry>,
    /// Goes into the handshake, for the other side's caller to judge: at most `HANDSHAKE_SUMMARY_BYTES_MAX` bytes.
    pub summary: Bytes,
}

/// What a node says of itself and where it looks for others.
#[derive(Clone)]
pub struct NetworkConfig {
    /// Its Ed25519 key.
    pub keypair: Keypair,
    /// Its chain.
    pub chain_id: ChainId,
    /// The hash of its genesis.
    pub genesis: Digest,
    /// Its name.
    pub node_name: NodeName,
    /// How often it has started.
    pub start: u64,
    /// Where to listen: `/ip4/../tcp/..` and `/ip4/../udp/../quic-v1`; port 0 is any.
    pub listen: Vec<Multiaddr>,
    /// Under which addresses others may reach it, if the listening ones are not it (behind a load balancer or NAT).
    pub announce: Vec<Multiaddr>,
    /// Where to begin looking for others; with or without a peer id at the end.
    pub bootstrap: Vec<Multiaddr>,
    /// The validators.
    pub validators: Validators,
}

impl fmt::Debug for NetworkConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key.
        formatter
            .debug_struct("NetworkConfig")
            .field("peer", &self.keypair.public().to_peer_id())
            .field("chain_id", &self.chain_id)
            .field("node_name", &self.node_name)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// What the network layer tells. Frames go to their sinks instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkEvent {
    /// The node listens here: the real ports. Repeated when addresses come or go.
    Listening(Vec<Multiaddr>),
    /// A session stands: frames can be sent. Whatever was sent before is to be considered lost.
    Connected(ConnectedPeer),
    /// A session is over.
    Disconnected {
        /// The peer.
        peer: PeerId,
        /// Its place in the validator set, if it has one.
        validator: Option<ValidatorIndex>,
        /// Why, in words.
        cause: String,
    },
    /// A peer belongs to another network. Told once, and again only when something else differs.
    Refused {
        /// The peer.
        peer: PeerId,
        /// Its place in the validator set, if it has one.
        validator: Option<ValidatorIndex>,
        /// What differs.
        refusal: Refusal,
    },
    /// A connected peer fell silent for two heartbeats (true), or was heard again (false).
    Suspect {
        /// The peer.
        peer: PeerId,
        /// Its place in the validator set, if it has one.
        validator: Option<ValidatorIndex>,
        /// Whether it is suspect now.
        suspect: bool,
    },
}

impl NetworkEvent {
    /// The peer that it is about.
    #[must_use]
    pub const fn peer(&self) -> Option<PeerId> {
        match self {
            Self::Listening(_) => None,
            Self::Connected(connected) => Some(connected.peer),
            Self::Disconnected { peer, .. } | Self::Refused { peer, .. } | Self::Suspect { peer, .. } => Some(*peer),
        }
    }
}

/// A peer with a standing session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedPeer {
    /// The peer.
    pub peer: PeerId,
    /// Its place in the validator set, if it has one.
    pub validator: Option<ValidatorIndex>,
    /// The name it gives itself.
    pub node_name: NodeName,
    /// How often it has started.
    pub start: u64,
    /// Its summary of the validator set.
    pub summary: Bytes,
    /// The classes that the session has. A validator with sync only is in another epoch.
    pub classes: ClassSet,
}

/// What went through a peer's link, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrafficTotals {
    /// Frames received.
    pub frames_in: PerClass<u64>,
    /// Bytes received.
    pub bytes_in: PerClass<u64>,
    /// Frames written.
    pub frames_out: PerClass<u64>,
    /// Bytes written.
    pub bytes_out: PerClass<u64>,
}

/// A peer as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its identity.
    pub peer: PeerId,
    /// Its place in the validator set, if it has one.
    pub validator: Option<ValidatorIndex>,
    /// Its name, if it is a validator.
    pub name: Option<NodeName>,
    /// How it is.
    pub state: PeerState,
    /// Where it is connected, or may be found.
    pub addresses: Vec<Multiaddr>,
    /// How long its session has stood.
    pub connected_for: Option<Duration>,
    /// The last heartbeat's round trip.
    pub round_trip: Option<Duration>,
    /// Its misbehaviour points, of `MISBEHAVIOUR_POINTS_MAX`.
    pub points: u32,
    /// Frames waiting to be written.
    pub queue_depths: PerClass<usize>,
    /// What went through its link since this node started.
    pub traffic: TrafficTotals,
    /// Bytes received from it during the last heartbeat.
    pub bytes_in_last_heartbeat: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}
