//! Networks of four real processes, one at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod actors;
mod kills;
mod kit;
mod tickets;
