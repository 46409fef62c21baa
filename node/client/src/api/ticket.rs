//! A ticket in JSON (api.md section 1).

use std::sync::Arc;

use dtvn_messages::ticket::Metadata;
use dtvn_messages::{EventId, Height, NodeName, TicketId, TicketState, VectorClock, ticket};
use serde::{Deserialize, Serialize};

use super::Time;

/// A ticket as a node shows it. All fields are always there; what does not apply is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ticket {
    /// The event that it belongs to.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub event: EventId,
    /// Its name within the event.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: TicketId,
    /// `ISSUED`, `VALIDATED`, `CONSUMED`, `DISPUTED` or `REVOKED`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub state: TicketState,
    /// Opaque data of the organiser; `null` in the answer to a repeat of an operation that later ones followed.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub data: Option<Box<str>>,
    /// Free facts: seat, price and so on.
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, String>))]
    pub metadata: Arc<Metadata>,
    /// Not valid before.
    pub valid_from: Option<Time>,
    /// Not valid from then on.
    pub valid_until: Option<Time>,
    /// How many operations were accepted on it.
    pub version: u64,
    /// How many of them each validator took in.
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, u64>))]
    pub vector_clock: VectorClock,
    /// The validator that took in the last accepted operation.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub validator_id: NodeName,
    /// Agreed time of the last accepted operation, in whole seconds since the Unix epoch.
    pub timestamp: u64,
    /// Its validation.
    pub validated: Option<Scan>,
    /// Its use.
    pub consumed: Option<Scan>,
    /// Its dispute.
    pub disputed: Option<Dispute>,
}

/// Who did something to a ticket, where, when, and at which height of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Scan {
    /// The validator that took the operation in.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub validator: NodeName,
    /// The gate, as its client named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub gate: Option<Box<str>>,
    /// The device, as its client named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub device: Option<Box<str>>,
    /// Agreed time.
    pub at: Time,
    /// The height of the block.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub height: Height,
}

/// Who disputed a ticket and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Dispute {
    /// Who, where, when.
    #[serde(flatten)]
    pub scan: Scan,
    /// Why, in the words of who did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub reason: Option<Box<str>>,
}

/// Some tickets in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TicketPage {
    /// The tickets.
    pub tickets: Vec<Ticket>,
    /// What to give as `after` to get the next ones; `null` at the end.
    pub next: Option<String>,
}

impl From<&ticket::Scan> for Scan {
    fn from(scan: &ticket::Scan) -> Self {
        Self {
            validator: scan.validator.clone(),
            gate: scan.gate.clone(),
            device: scan.device.clone(),
            at: Time(scan.at),
            height: scan.height,
        }
    }
}

impl From<&ticket::Ticket> for Ticket {
    fn from(ticket: &ticket::Ticket) -> Self {
        Self {
            event: ticket.event.clone(),
            id: ticket.id.clone(),
            state: ticket.state,
            data: ticket.data.clone(),
            metadata: ticket.metadata.clone(),
            valid_from: ticket.valid_from.map(Time),
            valid_until: ticket.valid_until.map(Time),
            version: ticket.version,
            vector_clock: ticket.vector_clock.clone(),
            validator_id: ticket.validator.clone(),
            timestamp: ticket.updated_at.seconds(),
            validated: ticket.validated.as_deref().map(Scan::from),
            consumed: ticket.consumed.as_deref().map(Scan::from),
            disputed: ticket
                .disputed
                .as_deref()
                .map(|scan| Dispute { scan: Scan::from(scan), reason: ticket.dispute_reason.clone() }),
        }
    }
}
