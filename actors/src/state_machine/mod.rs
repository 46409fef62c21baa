//! The state machine: the ledger behind a mailbox. It executes what the replica orders, speculatively, and hands what is
//! final to the store, the intake and the edge.

mod actor;
mod message;

pub use actor::{Observer, StateMachine, StateMachineArguments};
pub use message::{CommitOrder, ROLE, Standing, StateMachineMessage};
