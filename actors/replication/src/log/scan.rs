//! Reads a whole log, checks every byte of it that is in use, and tells a torn tail from damage. Changes nothing. The
//! rules are in the head of [`super`].

use std::collections::VecDeque;
use std::ops::Range;

use super::batch::{self, BatchHeader};
use super::sector::{self, DATA_BYTES, Mark, SECTOR_BYTES, Sector};
use super::segment::{self, Segment, SegmentHeader, sector_offset};
use super::{
    Damage, Disk, DiskError, Hash, LogError, LogIdentity, LogLimits, RecordNumber, RecordPosition, SegmentNumber,
};

/// How much of a file is read at a time.
const WINDOW_BYTES: u64 = 256 * 1024;

/// Takes the records in order; a refusal ends the scan.
pub(super) type Visitor<'v> = dyn FnMut(RecordPosition, u8, &[u8]) -> Result<(), String> + 'v;

/// What a log holds.
pub(super) struct Scan {
    /// Oldest first, without holes.
    pub(super) finished: VecDeque<Segment>,
    /// The last one, which is not finished.
    pub(super) active: Segment,
    pub(super) progress: Progress,
    /// A segment that was prepared and never used.
    pub(super) unused: Option<SegmentNumber>,
}

/// How far a scan has come.
pub(super) struct Progress {
    /// Chain hash after the last batch.
    pub(super) chain: Hash,
    /// The number of the next record.
    pub(super) next: RecordNumber,
    pub(super) records: u64,
    pub(super) last_position: Option<RecordPosition>,
    /// Sectors of the last segment that hold an incomplete batch and what follows it.
    pub(super) torn: Option<Range<u32>>,
}

