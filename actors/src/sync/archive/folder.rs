//! The files of the archive.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dtvn_messages::snapshot::Manifest;
use dtvn_messages::wire::{self, Class, PeerMessage};
use dtvn_messages::{Digest, limits};
use dtvn_replication::archive::{self, Archived, Source};
use dtvn_replication::execution::Snapshot;
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use crate::health::free_disk_bytes;
use crate::shared::Shared;
use crate::storage::files::{self, FILE_MODE};

pub(super) const MANIFEST: &str = "manifest";
/// After so many parts it is looked again whether there is room for the rest.
const PARTS_PER_LOOK: usize = 64;

/// The parts of one archived state.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    is_damaged: AtomicBool,
}

impl Source for Folder {
    fn read(&self, hash: &Digest) -> io::Result<Option<Vec<u8>>> {
        read_file(&self.path.join(hash.to_string()))
    }

    fn lost(&self, _hash: &Digest) {
        self.is_damaged.store(true, Ordering::Relaxed);
    }
}

/// Work on the files that is done.
pub enum Done {
    /// A state was written.
    Written(Written),
    /// What was of no use was removed.
    Removed,
}

/// A state that was written.
pub struct Written {
    pub(super) archived: Arc<Archived>,
    pub(super) folder: Arc<Folder>,
}

impl Written {
    pub(super) fn is_damaged(&self) -> bool {
        self.folder.is_damaged.load(Ordering::Relaxed)
    }
}

/// What a former process wrote; none if it wrote nothing.
pub(super) fn read(path: &Path, shared: &Shared) -> Result<Option<Written>, String> {
    let _alone = shared.archive.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(manifest) = read_manifest(path)? else { return Ok(None) };
    let folder = Arc::new(Folder { path: path.to_owned(), is_damaged: AtomicBool::new(false) });
    let source: Arc<dyn Source> = folder.clone();
    let (shelf, epoch) = (shared.shelf.get(), shared.epoch());
    let archived = Archived::open(manifest, &shelf.ends, &shared.genesis, &*epoch.verifier.scheme, source);
    let archived = archived.map_err(|error| error.to_string())?;
    let missing = archived.hashes().find(|hash| !path.join(hash.to_string()).is_file());
    missing.into_iter().for_each(|missing| folder.lost(missing));
    Ok(Some(Written { archived: Arc::new(archived), folder }))
}

/// A file's bytes; none if there is no such file.
fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// The manifest in the folder, if there is one. It is a frame as peers send it, and no longer than that may be.
pub(super) fn read_manifest(path: &Path) -> Result<Option<Manifest>, String> {
    let file = match File::open(path.join(MANIFEST)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("its manifest cannot be opened: {error}")),
    };
    let mut frame = Vec::new();
    let limit = Class::Sync.frame_bytes_max() as u64 + 1;
    file.take(limit).read_to_end(&mut frame).map_err(|error| format!("its manifest cannot be read: {error}"))?;
    match wire::decode(&frame, Class::Sync) {
        Ok(PeerMessage::Snapshot(manifest)) => Ok(Some(Arc::unwrap_or_clone(manifest))),
        Ok(other) => Err(format!("its manifest is a {} message", other.name())),
        Err(error) => Err(format!("its manifest is damaged: {error}")),
    }
}

/// A state to be written.
pub(super) struct Job {
    pub(super) path: PathBuf,
    pub(super) snapshot: Arc<Snapshot>,
    /// What is served meanwhile.
    pub(super) former: Option<Arc<Archived>>,
    /// Twice as much stays free on the disk: no archive is worth a node that cannot vote. 0 if it is not looked at.
    pub(super) free_bytes_min: u64,
    /// One at a time: who is over may still be at it.
    pub(super) alone: Arc<Mutex<()>>,
    /// How fast; none as fast as it can.
    pub(super) pace: Option<Pace>,
    pub(super) over: CancellationToken,
}

impl Job {
    /// Writes it. In the end only what belongs to it is there; or, if it cannot be written, what was there before.
    pub(super) fn run(&self) -> io::Result<Written> {
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        files::sync_directory(self.path.parent().unwrap_or(&self.path))?;
        let written = self.write();
        if let Some(keep) = self.to_keep(&written) {
            // What is left behind goes the next time.
            let _left = sweep(&self.path, &keep);
        }
        written
    }

