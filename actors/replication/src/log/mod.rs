//! The consensus log: what a node must never forget, as append-only segments of checksummed, hash-chained records.
//!
//! Architecture section 5: "the only thing that is fsynced on a vote's path (group commit: one fdatasync covers all
//! that waits). Only an incomplete last batch may be cut as torn; other damage [...] is amnesia". Consensus section 4:
//! "Each group commit ends with a trailer (length, hash, count): only a last batch without an intact trailer may be cut
//! as torn; complete bytes that do not match their hash are damage." "A failed fsync is never retried as if it could
//! still succeed."
//!
//! [`Log`] writes over a [`Disk`]: real files in a node, [`MemoryDisk`] in the simulator and in tests. A record is a
//! kind (one byte) and a payload; the log interprets neither. Records are numbered from 1. [`Log::append`] buffers,
//! [`Log::commit`] writes all that is buffered as one *batch* and syncs it; [`Log::durable`] is the watermark. With
//! nothing to do the log writes nothing. How large it grows says [`crate::log_size`].
//!
//! # Layout
//!
//! All integers are big-endian; the bytes are the same on every machine. A segment is one file, named by its number
//! in sixteen decimal digits with `.segment` after it, and allocated as zeros in its full length before it is used.
//! It consists of sectors of 512 bytes: what a disk writes whole or not at all.
//!
//! ```text
//! sector      0  507  data
//!           507    4  CRC-32 of: segment number (8), index of the sector in its file (4), mark (1), data (507)
//!           511    1  mark: 0x96 segment header, 0xA5 first of a batch, 0x5A next of a batch; 0 is not yet written
//!
//! header      0    8  "DTVNCLOG"                       (data of sector 0, then zeros)
//!             8    2  format version, 1
//!            10   32  identity of the log
//!            42    8  number of the segment, from 1
//!            50    8  length of the file in bytes
//!            58    8  number of the first record
//!            66   32  chain hash before this segment (32 zeros in segment 1)
//!
//! batch       0    4  "DTVB"                           (data of the following sectors, then zeros)
//!             4    1  1: the last batch of its segment; 0: not
//!             5    4  length in bytes, this header and the trailer included
//!             9    4  number of records
//!            13    8  number of the first record
//!            21    8  the last record that was durable when this batch was written
//!            29       records, each: kind (1), length (4), payload
//!           -40    4  length, again
//!           -36    4  number of records, again
//!           -32   32  chain hash: SHA-256(chain hash before, all bytes of the batch up to here)
//! ```
//!
//! The chain hash at the start of a segment is SHA-256 of the 98 bytes of its header, so that a segment commits to all
//! before it, also when those have been dropped. A batch starts at a sector, so writing it never touches a durable
//! sector. The last batch of a segment says so, and is written only once the next segment's header is durable: so a
//! lost last segment is noticed. It may be empty; one sector is held back for it.
//!
//! # Torn or damaged
//!
//! A crash leaves each sector that was not synced old (zeros) or new, or new up to some byte and zeros from there.
//! As the mark is a sector's last byte and is not zero, such a sector ends in zero: it is *unwritten*. A sector that
//! is neither unwritten nor matches its checksum is damage wherever it is, and so is a batch whose sectors are all
//! written and which does not match its hash. A batch with an unwritten sector ends the log, if nothing says that it
//! was durable once: no later batch whose header calls its records durable, no later segment in use. Then it, and
//! what was written unsynced after it, is cut: overwritten with zeros, and synced. A file that is shorter than its
//! header says is damage: no crash does that to a file whose length was synced.
//!
//! What this cannot see: a last durable batch that turned to zeros (in whole sectors) looks like one that was never
//! written. Only the other nodes can tell. And which segment is the oldest that was kept: [`crate::logbook`] writes that
//! down.

mod append;
mod batch;
mod disk;
mod error;
mod memory;
mod open;
mod read;
mod scan;
mod sector;
mod segment;

use std::collections::VecDeque;
use std::fmt;

