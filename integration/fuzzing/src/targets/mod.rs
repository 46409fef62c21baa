//! The targets. Where a decoder is one of several, the first byte of the input chooses which.

pub mod client;
pub mod evidence;
pub mod initial;
pub mod layouts;
pub mod log;
#[cfg(feature = "node")]
pub mod network;
#[cfg(feature = "node")]
pub mod node;
pub mod receipts;
pub mod snapshots;
#[cfg(feature = "node")]
pub mod store;
pub mod trusted;
mod wire;

use crate::{Judged, Target};

const KIB: u64 = 1_024;

/// All of them.
pub const TARGETS: &[Target] = &[
    // From peers.
    // What a frame promises is at most 32 times its length; what is read again is held beside it.
    of_several("wire", wire::frame, wire::CLASSES.len(), 8 * KIB, 66),
    of_one("bundle", wire::bundle, 16 * KIB, 24),
    of_several("layouts", layouts::any, layouts::TYPES.len(), 8 * KIB, 32),
    of_one("evidence", evidence::judged, 64 * KIB, 32),
    of_several("snapshots", snapshots::piece, snapshots::PIECES.len(), 64 * KIB, 128),
    // From disks.
    of_one("log_record", log::record, 8 * KIB, 24),
    of_one("log_segments", log::segments, 256 * KIB, 8),
    of_one("genesis", layouts::genesis, 64 * KIB, 32),
    of_one("initial_state", initial::state, 64 * KIB, 64),
    // From clients.
    of_several("names", client::names, client::NAMES.len(), 8 * KIB, 8),
    of_several("request_json", client::json, client::BODIES, 64 * KIB, 32),
    of_several("request_bincode", client::compact, client::BATCHES, 16 * KIB, 96),
    // To clients.
    of_several("answers", client::answer, client::ANSWERS.len(), 64 * KIB, 64),
    of_several("receipts", receipts::text, receipts::TEXTS.len(), 64 * KIB, 64),
    #[cfg(feature = "node")]
    of_one("handshake", network::handshake, 16 * KIB, 8),
    #[cfg(feature = "node")]
    of_one("frames", network::frames, 128 * KIB, 4),
    #[cfg(feature = "node")]
    of_several("store_records", store::record, store::KINDS, 16 * KIB, 32),
    #[cfg(feature = "node")]
    of_several("cursors", store::cursor, store::CURSORS, 16 * KIB, 16),
    #[cfg(feature = "node")]
    // A file of nothing but openings costs the reader of TOML a hundred bytes for each byte.
    of_several("node_files", node::files, node::FILES, 64 * KIB, 128),
    #[cfg(feature = "node")]
    of_several("amnesia_marks", node::mark, node::MARKS.len(), 64 * KIB, 16),
    #[cfg(feature = "node")]
    of_several("http_inputs", node::http, node::INPUTS, 64 * KIB, 64),
];

const fn of_one(name: &'static str, run: fn(&[u8]) -> Judged, base_bytes: u64, factor: u64) -> Target {
    of_several(name, run, 1, base_bytes, factor)
}

const fn of_several(
    name: &'static str,
    run: fn(&[u8]) -> Judged,
    choices: usize,
    base_bytes: u64,
    factor: u64,
) -> Target {
    Target { name, run, choices, base_bytes, factor }
}

/// The target of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The choice that an input makes, and the rest of it.
fn choice(input: &[u8], of: usize) -> Option<(usize, &[u8])> {
    let (first, rest) = input.split_first()?;
    Some((usize::from(*first) % of, rest))
}
