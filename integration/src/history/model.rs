//! The ticket's state machine, from the table of rules version 1 (api.md section 1), for events without `auto_issue` and
//! tickets without a window. Written a second time on purpose: a mistake in the ledger is not repeated here.

use dtvn_messages::{Reason, TicketState};

use super::{Ask, Said};

/// A ticket: its state and version, or none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub Option<(State, u64)>);

/// The states that the four operations lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Issued.
    Issued,
    /// Let in once.
    Validated,
    /// Used up.
    Consumed,
    /// Contested.
    Disputed,
}

impl State {
    /// As it is in messages.
    #[must_use]
    pub const fn as_message(self) -> TicketState {
        match self {
            Self::Issued => TicketState::Issued,
            Self::Validated => TicketState::Validated,
            Self::Consumed => TicketState::Consumed,
            Self::Disputed => TicketState::Disputed,
        }
    }

    /// As it was in a message; none for a state that no operation leads to.
    #[must_use]
    pub const fn of_message(state: TicketState) -> Option<Self> {
        match state {
            TicketState::Issued => Some(Self::Issued),
            TicketState::Validated => Some(Self::Validated),
            TicketState::Consumed => Some(Self::Consumed),
            TicketState::Disputed => Some(Self::Disputed),
            TicketState::Revoked => None,
        }
    }
}

impl Ticket {
    /// The ticket after an operation, and what is said of it.
    #[must_use]
    pub fn step(self, ask: Ask) -> (Self, Said) {
        use State::{Consumed, Disputed, Issued, Validated};
        let refused = |reason| {
            let state = self.0.map(|(state, _)| state.as_message());
            (self, Said::Refused { reason, state })
        };
        let becomes = |state: State| {
            let version = self.0.map_or(0, |(_, version)| version) + 1;
            (Self(Some((state, version))), Said::Accepted { state: state.as_message(), version })
        };
        match (ask, self.0.map(|(state, _)| state)) {
            (Ask::Issue, None) => becomes(Issued),
            (Ask::Issue, Some(_)) => refused(Reason::AlreadyIssued),
            (_, None) => refused(Reason::UnknownTicket),
            (Ask::Validate, Some(Issued)) => becomes(Validated),
            (Ask::Consume, Some(Validated)) => becomes(Consumed),
            (Ask::Dispute, Some(Validated)) => becomes(Disputed),
            (_, Some(Issued)) => refused(Reason::NotValidated),
            (_, Some(Validated)) => refused(Reason::AlreadyValidated),
            (_, Some(Consumed)) => refused(Reason::AlreadyConsumed),
            (_, Some(Disputed)) => refused(Reason::Disputed),
        }
    }

    /// The ticket after an operation of which something was said; none if that could not have been said here. What was
    /// refused for a reason that lies outside of the ticket changes nothing, whatever the ticket is.
    #[must_use]
    pub fn explain(self, ask: Ask, said: Said) -> Option<Self> {
        let (after, expected) = self.step(ask);
        match (said, expected) {
            (Said::Unknown, _) => Some(after),
            (Said::Refused { reason, .. }, _) if !is_about_the_ticket(reason) => Some(self),
            (Said::Refused { reason, state: None }, Said::Refused { reason: expected, .. }) => {
                (reason == expected).then_some(self)
            }
            (said, expected) => (said == expected).then_some(after),
        }
    }
}

/// Whether a refusal follows from the ticket's state.
const fn is_about_the_ticket(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::UnknownTicket
            | Reason::AlreadyIssued
            | Reason::NotValidated
            | Reason::AlreadyValidated
            | Reason::AlreadyConsumed
            | Reason::Disputed
    )
}
