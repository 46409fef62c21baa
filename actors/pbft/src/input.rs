//! What goes into the core.

use std::sync::Arc;

use dtvn_messages::view_change::{SealedNewView, SealedViewChange};
use dtvn_messages::wire::Status;
use dtvn_messages::{
    Block, Certificate, Checkpoint, CommittedProof, Digest, Epoch, Height, PreparedCertificate, Signature, Signed,
    StableCheckpoint, Succession, ValidatorIndex, View, Vote,
};

use crate::bundles::BundleMeta;
use crate::effect::Record;

/// A message from a peer whose signatures were checked. A statement comes from its own signer, except where noted.
#[derive(Debug, Clone)]
pub enum Message {
    /// A proposal; the signature is the leader's PREPARE.
    PrePrepare {
        /// The view.
        view: View,
        /// The block.
        block: Arc<Block>,
        /// Its digest.
        digest: Digest,
        /// The leader's signature over its PREPARE.
        signature: Signature,
    },
    /// A PREPARE or COMMIT.
    Vote(Signed<Vote>),
    /// A wish for a view.
    Wish {
        /// The epoch.
        epoch: Epoch,
        /// The view.
        view: View,
    },
    /// A VIEW-CHANGE; may be relayed.
    ViewChange(SealedViewChange),
    /// A NEW-VIEW; may be relayed.
    NewView(SealedNewView),
    /// The peer lacks these view changes.
    FetchViewChanges {
        /// The view that they lead to.
        view: View,
        /// Their digests.
        digests: Vec<Digest>,
    },
    /// A checkpoint vote.
    Checkpoint(Signed<Checkpoint>),
    /// A stable checkpoint, all signatures checked; may be relayed.
    Stable(Arc<StableCheckpoint>),
    /// A prepared certificate, all signatures checked; may be relayed.
    Prepared(Arc<PreparedCertificate>),
    /// A commit certificate, all signatures checked; may be relayed.
    Committed(Arc<CommittedProof>),
    /// The peer lacks the bundle lists of these blocks.
    FetchBlocks(Vec<Digest>),
    /// A block that this replica asked for.
    Block {
        /// The block.
        block: Arc<Block>,
        /// Its digest.
        digest: Digest,
    },
    /// Where the peer stands.
    Status(Status),
}

/// A committed block as sync delivers it: chained to the next, and covered by a commit certificate at or above it.
#[derive(Debug, Clone)]
pub struct CertifiedBlock {
    /// The block.
    pub block: Arc<Block>,
    /// Its digest.
    pub digest: Digest,
    /// Its own commit certificate, if it has one; the last of a delivery always does.
    pub certificate: Option<Certificate>,
}

/// A statement of this replica, signed by its shell and durable.
#[derive(Debug, Clone)]
pub enum Own {
    /// A PREPARE or COMMIT.
    Vote(Signed<Vote>),
    /// A VIEW-CHANGE.
    ViewChange(SealedViewChange),
    /// A NEW-VIEW with the view changes that it names.
    NewView(SealedNewView),
    /// A checkpoint vote.
    Checkpoint(Signed<Checkpoint>),
}

/// Something that waited for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durable {
    /// The NEW-VIEW of this view.
    NewView(View),
}

/// The timers. Each has one generation at a time; a late one is recognised by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// No commit, or no new view, in time.
    View,
    /// The oldest relayed bundle waits too long.
    Fairness,
    /// A pending bundle is to be shown to everyone.
    Relay,
    /// The view has lasted long enough.
    Rotation,
    /// Tell the peers where this replica stands.
    Status,
    /// A proposal from the near future becomes acceptable.
    Hold,
}

/// What goes in.
#[derive(Debug, Clone)]
pub enum Input {
    /// A peer's message.
    Message {
        /// The peer that sent it.
        from: ValidatorIndex,
        /// The message.
        message: Message,
    },
    /// This replica's own statement, signed and durable.
    Own(Own),
    /// A bundle is here, verified and logged.
    Bundle(BundleMeta),
    /// There is no room for what a proposal names: these bundles, which are here, are given up as far as nothing needs
    /// them.
    Release(Vec<Digest>),
    /// The result of an [`Effect::Execute`](crate::Effect::Execute).
    Executed {
        /// The execution's number.
        id: u64,
        /// The size of the transparency log after it.
        log_size: u64,
        /// The root of the transparency log after it.
        log_root: Digest,
        /// Whether its epoch is about to end, and what holds above it.
        succession: Succession,
    },
    /// The root of the state after a block at a checkpoint height that was committed: [`Effect::Commit`](crate::Effect::Commit).
    StateRoot {
        /// The height.
        height: Height,
        /// The root.
        root: Digest,
    },
    /// What was announced with [`Effect::Notify`](crate::Effect::Notify) is on disk.
    Durable(Durable),
    /// A timer fired.
    Timer {
        /// Which.
        timer: Timer,
        /// Its generation when it was set.
        generation: u64,
    },
    /// Committed blocks in ascending order, verified: answers to [`Effect::Sync`](crate::Effect::Sync).
    Certified(Vec<CertifiedBlock>),
    /// The two certificates that end this replica's epoch, all signatures checked; whoever showed them.
    EpochEnd {
        /// That of its last block.
        committed: Arc<CommittedProof>,
        /// Its last checkpoint.
        stable: Arc<StableCheckpoint>,
    },
    /// A link to this validator came up: tell it where this replica stands.
    PeerUp(ValidatorIndex),
    /// Whether validators of power `Q`, this one included, are connected.
    QuorumConnected(bool),
    /// A record of the log, at start.
    Replay(Record),
    /// All records were replayed: begin.
    Start,
}
