//! What clients ask for (api.md section 3). A field that does not exist, or that does not belong to the kind of
//! operation, is an error that names it.

use std::fmt;

use dtvn_messages::operation::OperationError;
use dtvn_messages::ticket::Metadata;
use dtvn_messages::{Action, EventId, IdempotencyKey, Operation, TicketId, Timestamp, VectorClock};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::Time;

/// What kind of operation.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, bincode::Encode, bincode::Decode,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A new ticket.
    Issue,
    /// `ISSUED -> VALIDATED`.
    Validate,
    /// `VALIDATED -> CONSUMED`.
    Consume,
    /// `VALIDATED -> DISPUTED`.
    Dispute,
    /// The 500 seed tickets.
    Seed,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Issue, Self::Validate, Self::Consume, Self::Dispute, Self::Seed];

    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Validate => "validate",
            Self::Consume => "consume",
            Self::Dispute => "dispute",
            Self::Seed => "seed",
        }
    }

    /// The route that takes one operation of this kind.
    #[must_use]
    pub const fn route(self) -> &'static str {
        match self {
            Self::Issue => "/api/v1/tickets",
            Self::Validate => "/api/v1/tickets/validate",
            Self::Consume => "/api/v1/tickets/consume",
            Self::Dispute => "/api/v1/tickets/dispute",
            Self::Seed => "/api/v1/tickets/seed",
        }
    }
}

/// The body of `validate`, `consume` and `dispute`. Least: `{"ticket_id": "TICKET-001"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TicketRequest {
    /// The ticket.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub ticket_id: TicketId,
    /// Its event; `default` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub event: Option<EventId>,
    /// Replaces the ticket's data (validate, consume).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub data: Option<Box<str>>,
    /// The gate's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub gate: Option<Box<str>>,
    /// The device's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub device: Option<Box<str>>,
    /// Why (dispute).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub reason: Option<Box<str>>,
    /// The ticket's vector clock that the client had seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<std::collections::BTreeMap<String, u64>>))]
    pub seen: Option<VectorClock>,
    /// When the client scanned the ticket, by its own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned_at: Option<Time>,
    /// What makes it happen once: 16 to 128 printable ASCII characters. The header `Idempotency-Key` does the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl TicketRequest {
    /// About a ticket of the event `default`, of which no more is told.
    #[must_use]
    pub fn new(ticket_id: TicketId) -> Self {
        Self {
            ticket_id,
            event: None,
            data: None,
            gate: None,
            device: None,
            reason: None,
            seen: None,
            scanned_at: None,
            idempotency_key: None,
        }
    }
}

/// The body of `issue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct IssueRequest {
    /// The new ticket's name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub ticket_id: TicketId,
    /// Its event; `default` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub event: Option<EventId>,
    /// Opaque data of the organiser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub data: Option<Box<str>>,
    /// Free facts.
    #[serde(default, skip_serializing_if = "Metadata::is_empty", deserialize_with = "without_repetition")]
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, String>))]
    pub metadata: Metadata,
    /// Not valid before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Time>,
    /// Not valid from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
    /// The gate's or desk's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub gate: Option<Box<str>>,
    /// The device's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub device: Option<Box<str>>,
    /// What makes it happen once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub idempotency_key: Option<IdempotencyKey>,
}

/// The body of `seed`; it may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SeedRequest {
    /// The event; `default` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub event: Option<EventId>,
    /// What makes it happen once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub idempotency_key: Option<IdempotencyKey>,
}

/// One operation of any kind: an item of the body of `POST /api/v1/operations`, in JSON or bincode. The single routes'
/// bodies turn into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct OperationRequest {
    /// What kind.
    pub kind: Kind,
    /// The ticket (all but seed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub ticket_id: Option<TicketId>,
    /// The event; `default` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub event: Option<EventId>,
    /// The ticket's data (issue, validate, consume).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub data: Option<Box<str>>,
    /// Free facts (issue).
    #[serde(default, skip_serializing_if = "Metadata::is_empty", deserialize_with = "without_repetition")]
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::BTreeMap<String, String>))]
    pub metadata: Metadata,
    /// Not valid before (issue).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Time>,
    /// Not valid from then on (issue).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
    /// The gate's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub gate: Option<Box<str>>,
    /// The device's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub device: Option<Box<str>>,
    /// Why (dispute).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub reason: Option<Box<str>>,
    /// The ticket's vector clock that the client had seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<std::collections::BTreeMap<String, u64>>))]
    pub seen: Option<VectorClock>,
    /// When the client scanned the ticket, by its own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned_at: Option<Time>,
    /// What makes it happen once: 16 to 128 printable ASCII characters; made up by the server if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub idempotency_key: Option<IdempotencyKey>,
}

/// Metadata in which no name comes twice: which of the two would count?
fn without_repetition<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Metadata, D::Error> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Metadata;
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object of texts")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
            let mut metadata = Metadata::new();
            while let Some((name, value)) = map.next_entry::<Box<str>, Box<str>>()? {
                if metadata.contains_key(&name) {
                    return Err(A::Error::custom(format!("the metadata name {name:?} comes twice")));
                }
                metadata.insert(name, value);
            }
            Ok(metadata)
        }
    }
    deserializer.deserialize_map(Names)
}

