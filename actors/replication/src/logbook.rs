//! The consensus log as a node keeps it: records in their real format, which of them are still needed, and the number of
//! the node's starts (architecture.md section 5).
//!
//! [`crate::log`] interprets nothing; here records have kinds and needs. The storage actor and [`crate::node::Node`]
//! work on the same value, so what the simulator crashes is what ships.

use std::sync::Arc;

use dtvn_messages::{ChainId, DecodeError, Height};

use crate::log::{
    Disk, Log, LogError, LogIdentity, LogLimits, Opened, RecordNumber, RecordPosition, SegmentNumber, Unopened,
};
use crate::record::{Encoded, LogRecord};
use crate::segments::Segments;

/// A consensus log that is open.
pub struct LogBook<D> {
    log: Log<D>,
    segments: Segments,
    last_start: u64,
    kept_from: SegmentNumber,
}

/// What to do about a log that could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The node is new: make a log.
    Create,
    /// The log is missing or damaged, and the node is not new: it may have signed what it does not remember. It marks
    /// itself, makes a new log, follows, and does not vote (consensus.md section 4).
    Amnesia,
    /// The disk or the configuration is at fault: the node does not start.
    Fail,
}

impl Verdict {
    /// Judges an error of [`LogBook::open`]. `used_before`: the node was started before, or its key was; `has_blocks`:
    /// whether its derived state holds any.
    #[must_use]
    pub fn of(error: &LogError, used_before: bool, has_blocks: bool) -> Self {
        let is_missing = matches!(error, LogError::NoLog);
        if is_missing && !used_before && !has_blocks {
            Self::Create
        } else if is_missing || error.is_damage() {
            Self::Amnesia
        } else {
            Self::Fail
        }
    }
}

impl<D: Disk> LogBook<D> {
    /// Makes a new, empty log.
    ///
    /// # Errors
    /// As [`Log::create`].
    pub fn create(disk: D, identity: LogIdentity, limits: LogLimits) -> Result<Self, Unopened<D>> {
        let log = Log::create(disk, identity, limits)?;
        Ok(Self { log, segments: Segments::default(), last_start: 0, kept_from: SegmentNumber::FIRST })
    }

    /// Opens a log and reads all its records, in order. It must begin where it was dropped up to.
    ///
    /// # Errors
    /// As [`Log::open`], and [`LogError::MissingSegment`] if it begins later; [`Verdict::of`] says what to do then.
    pub fn open(
        disk: D,
        identity: LogIdentity,
        limits: LogLimits,
        chain: &ChainId,
    ) -> Result<(Self, Vec<LogRecord>, Opened), Unopened<D>> {
        let mut records = Vec::new();
        let mut segments = Segments::default();
        let mut last_start = 0;
        let mut kept_from = SegmentNumber::FIRST;
        let (log, opened) = Log::open(disk, identity, limits, |position, kind, payload| {
            let record = LogRecord::decode(kind, payload, chain)?;
            segments.note(position, kind, &record.encode().need);
            match &record {
                LogRecord::Start(start) => last_start = last_start.max(*start),
                LogRecord::KeptFrom(segment) => kept_from = kept_from.max(*segment),
                LogRecord::Bundle(_) | LogRecord::Replica(_) => {}
            }
            records.push(record);
            Ok::<(), DecodeError>(())
        })?;
        let first = log.segments().next().map(|summary| summary.segment);
        if first.is_some_and(|first| first > kept_from) {
            let error = LogError::MissingSegment { segment: kept_from };
            return Err(Unopened { error, disk: log.into_disk() });
        }
        Ok((Self { log, segments, last_start, kept_from }, records, opened))
    }

    /// Buffers a record, after the bundles of it that the log does not hold: they came while it could not take them, or
    /// went with their segment. See [`Log::append`].
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append(&mut self, record: &Encoded) -> Result<RecordPosition, LogError> {
        for bundle in &record.bundles {
            if !self.segments.holds(&bundle.digest) {
                self.append(&LogRecord::Bundle(Arc::clone(bundle)).encode())?;
            }
        }
        let position = self.log.append(record.kind, &record.payload)?;
        self.segments.note(position, record.kind, &record.need);
        Ok(position)
    }

    /// Makes durable what was appended; see [`Log::commit`].
    ///
    /// # Errors
    /// As [`Log::commit`].
    pub fn commit(&mut self) -> Result<RecordNumber, LogError> {
        self.log.commit()
    }

    /// Writes what was appended without a sync; see [`Log::write_unsynced`].
    ///
    /// # Errors
    /// As [`Log::write_unsynced`].
    pub fn write_unsynced(&mut self) -> Result<(), LogError> {
        self.log.write_unsynced()
    }

