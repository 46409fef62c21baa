//! Questions and answers: who asks gets an answer (style.md, rule 9).

use crate::mailbox::SendError;
use std::fmt;
use tokio::sync::oneshot;

/// The reply port of one call. Dropping it unanswered tells the caller [`CallError::Unanswered`] at once, so a
/// message that dies in a dead actor's mailbox is never silence.
#[must_use = "a reply that is dropped answers the caller with an error"]
pub struct Reply<R> {
    sender: oneshot::Sender<R>,
}

impl<R> Reply<R> {
    /// A reply and the future answer to it, for callers that wait in their own way.
    pub fn channel() -> (Self, oneshot::Receiver<R>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender }, receiver)
    }

    /// Answers. False when the caller is gone (timed out, ended): nothing is left to do then.
    pub fn send(self, answer: R) -> bool {
        self.sender.send(answer).is_ok()
    }

    /// Whether the caller is gone already, so that costly work for it may be skipped.
    pub fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }
}

impl<R> fmt::Debug for Reply<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reply")
    }
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody fills the role now; nothing was sent.
    #[error("the actor is down")]
    Down,
    /// Its mailbox is full; nothing was sent.
    #[error("the actor's mailbox is full")]
    Full,
    /// Its mailbox is full although the protocol bounds these messages; nothing was sent. Escalate.
    #[error("the actor's mailbox overran: more messages are under way than the protocol allows")]
    Overrun,
    /// The actor dropped the reply or ended before it answered. Whether it acted on the question is unknown.
    #[error("the actor did not answer")]
    Unanswered,
    /// No answer in time. Whether the actor acted on the question is unknown.
    #[error("the actor did not answer in time")]
    TimedOut,
}

impl<M> From<SendError<M>> for CallError {
    fn from(error: SendError<M>) -> Self {
        match error {
            SendError::Full(_) => Self::Full,
            SendError::Overrun(_) => Self::Overrun,
            SendError::Down(_) => Self::Down,
        }
    }
}
