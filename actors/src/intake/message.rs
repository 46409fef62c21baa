//! What can be said to the intake.

use std::sync::Arc;
use std::time::Duration;

use dtvn_ledger::BlockEffects;
use dtvn_messages::Operation;
use dtvn_replication::intake::Answer;

use crate::directory::Role;
use crate::mailbox::{FullPolicy, Mail, Reply};

/// The intake's role.
pub const ROLE: Role<IntakeMessage> = Role::new("intake");

/// Operations of one request.
#[derive(Debug)]
pub struct Submission {
    /// The operations; `valid_until` is filled in here.
    pub operations: Vec<Operation>,
    /// How long to wait for their outcomes.
    pub wait: Duration,
    /// One answer for each operation, in their order, once all are there or the wait is over.
    pub reply: Reply<Vec<Answer>>,
}

/// What can be said to the intake.
#[derive(Debug)]
pub enum IntakeMessage {
    /// Decide these operations.
    Submit(Submission),
    /// A block is committed.
    Committed(Arc<BlockEffects>),
}

impl Mail for IntakeMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Submit(_) => "submit",
            Self::Committed(_) => "committed",
        }
    }

    fn policy(&self) -> FullPolicy {
        match self {
            Self::Submit(_) => FullPolicy::Refuse,
            Self::Committed(_) => FullPolicy::Wait,
        }
    }
}
