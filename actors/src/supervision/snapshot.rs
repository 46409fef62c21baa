//! The tree as people and metrics see it.

use crate::supervision::Strategy;
use serde::Serialize;

/// One actor or supervisor with all below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TreeNode {
    /// The path, e.g. `core/storage`; for the root its own name.
    pub name: String,
    /// Worker or supervisor.
    pub kind: NodeKind,
    /// A supervisor's strategy.
    pub strategy: Option<Strategy>,
    /// What it is doing.
    pub status: Status,
    /// Milliseconds since its last start was complete; 0 unless it runs.
    pub uptime_ms: u64,
    /// How often it was started again.
    pub restarts: u64,
    /// Why it was last started again.
    pub last_restart_reason: Option<String>,
    /// When, in microseconds since 1970.
    pub last_restart_at: Option<u64>,
    /// Messages that wait (for a supervisor: commands).
    pub mailbox_depth: usize,
    /// How many may wait.
    pub mailbox_bound: usize,
    /// The most that ever waited.
    pub mailbox_high_water: usize,
    /// Messages given back because the mailbox was full.
    pub mailbox_refused: u64,
    /// Messages dropped because the mailbox was full.
    pub mailbox_dropped: u64,
    /// Messages handled, over all incarnations.
    pub messages_handled: u64,
    /// Microseconds spent in handlers, waits included.
    pub handler_total_us: u64,
    /// The longest handler, in microseconds.
    pub handler_max_us: u64,
    /// For how many microseconds it has been handling its present message; null when it is idle. With a depth above
    /// zero this tells a busy actor from one that is stuck.
    pub handling_us: Option<u64>,
    /// The same by kind of message.
    pub kinds: Vec<KindWork>,
    /// The children, in start order.
    pub children: Vec<TreeNode>,
}

impl TreeNode {
    /// The node at a path below this one, e.g. `core/storage` from the root.
    pub fn find(&self, path: &str) -> Option<&TreeNode> {
        self.walk().find(|node| node.name == path)
    }

    /// This node and all below it, parents first.
    pub fn walk(&self) -> impl Iterator<Item = &TreeNode> {
        let mut waiting = vec![self];
        std::iter::from_fn(move || {
            let node = waiting.pop()?;
            waiting.extend(node.children.iter().rev());
            Some(node)
        })
    }
}

/// What an actor has done for messages of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindWork {
    /// The kind, as `Mail::kind` says.
    pub kind: String,
    /// Messages handled.
    pub handled: u64,
    /// Microseconds spent on them.
    pub total_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
}

/// Worker or supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// It handles messages.
    Worker,
    /// It keeps children running.
    Supervisor,
}

/// What an actor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was not started yet, or its first start is under way.
    #[default]
    Starting,
    /// It is up.
    Running,
    /// It was asked to stop and has not ended yet.
    Stopping,
    /// It ended and is being started again.
    Restarting,
    /// It ended in good order and will not be started again.
    Stopped,
    /// It failed and will not be started again.
    Failed,
}

/// The last restart of an actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastRestart {
    pub(crate) reason: String,
    pub(crate) at_unix_us: u64,
}
