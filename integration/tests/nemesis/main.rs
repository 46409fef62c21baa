//! Real processes under a nemesis: kills, pauses, partitions, damaged and full disks, a validator run twice; clients work
//! at all nodes meanwhile, and what they did and heard is checked at the end (faults.md, "Real processes").
//!
//! Everything here is chosen by a seed, which is printed with the command that repeats it. For a night:
//! `DTVN_NEMESIS_SEED=7 DTVN_NEMESIS_STEPS=500 cargo test -p dtvn-integration --test nemesis seeded -- --nocapture`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod clients;
mod disks;
mod field;
mod leaders;
mod partitions;
mod proxy;
mod seeded;
mod twins;
