//! The replica: PBFT behind a mailbox. A thin shell around [`dtvn_replication::consensus::Consensus`].

mod actor;
mod epoch;
mod message;
mod trace;

pub use actor::{Replica, ReplicaArguments};
pub use message::{Pending, ROLE, ReplicaMessage};
