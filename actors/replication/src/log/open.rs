//! Making a log, and opening one after a stop or a crash: scan, then repair.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use super::batch::Batch;
use super::scan::{self, Progress, Scan};
use super::sector::SECTOR_BYTES;
use super::segment::{self, Segment, SegmentHeader, sector_offset};
use super::{Disk, DiskError, Log, LogError, LogIdentity, LogLimits, RecordNumber, RecordPosition, SegmentNumber};

/// How many zeros are written at a time over a torn tail.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What was found when a log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// How many records were handed out.
    pub records: u64,
    /// The first record that the log still holds, or would hold.
    pub first: RecordNumber,
    /// The last record; the one before `first` if there is none. It is durable.
    pub last: RecordNumber,
    /// Where the last record is.
    pub last_position: Option<RecordPosition>,
    /// How many bytes of an incomplete batch (and of what was written after it, unsynced) were cut off.
    pub cut_bytes: Option<u64>,
}

/// A log that could not be opened or made, and its disk.
#[derive(Debug)]
pub struct Unopened<D> {
    /// Why.
    pub error: LogError,
    /// The disk, as it is now.
    pub disk: D,
}

impl<D> From<Unopened<D>> for LogError {
    fn from(unopened: Unopened<D>) -> Self {
        unopened.error
    }
}

impl<D> fmt::Display for Unopened<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

impl<D: fmt::Debug> std::error::Error for Unopened<D> {}

impl<D: Disk> Log<D> {
    /// Makes a new, empty log. The rest of a creation that was cut off is removed first.
    ///
    /// # Errors
    /// [`LogError::AlreadyExists`], [`LogError::Limits`], or if the disk fails.
    pub fn create(mut disk: D, identity: LogIdentity, limits: LogLimits) -> Result<Self, Unopened<D>> {
        let header = SegmentHeader {
            identity,
            number: SegmentNumber::FIRST,
            file_bytes: u64::from(limits.segment_bytes),
            first: RecordNumber(1),
            previous: [0; 32],
        };
        let made = limits.check().and_then(|()| clear_unfinished(&mut disk)).and_then(|()| {
            make_segment(&mut disk, &header)?;
            Ok(())
        });
        match made {
            Ok(()) => {
                let progress = Progress { chain: header.chain(), ..Progress::new() };
                let active = Segment::unused(&header);
                let scan = Scan { finished: VecDeque::new(), active, progress, unused: None };
                Ok(Self::assemble(disk, identity, limits, scan))
            }
            Err(error) => Err(Unopened { error, disk }),
        }
    }

    /// Opens a log: checks all of it, hands each record in order to `visit`, cuts off a torn tail, and makes durable
    /// what remains. Holds no more than one batch in memory. Act on what `visit` saw only once this has succeeded.
    ///
    /// # Errors
    /// [`LogError::NoLog`]; damage ([`LogError::is_damage`]); a foreign log or format; limits; a record that `visit`
    /// refuses; a failure of the disk. Except in the last case the disk is as it was.
    pub fn open<E: fmt::Display>(
        mut disk: D,
        identity: LogIdentity,
        limits: LogLimits,
        mut visit: impl FnMut(RecordPosition, u8, &[u8]) -> Result<(), E>,
    ) -> Result<(Self, Opened), Unopened<D>> {
        let mut visit = |position: RecordPosition, kind: u8, payload: &[u8]| {
            visit(position, kind, payload).map_err(|refusal| refusal.to_string())
        };
        let scanned = limits.check().and_then(|()| scan::scan(&mut disk, identity, limits, &mut visit));
        let repaired = scanned.and_then(|scan| {
            repair(&mut disk, &scan)?;
            Ok(scan)
        });
        match repaired {
            Ok(scan) => {
                let opened = summary(&scan);
                Ok((Self::assemble(disk, identity, limits, scan), opened))
            }
            Err(error) => Err(Unopened { error, disk }),
        }
    }

    /// Checks a log like [`Log::open`], and changes nothing; what [`Log::open`] would report.
    ///
    /// # Errors
    /// Those of [`Log::open`].
    pub fn verify(disk: &mut D, identity: LogIdentity, limits: LogLimits) -> Result<Opened, LogError> {
        limits.check()?;
        scan::scan(disk, identity, limits, &mut |_, _, _| Ok(())).map(|scan| summary(&scan))
    }

    fn assemble(disk: D, identity: LogIdentity, limits: LogLimits, scan: Scan) -> Self {
        let last = scan.progress.next.previous();
        Self {
            disk,
            identity,
            limits,
            finished: scan.finished,
            active: scan.active,
            chain: scan.progress.chain,
            batch: Batch::new(),
            written: last,
            durable: last,
            leftover: false,
            poison: None,
        }
    }
}

/// Makes a segment with its header, for good.
pub(super) fn make_segment<D: Disk>(disk: &mut D, header: &SegmentHeader) -> Result<(), DiskError> {
    let name = segment::file_name(header.number);
    disk.create(&name, header.file_bytes)?;
    // Length and name first: a header is proof that both are there.
    disk.sync(&name)?;
    disk.sync_directory()?;
    disk.write_at(&name, 0, &header.seal())?;
    disk.sync(&name)
}

fn clear_unfinished<D: Disk>(disk: &mut D) -> Result<(), LogError> {
    match scan::segment_numbers(disk)?.as_slice() {
        [] => Ok(()),
        [SegmentNumber::FIRST] if scan::never_started(disk)? => {
            disk.remove(&segment::file_name(SegmentNumber::FIRST))?;
            Ok(disk.sync_directory()?)
        }
        _ => Err(LogError::AlreadyExists),
    }
}

fn repair<D: Disk>(disk: &mut D, scan: &Scan) -> Result<(), DiskError> {
    if let Some(unused) = scan.unused {
        disk.remove(&segment::file_name(unused))?;
    }
    if let Some(torn) = &scan.progress.torn {
        blank(disk, &scan.active.name, torn)?;
    }
    // What was read may be in the system's memory only: the process may have been killed between a write and its sync.
    for segment in scan.finished.back().into_iter().chain([&scan.active]) {
        disk.sync(&segment.name)?;
    }
    disk.sync_directory()
}

/// Overwrites sectors with zeros. First their marks, for good: a crash in the middle of a sector would otherwise leave
/// zeros in front of a mark, and that is damage.
fn blank<D: Disk>(disk: &mut D, name: &str, sectors: &Range<u32>) -> Result<(), DiskError> {
    for index in sectors.clone() {
        disk.write_at(name, sector_offset(index + 1) - 1, &[0])?;
    }
    disk.sync(name)?;
    let end = sector_offset(sectors.end);
    let mut offset = sector_offset(sectors.start);
    while offset < end {
        let zeros = &ZEROS[..ZEROS.len().min((end - offset) as usize)];
        disk.write_at(name, offset, zeros)?;
        offset += zeros.len() as u64;
    }
    Ok(())
}

fn summary(scan: &Scan) -> Opened {
    let progress = &scan.progress;
    Opened {
        records: progress.records,
        first: scan.finished.front().unwrap_or(&scan.active).first,
        last: progress.next.previous(),
        last_position: progress.last_position,
        cut_bytes: progress.torn.as_ref().map(|torn| u64::from(torn.end - torn.start) * SECTOR_BYTES as u64),
    }
}
