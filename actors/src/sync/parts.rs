//! Parts of snapshots on disk, in `snapshots/`: each in a file that is called after its hash, so that a fetch that was cut
//! short goes on where it was. Nothing is synced: a file that a crash tore does not have its hash, and is fetched again.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dtvn_messages::Digest;

/// The folder of the parts.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    folder: PathBuf,
    /// How many files there may be.
    max: usize,
    /// How many there are, about: what is written twice counts twice.
    count: Arc<Mutex<usize>>,
}

impl Parts {
    /// The folder in a data directory, in which `max` parts may be, and the hashes of those that are there.
    pub(super) fn open(directory: &Path, max: usize) -> io::Result<(Self, BTreeSet<Digest>)> {
        let folder = directory.join("snapshots");
        std::fs::create_dir_all(&folder)?;
        let mut kept = BTreeSet::new();
        for entry in std::fs::read_dir(&folder)? {
            let name = entry?.file_name();
            if let Some(Ok(hash)) = name.to_str().map(Digest::from_hex) {
                kept.insert(hash);
            }
        }
        let parts = Self { folder, max, count: Arc::new(Mutex::new(kept.len())) };
        if kept.len() > max {
            parts.clear()?;
            kept.clear();
        }
        Ok((parts, kept))
    }

    /// Keeps a part. If there are too many, those of former attempts above all, all go: what is needed of them is found
    /// missing, and fetched again.
    pub(super) fn write(&self, hash: &Digest, entries: &[u8]) -> io::Result<()> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        if *count >= self.max {
            self.empty()?;
            *count = 0;
        }
        let path = self.folder.join(hash.to_string());
        let temporary = path.with_extension("tmp");
        std::fs::write(&temporary, entries)?;
        std::fs::rename(temporary, path)?;
        *count += 1;
        Ok(())
    }

    pub(super) fn read(&self, hash: &Digest) -> Option<Vec<u8>> {
        std::fs::read(self.folder.join(hash.to_string())).ok()
    }

    /// All parts go: their state is in place.
    pub(super) fn clear(&self) -> io::Result<()> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        self.empty()?;
        *count = 0;
        Ok(())
    }

    fn empty(&self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.folder)?;
        std::fs::create_dir_all(&self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u8) -> Digest {
        Digest([number; 32])
    }

    #[test]
    fn there_are_never_more_parts_on_disk_than_allowed() {
        let directory = tempfile::tempdir().unwrap();
        let files = || std::fs::read_dir(directory.path().join("snapshots")).unwrap().count();
        let (parts, kept) = Parts::open(directory.path(), 3).unwrap();
        assert_eq!(kept, BTreeSet::new());
        for number in 0..20 {
            parts.write(&hash(number), &[number]).unwrap();
            assert!(files() <= 3, "{number}");
            assert_eq!(parts.read(&hash(number)), Some(vec![number]));
        }
        let (_, kept) = Parts::open(directory.path(), 3).unwrap();
        assert_eq!(kept, [hash(18), hash(19)].into());
        let (fewer, kept) = Parts::open(directory.path(), 1).unwrap();
        assert_eq!((kept, files()), (BTreeSet::new(), 0), "more than allowed: it begins without them");
        fewer.write(&hash(1), &[1]).unwrap();
        fewer.clear().unwrap();
        assert_eq!(files(), 0);
    }
}
