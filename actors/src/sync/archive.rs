//! The archived state on disk, in `archive/` ([`dtvn_replication::archive`]): each part in a file that is called after its
//! hash, and `manifest`, which is written last. What is there as a whole has a manifest, whenever the process ends; parts
//! that two states share are written once. A part that was damaged since is found so when it is read: then the archive
//! counts for nothing until a state is written to it again.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dtvn_messages::snapshot::Manifest;
use dtvn_messages::wire::{self, Class, PeerMessage};
use dtvn_messages::{Digest, Height};
use dtvn_replication::archive::{self, Archived, Source};
use dtvn_replication::execution::Snapshot;

use super::message::SyncMessage;
use crate::shared::Shared;
use crate::storage::StoreSlot;
use crate::storage::files::{self, FILE_MODE};
use crate::supervision::{ActorError, Context};

const FOLDER: &str = "archive";
const MANIFEST: &str = "manifest";

/// The parts of one archived state.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    is_damaged: AtomicBool,
}

impl Source for Folder {
    fn read(&self, hash: &Digest) -> Option<Vec<u8>> {
        std::fs::read(self.path.join(hash.to_string())).ok()
    }

    fn lost(&self, hash: &Digest) {
        // Written anew it is right again; what is there counts as written.
        let _gone = std::fs::remove_file(self.path.join(hash.to_string()));
        self.is_damaged.store(true, Ordering::Relaxed);
    }
}

/// The archive of a node.
pub(super) struct Archive {
    shared: Shared,
    store: StoreSlot,
    path: PathBuf,
    every: u64,
    archived: Option<Written>,
    is_writing: bool,
    /// The last state that was begun to be written: one that could not be is not tried again.
    tried: Option<Height>,
}

impl Archive {
    /// Opens it with what a former process wrote, if that holds.
    ///
    /// # Errors
    /// If the work is cut off.
    pub(super) async fn open(shared: &Shared, store: &StoreSlot, directory: &Path) -> Result<Self, ActorError> {
        let path = directory.join(FOLDER);
        let (from, of) = (path.clone(), shared.clone());
        let archived = tokio::task::spawn_blocking(move || match read(&from, &of) {
            Ok(archived) => archived,
            Err(why) => {
                tracing::warn!(why, "The archived state is of no use; a later one takes its place.");
                None
            }
        });
        let archive = Self {
            every: archive::every(shared.genesis.parameters()),
            shared: shared.clone(),
            store: store.clone(),
            path,
            archived: archived.await?,
            is_writing: false,
            tried: None,
        };
        archive.post();
        Ok(archive)
    }

    /// The state that it holds.
    pub(super) fn archived(&self) -> Option<Arc<Archived>> {
        self.archived.as_ref().map(|written| Arc::clone(&written.archived))
    }

    /// Says how far down the blocks reach: to there the storage may collect.
    fn post(&self) -> Option<Height> {
        let archived = self.archived().map(|archived| archived.height());
        let first = self.store.get().and_then(|store| store.read(|view| view.first_block()).ok());
        let reach = first.and_then(|first| archive::reach(archived, self.shared.genesis.base(), first));
        self.shared.board.post_archive(archived, reach);
        reach
    }

    /// Writes the latest stable state, if one is due. Beside the mailbox: it may take minutes.
    pub(super) fn tend(&mut self, context: &Context<SyncMessage>) {
        if self.is_writing {
            return;
        }
        if let Some(damaged) = self.archived.take_if(|written| written.folder.is_damaged.load(Ordering::Relaxed)) {
            tracing::error!(
                height = damaged.archived.height().0,
                "The archived state is damaged: a later one takes its place."
            );
            self.tried = None;
        }
        let reach = self.post();
        let shelf = self.shared.shelf.get();
        let due = archive::due(&shelf, reach, self.every).filter(|due| Some(due.stable.height()) != self.tried);
        let Some(snapshot) = due.cloned() else { return };
        self.tried = Some(snapshot.stable.height());
        self.is_writing = true;
        let (path, life) = (self.path.clone(), context.lifeline());
        let health = self.shared.board.health();
        let room_bytes = health.disk_free_bytes.map(|free| free.saturating_sub(health.disk_free_bytes_min));
        let former = self.archived.iter().flat_map(|written| written.archived.hashes().copied()).collect();
        let work = tokio::task::spawn_blocking(move || {
            // A successor writes in the same place.
            let _until_written = life;
            write(&path, &snapshot, &former, room_bytes)
        });
        context.spawn_then(work, |written| {
            let written = written.map_err(|error| error.to_string());
            SyncMessage::Archived(written.and_then(|written| written.map_err(|error| error.to_string())))
        });
    }

