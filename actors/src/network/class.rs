//! The classes of traffic between two nodes, each with a stream and bounds of its own.
//!
//! architecture.md section 4: "Priorities on a peer's link: consensus, then bundles, then sync, then discovery; a busy
//! sync must not delay a vote." Each class has its own queue, its own stream and its own flow-control window, so no
//! class waits for another one's reader. What they share is the TCP connection, and there the window is the bound: a
//! stream never has more than `STREAM_WINDOW_BYTES` unread bytes under way, so a vote waits behind at most two windows
//! (bundles and sync), whatever is queued.

use dtvn_messages::limits;
use libp2p::StreamProtocol;

/// A class of traffic. The order is the priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Votes, proposals, view changes: small, urgent, replaceable by later ones.
    Consensus,
    /// Bundles of operations: must not be lost silently, so a full queue is told to the sender.
    Bundles,
    /// Catching up: large, never urgent.
    Sync,
}

/// How much a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// At most so many frames.
    pub frames: usize,
    /// At most so many bytes in them.
    pub bytes: usize,
}

impl Class {
    /// All classes in the order of their priority.
    pub const ALL: [Self; 3] = [Self::Consensus, Self::Bundles, Self::Sync];

    /// The class's place in [`Class::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Consensus => 0,
            Self::Bundles => 1,
            Self::Sync => 2,
        }
    }

    /// The class's name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Bundles => "bundles",
            Self::Sync => "sync",
        }
    }

    /// The name under which the stream is negotiated. It has neither version nor chain: both are in the handshake,
    /// which can say what differs.
    pub(crate) const fn protocol(self) -> StreamProtocol {
        match self {
            Self::Consensus => StreamProtocol::new("/dtvn/consensus"),
            Self::Bundles => StreamProtocol::new("/dtvn/bundles"),
            Self::Sync => StreamProtocol::new("/dtvn/sync"),
        }
    }

    /// The longest frame, in bytes.
    #[must_use]
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Self::Consensus => limits::CONSENSUS_FRAME_BYTES_MAX,
            Self::Bundles => limits::BUNDLE_FRAME_BYTES_MAX,
            Self::Sync => limits::SYNC_FRAME_BYTES_MAX,
        }
    }

    /// What may wait to be written to one peer.
    #[must_use]
    pub const fn outbound_bounds(self) -> QueueBounds {
        match self {
            Self::Consensus => QueueBounds {
                frames: limits::OUTBOUND_CONSENSUS_FRAMES_MAX,
                bytes: limits::OUTBOUND_CONSENSUS_BYTES_MAX,
            },
            Self::Bundles => {
                QueueBounds { frames: limits::OUTBOUND_BUNDLE_FRAMES_MAX, bytes: limits::OUTBOUND_BUNDLE_BYTES_MAX }
            }
            Self::Sync => {
                QueueBounds { frames: limits::OUTBOUND_SYNC_FRAMES_MAX, bytes: limits::OUTBOUND_SYNC_BYTES_MAX }
            }
        }
    }

    /// What one peer may have delivered and not yet taken by the class's receiver.
    #[must_use]
    pub const fn inbound_bounds(self) -> QueueBounds {
        match self {
            Self::Consensus => {
                QueueBounds { frames: limits::INBOUND_CONSENSUS_FRAMES_MAX, bytes: limits::INBOUND_CONSENSUS_BYTES_MAX }
            }
            Self::Bundles => {
                QueueBounds { frames: limits::INBOUND_BUNDLE_FRAMES_MAX, bytes: limits::INBOUND_BUNDLE_BYTES_MAX }
            }
            Self::Sync => {
                QueueBounds { frames: limits::INBOUND_SYNC_FRAMES_MAX, bytes: limits::INBOUND_SYNC_BYTES_MAX }
            }
        }
    }
}

// A queue that could not hold one longest frame would refuse it for ever.
const _: () = assert!(limits::OUTBOUND_CONSENSUS_BYTES_MAX >= limits::CONSENSUS_FRAME_BYTES_MAX);
const _: () = assert!(limits::OUTBOUND_BUNDLE_BYTES_MAX >= limits::BUNDLE_FRAME_BYTES_MAX);
const _: () = assert!(limits::OUTBOUND_SYNC_BYTES_MAX >= limits::SYNC_FRAME_BYTES_MAX);
const _: () = assert!(limits::INBOUND_CONSENSUS_BYTES_MAX >= limits::CONSENSUS_FRAME_BYTES_MAX);
const _: () = assert!(limits::INBOUND_BUNDLE_BYTES_MAX >= limits::BUNDLE_FRAME_BYTES_MAX);
const _: () = assert!(limits::INBOUND_SYNC_BYTES_MAX >= limits::SYNC_FRAME_BYTES_MAX);

/// A set of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassSet(u8);

impl ClassSet {
    /// No class.
    pub const NONE: Self = Self(0);
    /// What two validators share.
    pub const VALIDATORS: Self = Self(0b111);
    /// What a validator shares with anybody else.
    pub const OBSERVERS: Self = Self(0b100);

    /// The set as one byte: bit 0 is consensus, bit 1 bundles, bit 2 sync.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// A set from its byte. Bits of classes that this version does not know are dropped.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::VALIDATORS.0)
    }

    /// Whether the class is in the set.
    #[must_use]
    pub const fn contains(self, class: Class) -> bool {
        self.0 & (1 << class.index()) != 0
    }

    /// The set with the class.
    #[must_use]
    pub const fn with(self, class: Class) -> Self {
        Self(self.0 | (1 << class.index()))
    }

    /// The classes in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The classes in the order of their priority.
    pub fn iter(self) -> impl Iterator<Item = Class> {
        Class::ALL.into_iter().filter(move |class| self.contains(*class))
    }
}

/// One value for each class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerClass<T>(pub [T; 3]);

impl<T> PerClass<T> {
    /// Builds the value of each class.
    pub fn build(build: impl FnMut(Class) -> T) -> Self {
        Self(Class::ALL.map(build))
    }

    /// The value of a class.
    #[must_use]
    pub const fn get(&self, class: Class) -> &T {
        &self.0[class.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_keep_what_is_put_in_and_drop_unknown_bits() {
        let set = ClassSet::NONE.with(Class::Sync).with(Class::Consensus);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Class::Consensus, Class::Sync]);
        assert_eq!(ClassSet::from_bits(set.bits() | 0b1100_0000), set);
        assert_eq!(set.and(ClassSet::OBSERVERS), ClassSet::OBSERVERS);
        assert_eq!(Class::ALL.iter().fold(ClassSet::NONE, |all, class| all.with(*class)), ClassSet::VALIDATORS);
    }

    #[test]
    fn the_order_of_classes_is_their_priority() {
        assert!(Class::ALL.is_sorted());
        assert!(Class::ALL.iter().enumerate().all(|(position, class)| class.index() == position));
    }
}
