//! Parts of snapshots on disk, in `snapshots/`: each in a file that is called after its hash, so that a fetch that was cut
//! short goes on where it was. Nothing is synced: a file that a crash tore does not have its hash, and is fetched again.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use dtvn_messages::{Digest, limits};

/// The folder of the parts.
#[derive(Debug, Clone)]
pub(super) struct Parts(PathBuf);

impl Parts {
    /// The folder in a data directory, and the hashes of the parts that are there.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, BTreeSet<Digest>)> {
        let parts = Self(directory.join("snapshots"));
        std::fs::create_dir_all(&parts.0)?;
        let mut kept = BTreeSet::new();
        for entry in std::fs::read_dir(&parts.0)? {
            let name = entry?.file_name();
            if let Some(Ok(hash)) = name.to_str().map(Digest::from_hex) {
                kept.insert(hash);
            }
        }
        if kept.len() > limits::SNAPSHOT_PARTS_KEPT_MAX {
            parts.clear()?;
            kept.clear();
        }
        Ok((parts, kept))
    }

    pub(super) fn write(&self, hash: &Digest, entries: &[u8]) -> io::Result<()> {
        let path = self.0.join(hash.to_string());
        let temporary = path.with_extension("tmp");
        std::fs::write(&temporary, entries)?;
        std::fs::rename(temporary, path)
    }

    pub(super) fn read(&self, hash: &Digest) -> Option<Vec<u8>> {
        std::fs::read(self.0.join(hash.to_string())).ok()
    }

    /// All parts go: their state is in place.
    pub(super) fn clear(&self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.0)?;
        std::fs::create_dir_all(&self.0)
    }
}
