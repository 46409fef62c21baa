//! What can be said to a session.

use crate::intake::Submission;
use crate::mailbox::{FullPolicy, Mail, Reply};

/// What can be said to a session.
#[derive(Debug)]
pub enum SessionMessage {
    /// Decide these operations, which are counted in the connection's load already.
    Submit(Submission),
    /// May the connection have one more subscription, which is counted in its load already?
    Subscribe(Reply<bool>),
}

impl Mail for SessionMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Submit(_) => "submit",
            Self::Subscribe(_) => "subscribe",
        }
    }

    fn policy(&self) -> FullPolicy {
        FullPolicy::Refuse
    }
}
