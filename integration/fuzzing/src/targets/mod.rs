//! The targets. Where a decoder is one of several, the first byte of the input chooses which.

pub mod client;
pub mod initial;
pub mod layouts;
pub mod log;
#[cfg(feature = "node")]
pub mod network;
#[cfg(feature = "node")]
pub mod node;
#[cfg(feature = "node")]
mod store;
mod wire;

use crate::Target;

const KIB: u64 = 1_024;

/// All of them.
pub const TARGETS: &[Target] = &[
    // From peers.
    Target { name: "wire", run: wire::frame, base_bytes: 8 * KIB, factor: 34 },
    Target { name: "bundle", run: wire::bundle, base_bytes: 8 * KIB, factor: 24 },
    Target { name: "layouts", run: layouts::any, base_bytes: 8 * KIB, factor: 24 },
    // From disks.
    Target { name: "log_record", run: log::record, base_bytes: 8 * KIB, factor: 24 },
    Target { name: "log_segments", run: log::segments, base_bytes: 256 * KIB, factor: 8 },
    Target { name: "genesis", run: layouts::genesis, base_bytes: 64 * KIB, factor: 32 },
    Target { name: "initial_state", run: initial::state, base_bytes: 64 * KIB, factor: 64 },
    // From clients.
    Target { name: "names", run: client::names, base_bytes: 8 * KIB, factor: 8 },
    Target { name: "request_json", run: client::json, base_bytes: 16 * KIB, factor: 32 },
    Target { name: "request_bincode", run: client::compact, base_bytes: 16 * KIB, factor: 96 },
    #[cfg(feature = "node")]
    Target { name: "handshake", run: network::handshake, base_bytes: 16 * KIB, factor: 8 },
    #[cfg(feature = "node")]
    Target { name: "frames", run: network::frames, base_bytes: 128 * KIB, factor: 4 },
    #[cfg(feature = "node")]
    Target { name: "store_records", run: store::record, base_bytes: 16 * KIB, factor: 32 },
    #[cfg(feature = "node")]
    Target { name: "node_files", run: node::files, base_bytes: 64 * KIB, factor: 64 },
    #[cfg(feature = "node")]
    Target { name: "http_inputs", run: node::http, base_bytes: 64 * KIB, factor: 64 },
];

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
