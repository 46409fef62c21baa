//! A batch: the records of one group commit, laid out in sectors as they are appended, so that they are copied once.
//! The layout is in the head of [`super`].

use sha2::{Digest as _, Sha256};

use super::sector::{self, CHECK_BYTES, DATA_BYTES, Mark, SECTOR_BYTES};
use super::segment::Fields;
use super::{Damage, Hash, RecordNumber, SegmentNumber};

const MAGIC: &[u8; 4] = b"DTVB";
const FINISHES_SEGMENT: u8 = 1;
const HEADER_BYTES: usize = 29;
const HASH_BYTES: usize = 32;
const TRAILER_BYTES: usize = 8 + HASH_BYTES;

/// Header and trailer of a batch.
pub(super) const OVERHEAD_BYTES: usize = HEADER_BYTES + TRAILER_BYTES;
/// What stands before a record's payload.
pub(super) const RECORD_HEADER_BYTES: usize = 5;

/// A batch that is being gathered.
#[derive(Debug)]
pub(super) struct Batch {
    /// Sectors; the last one may be unfinished.
    sectors: Vec<u8>,
    /// Bytes of data in them.
    data_bytes: usize,
    /// The same without a trailer, while there is one.
    unsealed_bytes: Option<usize>,
    count: u32,
}

/// The header of a batch; when sealing one, length and count are the batch's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) finishes_segment: bool,
    pub(super) length: u32,
    pub(super) count: u32,
    pub(super) first: RecordNumber,
    /// The last record that was durable when the batch was written.
    pub(super) durable: RecordNumber,
}

/// Where a batch starts, and what it follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) segment: SegmentNumber,
    pub(super) sector: u32,
    /// Chain hash before it.
    pub(super) previous: Hash,
    pub(super) first: RecordNumber,
    pub(super) durable: RecordNumber,
    pub(super) finishes_segment: bool,
}

impl Batch {
    pub(super) fn new() -> Self {
        let mut batch = Self { sectors: Vec::new(), data_bytes: 0, unsealed_bytes: None, count: 0 };
        batch.clear();
        batch
    }

    /// Forgets all records, and keeps the buffer.
    pub(super) fn clear(&mut self) {
        self.sectors.clear();
        self.data_bytes = 0;
        self.unsealed_bytes = None;
        self.count = 0;
        self.put(&[0; HEADER_BYTES]);
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// The length in bytes that the batch would have with one more record.
    pub(super) const fn length_with(&self, payload_bytes: usize) -> usize {
        self.data_bytes + RECORD_HEADER_BYTES + payload_bytes + TRAILER_BYTES
    }

    /// Adds a record; where it starts, in bytes of sectors from the start of the batch.
    pub(super) fn push(&mut self, kind: u8, payload: &[u8]) -> usize {
        let offset = self.sectors.len();
        let [one, two, three, four] = length_field(payload.len());
        self.put(&[kind, one, two, three, four]);
        self.put(payload);
        self.count += 1;
        offset
    }

    /// Completes header, trailer, checksums and marks; the chain hash after the batch. [`Batch::bytes`] is then what
    /// belongs on the disk.
    pub(super) fn seal(&mut self, place: &Place) -> Hash {
        self.unsealed_bytes = Some(self.data_bytes);
        let length = length_field(self.data_bytes + TRAILER_BYTES);
        let count = self.count.to_be_bytes();
        self.sectors[..4].copy_from_slice(MAGIC);
        self.sectors[4] = if place.finishes_segment { FINISHES_SEGMENT } else { 0 };
        self.sectors[5..9].copy_from_slice(&length);
        self.sectors[9..13].copy_from_slice(&count);
        self.sectors[13..21].copy_from_slice(&place.first.0.to_be_bytes());
        self.sectors[21..29].copy_from_slice(&place.durable.0.to_be_bytes());
        self.put(&length);
        self.put(&count);
        let hash = self.hash(&place.previous);
        self.put(&hash);
        self.sectors.resize(sector::count(self.data_bytes) * SECTOR_BYTES, 0);
        for (index, sector) in (place.sector..).zip(self.sectors.chunks_exact_mut(SECTOR_BYTES)) {
            let mark = if index == place.sector { Mark::First } else { Mark::Next };
            sector::seal(sector, place.segment, index, mark);
        }
        hash
    }

    /// Takes the trailer off again: the batch was not written, and may grow.
    pub(super) fn unseal(&mut self) {
        if let Some(data_bytes) = self.unsealed_bytes.take() {
            self.data_bytes = data_bytes;
            self.sectors.truncate(sector::physical(data_bytes));
        }
    }

    /// The batch in sectors.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.sectors
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = DATA_BYTES - self.data_bytes % DATA_BYTES;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.sectors.extend_from_slice(now);
            self.data_bytes += now.len();
            if now.len() == room {
                self.sectors.extend_from_slice(&[0; CHECK_BYTES]);
            }
            bytes = later;
        }
    }

    fn hash(&self, previous: &Hash) -> Hash {
        let mut hasher = Sha256::new_with_prefix(previous);
        let mut left = self.data_bytes;
        for sector in self.sectors.chunks(SECTOR_BYTES) {
            let (data, _) = sector.split_at(left.min(DATA_BYTES));
            hasher.update(data);
            left -= data.len();
        }
        hasher.finalize().into()
    }
}

