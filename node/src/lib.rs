//! A DTVN node and its tools: the library behind the one binary `dtvn` (architecture.md section 1).
#![warn(missing_docs)]

dtvn_messages::refuse_canaries!();

pub mod cli;
pub mod cluster;
pub mod config;
mod durable;
pub mod http;
pub mod telemetry;
pub mod validator;

/// The commit that this program was built from, if whoever built it told.
pub(crate) fn commit() -> Option<&'static str> {
    option_env!("DTVN_COMMIT").filter(|commit| !commit.is_empty())
}