    /// A state was written, or could not be: then the next one is tried, and no block above the last one goes.
    pub(super) fn on_written(&mut self, written: Result<Written, String>) {
        self.is_writing = false;
        match written {
            Ok(written) => {
                tracing::info!(height = written.archived.height().0, "The state is archived.");
                self.archived = Some(written);
            }
            Err(why) => tracing::warn!(why, "The state could not be archived; the next one is tried."),
        }
        self.post();
    }
}

/// A state that was written.
pub struct Written {
    archived: Arc<Archived>,
    folder: Arc<Folder>,
}

/// What a former process wrote; none if it wrote nothing.
fn read(path: &Path, shared: &Shared) -> Result<Option<Written>, String> {
    let Some(manifest) = read_manifest(&path.join(MANIFEST))? else { return Ok(None) };
    let folder = Arc::new(Folder { path: path.to_owned(), is_damaged: AtomicBool::new(false) });
    let source: Arc<dyn Source> = folder.clone();
    let (shelf, epoch) = (shared.shelf.get(), shared.epoch());
    let archived = Archived::open(manifest, &shelf.ends, &shared.genesis, &*epoch.verifier.scheme, source);
    let archived = archived.map_err(|error| error.to_string())?;
    let missing = archived.hashes().find(|hash| !path.join(hash.to_string()).is_file()).copied();
    match missing {
        Some(missing) => Err(format!("its part {missing} is gone")),
        None => Ok(Some(Written { archived: Arc::new(archived), folder })),
    }
}

