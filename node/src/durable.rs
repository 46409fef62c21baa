//! Files that are there as a whole or not at all, also after a crash and on a full disk.
//!
//! What is written goes into a file of its own beside the place, is flushed to the disk, and only then takes the place.
//! Its name, `<stem>.<16 hexadecimal digits>.new`, is never used twice: so two processes that write one file at a time
//! never mix. What a crash leaves of it nobody reads; [`unfinished`] finds it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// The mode of a file that is no secret, as far as the user's mask allows it.
pub(crate) const PUBLIC: u32 = 0o666;
/// The mode of a file that is its owner's only.
pub(crate) const SECRET: u32 = 0o600;

/// Puts a file in place, or replaces the one that is there.
///
/// # Errors
/// If it cannot be written; then what was there before is still there.
pub(crate) fn replace(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let unfinished = Unfinished::write(path, mode, write)?;
    fs::rename(&unfinished.0, path)?;
    sync_folder_of(path)
}

/// Puts a file in place where there is none.
///
/// # Errors
/// If there is one, or it cannot be written; then nothing new is there.
pub(crate) fn create(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let unfinished = Unfinished::write(path, mode, write)?;
    match renameat_with(CWD, &unfinished.0, CWD, path, RenameFlags::NOREPLACE) {
        // Not every file system can: NFS cannot.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::hard_link(&unfinished.0, path)?,
        done => done?,
    }
    sync_folder_of(path)
}

/// What crashes have left of attempts to write a file.
///
/// # Errors
/// If its folder cannot be read.
pub(crate) fn unfinished(path: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { return Ok(Vec::new()) };
    let is_of_it = |name: &str| {
        let digits = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".new"));
        digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder_of(path))? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name().to_str().is_some_and(is_of_it) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The path of a file that is being written. Whatever becomes of it, nothing is left there.
struct Unfinished(PathBuf);

impl Unfinished {
    /// A file beside `path`, with these contents, for good.
    fn write(path: &Path, mode: u32, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Self> {
        let beside = path.with_extension(format!("{:016x}.new", rand::random::<u64>()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        let unfinished = Self(beside);
        write(&mut file)?;
        file.sync_all()?;
        Ok(unfinished)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is gone if it has taken its place.
        let _ = fs::remove_file(&self.0);
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_made_once_and_replaced_as_often_as_one_likes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.txt");
        create(&path, SECRET, |file| file.write_all(b"first")).unwrap();
        let refused = create(&path, SECRET, |file| file.write_all(b"second")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for text in ["third", "fourth"] {
            replace(&path, SECRET, |file| file.write_all(text.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(folder.path()), ["file.txt"]);
    }

    #[test]
    fn what_cannot_be_written_to_the_end_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.txt");
        let full = |file: &mut File| {
            file.write_all(b"half of")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        assert_eq!(create(&path, PUBLIC, full).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(names(folder.path()).is_empty(), "neither a part nor what it was written to");
        replace(&path, PUBLIC, |file| file.write_all(b"whole")).unwrap();
        assert_eq!(replace(&path, PUBLIC, full).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(folder.path()), ["file.txt"]);
    }

    #[test]
    fn what_a_crash_left_is_found_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let left = ["node.1.new", "node.00deadbeef00cafe.new"];
        let others = ["node.key", "node.new", "node..new", "node.x.new", "nodes.1.new", "node.1.newer", "other.1.new"];
        for name in left.iter().chain(&others) {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        fs::create_dir(folder.path().join("node.2.new")).unwrap();
        let mut found = unfinished(&folder.path().join("node.key")).unwrap();
        found.sort();
        assert_eq!(found, [left[1], left[0]].map(|name| folder.path().join(name)));
    }
}
