//! Events as what tickets belong to (api.md section 1).

use std::collections::BTreeMap;

use dtvn_messages::EventId;
use serde::{Deserialize, Serialize};

/// An event: a namespace for tickets, with its policy. The answer to `GET /api/v1/events/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventInfo {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: EventId,
    /// Whether validating an unknown ticket issues it first.
    pub auto_issue: bool,
    /// How many tickets it has; absent if the chain has several events, whose tickets a node does not count apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tickets: Option<u64>,
    /// How many of them are in each state; absent as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket_states: Option<BTreeMap<String, u64>>,
}

/// The answer to `GET /api/v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventList {
    /// All events of the chain, by name.
    pub events: Vec<EventInfo>,
    /// Always `null`: they fit into one page.
    pub next: Option<String>,
}
