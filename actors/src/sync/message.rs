//! What can be said to the sync.

use dtvn_messages::state::Part;
use dtvn_messages::{Digest, Epoch, Height, ValidatorIndex};
use dtvn_replication::sync::Input;
use dtvn_replication::verify::CheckedBlocks;
use libp2p::PeerId;

use super::install::Prepared;
use crate::directory::Role;
use crate::mailbox::{FullPolicy, Mail};
use crate::shared::Credit;

/// The sync's role.
pub const ROLE: Role<SyncMessage> = Role::new("sync");

/// Who asks for blocks or a state: a validator, or a node without a vote, which has no other way to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asker {
    /// A validator.
    Validator(ValidatorIndex),
    /// An observer.
    Observer(PeerId),
}

/// What a peer asks for that lacks a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotAsk {
    /// The manifest at a height, or else the latest that is not below another, for one who knows the validators of an
    /// epoch.
    Manifest(Height, Height, Epoch),
    /// A part of the snapshot at a height.
    Part(Height, Part),
}

/// What can be said to the sync.
pub enum SyncMessage {
    /// The replica lacks committed blocks.
    Ask {
        /// The first height.
        from: Height,
        /// The last height that is proved.
        to: Height,
        /// Who has shown to have it.
        holders: Vec<ValidatorIndex>,
    },
    /// A peer lacks committed blocks.
    Request {
        /// The peer.
        peer: Asker,
        /// The first height.
        from: Height,
        /// The last height.
        to: Height,
        /// Its place in this mailbox.
        credit: Credit,
    },
    /// A peer's blocks, checked.
    Blocks {
        /// The peer.
        peer: ValidatorIndex,
        /// The blocks.
        checked: Box<CheckedBlocks>,
        /// Its place in this mailbox.
        credit: Credit,
    },
    /// Another epoch began: others may be asked.
    Epoch,
    /// What a peer sent was faulty.
    Faulty(ValidatorIndex),
    /// A peer lacks a state.
    SnapshotRequest {
        /// The peer.
        peer: Asker,
        /// What it asks for.
        ask: SnapshotAsk,
        /// Its place in this mailbox.
        credit: Credit,
    },
    /// A peer's part of a snapshot, or its manifest, checked; or its refusal.
    Snapshot {
        /// What it is.
        input: Box<Input>,
        /// Its place in this mailbox.
        credit: Credit,
    },
    /// This node's state is not what a quorum certified.
    Heal {
        /// The height of the node's own stable checkpoint.
        at_least: Height,
        /// The height at which the state differs.
        differs_at: Height,
    },
    /// A part of a snapshot was written; or could not be, and why.
    Kept {
        /// Its hash.
        hash: Digest,
        /// Why it could not be written.
        failed: Option<String>,
    },
    /// The work on a fetched state is over.
    Prepared(Prepared),
    /// The timer fired.
    Timer(u64),
    /// An observer looks for new blocks.
    Follow,
}

impl Mail for SyncMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Ask { .. } => "ask",
            Self::Request { .. } => "request",
            Self::Blocks { .. } => "blocks",
            Self::Epoch => "epoch",
            Self::Faulty(_) => "faulty",
            Self::SnapshotRequest { .. } => "snapshot_request",
            Self::Snapshot { .. } => "snapshot",
            Self::Heal { .. } => "heal",
            Self::Kept { .. } => "kept",
            Self::Prepared(_) => "prepared",
            Self::Timer(_) => "timer",
            Self::Follow => "follow",
        }
    }

    fn policy(&self) -> FullPolicy {
        match self {
            Self::Follow => FullPolicy::DropNewest,
            _ => FullPolicy::Must,
        }
    }
}
