//! Networks of four real processes, one at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod actors;
mod archived;
mod commands;
mod continued;
mod evidence;
mod frozen;
mod hostile;
mod kills;
mod kit;
mod liar;
mod members;
mod nodes;
mod original;
mod receipts;
mod refusals;
mod rejoin;
mod restore;
mod tickets;
