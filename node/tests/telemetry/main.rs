//! What a node tells of itself, asked of real nodes: networks of one validator in this process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod admin;
mod kit;
mod metrics;
mod readiness;
mod traces;
