//! Intake: takes operations from sessions, cuts them into bundles, and answers when they are decided.

mod message;

pub use message::{IntakeMessage, ROLE, Submission};
