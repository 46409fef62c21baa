//! The ledger: what every replica computes from the agreed blocks, and nothing else. Pure: no clock, IO or randomness.
//!
//! Tickets and their transitions, idempotency keys, outcomes, and the transparency log over the outcomes (consensus.md
//! section 2, api.md section 1), under rules version 1. A block is executed speculatively, directly above the tip, and
//! later committed or rolled back: [`Ledger`]. The rules for one ticket are in `rules.rs`, the table of keys with the
//! argument that no operation takes effect twice in `keys.rs`.
//!
//! The state map, whose root a checkpoint signs, is in [`state`].
//!
//! Whatever changes a root is a change of rules and needs a new rules version (architecture.md section 11): the test
//! `golden` holds a history of 10,000 operations against it.
#![warn(missing_docs)]

mod effects;
mod execute;
mod image;
mod keys;
mod ledger;
mod membership;
mod rules;
mod seed;
pub mod state;
mod tickets;

pub use effects::{BlockEffects, Executed, LogGrowth, OperationResult};
pub use execute::BlockInput;
pub use image::{LedgerImage, LoadError};
pub use keys::{KeyEntry, KeyScope};
pub use ledger::{Bounds, Ledger};
pub use seed::{SEED_TICKETS, SeedTicket, seed_tickets};
pub use state::{StateEntry, StateMap};
pub use tickets::{EventSummary, TicketCounts};
