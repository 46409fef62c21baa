//! Amnesia (consensus.md section 4): a node whose log is damaged, or missing although it was used, may have signed what it
//! does not remember. A mark in the data directory says so until it recovers; a restart does not lift it.

use std::io;
use std::path::Path;

use super::files;

const FILE_NAME: &str = "AMNESIA";

/// Marks the data directory, durably.
pub(super) fn mark(directory: &Path, why: &str) -> io::Result<()> {
    let path = directory.join(FILE_NAME);
    if path.exists() {
        return Ok(());
    }
    files::write_atomically(&path, format!("{why}\n").as_bytes())
}

/// Why the data directory is marked, if it is.
pub(super) fn marked(directory: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(directory.join(FILE_NAME)) {
        Ok(why) => Ok(Some(why.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Moves a damaged log out of the way; it is kept for whoever wants to look at it.
pub(super) fn set_aside(directory: &Path, log: &Path) -> io::Result<()> {
    let mut number = 1;
    let mut aside = directory.join("log.damaged-1");
    while aside.exists() {
        number += 1;
        aside = directory.join(format!("log.damaged-{number}"));
    }
    std::fs::rename(log, aside)?;
    std::fs::create_dir_all(log)?;
    files::sync_directory(directory)
}
