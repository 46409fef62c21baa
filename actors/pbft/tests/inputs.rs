//! One file for each input or topic. A test's name says a rule of consensus.md, and it fails if the rule is removed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod bundle;
mod certified;
mod checkpoint;
mod common;
mod epoch;
mod epoch_end;
mod executed;
mod new_view;
mod own;
mod pre_prepare;
mod propose;
mod recover;
mod regain;
mod rules;
mod selection;
mod status;
mod timer;
mod view_change;
mod vote;
mod wish;
