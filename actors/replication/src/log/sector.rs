//! Sectors: 512 bytes that judge themselves. The layout is in the head of [`super`].

use super::SegmentNumber;

/// What a disk writes whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;
/// How much of it is data.
pub(super) const DATA_BYTES: usize = 507;
/// Checksum and mark.
pub(super) const CHECK_BYTES: usize = SECTOR_BYTES - DATA_BYTES;

const BLANK: [u8; SECTOR_BYTES] = [0; SECTOR_BYTES];

/// What a written sector is part of. No two marks, nor a mark and zero, differ in one bit only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mark {
    /// The segment's header.
    Header = 0x96,
    /// The first sector of a batch.
    First = 0xA5,
    /// A further sector of a batch.
    Next = 0x5A,
}

/// What a sector says about itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sector<'a> {
    /// Never written: all zeros.
    Blank,
    /// Not written to its end.
    Partial,
    /// Written, and intact.
    Written(Mark, &'a [u8]),
    /// Written, and altered since.
    Damaged,
}

/// How many sectors hold that much data.
pub(super) const fn count(data_bytes: usize) -> usize {
    data_bytes.div_ceil(DATA_BYTES)
}

/// Where a byte of data is, counted in bytes of sectors.
pub(super) const fn physical(data_offset: usize) -> usize {
    data_offset / DATA_BYTES * SECTOR_BYTES + data_offset % DATA_BYTES
}

/// Writes checksum and mark into the last bytes of a full sector.
pub(super) fn seal(sector: &mut [u8], segment: SegmentNumber, index: u32, mark: Mark) {
    let (data, check) = sector.split_at_mut(DATA_BYTES);
    let [one, two, three, four] = checksum(segment, index, mark as u8, data);
    check.copy_from_slice(&[one, two, three, four, mark as u8]);
}

/// Judges a sector read from its place in a segment.
pub(super) fn judge(sector: &[u8], segment: SegmentNumber, index: u32) -> Sector<'_> {
    if sector == BLANK {
        return Sector::Blank;
    }
    let (data, check) = sector.split_at(DATA_BYTES);
    let (crc, mark) = check.split_at(CHECK_BYTES - 1);
    let mark = match mark {
        [0] => return Sector::Partial,
        [0x96] => Mark::Header,
        [0xA5] => Mark::First,
        [0x5A] => Mark::Next,
        _ => return Sector::Damaged,
    };
    if crc == checksum(segment, index, mark as u8, data) { Sector::Written(mark, data) } else { Sector::Damaged }
}

fn checksum(segment: SegmentNumber, index: u32, mark: u8, data: &[u8]) -> [u8; 4] {
    let mut place = [mark; 13];
    place[..8].copy_from_slice(&segment.0.to_be_bytes());
    place[8..12].copy_from_slice(&index.to_be_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place);
    hasher.update(data);
    hasher.finalize().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: (SegmentNumber, u32) = (SegmentNumber(3), 9);

    fn sealed(mark: Mark) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        for (index, byte) in sector.iter_mut().enumerate() {
            *byte = (index % 251) as u8;
        }
        seal(&mut sector, PLACE.0, PLACE.1, mark);
        sector
    }

    #[test]
    fn a_sealed_sector_is_intact_only_at_its_own_place() {
        let sector = sealed(Mark::First);
        assert_eq!(judge(&sector, PLACE.0, PLACE.1), Sector::Written(Mark::First, &sector[..DATA_BYTES]));
        assert_eq!(judge(&sector, PLACE.0, 10), Sector::Damaged);
        assert_eq!(judge(&sector, SegmentNumber(4), PLACE.1), Sector::Damaged);
    }

    #[test]
    fn every_flipped_bit_is_damage() {
        for mark in [Mark::Header, Mark::First, Mark::Next] {
            for bit in 0..SECTOR_BYTES * 8 {
                let mut sector = sealed(mark);
                sector[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(judge(&sector, PLACE.0, PLACE.1), Sector::Damaged, "bit {bit}");
            }
        }
    }

    #[test]
    fn every_torn_sector_is_unwritten_and_not_damage() {
        for kept in 0..SECTOR_BYTES {
            let mut sector = sealed(Mark::Next);
            sector[kept..].fill(0);
            let expected = if sector == BLANK { Sector::Blank } else { Sector::Partial };
            assert_eq!(judge(&sector, PLACE.0, PLACE.1), expected, "kept {kept}");
        }
    }

    #[test]
    fn data_skips_the_checks() {
        assert_eq!((physical(506), physical(507), physical(1014)), (506, 512, 1024));
        assert_eq!((count(0), count(507), count(508)), (0, 1, 2));
    }
}
