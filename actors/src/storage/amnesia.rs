//! Amnesia (consensus.md section 4): a node whose log is damaged, or missing although it was used, may have signed what it
//! does not remember. A mark in the data directory says so until it recovers; a restart does not lift it.
//!
//! The mark is the file `AMNESIA`: the nonce of the recovery that the node asks for, in hexadecimal, on a line of its own;
//! then why, for people.

use std::io;
use std::path::Path;

use dtvn_messages::Nonce;
use dtvn_replication::recovery::Amnesia;

use super::files;

const FILE_NAME: &str = "AMNESIA";
const LOG: &str = "log";

/// Marks the data directory, durably; a mark that is there stays, with its nonce.
pub(super) fn mark(directory: &Path, amnesia: &Amnesia) -> io::Result<()> {
    let path = directory.join(FILE_NAME);
    if path.exists() {
        return Ok(());
    }
    files::write_atomically(&path, format!("{}\n{}\n", amnesia.nonce, amnesia.why).as_bytes())
}

/// That the data directory is marked, if it is.
///
/// # Errors
/// If the mark cannot be read.
pub fn marked(directory: &Path) -> io::Result<Option<Amnesia>> {
    let text = match std::fs::read_to_string(directory.join(FILE_NAME)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (nonce, why) = text.split_once('\n').unwrap_or((&text, ""));
    let nonce = Nonce::from_hex(nonce.trim()).map_err(|error| {
        let why = format!("{FILE_NAME} does not begin with a nonce ({error}): restore the file, or the directory");
        io::Error::new(io::ErrorKind::InvalidData, why)
    })?;
    Ok(Some(Amnesia { why: why.trim().to_owned(), nonce }))
}

/// Lifts the mark, durably: this node's own recovery opened the epoch, or its operator takes the word for it.
///
/// # Errors
/// If the disk refuses.
pub fn lift(directory: &Path) -> io::Result<()> {
    match std::fs::remove_file(directory.join(FILE_NAME)) {
        Ok(()) => files::sync_directory(directory),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Moves a damaged log out of the way, and makes an empty folder in its place.
pub(super) fn set_aside(directory: &Path) -> io::Result<()> {
    files::set_aside(directory, LOG)?;
    std::fs::create_dir_all(directory.join(LOG))?;
    files::sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stays_with_its_nonce_until_it_is_lifted() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(marked(directory.path()).unwrap(), None);
        let amnesia = Amnesia { why: "the log is gone".to_owned(), nonce: Nonce([7; 16]) };
        mark(directory.path(), &amnesia).unwrap();
        mark(directory.path(), &Amnesia { why: "again".to_owned(), nonce: Nonce([8; 16]) }).unwrap();
        assert_eq!(marked(directory.path()).unwrap(), Some(amnesia));
        lift(directory.path()).unwrap();
        lift(directory.path()).unwrap();
        assert_eq!(marked(directory.path()).unwrap(), None);
    }

    #[test]
    fn a_mark_without_a_nonce_is_no_reason_to_vote() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE_NAME), "the log is gone\n").unwrap();
        assert!(marked(directory.path()).unwrap_err().to_string().contains("AMNESIA does not begin with a nonce"));
    }
}
