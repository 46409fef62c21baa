//! The session's actor: from a connection to the intake.

use std::time::Duration;

use dtvn_messages::{Operation, Reason, limits};
use tokio_util::sync::CancellationToken;

use super::load::Load;
use super::message::SessionMessage;
use crate::directory::Role;
use crate::intake::{self, Answered, IntakeMessage, Submission};
use crate::mailbox::{Address, SendError};
use crate::supervision::{ActorError, Behaviour, Context};

/// The role of a session.
#[must_use]
pub fn role(number: u64) -> Role<SessionMessage> {
    Role::named(format!("session-{number}"))
}

/// What a session is made with.
#[derive(Clone)]
pub struct SessionArguments {
    /// What the connection has in flight.
    pub load: Load,
    /// Cancelled when the connection has ended.
    pub connection: CancellationToken,
}

/// A session.
pub struct Session {
    load: Load,
    intake: Address<IntakeMessage>,
}

impl Session {
    /// Begins; ends by itself with the connection.
    ///
    /// # Errors
    /// Never.
    #[expect(clippy::unused_async, reason = "the signature is every actor's")]
    pub async fn start(context: Context<SessionMessage>, arguments: SessionArguments) -> Result<Self, ActorError> {
        let SessionArguments { load, connection } = arguments;
        let intake = context.address_of(&intake::ROLE);
        let myself = context.clone();
        context.spawn(async move {
            connection.cancelled().await;
            myself.finish("the connection has ended");
        });
        Ok(Self { load, intake })
    }

    fn on_submit(&self, submission: Submission) {
        let in_flight = self.load.operations_in_flight();
        if in_flight > limits::SESSION_OPERATIONS_MAX {
            let detail = format!(
                "this connection has {in_flight} operations in flight, at most {} are allowed",
                limits::SESSION_OPERATIONS_MAX
            );
            return submission.refuse(Reason::Overloaded, Some(detail));
        }
        if self.intake.depth() >= limits::INTAKE_SUBMISSIONS_MAX {
            return submission.refuse(Reason::Overloaded, None);
        }
        if let Err(error) = self.intake.try_send(IntakeMessage::Submit(submission)) {
            let reason = if matches!(error, SendError::Down(_)) { Reason::Restarting } else { Reason::Overloaded };
            if let IntakeMessage::Submit(submission) = error.into_message() {
                submission.refuse(reason, None);
            }
        }
    }
}

/// Submits operations through a session and waits for their answers: one for each, in their order, also when session or
/// intake are down, have no room, or start again meanwhile.
pub async fn submit(session: &Address<SessionMessage>, operations: Vec<Operation>, wait: Duration) -> Vec<Answered> {
    intake::submit_by(session, operations, wait, SessionMessage::Submit).await
}

impl Behaviour for Session {
    type Message = SessionMessage;

    async fn handle(&mut self, _context: &Context<SessionMessage>, message: SessionMessage) -> Result<(), ActorError> {
        match message {
            SessionMessage::Submit(submission) => self.on_submit(submission),
            SessionMessage::Subscribe(reply) => {
                reply.send(self.load.subscriptions() <= limits::SESSION_SUBSCRIPTIONS_MAX);
            }
        }
        Ok(())
    }
}
