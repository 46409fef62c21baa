//! How RocksDB is set up (architecture.md section 5, "So:").
//!
//! The write-ahead log is off: the consensus log is the truth, and a second log would be written, and read again after a
//! crash, for nothing. What makes a state durable is a flush of all column families in one atomic step, so whatever a
//! crash leaves is the state right after some block, with that block's height in it. The recovery mode and the tracking
//! of write-ahead logs are set all the same: should a log ever be found there, it must not be passed over in silence.

use dtvn_messages::limits;
use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel, Options, ReadOptions, WriteOptions,
};

use super::schema::{Column, Use};

/// What can be tuned. The defaults are the limits of the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Bytes written that may be in memory only; then they are flushed in the background.
    pub memory_bytes: usize,
    /// Blocks that may be in memory only; then they are flushed in the background.
    pub memory_blocks: u64,
    /// Bytes of the cache for what is read.
    pub cache_bytes: usize,
    /// Files open at once.
    pub open_files: i32,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            memory_bytes: limits::STORE_MEMORY_BYTES,
            memory_blocks: limits::STORE_MEMORY_BLOCKS,
            cache_bytes: limits::STORE_CACHE_BYTES,
            open_files: limits::STORE_OPEN_FILES_MAX,
        }
    }
}

impl StoreOptions {
    /// Options of the database as a whole.
    pub(super) fn database(&self, create: bool) -> Options {
        let mut options = Options::default();
        options.create_if_missing(create);
        options.create_missing_column_families(create);
        options.set_paranoid_checks(true);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_atomic_flush(true);
        options.set_db_write_buffer_size(self.memory_bytes);
        options.set_max_open_files(self.open_files);
        options.set_max_background_jobs(2);
        options.set_avoid_unnecessary_blocking_io(true);
        options.set_bytes_per_sync(1024 * 1024);
        // One writer: no need for a memtable that several can write to at once.
        options.set_allow_concurrent_memtable_write(false);
        options.set_enable_write_thread_adaptive_yield(false);
        // No writes when idle, and a diary that does not grow.
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_log_level(LogLevel::Warn);
        options.set_keep_log_file_num(4);
        options.set_max_log_file_size(4 * 1024 * 1024);
        options
    }

    /// Options of one column family.
    pub(super) fn column(&self, column: Column, cache: &Cache) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(cache);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_block_size(match column.usage() {
            Use::Sequence => 32 * 1024,
            Use::Scattered => 8 * 1024,
        });
        if column.has_filter() {
            table.set_bloom_filter(10.0, false);
        }
        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.set_compression_type(match column.is_compressible() {
            true => DBCompressionType::Lz4,
            false => DBCompressionType::None,
        });
        // The bound is that of all together; alone, each may use it all.
        options.set_write_buffer_size(self.memory_bytes);
        options.set_arena_block_size(256 * 1024);
        options.set_max_write_buffer_number(4);
        options
    }
}

/// How everything is written: without RocksDB's own log.
pub(super) fn write_options() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

/// How everything is read: checksums are verified.
pub(super) fn read_options() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options
}
