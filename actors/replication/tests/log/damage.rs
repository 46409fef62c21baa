//! Damage is never taken for the end of the log: durable records are handed out as they were, or an error is.

use dtvn_messages::Digest;
use dtvn_replication::log::{Damage, Log, LogError, LogIdentity, MemoryDisk, RecordNumber, SegmentNumber, Unsynced};

use crate::{IDENTITY, LIMITS, Record, commit, create, file, open};

/// Lengths of the records of each commit; they fill three segments.
const COMMITS: [&[usize]; 9] = [&[10, 500], &[1], &[900, 30], &[700], &[2, 2], &[1200], &[40], &[3, 700], &[8]];

/// Three segments with batches of one sector and more; all committed.
fn three_segments() -> (MemoryDisk, Vec<Record>, Vec<u64>) {
    let mut log = create();
    let mut records = Vec::new();
    for lengths in COMMITS {
        records.extend(commit(&mut log, lengths));
    }
    let used: Vec<u64> = log.segments().map(|segment| segment.used_bytes).collect();
    assert_eq!(used.len(), 3);
    (log.into_disk(), records, used)
}

#[test]
fn every_flipped_bit_is_noticed_or_harmless() {
    let (disk, records, used) = three_segments();
    for (segment, used) in (1..).zip(used) {
        let name = file(segment);
        for bit in 0..u64::from(LIMITS.segment_bytes) * 8 {
            let mut disk = disk.clone();
            assert!(disk.flip_bit(&name, bit));
            match open(disk) {
                Ok(found) => {
                    assert!(bit / 8 >= used, "bit {bit} of segment {segment} was not noticed");
                    assert_eq!(found.records, records);
                }
                Err(error) => assert!(error.is_damage(), "bit {bit} of segment {segment}: {error}"),
            }
        }
    }
}

#[test]
fn every_sector_that_turns_to_zeros_is_noticed_except_in_the_very_last_batch() {
    let (disk, records, used) = three_segments();
    for (segment, used) in (1..).zip(&used) {
        for offset in (0..*used).step_by(512) {
            let mut disk = disk.clone();
            assert!(disk.damage(&file(segment), offset, &[0; 512]));
            let is_last_batch = segment == 3 && offset + 512 == *used;
            match open(disk) {
                // This is what a batch looks like that was never written: nobody can tell.
                Ok(found) if is_last_batch => assert_eq!(found.records, records[..records.len() - 1]),
                Ok(_) => panic!("sector at {offset} of segment {segment} was not noticed"),
                Err(error) => assert!(error.is_damage() && !is_last_batch, "{offset} of segment {segment}: {error}"),
            }
        }
    }
}

#[test]
fn a_single_lost_record_is_noticed_if_one_was_committed_after_it() {
    let mut log = create();
    commit(&mut log, &[10]);
    commit(&mut log, &[20]);
    let mut disk = log.into_disk();
    disk.damage(&file(1), 512, &[0; 512]);
    let damage = Damage::Lost { next: RecordNumber(1) };
    assert_eq!(open(disk).err(), Some(LogError::Damaged { segment: SegmentNumber(1), offset: 512, damage }));
}

#[test]
fn damage_within_a_torn_tail_is_damage() {
    // No crash turns bits, so what is left of the tail is no better known than the rest.
    let mut log = create();
    commit(&mut log, &[10]);
    log.append(2, &[2; 900]).unwrap();
    log.write_unsynced().unwrap();
    let mut disk = log.into_disk();
    disk.crash(|unsynced| if matches!(unsynced, Unsynced::Sector { offset: 1024, .. }) { 0 } else { 512 });
    assert_eq!(open(disk.clone()).unwrap().opened.last, RecordNumber(1));
    disk.flip_bit(&file(1), 1600 * 8);
    let damaged = LogError::Damaged { segment: SegmentNumber(1), offset: 1536, damage: Damage::Checksum };
    assert_eq!(open(disk).err(), Some(damaged));
}

#[test]
fn every_truncated_file_is_noticed() {
    let (disk, ..) = three_segments();
    for segment in 1..=3 {
        for length in 0..u64::from(LIMITS.segment_bytes) {
            let mut disk = disk.clone();
            assert!(disk.truncate(&file(segment), length));
            let error = open(disk).err().expect("a file was cut, and nobody noticed");
            assert!(error.is_damage(), "segment {segment} cut at {length}: {error}");
        }
    }
}

