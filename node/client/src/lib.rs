//! What a program needs to talk to a DTVN network over HTTP (api.md).
//!
//! [`api`] holds the JSON types of every request and answer; the server uses the very same. [`Client`] asks several
//! nodes, with one idempotency key, until an operation's outcome is known. [`load`] makes load and measures it.
#![warn(missing_docs)]

pub mod api;
mod client;
pub mod load;

pub use client::{BatchForm, Client, ClientConfig, ClientError, TicketFilter, new_key};
