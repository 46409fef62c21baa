//! What can be said to the replica.

use std::sync::Arc;

use dtvn_ledger::Executed;
use dtvn_messages::{Bundle, BundlePosition, Digest, Epoch, EpochEnd, Evidence, Height, ValidatorIndex};
use dtvn_pbft::{Committee, Message, Ticket};
use dtvn_replication::consensus::Timer;
use dtvn_replication::receipts::Said;
use dtvn_replication::verify::CheckedBlocks;

use crate::directory::Role;
use crate::mailbox::{FullPolicy, Mail, Reply};
use crate::shared::Credit;

/// The replica's role.
pub const ROLE: Role<ReplicaMessage> = Role::new("replica");

/// What can be said to the replica.
pub enum ReplicaMessage {
    /// A peer's message, checked.
    Message {
        /// The epoch that it was checked in: its sender's index, and much of what it means, are of that epoch.
        epoch: Epoch,
        /// The peer.
        from: ValidatorIndex,
        /// The message.
        message: Message,
        /// Its place in this mailbox.
        credit: Credit,
    },
    /// A peer's word about receipts, checked.
    Receipts {
        /// The epoch that it was checked in.
        epoch: Epoch,
        /// The peer.
        from: ValidatorIndex,
        /// What it says.
        said: Said,
        /// Its place in this mailbox.
        credit: Credit,
    },
    /// Evidence of a peer, checked.
    Evidence {
        /// The evidence.
        evidence: Arc<Evidence>,
        /// Its place in this mailbox.
        credit: Credit,
    },
    /// A bundle is available: verified and logged.
    Bundle(Arc<Bundle>),
    /// The pool has no room for a bundle that a proposal names: it can do without these, if the replica can.
    PoolFull(Vec<Digest>),
    /// The result of an execution.
    Executed {
        /// The run of consensus that asked.
        run: u64,
        /// The execution's number.
        id: u64,
        /// The transparency log after it, and what follows it.
        executed: Executed,
    },
    /// The root of the state after a committed checkpoint block.
    StateRoot {
        /// The height.
        height: Height,
        /// The root.
        root: Digest,
    },
    /// Records up to this ticket are on disk.
    Durable {
        /// The run of consensus that they are of.
        run: u64,
        /// The ticket.
        ticket: Ticket,
    },
    /// A timer fired.
    Timer {
        /// The run of consensus that set it.
        run: u64,
        /// Which.
        timer: Timer,
        /// Its generation.
        generation: u64,
    },
    /// How the epoch ended, checked; whoever showed it.
    EpochEnd {
        /// Its end.
        end: Arc<EpochEnd>,
        /// Its place in this mailbox.
        credit: Credit,
    },
    /// Committed blocks from sync.
    Synced(Box<CheckedBlocks>),
    /// A link to a validator came up.
    PeerUp(ValidatorIndex),
    /// Whether a quorum is connected.
    QuorumConnected(bool),
    /// A validator that lost its memory says again that it wants to recover.
    AskForRecovery,
    /// The gossip starts and asks for the bundles that are pending.
    PendingBundles(Reply<Pending>),
}

/// What a gossip or an intake that starts must know.
#[derive(Debug, Clone)]
pub struct Pending {
    /// The epoch, its validators, and which of them this node is.
    pub committee: Committee,
    /// Bundles that are available and not committed.
    pub bundles: Vec<Arc<Bundle>>,
    /// The last ordered bundle of each origin.
    pub positions: Vec<(ValidatorIndex, BundlePosition)>,
}

impl Mail for ReplicaMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Message { .. } => "message",
            Self::Receipts { .. } => "receipts",
            Self::Evidence { .. } => "evidence",
            Self::Bundle(_) => "bundle",
            Self::PoolFull(_) => "pool_full",
            Self::Executed { .. } => "executed",
            Self::StateRoot { .. } => "state_root",
            Self::Durable { .. } => "durable",
            Self::Timer { .. } => "timer",
            Self::EpochEnd { .. } => "epoch_end",
            Self::Synced(_) => "synced",
            Self::PeerUp(_) => "peer_up",
            Self::QuorumConnected(_) => "quorum_connected",
            Self::AskForRecovery => "ask_for_recovery",
            Self::PendingBundles(_) => "pending_bundles",
        }
    }

    fn policy(&self) -> FullPolicy {
        match self {
            Self::PendingBundles(_) => FullPolicy::Wait,
            _ => FullPolicy::Must,
        }
    }
}
