//! The public API of a real node (api.md): one validator in this process, on ports of its own, asked over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod access;
mod commands;
mod events;
mod http;
mod idle;
mod kit;
mod limits;
mod operations;
mod peers;
mod reads;
mod receipts;
mod refusals;
