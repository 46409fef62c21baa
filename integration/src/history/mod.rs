//! What clients of a network did and heard, and whether one machine could have said it.
//!
//! faults.md, "Real processes": a harness "records every client's history (invocation, answer, unknown), and checks it:
//! per ticket for linearizability, and against the committed log (each answer's height and index must replay to the same
//! answer, real-time order must hold)".
//!
//! - `model.rs`: the ticket's state machine once more, written from the table of the rules and not from the ledger.
//! - `linearize.rs`: Wing and Gong's search with Lowe's memory, ticket by ticket (tickets are independent, so a history is
//!   linearizable if each ticket's part is).
//! - `log.rs`: the same history against the log of outcomes.

mod linearize;
mod log;
mod model;

use dtvn_messages::{Reason, TicketId, TicketState};
use thiserror::Error;

pub use linearize::check_linearizable;
pub use log::{Entry, check_against_log, check_equal, check_reads};
pub use model::Ticket;

/// What is asked of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// A new ticket.
    Issue,
    /// `ISSUED -> VALIDATED`.
    Validate,
    /// `VALIDATED -> CONSUMED`.
    Consume,
    /// `VALIDATED -> DISPUTED`.
    Dispute,
}

impl Ask {
    /// The four.
    pub const ALL: [Self; 4] = [Self::Issue, Self::Validate, Self::Consume, Self::Dispute];

    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Validate => "validate",
            Self::Consume => "consume",
            Self::Dispute => "dispute",
        }
    }

    /// The one of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ask| ask.name() == name)
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It took effect; the ticket as it was then.
    Accepted {
        /// Its state after.
        state: TicketState,
        /// Its version after.
        version: u64,
    },
    /// It had no effect; the ticket as it was then.
    Refused {
        /// Why.
        reason: Reason,
        /// The ticket's state; none without a ticket, or if that was not said.
        state: Option<TicketState>,
    },
    /// Nobody said: it may have happened, may happen yet, or never.
    Unknown,
}

/// Where a decision stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The height of its block.
    pub height: u64,
    /// Its index in the transparency log.
    pub index: u64,
}

/// One operation of a client, with all its tries under one key: begun with the first, ended with the first answer that
/// says what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Who asked.
    pub client: usize,
    /// The idempotency key; no two calls have the same.
    pub key: String,
    /// The ticket.
    pub ticket: TicketId,
    /// What was asked.
    pub ask: Ask,
    /// When it was first asked, in microseconds of the harness's clock.
    pub invoked_us: u64,
    /// When the answer was heard; none if nobody said.
    pub answered_us: Option<u64>,
    /// The answer.
    pub said: Said,
    /// Where the answer says that it was decided.
    pub place: Option<Place>,
    /// Which node answered, and in which of its lives.
    pub by: Option<(usize, u32)>,
}

/// What one node showed of one ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Which node, in which of its lives.
    pub by: (usize, u32),
    /// The ticket.
    pub ticket: TicketId,
    /// When it was asked.
    pub invoked_us: u64,
    /// When it answered.
    pub answered_us: u64,
    /// State and version; none if there was no ticket.
    pub seen: Option<(TicketState, u64)>,
}

/// Why no single machine could have said this.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// No order of the calls to a ticket explains all answers.
    #[error("no order of the calls to {ticket} explains the answers; the first that cannot be explained:\n{stuck}")]
    NotLinearizable {
        /// The ticket.
        ticket: TicketId,
        /// The calls where the longest try ended.
        stuck: String,
    },
    /// Two nodes have different logs.
    #[error("the logs of {first} and {second} differ at index {index}")]
    LogsDiffer {
        /// A node.
        first: String,
        /// Another.
        second: String,
        /// The first index that differs.
        index: u64,
    },
    /// The indexes of the log do not count up from 0, or heights fall.
    #[error("the log has a hole or a fall of height at index {index}")]
    LogBroken {
        /// Where.
        index: u64,
    },
    /// The log's own verdict is not what the rules give.
    #[error("index {index} says {said:?}, but the rules give {expected:?}")]
    WrongVerdict {
        /// Where.
        index: u64,
        /// What stands there.
        said: Said,
        /// What should.
        expected: Said,
    },
    /// A key was decided twice.
    #[error("the key {key} was decided twice, at {first} and {second}")]
    KeyTwice {
        /// The key.
        key: String,
        /// Its first index.
        first: u64,
        /// Its second index.
        second: u64,
    },
    /// Something was decided that nobody asked for.
    #[error("index {index} decides {key}, which nobody asked for, or not like this")]
    NeverAsked {
        /// Where.
        index: u64,
        /// The key.
        key: String,
    },
    /// A client was told an outcome that the log does not have.
    #[error("{key} was answered {said:?} at {place:?}, and the log does not have it")]
    LostAcknowledged {
        /// The key.
        key: String,
        /// The answer.
        said: Said,
        /// Where it claimed to be.
        place: Option<Place>,
    },
    /// A client was told another outcome than the log's.
    #[error("{key} was answered {said:?} at {place:?}, but the log has {logged:?} at {at:?}")]
    AnswerDiffers {
        /// The key.
        key: String,
        /// The answer.
        said: Said,
        /// Where it claimed to be.
        place: Option<Place>,
        /// What the log says.
        logged: Said,
        /// Where it is.
        at: Place,
    },
    /// One call ended before another began, and the log has them the other way round.
    #[error("{later} was asked after {earlier} was answered, but stands before it in the log")]
    OrderSwapped {
        /// The call that ended first.
        earlier: String,
        /// The call that began after.
        later: String,
    },
    /// A node showed a ticket as it never was, not yet was, or as it no longer was by its own earlier answer.
    #[error("node{node} showed {ticket} as {seen:?}: {why}")]
    WrongRead {
        /// The node.
        node: usize,
        /// The ticket.
        ticket: TicketId,
        /// What it showed.
        seen: Option<(TicketState, u64)>,
        /// What is wrong with it.
        why: String,
    },
}

/// All checks of a history: per ticket, and against the log of outcomes, which all nodes must have alike.
///
/// # Errors
/// With the first fault.
pub fn check(calls: &[Call], reads: &[Read], logs: &[(String, Vec<Entry>)]) -> Result<(), Fault> {
    check_linearizable(calls)?;
    check_equal(logs)?;
    if let Some((_, log)) = logs.first() {
        check_against_log(calls, log)?;
        check_reads(reads, calls, log)?;
    }
    Ok(())
}
