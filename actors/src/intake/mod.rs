//! Intake: takes operations from sessions, cuts them into bundles, and answers when they are decided.

mod actor;
mod message;

pub use actor::{Intake, IntakeArguments, submit};
pub use message::{Answered, IntakeMessage, ROLE, Submission};
