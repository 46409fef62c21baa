//! Every bound of the product, in one place: what it is, why this value, and what happens when it is reached.

// ---- names and texts ------------------------------------------------------------------------------------------------

/// A chain id is in every signed layout: short. Longer ones are refused with the genesis.
pub const CHAIN_ID_BYTES_MAX: usize = 64;
/// A node id is a DNS label, so that it can be a host name. Longer ones are refused.
pub const NODE_NAME_BYTES_MAX: usize = 63;
/// A ticket id fits a barcode. Longer ones are `malformed`.
pub const TICKET_ID_BYTES_MAX: usize = 128;
/// An event id. Longer ones are `malformed`.
pub const EVENT_ID_BYTES_MAX: usize = 128;
/// An idempotency key must be hard to meet by accident. Shorter ones are `malformed`.
pub const IDEMPOTENCY_KEY_BYTES_MIN: usize = 16;
/// The longest idempotency key. Longer ones are `malformed`.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// A gate's, device's or metadata entry's name. Longer ones are `malformed`.
pub const LABEL_BYTES_MAX: usize = 128;
/// A ticket's opaque data. More is `too_large`.
pub const TICKET_DATA_BYTES_MAX: usize = 4_096;
/// Metadata entries of a ticket. More is `too_large`.
pub const METADATA_ENTRIES_MAX: usize = 32;
/// One metadata value. More is `too_large`.
pub const METADATA_VALUE_BYTES_MAX: usize = 512;
/// The reason of a dispute, in words. More is `too_large`.
pub const REASON_BYTES_MAX: usize = 512;

// ---- consensus ------------------------------------------------------------------------------------------------------

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

// ---- ledger ---------------------------------------------------------------------------------------------------------

/// Idempotency keys that the ledger remembers: about 340 bytes each, so 1.4 GB; at the default retention of 24 hours 46
/// operations a second without end, or a rush of hours. Beyond it operations are refused as `ledger_full`.
pub const LEDGER_KEYS_MAX: usize = 4_000_000;
/// Bytes of all tickets, where each counts [`LEDGER_TICKET_BYTES`] and its data, metadata and dispute reason: four
/// million bare tickets. An operation that would go beyond is refused as `ledger_full`; scans that add no data still
/// work.
pub const LEDGER_TICKETS_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// What a ticket counts in memory without its texts.
pub const LEDGER_TICKET_BYTES: u64 = 512;

// ---- wire -----------------------------------------------------------------------------------------------------------

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

// Supervision and mailboxes (architecture, sections 2 and 4).

use core::time::Duration;

/// Messages that may wait in a mailbox unless the child says otherwise: a few milliseconds of work for a busy actor.
/// What happens then is each message type's policy.
pub const MAILBOX_BOUND_DEFAULT: usize = 1_024;

/// Failures within [`SUPERVISOR_RESTART_WINDOW`] that a supervisor mends. One more, and it stops its children and
/// fails itself, so that its own supervisor takes over.
pub const SUPERVISOR_RESTARTS_MAX: u32 = 3;

/// The sliding window of the restart intensity.
pub const SUPERVISOR_RESTART_WINDOW: Duration = Duration::from_secs(5);

/// Commands (add, remove, restart) that may wait for one supervisor; the next caller waits for a place.
pub const SUPERVISOR_COMMANDS_MAX: usize = 64;

/// How long a start may take: a recovery from a full log is seconds. Then the start is killed and counts as failed.
pub const ACTOR_START_TIMEOUT: Duration = Duration::from_secs(120);

/// How long an orderly stop may take unless the child says otherwise: it flushes a few megabytes. Then it is killed.
pub const ACTOR_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an ended actor's tasks and threads may still take. Then they are logged and no longer waited for.
pub const ACTOR_END_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after a kill, beyond [`ACTOR_END_TIMEOUT`], the end must be seen. Then a handler blocks its thread: a stop
/// goes on without it, anything else is given up and ends the process.
pub const ACTOR_KILL_GRACE: Duration = Duration::from_secs(2);

/// Timers and background tasks of one incarnation. One more is a broken invariant and fails the actor.
pub const ACTOR_TASKS_MAX: usize = 16_384;

// ---- derived store (architecture.md section 5) ----------------------------------------------------------------------

/// Bytes that may be written to RocksDB and be in memory only; then they are flushed in the background. What a crash
/// takes away, at most about twice this, is applied again from the consensus log within seconds.
pub const STORE_MEMORY_BYTES: usize = 64 * 1024 * 1024;
/// Blocks that may be applied and be in memory only; then they are flushed in the background. It lets a node with little
/// work drop old segments of its consensus log; each flush leaves a dozen files, so not often.
pub const STORE_MEMORY_BLOCKS: u64 = 4_096;
/// Blocks that are written in one step; more are written in several. It bounds the memory of one: 128 MiB at the largest
/// blocks. Beyond ten or so, gathering gains nothing.
pub const STORE_APPLY_BLOCKS_MAX: usize = 16;
/// RocksDB's cache for what is read. Beyond it, what was not used for long is dropped.
pub const STORE_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Files that RocksDB holds open. Beyond it they are closed and opened again on demand.
pub const STORE_OPEN_FILES_MAX: i32 = 512;
/// A record in the store: a block with 256 bundle digests and all certificates has about 30 kB. A larger one is damage.
pub const STORE_RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Items in one page of a list (api.md section 2). More are not given, whatever is asked for.
pub const STORE_PAGE_ITEMS_MAX: usize = 1_000;
/// Bytes of stored items after which a page ends: a page of the largest tickets would have 25 MB.
pub const STORE_PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Tickets that are looked at for one page of those in a state that is not indexed: about 20 ms. Then the page ends, even
/// if it is not full.
pub const STORE_PAGE_VISITS_MAX: usize = 50_000;
/// A cursor: base64 of the longest key and its check. A longer one is refused.
pub const STORE_CURSOR_BYTES_MAX: usize = 512;
