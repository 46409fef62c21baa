//! The consensus log on a disk in memory: its exact layout, what a crash may cost, what damage must not go unnoticed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod crashes;
mod damage;
mod failures;
mod layout;
mod model;
mod segments;
mod torn;

use dtvn_replication::log::{Log, LogError, LogIdentity, LogLimits, MemoryDisk, Opened, RecordNumber, RecordPosition};

pub const IDENTITY: LogIdentity = LogIdentity([0xAB; 32]);
pub const LIMITS: LogLimits = LogLimits { segment_bytes: 4096, batch_bytes_max: 1500 };

/// A record as written and as read: kind and payload.
pub type Record = (u8, Vec<u8>);

/// A log opened, with all that it handed out.
pub struct Found {
    pub log: Log<MemoryDisk>,
    pub opened: Opened,
    pub records: Vec<Record>,
    pub positions: Vec<RecordPosition>,
}

pub fn create() -> Log<MemoryDisk> {
    Log::create(MemoryDisk::new(), IDENTITY, LIMITS).unwrap()
}

pub fn open(disk: MemoryDisk) -> Result<Found, LogError> {
    open_with(disk, LIMITS)
}

pub fn open_with(disk: MemoryDisk, limits: LogLimits) -> Result<Found, LogError> {
    let (mut records, mut positions) = (Vec::new(), Vec::new());
    let (log, opened) = Log::open(disk, IDENTITY, limits, |position, kind, payload| {
        records.push((kind, payload.to_vec()));
        positions.push(position);
        Ok::<(), LogError>(())
    })?;
    assert_eq!(opened.records, records.len() as u64);
    assert_eq!(opened.last, log.durable());
    assert_eq!(opened.last_position, positions.last().copied());
    Ok(Found { log, opened, records, positions })
}

/// A record that differs from all others in kind, length and content.
pub fn record(number: u64, payload_bytes: usize) -> Record {
    let payload = (0..payload_bytes).map(|index| (number as usize * 31 + index * 7 + 1) as u8).collect();
    (number as u8, payload)
}

/// Appends and commits records of the given lengths, numbered on from the last one.
pub fn commit(log: &mut Log<MemoryDisk>, lengths: &[usize]) -> Vec<Record> {
    let first = log.durable().0 + 1;
    let records: Vec<Record> = (first..).zip(lengths).map(|(number, length)| record(number, *length)).collect();
    for (number, (kind, payload)) in (first..).zip(&records) {
        assert_eq!(log.append(*kind, payload).unwrap().number, RecordNumber(number));
    }
    assert_eq!(log.commit().unwrap(), RecordNumber(first - 1 + lengths.len() as u64));
    records
}

/// The name of a segment's file.
pub fn file(segment: u64) -> String {
    format!("{segment:016}.segment")
}

/// Opens, checks that the log holds exactly these records, that it takes more, and that all is there once more.
pub fn assert_holds(disk: MemoryDisk, expected: &[Record]) {
    let mut found = open(disk).unwrap();
    assert_eq!(found.records, expected);
    let more = commit(&mut found.log, &[5, 600]);
    let mut disk = found.log.into_disk();
    disk.crash(|_| 0);
    let again = open(disk).unwrap();
    assert_eq!(again.opened.cut_bytes, None);
    assert_eq!(again.records, [expected, &more].concat());
}
