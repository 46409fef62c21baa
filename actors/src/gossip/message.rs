//! What can be said to the gossip.

use std::sync::Arc;

use dtvn_messages::{Bundle, BundlePosition, Digest, Epoch, Height, ValidatorIndex};
use dtvn_pbft::Committee;

use crate::directory::Role;
use crate::mailbox::{FullPolicy, Mail};
use crate::shared::Credit;

/// The gossip's role.
pub const ROLE: Role<GossipMessage> = Role::new("gossip");

/// What a peer says about bundles.
#[derive(Debug)]
pub enum FromPeer {
    /// A bundle as it travels.
    Bundle(Arc<Vec<u8>>),
    /// It lacks these.
    Fetch(Vec<Digest>),
    /// It holds these.
    Announce(Vec<Digest>),
}

/// What can be said to the gossip.
pub enum GossipMessage {
    /// A peer says something about bundles.
    Peer {
        /// The peer.
        from: ValidatorIndex,
        /// What it says.
        what: FromPeer,
        /// Its place in this mailbox.
        credit: Credit,
    },
    /// This node's intake cut and signed a bundle.
    Own(Arc<Bundle>),
    /// A signature was checked.
    Verified {
        /// Who sent the bundle.
        from: ValidatorIndex,
        /// The bundle.
        bundle: Arc<Bundle>,
        /// Whether its origin signed it.
        ok: bool,
    },
    /// The replica needs these bundles.
    Want {
        /// Their digests.
        digests: Vec<Digest>,
        /// Who should hold them, best first.
        holders: Vec<ValidatorIndex>,
        /// The leader whose proposal names them; none if a quorum voted for a block that does: prepared, or committed.
        proposer: Option<ValidatorIndex>,
    },
    /// The replica does not need these bundles any more.
    Unwant(Vec<Digest>),
    /// A replica that starts holds these bundles.
    Restored(Vec<Arc<Bundle>>),
    /// The replica can do without these bundles: they make room.
    Release(Vec<Digest>),
    /// Show these bundles to everyone.
    Relay {
        /// Their digests.
        digests: Vec<Digest>,
        /// The leader.
        leader: ValidatorIndex,
    },
    /// A block is committed.
    Ordered {
        /// Its epoch.
        epoch: Epoch,
        /// Its height.
        height: Height,
        /// Its bundles.
        digests: Vec<Digest>,
        /// The last of each origin.
        positions: Vec<(ValidatorIndex, BundlePosition)>,
    },
    /// A checkpoint is stable.
    Stable(Height),
    /// A link to a validator came up or went down.
    Link {
        /// The validator.
        peer: ValidatorIndex,
        /// Whether it is up.
        up: bool,
    },
    /// Another epoch began: nothing that is pending can be ordered any more.
    Epoch(Committee),
    /// The replica started again.
    ReplicaRestarted,
    /// A worker that checks signatures started again.
    VerifierRestarted,
    /// The timer fired.
    Timer(u64),
}

impl Mail for GossipMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Peer { .. } => "peer",
            Self::Own(_) => "own",
            Self::Verified { .. } => "verified",
            Self::Want { .. } => "want",
            Self::Unwant(_) => "unwant",
            Self::Restored(_) => "restored",
            Self::Release(_) => "release",
            Self::Relay { .. } => "relay",
            Self::Ordered { .. } => "ordered",
            Self::Stable(_) => "stable",
            Self::Link { .. } => "link",
            Self::Epoch(_) => "epoch",
            Self::ReplicaRestarted => "replica_restarted",
            Self::VerifierRestarted => "verifier_restarted",
            Self::Timer(_) => "timer",
        }
    }

    fn policy(&self) -> FullPolicy {
        FullPolicy::Must
    }
}
