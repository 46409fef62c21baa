//! What `/ws` and `/api/v1/stream` send (api.md section 3, "Live").

use dtvn_messages::{EventId, Height, NodeName, Outcome, Reason, TicketId, TicketState, Verdict, View};
use serde::{Deserialize, Serialize};

use super::{Scan, Time};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The first word to a client: from where on it is told, under `id`.
    Connected,
    /// A ticket was issued.
    TicketIssued,
    /// A ticket was validated.
    TicketValidated,
    /// A ticket was consumed.
    TicketConsumed,
    /// A ticket was disputed.
    TicketDisputed,
    /// The seed tickets were issued.
    TicketsSeeded,
    /// The validators agreed on other validators.
    ValidatorsChanged,
    /// The validators agreed that one of them begins anew after a loss of memory.
    RecoveryAgreed,
    /// The network refused an operation.
    OperationRefused,
    /// Another validator leads.
    ViewChanged,
}

impl EventKind {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::TicketIssued => "ticket_issued",
            Self::TicketValidated => "ticket_validated",
            Self::TicketConsumed => "ticket_consumed",
            Self::TicketDisputed => "ticket_disputed",
            Self::TicketsSeeded => "tickets_seeded",
            Self::ValidatorsChanged => "validators_changed",
            Self::RecoveryAgreed => "recovery_agreed",
            Self::OperationRefused => "operation_refused",
            Self::ViewChanged => "view_changed",
        }
    }
}

/// A committed event; every node sends every one, with the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// `height.index`: where to resume after it. Absent for what is not in the log (`view_changed`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub ticket_id: Option<TicketId>,
    /// The event that the ticket belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub event: Option<EventId>,
    /// The ticket's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub state: Option<TicketState>,
    /// The ticket's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The validator that took the operation in; for `view_changed` the new leader; for `connected` who tells.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub validator_id: NodeName,
    /// The operation's kind, if it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub reason: Option<Reason>,
    /// The earlier scan that explains a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Scan>,
    /// How many tickets a seeding made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The new view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub view: Option<View>,
    /// The height of the block.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub height: Height,
    /// Agreed time in whole seconds since the Unix epoch; the node's own time for what is not in the log.
    pub timestamp: u64,
    /// The same with microseconds.
    pub agreed_time: Time,
}

impl Event {
    /// Something that is not in the log: `validator_id` has told or done it, at `height`.
    #[must_use]
    pub fn local(kind: EventKind, validator_id: NodeName, height: Height, time: Time) -> Self {
        Self {
            kind,
            id: None,
            ticket_id: None,
            event: None,
            state: None,
            version: None,
            validator_id,
            operation: None,
            reason: None,
            first: None,
            count: None,
            view: None,
            height,
            timestamp: time.seconds(),
            agreed_time: time,
        }
    }
}

impl From<&Outcome> for Event {
    fn from(outcome: &Outcome) -> Self {
        let time = Time(outcome.agreed_time);
        let event = Self {
            id: Some(format!("{}.{}", outcome.height, outcome.index)),
            ticket_id: outcome.ticket.clone(),
            event: Some(outcome.event.clone()),
            ..Self::local(EventKind::OperationRefused, outcome.origin.clone(), outcome.height, time)
        };
        match &outcome.verdict {
            Verdict::Accepted { version_after, state, tickets, .. } => {
                let kind = accepted_kind(outcome.action_name());
                let seeded = kind == EventKind::TicketsSeeded;
                let is_about_tickets = !matches!(kind, EventKind::ValidatorsChanged | EventKind::RecoveryAgreed);
                Self {
                    kind,
                    event: event.event.clone().filter(|_| is_about_tickets),
                    state: *state,
                    version: (is_about_tickets && !seeded).then_some(*version_after),
                    count: seeded.then_some(*tickets),
                    ..event
                }
            }
            Verdict::Refused { reason, version, state, first } => Self {
                operation: Some(outcome.action_name().to_owned()),
                reason: Some(*reason),
                state: *state,
                version: state.is_some().then_some(*version),
                first: first.as_deref().map(Scan::from),
                ..event
            },
        }
    }
}

fn accepted_kind(action: &str) -> EventKind {
    match action {
        "issue" => EventKind::TicketIssued,
        "consume" => EventKind::TicketConsumed,
        "dispute" => EventKind::TicketDisputed,
        "seed" => EventKind::TicketsSeeded,
        "change_validators" => EventKind::ValidatorsChanged,
        "recover" => EventKind::RecoveryAgreed,
        _ => EventKind::TicketValidated,
    }
}

/// The answer to `POST /api/v1/ws-ticket`: a key for one WebSocket, as in `/ws?ticket=...`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WsTicket {
    /// The key.
    pub ticket: String,
    /// For how many seconds it holds.
    pub expires_in_seconds: u64,
}
