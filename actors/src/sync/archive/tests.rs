//! The archive in a folder, and when it is written to.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use dtvn_ledger::{StateEntry, StateMap};
use dtvn_messages::certificate::Signatures;
use dtvn_messages::merkle::LogEdge;
use dtvn_messages::wire::{self, Class, PeerMessage};
use dtvn_messages::{
    Block, BundlePosition, Checkpoint, Digest, Epoch, Header, LastBundle, NodeName, RulesVersion, StableCheckpoint,
    Timestamp, ValidatorIndex, View,
};
use dtvn_replication::archive::Source as _;
use dtvn_replication::execution::{Shelf, Snapshot, Version};
use dtvn_replication::sync::serve_part;

use super::folder::*;
use super::*;
use crate::shared::tests::shared_of;

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

fn job(path: &Path, snapshot: &Snapshot, former: Option<&Written>) -> Job {
    Job {
        path: path.to_owned(),
        snapshot: Arc::new(snapshot.clone()),
        former: former.map(|written| Arc::clone(&written.archived)),
        free_bytes_min: 0,
        alone: Arc::default(),
        pace: None,
        over: CancellationToken::new(),
    }
}

fn assert_complete(written: &Written, snapshot: &Snapshot) {
    let (manifest, parts) = archive::contents(snapshot);
    assert_eq!(written.archived.manifest(Vec::new()), manifest);
    for (part, _) in parts {
        assert_eq!(written.archived.part(&part), archive::bytes_of(snapshot, &part));
    }
    assert!(!written.is_damaged());
}

#[test]
fn a_state_takes_the_place_of_the_last_one_and_what_they_share_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FOLDER);
    let (first, second) = (snapshot(8, ENTRIES), snapshot(16, ENTRIES));
    let written = job(&path, &first, None).run().unwrap();
    assert!(files_of(&first).len() > 3, "several parts");
    assert_eq!(names(&path), files_of(&first));
    assert_complete(&written, &first);
    let shared: BTreeSet<String> = files_of(&first).intersection(&files_of(&second)).cloned().collect();
    assert!(shared.len() > 2);
    let age = |name: &String| std::fs::metadata(path.join(name)).unwrap().modified().unwrap();
    let ages = || shared.iter().filter(|name| *name != MANIFEST).map(age).collect::<Vec<_>>();
    let before = ages();
    std::fs::write(path.join("left.tmp"), "cut off").unwrap();
    let written = job(&path, &second, Some(&written)).run().unwrap();
    assert_eq!(names(&path), files_of(&second));
    assert_eq!(ages(), before);
    assert_complete(&written, &second);
    assert_eq!(read_manifest(&path).unwrap(), Some(written.archived.manifest(Vec::new())));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_each_part_the_chain_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = archive_of(directory.path(), true, 1);
    let state = Arc::new(snapshot(archive.every, ENTRIES));
    let parts = u32::try_from(archive::contents(&state).1.count()).unwrap();
    let snapshots = [(Height(archive.every), Arc::clone(&state))].into();
    archive.shared.shelf.publish(&Arc::new(Shelf { snapshots, ..Shelf::default() }));
    let Some(Work::Write(job)) = archive.next(CancellationToken::new()) else { panic!("it is due") };
    // Nothing is committed: each part is waited for as long as any is.
    let begin = std::time::Instant::now();
    let written = tokio::task::spawn_blocking(move || job.run()).await.unwrap().unwrap();
    assert!(parts > 3 && begin.elapsed() >= limits::ARCHIVE_REST_MAX * parts);
    assert_complete(&written, &state);
}

