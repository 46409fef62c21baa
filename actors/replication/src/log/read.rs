//! Reading single records again, and giving up old segments.

use super::scan::damaged;
use super::sector::{self, CHECK_BYTES, DATA_BYTES, Mark, SECTOR_BYTES, Sector};
use super::segment::{Segment, SegmentSummary, sector_offset};
use super::{Damage, Disk, Log, LogError, RecordNumber, RecordPosition, batch};

impl<D: Disk> Log<D> {
    /// Reads one record, written or still buffered, by the position that [`Log::append`] or [`Log::open`] gave; its
    /// kind and payload. The log keeps no index: callers remember the positions that they may want. What is read from
    /// the disk is checked against the checksums of its sectors.
    ///
    /// # Errors
    /// [`LogError::NoSuchRecord`], damage, or a failure of the disk.
    pub fn read(&mut self, position: RecordPosition) -> Result<(u8, Vec<u8>), LogError> {
        let missing = LogError::NoSuchRecord { number: position.number };
        let within = position.offset as usize % SECTOR_BYTES;
        let payload_start = within + batch::RECORD_HEADER_BYTES;
        let payload_end = payload_start + position.payload_bytes as usize;
        let sectors = if position.number > self.written {
            self.buffered_sectors(position, payload_end)
        } else {
            self.written_sectors(position, payload_end)?
        };
        let mut data = sectors.ok_or_else(|| missing.clone())?;
        strip_checks(&mut data);
        match data.get(within..).and_then(batch::record) {
            Some((kind, payload)) if payload.len() == position.payload_bytes as usize => {
                data.truncate(payload_end);
                data.drain(..payload_start);
                Ok((kind, data))
            }
            _ => Err(missing),
        }
    }

    /// From the sector of a record on, what the batch at hand holds.
    fn buffered_sectors(&self, position: RecordPosition, data_bytes: usize) -> Option<Vec<u8>> {
        let start = sector_start(position.offset).checked_sub(sector_offset(self.active.used) as usize)?;
        let bytes = self.batch.bytes().get(start..)?;
        let needed = bytes.len().min(sector::count(data_bytes) * SECTOR_BYTES);
        (position.segment == self.active.number).then(|| bytes[..needed].to_vec())
    }

    /// The sectors of a record, read and checked.
    fn written_sectors(&mut self, position: RecordPosition, data_bytes: usize) -> Result<Option<Vec<u8>>, LogError> {
        let mut segments = self.finished.iter().chain([&self.active]);
        let holds = |segment: &&Segment| {
            segment.number == position.segment && (segment.first..=segment.last).contains(&position.number)
        };
        let Some(segment) = segments.find(holds) else { return Ok(None) };
        let (first, count) = (position.offset / SECTOR_BYTES as u32, sector::count(data_bytes));
        if first == 0 || first as usize + count > segment.used as usize {
            return Ok(None);
        }
        let mut bytes = vec![0; count * SECTOR_BYTES];
        self.disk.read_at(&segment.name, sector_offset(first), &mut bytes)?;
        for (index, sector) in (first..).zip(bytes.chunks_exact(SECTOR_BYTES)) {
            let Sector::Written(Mark::First | Mark::Next, _) = sector::judge(sector, segment.number, index) else {
                return Err(damaged(segment.number, index, Damage::Checksum));
            };
        }
        Ok(Some(bytes))
    }

    /// What each segment holds, oldest first.
    pub fn segments(&self) -> impl Iterator<Item = SegmentSummary> + '_ {
        self.finished.iter().chain([&self.active]).map(Segment::summary)
    }

    /// Drops whole segments, oldest first, all of whose records are below `keep`; how many bytes of disk that freed.
    /// The segment that is written to stays. What is dropped is gone for good when this returns.
    ///
    /// # Errors
    /// If the disk fails: the log is poisoned.
    pub fn drop_segments_before(&mut self, keep: RecordNumber) -> Result<u64, LogError> {
        self.check_usable()?;
        let mut freed_bytes = 0;
        while let Some(oldest) = self.finished.front()
            && oldest.last < keep
        {
            let bytes = oldest.summary().file_bytes;
            // One by one: were the directory to keep only the later removal, a segment would be missing in the middle.
            let removed = self.disk.remove(&oldest.name).and_then(|()| self.disk.sync_directory());
            removed.map_err(|error| self.poisoned_by(error))?;
            self.finished.pop_front();
            freed_bytes += bytes;
        }
        Ok(freed_bytes)
    }

    /// The disk, to look at.
    #[must_use]
    pub const fn disk(&self) -> &D {
        &self.disk
    }

    /// The disk, for a simulator that plants faults in it. Whoever writes to it damages the log.
    pub const fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// Closes the log. What is buffered is forgotten, like in a crash.
    #[must_use]
    pub fn into_disk(self) -> D {
        self.disk
    }
}

/// Where the sector starts that holds a byte of a file.
const fn sector_start(offset: u32) -> usize {
    offset as usize / SECTOR_BYTES * SECTOR_BYTES
}

/// Removes checksum and mark from between the data of consecutive sectors.
fn strip_checks(bytes: &mut Vec<u8>) {
    let mut kept = 0;
    let mut start = 0;
    while start < bytes.len() {
        let end = bytes.len().min(start + DATA_BYTES);
        bytes.copy_within(start..end, kept);
        kept += end - start;
        start = end + CHECK_BYTES;
    }
    bytes.truncate(kept);
}
