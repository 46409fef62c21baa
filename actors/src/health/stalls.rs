//! Which mailboxes do not move.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::supervision::{NodeKind, Status, TreeNode};

/// An actor that handles nothing while messages wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// The actor's path.
    pub actor: String,
    /// Messages that wait.
    pub waiting: usize,
    /// Since when none was handled.
    pub since: Instant,
    /// For how long that was when it was last looked at.
    pub lasts: Duration,
}

impl fmt::Display for Stall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { actor, waiting, lasts, .. } = self;
        write!(
            formatter,
            "the actor {actor} has handled nothing for {} s while {waiting} messages wait",
            lasts.as_secs()
        )
    }
}

/// What was seen of an actor whose messages wait.
#[derive(Debug, Clone, Copy)]
struct Seen {
    handled: u64,
    restarts: u64,
    since: Instant,
}

/// What was seen of all actors.
#[derive(Debug)]
pub struct Stalls {
    after: Duration,
    seen: BTreeMap<String, Seen>,
}

impl Stalls {
    /// Nothing was seen yet. An actor counts as stuck `after` this time.
    #[must_use]
    pub fn new(after: Duration) -> Self {
        Self { after, seen: BTreeMap::new() }
    }

    /// Takes a look at the tree: who is stuck, in the tree's order. An actor that starts or stops has a timeout of its own
    /// and is not looked at; a supervisor handles what takes as long as its children's starts.
    pub fn look(&mut self, tree: &TreeNode, now: Instant) -> Vec<Stall> {
        let former = std::mem::take(&mut self.seen);
        let mut stuck = Vec::new();
        let is_waiting = |node: &&TreeNode| {
            node.kind == NodeKind::Worker && node.status == Status::Running && node.mailbox_depth > 0
        };
        for node in tree.walk().filter(is_waiting) {
            let fresh = Seen { handled: node.messages_handled, restarts: node.restarts, since: now };
            let same = |seen: &&Seen| (seen.handled, seen.restarts) == (fresh.handled, fresh.restarts);
            let seen = former.get(&node.name).filter(same).copied().unwrap_or(fresh);
            let lasts = now.saturating_duration_since(seen.since);
            if lasts >= self.after {
                let (actor, waiting) = (node.name.clone(), node.mailbox_depth);
                stuck.push(Stall { actor, waiting, since: seen.since, lasts });
            }
            self.seen.insert(node.name.clone(), seen);
        }
        stuck
    }
}