#[test]
fn where_there_is_no_room_or_the_work_is_cut_off_the_last_state_stays_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FOLDER);
    let (first, second) = (snapshot(8, ENTRIES), snapshot(16, 2 * ENTRIES));
    let former = job(&path, &first, None).run().unwrap();
    let refused = |change: fn(&mut Job)| {
        let mut job = job(&path, &second, Some(&former));
        change(&mut job);
        let refused = job.run().err().unwrap();
        assert_eq!(names(&path), files_of(&first));
        assert_complete(&former, &first);
        refused.kind()
    };
    assert_eq!(refused(|job| job.free_bytes_min = u64::MAX / 2), io::ErrorKind::StorageFull);
    assert_eq!(refused(|job| job.over.cancel()), io::ErrorKind::Interrupted);
    let mut enough = job(&path, &second, Some(&former));
    enough.free_bytes_min = 1;
    assert_complete(&enough.run().unwrap(), &second);
}

#[test]
fn a_damaged_part_is_refused_the_others_are_served_and_it_is_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FOLDER);
    let state = snapshot(8, ENTRIES);
    let written = job(&path, &state, None).run().unwrap();
    let parts: Vec<_> = archive::contents(&state).1.collect();
    let file = path.join(parts[0].1.to_string());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let serve = |written: &Written, part| serve_part(&Shelf::default(), Some(&written.archived), Height(8), part);
    assert_eq!(serve(&written, parts[0].0), PeerMessage::SnapshotRefused { height: Height(8) });
    assert!(written.is_damaged());
    assert!(matches!(serve(&written, parts[1].0), PeerMessage::Part { .. }));
    assert_complete(&job(&path, &state, Some(&written)).run().unwrap(), &state);
}

#[test]
fn a_part_that_cannot_be_read_is_refused_and_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FOLDER);
    let state = snapshot(8, ENTRIES);
    let written = job(&path, &state, None).run().unwrap();
    let (part, hash) = archive::contents(&state).1.next().unwrap();
    let file = path.join(hash.to_string());
    std::fs::remove_file(&file).unwrap();
    // A link to itself: whoever opens it fails, root too.
    std::os::unix::fs::symlink(&file, &file).unwrap();
    assert!(std::fs::read(&file).is_err_and(|error| error.kind() != io::ErrorKind::NotFound));
    assert_eq!(written.archived.part(&part), None);
    assert!(!written.is_damaged(), "it may be readable the next time");
    assert_complete(&job(&path, &state, Some(&written)).run().unwrap(), &state);
}

/// The archive of a validator, or of another node, whose store has all blocks from a height on.
fn archive_of(directory: &Path, is_validator: bool, first_block: u64) -> Archive {
    let shared = shared_of(if is_validator { "node0" } else { "another" });
    shared.board.post_first_block(Height(first_block));
    Archive::new(shared, directory.join(FOLDER), None)
}

fn shelf(archive: &Archive, heights: &[u64]) {
    let snapshots = heights.iter().map(|height| (Height(*height), Arc::new(snapshot(*height, 10)))).collect();
    archive.shared.shelf.publish(&Arc::new(Shelf { snapshots, ..Shelf::default() }));
}

/// Whether it writes a state, and of what height.
fn written(archive: &mut Archive) -> Option<Height> {
    let work = archive.next(CancellationToken::new())?;
    assert!(archive.next(CancellationToken::new()).is_none(), "one at a time");
    archive.on_done(work.run().map_err(|error| error.to_string()));
    match work {
        Work::Write(job) => Some(job.snapshot.stable.height()),
        Work::Remove { .. } => panic!("nothing is removed"),
    }
}

