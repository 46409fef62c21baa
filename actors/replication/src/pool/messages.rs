//! What a pool is told, and what comes out.

use std::sync::Arc;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{Bundle, BundlePosition, Digest, Epoch, Height, ValidatorIndex, ValidatorSet};
use dtvn_pbft::BundleMeta;

use super::shelf::Refusal;

/// What a pool is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// This node's intake cut and signed a bundle.
    Own(Arc<Bundle>),
    /// A validator sent a bundle.
    Received {
        /// Who.
        from: ValidatorIndex,
        /// The bundle as it travels.
        bytes: Arc<Vec<u8>>,
    },
    /// The answer to [`Effect::Verify`].
    Verified {
        /// Who sent the bundle.
        from: ValidatorIndex,
        /// The bundle.
        bundle: Arc<Bundle>,
        /// Whether its origin signed it.
        ok: bool,
    },
    /// A validator lacks these bundles.
    Fetch {
        /// Who.
        from: ValidatorIndex,
        /// Their digests.
        digests: Vec<Digest>,
    },
    /// A validator holds these bundles.
    Announce {
        /// Who.
        from: ValidatorIndex,
        /// Their digests.
        digests: Vec<Digest>,
    },
    /// The replica needs these bundles to vote.
    Want {
        /// Their digests.
        digests: Vec<Digest>,
        /// Who should hold them, best first.
        holders: Vec<ValidatorIndex>,
        /// The leader whose proposal names them; none if a quorum voted for a block that does: prepared, or committed.
        proposer: Option<ValidatorIndex>,
    },
    /// The replica no longer needs these bundles.
    Unwant {
        /// Their digests.
        digests: Vec<Digest>,
    },
    /// The replica can do without these bundles, which [`Effect::ReserveFull`] offered.
    Release {
        /// Their digests.
        digests: Vec<Digest>,
    },
    /// The replica needs none of what it wanted: its view is over.
    WantNothing,
    /// These bundles have been pending for half a view timeout: show them to everyone, and to the leader first.
    Relay {
        /// Their digests.
        digests: Vec<Digest>,
        /// The leader.
        leader: ValidatorIndex,
    },
    /// A block is committed. Comes before any [`Input::Positions`] that knows of it.
    Ordered {
        /// Its height.
        height: Height,
        /// Its bundles.
        digests: Vec<Digest>,
    },
    /// The last ordered bundle of origins, as the replicated state knows it: at the start, and after a block whose
    /// bundles were not here.
    Positions {
        /// The epoch in which they were ordered.
        epoch: Epoch,
        /// The last of each origin.
        positions: Vec<(ValidatorIndex, BundlePosition)>,
    },
    /// A checkpoint is stable: ordered bundles up to its height are not kept any longer.
    Stable {
        /// Its height.
        height: Height,
    },
    /// A bundle from the consensus log, at the start. It was accepted before, so it is taken whatever the bounds say.
    Restored(Arc<Bundle>),
    /// Whoever checks signatures was restarted, and has lost what it was given.
    VerifierRestarted,
    /// The replica was restarted: tell it all that is pending.
    ReplicaRestarted,
    /// A validator can be reached, again or for the first time.
    PeerUp(ValidatorIndex),
    /// A validator can no longer be reached.
    PeerDown(ValidatorIndex),
    /// Another epoch began: nothing that is pending can be ordered any more.
    Epoch {
        /// The epoch.
        epoch: Epoch,
        /// Its validators.
        validators: Arc<ValidatorSet>,
        /// This node's place among them.
        own: Option<ValidatorIndex>,
    },
    /// The timer of this generation fired. Those of earlier generations change nothing.
    Timer {
        /// The generation.
        generation: u64,
    },
}

/// What follows from an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send to one validator.
    Send {
        /// To whom.
        to: ValidatorIndex,
        /// What.
        message: PeerMessage,
    },
    /// Send to all other validators.
    Broadcast(PeerMessage),
    /// Check the signature and come back with [`Input::Verified`].
    Verify {
        /// Who sent it.
        from: ValidatorIndex,
        /// The bundle.
        bundle: Arc<Bundle>,
    },
    /// Append to the consensus log. Always before the bundle is available.
    Log(Arc<Bundle>),
    /// A bundle is here, for the replica.
    Available(BundleMeta),
    /// An available bundle can never be ordered and is no longer held. If it is an own one, intake offers its operations
    /// again.
    Superseded {
        /// The bundle.
        bundle: Arc<Bundle>,
        /// The last ordered position of its origin in this epoch.
        last: Option<BundlePosition>,
    },
    /// An origin signed two bundles for one position: material for evidence. Both are available.
    Conflict {
        /// The one held before.
        first: Arc<Bundle>,
        /// The other.
        second: Arc<Bundle>,
    },
    /// A bundle of a peer was not taken. It can be fetched later.
    Refused {
        /// Who sent it.
        from: ValidatorIndex,
        /// Why not.
        refusal: Refusal,
    },
    /// The replica wants too many bundles at once: these are not looked for.
    WantRefused {
        /// Their digests.
        digests: Vec<Digest>,
    },
    /// A proposal names a bundle for which the reserve has no room: come back with [`Input::Release`] for those of these
    /// that nothing needs. They are what the reserve holds, and the bundle is fetched again.
    ReserveFull {
        /// Their digests.
        held: Vec<Digest>,
    },
    /// Whether there is no room for further bundles of this node: intake refuses operations as `overloaded` meanwhile.
    Full(bool),
    /// A peer broke the rules.
    Blame {
        /// The peer.
        peer: ValidatorIndex,
        /// How.
        why: BlameReason,
    },
    /// Send [`Input::Timer`] after this time. It replaces the timer set before.
    SetTimer {
        /// The generation to hand back.
        generation: u64,
        /// After how many milliseconds.
        after_ms: u64,
    },
}

impl Effect {
    pub(super) fn available(bundle: &Bundle) -> Self {
        Self::Available(BundleMeta {
            digest: bundle.digest,
            origin: bundle.body.origin,
            position: bundle.position(),
            operations: bundle.body.operations.len(),
            bytes: bundle.bytes.len(),
        })
    }
}

/// What a peer did that no honest one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlameReason {
    /// It sent something that is no bundle.
    MalformedBundle,
    /// It sent a bundle whose origin is no validator.
    UnknownOrigin,
    /// It sent a bundle that its origin did not sign.
    BadSignature,
}

impl BlameReason {
    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MalformedBundle => "malformed_bundle",
            Self::UnknownOrigin => "unknown_origin",
            Self::BadSignature => "bad_bundle_signature",
        }
    }
}

/// How much a pool holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// Bundles that wait to be ordered.
    pub pending_bundles: usize,
    /// Their bytes, without those in the reserve.
    pub pending_bytes: usize,
    /// Bytes of pending bundles beyond their origin's share.
    pub reserve_bytes: usize,
    /// Bytes of ordered bundles that are kept for peers.
    pub retained_bytes: usize,
    /// Bundles whose signature is being checked.
    pub unverified_bundles: usize,
    /// Bundles that are looked for.
    pub searches: usize,
}
