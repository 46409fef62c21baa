//! How much the replicated state may hold. Part of the rules: on one chain all nodes have the same.

use super::BLOCK_OPERATIONS_MAX;

/// Idempotency keys that the ledger remembers: about 340 bytes each, so 1.4 GB; at the default retention of 24 hours 46
/// operations a second without end, or a rush of hours. Beyond it operations are refused as `ledger_full`.
pub const LEDGER_KEYS_MAX: usize = 4_000_000;
/// Keys whose time is over that one block drops: more than a block adds. The others wait for the next block, and answer as
/// long.
pub const LEDGER_KEYS_EXPIRED_MAX: usize = 2 * BLOCK_OPERATIONS_MAX;
/// Bytes of all tickets, where each counts [`LEDGER_TICKET_BYTES`] and its data, metadata and dispute reason: two
/// million bare tickets. An operation that would go beyond is refused as `ledger_full`; scans that add no data still
/// work.
pub const LEDGER_TICKETS_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// What a ticket counts in memory without its texts: measured, with two scans and two facts.
pub const LEDGER_TICKET_BYTES: u64 = 1_024;
