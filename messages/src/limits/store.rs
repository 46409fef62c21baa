//! The derived store (architecture.md section 5).

/// Bytes that may be written to RocksDB and be in memory only; then they are flushed in the background. What a crash
/// takes away, at most about twice this, is applied again from the consensus log within seconds. Measured: less makes the
/// background dearer than it makes writing cheaper, more the other way round.
pub const STORE_MEMORY_BYTES: usize = 32 * 1024 * 1024;
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

/// Damaged logs, and damaged databases, that are kept beside the good ones for whoever wants to look at them. The oldest
/// goes: damage that comes again and again must not fill the disk.
pub const DAMAGED_COPIES_MAX: usize = 3;
