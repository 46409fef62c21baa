//! The actor tree, as the admin endpoint shows it (architecture.md sections 2 and 8).

use serde::{Deserialize, Serialize};

/// One actor and those that it supervises: the answer to `GET /admin/actors` (the root) and `/admin/actors/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActorInfo {
    /// Its path in the tree: `core/storage`.
    pub name: String,
    /// `starting`, `running`, `stopping`, `stopped` and so on.
    pub status: String,
    /// Milliseconds since it was last started.
    pub uptime_ms: u64,
    /// How often it was restarted.
    pub restarts: u64,
    /// Why it was last restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_restart_reason: Option<String>,
    /// Messages that wait in its mailbox.
    pub mailbox_depth: u64,
    /// How many may wait; 0 if it has no mailbox of its own.
    pub mailbox_bound: u64,
    /// Messages handled, over all its starts.
    pub messages_handled: u64,
    /// Time spent in handlers, waits included, in microseconds.
    pub handler_total_us: u64,
    /// The longest handler, in microseconds.
    pub handler_max_us: u64,
    /// How a supervisor restarts its children: `one_for_one` or `rest_for_one`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// Those that it supervises, in start order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(no_recursion))]
    pub children: Vec<ActorInfo>,
}

/// The body of `PUT /admin/log-level`, and its answer and that of `GET`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LogLevel {
    /// A level (`trace`, `debug`, `info`, `warn`, `error`, `off`), or levels by target: `info,dtvn_pbft=debug`.
    pub level: String,
}

/// The answer to `POST /admin/actors/{name}/restart` and `.../crash`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActorCommandAnswer {
    /// The actor.
    pub name: String,
    /// `restarting` or `crashing`.
    pub status: String,
}
