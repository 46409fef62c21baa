//! A disk in memory, for tests and for the simulator: it keeps apart what programs see and what a crash would leave,
//! and takes faults on command. It is deterministic: all chance is in what the caller passes to [`MemoryDisk::crash`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::sector::SECTOR_BYTES;
use super::{Disk, DiskError};

/// A disk in memory. Between two processes call [`MemoryDisk::restart`], or [`MemoryDisk::crash`] if the machine lost
/// its power.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    files: BTreeMap<u64, File>,
    /// The directory as programs see it.
    names: BTreeMap<String, u64>,
    /// The directory as a crash would leave it.
    kept_names: BTreeMap<String, u64>,
    next_file: u64,
    free_bytes: Option<u64>,
    failing_syncs: u32,
    operations_left: Option<u64>,
    is_read_only: bool,
    struck: Struck,
    writes: u64,
    syncs: u64,
}

/// How often what was planned to fail has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Struck {
    /// New files for which there was no space.
    pub no_space: u64,
    /// Changes of a disk that could only be read.
    pub read_only: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Crashes that took something.
    pub lossy_crashes: u64,
}

/// Contents are stored up to the last byte that is not a zero for sure; the rest of `length` is zeros.
#[derive(Debug, Clone, Default)]
struct File {
    seen: Vec<u8>,
    kept: Vec<u8>,
    length: u64,
    kept_length: u64,
    /// Sectors that were written since the last sync.
    unsynced: BTreeSet<u64>,
}

