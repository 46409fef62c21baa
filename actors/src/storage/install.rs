//! Another database in the place of this node's: one that a snapshot became, or none where the old one is damaged.
//!
//! A new database is made beside the old one, in `db.install/`, while the node goes on. Its seal is the last thing that is
//! written; from then on it is the node's, and the next start of the storage puts it in place. So a crash at any moment
//! leaves the old database or the new one, never a part of each. One that is damaged is kept as `db.damaged-N` for whoever
//! wants to look at it; a file `CONDEMNED` in it says so where the damage was found while it was open.

use std::io;
use std::path::{Path, PathBuf};

use super::files;
use super::store::{Store, StoreError, StoreIdentity, StoreOptions};
use dtvn_replication::execution::Stored;

const DATABASE: &str = "db";
const NEXT: &str = "db.install";
const FORMER: &str = "db.former";
const CONDEMNED: &str = "CONDEMNED";
const SEAL: &str = "seal";

/// The folder of the database in a data directory.
pub(super) fn database(directory: &Path) -> PathBuf {
    directory.join(DATABASE)
}

/// Makes a database of this state, to be put in place at the next start of the storage. May take seconds.
///
/// # Errors
/// If the disk refuses.
pub fn prepare(directory: &Path, identity: StoreIdentity, stored: &Stored) -> Result<(), StoreError> {
    Store::build(&directory.join(NEXT), identity, &StoreOptions::default(), stored)?;
    files::sync_directory(directory)
        .map_err(|error| StoreError::io("putting a new database beside the old one", &error))
}

/// Drops the database that was prepared: it is not needed after all.
///
/// # Errors
/// If the disk refuses.
pub fn discard(directory: &Path) -> io::Result<()> {
    let next = directory.join(NEXT);
    // The seal first: without it the rest is nobody's, wherever the process is cut off.
    match std::fs::remove_file(next.join(SEAL)) {
        Ok(()) => files::sync_directory(&next)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    remove(&next)
}

/// Puts a database that is ready in place; says whether there was one. One that is not ready is dropped.
pub(super) fn take_over(directory: &Path) -> io::Result<bool> {
    let (current, next, former) = (database(directory), directory.join(NEXT), directory.join(FORMER));
    let is_ready = next.join(SEAL).is_file();
    if is_ready {
        if current.exists() {
            remove(&former)?;
            std::fs::rename(&current, &former)?;
        }
        std::fs::rename(&next, &current)?;
        files::sync_directory(directory)?;
    }
    remove(&next)?;
    remove(&former)?;
    Ok(is_ready)
}

fn remove(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Says of the database that it is damaged: the next start of the storage sets it aside.
pub(super) fn condemn(directory: &Path, why: &str) -> io::Result<()> {
    files::write_atomically(&database(directory).join(CONDEMNED), format!("{why}\n").as_bytes())
}

/// Why the database is condemned, if it is.
pub(super) fn condemned(directory: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(database(directory).join(CONDEMNED)) {
        Ok(why) => Ok(Some(why.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Moves a damaged database out of the way; gives the folder where it is now.
pub(super) fn set_aside(directory: &Path) -> io::Result<PathBuf> {
    files::set_aside(directory, DATABASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(directory: &Path, name: &str, mark: &str) {
        std::fs::create_dir_all(directory.join(name)).unwrap();
        std::fs::write(directory.join(name).join("seal"), mark).unwrap();
    }

    fn current(directory: &Path) -> String {
        std::fs::read_to_string(directory.join("db/seal")).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_database_that_is_ready_takes_the_place_of_the_old_one_wherever_the_process_was_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        folder(path, "db", "old");
        folder(path, "db.install", "new");
        assert!(take_over(path).unwrap());
        assert_eq!((current(path), names(path)), ("new".to_owned(), vec!["db".to_owned()]));
        // Cut off between the two renames.
        folder(path, "db.install", "newer");
        std::fs::rename(path.join("db"), path.join("db.former")).unwrap();
        assert!(take_over(path).unwrap());
        assert_eq!((current(path), names(path)), ("newer".to_owned(), vec!["db".to_owned()]));
        // Cut off behind them.
        folder(path, "db.former", "new");
        assert!(!take_over(path).unwrap());
        assert_eq!((current(path), names(path)), ("newer".to_owned(), vec!["db".to_owned()]));
    }

    #[test]
    fn one_without_a_seal_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        folder(directory.path(), "db", "old");
        std::fs::create_dir_all(directory.path().join("db.install/rocksdb")).unwrap();
        assert!(!take_over(directory.path()).unwrap());
        assert_eq!((current(directory.path()), names(directory.path())), ("old".to_owned(), vec!["db".to_owned()]));
    }

    #[test]
    fn one_that_is_not_needed_after_all_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        discard(directory.path()).unwrap();
        folder(directory.path(), "db", "old");
        folder(directory.path(), "db.install", "new");
        discard(directory.path()).unwrap();
        assert!(!take_over(directory.path()).unwrap());
        assert_eq!((current(directory.path()), names(directory.path())), ("old".to_owned(), vec!["db".to_owned()]));
    }

    #[test]
    fn a_condemned_one_is_kept_aside() {
        let directory = tempfile::tempdir().unwrap();
        for number in 1..=2 {
            folder(directory.path(), "db", "bad");
            assert_eq!(condemned(directory.path()).unwrap(), None);
            condemn(directory.path(), "a ticket is gone").unwrap();
            assert_eq!(condemned(directory.path()).unwrap().as_deref(), Some("a ticket is gone"));
            let aside = set_aside(directory.path()).unwrap();
            assert!(aside.ends_with(format!("db.damaged-{number}")) && aside.join("seal").is_file());
            assert_eq!(condemned(directory.path()).unwrap(), None);
        }
    }
}
