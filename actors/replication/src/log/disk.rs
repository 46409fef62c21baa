//! What the log needs of a disk: a flat directory of files with fixed lengths.
//!
//! A write or a change of the directory is *kept* (survives a crash) only after the sync that covers it; until then a
//! crash may lose any sector of it. Implemented by real files (in the actors' crate) and by [`super::MemoryDisk`].

use thiserror::Error;

/// A flat directory of files whose lengths are set when they are made.
pub trait Disk {
    /// The names of all files, in any order.
    ///
    /// # Errors
    /// If the directory cannot be read.
    fn list(&mut self) -> Result<Vec<String>, DiskError>;

    /// The length of a file in bytes.
    ///
    /// # Errors
    /// If there is no such file, or it cannot be asked.
    fn length(&mut self, name: &str) -> Result<u64, DiskError>;

    /// Fills the buffer with the bytes at `offset`. Bytes that were never written are zeros.
    ///
    /// # Errors
    /// If there is no such file, it ends before the buffer is full, or it cannot be read.
    fn read_at(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError>;

    /// Makes a new file of `length` zeros, with its space reserved. Kept after [`Disk::sync`] of the file and
    /// [`Disk::sync_directory`], both.
    ///
    /// # Errors
    /// [`DiskError::AlreadyExists`], [`DiskError::NoSpace`] (a file may be left behind), or another failure.
    fn create(&mut self, name: &str, length: u64) -> Result<(), DiskError>;

    /// Writes all bytes at `offset`, within the file's length. Kept after [`Disk::sync`].
    ///
    /// # Errors
    /// If it fails; then any part of the bytes may have been written.
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Returns once what was written to the file, and its length, is kept.
    ///
    /// # Errors
    /// If it fails; then what was not yet kept may be lost for good, and a later sync that succeeds says nothing about
    /// it.
    fn sync(&mut self, name: &str) -> Result<(), DiskError>;

    /// Returns once all files made and removed so far are so for good.
    ///
    /// # Errors
    /// If it fails.
    fn sync_directory(&mut self) -> Result<(), DiskError>;

    /// Removes a file. For good after [`Disk::sync_directory`].
    ///
    /// # Errors
    /// If there is no such file, or it cannot be removed.
    fn remove(&mut self, name: &str) -> Result<(), DiskError>;
}

/// Why a disk did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DiskError {
    /// There is no file of this name.
    #[error("there is no file {name}")]
    NotFound {
        /// The file.
        name: String,
    },
    /// There is a file of this name.
    #[error("there is a file {name} already")]
    AlreadyExists {
        /// The file.
        name: String,
    },
    /// The disk is full, or the quota used up.
    #[error("cannot {operation} {name}: no space left on the disk")]
    NoSpace {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The file.
        name: String,
    },
    /// Anything else.
    #[error("cannot {operation} {name}: {message}")]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The file, or the directory.
        name: String,
        /// What the system says.
        message: String,
    },
}
