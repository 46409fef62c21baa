//! Sync: catching up, and helping others to. It has no signing key, and orders nothing (consensus.md section 7).

mod actor;
mod archive;
mod install;
mod message;
mod parts;

pub use actor::{Sync, SyncArguments};
pub use archive::Done;
pub use install::Prepared;
pub use message::{ROLE, SnapshotAsk, SyncMessage};