    /// Another start of the node, or of its intake: its number, durable, above all earlier ones in this log.
    ///
    /// # Errors
    /// If it cannot be made durable.
    pub fn new_start(&mut self) -> Result<u64, LogError> {
        self.last_start += 1;
        self.append(&LogRecord::Start(self.last_start).encode())?;
        self.commit()?;
        Ok(self.last_start)
    }

    /// The number of the last start.
    #[must_use]
    pub const fn last_start(&self) -> u64 {
        self.last_start
    }

    /// Numbers of starts go on above this one: that of a log that was set aside.
    pub fn continue_starts(&mut self, last_start: u64) {
        self.last_start = self.last_start.max(last_start);
    }

    /// Everything up to this height is durable in the derived state and covered by a stable checkpoint: drops segments
    /// that nothing needs any more, and returns how many bytes that freed.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn collect(&mut self, covered: Height) -> Result<u64, LogError> {
        for (position, need) in self.segments.take_uncarried(covered) {
            let (kind, payload) = self.log.read(position)?;
            self.append(&Encoded { kind, payload, need, bundles: Vec::new() })?;
        }
        self.append(&LogRecord::Start(self.last_start).encode())?;
        let Some((oldest, keep)) = self.segments.keep_from(covered) else { return Ok(0) };
        if oldest > self.kept_from {
            // Before it drops them: the loss of the file that is the oldest then would look like nothing.
            self.append(&LogRecord::KeptFrom(oldest).encode())?;
            self.kept_from = oldest;
        }
        self.log.commit()?;
        self.log.drop_segments_before(keep)
    }

    /// The log, to look at.
    #[must_use]
    pub const fn log(&self) -> &Log<D> {
        &self.log
    }

    /// The log's disk, for a simulator that plants faults in it.
    pub const fn disk_mut(&mut self) -> &mut D {
        self.log.disk_mut()
    }

    /// Closes the log. What was appended and not written is forgotten, like in a crash.
    #[must_use]
    pub fn into_disk(self) -> D {
        self.log.into_disk()
    }
}

#[cfg(test)]
mod tests {
    use dtvn_messages::{
        Action, Bundle, BundleBody, Epoch, IdempotencyKey, Operation, Signature, TicketId, ValidatorIndex,
    };

    use super::*;
    use crate::log::{Damage, MemoryDisk};
    use crate::record::Need;

    const IDENTITY: LogIdentity = LogIdentity([7; 32]);
    const LIMITS: LogLimits = LogLimits { segment_bytes: 64 * 1024, batch_bytes_max: 16 * 1024 };

    fn chain() -> ChainId {
        ChainId::new("test").unwrap()
    }

    #[test]
    fn each_start_has_a_higher_number_than_all_before_it() {
        let mut book = LogBook::create(MemoryDisk::new(), IDENTITY, LIMITS).unwrap();
        assert_eq!(book.new_start().unwrap(), 1);
        assert_eq!(book.new_start().unwrap(), 2);
        let mut disk = book.into_disk();
        disk.crash(|_| 0);
        let (mut book, records, _) = LogBook::open(disk, IDENTITY, LIMITS, &chain()).unwrap();
        assert_eq!(records, [LogRecord::Start(1), LogRecord::Start(2)]);
        assert_eq!(book.new_start().unwrap(), 3);
    }

    #[test]
    fn what_holds_for_the_view_outlives_its_segment_whatever_was_synced() {
        let mut book = LogBook::create(MemoryDisk::new(), IDENTITY, LIMITS).unwrap();
        let view_change = Encoded { kind: 5, payload: vec![7; 100], need: Need::Latest, bundles: Vec::new() };
        book.append(&view_change).unwrap();
        let mut height = 0;
        while book.log().segments().count() < 3 {
            height += 1;
            let need = Need::Height(Height(height), Vec::new());
            book.append(&Encoded { kind: 3, payload: vec![1; 9_000], need, bundles: Vec::new() }).unwrap();
            book.commit().unwrap();
        }
        assert!(book.collect(Height(height)).unwrap() > 0);
        let mut disk = book.into_disk();
        disk.crash(|_| 0);
        let mut found = Vec::new();
        let visit = |_, kind, payload: &[u8]| {
            found.push((kind, payload.to_vec()));
            Ok::<(), LogError>(())
        };
        Log::open(disk, IDENTITY, LIMITS, visit).unwrap();
        assert!(found.contains(&(5, view_change.payload)));
    }