/// Something not yet synced, of which a crash may keep any part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced<'a> {
    /// A file was made. 0: it never was; else it is there.
    Creation {
        /// Its name.
        name: &'a str,
    },
    /// A file was removed. 0: it is still there; else it is gone.
    Removal {
        /// Its name.
        name: &'a str,
    },
    /// A file grew from nothing to `bytes`. What is kept of it is its length.
    Growth {
        /// Its name.
        name: &'a str,
        /// Its new length.
        bytes: u64,
    },
    /// A sector was written. 0: it is as it was; 512: it is new; in between: its first bytes are new.
    Sector {
        /// The name of its file.
        name: &'a str,
        /// Where in the file it starts.
        offset: u64,
    },
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The machine loses its power: of each thing not yet synced, that much is kept as `keep` says (see [`Unsynced`];
    /// more than there is means all). Asked in a fixed order. Afterwards the power is on, and no failure is pending.
    pub fn crash(&mut self, mut keep: impl FnMut(Unsynced<'_>) -> u64) {
        let names: BTreeSet<String> = self.names.keys().chain(self.kept_names.keys()).cloned().collect();
        let mut is_lossy = false;
        for name in &names {
            match (self.names.get(name), self.kept_names.get(name)) {
                (seen, kept) if seen == kept => (),
                (Some(&seen), _) if keep(Unsynced::Creation { name }) > 0 => {
                    self.kept_names.insert(name.clone(), seen);
                }
                (None, Some(_)) if keep(Unsynced::Removal { name }) > 0 => {
                    self.kept_names.remove(name);
                }
                _ => is_lossy = true,
            }
        }
        self.names.clone_from(&self.kept_names);
        self.files.retain(|file, _| self.kept_names.values().any(|kept| kept == file));
        for (name, file) in &self.kept_names {
            if let Some(file) = self.files.get_mut(file) {
                is_lossy |= file.crash(name, &mut keep);
            }
        }
        self.struck.lossy_crashes += u64::from(is_lossy);
        self.failing_syncs = 0;
        self.operations_left = None;
    }

    /// The process ends and another one starts: failures that were planned for the first are off. Files are read anew
    /// from the disk, as real ones are when they are opened: what a failed sync did not keep is no longer seen, what is
    /// merely unsynced still is.
    pub fn restart(&mut self) {
        self.failing_syncs = 0;
        self.operations_left = None;
        for file in self.files.values_mut() {
            let mut seen = file.kept.clone();
            for &sector in &file.unsynced {
                let range = file.sector(sector);
                if let Some(bytes) = file.seen.get(range.clone()) {
                    put(&mut seen, range.start as u64, bytes);
                }
            }
            file.seen = seen;
        }
    }

    /// The next sync of a file fails, and loses what it should have kept; those after it succeed again.
    pub const fn fail_next_sync(&mut self) {
        self.failing_syncs += 1;
    }

    /// New files may take that many bytes more; then the disk is full. Removing a file gives its bytes back.
    pub const fn no_space_after(&mut self, bytes: u64) {
        self.free_bytes = Some(bytes);
    }

    /// The disk is never full again.
    pub const fn unlimited_space(&mut self) {
        self.free_bytes = None;
    }

    /// Nothing can be changed any more.
    pub const fn make_read_only(&mut self) {
        self.is_read_only = true;
    }

    /// The disk works again: what was planned to fail does not, there is space, and everything can be changed. What was
    /// lost is lost.
    pub const fn mend(&mut self) {
        self.failing_syncs = 0;
        self.free_bytes = None;
        self.is_read_only = false;
    }

    /// What has failed since this was last asked.
    pub fn take_struck(&mut self) -> Struck {
        std::mem::take(&mut self.struck)
    }

    /// Whether there is anything that a crash may take.
    #[must_use]
    pub fn is_unsynced(&self) -> bool {
        self.names != self.kept_names || self.files.values().any(File::is_unsynced)
    }

    /// The power fails after so many more changes (creations, writes, syncs, removals). The one at which it fails
    /// may, like all that is unsynced, be kept or lost in [`MemoryDisk::crash`]; it and all later ones are errors.
    pub const fn fail_power_after(&mut self, changes: u64) {
        self.operations_left = Some(changes);
    }

    /// Turns one bit, counted from the file's first byte and in it from the lowest bit. False if there is none.
    pub fn flip_bit(&mut self, name: &str, bit: u64) -> bool {
        let Ok(file) = self.file(name) else { return false };
        let byte = file.seen.get((bit / 8) as usize).copied().unwrap_or(0);
        self.damage(name, bit / 8, &[byte ^ (1 << (bit % 8))])
    }

    /// Puts other bytes in a place, without anybody's knowledge. False if they are not within the file.
    pub fn damage(&mut self, name: &str, offset: u64, bytes: &[u8]) -> bool {
        let Some(file) = self.file_mut(name) else { return false };
        if offset + bytes.len() as u64 > file.length {
            return false;
        }
        put(&mut file.seen, offset, bytes);
        put(&mut file.kept, offset, bytes);
        true
    }

    /// Shortens a file, without anybody's knowledge. False if there is none, or it is shorter.
    pub fn truncate(&mut self, name: &str, length: u64) -> bool {
        let Some(file) = self.file_mut(name).filter(|file| file.length >= length) else { return false };
        (file.length, file.kept_length) = (length, file.kept_length.min(length));
        file.seen.truncate(length as usize);
        file.kept.truncate(length as usize);
        file.unsynced.retain(|sector| sector * (SECTOR_BYTES as u64) < length);
        true
    }

    /// Loses a file, without anybody's knowledge. False if there is none.
    pub fn lose(&mut self, name: &str) -> bool {
        self.kept_names.remove(name);
        self.names.remove(name).is_some()
    }

    /// A file's contents as programs see them; nothing if there is no such file.
    #[must_use]
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let Some(file) = self.names.get(name).and_then(|file| self.files.get(file)) else { return Vec::new() };
        let mut contents = file.seen.clone();
        contents.resize(file.length as usize, 0);
        contents
    }

    /// How many writes were done so far.
    #[must_use]
    pub const fn writes(&self) -> u64 {
        self.writes
    }

    /// How many syncs were done so far, of files and of the directory.
    #[must_use]
    pub const fn syncs(&self) -> u64 {
        self.syncs
    }

    fn file(&self, name: &str) -> Result<&File, DiskError> {
        let file = self.names.get(name).and_then(|file| self.files.get(file));
        file.ok_or_else(|| DiskError::NotFound { name: name.to_owned() })
    }

    fn file_mut(&mut self, name: &str) -> Option<&mut File> {
        self.files.get_mut(self.names.get(name)?)
    }

    fn check_writable(&mut self, operation: &'static str, name: &str) -> Result<(), DiskError> {
        self.struck.read_only += u64::from(self.is_read_only);
        if self.is_read_only { Err(failure(operation, name, "read-only file system")) } else { Ok(()) }
    }

    /// Whether the change at hand happens, and whether it is reported as done.
    fn spend(&mut self) -> (bool, bool) {
        match &mut self.operations_left {
            None => (true, true),
            Some(0) => (false, false),
            Some(left) => {
                *left -= 1;
                (true, *left > 0)
            }
        }
    }
}

impl File {
    fn is_unsynced(&self) -> bool {
        !self.unsynced.is_empty() || self.kept_length < self.length
    }

    /// Says whether anything was lost.
    fn crash(&mut self, name: &str, keep: &mut impl FnMut(Unsynced<'_>) -> u64) -> bool {
        if self.kept_length < self.length {
            let kept = keep(Unsynced::Growth { name, bytes: self.length });
            self.kept_length = kept.clamp(self.kept_length, self.length);
        }
        for sector in std::mem::take(&mut self.unsynced) {
            let range = self.sector(sector);
            let kept = keep(Unsynced::Sector { name, offset: range.start as u64 });
            let end = range.end.min(range.start.saturating_add(kept as usize)).min(self.kept_length as usize);
            self.keep(range.start..end);
        }
        let is_lossy = self.length != self.kept_length || written(&self.seen) != written(&self.kept);
        self.length = self.kept_length;
        self.seen.clone_from(&self.kept);
        is_lossy
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.unsynced) {
            self.keep(self.sector(sector));
        }
        self.kept_length = self.length;
    }

