//! What can be said to the state machine.

use std::sync::Arc;

use dtvn_messages::{Bundle, CommittedProof, EpochEnd, Height, Nonce, StableCheckpoint, Timestamp};
use dtvn_pbft::{Base, Config};
use dtvn_replication::consensus::Committed;
use dtvn_replication::execution::Rooted;

use crate::directory::Role;
use crate::mailbox::{Address, FullPolicy, Mail, Reply};
use crate::replica::ReplicaMessage;
use crate::storage::store::LocalView;

/// The state machine's role.
pub const ROLE: Role<StateMachineMessage> = Role::new("state_machine");

/// A block that is final, and how this node saw it.
#[derive(Debug)]
pub struct CommitOrder {
    /// The block.
    pub committed: Committed,
    /// How this node saw it.
    pub local: LocalView,
}

/// Where the ledger stands, for a replica that starts.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The present epoch.
    pub config: Config,
    /// What the replica builds on.
    pub base: Base,
    /// The recovery of this node that opened the epoch, if one did.
    pub own_recovery: Option<Nonce>,
}

/// What can be said to the state machine.
pub enum StateMachineMessage {
    /// Execute a block directly above the last one, speculatively.
    Execute {
        /// The execution's number.
        id: u64,
        /// The height.
        height: Height,
        /// The agreed time.
        timestamp: Timestamp,
        /// The bundles, in order.
        bundles: Vec<Arc<Bundle>>,
        /// Who asks: this very incarnation.
        replica: Address<ReplicaMessage>,
        /// The run of consensus in it that asks.
        run: u64,
    },
    /// Undo executions above this height.
    RollBack(Height),
    /// The block at the next height is final.
    Commit(Box<CommitOrder>),
    /// The state map is up to date with a checkpoint.
    Rooted(Box<Rooted>),
    /// A checkpoint is stable: its state can be served.
    Stable(Arc<StableCheckpoint>),
    /// The epoch is over, as its last block and checkpoint prove: the next one begins on them.
    EndEpoch {
        /// The last block.
        committed: Arc<CommittedProof>,
        /// The checkpoint there.
        stable: Arc<StableCheckpoint>,
        /// What shows it to others.
        reply: Reply<Arc<EpochEnd>>,
    },
    /// A replica starts: undo all that is not final, and tell where the ledger stands.
    Reset(Reply<Standing>),
}

impl Mail for StateMachineMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Execute { .. } => "execute",
            Self::RollBack(_) => "roll_back",
            Self::Commit(_) => "commit",
            Self::Rooted(_) => "rooted",
            Self::Stable(_) => "stable",
            Self::EndEpoch { .. } => "end_epoch",
            Self::Reset(_) => "reset",
        }
    }

    fn policy(&self) -> FullPolicy {
        match self {
            Self::EndEpoch { .. } | Self::Reset(_) => FullPolicy::Wait,
            _ => FullPolicy::Must,
        }
    }
}