impl BatchHeader {
    /// Reads the header from the data of a batch's first sector.
    pub(super) fn decode(data: &[u8]) -> Result<Self, Damage> {
        let mut fields = Fields { data };
        let malformed = Damage::Malformed("the header of a batch makes no sense");
        let header = (|| {
            let magic = fields.take::<4>()?;
            let [flag] = fields.take()?;
            let header = Self {
                finishes_segment: flag == FINISHES_SEGMENT,
                length: u32::from_be_bytes(fields.take()?),
                count: u32::from_be_bytes(fields.take()?),
                first: RecordNumber(fields.number()?),
                durable: RecordNumber(fields.number()?),
            };
            (magic == *MAGIC && flag <= FINISHES_SEGMENT).then_some(header)
        })()
        .ok_or(malformed)?;
        let least = header.count as usize * RECORD_HEADER_BYTES + OVERHEAD_BYTES;
        if (header.length as usize) < least || header.durable >= header.first { Err(malformed) } else { Ok(header) }
    }

    /// Checks a complete batch (its data, exactly `length` bytes) against its trailer; the chain hash after it.
    pub(super) fn verify(&self, data: &[u8], previous: &Hash) -> Result<Hash, Damage> {
        let (body, trailer) = data.split_at(data.len() - HASH_BYTES);
        let hash: Hash = Sha256::new_with_prefix(previous).chain_update(body).finalize().into();
        if hash != trailer {
            return Err(Damage::Hash);
        }
        let mut fields = Fields { data: &body[body.len() - 8..] };
        if fields.take() != Some(self.length.to_be_bytes()) || fields.take() != Some(self.count.to_be_bytes()) {
            return Err(Damage::Malformed("the trailer of a batch does not repeat its header"));
        }
        Ok(hash)
    }
}

/// A record within the data of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RecordIn<'a> {
    /// Where it starts, in bytes of data from the start of the batch.
    pub(super) offset: usize,
    pub(super) kind: u8,
    pub(super) payload: &'a [u8],
}

/// The records of a batch that was verified; an error where they do not fill it exactly.
pub(super) fn records<'a>(
    header: &BatchHeader,
    data: &'a [u8],
) -> impl Iterator<Item = Result<RecordIn<'a>, Damage>> + use<'a> {
    let end = data.len() - TRAILER_BYTES;
    let (mut offset, mut left) = (HEADER_BYTES, header.count);
    std::iter::from_fn(move || {
        let malformed = Damage::Malformed("the records of a batch do not fill it");
        if left == 0 {
            let over = offset != end;
            offset = end;
            return over.then_some(Err(malformed));
        }
        left -= 1;
        let Some((kind, payload)) = record(&data[offset..end]) else {
            (left, offset) = (0, end);
            return Some(Err(malformed));
        };
        let found = RecordIn { offset, kind, payload };
        offset += RECORD_HEADER_BYTES + payload.len();
        Some(Ok(found))
    })
}

/// The record at the front of some data.
pub(super) fn record(data: &[u8]) -> Option<(u8, &[u8])> {
    let mut fields = Fields { data };
    let [kind] = fields.take()?;
    let length = u32::from_be_bytes(fields.take()?);
    Some((kind, fields.data.get(..length as usize)?))
}

/// Lengths are bounded by [`super::LogLimits`], whose sizes are `u32`.
fn length_field(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        segment: SegmentNumber(1),
        sector: 1,
        previous: [3; 32],
        first: RecordNumber(1),
        durable: RecordNumber(0),
        finishes_segment: false,
    };

    fn data_of(batch: &Batch) -> Vec<u8> {
        let mut data: Vec<u8> =
            batch.bytes().chunks(SECTOR_BYTES).flat_map(|sector| &sector[..DATA_BYTES]).copied().collect();
        data.truncate(batch.data_bytes);
        data
    }

    #[test]
    fn a_sealed_batch_verifies_and_gives_its_records_back() {
        for size in [0, 1, 400, 432, 433, 434, 507, 938, 939, 940, 2000] {
            let mut batch = Batch::new();
            let payload = vec![7; size];
            batch.push(1, &payload);
            batch.push(2, b"second");
            let hash = batch.seal(&PLACE);
            let data = data_of(&batch);
            let header = BatchHeader::decode(&data).unwrap();
            assert_eq!((header.length as usize, header.count), (data.len(), 2));
            assert_eq!(header.verify(&data, &PLACE.previous), Ok(hash), "size {size}");
            assert_eq!(header.verify(&data, &[4; 32]), Err(Damage::Hash));
            let found: Vec<_> = records(&header, &data).map(|record| record.map(|record| record.payload)).collect();
            assert_eq!(found, [Ok(payload.as_slice()), Ok(b"second".as_slice())]);
        }
    }

    #[test]
    fn an_unsealed_batch_grows_as_if_it_had_never_been_sealed() {
        for size in [0, 400, 433, 473, 474, 506, 1000] {
            let (mut once, mut twice) = (Batch::new(), Batch::new());
            for batch in [&mut once, &mut twice] {
                batch.push(1, &vec![7; size]);
            }
            twice.seal(&PLACE);
            twice.unseal();
            for batch in [&mut once, &mut twice] {
                batch.push(2, b"later");
            }
            assert_eq!(once.seal(&PLACE), twice.seal(&PLACE), "size {size}");
            assert_eq!(once.bytes(), twice.bytes(), "size {size}");
        }
    }

    #[test]
    fn records_that_do_not_fill_their_batch_are_malformed() {
        let mut batch = Batch::new();
        batch.push(1, b"only");
        batch.seal(&PLACE);
        let data = data_of(&batch);
        let header = BatchHeader::decode(&data).unwrap();
        let none = BatchHeader { count: 0, ..header };
        assert!(records(&none, &data).next().unwrap().is_err());
        let two = BatchHeader { count: 2, ..header };
        assert!(records(&two, &data).nth(1).unwrap().is_err());
        assert_eq!(records(&header, &data).count(), 1);
    }
}
