//! What a crash may cost: nothing that was durable, and never a record in the middle.

use dtvn_replication::log::{Log, LogLimits, MemoryDisk, Unsynced};

use crate::{IDENTITY, LIMITS, Record, assert_holds, commit, create, file, open, record};

/// Two commits, then batches that were written and not synced, each of one record; all records, and those durable.
fn with_unsynced_tail(lengths: &[usize]) -> (MemoryDisk, Vec<Record>, usize) {
    let limits = LogLimits { segment_bytes: 16 * 512, ..LIMITS };
    let mut log = Log::create(MemoryDisk::new(), IDENTITY, limits).unwrap();
    let mut records = commit(&mut log, &[10, 600]);
    records.extend(commit(&mut log, &[1]));
    let durable = records.len();
    for length in lengths {
        let (kind, payload) = record(records.len() as u64 + 1, *length);
        log.append(kind, &payload).unwrap();
        log.write_unsynced().unwrap();
        records.push((kind, payload));
    }
    assert_eq!(log.durable().0, durable as u64);
    (log.into_disk(), records, durable)
}

#[test]
fn cut_at_every_byte_the_last_batch_costs_only_itself() {
    let (disk, records, durable) = with_unsynced_tail(&[700]);
    let (start, end) = (4 * 512_u64, 6 * 512_u64);
    for kept in 0..=end - start {
        let mut disk = disk.clone();
        disk.crash(|unsynced| match unsynced {
            Unsynced::Sector { offset, .. } => (start + kept).saturating_sub(offset),
            _ => unreachable!("only sectors are unsynced"),
        });
        let found = open(disk.clone()).unwrap();
        let whole = kept == end - start;
        assert_eq!(found.opened.cut_bytes.is_some(), kept > 0 && !whole, "kept {kept} bytes");
        assert_holds(disk, if whole { &records } else { &records[..durable] });
    }
}

#[test]
fn whatever_sectors_of_an_unsynced_tail_are_kept_whole_batches_up_to_the_first_hole_are_found() {
    // Each with the number of its sectors.
    let batches = [(3, 1), (600, 2), (20, 1), (300, 1), (1000, 3), (1, 1)];
    let (disk, records, durable) = with_unsynced_tail(&batches.map(|(length, _)| length));
    for kept in 0_u64..1 << 9 {
        let mut disk = disk.clone();
        disk.crash(|unsynced| match unsynced {
            Unsynced::Sector { offset, .. } => (kept >> (offset / 512 - 4) & 1) * 512,
            _ => unreachable!("only sectors are unsynced"),
        });
        let mut left = kept;
        let whole = batches.iter().take_while(|(_, sectors)| {
            let mask = (1 << sectors) - 1;
            let all = left & mask == mask;
            left >>= sectors;
            all
        });
        assert_holds(disk, &records[..durable + whole.count()]);
    }
}

#[test]
fn a_torn_tail_is_cut_for_good() {
    // The first sector of the first unsynced batch is lost, all that follows is kept: intact, and not to come back.
    let (mut disk, records, durable) = with_unsynced_tail(&[3, 600]);
    disk.crash(|unsynced| match unsynced {
        Unsynced::Sector { offset: 2048, .. } => 0,
        _ => 512,
    });
    let found = open(disk).unwrap();
    assert_eq!(found.opened.cut_bytes, Some(3 * 512));
    let mut disk = found.log.into_disk();
    disk.crash(|_| 0);
    let found = open(disk).unwrap();
    assert_eq!((found.opened.cut_bytes, found.records), (None, records[..durable].to_vec()));
    assert!(found.log.disk().contents(&file(1))[2048..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_crash_of_the_process_alone_loses_only_what_was_buffered() {
    let (disk, records, _) = with_unsynced_tail(&[3, 600]);
    let mut found = open(disk).unwrap();
    assert_eq!(found.records, records);
    // Opening made it durable: also a crash of the machine does not lose it now.
    found.log.append(9, b"buffered").unwrap();
    let mut disk = found.log.into_disk();
    disk.crash(|_| 0);
    assert_holds(disk, &records);
}

#[test]
fn a_payload_that_looks_like_a_batch_is_no_proof_of_loss() {
    // An intact sector that says "the record before me is durable", within an unsynced batch whose start is lost.
    let mut log = create();
    commit(&mut log, &[1]);
    commit(&mut log, &[2]);
    commit(&mut log, &[3]);
    let proof = log.disk().contents(&file(1))[3 * 512..4 * 512].to_vec();
    for pad in 0..512 {
        let mut log = create();
        let records = commit(&mut log, &[1]);
        log.append(1, &[vec![0; pad], proof.clone()].concat()).unwrap();
        log.write_unsynced().unwrap();
        let mut disk = log.into_disk();
        disk.crash(|unsynced| match unsynced {
            Unsynced::Sector { offset: 1024, .. } => 0,
            _ => 512,
        });
        assert_eq!(open(disk).unwrap().records, records, "pad {pad}");
    }
}

#[test]
fn an_empty_log_is_a_log() {
    let found = open(create().into_disk()).unwrap();
    assert_eq!((found.opened.records, found.opened.first.0, found.opened.last.0), (0, 1, 0));
    assert_holds(found.log.into_disk(), &[]);
}