/// The manifest in a file, if there is one. It is a frame as peers send it, and as long as that may be.
fn read_manifest(path: &Path) -> Result<Option<Manifest>, String> {
    let file = match File::open(path) {
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

/// Writes a state, of which so much may be new: no archive is worth a node that cannot vote. In the end only what belongs to it is there; if it cannot be written, only what is to be kept.
fn write(path: &Path, snapshot: &Snapshot, former: &BTreeSet<Digest>, room_bytes: Option<u64>) -> io::Result<Written> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let written = write_parts(path, snapshot, room_bytes.unwrap_or(u64::MAX));
    let keep = match &written {
        Ok(written) => written.archived.hashes().copied().collect(),
        Err(_) => former.clone(),
    };
    // What is left behind goes the next time.
    let _left = sweep(path, &keep);
    written
}

fn write_parts(path: &Path, snapshot: &Snapshot, mut room_bytes: u64) -> io::Result<Written> {
    let (manifest, parts) = archive::contents(snapshot);
    for (part, hash) in parts {
        let file = path.join(hash.to_string());
        if !file.is_file() {
            let bytes = archive::bytes_of(snapshot, &part).ok_or_else(|| io::Error::other("a part is too long"))?;
            let room = room_bytes.checked_sub(bytes.len() as u64);
            room_bytes =
                room.ok_or_else(|| io::Error::new(io::ErrorKind::StorageFull, "no room beside what a vote needs"))?;
            write_part(&file, &bytes)?;
        }
    }
    files::sync_directory(path)?;
    let frame = wire::encode(&PeerMessage::Snapshot(Arc::new(manifest.clone()))).map_err(io::Error::other)?;
    files::write_atomically(&path.join(MANIFEST), &frame)?;
    let folder = Arc::new(Folder { path: path.to_owned(), is_damaged: AtomicBool::new(false) });
    let source: Arc<dyn Source> = folder.clone();
    let archived = Archived::new(manifest, source).map_err(io::Error::other)?;
    Ok(Written { archived: Arc::new(archived), folder })
}

/// A file of this name is complete, whenever the process ends. Each is synced by itself: so the disk is never busy with
/// more than one while votes wait for it.
fn write_part(path: &Path, bytes: &[u8]) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use dtvn_ledger::{StateEntry, StateMap};
    use dtvn_messages::certificate::Signatures;
    use dtvn_messages::merkle::LogEdge;
    use dtvn_messages::{
        Block, BundlePosition, Checkpoint, Epoch, Header, LastBundle, NodeName, RulesVersion, StableCheckpoint,
        Timestamp, ValidatorIndex, View,
    };
    use dtvn_replication::execution::Version;
    use dtvn_replication::sync::serve_part;

    use super::*;

    /// A state of so many entries at a height; nothing is signed. Of two states the first entry differs.
    fn snapshot(height: u64, entries: u64) -> Snapshot {
        let header = Header {
            epoch: Epoch(0),
            rules_version: RulesVersion(1),
            height: Height(height),
            parent: Digest::ZERO,
            proposer: ValidatorIndex(0),
            proposed_in_view: View(0),
            timestamp: Timestamp(height),
            bundles_root: Digest::ZERO,
            log_size: 0,
            log_root: Digest::ZERO,
        };
        let entry = |number: u64| {
            let position = BundlePosition { start: number, number: if number == 0 { height } else { 0 } };
            let name = NodeName::new(&format!("n{number}")).unwrap();
            StateEntry::LastBundle(name, LastBundle { epoch: Epoch(0), position })
        };
        let map = StateMap::of((0..entries).map(entry));
        let checkpoint = Checkpoint {
            epoch: Epoch(0),
            height: Height(height),
            block: Digest::ZERO,
            state_root: map.root(),
            next_epoch: Epoch(0),
            next_set: Digest::ZERO,
        };
        let stable = StableCheckpoint { header: header.clone(), checkpoint, signatures: Signatures(Vec::new()) };
        let block = Arc::new(Block { header, bundles: Vec::new() });
        let version = Version { block, certificate: None, edge: LogEdge::new(), map };
        Snapshot { stable: Arc::new(stable), version: Arc::new(version) }
    }

    const ENTRIES: u64 = 20_000;

    fn names(path: &Path) -> BTreeSet<String> {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The files of an archive that holds this state and nothing else.
    fn files_of(snapshot: &Snapshot) -> BTreeSet<String> {
        let (_, parts) = archive::contents(snapshot);
        parts.map(|(_, hash)| hash.to_string()).chain([MANIFEST.to_owned()]).collect()
    }

    fn hashes(written: &Written) -> BTreeSet<Digest> {
        written.archived.hashes().copied().collect()
    }

    fn assert_complete(archived: &Archived, snapshot: &Snapshot) {
        let (manifest, parts) = archive::contents(snapshot);
        assert_eq!(archived.manifest(Vec::new()), manifest);
        for (part, _) in parts {
            assert_eq!(archived.part(&part), archive::bytes_of(snapshot, &part));
        }
    }

    #[test]
    fn a_state_takes_the_place_of_the_last_one_and_what_they_share_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FOLDER);
        let (first, second) = (snapshot(8, ENTRIES), snapshot(16, ENTRIES));
        let written = write(&path, &first, &BTreeSet::new(), None).unwrap();
        assert!(files_of(&first).len() > 3, "several parts");
        assert_eq!(names(&path), files_of(&first));
        assert_complete(&written.archived, &first);
        let shared: BTreeSet<String> = files_of(&first).intersection(&files_of(&second)).cloned().collect();
        assert!(shared.len() > 2);
        let age = |name: &String| std::fs::metadata(path.join(name)).unwrap().modified().unwrap();
        let before: Vec<_> = shared.iter().filter(|name| *name != MANIFEST).map(age).collect();
        std::fs::write(path.join("left.tmp"), "cut off").unwrap();
        let written = write(&path, &second, &hashes(&written), None).unwrap();
        assert_eq!(names(&path), files_of(&second));
        assert_eq!(shared.iter().filter(|name| *name != MANIFEST).map(age).collect::<Vec<_>>(), before);
        assert_complete(&written.archived, &second);
        assert_eq!(read_manifest(&path.join(MANIFEST)).unwrap(), Some(written.archived.manifest(Vec::new())));
    }

    #[test]
    fn where_there_is_no_room_the_last_one_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FOLDER);
        let (first, second) = (snapshot(8, ENTRIES), snapshot(16, 2 * ENTRIES));
        let former = write(&path, &first, &BTreeSet::new(), None).unwrap();
        let refused = write(&path, &second, &hashes(&former), Some(300_000)).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert_eq!(names(&path), files_of(&first));
        assert_complete(&former.archived, &first);
        assert!(write(&path, &second, &hashes(&former), Some(10_000_000)).is_ok());
    }

    #[test]
    fn a_damaged_part_is_refused_and_written_again_with_the_next_state() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FOLDER);
        let state = snapshot(8, ENTRIES);
        let written = write(&path, &state, &BTreeSet::new(), None).unwrap();
        let (part, hash) = archive::contents(&state).1.next().unwrap();
        let file = path.join(hash.to_string());
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let serve = |written: &Written| serve_part(&Default::default(), Some(&written.archived), Height(8), part);
        assert_eq!(serve(&written), PeerMessage::SnapshotRefused { height: Height(8) });
        assert!(written.folder.is_damaged.load(Ordering::Relaxed) && !file.exists());
        let again = write(&path, &state, &hashes(&written), None).unwrap();
        assert!(matches!(serve(&again), PeerMessage::Part { .. }));
        assert!(!again.folder.is_damaged.load(Ordering::Relaxed));
    }

    #[test]
    fn a_manifest_that_is_none_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(MANIFEST);
        assert_eq!(read_manifest(&file), Ok(None));
        let frame = wire::encode(&PeerMessage::SnapshotRefused { height: Height(1) }).unwrap();
        for (bytes, why) in [
            (frame, "its manifest is a snapshot_refused message"),
            (Vec::new(), "its manifest is damaged: the frame is empty"),
            (vec![7, 7, 7], "its manifest is damaged: the frame has version 7"),
            (vec![0; Class::Sync.frame_bytes_max() + 9], "the limit of its class"),
        ] {
            std::fs::write(&file, bytes).unwrap();
            let said = read_manifest(&file).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
