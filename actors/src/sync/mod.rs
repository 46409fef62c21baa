//! Sync: catching up, and helping others to. It has no signing key, and orders nothing (consensus.md section 7).

mod actor;
mod message;

pub use actor::{Sync, SyncArguments};
pub use message::{ROLE, SyncMessage};