#[test]
fn a_state_is_written_when_it_is_due_and_the_storage_hears_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = archive_of(directory.path(), true, 1);
    let every = archive.every;
    assert_eq!((written(&mut archive), archive.shared.board.reach()), (None, Some(Height(0))));
    shelf(&archive, &[every - 1]);
    assert_eq!(written(&mut archive), None);
    shelf(&archive, &[every - 1, every]);
    assert_eq!(written(&mut archive), Some(Height(every)));
    assert_eq!(archive.shared.board.reach(), Some(Height(every)));
    shelf(&archive, &[every, 2 * every - 1]);
    assert_eq!(written(&mut archive), None);
    // The store has another state's blocks now, far above.
    archive.shared.board.post_first_block(Height(every + 2));
    assert_eq!(archive.shared.board.reach(), None);
    assert_eq!(written(&mut archive), Some(Height(2 * every - 1)));
    assert_eq!(written(&mut archive), None);
    // A part is damaged.
    archive.archived.as_ref().unwrap().folder.lost(&Digest::ZERO);
    assert_eq!(written(&mut archive), Some(Height(2 * every - 1)));
    assert_eq!(written(&mut archive), None);
}

#[test]
fn a_state_that_cannot_be_written_is_tried_again_when_the_next_one_is_due() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = archive_of(directory.path(), true, 1);
    let every = archive.every;
    std::fs::write(directory.path().join(FOLDER), "in the way").unwrap();
    shelf(&archive, &[every]);
    assert_eq!(written(&mut archive), Some(Height(every)));
    assert_eq!((written(&mut archive), archive.shared.board.reach()), (None, Some(Height(0))));
    std::fs::remove_file(directory.path().join(FOLDER)).unwrap();
    assert_eq!(written(&mut archive), None);
    shelf(&archive, &[every, every + 1]);
    assert_eq!(written(&mut archive), None, "not each checkpoint is tried where the disk refuses");
    shelf(&archive, &[every, 2 * every, 2 * every + 1]);
    assert_eq!(written(&mut archive), Some(Height(2 * every)), "the first that is due: others archive it too");
    assert_eq!(archive.shared.board.reach(), Some(Height(2 * every)));
}

#[test]
fn a_node_without_a_vote_writes_nothing_and_removes_what_its_blocks_do_not_lead_on_from() {
    let directory = tempfile::tempdir().unwrap();
    let mut archive = archive_of(directory.path(), false, 1);
    let every = archive.every;
    shelf(&archive, &[every]);
    assert_eq!(written(&mut archive), None);
    archive.archived = Some(job(&archive.path, &snapshot(every, 10), None).run().unwrap());
    archive.post();
    archive.shared.board.post_first_block(Height(every + 1));
    assert_eq!(written(&mut archive), None);
    assert_eq!(archive.shared.board.archived(), Some(Height(every)));
    archive.shared.board.post_first_block(Height(every + 2));
    let removal = archive.next(CancellationToken::new()).unwrap();
    assert_eq!((archive.shared.board.archived(), archive.archived().is_none()), (None, true));
    assert!(matches!(removal.run(), Ok(Done::Removed)) && !archive.path.exists());
    archive.on_done(removal.run().map_err(|error| error.to_string()));
    assert_eq!(written(&mut archive), None);
}

#[test]
fn a_manifest_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    assert_eq!(read_manifest(path), Ok(None));
    let frame = wire::encode(&PeerMessage::SnapshotRefused { height: Height(1) }).unwrap();
    for (bytes, why) in [
        (frame, "its manifest is a snapshot_refused message"),
        (Vec::new(), "its manifest is damaged: the frame is empty"),
        (vec![7, 7, 7], "its manifest is damaged: the frame has version 7"),
        (vec![0; Class::Sync.frame_bytes_max() + 9], "the limit of its class"),
    ] {
        std::fs::write(path.join(MANIFEST), bytes).unwrap();
        let said = read_manifest(path).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn nothing_is_swept_that_a_manifest_may_name_which_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FOLDER);
    let state = snapshot(8, ENTRIES);
    job(&path, &state, None).run().unwrap();
    let before = names(&path);
    std::fs::write(path.join(MANIFEST), "of a later version, perhaps").unwrap();
    let cut_off = job(&path, &snapshot(16, ENTRIES), None);
    cut_off.over.cancel();
    assert!(cut_off.run().is_err());
    assert_eq!(names(&path), before);
}
