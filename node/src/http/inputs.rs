//! What clients may send, as plain functions of bytes: so that the very parsers of the routes can be tested with any
//! bytes.

use super::events::{Position, Said};
use super::operations::parse_batch;
use super::receipts::Address;

/// How many operations are in the body of `POST /api/v1/operations` in JSON; none if it is refused.
#[must_use]
pub fn batch(body: &[u8]) -> Option<usize> {
    parse_batch(body).ok().map(|operations| operations.len())
}

/// Whether a text message on `/ws` is one of those that a client may send.
#[must_use]
pub fn is_said(text: &str) -> bool {
    serde_json::from_str::<Said>(text).is_ok()
}

/// The place in the history that a text names, as it is shown; none if it is refused.
#[must_use]
pub fn position(text: &str) -> Option<String> {
    text.parse::<Position>().ok().map(|position| position.to_string())
}

/// Whether a path names a tile of the transparency log, or a bundle of its entries.
#[must_use]
pub fn is_tile(path: &str) -> bool {
    Address::parse(path).is_some()
}
