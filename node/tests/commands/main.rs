//! The program as a user types it, where it needs no network that runs: what it prints, how it exits, what it leaves.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod devnet;
mod files;
mod simulator;

use std::process::{Command, Output};

use serde_json::Value;

/// The program.
const DTVN: &str = env!("CARGO_BIN_EXE_dtvn");

/// What a command did.
fn dtvn(line: &str) -> Output {
    Command::new(DTVN).args(line.split_whitespace()).output().unwrap()
}

/// What a command says beside its result.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command prints for programs, and that it exits with this code.
fn json(line: &str, code: i32) -> Value {
    let output = dtvn(line);
    assert_eq!(output.status.code(), Some(code), "{line}: {}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}: {error}: {output:?}"))
}
