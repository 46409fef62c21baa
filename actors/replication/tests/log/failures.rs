//! What the log does when its disk fails: nothing is called durable that is not, and a failed sync is final.

use dtvn_replication::log::{Disk as _, DiskError, Log, LogError, LogLimits, MemoryDisk, Struck};

use crate::{IDENTITY, LIMITS, assert_holds, commit, create, open, open_with};

#[test]
fn a_failed_sync_poisons_the_log() {
    let mut log = create();
    let records = commit(&mut log, &[10, 20]);
    log.append(1, b"lost").unwrap();
    log.disk_mut().fail_next_sync();
    assert!(matches!(log.commit(), Err(LogError::Disk(DiskError::Io { .. }))));
    // The disk would sync again, and keep nothing: nobody may ask it.
    let (writes, syncs) = (log.disk().writes(), log.disk().syncs());
    for _ in 0..2 {
        assert!(matches!(log.commit(), Err(LogError::Poisoned { .. })));
        assert!(matches!(log.append(1, b"more"), Err(LogError::Poisoned { .. })));
        assert!(matches!(log.write_unsynced(), Err(LogError::Poisoned { .. })));
        assert!(matches!(log.drop_segments_before(log.durable()), Err(LogError::Poisoned { .. })));
    }
    assert_eq!((log.disk().writes(), log.disk().syncs()), (writes, syncs));
    assert_eq!(log.durable().0, 2);
    let mut disk = log.into_disk();
    disk.restart();
    assert_holds(disk.clone(), &records);
    disk.crash(|_| u64::MAX);
    assert_holds(disk, &records);
}

#[test]
fn what_is_to_fail_is_counted_once_it_has_failed() {
    let mut log = create();
    commit(&mut log, &[10]);
    log.disk_mut().fail_next_sync();
    log.append(1, b"lost").unwrap();
    log.write_unsynced().unwrap();
    assert!(log.disk().is_unsynced());
    assert_eq!(log.disk_mut().take_struck(), Struck::default());
    log.commit().unwrap_err();
    assert_eq!(log.disk_mut().take_struck(), Struck { failed_syncs: 1, ..Struck::default() });
    let mut disk = log.into_disk();
    disk.crash(|_| u64::MAX);
    assert_eq!(disk.take_struck(), Struck { lossy_crashes: 1, ..Struck::default() }, "what the sync did not keep");
    disk.crash(|_| 0);
    assert_eq!((disk.take_struck(), disk.is_unsynced()), (Struck::default(), false), "there was nothing to lose");
    disk.no_space_after(600);
    disk.create("a", 512).unwrap();
    disk.create("b", 512).unwrap_err();
    disk.make_read_only();
    disk.write_at("a", 0, &[1]).unwrap_err();
    assert_eq!(disk.take_struck(), Struck { no_space: 1, read_only: 1, ..Struck::default() });
    disk.crash(|_| 0);
    assert_eq!(disk.take_struck(), Struck { lossy_crashes: 1, ..Struck::default() }, "the new files");
}

#[test]
fn a_failed_sync_at_the_end_of_a_segment_poisons_the_log() {
    for failing in 0..4 {
        let mut log = create();
        let mut records = commit(&mut log, &[1400]);
        records.extend(commit(&mut log, &[900]));
        // The next record needs a new segment: syncs of its length, of its header, and of the old segment.
        log.disk_mut().fail_power_after(failing);
        let error = log.append(1, &[1; 900]).unwrap_err();
        assert!(matches!(error, LogError::Disk(DiskError::Io { .. })), "{error}");
        assert!(matches!(log.commit(), Err(LogError::Poisoned { .. })));
        let mut disk = log.into_disk();
        disk.crash(|_| 0);
        assert_holds(disk, &records);
    }
}

#[test]
fn a_full_disk_is_told_apart_and_is_not_the_end() {
    let mut log = Log::create(MemoryDisk::new(), IDENTITY, LIMITS).unwrap();
    log.disk_mut().no_space_after(100);
    let mut records = commit(&mut log, &[1400]);
    records.extend(commit(&mut log, &[900]));
    log.append(3, &[3; 20]).unwrap();
    records.push((3, vec![3; 20]));
    for _ in 0..3 {
        let error = log.append(4, &[4; 900]).unwrap_err();
        assert!(error.is_disk_full(), "{error}");
    }
    // What was taken before is written, as there is room for it.
    assert_eq!(log.commit().unwrap().0, 3);
    assert!(log.append(4, &[4; 900]).unwrap_err().is_disk_full());
    log.disk_mut().unlimited_space();
    log.append(4, &[4; 900]).unwrap();
    records.push((4, vec![4; 900]));
    assert_eq!(log.commit().unwrap().0, 4);
    assert_eq!(log.segments().count(), 2);
    let mut disk = log.into_disk();
    disk.crash(|_| 0);
    assert_holds(disk, &records);
}