    /// A book of several segments, of which so many are dropped.
    fn dropped(segments: usize) -> LogBook<MemoryDisk> {
        let mut book = LogBook::create(MemoryDisk::new(), IDENTITY, LIMITS).unwrap();
        let mut height = 0;
        for covered in 0..=segments {
            while book.log().segments().count() < 4 {
                height += 1;
                let need = Need::Height(Height(height), Vec::new());
                let kind = LogRecord::Start(0).encode().kind;
                let payload = height.to_be_bytes().to_vec();
                for _ in 0..100 {
                    book.append(&Encoded { kind, payload: payload.clone(), need: need.clone(), bundles: Vec::new() })
                        .unwrap();
                }
                book.commit().unwrap();
            }
            if covered < segments {
                assert!(book.collect(Height(height)).unwrap() > 0);
            }
        }
        book
    }

    #[test]
    fn the_loss_of_the_oldest_segment_is_noticed_however_many_were_dropped_before() {
        for segments in 0..4 {
            let book = dropped(segments);
            let kept: Vec<SegmentNumber> = book.log().segments().map(|summary| summary.segment).collect();
            assert!(kept.len() > 2 && (kept[0] > SegmentNumber::FIRST) == (segments > 0), "{kept:?}");
            let disk = book.into_disk();
            assert!(LogBook::open(disk.clone(), IDENTITY, LIMITS, &chain()).is_ok());
            for lost in 1..kept.len() - 1 {
                let mut disk = disk.clone();
                for segment in &kept[..lost] {
                    assert!(disk.lose(&format!("{:0>16}.segment", segment.0)));
                }
                let error = LogBook::open(disk, IDENTITY, LIMITS, &chain()).map(drop).unwrap_err().error;
                // Which one is told by what is left.
                assert!(matches!(error, LogError::MissingSegment { segment } if segment <= kept[0]), "{error}");
                assert!(error.is_damage());
            }
        }
    }

    #[test]
    fn a_drop_that_a_crash_cut_off_is_no_loss() {
        let book = dropped(1);
        let kept_from = book.kept_from;
        let mut book = book;
        book.append(&LogRecord::KeptFrom(SegmentNumber(kept_from.0 + 1)).encode()).unwrap();
        book.commit().unwrap();
        let (book, ..) = LogBook::open(book.into_disk(), IDENTITY, LIMITS, &chain()).unwrap();
        assert_eq!(book.kept_from, SegmentNumber(kept_from.0 + 1), "what is to be dropped may still be there");
    }

    #[test]
    fn a_record_is_written_after_the_bundles_that_it_names_and_the_log_does_not_hold() {
        let bundle = |number: u64| {
            let key = IdempotencyKey::new("a key of sixteen and more").unwrap();
            let validate = Action::Validate { ticket: TicketId::new("T1").unwrap(), data: None };
            let operations = vec![Operation::new(key, validate)];
            let body = BundleBody { epoch: Epoch(0), origin: ValidatorIndex(0), start: 1, number, operations };
            Bundle::assemble(body, Signature([0; 64]), &chain())
        };
        let (held, missing) = (bundle(0), bundle(1));
        let naming = |height: u64| {
            let need = Need::Height(Height(height), vec![held.digest, missing.digest]);
            let bundles = vec![Arc::clone(&held), Arc::clone(&missing)];
            Encoded { bundles, need, ..LogRecord::Start(height).encode() }
        };
        let mut book = LogBook::create(MemoryDisk::new(), IDENTITY, LIMITS).unwrap();
        book.append(&LogRecord::Bundle(Arc::clone(&held)).encode()).unwrap();
        book.append(&naming(1)).unwrap();
        book.append(&naming(2)).unwrap();
        book.commit().unwrap();
        let mut disk = book.into_disk();
        disk.crash(|_| 0);
        let (_, records, _) = LogBook::open(disk, IDENTITY, LIMITS, &chain()).unwrap();
        let [held, missing] = [held, missing].map(LogRecord::Bundle);
        assert_eq!(records, [held, missing, LogRecord::Start(1), LogRecord::Start(2)]);
    }

    #[test]
    fn only_a_new_node_may_lack_its_log() {
        assert_eq!(Verdict::of(&LogError::NoLog, false, false), Verdict::Create);
        assert_eq!(Verdict::of(&LogError::NoLog, true, false), Verdict::Amnesia);
        assert_eq!(Verdict::of(&LogError::NoLog, false, true), Verdict::Amnesia);
        let damaged = LogError::Damaged { segment: SegmentNumber(1), offset: 0, damage: Damage::Checksum };
        assert_eq!(Verdict::of(&damaged, true, true), Verdict::Amnesia);
        assert_eq!(Verdict::of(&LogError::AlreadyExists, true, true), Verdict::Fail);
    }
}
