//! Writing: append, commit, and the step from one segment to the next.

use super::batch::Place;
use super::sector::{self, SECTOR_BYTES};
use super::segment::{self, Segment, SegmentHeader, sector_offset};
use super::{Disk, DiskError, Hash, Log, LogError, RecordNumber, RecordPosition, open};

impl<D: Disk> Log<D> {
    /// Buffers a record; where it will be. Nothing is durable before [`Log::commit`] says so. If the batch at hand is
    /// full, it is written first (without a sync, or with one if that ends the segment).
    ///
    /// # Errors
    /// [`LogError::RecordTooLarge`]. [`LogError::Disk`] with [`LogError::is_disk_full`]: the record is not taken, and
    /// the log goes on as before. Any other failure of the disk poisons the log.
    pub fn append(&mut self, kind: u8, payload: &[u8]) -> Result<RecordPosition, LogError> {
        self.check_usable()?;
        let limit = self.limits.payload_bytes_max();
        if payload.len() > limit {
            return Err(LogError::RecordTooLarge { found: payload.len(), limit });
        }
        if self.batch.length_with(payload.len()) > self.limits.batch_bytes_max as usize {
            self.write_unsynced()?;
        }
        // The last sector is held back, so that there is always room to finish the segment.
        let end = self.active.used as usize + sector::count(self.batch.length_with(payload.len()));
        if end >= self.active.sectors as usize {
            self.finish_segment()?;
        }
        let number = self.written.plus(u64::from(self.batch.count())).next();
        let offset = sector_offset(self.active.used) + self.batch.push(kind, payload) as u64;
        Ok(RecordPosition {
            number,
            segment: self.active.number,
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
            payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
        })
    }

    /// Makes all records durable that were appended, with one write and one sync; the last durable record. Does
    /// nothing where nothing is to be done.
    ///
    /// # Errors
    /// If the disk fails: the log is poisoned, and what was appended since the last commit may or may not be found
    /// when it is opened again.
    pub fn commit(&mut self) -> Result<RecordNumber, LogError> {
        self.write_unsynced()?;
        if self.durable < self.written {
            self.sync()?;
        }
        Ok(self.durable)
    }

    /// Writes what is buffered without a sync, for data that nobody waits for: a crash of the process does not lose
    /// it, a crash of the machine may, until the next [`Log::commit`].
    ///
    /// # Errors
    /// If the disk fails: the log is poisoned.
    pub fn write_unsynced(&mut self) -> Result<(), LogError> {
        self.check_usable()?;
        if self.batch.count() > 0 {
            let chain = self.seal(false);
            self.write_sealed(chain)?;
        }
        Ok(())
    }

    /// The last record that is durable; 0 if none is.
    #[must_use]
    pub const fn durable(&self) -> RecordNumber {
        self.durable
    }

    /// Writes what is buffered as the last batch of its segment, and starts the next one.
    fn finish_segment(&mut self) -> Result<(), LogError> {
        let chain = self.seal(true);
        let header = SegmentHeader {
            identity: self.identity,
            number: self.active.number.next(),
            file_bytes: u64::from(self.limits.segment_bytes),
            first: self.written.plus(u64::from(self.batch.count())).next(),
            previous: chain,
        };
        // Before the last batch is written: it says that the next segment exists.
        if let Err(error) = self.prepare(&header) {
            self.batch.unseal();
            return Err(match error {
                DiskError::NoSpace { .. } => error.into(),
                _ => self.poisoned_by(error),
            });
        }
        self.write_sealed(chain)?;
        self.sync()?;
        self.chain = header.chain();
        self.finished.push_back(std::mem::replace(&mut self.active, Segment::unused(&header)));
        Ok(())
    }

    /// Makes the next segment, after removing what an earlier attempt left.
    fn prepare(&mut self, header: &SegmentHeader) -> Result<(), DiskError> {
        if self.leftover {
            match self.disk.remove(&segment::file_name(header.number)) {
                Ok(()) => self.disk.sync_directory()?,
                Err(DiskError::NotFound { .. }) => (),
                Err(error) => return Err(error),
            }
        }
        self.leftover = true;
        open::make_segment(&mut self.disk, header)?;
        self.leftover = false;
        Ok(())
    }

    fn seal(&mut self, finishes_segment: bool) -> Hash {
        let place = Place {
            segment: self.active.number,
            sector: self.active.used,
            previous: self.chain,
            first: self.written.next(),
            durable: self.durable,
            finishes_segment,
        };
        self.batch.seal(&place)
    }

    fn write_sealed(&mut self, chain: Hash) -> Result<(), LogError> {
        let bytes = self.batch.bytes();
        let sectors = u32::try_from(bytes.len() / SECTOR_BYTES).unwrap_or(u32::MAX);
        let written = self.disk.write_at(&self.active.name, sector_offset(self.active.used), bytes);
        written.map_err(|error| self.poisoned_by(error))?;
        self.written = self.written.plus(u64::from(self.batch.count()));
        self.chain = chain;
        self.active.used += sectors;
        self.active.last = self.written;
        self.batch.clear();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.disk.sync(&self.active.name).map_err(|error| self.poisoned_by(error))?;
        self.durable = self.written;
        Ok(())
    }

    pub(super) fn check_usable(&self) -> Result<(), LogError> {
        match &self.poison {
            None => Ok(()),
            Some(reason) => Err(LogError::Poisoned { reason: reason.clone() }),
        }
    }

    /// Remembers a failure: what is on the disk is no longer known.
    pub(super) fn poisoned_by(&mut self, error: DiskError) -> LogError {
        self.poison = Some(error.to_string());
        error.into()
    }
}
