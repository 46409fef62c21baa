//! Intake: takes operations from sessions, cuts them into bundles, and answers when they are decided.

mod actor;
mod message;

pub(crate) use actor::submit_by;
pub use actor::{Intake, IntakeArguments, submit};
pub use message::{Answered, IntakeMessage, ROLE, Submission};
