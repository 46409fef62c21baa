//! Sessions: what a node does for one TCP connection of a client (architecture.md section 2).
//!
//! A session is a temporary child of `edge`, started at the connection's first operation or subscription and ended with
//! the connection. It bounds what the connection has in flight and submits operations to the intake; their answers go
//! straight back to who asked, so that a session costs one message for each request. Plain reads are answered
//! without it. A session that dies takes nothing with it but requests in its mailbox, and the connection's next operation
//! starts another.

mod actor;
mod load;
mod message;
#[cfg(test)]
mod tests;

pub use actor::{Session, SessionArguments, role, submit};
pub use load::{Load, Place};
pub use message::SessionMessage;
