//! Errors as RFC 9457 `application/problem+json` (api.md section 2).

use std::fmt::Write as _;

use dtvn_messages::{EventId, Height, IdempotencyKey, Outcome, Reason, TicketId, TicketState, Verdict};
use serde::{Deserialize, Serialize};

use super::{Scan, Time, operation_path};

/// Why a request had no effect, or why nothing is known about it; with the facts that explain it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `urn:dtvn:problem:` and the reason.
    #[serde(rename = "type")]
    pub kind: String,
    /// The reason in words, the same each time.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, for people.
    pub detail: String,
    /// Where this very case can be read again, if it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The reason, for programs: a closed list.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    #[bincode(with_serde)]
    pub reason: Reason,
    /// Whether trying again, with the same key, may succeed.
    pub retryable: bool,
    /// After how many seconds to try again, like the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// The operation's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub event: Option<EventId>,
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub ticket_id: Option<TicketId>,
    /// The ticket's state, if there is a ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub state: Option<TicketState>,
    /// The ticket's version, if there is a ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The earlier scan that explains the refusal: when, at which gate, by which device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Scan>,
    /// The height of the block that decided, if the network did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub height: Option<Height>,
    /// The index of the outcome in the transparency log, if the network decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Agreed time of the block, if the network decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed_time: Option<Time>,
}

impl Problem {
    /// A problem with its reason and a sentence for people.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:dtvn:problem:{reason}"),
            title: title(reason),
            status: reason.http_status(),
            detail: detail.into(),
            instance: None,
            reason,
            retryable: reason.is_retryable(),
            retry_after_seconds: None,
            idempotency_key: None,
            event: None,
            ticket_id: None,
            state: None,
            version: None,
            first: None,
            height: None,
            index: None,
            agreed_time: None,
        }
    }

    /// What the network refused, with all that it recorded. `None` if it accepted.
    #[must_use]
    pub fn of_outcome(outcome: &Outcome) -> Option<Self> {
        outcome.verdict.refusal().map(|reason| Self::of_refusal(outcome, reason))
    }

    pub(super) fn of_refusal(outcome: &Outcome, reason: Reason) -> Self {
        let mut problem = Self {
            instance: Some(operation_path(&outcome.event, &outcome.key)),
            idempotency_key: Some(outcome.key.clone()),
            event: Some(outcome.event.clone()),
            ticket_id: outcome.ticket.clone(),
            height: Some(outcome.height),
            index: Some(outcome.index),
            agreed_time: Some(Time(outcome.agreed_time)),
            ..Self::new(reason, "")
        };
        if let Verdict::Refused { version, state, first, .. } = &outcome.verdict {
            problem.state = *state;
            problem.version = state.is_some().then_some(*version);
            problem.first = first.as_deref().map(Scan::from);
        }
        problem.detail = problem.sentence(outcome.action_name());
        problem
    }

    /// The same with the time after which to try again.
    #[must_use]
    pub fn with_retry_after(self, seconds: u32) -> Self {
        Self { retry_after_seconds: Some(seconds), ..self }
    }

    /// The same with the key of the operation that it is about, and where to ask for its outcome.
    #[must_use]
    pub fn with_key(self, event: &EventId, key: IdempotencyKey) -> Self {
        Self { instance: Some(operation_path(event, &key)), idempotency_key: Some(key), ..self }
    }

    /// A refusal in words: what was asked, why not, and the earlier scan.
    fn sentence(&self, action: &str) -> String {
        let mut text = format!("{action} refused: {}", self.title.to_lowercase());
        // Writing to a String cannot fail.
        if let Some(ticket) = &self.ticket_id {
            let _ = write!(text, ", ticket {ticket}");
        }
        if let Some(state) = self.state {
            let _ = write!(text, " is {state}");
        }
        if let Some(first) = &self.first {
            let _ = write!(text, ", since {}", first.at);
            if let Some(gate) = &first.gate {
                let _ = write!(text, ", gate {gate}");
            }
            if let Some(device) = &first.device {
                let _ = write!(text, ", device {device}");
            }
            let _ = write!(text, ", taken in by {}", first.validator);
        }
        if self.reason == Reason::LedgerFull {
            text.push_str(": it holds as much as it may, or as this node may add: another one may take it");
        }
        text
    }
}

/// `already_validated` as `Already validated`.
fn title(reason: Reason) -> String {
    let mut title = reason.name().replace('_', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}
