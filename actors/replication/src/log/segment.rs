//! One file of the log: its name, its header, and what the log remembers of it. The layout is in the head of [`super`].

use sha2::{Digest as _, Sha256};

use super::sector::{self, Mark, SECTOR_BYTES};
use super::{Damage, Hash, LogError, LogIdentity, RecordNumber, SegmentNumber};

/// Version of the format, in every header.
pub(super) const FORMAT_VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"DTVNCLOG";
const HEADER_BYTES: usize = 98;
const NAME_SUFFIX: &str = ".segment";
const NAME_DIGITS: usize = 16;

/// A segment of an open log.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) number: SegmentNumber,
    pub(super) name: String,
    /// Length of the file.
    pub(super) sectors: u32,
    /// Sectors in use, header included: the next batch starts here.
    pub(super) used: u32,
    /// The first record that it holds, or would hold.
    pub(super) first: RecordNumber,
    /// The last record that it holds; the one before `first` if it is empty.
    pub(super) last: RecordNumber,
}

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its number.
    pub segment: SegmentNumber,
    /// The first record that it holds, or would hold.
    pub first: RecordNumber,
    /// The last record written to it; the one before `first` if it is empty.
    pub last: RecordNumber,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that its file takes on the disk.
    pub file_bytes: u64,
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) identity: LogIdentity,
    pub(super) number: SegmentNumber,
    pub(super) file_bytes: u64,
    pub(super) first: RecordNumber,
    /// Chain hash before this segment.
    pub(super) previous: Hash,
}

impl Segment {
    /// A segment with a header and nothing else.
    pub(super) fn unused(header: &SegmentHeader) -> Self {
        Self {
            number: header.number,
            name: file_name(header.number),
            sectors: u32::try_from(header.file_bytes / SECTOR_BYTES as u64).unwrap_or(u32::MAX),
            used: 1,
            first: header.first,
            last: header.first.previous(),
        }
    }

    pub(super) fn summary(&self) -> SegmentSummary {
        SegmentSummary {
            segment: self.number,
            first: self.first,
            last: self.last,
            used_bytes: sector_offset(self.used),
            file_bytes: sector_offset(self.sectors),
        }
    }
}

impl SegmentHeader {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_be_bytes());
        bytes[10..42].copy_from_slice(&self.identity.0);
        bytes[42..50].copy_from_slice(&self.number.0.to_be_bytes());
        bytes[50..58].copy_from_slice(&self.file_bytes.to_be_bytes());
        bytes[58..66].copy_from_slice(&self.first.0.to_be_bytes());
        bytes[66..].copy_from_slice(&self.previous);
        bytes
    }

    /// The first sector of the segment.
    pub(super) fn seal(&self) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        sector[..HEADER_BYTES].copy_from_slice(&self.encode());
        sector::seal(&mut sector, self.number, 0, Mark::Header);
        sector
    }

    /// The chain hash that the segment's first batch continues.
    pub(super) fn chain(&self) -> Hash {
        Sha256::digest(self.encode()).into()
    }

    /// Reads the data of an intact header sector.
    pub(super) fn decode(data: &[u8], segment: SegmentNumber) -> Result<Self, LogError> {
        let malformed = |what| LogError::Damaged { segment, offset: 0, damage: Damage::Malformed(what) };
        let mut fields = Fields { data };
        if fields.take::<8>() != Some(*MAGIC) {
            return Err(malformed("the header does not start with DTVNCLOG"));
        }
        let version = fields.take().map(u16::from_be_bytes).ok_or_else(|| malformed("the header is too short"))?;
        if version != FORMAT_VERSION {
            return Err(LogError::UnknownVersion { segment, found: version, expected: FORMAT_VERSION });
        }
        (|| {
            Some(Self {
                identity: LogIdentity(fields.take()?),
                number: SegmentNumber(fields.number()?),
                file_bytes: fields.number()?,
                first: RecordNumber(fields.number()?),
                previous: fields.take()?,
            })
        })()
        .ok_or_else(|| malformed("the header is too short"))
    }
}

/// Takes fixed-size fields from the front of some bytes.
pub(super) struct Fields<'a> {
    pub(super) data: &'a [u8],
}

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.data.split_first_chunk::<N>()?;
        self.data = rest;
        Some(*field)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

/// Where a sector starts in its file, in bytes.
pub(super) const fn sector_offset(index: u32) -> u64 {
    index as u64 * SECTOR_BYTES as u64
}

/// The name of a segment's file.
pub(super) fn file_name(segment: SegmentNumber) -> String {
    format!("{segment:0>width$}{NAME_SUFFIX}", segment = segment.0, width = NAME_DIGITS)
}

/// The segment whose file has this name, if it is the name of one.
pub(super) fn parse_name(name: &str) -> Option<SegmentNumber> {
    let digits = name.strip_suffix(NAME_SUFFIX)?;
    let number = digits.parse().ok().map(SegmentNumber)?;
    (file_name(number) == name && number >= SegmentNumber::FIRST).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_name_names_a_segment() {
        assert_eq!(file_name(SegmentNumber(12)), "0000000000000012.segment");
        assert_eq!(parse_name("0000000000000012.segment"), Some(SegmentNumber(12)));
        for name in ["12.segment", "0000000000000012", "000000000000+012.segment", "0000000000000000.segment", ""] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }

    #[test]
    fn another_version_and_another_magic_are_told_apart() {
        let header = SegmentHeader {
            identity: LogIdentity([7; 32]),
            number: SegmentNumber(2),
            file_bytes: 4096,
            first: RecordNumber(5),
            previous: [9; 32],
        };
        let mut bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes, SegmentNumber(2)), Ok(header));
        bytes[9] = 2;
        let found = SegmentHeader::decode(&bytes, SegmentNumber(2));
        assert_eq!(found, Err(LogError::UnknownVersion { segment: SegmentNumber(2), found: 2, expected: 1 }));
        bytes[0] = b'X';
        assert!(matches!(SegmentHeader::decode(&bytes, SegmentNumber(2)), Err(LogError::Damaged { .. })));
    }
}
