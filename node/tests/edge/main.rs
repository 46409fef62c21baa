//! The public API of a real node (api.md): one validator in this process, on ports of its own, asked over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod events;
mod http;
mod kit;
