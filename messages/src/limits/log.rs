//! The consensus log (architecture.md section 5).

use super::CONSENSUS_FRAME_BYTES_MAX;

/// Length of a segment's file. A full one is finished, and the next one made: about a millisecond. Small enough that
/// what is no longer needed is freed soon.
pub const LOG_SEGMENT_BYTES: u32 = 64 * 1024 * 1024;
/// Longest batch, so also what one commit writes at most, and what opening a log holds in memory: the longest message
/// and some more. A record that does not fit beside those before it goes into the next batch; one that fits into no
/// batch is refused.
pub const LOG_BATCH_BYTES_MAX: u32 = CONSENSUS_FRAME_BYTES_MAX as u32 + 64 * 1024;
/// Files of the log that are held open. The one not used for longest is closed, and opened again when it is needed.
pub const LOG_OPEN_FILES_MAX: usize = 16;
/// How often a bundle that no record names is written again, with a later segment, before the segment that holds it goes:
/// by then it was ordered or superseded. After that it goes with its segment, and is written again before the first record
/// that names it.
pub const LOG_CARRIED_MAX: u8 = 4;
