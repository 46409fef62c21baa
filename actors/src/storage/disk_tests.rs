//! The log on real files: what the tests of the log itself show on a disk in memory, as far as a real one lets itself
//! be tried.

use std::os::unix::fs::PermissionsExt as _;

use dtvn_replication::log::{Log, LogError, LogIdentity, LogLimits, MemoryDisk, RecordNumber};

use super::*;

const IDENTITY: LogIdentity = LogIdentity([7; 32]);
const LIMITS: LogLimits = LogLimits { segment_bytes: 64 * 1024, batch_bytes_max: 16 * 1024 };

fn disk(directory: &tempfile::TempDir) -> FileDisk {
    FileDisk::open(&directory.path().join("log")).unwrap()
}

fn fill<D: Disk>(log: &mut Log<D>, records: u64) {
    for number in 0..records {
        log.append(number as u8, &vec![number as u8; (number * 61 % 5000) as usize]).unwrap();
        if number % 5 == 0 {
            log.write_unsynced().unwrap();
        } else if number % 5 == 4 {
            log.commit().unwrap();
        }
    }
    log.commit().unwrap();
}

fn count(disk: FileDisk) -> Result<u64, LogError> {
    let (_, opened) = Log::open(disk, IDENTITY, LIMITS, |_, _, _| Ok::<(), LogError>(()))?;
    Ok(opened.records)
}

#[test]
fn a_log_on_files_has_the_same_bytes_as_one_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let mut on_files = Log::create(disk(&directory), IDENTITY, LIMITS).unwrap();
    let mut in_memory = Log::create(MemoryDisk::new(), IDENTITY, LIMITS).unwrap();
    fill(&mut on_files, 100);
    fill(&mut in_memory, 100);
    assert!(on_files.segments().count() > 2);
    let (mut files, mut memory) = (on_files.into_disk(), in_memory.into_disk());
    let mut names = files.list().unwrap();
    names.sort();
    assert_eq!(names, memory.list().unwrap());
    for name in names {
        let bytes = std::fs::read(directory.path().join("log").join(&name)).unwrap();
        assert_eq!(bytes, memory.contents(&name), "{name}");
    }
    assert_eq!(count(disk(&directory)), Ok(100));
}

#[test]
fn many_segments_are_read_written_and_dropped_with_few_open_files() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::create(disk(&directory), IDENTITY, LIMITS).unwrap();
    let mut positions = Vec::new();
    while log.segments().count() < 2 * limits::LOG_OPEN_FILES_MAX {
        positions.push(log.append(1, &[9; 15_000]).unwrap());
        log.write_unsynced().unwrap();
    }
    // Reading all of it between a write and its sync must not close the file that is to be synced.
    let number = log.append(2, b"last").unwrap().number;
    log.write_unsynced().unwrap();
    for position in &positions {
        assert_eq!(log.read(*position).unwrap(), (1, vec![9; 15_000]));
    }
    assert!(log.disk().open.iter().any(|file| file.is_dirty));
    assert!(log.disk().open.len() <= limits::LOG_OPEN_FILES_MAX);
    assert_eq!(log.commit().unwrap(), number);
    assert!(log.disk().open.iter().all(|file| !file.is_dirty));
    let before = log.segments().count();
    assert!(log.drop_segments_before(RecordNumber(20)).unwrap() > 0);
    let kept = log.segments().count();
    let first = log.segments().next().unwrap().first;
    assert!(kept < before);
    drop(log);
    assert_eq!(std::fs::read_dir(directory.path().join("log")).unwrap().count(), kept);
    assert_eq!(count(disk(&directory)), Ok(number.0 - first.0 + 1));
}

#[test]
fn a_torn_file_is_cut_and_a_damaged_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::create(disk(&directory), IDENTITY, LIMITS).unwrap();
    fill(&mut log, 20);
    log.append(1, &[1; 2000]).unwrap();
    let used = log.segments().next().unwrap().used_bytes;
    log.commit().unwrap();
    drop(log);
    let path = directory.path().join("log/0000000000000001.segment");
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    // The last batch's third sector never reached the disk.
    file.write_all_at(&[0; 512], used + 1024).unwrap();
    assert_eq!(count(disk(&directory)), Ok(20));
    assert_eq!(count(disk(&directory)), Ok(20));
    file.write_all_at(&[0xEE], 600).unwrap();
    assert!(count(disk(&directory)).unwrap_err().is_damage());
    file.set_len(1000).unwrap();
    assert!(count(disk(&directory)).unwrap_err().is_damage());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(count(disk(&directory)), Err(LogError::NoLog));
}

#[test]
fn segments_have_their_space_from_the_start_and_are_private() {
    let directory = tempfile::tempdir().unwrap();
    let mut disk = disk(&directory);
    disk.create("a", 1_000_000).unwrap();
    let path = directory.path().join("log/a");
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (1_000_000, 0o600));
    assert!(std::os::unix::fs::MetadataExt::blocks(&metadata) * 512 >= 1_000_000, "the file is sparse");
    assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 0));
    let parent = std::fs::metadata(directory.path().join("log")).unwrap();
    assert_eq!(parent.permissions().mode() & 0o777, 0o700);
}

#[test]
fn failures_keep_their_kind() {
    let directory = tempfile::tempdir().unwrap();
    let mut disk = disk(&directory);
    assert_eq!(disk.length("none"), Err(DiskError::NotFound { name: "none".to_owned() }));
    assert_eq!(disk.remove("none"), Err(DiskError::NotFound { name: "none".to_owned() }));
    disk.create("a", 512).unwrap();
    assert_eq!(disk.create("a", 512), Err(DiskError::AlreadyExists { name: "a".to_owned() }));
    assert!(matches!(disk.read_at("a", 1, &mut [0; 512]), Err(DiskError::Io { operation: "read", .. })));
    let full = disk_error("create", "a", io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error()));
    assert_eq!(full, DiskError::NoSpace { operation: "create", name: "a".to_owned() });
    let path = directory.path().join("file");
    std::fs::write(&path, "").unwrap();
    let message = FileDisk::open(&path).unwrap_err().to_string();
    assert!(message.contains(&path.display().to_string()), "{message}");
}

#[test]
fn zeros_written_ahead_never_touch_data() {
    let directory = tempfile::tempdir().unwrap();
    let mut on_files = disk(&directory);
    let mut in_memory = MemoryDisk::new();
    let length = 3 * AHEAD_BYTES;
    let large = vec![5; AHEAD_BYTES as usize + 1];
    // Appended, with gaps, over the limit of the zeros, then again in the middle.
    let writes: [(u64, &[u8]); 7] = [
        (0, b"one"),
        (512, b"two"),
        (9_000, &large),
        (2 * AHEAD_BYTES, b"three"),
        (length - 4, b"last"),
        (600, b"x"),
        (0, b"y"),
    ];
    for disk in [&mut on_files as &mut dyn Disk, &mut in_memory] {
        disk.create("a", length).unwrap();
        for (offset, bytes) in writes {
            disk.write_at("a", offset, bytes).unwrap();
        }
    }
    let path = directory.path().join("log/a");
    assert_eq!(std::fs::read(&path).unwrap(), in_memory.contents("a"));
    // What another process wrote is unknown, and nothing is written ahead into it.
    drop(on_files);
    let mut again = disk(&directory);
    for disk in [&mut again as &mut dyn Disk, &mut in_memory] {
        disk.write_at("a", 100, b"z").unwrap();
        disk.write_at("a", 1_000, b"zz").unwrap();
    }
    assert_eq!(std::fs::read(&path).unwrap(), in_memory.contents("a"));
}
