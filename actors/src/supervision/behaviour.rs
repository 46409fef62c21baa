//! What an actor of ours is: a value with messages. Everything around it is the same for all (`adaptor.rs`).

use crate::mailbox::Mail;
use crate::supervision::Context;
use std::fmt;
use std::future::Future;

/// A resident actor: a value that handles one message after the other.
///
/// It is built anew at every (re)start by the factory closure of its [`ChildSpec`](crate::supervision::ChildSpec),
/// by convention an inherent `async fn start(context, arguments) -> Result<Self, ActorError>`. A handler must not
/// block its thread (tokio would leave with it the task that it woke last, perhaps its own supervisor) nor await the
/// outside world; see [`Context::spawn_then`] for that.
pub trait Behaviour: Sized + Send + 'static {
    /// What can be said to it.
    type Message: Mail;

    /// Handles one message; its place in the mailbox is free already. `Err` is the failure of this actor, as a panic
    /// is: its supervisor acts.
    fn handle(
        &mut self,
        context: &Context<Self::Message>,
        message: Self::Message,
    ) -> impl Future<Output = Result<(), ActorError>> + Send;

    /// An orderly stop: hand back what is in flight, flush. Bounded by the child's stop timeout. Messages that still
    /// wait in the mailbox are dropped, unless the child was specified with `drain_before_stop`.
    ///
    /// # Errors
    /// An error is logged as an unclean stop; the stop goes on.
    fn stop(
        &mut self,
        context: &Context<Self::Message>,
        reason: StopReason,
    ) -> impl Future<Output = Result<(), ActorError>> + Send {
        let _ = (context, reason);
        async { Ok(()) }
    }
}

/// Why an actor is being stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// Its supervisor wants it: shutdown, restart with its neighbours, removal.
    Asked,
    /// The actor said [`Context::finish`], with this reason.
    Finished(String),
}

/// The failure of an actor: the whole chain of causes as one line for people. Made from any error by `?`.
pub struct ActorError {
    chain: String,
}

impl ActorError {
    /// A failure in plain words.
    pub fn new(what: impl Into<String>) -> Self {
        Self { chain: what.into() }
    }

    /// The same failure, said while doing something: "doing: because".
    #[must_use]
    pub fn context(self, doing: impl fmt::Display) -> Self {
        Self { chain: format!("{doing}: {}", self.chain) }
    }

    /// The chain of causes.
    pub fn chain(&self) -> &str {
        &self.chain
    }
}

impl<E: std::error::Error> From<E> for ActorError {
    fn from(error: E) -> Self {
        Self { chain: chain_of(&error) }
    }
}

impl fmt::Display for ActorError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.chain)
    }
}

impl fmt::Debug for ActorError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ActorError({})", self.chain)
    }
}

/// An error and all its sources, joined by colons; a source whose text its parent already ends with is not repeated.
pub(crate) fn chain_of(error: &dyn std::error::Error) -> String {
    let mut chain = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !chain.ends_with(&text) {
            chain.push_str(": ");
            chain.push_str(&text);
        }
        next = source.source();
    }
    chain
}
