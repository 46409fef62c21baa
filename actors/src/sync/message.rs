//! What can be said to the sync.

use dtvn_messages::{Height, ValidatorIndex};
use dtvn_replication::verify::CheckedBlocks;

use crate::directory::Role;
use crate::mailbox::{FullPolicy, Mail};
use crate::shared::Credit;

/// The sync's role.
pub const ROLE: Role<SyncMessage> = Role::new("sync");

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
        peer: ValidatorIndex,
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
    /// A peer's blocks were faulty.
    Faulty(ValidatorIndex),
    /// The timer fired.
    Timer(u64),
}

impl Mail for SyncMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Ask { .. } => "ask",
            Self::Request { .. } => "request",
            Self::Blocks { .. } => "blocks",
            Self::Faulty(_) => "faulty",
            Self::Timer(_) => "timer",
        }
    }

    fn policy(&self) -> FullPolicy {
        FullPolicy::Must
    }
}
