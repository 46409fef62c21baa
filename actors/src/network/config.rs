//! What the network layer is told when it starts, and what it tells.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use dtvn_messages::crypto::{Digest, KeyPair, PublicKey};
use dtvn_messages::ids::{ChainId, NodeName, ValidatorIndex};
use dtvn_messages::limits;
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use super::class::{ClassSet, PerClass};
use super::handshake::Refusal;
use super::keys::{KeyError, peer_id};
use super::status::PeerState;

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

/// Why validators cannot be put in force.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValidatorsError {
    /// A key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The summary does not fit into the handshake.
    #[error(
        "the summary of the validator set has {length} bytes, the limit is {}",
        limits::HANDSHAKE_SUMMARY_BYTES_MAX
    )]
    SummaryTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// There are too many.
    #[error("there are {count} validators, the limit is {}", limits::VALIDATORS_MAX)]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

impl Validators {
    /// Whether they can be put in force.
    pub(crate) fn check(&self) -> Result<(), ValidatorsError> {
        if self.summary.len() > limits::HANDSHAKE_SUMMARY_BYTES_MAX {
            return Err(ValidatorsError::SummaryTooLong { length: self.summary.len() });
        }
        if self.entries.len() > limits::VALIDATORS_MAX {
            return Err(ValidatorsError::TooMany { count: self.entries.len() });
        }
        for entry in &self.entries {
            peer_id(&entry.public_key)?;
        }
        Ok(())
    }
}

/// What a node says of itself and where it looks for others.
#[derive(Clone)]
pub struct NetworkConfig {
    /// Its Ed25519 key.
    pub key: KeyPair,
    /// Its chain.
    pub chain_id: ChainId,
    /// The hash of its genesis.
    pub genesis: Digest,
    /// Its name.
    pub node_name: NodeName,
    /// When its process started, wall time in microseconds: a later start has a higher number.
    pub start: u64,
    /// Where to listen: `/ip4/../tcp/..` and `/ip4/../udp/../quic-v1`; port 0 is any.
    pub listen: Vec<Multiaddr>,
    /// Under which addresses others may reach it, if the listening ones are not it (behind a load balancer or NAT): then
    /// those are not told.
    pub announce: Vec<Multiaddr>,
    /// Where to begin looking for others; with or without a peer id at the end.
    pub bootstrap: Vec<Multiaddr>,
    /// How many frames of each class are read from one peer in a second, with a burst.
    pub frames_per_second: PerClass<NonZeroU32>,
    /// The validators.
    pub validators: Validators,
}

impl NetworkConfig {
    /// The pace of a validator.
    pub const FRAMES_PER_SECOND: PerClass<NonZeroU32> = PerClass([
        NonZeroU32::new(limits::READ_CONSENSUS_FRAMES_PER_SECOND).unwrap(),
        NonZeroU32::new(limits::READ_BUNDLE_FRAMES_PER_SECOND).unwrap(),
        NonZeroU32::new(limits::READ_SYNC_FRAMES_PER_SECOND).unwrap(),
    ]);
}

impl fmt::Debug for NetworkConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key.
        formatter
            .debug_struct("NetworkConfig")
            .field("key", &self.key.public())
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
    /// When its process started, wall time in microseconds: a later start has a higher number.
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
    /// The classes that its session shares: a validator in another epoch shares only sync.
    pub classes: ClassSet,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validators_that_a_handshake_could_not_carry_are_refused() {
        let long = limits::HANDSHAKE_SUMMARY_BYTES_MAX + 1;
        let validators = Validators { summary: vec![0; long].into(), ..Validators::default() };
        assert_eq!(validators.check(), Err(ValidatorsError::SummaryTooLong { length: long }));
        let mut off_the_curve = [0xff; 32];
        off_the_curve[0] = 2;
        let entry = ValidatorEntry {
            index: ValidatorIndex(0),
            name: NodeName::new("node0").unwrap(),
            public_key: PublicKey(off_the_curve),
            addresses: Vec::new(),
        };
        let one = Validators { entries: vec![entry.clone()], ..Validators::default() };
        assert!(matches!(one.check(), Err(ValidatorsError::Key(_))));
        let many = Validators { entries: vec![entry; limits::VALIDATORS_MAX + 1], ..Validators::default() };
        assert_eq!(many.check(), Err(ValidatorsError::TooMany { count: limits::VALIDATORS_MAX + 1 }));
        assert_eq!(Validators::default().check(), Ok(()));
    }
}
