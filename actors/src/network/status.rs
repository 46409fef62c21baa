//! What a peer is to this node, and how it is: written by whoever decides it, read by anybody at any time.

use std::time::{Duration, Instant};

use dtvn_messages::ids::{NodeName, ValidatorIndex};
use libp2p::Multiaddr;

use super::class::ClassSet;

/// What a peer is to this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Role {
    /// Its place in the validator set; none for an observer or a stranger.
    pub validator: Option<(ValidatorIndex, NodeName)>,
    /// What we are willing to share with it.
    pub willing: ClassSet,
    /// Whether it is dialed for ever: validators and bootstrap peers are.
    pub persistent: bool,
    /// Where it may be found, beside what is learned.
    pub addresses: Vec<Multiaddr>,
}

/// How a peer is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PeerState {
    /// A session stands and heartbeats are answered.
    Connected,
    /// A session stands and two heartbeats went unanswered.
    Suspect,
    /// No session stands.
    #[default]
    Disconnected,
    /// It misbehaved and is not talked to for a while.
    Banned,
}

/// How a peer is, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerStatus {
    /// How it is.
    pub state: PeerState,
    /// Where it is connected, or may be found.
    pub addresses: Vec<Multiaddr>,
    /// Since when the session stands.
    pub connected_since: Option<Instant>,
    /// The last heartbeat's round trip.
    pub round_trip: Option<Duration>,
    /// Bytes received from it during the last heartbeat.
    pub bytes_in_last_heartbeat: u64,
    /// Its misbehaviour points.
    pub points: u32,
    /// What went wrong last.
    pub last_error: Option<String>,
}
