//! The consensus log: its records, and whole segment files.

use std::convert::Infallible;

use dtvn_messages::Digest;
use dtvn_replication::log::{Disk, Log, LogIdentity, LogLimits, MemoryDisk};
use dtvn_replication::record::LogRecord;

use super::wire::chain;
use crate::Judged;

const SECTOR_BYTES: usize = 512;

/// The sizes with which the corpus was recorded.
pub const LIMITS: LogLimits = LogLimits { segment_bytes: 16 * 1_024, batch_bytes_max: 8 * 1_024 };

/// The identity of the recorded logs.
#[must_use]
pub fn identity() -> LogIdentity {
    LogIdentity([7; 32])
}

/// A record: its kind, then its payload. Canonical.
pub(super) fn record(input: &[u8]) -> Judged {
    let Some((kind, payload)) = input.split_first() else { return Judged::Refused };
    let Ok(record) = LogRecord::decode(*kind, payload, &chain()) else { return Judged::Refused };
    let again = record.encode();
    assert_eq!((again.kind, again.payload.as_slice()), (*kind, payload));
    Judged::Accepted
}

/// Segment files one behind the other, each of [`LIMITS`]' length, as far as the input goes. Scanned without and with
/// repair: what opens must open again, with nothing to cut and the same records; what is refused stays as it was.
pub(super) fn segments(input: &[u8]) -> Judged {
    let mut disk = disk_of(input);
    let verified = Log::verify(&mut disk, identity(), LIMITS);
    let mut records = Vec::new();
    let opened = Log::open(disk, identity(), LIMITS, |position, kind, payload| {
        records.push((position.number, kind, Digest(dtvn_messages::sha256(&[payload]).0)));
        Ok::<_, Infallible>(())
    });
    let (log, opened) = match opened {
        Ok(opened) => opened,
        Err(unopened) => {
            assert!(verified.is_err(), "verify found nothing: {unopened}");
            return Judged::Refused;
        }
    };
    assert_eq!(verified, Ok(opened), "to verify and to open find the same");
    let mut again = Vec::new();
    let reopened = Log::open(log.into_disk(), identity(), LIMITS, |position, kind, payload| {
        again.push((position.number, kind, Digest(dtvn_messages::sha256(&[payload]).0)));
        Ok::<_, Infallible>(())
    });
    let Ok((_, reopened)) = reopened else { panic!("what was repaired does not open") };
    assert_eq!(again, records);
    assert_eq!(reopened.cut_bytes, None, "a repair leaves nothing to cut");
    Judged::Accepted
}

fn disk_of(input: &[u8]) -> MemoryDisk {
    let mut disk = MemoryDisk::new();
    for (position, bytes) in input.chunks(LIMITS.segment_bytes as usize).take(8).enumerate() {
        let name = format!("{:016}.segment", position + 1);
        // A file as long as its bytes: a short last one is one that lost its end. Rounded down to what a disk has.
        let length = bytes.len() / SECTOR_BYTES * SECTOR_BYTES;
        let written = disk.create(&name, length as u64).and_then(|()| disk.write_at(&name, 0, &bytes[..length]));
        if written.is_ok() {
            let _synced = disk.sync(&name);
        }
    }
    let _synced = disk.sync_directory();
    disk
}