/// The numbers of all segments in the directory, in order. Other files are none of the log's business.
pub(super) fn segment_numbers<D: Disk>(disk: &mut D) -> Result<Vec<SegmentNumber>, DiskError> {
    let mut numbers: Vec<_> = disk.list()?.iter().filter_map(|name| segment::parse_name(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Scans the whole log.
pub(super) fn scan<D: Disk>(
    disk: &mut D,
    identity: LogIdentity,
    limits: LogLimits,
    visit: &mut Visitor<'_>,
) -> Result<Scan, LogError> {
    let numbers = segment_numbers(disk)?;
    let Some(&first) = numbers.first() else { return Err(LogError::NoLog) };
    if numbers == [SegmentNumber::FIRST] && never_started(disk)? {
        return Err(LogError::NoLog);
    }
    let mut scanner = Scanner { disk, identity, limits, visit, data: Vec::new(), progress: Progress::new() };
    let mut finished = VecDeque::new();
    let mut expected = first;
    for (index, &number) in numbers.iter().enumerate() {
        if number != expected {
            return Err(LogError::MissingSegment { segment: expected });
        }
        let header = scanner.header(number, number == first)?;
        let (segment, is_finished) = scanner.batches(&header)?;
        if !is_finished {
            let unused = scanner.nothing_after(&segment, &numbers[index + 1..])?;
            return Ok(Scan { finished, active: segment, progress: scanner.progress, unused });
        }
        finished.push_back(segment);
        expected = number.next();
    }
    Err(LogError::MissingSegment { segment: expected })
}

/// Whether segment 1 is what remains of a creation that was cut off before its header was durable.
pub(super) fn never_started<D: Disk>(disk: &mut D) -> Result<bool, LogError> {
    let mut reader = SectorReader::new(disk, SegmentNumber::FIRST)?;
    Ok(reader.header_data()?.is_none() && reader.only_header()?)
}

struct Scanner<'s, 'v, D> {
    disk: &'s mut D,
    identity: LogIdentity,
    limits: LogLimits,
    visit: &'s mut Visitor<'v>,
    /// The data of the batch at hand.
    data: Vec<u8>,
    progress: Progress,
}

impl Progress {
    /// At the start of a log.
    pub(super) const fn new() -> Self {
        Self { chain: [0; 32], next: RecordNumber(1), records: 0, last_position: None, torn: None }
    }
}

impl<D: Disk> Scanner<'_, '_, D> {
    /// Reads the header of a segment in use, and checks that it continues the segment before it.
    fn header(&mut self, number: SegmentNumber, is_oldest: bool) -> Result<SegmentHeader, LogError> {
        let mut reader = SectorReader::new(self.disk, number)?;
        let Some(header) = reader.header(self.identity)? else { return Err(damaged(number, 0, Damage::NoHeader)) };
        if header.file_bytes != reader.length {
            let damage = Damage::Length { expected: header.file_bytes, found: reader.length };
            return Err(damaged(number, reader.sectors(), damage));
        }
        if is_oldest && number > SegmentNumber::FIRST {
            self.progress.next = header.first;
        } else if header.previous != self.progress.chain || header.first != self.progress.next {
            return Err(damaged(number, 0, Damage::Chain));
        }
        self.progress.chain = header.chain();
        Ok(header)
    }

    /// Scans the batches of a segment; whether it is finished.
    fn batches(&mut self, header: &SegmentHeader) -> Result<(Segment, bool), LogError> {
        let mut segment = Segment::unused(header);
        let mut walk = Walk {
            reader: SectorReader::new(self.disk, header.number)?,
            limits: self.limits,
            data: &mut self.data,
            visit: &mut *self.visit,
            progress: &mut self.progress,
        };
        loop {
            match walk.batch(&mut segment)? {
                Some(header) if header.finishes_segment => return Ok((segment, true)),
                Some(_) => (),
                None => {
                    walk.tail(segment.used)?;
                    return Ok((segment, false));
                }
            }
        }
    }

    /// After a segment that is not finished there may be one that was prepared for use, and no more.
    fn nothing_after(&mut self, segment: &Segment, later: &[SegmentNumber]) -> Result<Option<SegmentNumber>, LogError> {
        let Some((&prepared, more)) = later.split_first() else { return Ok(None) };
        let lost = damaged(segment.number, segment.used, Damage::Lost { next: self.progress.next });
        if prepared != segment.number.next() || !more.is_empty() {
            return Err(lost);
        }
        let mut reader = SectorReader::new(self.disk, prepared)?;
        reader.header(self.identity)?;
        if reader.only_header()? { Ok(Some(prepared)) } else { Err(lost) }
    }
}

/// A walk through the batches of one segment.
struct Walk<'w, 'v, D> {
    reader: SectorReader<'w, D>,
    limits: LogLimits,
    data: &'w mut Vec<u8>,
    visit: &'w mut Visitor<'v>,
    progress: &'w mut Progress,
}

impl<D: Disk> Walk<'_, '_, D> {
    /// Checks the next batch, then hands out its records. `None` where no complete batch is.
    fn batch(&mut self, segment: &mut Segment) -> Result<Option<BatchHeader>, LogError> {
        let start = segment.used;
        let Some((header, sectors)) = self.gather(start, segment.sectors)? else { return Ok(None) };
        let at_start = |damage| damaged(segment.number, start, damage);
        if header.first != self.progress.next {
            return Err(at_start(Damage::Malformed("a batch does not continue the numbers of the one before it")));
        }
        self.progress.chain = header.verify(self.data, &self.progress.chain).map_err(at_start)?;
        for record in batch::records(&header, self.data) {
            let record = record.map_err(at_start)?;
            let number = self.progress.next;
            let position = position(segment.number, start, record.offset, number, record.payload.len());
            (self.visit)(position, record.kind, record.payload)
                .map_err(|reason| LogError::Refused { number, reason })?;
            self.progress.next = number.next();
            self.progress.records += 1;
            self.progress.last_position = Some(position);
        }
        segment.used = start + sectors;
        segment.last = self.progress.next.previous();
        Ok(Some(header))
    }

    /// Reads the data of the batch at `start` and the number of its sectors. `None` if it is not all written.
    fn gather(&mut self, start: u32, end: u32) -> Result<Option<(BatchHeader, u32)>, LogError> {
        let number = self.reader.number;
        if start >= end {
            return Err(damaged(number, end, Damage::Malformed("a full segment is not finished")));
        }
        let header = match self.reader.judge(start)? {
            Sector::Blank | Sector::Partial => return Ok(None),
            Sector::Damaged => return Err(damaged(number, start, Damage::Checksum)),
            Sector::Written(Mark::First, data) => {
                self.data.clear();
                self.data.extend_from_slice(data);
                BatchHeader::decode(data).map_err(|damage| damaged(number, start, damage))?
            }
            Sector::Written(..) => {
                return Err(damaged(number, start, Damage::Malformed("no batch starts where one should")));
            }
        };
        if header.length > self.limits.batch_bytes_max {
            let limit = self.limits.batch_bytes_max;
            return Err(LogError::BatchTooLarge { segment: number, found: header.length, limit });
        }
        let sectors = header.length.div_ceil(DATA_BYTES as u32);
        if sectors > end - start {
            return Err(damaged(number, start, Damage::Malformed("a batch is longer than its segment")));
        }
        for index in start + 1..start + sectors {
            match self.reader.judge(index)? {
                Sector::Written(Mark::Next, data) => self.data.extend_from_slice(data),
                Sector::Blank | Sector::Partial => return Ok(None),
                Sector::Damaged => return Err(damaged(number, index, Damage::Checksum)),
                Sector::Written(..) => {
                    return Err(damaged(number, index, Damage::Malformed("a batch starts within another")));
                }
            }
        }
        self.data.truncate(header.length as usize);
        Ok(Some((header, sectors)))
    }

    /// Judges what follows the last complete batch: torn, unless something there says that it was durable once.
    fn tail(&mut self, start: u32) -> Result<(), LogError> {
        let (number, next) = (self.reader.number, self.progress.next);
        for index in start..self.reader.sectors() {
            match self.reader.judge(index)? {
                Sector::Blank => continue,
                Sector::Partial | Sector::Written(Mark::Next, _) => (),
                Sector::Written(Mark::First, data) => {
                    let header = BatchHeader::decode(data).map_err(|damage| damaged(number, index, damage))?;
                    if header.durable >= next {
                        return Err(damaged(number, start, Damage::Lost { next }));
                    }
                }
                Sector::Written(Mark::Header, _) => {
                    return Err(damaged(number, index, Damage::Malformed("a header is among the batches")));
                }
                Sector::Damaged => return Err(damaged(number, index, Damage::Checksum)),
            }
            self.progress.torn = Some(start..index + 1);
        }
        Ok(())
    }
}

/// Where a record is that starts `offset` bytes of data into the batch at sector `start`.
fn position(
    segment: SegmentNumber,
    start: u32,
    offset: usize,
    number: RecordNumber,
    payload_bytes: usize,
) -> RecordPosition {
    let offset = start as usize * SECTOR_BYTES + sector::physical(offset);
    RecordPosition {
        number,
        segment,
        offset: u32::try_from(offset).unwrap_or(u32::MAX),
        payload_bytes: u32::try_from(payload_bytes).unwrap_or(u32::MAX),
    }
}

/// Damage at a sector of a segment.
pub(super) const fn damaged(segment: SegmentNumber, sector: u32, damage: Damage) -> LogError {
    LogError::Damaged { segment, offset: sector_offset(sector), damage }
}

/// Reads the sectors of one file, mostly in order, through a window.
struct SectorReader<'d, D> {
    disk: &'d mut D,
    name: String,
    number: SegmentNumber,
    /// Length of the file.
    length: u64,
    window: Vec<u8>,
    /// The sector that the window starts with.
    start: u32,
}

impl<'d, D: Disk> SectorReader<'d, D> {
    fn new(disk: &'d mut D, number: SegmentNumber) -> Result<Self, DiskError> {
        let name = segment::file_name(number);
        let length = disk.length(&name)?;
        Ok(Self { disk, name, number, length, window: Vec::new(), start: 0 })
    }

    /// Sectors in the file; the last one may be cut short, and is then read as if zeros followed.
    fn sectors(&self) -> u32 {
        u32::try_from(self.length.div_ceil(SECTOR_BYTES as u64)).unwrap_or(u32::MAX)
    }

    fn judge(&mut self, index: u32) -> Result<Sector<'_>, DiskError> {
        let in_window = |reader: &Self| {
            let from = index.checked_sub(reader.start)? as usize * SECTOR_BYTES;
            (from < reader.window.len()).then_some(from..from + SECTOR_BYTES)
        };
        let range = match in_window(self) {
            Some(range) => range,
            None => {
                self.fill(index)?;
                0..SECTOR_BYTES
            }
        };
        Ok(sector::judge(&self.window[range], self.number, index))
    }

    fn fill(&mut self, start: u32) -> Result<(), DiskError> {
        let offset = sector_offset(start);
        let bytes = WINDOW_BYTES.min(self.length.saturating_sub(offset)) as usize;
        self.window.clear();
        self.window.resize(bytes.div_ceil(SECTOR_BYTES).max(1) * SECTOR_BYTES, 0);
        self.start = start;
        self.disk.read_at(&self.name, offset, &mut self.window[..bytes])
    }

    /// The data of the header, if one was written.
    fn header_data(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        let (number, length) = (self.number, self.length);
        let cut_short = length < SECTOR_BYTES as u64;
        match self.judge(0)? {
            // A header is only written once the file's length is kept.
            Sector::Partial if cut_short => {
                Err(damaged(number, 0, Damage::Length { expected: SECTOR_BYTES as u64, found: length }))
            }
            Sector::Blank | Sector::Partial => Ok(None),
            Sector::Written(Mark::Header, data) => Ok(Some(data.to_vec())),
            Sector::Written(..) | Sector::Damaged => Err(damaged(number, 0, Damage::Checksum)),
        }
    }

    /// The header, if one was written.
    fn header(&mut self, identity: LogIdentity) -> Result<Option<SegmentHeader>, LogError> {
        let Some(data) = self.header_data()? else { return Ok(None) };
        let header = SegmentHeader::decode(&data, self.number)?;
        if header.identity != identity {
            return Err(LogError::ForeignIdentity { segment: self.number, found: header.identity, expected: identity });
        }
        Ok(Some(header))
    }

    /// Whether nothing was written behind the header.
    fn only_header(&mut self) -> Result<bool, DiskError> {
        for index in 1..self.sectors() {
            if self.judge(index)? != Sector::Blank {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
