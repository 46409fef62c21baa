//! Health: a watchdog over the tree, and an eye on the disk.
//!
//! Architecture, section 2: "`health` (liveness, readiness, a watchdog for mailboxes that do not move)"; section 11:
//! "Below `min_free_disk` a node stops voting before the disk is full." What it finds stands on the board, where
//! `/health/live`, `/health/ready` and `/metrics` read it. It looks once a second and costs nothing beside.
//! - `actor.rs`: the actor, which looks, logs, and lets the replica start anew when voting is to stop or to go on.
//! - `stalls.rs`: which mailboxes do not move: plain.

mod actor;
mod stalls;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

pub use actor::{Health, HealthArguments, HealthMessage, ROLE, free_disk_bytes};
pub use stalls::{Stall, Stalls};

use dtvn_messages::limits;

/// What the watchdog shows.
#[derive(Debug, Clone, Default)]
pub struct HealthShown {
    /// When it looked last; none before its first look.
    pub looked_at: Option<Instant>,
    /// Actors whose messages wait while none is handled.
    pub stuck: Vec<Stall>,
    /// Bytes free on the disk of the data directory, as last seen.
    pub disk_free_bytes: Option<u64>,
    /// Bytes that must be free for the node to vote; 0 if it is not looked at.
    pub disk_free_bytes_min: u64,
    /// Whether less is free.
    pub disk_full: bool,
}

impl HealthShown {
    /// Why the node is not live, in words; nothing if it is. A watchdog that does not look any more is a reason, too: then
    /// the threads that it shares with all actors are blocked.
    #[must_use]
    pub fn not_live(&self, now: Instant) -> Vec<String> {
        let mut reasons: Vec<String> = self.stuck.iter().map(ToString::to_string).collect();
        let silent = self.looked_at.map_or(Duration::ZERO, |looked| now.saturating_duration_since(looked));
        if silent > limits::WATCHDOG_SILENCE_MAX {
            reasons.push(format!("the watchdog has not looked for {} s: no actor runs", silent.as_secs()));
        }
        reasons
    }
}
