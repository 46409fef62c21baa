//! What a replica holds for one height, and of what was committed lately.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::{Block, Digest, PreparedCertificate, Signature, Succession, ValidatorIndex, VoteKind};

use crate::effect::Ticket;

/// Why a proposal is refused; its slot stays taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No honest leader makes such a block, after what was accepted below it here.
    Malformed,
    /// Its execution gives this log root, and not the one that its header names.
    Result(Digest),
}

/// A block that occupies its slot in the current view.
#[derive(Debug, Clone)]
pub(crate) struct Proposal {
    pub block: Arc<Block>,
    pub digest: Digest,
    /// The ticket under which it was logged for this view.
    pub logged: Option<Ticket>,
    pub refused: Option<Refusal>,
    /// Its time is ahead of the clock.
    pub is_held: bool,
}

impl Proposal {
    /// Whether blocks may build on it.
    pub fn is_accepted(&self) -> bool {
        self.refused.is_none()
    }

    /// Whether it may be executed, and voted for.
    pub fn may_execute(&self) -> bool {
        self.refused.is_none() && !self.is_held
    }
}

/// The votes for one height, of one kind: the first of each signer.
pub(crate) type Votes = BTreeMap<ValidatorIndex, (Digest, Signature)>;

/// One height in the current view.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub proposal: Option<Proposal>,
    pub prepares: Votes,
    pub commits: Votes,
    pub prepare_said: bool,
    /// The ticket of the prepared certificate.
    pub prepared: Option<Ticket>,
    /// COMMIT was said, to leave after this ticket.
    pub commit_after: Option<Ticket>,
}

impl Slot {
    pub fn votes(&self, kind: VoteKind) -> &Votes {
        match kind {
            VoteKind::Prepare => &self.prepares,
            VoteKind::Commit => &self.commits,
        }
    }
}

/// A prepared certificate and the ticket under which it was logged.
#[derive(Debug)]
pub(crate) struct Kept {
    pub certificate: Arc<PreparedCertificate>,
    pub ticket: Ticket,
}

/// A recent committed block, kept until a stable checkpoint covers it.
#[derive(Debug, Clone)]
pub(crate) struct Recent {
    pub block: Arc<Block>,
    pub digest: Digest,
    pub succession: Succession,
}

/// What a peer may ask for, and is answered only so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    Status,
    ViewChanges,
    Blocks,
}