    /// The bytes of a sector that the file stores.
    fn sector(&self, sector: u64) -> Range<usize> {
        let start = sector as usize * SECTOR_BYTES;
        start..(start + SECTOR_BYTES).min(self.seen.len())
    }

    fn keep(&mut self, range: Range<usize>) {
        if let Some(bytes) = self.seen.get(range.clone()) {
            put(&mut self.kept, range.start as u64, bytes);
        }
    }
}

/// Contents up to the last byte that is not a zero.
fn written(contents: &[u8]) -> &[u8] {
    let end = contents.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &contents[..end]
}

fn put(contents: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + bytes.len());
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[start..end].copy_from_slice(bytes);
}

fn failure(operation: &'static str, name: &str, message: &str) -> DiskError {
    DiskError::Io { operation, name: name.to_owned(), message: message.to_owned() }
}

fn no_power(operation: &'static str, name: &str) -> DiskError {
    failure(operation, name, "the power failed")
}

impl Disk for MemoryDisk {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        Ok(self.names.keys().cloned().collect())
    }

    fn length(&mut self, name: &str) -> Result<u64, DiskError> {
        self.file(name).map(|file| file.length)
    }

    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let file = self.file(name)?;
        if offset + buffer.len() as u64 > file.length {
            return Err(failure("read", name, "the file ends before"));
        }
        let stored = file.seen.get(offset as usize..).unwrap_or_default();
        let (front, rest) = buffer.split_at_mut(stored.len().min(buffer.len()));
        front.copy_from_slice(&stored[..front.len()]);
        rest.fill(0);
        Ok(())
    }

    fn create(&mut self, name: &str, length: u64) -> Result<(), DiskError> {
        self.check_writable("create", name)?;
        if self.names.contains_key(name) {
            return Err(DiskError::AlreadyExists { name: name.to_owned() });
        }
        let (happens, reported) = self.spend();
        if happens {
            let file = self.next_file;
            self.next_file += 1;
            self.names.insert(name.to_owned(), file);
            self.files.insert(file, File::default());
            let free = self.free_bytes.unwrap_or(u64::MAX);
            if free < length {
                // Like a real file system, which makes the file before it looks for room.
                self.struck.no_space += 1;
                return Err(DiskError::NoSpace { operation: "create", name: name.to_owned() });
            }
            self.free_bytes = self.free_bytes.map(|free| free - length);
            self.files.insert(file, File { length, ..File::default() });
        }
        if reported { Ok(()) } else { Err(no_power("create", name)) }
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.check_writable("write", name)?;
        let end = offset + bytes.len() as u64;
        if end > self.file(name)?.length {
            return Err(failure("write", name, "the file ends before"));
        }
        let (happens, reported) = self.spend();
        if happens && let Some(file) = self.file_mut(name) {
            put(&mut file.seen, offset, bytes);
            file.unsynced.extend(offset / SECTOR_BYTES as u64..end.div_ceil(SECTOR_BYTES as u64));
            self.writes += 1;
        }
        if reported { Ok(()) } else { Err(no_power("write", name)) }
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        self.file(name)?;
        // A sync at which the power fails is one of which anything may be kept: all is still unsynced.
        if self.spend() != (true, true) {
            return Err(no_power("sync", name));
        }
        let fails = self.failing_syncs > 0;
        self.failing_syncs = self.failing_syncs.saturating_sub(1);
        self.syncs += 1;
        let Some(file) = self.file_mut(name) else { return Ok(()) };
        if fails {
            // Linux marks pages clean that it failed to write: they are seen for a while, and never kept.
            file.unsynced.clear();
            self.struck.failed_syncs += 1;
            return Err(failure("sync", name, "input/output error"));
        }
        file.sync();
        Ok(())
    }

    fn sync_directory(&mut self) -> Result<(), DiskError> {
        if self.spend() != (true, true) {
            return Err(no_power("sync", "the directory"));
        }
        self.syncs += 1;
        self.kept_names.clone_from(&self.names);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.check_writable("remove", name)?;
        let length = self.file(name)?.length;
        let (happens, reported) = self.spend();
        if happens {
            self.names.remove(name);
            self.free_bytes = self.free_bytes.map(|free| free + length);
        }
        if reported { Ok(()) } else { Err(no_power("remove", name)) }
    }
}
