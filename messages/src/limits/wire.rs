//! Frames and lists between peers: what is longer is malformed, and counts against the peer.

use super::BUNDLE_BYTES_MAX;

/// A frame of the consensus class: the largest is a VIEW-CHANGE. A longer one closes the stream and counts against the
/// peer.
pub const CONSENSUS_FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A frame of the bundle class: one bundle and its envelope. A longer one closes the stream.
pub const BUNDLE_FRAME_BYTES_MAX: usize = BUNDLE_BYTES_MAX + 1_024;
/// A frame of the sync class: some blocks with their bundles. A longer one closes the stream.
pub const SYNC_FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Digests asked for in one fetch. More are malformed.
pub const FETCH_DIGESTS_MAX: usize = 1_024;
/// Blocks in one sync answer; the server also stops at half of [`SYNC_FRAME_BYTES_MAX`]. More are malformed.
pub const SYNC_BLOCKS_MAX: usize = 256;