use dtvn_messages::{ChainId, Digest, NodeName, limits};
use sha2::{Digest as _, Sha256};

pub use disk::{Disk, DiskError};
pub use error::{Damage, LogError};
pub use memory::{MemoryDisk, Struck, Unsynced};
pub use open::{Opened, Unopened};
pub use segment::SegmentSummary;

use batch::Batch;
use segment::Segment;

/// A SHA-256 hash in the log's chain.
type Hash = [u8; 32];

/// A record's number. The first record is 1; as a watermark, 0 means "none".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordNumber(pub u64);

/// A segment's number. The first segment is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentNumber(pub u64);

/// Where a record is: enough to read it again with one disk access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordPosition {
    /// The record's number.
    pub number: RecordNumber,
    /// The segment that holds it.
    pub segment: SegmentNumber,
    /// Where in the segment's file its first byte is.
    pub offset: u32,
    /// The length of its payload in bytes.
    pub payload_bytes: u32,
}

/// Whose log it is. A log with another identity is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LogIdentity(pub [u8; 32]);

/// Sizes of a log. They may differ from one opening to the next: a segment keeps the length that it was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Length of a new segment's file in bytes; a multiple of 512.
    pub segment_bytes: u32,
    /// Longest batch in bytes, header and trailer included. What does not fit goes into the next batch.
    pub batch_bytes_max: u32,
}

/// The consensus log: see the head of this module.
pub struct Log<D> {
    disk: D,
    identity: LogIdentity,
    limits: LogLimits,
    /// Segments that take no more records, oldest first, without holes.
    finished: VecDeque<Segment>,
    /// The segment that is written to.
    active: Segment,
    /// Chain hash after the last batch written.
    chain: Hash,
    /// Records that are not yet written.
    batch: Batch,
    written: RecordNumber,
    durable: RecordNumber,
    /// An attempt to make the next segment failed for want of space, and may have left a file.
    leftover: bool,
    /// Why nothing can be written any more.
    poison: Option<String>,
}

impl RecordNumber {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The number `count` after this one.
    #[must_use]
    pub(crate) const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// The number before this one; 0 stays.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for RecordNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl SegmentNumber {
    /// The first segment of a log.
    pub const FIRST: Self = Self(1);

    const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for SegmentNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl LogIdentity {
    /// The identity of one node's log in one chain: SHA-256 over "dtvn-consensus-log-v1" and the three, each with its
    /// length (4 bytes, big-endian) before it.
    #[must_use]
    pub fn new(chain: &ChainId, node: &NodeName, genesis: &Digest) -> Self {
        let mut hasher = Sha256::new_with_prefix(b"dtvn-consensus-log-v1");
        for part in [chain.as_str().as_bytes(), node.as_str().as_bytes(), &genesis.0] {
            hasher.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for LogIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for LogIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LogIdentity({self})")
    }
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { segment_bytes: limits::LOG_SEGMENT_BYTES, batch_bytes_max: limits::LOG_BATCH_BYTES_MAX }
    }
}

impl LogLimits {
    /// The longest payload that a record may have, in bytes.
    #[must_use]
    pub const fn payload_bytes_max(&self) -> usize {
        (self.batch_bytes_max as usize).saturating_sub(batch::OVERHEAD_BYTES + batch::RECORD_HEADER_BYTES)
    }

    /// A segment must hold its header, one longest batch, and the sector held back for the last batch.
    fn check(&self) -> Result<(), LogError> {
        let batch_bytes = self.batch_bytes_max as usize;
        let needed = (sector::count(batch_bytes) + 2) * sector::SECTOR_BYTES;
        if batch_bytes < batch::OVERHEAD_BYTES + batch::RECORD_HEADER_BYTES
            || !(self.segment_bytes as usize).is_multiple_of(sector::SECTOR_BYTES)
            || (self.segment_bytes as usize) < needed
        {
            return Err(LogError::Limits { segment_bytes: self.segment_bytes, batch_bytes_max: self.batch_bytes_max });
        }
        Ok(())
    }
}
