//! What comes out of the ledger: results for those who asked, and what a committed block changed, for the store.

use std::sync::Arc;

use dtvn_messages::merkle::Frontier;
use dtvn_messages::{Digest, Height, LastBundle, Membership, NodeName, Outcome, Succession, Ticket, Timestamp};

use crate::keys::KeyEntry;

/// The transparency log after a block, which is what its header commits to, and what follows the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Executed {
    /// How many outcomes the log holds.
    pub log_size: u64,
    /// Its RFC 6962 root.
    pub log_root: Digest,
    /// Whether the block's epoch is about to end, and what holds for the height above it.
    pub succession: Succession,
}

/// What became of one operation of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationResult {
    /// It was decided now: the outcome is a new leaf of the log. [`dtvn_messages::Reason::is_remembered`] says of a
    /// refusal whether its key is used up by it.
    Recorded(Arc<Outcome>),
    /// Its key was used before with the same payload. This is the first outcome; nothing was changed and no leaf added.
    Repeated(Arc<Outcome>),
    /// Its key was used before with another payload: refused as `key_reused`. Nothing was changed and no leaf added.
    KeyReused {
        /// What became of the first operation with this key.
        first: Arc<Outcome>,
    },
}

impl OperationResult {
    /// The outcome that it is about: its own, or that of the first operation with its key.
    #[must_use]
    pub fn outcome(&self) -> &Arc<Outcome> {
        match self {
            Self::Recorded(outcome) | Self::Repeated(outcome) | Self::KeyReused { first: outcome } => outcome,
        }
    }
}

/// What a block appended to the transparency log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGrowth {
    /// The index of the first new leaf.
    pub first_index: u64,
    /// The RFC 6962 hashes of the new leaves.
    pub leaves: Vec<Digest>,
    /// The frontier after them.
    pub frontier: Frontier,
    /// How many accepted outcomes the whole log holds after them.
    pub accepted: u64,
}

/// Everything that a committed block changed: together with those of all blocks below it is the whole state, so a store
/// that applies it in one atomic step can hand back a [`crate::LedgerImage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEffects {
    /// The block's height.
    pub height: Height,
    /// Its agreed time.
    pub timestamp: Timestamp,
    /// One result for each operation: in the order of the bundles, and within a bundle of its operations.
    pub results: Vec<OperationResult>,
    /// The value after this block of each ticket that it changed, once each, ascending by event and id.
    pub tickets: Vec<Arc<Ticket>>,
    /// The keys that it used up, in the order of their outcomes.
    pub keys_added: Vec<KeyEntry>,
    /// The keys whose time was over when it began, oldest first. Such a key may be used anew in this very block, and is
    /// then among `keys_added` too: a store removes these first.
    pub keys_expired: Vec<KeyEntry>,
    /// What it appended to the transparency log.
    pub log: LogGrowth,
    /// For each validator of which it ordered bundles, the last of them.
    pub last_bundles: Vec<(NodeName, LastBundle)>,
    /// The validator set and what was agreed about it, if the block changed that.
    pub membership: Option<Arc<Membership>>,
    /// The log after it, as in its header.
    pub executed: Executed,
}