/// Why a request that could be read is no operation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// A field is missing.
    #[error("{kind} needs `{field}`")]
    Missing {
        /// The kind of operation.
        kind: &'static str,
        /// The field's name.
        field: &'static str,
    },
    /// A field does not belong to this kind of operation.
    #[error("`{field}` does not belong to {kind}")]
    Foreign {
        /// The kind of operation.
        kind: &'static str,
        /// The field's name.
        field: &'static str,
    },
    /// The ticket would be valid at no time.
    #[error("`valid_from` is not before `valid_until`: the ticket could never be validated")]
    EmptyWindow,
    /// Part of it is too large: `too_large`.
    #[error(transparent)]
    TooLarge(#[from] OperationError),
}

impl OperationRequest {
    /// A request with its kind and ticket only.
    #[must_use]
    pub fn new(kind: Kind, ticket: TicketId) -> Self {
        Self { ticket_id: Some(ticket), ..Self::empty(kind) }
    }

    /// The 500 seed tickets.
    #[must_use]
    pub fn seed(event: Option<EventId>, idempotency_key: Option<IdempotencyKey>) -> Self {
        Self { event, idempotency_key, ..Self::empty(Kind::Seed) }
    }

    fn empty(kind: Kind) -> Self {
        Self {
            kind,
            ticket_id: None,
            event: None,
            data: None,
            metadata: Metadata::new(),
            valid_from: None,
            valid_until: None,
            gate: None,
            device: None,
            reason: None,
            seen: None,
            scanned_at: None,
            idempotency_key: None,
        }
    }

    /// The body of a single route as an operation of its kind.
    #[must_use]
    pub fn of_ticket(kind: Kind, request: TicketRequest) -> Self {
        Self {
            ticket_id: Some(request.ticket_id),
            event: request.event,
            data: request.data,
            gate: request.gate,
            device: request.device,
            reason: request.reason,
            seen: request.seen,
            scanned_at: request.scanned_at,
            idempotency_key: request.idempotency_key,
            ..Self::empty(kind)
        }
    }

    /// The operation that the request asks for, under `key`; `valid_until` is what its node grants it.
    ///
    /// # Errors
    /// If a field is missing, does not belong to the kind, or is too large.
    pub fn into_operation(self, key: IdempotencyKey, valid_until: Timestamp) -> Result<Operation, RequestError> {
        self.check_fields()?;
        let kind = self.kind;
        let needed =
            |ticket: Option<TicketId>| ticket.ok_or(RequestError::Missing { kind: kind.name(), field: "ticket_id" });
        let action = match kind {
            Kind::Issue => Action::Issue {
                ticket: needed(self.ticket_id)?,
                data: self.data,
                metadata: self.metadata,
                valid_from: self.valid_from.map(Timestamp::from),
                valid_until: self.valid_until.map(Timestamp::from),
            },
            Kind::Validate => Action::Validate { ticket: needed(self.ticket_id)?, data: self.data },
            Kind::Consume => Action::Consume { ticket: needed(self.ticket_id)?, data: self.data },
            Kind::Dispute => Action::Dispute { ticket: needed(self.ticket_id)?, reason: self.reason },
            Kind::Seed => Action::Seed,
        };
        let operation = Operation {
            key,
            valid_until,
            event: self.event.unwrap_or_else(EventId::default_event),
            gate: self.gate,
            device: self.device,
            scanned_at: self.scanned_at.map(Timestamp::from),
            seen: self.seen,
            action,
        };
        operation.check()?;
        Ok(operation)
    }

    /// Fields that are given but mean nothing for the kind: better refused than silently dropped.
    fn check_fields(&self) -> Result<(), RequestError> {
        let kind = self.kind;
        let only_for = |kinds: &[Kind], field, given: bool| {
            if given && !kinds.contains(&kind) {
                Err(RequestError::Foreign { kind: kind.name(), field })
            } else {
                Ok(())
            }
        };
        use Kind::{Consume, Dispute, Issue, Validate};
        only_for(&[Issue, Validate, Consume, Dispute], "ticket_id", self.ticket_id.is_some())?;
        only_for(&[Issue, Validate, Consume], "data", self.data.is_some())?;
        only_for(&[Issue], "metadata", !self.metadata.is_empty())?;
        only_for(&[Issue], "valid_from", self.valid_from.is_some())?;
        only_for(&[Issue], "valid_until", self.valid_until.is_some())?;
        if matches!((self.valid_from, self.valid_until), (Some(from), Some(until)) if from >= until) {
            return Err(RequestError::EmptyWindow);
        }
        only_for(&[Dispute], "reason", self.reason.is_some())?;
        only_for(&[Validate, Consume, Dispute], "seen", self.seen.is_some())?;
        only_for(&[Validate, Consume, Dispute], "scanned_at", self.scanned_at.is_some())
    }
}

impl From<IssueRequest> for OperationRequest {
    fn from(request: IssueRequest) -> Self {
        Self {
            ticket_id: Some(request.ticket_id),
            event: request.event,
            data: request.data,
            metadata: request.metadata,
            valid_from: request.valid_from,
            valid_until: request.valid_until,
            gate: request.gate,
            device: request.device,
            idempotency_key: request.idempotency_key,
            ..Self::empty(Kind::Issue)
        }
    }
}

impl From<SeedRequest> for OperationRequest {
    fn from(request: SeedRequest) -> Self {
        Self { event: request.event, idempotency_key: request.idempotency_key, ..Self::empty(Kind::Seed) }
    }
}
