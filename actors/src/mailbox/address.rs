//! How one actor reaches another: by role, through the directory's slot, across restarts.

use crate::directory::{Presence, Role, Slot};
use crate::mailbox::{CallError, FullPolicy, Mail, Mailbox, Reply};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The address of a role; cheap to clone. It stays valid while the actor behind it restarts; in between, sending says
/// [`SendError::Down`].
///
/// A *pinned* address (from `Context::myself`) leads to one incarnation only and is down for ever after its end.
pub struct Address<M> {
    slot: Arc<Slot<M>>,
    pinned: Option<Arc<Mailbox<M>>>,
}

impl<M: Mail> Address<M> {
    pub(crate) fn of(slot: Arc<Slot<M>>) -> Self {
        Self { slot, pinned: None }
    }

    pub(crate) fn pinned(slot: Arc<Slot<M>>, mailbox: Arc<Mailbox<M>>) -> Self {
        Self { slot, pinned: Some(mailbox) }
    }

    /// Sends without waiting. A full mailbox gives the message back, except that a message of policy
    /// [`FullPolicy::DropNewest`] is dropped and counted, which is no error.
    ///
    /// # Errors
    /// Full, overrun or down; the message comes back.
    pub fn try_send(&self, message: M) -> Result<(), SendError<M>> {
        match self.mailbox() {
            Some(mailbox) => mailbox.try_send(message),
            None => Err(SendError::Down(message)),
        }
    }

    /// Sends by the message's policy: [`FullPolicy::Wait`] waits for a place, in the order of arrival, and learns it
    /// at once when the actor ends meanwhile. The other policies do as [`Address::try_send`].
    ///
    /// # Errors
    /// Full, overrun or down; the message comes back.
    pub async fn send(&self, message: M) -> Result<(), SendError<M>> {
        match self.mailbox() {
            Some(mailbox) if message.policy() == FullPolicy::Wait => mailbox.send_waiting(message).await,
            Some(mailbox) => mailbox.try_send(message),
            None => Err(SendError::Down(message)),
        }
    }

    /// Sends a question and waits for its answer; `timeout` covers both the wait for a place and the answer.
    ///
    /// # Errors
    /// Never silence: down, full, overrun, unanswered (the reply was dropped, or the actor ended) or timed out.
    pub async fn call<R: Send + 'static>(
        &self,
        timeout: Duration,
        question: impl FnOnce(Reply<R>) -> M,
    ) -> Result<R, CallError> {
        let (reply, answer) = Reply::channel();
        let conversation = async {
            self.send(question(reply)).await?;
            answer.await.map_err(|_dropped| CallError::Unanswered)
        };
        tokio::time::timeout(timeout, conversation).await.unwrap_or(Err(CallError::TimedOut))
    }

    /// As [`Address::call`], but waits, within the same time, for an actor that is down, or ends before it answers: for the
    /// start of one whose neighbour in another subtree may just be starting again. The neighbour may get the question
    /// twice.
    ///
    /// # Errors
    /// As [`Address::call`].
    pub async fn call_when_up<R: Send + 'static>(
        &self,
        timeout: Duration,
        question: impl Fn(Reply<R>) -> M,
    ) -> Result<R, CallError> {
        let mut presence = self.slot.presence();
        let conversation = async {
            loop {
                presence.borrow_and_update();
                match self.call(timeout, &question).await {
                    Err(CallError::Down | CallError::Unanswered) if self.pinned.is_none() => {
                        presence.changed().await.map_err(|_gone| CallError::Down)?;
                    }
                    answer => return answer,
                }
            }
        };
        tokio::time::timeout(timeout, conversation).await.unwrap_or(Err(CallError::TimedOut))
    }

    /// Whether messages can be sent now, if only to one that still starts. It may have changed by the time you look at the answer.
    pub fn is_up(&self) -> bool {
        match &self.pinned {
            Some(mailbox) => mailbox.is_open(),
            None => self.slot.current().is_some_and(|mailbox| mailbox.is_open()),
        }
    }

    /// The present incarnation, or the last one when the actor is down; 0 before the first start.
    pub fn incarnation(&self) -> u64 {
        match &self.pinned {
            Some(mailbox) => mailbox.incarnation(),
            None => self.slot.presence().borrow().incarnation,
        }
    }

    /// News about the role's presence, also for a pinned address: a neighbour resynchronises when the incarnation
    /// changes. A watcher that looks late sees the latest incarnation, so no restart can be missed.
    pub fn watch(&self) -> watch::Receiver<Presence> {
        self.slot.presence()
    }

    /// Messages waiting in the present incarnation's mailbox; 0 when it is down.
    pub fn depth(&self) -> usize {
        self.mailbox().map_or(0, |mailbox| mailbox.gauge().depth())
    }

    /// The role's name.
    pub fn role(&self) -> &Role<M> {
        self.slot.role()
    }

    fn mailbox(&self) -> Option<Arc<Mailbox<M>>> {
        match &self.pinned {
            Some(mailbox) => Some(Arc::clone(mailbox)),
            None => self.slot.current(),
        }
    }
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { slot: Arc::clone(&self.slot), pinned: self.pinned.clone() }
    }
}

impl<M: Mail> fmt::Debug for Address<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({}#{})", self.role().name(), self.incarnation())
    }
}

/// Why a message was not sent. It always comes back.
#[derive(thiserror::Error, Clone, PartialEq, Eq)]
pub enum SendError<M> {
    /// The mailbox is full. Wait, tell your own client "overloaded", or give up, as the protocol says.
    #[error("the receiver's mailbox is full")]
    Full(M),
    /// The mailbox is full although the protocol bounds these messages: a broken invariant, so escalate.
    #[error("the receiver's mailbox overran: more messages are under way than the protocol allows")]
    Overrun(M),
    /// Nobody fills the role now. Its supervisor is at it; see [`Address::watch`].
    #[error("the receiver is down")]
    Down(M),
}

impl<M> SendError<M> {
    /// The message that was not sent.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message) | Self::Overrun(message) | Self::Down(message) => message,
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Full(_) => "Full",
            Self::Overrun(_) => "Overrun",
            Self::Down(_) => "Down",
        })
    }
}
