//! Bounded mailboxes and the addresses that lead to them.
//!
//! Architecture, section 4: "ractor mailboxes are unbounded and their depth cannot be read. So every mailbox is
//! wrapped: a permit travels in the message, the depth is a gauge, and each message type has a policy when full".
//! - [`Mail`]: what a message type says about itself: its kind, and its [`FullPolicy`].
//! - [`Address`]: how a role is reached; it survives the restarts of the actor behind it.
//! - [`Reply`]: the reply port of a call: dropped unanswered, it tells the caller at once.
//! - `Mailbox`, `Envelope`, `Gauge` (inside): one incarnation's queue, its permits, and its figures.

mod address;
mod call;
mod queue;
#[cfg(test)]
mod tests;

pub use address::{Address, SendError};
pub use call::{CallError, Reply};
pub(crate) use queue::{Envelope, Gauge, Mailbox};

/// What every message type of an actor tells about itself.
pub trait Mail: Send + 'static {
    /// The kind of this message for metrics and traces, e.g. `append`. A small fixed set per type.
    fn kind(&self) -> &'static str;

    /// What becomes of this message when the receiver's mailbox is full.
    fn policy(&self) -> FullPolicy;
}

/// What becomes of a message when the receiver's mailbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullPolicy {
    /// `send` waits for a place; `try_send`, which cannot wait, gives it back.
    Wait,
    /// It goes back to the sender, who decides.
    Refuse,
    /// It is dropped and counted. Only for what a later message supersedes anyway.
    DropNewest,
    /// The protocol bounds how many can be under way, so a full mailbox is a broken invariant: the sender gets
    /// [`SendError::Overrun`] and escalates.
    Must,
}