    /// The parts that stay: those of the new state; or, if it could not be written, of the one that is in place, and of the
    /// one that is served. None if it cannot be said which those are.
    fn to_keep(&self, written: &io::Result<Written>) -> Option<BTreeSet<Digest>> {
        if let Ok(written) = written {
            return Some(written.archived.hashes().copied().collect());
        }
        let in_place = read_manifest(&self.path).ok()?.into_iter().flat_map(|manifest| manifest.cut.0);
        let served = self.former.iter().flat_map(|former| former.hashes().copied());
        Some(in_place.map(|(_, hash)| hash).chain(served).collect())
    }

    fn write(&self) -> io::Result<Written> {
        let (manifest, parts) = archive::contents(&self.snapshot);
        let parts: Vec<_> = parts.collect();
        let is_new = |hash: &Digest| !self.path.join(hash.to_string()).is_file();
        for chunk in 0..parts.len().div_ceil(PARTS_PER_LOOK) {
            let rest = parts.get(chunk * PARTS_PER_LOOK..).unwrap_or_default();
            self.check_room(rest.iter().filter(|(_, hash)| is_new(hash)).count())?;
            for (number, (part, hash)) in rest.iter().take(PARTS_PER_LOOK).enumerate() {
                if let Some(pace) = &self.pace {
                    pace.rest(chunk * PARTS_PER_LOOK + number, parts.len(), &self.over);
                }
                if self.over.is_cancelled() {
                    return Err(io::Error::new(io::ErrorKind::Interrupted, "the work is cut off"));
                }
                let bytes = archive::bytes_of(&self.snapshot, part);
                let bytes = bytes.ok_or_else(|| io::Error::other("a part is too long"))?;
                write_part(&self.path.join(hash.to_string()), &bytes)?;
            }
        }
        files::sync_directory(&self.path)?;
        let frame = wire::encode(&PeerMessage::Snapshot(Arc::new(manifest.clone()))).map_err(io::Error::other)?;
        files::write_atomically(&self.path.join(MANIFEST), &frame)?;
        let folder = Arc::new(Folder { path: self.path.clone(), is_damaged: AtomicBool::new(false) });
        let archived = Archived::new(manifest, folder.clone()).map_err(io::Error::other)?;
        Ok(Written { archived: Arc::new(archived), folder })
    }

    /// Whether so many parts more have room.
    fn check_room(&self, parts: usize) -> io::Result<()> {
        if self.free_bytes_min == 0 || parts == 0 {
            return Ok(());
        }
        let free = free_disk_bytes(&self.path).map_err(io::Error::other)?;
        let wanted = self.free_bytes_min.saturating_mul(2).saturating_add(parts as u64 * limits::SNAPSHOT_PART_BYTES);
        if free >= wanted {
            return Ok(());
        }
        let why = format!("{free} bytes are free on the disk, and {wanted} are wanted for it beside the node's own");
        Err(io::Error::new(io::ErrorKind::StorageFull, why))
    }
}

/// Puts a part in place, unless it is there; also in the place of one that cannot be read. A file of its name is complete,
/// whenever the process ends. Each is synced by itself: so the disk is never busy with more than one while votes wait for it.
fn write_part(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if read_file(path).is_ok_and(|there| there.is_some_and(|there| there == bytes)) {
        return Ok(());
    }
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

/// Removes all files but the manifest and these parts.
fn sweep(path: &Path, keep: &BTreeSet<Digest>) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        let part = name.to_str().and_then(|name| Digest::from_hex(name).ok());
        if name != MANIFEST && part.is_none_or(|part| !keep.contains(&part)) {
            std::fs::remove_file(path.join(name))?;
        }
    }
    Ok(())
}

/// Removes the archive. What is left of it if that is cut off has parts that are missing, or no manifest.
pub(super) fn remove(path: &Path, alone: &Mutex<()>) -> io::Result<()> {
    let _alone = alone.lock().unwrap_or_else(PoisonError::into_inner);
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
