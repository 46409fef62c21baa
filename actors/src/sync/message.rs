//! What can be said to the sync.

use std::collections::BTreeSet;

use dtvn_messages::state::Part;
use dtvn_messages::{Digest, Epoch, Height, ValidatorIndex};
use dtvn_replication::sync::{Input, Peer};

use super::archive::Done;
use super::install::Prepared;
use crate::directory::Role;
use crate::mailbox::{FullPolicy, Mail};
use crate::shared::Credit;

/// The sync's role.
pub const ROLE: Role<SyncMessage> = Role::new("sync");

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
        peer: Peer,
        /// The first height.
        from: Height,
        /// The last height.
        to: Height,
        /// Its place in this mailbox.
        credit: Credit,
    },
    /// Another epoch began: others may be asked.
    Epoch,
    /// What a peer sent was faulty.
    Faulty(Peer),
    /// A peer lacks a state.
    SnapshotRequest {
        /// The peer.
        peer: Peer,
        /// What it asks for.
        ask: SnapshotAsk,
        /// Its place in this mailbox.
        credit: Credit,
    },
    /// What a peer answered, checked: blocks, a part of a snapshot, its manifest, or that it has none.
    Answer {
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
    /// Parts of a snapshot that could not be written a while ago, or none: what could not be done then is tried again.
    Unkept(BTreeSet<Digest>),
    /// The work on a fetched state is over.
    Prepared(Prepared),
    /// Work on the archive is done; or could not be, and why.
    Archive(Result<Done, String>),
    /// The timer fired.
    Timer(u64),
    /// A node that nobody tells looks for new blocks.
    Follow,
}

impl Mail for SyncMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Ask { .. } => "ask",
            Self::Request { .. } => "request",
            Self::Epoch => "epoch",
            Self::Faulty(_) => "faulty",
            Self::SnapshotRequest { .. } => "snapshot_request",
            Self::Answer { .. } => "answer",
            Self::Heal { .. } => "heal",
            Self::Kept { .. } => "kept",
            Self::Unkept(_) => "unkept",
            Self::Prepared(_) => "prepared",
            Self::Archive(_) => "archive",
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
