//! What a node takes in of its clients (api.md section 2).

use super::BUNDLE_BYTES_MAX;

/// Bundles of this node that may be on their way at once: one, and more only if full ones wait. Then operations wait.
pub const INTAKE_BUNDLES_ON_WAY_MAX: usize = 4;
/// Operations of one request. More are `too_large`.
pub const INTAKE_REQUEST_OPERATIONS_MAX: usize = 1_000;
/// Operations that are queued or on their way: four seconds of the load of a node. More are `overloaded`.
pub const INTAKE_OPERATIONS_MAX: usize = 32_768;
/// Bytes of the operations that are queued: eight bundles. More are `overloaded`.
pub const INTAKE_QUEUED_BYTES_MAX: usize = 8 * BUNDLE_BYTES_MAX;
/// Entries in the lanes of the queue whose operations no longer wait, beyond twice those that do. Then they are swept out.
pub const INTAKE_DEAD_ENTRIES_MAX: usize = 1_024;
/// Requests that wait for the outcome of one operation. More are `in_progress`.
pub const INTAKE_WAITERS_PER_OPERATION_MAX: usize = 64;
/// Places in all requests that wait. Beyond it a new operation is `overloaded`, and one that would join a wait is
/// `in_progress`.
pub const INTAKE_WAITERS_MAX: usize = 65_536;
/// The longest wait for an outcome. A longer one is cut to it.
pub const INTAKE_WAIT_MS_MAX: u64 = 120_000;
/// How long after it was taken in an operation may be executed, unless the keys are remembered for less. Later it is
/// refused by the network as `operation_expired`.
pub const INTAKE_OPERATION_LIFETIME_MS: u64 = 60_000;
/// A node whose others have proved so many more blocks is catching up. Then it takes nothing in.
pub const INTAKE_SYNCING_BLOCKS: u64 = 32;
