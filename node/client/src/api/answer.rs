//! What became of operations (api.md section 2).

use dtvn_messages::{
    Digest, EventId, Height, IdempotencyKey, NodeName, Outcome, Reason, TicketId, TicketState, Verdict,
};
use serde::{Deserialize, Serialize};

use super::{Problem, Scan, Ticket, Time};

/// The word `accepted`, in the answers that carry it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AcceptedWord {
    /// It took effect.
    #[default]
    Accepted,
}

/// The answer to one operation that took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Accepted {
    /// `accepted`.
    pub status: AcceptedWord,
    /// The ticket as it is after the operation.
    pub ticket: Ticket,
    /// The height of the block that decided.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub height: Height,
    /// The index of the outcome in the transparency log.
    pub index: u64,
    /// Agreed time of the block.
    pub agreed_time: Time,
    /// The key under which it happened once.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub idempotency_key: IdempotencyKey,
    /// The receipt (C2SP tlog-proof), if it was asked for and a quorum has cosigned it; it can be fetched later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

/// The answer to `seed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Seeded {
    /// How many tickets are new: 500, and 0 the second time.
    pub seeded: u64,
    /// The height of the block that decided.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub height: Height,
    /// The index of the outcome in the transparency log.
    pub index: u64,
    /// Agreed time of the block.
    pub agreed_time: Time,
}

/// The answer to `Prefer: respond-async`: it is under way. `Location` and `location` say where to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pending {
    /// `pending`.
    pub status: OperationState,
    /// The operation's key.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub idempotency_key: IdempotencyKey,
    /// The path that tells the outcome.
    pub location: String,
}

/// One of the answers to `POST /api/v1/operations`, in the order of the requests. In JSON its `status` is the word
/// `accepted` or a problem's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum BatchAnswer {
    /// It took effect.
    Accepted(BatchAccepted),
    /// It did not, or nothing is known.
    Refused(Box<Problem>),
}

/// What took effect, shorter than [`Accepted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchAccepted {
    /// `accepted`.
    pub status: AcceptedWord,
    /// The ticket's state after; absent for a seeding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub state: Option<TicketState>,
    /// The ticket's version after; 0 for a seeding.
    pub version: u64,
    /// The height of the block that decided.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub height: Height,
    /// The index of the outcome in the transparency log.
    pub index: u64,
    /// Agreed time of the block.
    pub agreed_time: Time,
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Taken in, not decided.
    Pending,
    /// It took effect.
    Accepted,
    /// It had no effect.
    Refused,
}

/// The answer to `GET /api/v1/operations/{key}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OperationStatus {
    /// The operation's key.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub idempotency_key: IdempotencyKey,
    /// How far it is.
    pub status: OperationState,
    /// What was decided; `null` while it is pending.
    pub outcome: Option<OutcomeRecord>,
}

/// One outcome of the log: what was asked, who took it in, what was decided, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OutcomeRecord {
    /// The index in the transparency log.
    pub index: u64,
    /// The height of the block that decided.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub height: Height,
    /// Agreed time of the block.
    pub agreed_time: Time,
    /// What kind of operation.
    pub kind: String,
    /// The event.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub event: EventId,
    /// The ticket; `null` for a seeding.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub ticket_id: Option<TicketId>,
    /// The operation's key.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub idempotency_key: IdempotencyKey,
    /// The validator that took it in.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub validator_id: NodeName,
    /// `accepted` or `refused`.
    pub status: OperationState,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub reason: Option<Reason>,
    /// The ticket's state: after, if it was accepted; at that moment, if it was refused.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub state: Option<TicketState>,
    /// The ticket's version before; 0 if it is new.
    pub version_before: u64,
    /// The ticket's version after; the same as before if it was refused.
    pub version_after: u64,
    /// How many tickets it changed.
    pub tickets: u64,
    /// The earlier scan that explains a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Scan>,
    /// The hash of what was asked for.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub payload_digest: Digest,
    /// The RFC 6962 hash of the outcome's leaf.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub leaf_hash: Digest,
}

/// The answer to `GET /api/v1/tickets/{id}/history`: outcomes in their order, refusals too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct History {
    /// The ticket.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub ticket_id: TicketId,
    /// Its event.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub event: EventId,
    /// The outcomes.
    pub history: Vec<OutcomeRecord>,
    /// From which index of the log on the answering node holds all outcomes: 0, or where the state was that it started
    /// from. What was asked of the ticket before is with nodes that hold more.
    #[serde(default)]
    pub complete_from: u64,
    /// What to give as `after` to get the next ones; `null` at the end.
    pub next: Option<String>,
}

impl From<&Outcome> for OutcomeRecord {
    fn from(outcome: &Outcome) -> Self {
        let record = Self {
            index: outcome.index,
            height: outcome.height,
            agreed_time: Time(outcome.agreed_time),
            kind: outcome.action_name().to_owned(),
            event: outcome.event.clone(),
            ticket_id: outcome.ticket.clone(),
            idempotency_key: outcome.key.clone(),
            validator_id: outcome.origin.clone(),
            status: OperationState::Accepted,
            reason: None,
            state: None,
            version_before: 0,
            version_after: 0,
            tickets: 0,
            first: None,
            payload_digest: outcome.payload,
            leaf_hash: outcome.leaf_hash(),
        };
        match &outcome.verdict {
            Verdict::Accepted { version_before, version_after, state, tickets } => Self {
                state: *state,
                version_before: *version_before,
                version_after: *version_after,
                tickets: *tickets,
                ..record
            },
            Verdict::Refused { reason, version, state, first } => Self {
                status: OperationState::Refused,
                reason: Some(*reason),
                state: *state,
                version_before: *version,
                version_after: *version,
                first: first.as_deref().map(Scan::from),
                ..record
            },
        }
    }
}

impl From<&Outcome> for BatchAnswer {
    fn from(outcome: &Outcome) -> Self {
        match &outcome.verdict {
            Verdict::Accepted { version_after, state, .. } => Self::Accepted(BatchAccepted {
                status: AcceptedWord::Accepted,
                state: *state,
                version: *version_after,
                height: outcome.height,
                index: outcome.index,
                agreed_time: Time(outcome.agreed_time),
            }),
            Verdict::Refused { reason, .. } => Self::Refused(Box::new(Problem::of_refusal(outcome, *reason))),
        }
    }
}

impl Accepted {
    /// The answer to an operation that took effect on `ticket`.
    #[must_use]
    pub fn new(outcome: &Outcome, ticket: &dtvn_messages::Ticket) -> Self {
        Self {
            status: AcceptedWord::Accepted,
            ticket: Ticket::from(ticket),
            height: outcome.height,
            index: outcome.index,
            agreed_time: Time(outcome.agreed_time),
            idempotency_key: outcome.key.clone(),
            receipt: None,
        }
    }
}
