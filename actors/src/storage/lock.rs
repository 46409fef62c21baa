//! One process per data directory: an operating-system lock on the file `LOCK`, which ends with the process however it
//! ends. Architecture section 5: "a second process on the same directory is refused".

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::files::FILE_MODE;

const FILE_NAME: &str = "LOCK";
/// More than the longest process id in decimal digits.
const PROCESS_ID_BYTES_MAX: u64 = 20;

/// A data directory that is ours as long as this lives.
#[derive(Debug)]
pub struct DirectoryLock {
    path: PathBuf,
    /// Held, never read: closing it gives the lock up.
    _file: File,
}

/// Why a data directory is not ours.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "the data directory {} is in use by {}: stop that one first, or give this one a directory of its own",
        directory.display(),
        holder.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
    )]
    Held {
        /// The data directory.
        directory: PathBuf,
        /// The process that has it, if it has written its number yet.
        holder: Option<u32>,
    },
    /// The lock file cannot be made, or not be locked.
    #[error("cannot lock {}: {source}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl DirectoryLock {
    /// Takes a data directory, which must exist.
    ///
    /// # Errors
    /// If another process has it, or the file `LOCK` in it cannot be made.
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join(FILE_NAME);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let failed = |source| LockError::Io { path: path.clone(), source };
        let file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { directory: directory.to_owned(), holder: read_holder(&file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // Only for the message that the next one gets.
        file.set_len(0).map_err(failed)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0).map_err(failed)?;
        Ok(Self { path, _file: file })
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn read_holder(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(PROCESS_ID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_once_and_free_again_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::acquire(directory.path()).unwrap();
        let refused = DirectoryLock::acquire(directory.path()).unwrap_err().to_string();
        assert!(refused.contains(&directory.path().display().to_string()), "{refused}");
        assert!(refused.contains(&format!("in use by process {}:", std::process::id())), "{refused}");
        assert_eq!(lock.path(), directory.path().join("LOCK"));
        drop(lock);
        DirectoryLock::acquire(directory.path()).unwrap();
    }

    #[test]
    fn a_holder_that_left_no_number_is_another_process() {
        let directory = tempfile::tempdir().unwrap();
        let _lock = DirectoryLock::acquire(directory.path()).unwrap();
        std::fs::write(directory.path().join("LOCK"), "").unwrap();
        let refused = DirectoryLock::acquire(directory.path()).unwrap_err().to_string();
        assert!(refused.contains("in use by another process"), "{refused}");
    }

    #[test]
    fn the_lock_file_of_a_process_that_was_killed_locks_nothing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("LOCK"), "1\nand more than a number may have been here before").unwrap();
        let _lock = DirectoryLock::acquire(directory.path()).unwrap();
        let text = std::fs::read_to_string(directory.path().join("LOCK")).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_missing_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let refused = DirectoryLock::acquire(&directory.path().join("missing")).unwrap_err().to_string();
        assert!(refused.contains("missing/LOCK"), "{refused}");
    }
}
