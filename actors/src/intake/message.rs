//! What can be said to the intake.

use std::sync::Arc;
use std::time::Duration;

use dtvn_ledger::BlockEffects;
use dtvn_messages::membership::SignedRecovery;
use dtvn_messages::{Bundle, BundlePosition, Epoch, Operation, Reason, Ticket, ValidatorIndex};
use dtvn_replication::intake::Answer;

use crate::directory::Role;
use crate::mailbox::{FullPolicy, Mail, Reply};

/// The intake's role.
pub const ROLE: Role<IntakeMessage> = Role::new("intake");

/// What became of one operation, with its ticket.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// The ticket as it is after the block that decided, if the operation was decided now and is about one.
    pub ticket: Option<Arc<Ticket>>,
}

impl Answered {
    /// The same answer for each of so many operations.
    #[must_use]
    pub fn all(count: usize, answer: Answer) -> Vec<Self> {
        vec![Self { answer, ticket: None }; count]
    }
}

/// Operations of one request.
#[derive(Debug)]
pub struct Submission {
    /// The operations; `valid_until` is filled in here.
    pub operations: Vec<Operation>,
    /// How long to wait for their outcomes. With a wait of nothing what is not refused at once is promised, and its answer
    /// is [`Answer::Unknown`].
    pub wait: Duration,
    /// One answer for each operation, in their order, once all are there or the wait is over.
    pub reply: Reply<Vec<Answered>>,
}

impl Submission {
    /// Refuses all of it: none of its operations is in a bundle.
    pub fn refuse(self, reason: Reason, detail: Option<String>) {
        let answers = Answered::all(self.operations.len(), Answer::Refused { reason, detail });
        self.reply.send(answers);
    }
}

/// What can be said to the intake.
#[derive(Debug)]
pub enum IntakeMessage {
    /// Decide these operations.
    Submit(Submission),
    /// A block is committed.
    Decided {
        /// Its bundles, in their order.
        bundles: Vec<Arc<Bundle>>,
        /// What became of their operations.
        effects: Arc<BlockEffects>,
    },
    /// A bundle of this node can never be ordered.
    BundleGone {
        /// The bundle.
        bundle: Arc<Bundle>,
        /// The last ordered position of this node.
        last: Option<BundlePosition>,
    },
    /// Another epoch began.
    Epoch {
        /// The epoch.
        epoch: Epoch,
        /// This node's place among its validators.
        origin: Option<ValidatorIndex>,
    },
    /// A validator lost its memory: take its recovery in.
    Recover(Box<SignedRecovery>),
    /// Whether the pool has no room for bundles of this node.
    PoolFull(bool),
    /// The gossip started again, and lost what it held.
    PoolRestarted,
    /// Whether validators of a quorum are connected.
    Quorum(bool),
    /// Whether this node is catching up or may not vote.
    Syncing(bool),
    /// The node stops.
    Stopping,
    /// The timer fired.
    Timer(u64),
}

impl Mail for IntakeMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Submit(_) => "submit",
            Self::Decided { .. } => "decided",
            Self::BundleGone { .. } => "bundle_gone",
            Self::Epoch { .. } => "epoch",
            Self::Recover(_) => "recover",
            Self::PoolFull(_) => "pool_full",
            Self::PoolRestarted => "pool_restarted",
            Self::Quorum(_) => "quorum",
            Self::Syncing(_) => "syncing",
            Self::Stopping => "stopping",
            Self::Timer(_) => "timer",
        }
    }

    fn policy(&self) -> FullPolicy {
        match self {
            Self::Submit(_) | Self::Recover(_) => FullPolicy::Refuse,
            _ => FullPolicy::Must,
        }
    }
}
