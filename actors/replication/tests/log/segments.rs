//! Ordinary life: many segments, reading again, dropping old ones, and no work where nothing is to be done.

use dtvn_replication::log::{Log, LogError, MemoryDisk, RecordNumber, RecordPosition, SegmentNumber};

use crate::{IDENTITY, LIMITS, Record, assert_holds, create, open, record};

/// A log over several segments, with where each record is.
fn several_segments() -> (Log<MemoryDisk>, Vec<Record>, Vec<RecordPosition>) {
    let mut log = create();
    let (mut records, mut positions) = (Vec::new(), Vec::new());
    for number in 1..=60 {
        let (kind, payload) = record(number, (number * 97 % 1400) as usize);
        positions.push(log.append(kind, &payload).unwrap());
        records.push((kind, payload));
        if number % 4 == 0 {
            log.commit().unwrap();
        }
    }
    assert!(log.segments().count() > 5);
    (log, records, positions)
}

#[test]
fn what_was_written_is_found_in_order_at_the_same_positions() {
    let (log, records, positions) = several_segments();
    let summaries: Vec<_> = log.segments().collect();
    let found = open(log.into_disk()).unwrap();
    assert_eq!(found.records, records);
    assert_eq!(found.positions, positions);
    assert_eq!(found.log.segments().collect::<Vec<_>>(), summaries);
    assert_holds(found.log.into_disk(), &records);
}

#[test]
fn every_record_can_be_read_at_any_time() {
    let (mut log, mut records, mut positions) = several_segments();
    // The last one is only buffered.
    positions.push(log.append(200, &[8; 333]).unwrap());
    records.push((200, vec![8; 333]));
    positions.push(log.append(201, b"").unwrap());
    records.push((201, vec![]));
    for _ in 0..2 {
        for (position, record) in positions.iter().zip(&records) {
            assert_eq!(log.read(*position).as_ref(), Ok(record), "{position:?}");
        }
        log.commit().unwrap();
    }
}

#[test]
fn positions_of_elsewhere_are_refused() {
    let (mut log, _, positions) = several_segments();
    let number = RecordNumber(4);
    let good = positions[3];
    assert_eq!((good.number, good.segment), (number, SegmentNumber(1)));
    for wrong in [
        RecordPosition { segment: SegmentNumber(99), ..good },
        RecordPosition { segment: SegmentNumber(2), ..good },
        RecordPosition { payload_bytes: good.payload_bytes + 1, ..good },
        RecordPosition { payload_bytes: u32::MAX, ..good },
        RecordPosition { offset: 0, ..good },
        RecordPosition { offset: u32::MAX, ..good },
    ] {
        assert_eq!(log.read(wrong), Err(LogError::NoSuchRecord { number }), "{wrong:?}");
    }
    for number in [RecordNumber(61), RecordNumber(u64::MAX)] {
        let unwritten = RecordPosition { number, ..good };
        assert_eq!(log.read(unwritten), Err(LogError::NoSuchRecord { number }));
    }
}

#[test]
fn old_segments_are_dropped_whole_and_the_rest_opens() {
    let (mut log, records, positions) = several_segments();
    let before: Vec<_> = log.segments().collect();
    let keep = before[3].first.next();
    assert_eq!(log.drop_segments_before(before[0].last).unwrap(), 0);
    assert_eq!(log.drop_segments_before(keep).unwrap(), 3 * 4096);
    assert_eq!(log.segments().next(), Some(before[3]));
    assert_eq!(log.read(positions[0]), Err(LogError::NoSuchRecord { number: RecordNumber(1) }));
    let kept = &records[before[3].first.0 as usize - 1..];
    assert_eq!(log.read(positions[59]).as_ref(), Ok(&records[59]));
    let mut disk = log.into_disk();
    disk.crash(|_| 0);
    let found = open(disk.clone()).unwrap();
    assert_eq!(found.opened.first, before[3].first);
    assert_holds(disk, kept);
}

#[test]
fn the_segment_in_use_is_never_dropped() {
    let (mut log, ..) = several_segments();
    log.drop_segments_before(RecordNumber(u64::MAX)).unwrap();
    assert_eq!(log.segments().count(), 1);
    let last = log.segments().next().unwrap();
    let found = open(log.into_disk()).unwrap();
    assert_eq!((found.opened.first, found.opened.last), (last.first, last.last));
}

#[test]
fn a_commit_is_one_write_and_one_sync_and_idleness_is_none() {
    let mut log = create();
    let (writes, syncs) = (log.disk().writes(), log.disk().syncs());
    for _ in 0..10 {
        log.append(1, b"vote").unwrap();
    }
    log.commit().unwrap();
    assert_eq!((log.disk().writes(), log.disk().syncs()), (writes + 1, syncs + 1));
    for _ in 0..3 {
        log.commit().unwrap();
        log.write_unsynced().unwrap();
    }
    assert_eq!((log.disk().writes(), log.disk().syncs()), (writes + 1, syncs + 1));
    log.append(1, b"nobody waits").unwrap();
    log.write_unsynced().unwrap();
    assert_eq!((log.disk().writes(), log.disk().syncs()), (writes + 2, syncs + 1));
    assert_eq!((log.durable(), log.commit().unwrap()), (RecordNumber(10), RecordNumber(11)));
    assert_eq!((log.disk().writes(), log.disk().syncs()), (writes + 2, syncs + 2));
    let writes = log.disk().writes();
    assert_eq!(open(log.into_disk()).unwrap().log.disk().writes(), writes, "opening an intact log writes nothing");
}

#[test]
fn other_files_in_the_directory_are_left_alone() {
    let (log, records, _) = several_segments();
    let mut disk = log.into_disk();
    for name in ["notes.txt", "0000000000000001.segment.copy", "7.segment"] {
        dtvn_replication::log::Disk::create(&mut disk, name, 10).unwrap();
    }
    assert_eq!(open(disk).unwrap().records, records);
}

#[test]
fn checking_changes_nothing_and_tells_what_opening_would() {
    let (mut log, ..) = several_segments();
    log.append(1, b"unsynced").unwrap();
    log.write_unsynced().unwrap();
    let mut disk = log.into_disk();
    disk.crash(|_| 100);
    let (writes, syncs) = (disk.writes(), disk.syncs());
    let opened = Log::verify(&mut disk, IDENTITY, LIMITS).unwrap();
    assert_eq!((disk.writes(), disk.syncs()), (writes, syncs));
    assert_eq!(opened.cut_bytes, Some(512));
    assert_eq!(open(disk).unwrap().opened, opened);
}
