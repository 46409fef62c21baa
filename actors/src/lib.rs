//! The supervised actors of a DTVN node: who says what `dtvn-messages` can say.
//!
//! One folder per subsystem, the same floor plan in each; see `supervision` for what an actor is.
#![warn(missing_docs)]

pub mod board;
pub mod directory;
pub mod mailbox;
pub mod storage;
pub mod supervision;
