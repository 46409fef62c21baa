//! How a request can end other than well.

use dtvn_messages::{IdempotencyKey, Reason};
use thiserror::Error;

use crate::api::Problem;

/// Why a request did not get what it asked for.
#[derive(Debug, Error)]
pub enum ClientError {
    /// It was refused, for good: by the network, or by a node for a fault of the request.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// Nobody said what became of it: it may have happened, or may still. Asking again with the same key is safe.
    #[error("the outcome of {key} is not known: {last}. Ask again with the same key: it happens once at most")]
    OutcomeUnknown {
        /// The operation's key, for asking again. Of a batch: the first whose outcome is not known.
        key: IdempotencyKey,
        /// What happened last.
        last: String,
    },
    /// A command was sent to a node, and nobody said how it ended. It is not sent again: it might happen twice.
    #[error("the command was sent, and how it ended is not known: {0}. Look before you send it again")]
    Unconfirmed(String),
    /// Nodes answered, but none could take it in until the deadline; nothing was recorded.
    #[error("no node could take it in: {}", .0.detail)]
    Unavailable(Box<Problem>),
    /// No node could be reached until the deadline; nothing was recorded.
    #[error("no node can be reached: {0}")]
    Unreachable(String),
    /// Something answered that is not a DTVN node, or is another version of one.
    #[error("{node} gave an answer that is not understood: {message}")]
    NotUnderstood {
        /// The node's URL.
        node: String,
        /// What is wrong with it.
        message: String,
    },
    /// The request could not even be sent: a bad URL, a batch that is too large.
    #[error("{0}")]
    Usage(String),
}

impl ClientError {
    /// The reason, if a node gave one.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused(problem) | Self::Unavailable(problem) => Some(problem.reason),
            _ => None,
        }
    }

    /// A short name for counting: the reason, or what kind of failure it was.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused(problem) | Self::Unavailable(problem) => problem.reason.name(),
            Self::OutcomeUnknown { .. } => Reason::OutcomeUnknown.name(),
            Self::Unconfirmed(_) => "unconfirmed",
            Self::Unreachable(_) => "unreachable",
            Self::NotUnderstood { .. } => "not_understood",
            Self::Usage(_) => "usage",
        }
    }
}