#[test]
fn a_full_disk_leaves_a_log_that_opens() {
    let mut log = create();
    log.disk_mut().no_space_after(100);
    let records = [commit(&mut log, &[1400]), commit(&mut log, &[900])].concat();
    assert!(log.append(4, &[4; 900]).unwrap_err().is_disk_full());
    let mut disk = log.into_disk();
    disk.unlimited_space();
    assert_holds(disk, &records);
}

#[test]
fn no_log_is_not_an_empty_log_and_a_log_is_not_made_twice() {
    assert_eq!(open(MemoryDisk::new()).err(), Some(LogError::NoLog));
    let mut log = create();
    let records = commit(&mut log, &[3]);
    let unopened = Log::create(log.into_disk(), IDENTITY, LIMITS).err().unwrap();
    assert_eq!(unopened.error, LogError::AlreadyExists);
    assert_holds(unopened.disk, &records);
}

#[test]
fn too_large_a_record_is_refused_and_nothing_else_changes() {
    let mut log = create();
    let limit = LIMITS.payload_bytes_max();
    assert_eq!(log.append(1, &vec![0; limit + 1]), Err(LogError::RecordTooLarge { found: limit + 1, limit }));
    let records = commit(&mut log, &[limit, limit]);
    assert_holds(log.into_disk(), &records);
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    for (segment_bytes, batch_bytes_max) in [(4096, 73), (4097, 1000), (1024, 507), (4096, 6 * 507 + 1), (0, 0)] {
        let limits = LogLimits { segment_bytes, batch_bytes_max };
        let error = Log::create(MemoryDisk::new(), IDENTITY, limits).err().unwrap().error;
        assert_eq!(error, LogError::Limits { segment_bytes, batch_bytes_max });
    }
    for (segment_bytes, batch_bytes_max) in [(1536, 507), (4096, 6 * 507)] {
        let limits = LogLimits { segment_bytes, batch_bytes_max };
        let mut log = Log::create(MemoryDisk::new(), IDENTITY, limits).unwrap();
        let records = commit(&mut log, &[limits.payload_bytes_max(), limits.payload_bytes_max(), 1]);
        assert_eq!(open_with(log.into_disk(), limits).unwrap().records, records);
    }
    // The shortest batch: one record of nothing.
    let limits = LogLimits { segment_bytes: 4096, batch_bytes_max: 74 };
    let mut log = Log::create(MemoryDisk::new(), IDENTITY, limits).unwrap();
    let records = commit(&mut log, &[0]);
    assert_eq!(open_with(log.into_disk(), limits).unwrap().records, records);
}

#[test]
fn other_limits_apply_from_the_next_segment_on() {
    let small = LogLimits { segment_bytes: 1536, batch_bytes_max: 507 };
    let mut log = Log::create(MemoryDisk::new(), IDENTITY, small).unwrap();
    let mut records = commit(&mut log, &[10]);
    let large = LogLimits { segment_bytes: 8192, batch_bytes_max: 5000 };
    let mut log = open_with(log.into_disk(), large).unwrap().log;
    records.extend(commit(&mut log, &[4000]));
    assert_eq!(log.segments().map(|segment| segment.file_bytes).collect::<Vec<_>>(), [1536, 8192]);
    let disk = log.into_disk();
    assert_eq!(open_with(disk.clone(), large).unwrap().records, records);
    let error = open_with(disk, small).err().unwrap();
    assert!(matches!(error, LogError::BatchTooLarge { limit: 507, .. }) && !error.is_damage(), "{error}");
}

#[test]
fn a_receiver_may_refuse_a_record() {
    let mut log = create();
    commit(&mut log, &[1, 2, 3]);
    let opened =
        Log::open(
            log.into_disk(),
            IDENTITY,
            LIMITS,
            |position, _, _| {
                if position.number.0 == 2 { Err("not that one") } else { Ok(()) }
            },
        );
    let error = opened.err().unwrap().error;
    assert_eq!(error.to_string(), "record 2 of the log is refused: not that one");
}
