//! One story for each item of faults.md that a simulation can tell, named by its id with underscores; FAULTS.md lists
//! them, and `table.rs` compares.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod clients;
mod crashes;
mod disks;
mod lies;
mod members;
mod network;
mod rules;
mod snapshots;
mod table;
mod views;
