//! The genesis, bundles, blocks, and what a replica keeps of its peers (consensus.md sections 2 to 7, and 10).

use super::{SYNC_BLOCKS_MAX, SYNC_FRAME_BYTES_MAX};

// ---- genesis, bundles and blocks ------------------------------------------------------------------------------------

/// Messages grow with the square of the validators; the design is for tens. A larger genesis is refused.
pub const VALIDATORS_MAX: usize = 128;
/// The largest `log_window`; it bounds a VIEW-CHANGE. A genesis above it is refused.
pub const LOG_WINDOW_MAX: usize = 4_096;
/// Addresses of one validator in the genesis. More are refused.
pub const VALIDATOR_ADDRESSES_MAX: usize = 16;
/// Events in the genesis file; more can be made by operations. More are refused.
pub const GENESIS_EVENTS_MAX: usize = 1_024;
/// Operations in one bundle: a bundle is cut at this size. A larger one from a peer is malformed.
pub const BUNDLE_OPERATIONS_MAX: usize = 4_000;
/// Bytes of one bundle: it is cut before it grows beyond. A larger one from a peer is malformed.
pub const BUNDLE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bundles in one block. The leader stops there; a larger proposal is refused.
pub const BLOCK_BUNDLES_MAX: usize = 256;
/// Operations in one block: bounds the time of one execution. The leader stops there; a larger proposal is refused.
pub const BLOCK_OPERATIONS_MAX: usize = 8_000;
/// Bytes of all bundles of one block. The leader stops there; a larger proposal is refused.
pub const BLOCK_BYTES_MAX: usize = 8 * 1024 * 1024;

// ---- the replica ----------------------------------------------------------------------------------------------------

/// A validator that recovers again and again waits longer each time, up to so many times `recovery_interval_ms`: 17 hours
/// with the default of 60 s. What comes sooner is refused.
pub const RECOVERY_WAITS_MAX: u64 = 1_024;
/// Votes and proposals of one sender that wait for their view or for the block below. Beyond it the one for the farthest
/// future is dropped; it is sent again on the next status.
pub const REPLICA_EARLY_PER_SENDER_MAX: usize = 64;
/// VIEW-CHANGEs of one sender that are kept. Beyond it one goes that no waiting NEW-VIEW names, the lowest view first;
/// what a NEW-VIEW names is fetched by digest.
pub const REPLICA_VIEW_CHANGES_PER_SENDER_MAX: usize = 4;
/// Checkpoint votes of one sender that are kept. Beyond it the one for the farthest future is dropped.
pub const REPLICA_CHECKPOINT_VOTES_PER_SENDER_MAX: usize = 16;
/// How far execution runs ahead of the committed height. What is above waits for commits.
pub const REPLICA_EXECUTE_AHEAD_MAX: u64 = 256;
/// Proved blocks that wait for their bundles and their execution. More are not taken, and are asked for again later.
pub const REPLICA_CERTIFIED_BLOCKS_MAX: usize = 2 * SYNC_BLOCKS_MAX;
/// Bytes of the bundles of proved blocks that wait for their execution: two answers. Beyond it, with at most one answer
/// more, blocks are not asked for until some are executed.
pub const REPLICA_CERTIFIED_BYTES_MAX: usize = 2 * SYNC_FRAME_BYTES_MAX;
/// Executed checkpoints whose state root is not here yet. Then nothing more is executed, or proposed, until a root is here:
/// what leads to it is held in memory.
pub const REPLICA_ROOTS_AWAITED_MAX: u64 = 16;
/// A replica that is less than a pipeline behind for less than this is about to catch up by itself; then it asks for
/// sync.
pub const REPLICA_BEHIND_GRACE_MS: u64 = 100;
/// Sync is asked for again after this time if nothing came.
pub const REPLICA_SYNC_AGAIN_MS: u64 = 500;
/// One peer's status, or its fetches, are answered at most this often. What comes in between gets no answer.
pub const REPLICA_ANSWER_INTERVAL_MS: u64 = 15;
/// Replicas tell each other where they stand at this interval when nothing is pending.
pub const REPLICA_STATUS_IDLE_MS: u64 = 1_000;
/// The shortest interval of that while something is pending; else a quarter of the view timeout.
pub const REPLICA_STATUS_PENDING_MS_MIN: u64 = 20;
/// Heights for which one answer to a status carries proposals and votes. The next answer carries the next.
pub const REPLICA_STATUS_HEIGHTS_MAX: usize = 64;
/// The shortest time for which a proposal from the near future is held; then the clock is looked at again.
pub const REPLICA_HOLD_MS_MIN: u64 = 1;
/// Bundle lists of blocks that are asked for at once, and that one answer carries. The next status asks for the rest.
pub const REPLICA_FETCH_BLOCKS_MAX: usize = 64;

/// Signatures that held, of any validator, that are remembered by name. The oldest is forgotten first, and checked again
/// when it comes again.
pub const VERIFIER_REMEMBERED_MAX: usize = 16_384;

// ---- epochs and recovery (sections 4 and 10) ------------------------------------------------------------------------

/// Ends of epochs in one answer, alone or with the manifest of a snapshot: with four validators some 2 kB each, and at most
/// 8 MB together. A longer list is malformed; whoever lacks more is sent the first of them, and asks again from there on.
pub const EPOCH_ENDS_MAX: usize = 256;

/// How often a validator that lost its memory asks for its recovery, in milliseconds. What is asked again joins the wait
/// for the first, or gets its outcome.
pub const RECOVERY_AGAIN_MS: u64 = 2_000;
/// Recoveries of one validator are taken in at most this often, half as long as an honest one waits before it asks again.
/// What comes in between is not taken in: it asks again.
pub const RECOVERY_TAKEN_INTERVAL_MS: u64 = RECOVERY_AGAIN_MS / 2;
