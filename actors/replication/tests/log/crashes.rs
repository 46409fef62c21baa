//! The power fails at every single change of the disk: while a log is made, rolls over, drops segments, is repaired.

use dtvn_replication::log::{Log, LogError, MemoryDisk, RecordNumber, Unsynced};

use crate::{IDENTITY, LIMITS, Record, assert_holds, open, record};

/// What the caller was told before the power failed.
#[derive(Default)]
struct Told {
    created: bool,
    appended: Vec<Record>,
    durable: usize,
    /// Records below this one may be gone.
    dropped_before: u64,
}

/// A log's life over several segments, until a failure.
fn live(disk: MemoryDisk, told: &mut Told) -> Result<(), Box<(LogError, MemoryDisk)>> {
    let mut log = match Log::create(disk, IDENTITY, LIMITS) {
        Ok(log) => log,
        Err(unopened) => return Err(Box::new((unopened.error, unopened.disk))),
    };
    told.created = true;
    match fill(&mut log, told) {
        Ok(()) => Ok(()),
        Err(error) => Err(Box::new((error, log.into_disk()))),
    }
}

fn fill(log: &mut Log<MemoryDisk>, told: &mut Told) -> Result<(), LogError> {
    for (step, length) in [10, 1300, 40, 900, 900, 2, 1100, 5, 1400, 600, 700, 1, 1200, 3].into_iter().enumerate() {
        let (kind, payload) = record(told.appended.len() as u64 + 1, length);
        told.appended.push((kind, payload.clone()));
        log.append(kind, &payload)?;
        if step % 3 == 2 {
            log.write_unsynced()?;
        } else {
            told.durable = log.commit()?.0 as usize;
        }
        if step == 9 {
            told.dropped_before = 6;
            log.drop_segments_before(RecordNumber(6))?;
        }
    }
    told.durable = log.commit()?.0 as usize;
    Ok(())
}

/// All sensible ways to lose what was not synced: nothing, everything, and many mixtures.
fn tears() -> impl Iterator<Item = impl FnMut(Unsynced<'_>) -> u64> {
    (0_u64..40).map(|seed| {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        move |_: Unsynced<'_>| match seed {
            0 => 0,
            1 => u64::MAX,
            _ => {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                match state % 4 {
                    0 => 0,
                    1 => state >> 8 & 511,
                    _ => u64::MAX,
                }
            }
        }
    })
}

fn assert_survives(disk: MemoryDisk, told: &Told, context: &str) {
    let found = match open(disk.clone()) {
        Ok(found) => found,
        Err(LogError::NoLog) if !told.created => {
            let log = Log::create(disk, IDENTITY, LIMITS).unwrap();
            return assert_holds(log.into_disk(), &[]);
        }
        Err(error) => panic!("{context}: {error}"),
    };
    let (first, last) = (found.opened.first.0 as usize, found.opened.last.0 as usize);
    assert!(first == 1 || first as u64 <= told.dropped_before, "{context}: record {first} is the first");
    assert!(last >= told.durable, "{context}: {last} of {} durable records found", told.durable);
    assert_eq!(found.records, told.appended[first - 1..last], "{context}");
    assert_holds(disk, &found.records);
}

#[test]
fn the_power_may_fail_at_every_change() {
    let mut changes = 0;
    loop {
        let mut disk = MemoryDisk::new();
        disk.fail_power_after(changes);
        let mut told = Told::default();
        let Err(failed) = live(disk, &mut told) else { break };
        for (tear, keep) in tears().enumerate() {
            let mut disk = failed.1.clone();
            disk.crash(keep);
            assert_survives(disk, &told, &format!("power failed after {changes} changes, tear {tear}"));
        }
        changes += 1;
        assert!(changes < 200, "{}", failed.0);
    }
    assert!(changes > 40, "only {changes} changes: the test no longer rolls over");
}

#[test]
fn the_power_may_fail_while_a_torn_log_is_repaired() {
    let mut repairs = 0;
    for changes in 0..80 {
        let mut disk = MemoryDisk::new();
        disk.fail_power_after(changes);
        let mut told = Told::default();
        let Err(failed) = live(disk, &mut told) else { break };
        for first_keep in tears() {
            let mut torn = failed.1.clone();
            torn.crash(first_keep);
            for changes in 0..10 {
                let mut disk = torn.clone();
                disk.fail_power_after(changes);
                let mut disk = match Log::open(disk, IDENTITY, LIMITS, |_, _, _| Ok::<(), LogError>(())) {
                    Ok((log, _)) => log.into_disk(),
                    Err(unopened) => unopened.disk,
                };
                let keep = tears().nth(changes as usize + 2).unwrap();
                disk.crash(keep);
                assert_survives(disk, &told, "power failed in the repair");
                repairs += 1;
            }
        }
    }
    assert!(repairs > 10_000, "only {repairs} repairs were tried");
}

#[test]
fn what_a_new_process_finds_after_a_kill_stays_when_the_power_fails_later() {
    for changes in 0..200 {
        let mut disk = MemoryDisk::new();
        disk.fail_power_after(changes);
        let mut told = Told::default();
        let Err(failed) = live(disk, &mut told) else { return };
        let mut disk = failed.1;
        disk.restart();
        let found = match open(disk) {
            Ok(found) => found,
            Err(error) => {
                assert_eq!((error, told.created), (LogError::NoLog, false));
                continue;
            }
        };
        let mut disk = found.log.into_disk();
        disk.crash(|_| 0);
        assert_holds(disk, &found.records);
    }
    panic!("the log's life never came to its end");
}

#[test]
fn a_drop_that_a_kill_cut_off_is_for_good_before_the_next_one() {
    let mut log = Log::create(MemoryDisk::new(), IDENTITY, LIMITS).unwrap();
    for _ in 0..12 {
        log.append(1, &[1; 1000]).unwrap();
        log.commit().unwrap();
    }
    let segments: Vec<_> = log.segments().collect();
    // The process is killed after the removal of segment 1, before that is for good.
    log.disk_mut().fail_power_after(1);
    log.drop_segments_before(segments[1].first).unwrap_err();
    let mut disk = log.into_disk();
    disk.restart();
    let mut found = open(disk).unwrap();
    assert_eq!(found.opened.first, segments[1].first);
    // The next one removes segment 2, the power fails, and of all removals only the last one is kept.
    found.log.disk_mut().fail_power_after(1);
    found.log.drop_segments_before(segments[2].first).unwrap_err();
    let mut disk = found.log.into_disk();
    disk.crash(|unsynced| u64::from(matches!(unsynced, Unsynced::Removal { name: "0000000000000002.segment" })));
    assert_eq!(open(disk).unwrap().opened.first, segments[2].first);
}

#[test]
fn a_segment_that_was_only_prepared_is_removed() {
    let mut seen = 0;
    for changes in 0..200 {
        let mut disk = MemoryDisk::new();
        disk.fail_power_after(changes);
        let mut told = Told::default();
        let Err(mut failed) = live(disk, &mut told) else { break };
        // All is kept except sectors: the last batch of the old segment is lost, the new segment is there.
        failed.1.crash(|unsynced| if matches!(unsynced, Unsynced::Sector { .. }) { 0 } else { u64::MAX });
        let before = failed.1.contents("0000000000000002.segment").len();
        if let Ok(found) = open(failed.1)
            && before > 0
            && found.log.segments().count() == 1
            && found.opened.first.0 == 1
        {
            seen += 1;
            assert!(found.log.disk().contents("0000000000000002.segment").is_empty());
        }
    }
    assert!(seen > 2, "the state was met {seen} times");
}