#[test]
fn a_zeroed_or_cut_only_segment_is_no_log_or_damage_but_never_an_empty_log() {
    let mut log = create();
    commit(&mut log, &[5]);
    let disk = log.into_disk();
    for length in 0..4096 {
        let mut disk = disk.clone();
        disk.truncate(&file(1), length);
        match open(disk).err() {
            Some(LogError::NoLog) => assert_eq!(length, 0),
            Some(error) => assert!(error.is_damage(), "cut at {length}: {error}"),
            None => panic!("cut at {length}"),
        }
    }
    let mut header_gone = disk.clone();
    header_gone.damage(&file(1), 0, &[0; 512]);
    let damage = LogError::Damaged { segment: SegmentNumber(1), offset: 0, damage: Damage::NoHeader };
    assert_eq!(open(header_gone).err(), Some(damage));
    let mut all_gone = disk;
    all_gone.damage(&file(1), 0, &[0; 4096]);
    assert_eq!(open(all_gone).err(), Some(LogError::NoLog));
}

#[test]
fn a_missing_segment_is_named() {
    let (disk, ..) = three_segments();
    for segment in 2..=3 {
        let mut disk = disk.clone();
        assert!(disk.lose(&file(segment)));
        assert_eq!(open(disk).err(), Some(LogError::MissingSegment { segment: SegmentNumber(segment) }));
    }
}

/// Puts the bytes of one file in the place of another.
fn replace(disk: &mut MemoryDisk, name: &str, contents: &[u8]) {
    assert!(disk.damage(name, 0, contents));
}

#[test]
fn segments_of_another_history_do_not_fit() {
    let (mut disk, ..) = three_segments();
    let mut fork = create();
    // As many records, and as long, with other contents.
    for lengths in COMMITS {
        for length in lengths {
            fork.append(77, &vec![1; *length]).unwrap();
        }
        fork.commit().unwrap();
    }
    replace(&mut disk, &file(2), &fork.disk().contents(&file(2)));
    let damage = LogError::Damaged { segment: SegmentNumber(2), offset: 0, damage: Damage::Chain };
    assert_eq!(open(disk).err(), Some(damage));
}

#[test]
fn a_batch_of_another_history_does_not_match_its_hash() {
    let (mut one, mut two) = (create(), create());
    for (log, byte) in [(&mut one, 1), (&mut two, 2)] {
        log.append(1, &[byte]).unwrap();
        log.commit().unwrap();
        log.append(2, b"same").unwrap();
        log.commit().unwrap();
    }
    let second = two.disk().contents(&file(1))[1024..1536].to_vec();
    let mut disk = one.into_disk();
    disk.damage(&file(1), 1024, &second);
    let damage = LogError::Damaged { segment: SegmentNumber(1), offset: 1024, damage: Damage::Hash };
    assert_eq!(open(disk).err(), Some(damage));
}

#[test]
fn segments_that_changed_places_are_noticed() {
    let (mut disk, ..) = three_segments();
    let (two, three) = (disk.contents(&file(2)), disk.contents(&file(3)));
    replace(&mut disk, &file(2), &three);
    replace(&mut disk, &file(3), &two);
    assert!(open(disk).err().unwrap().is_damage());
}

#[test]
fn a_copy_of_an_earlier_time_is_noticed_if_a_segment_was_finished_since() {
    let mut log = create();
    commit(&mut log, &[10]);
    let early = log.disk().contents(&file(1));
    for _ in 0..10 {
        commit(&mut log, &[400]);
    }
    let mut disk = log.into_disk();
    replace(&mut disk, &file(1), &early);
    assert!(matches!(open(disk).err(), Some(LogError::Damaged { damage: Damage::Lost { .. }, .. })));
}

#[test]
fn the_log_of_another_is_refused_and_not_called_damaged() {
    let (disk, ..) = three_segments();
    let other = LogIdentity([0xCD; 32]);
    let error = Log::open(disk, other, LIMITS, |_, _, _| Ok::<(), LogError>(())).err().unwrap().error;
    assert_eq!(error, LogError::ForeignIdentity { segment: SegmentNumber(1), found: IDENTITY, expected: other });
    assert!(!error.is_damage());
}

#[test]
fn identities_differ_by_chain_node_and_genesis() {
    let identity = |chain: &str, node: &str, genesis: u8| {
        LogIdentity::new(&chain.parse().unwrap(), &node.parse().unwrap(), &Digest([genesis; 32]))
    };
    let all = [identity("chain", "node0", 1), identity("chainn", "ode0", 1), identity("chain", "node1", 1)];
    assert_ne!(all[0], all[1]);
    assert_ne!(all[0], all[2]);
    assert_ne!(all[0], identity("chain", "node0", 2));
    let pinned = "5bf86a7f5ca2f3064d6c7d810b42de6a9accea8068b184dc99060ee5921a8dfd";
    assert_eq!(all[0].to_string(), pinned);
}

#[test]
fn a_damaged_record_is_not_read() {
    let mut log = create();
    let position = log.append(1, &[7; 900]).unwrap();
    log.commit().unwrap();
    assert_eq!(log.read(position), Ok((1, vec![7; 900])));
    log.disk_mut().flip_bit(&file(1), 1100 * 8);
    assert!(log.read(position).unwrap_err().is_damage());
}
