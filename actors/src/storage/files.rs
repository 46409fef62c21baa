//! Small things about files that must be done right everywhere.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use dtvn_messages::limits;

/// Only the node's own user may read its files.
pub(crate) const FILE_MODE: u32 = 0o600;

/// Returns once the directory's entries are durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Moves a damaged folder out of the way, for whoever wants to look at it: `log` becomes `log.damaged-1`, or the next number.
/// Of the earlier ones only the last stay, so that damage does not fill the disk.
pub(crate) fn set_aside(directory: &Path, folder: &str) -> io::Result<PathBuf> {
    let prefix = format!("{folder}.damaged-");
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_prefix(&prefix)?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    let next = numbers.last().map_or(1, |last| last.saturating_add(1));
    let aside = directory.join(format!("{prefix}{next}"));
    std::fs::rename(directory.join(folder), &aside)?;
    let too_many = (numbers.len() + 1).saturating_sub(limits::DAMAGED_COPIES_MAX);
    for number in numbers.into_iter().take(too_many) {
        std::fs::remove_dir_all(directory.join(format!("{prefix}{number}")))?;
    }
    sync_directory(directory)?;
    Ok(aside)
}

/// Puts a file with these contents in place, for good: after a crash it is there as a whole, or what was there before.
pub(crate) fn write_atomically(path: &Path, contents: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or_else(|| io::Error::other("a file has a directory"))?;
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_set_aside_the_last_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        for number in 1..=limits::DAMAGED_COPIES_MAX + 3 {
            std::fs::create_dir(directory.path().join("db")).unwrap();
            std::fs::write(directory.path().join("db/which"), number.to_string()).unwrap();
            let aside = set_aside(directory.path(), "db").unwrap();
            assert!(aside.ends_with(format!("db.damaged-{number}")));
        }
        let mut left: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let last = limits::DAMAGED_COPIES_MAX + 3;
        assert_eq!(left, [last - 2, last - 1, last].map(|number| format!("db.damaged-{number}")));
        std::fs::create_dir(directory.path().join("log")).unwrap();
        assert!(
            set_aside(directory.path(), "log").unwrap().ends_with("log.damaged-1"),
            "each folder counts for itself"
        );
    }
}
