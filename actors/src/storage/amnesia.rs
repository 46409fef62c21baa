//! Amnesia (consensus.md section 4): a node whose log is damaged, or missing although it was used, may have signed what it
//! does not remember. A mark in the data directory says so until it recovers; a restart does not lift it.
//!
//! The mark is the file `AMNESIA`: the nonce of the recovery that the node asks for, in hexadecimal, on a line of its own;
//! then why, for people. What remains when it is lifted is the file `RECOVERED`: the number of the epoch that the recovery
//! opened. A database that is lost later may take the node back to an earlier epoch, of which it has forgotten what it
//! signed: there it signs nothing.

use std::io;
use std::path::Path;

use dtvn_messages::{Epoch, Nonce};
use dtvn_replication::recovery::Amnesia;

use super::files;

const FILE_NAME: &str = "AMNESIA";
const RECOVERED: &str = "RECOVERED";
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

/// The epoch from which on the node may sign, as far as its memory is concerned: 0 if it never recovered.
///
/// # Errors
/// If the file cannot be read.
pub fn votes_from(directory: &Path) -> io::Result<Epoch> {
    let text = match std::fs::read_to_string(directory.join(RECOVERED)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Epoch(0)),
        Err(error) => return Err(error),
    };
    text.trim().parse().map(Epoch).map_err(|_| {
        let why = format!("{RECOVERED} is not the number of an epoch: restore the file, or the directory");
        io::Error::new(io::ErrorKind::InvalidData, why)
    })
}

/// Lifts the mark, durably: this node's own recovery opened an epoch, from which on it signs, or its operator takes the word
/// for it.
///
/// # Errors
/// If the disk refuses.
pub fn lift(directory: &Path, opened: Option<Epoch>) -> io::Result<()> {
    if let Some(epoch) = opened {
        files::write_atomically(&directory.join(RECOVERED), format!("{epoch}\n").as_bytes())?;
    }
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
        lift(directory.path(), None).unwrap();
        lift(directory.path(), None).unwrap();
        assert_eq!(marked(directory.path()).unwrap(), None);
    }

    #[test]
    fn the_epoch_of_a_recovery_stays_when_the_mark_goes() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(votes_from(directory.path()).unwrap(), Epoch(0));
        let amnesia = Amnesia { why: "the log is gone".to_owned(), nonce: Nonce([7; 16]) };
        mark(directory.path(), &amnesia).unwrap();
        lift(directory.path(), Some(Epoch(12))).unwrap();
        assert_eq!((marked(directory.path()).unwrap(), votes_from(directory.path()).unwrap()), (None, Epoch(12)));
        mark(directory.path(), &amnesia).unwrap();
        lift(directory.path(), None).unwrap();
        assert_eq!(votes_from(directory.path()).unwrap(), Epoch(12), "the operator's word says nothing about epochs");
        std::fs::write(directory.path().join(RECOVERED), "soon").unwrap();
        assert!(votes_from(directory.path()).unwrap_err().to_string().contains("is not the number of an epoch"));
    }

    #[test]
    fn a_mark_without_a_nonce_is_no_reason_to_vote() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE_NAME), "the log is gone\n").unwrap();
        assert!(marked(directory.path()).unwrap_err().to_string().contains("AMNESIA does not begin with a nonce"));
    }
}
