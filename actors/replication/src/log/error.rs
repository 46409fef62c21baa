//! What can go wrong with a log. Damage and foreign logs are told apart from each other and from a disk's failures,
//! because each asks for something else: recovery from peers, the operator, or a restart.

use thiserror::Error;

use super::{DiskError, LogIdentity, RecordNumber, SegmentNumber};

/// Why the log refuses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// An earlier write or sync failed. Nothing can be written until the log is opened anew.
    #[error("the log takes nothing more, because an earlier write failed: {reason}")]
    Poisoned {
        /// The first failure.
        reason: String,
    },
    /// The limits contradict each other.
    #[error(
        "a segment of {segment_bytes} bytes cannot hold a batch of {batch_bytes_max} bytes: segments are multiples of \
         512 and hold a header, a longest batch and one sector more, a batch has at least 74 bytes"
    )]
    Limits {
        /// Length of a segment.
        segment_bytes: u32,
        /// Longest batch.
        batch_bytes_max: u32,
    },
    /// A record that no batch can hold.
    #[error("a record's payload has {found} bytes, at most {limit} are allowed")]
    RecordTooLarge {
        /// Length of the payload.
        found: usize,
        /// Longest payload.
        limit: usize,
    },
    /// There is no log, or one whose creation was cut off before anything could be written. Only the caller knows
    /// whether there ought to be one.
    #[error("there is no consensus log here")]
    NoLog,
    /// A log is there, where a new one was to be made.
    #[error("there is a consensus log already")]
    AlreadyExists,
    /// The log of another node or chain.
    #[error("segment {segment} belongs to the log {found}, this node's is {expected}")]
    ForeignIdentity {
        /// The segment.
        segment: SegmentNumber,
        /// Whose log it is.
        found: LogIdentity,
        /// Whose it should be.
        expected: LogIdentity,
    },
    /// A format that this program does not know.
    #[error("segment {segment} has format version {found}, this program reads version {expected}")]
    UnknownVersion {
        /// The segment.
        segment: SegmentNumber,
        /// Its version.
        found: u16,
        /// The version of this program.
        expected: u16,
    },
    /// A batch above this program's limit.
    #[error("a batch in segment {segment} has {found} bytes, at most {limit} are allowed")]
    BatchTooLarge {
        /// The segment.
        segment: SegmentNumber,
        /// The batch's length in bytes.
        found: u32,
        /// The longest allowed.
        limit: u32,
    },
    /// A file is gone.
    #[error("segment {segment} of the log is missing")]
    MissingSegment {
        /// The missing segment.
        segment: SegmentNumber,
    },
    /// Bytes are not what they were.
    #[error("segment {segment} is damaged at byte {offset}: {damage}")]
    Damaged {
        /// The segment.
        segment: SegmentNumber,
        /// Where in its file.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// The receiver of the records, while the log was opened, refused one.
    #[error("record {number} of the log is refused: {reason}")]
    Refused {
        /// The record.
        number: RecordNumber,
        /// Why.
        reason: String,
    },
    /// A position that is not in this log: dropped, or of another log.
    #[error("record {number} is not in the log at the position given")]
    NoSuchRecord {
        /// The record asked for.
        number: RecordNumber,
    },
}

impl LogError {
    /// Whether records that were durable may be lost or altered: *amnesia* (consensus section 4).
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::MissingSegment { .. } | Self::Damaged { .. })
    }

    /// Whether it is only that the disk is full.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::Disk(DiskError::NoSpace { .. }))
    }
}

/// What is wrong with a damaged segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Damage {
    /// A written sector does not match its checksum.
    #[error("a sector does not match its checksum")]
    Checksum,
    /// All of a batch is there, and it does not match its hash.
    #[error("a complete batch does not match its hash")]
    Hash,
    /// Bytes that match their checksums make no sense.
    #[error("{0}")]
    Malformed(&'static str),
    /// The file has not the length that it was made with.
    #[error("the file has {found} bytes instead of {expected}")]
    Length {
        /// The length that its header names.
        expected: u64,
        /// Its length.
        found: u64,
    },
    /// A segment does not continue the one before it.
    #[error("the segment does not continue the one before it")]
    Chain,
    /// A segment that was in use has lost its header.
    #[error("the segment has no header")]
    NoHeader,
    /// Something later says that the records from here on were durable, but they are gone.
    #[error("record {next} and those after it were durable, and are gone")]
    Lost {
        /// The first lost record.
        next: RecordNumber,
    },
}
