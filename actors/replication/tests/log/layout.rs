//! The bytes on the disk, built here a second time from the description in the module's head, and pinned.

use dtvn_replication::log::{Log, LogLimits, MemoryDisk};
use sha2::{Digest as _, Sha256};

use crate::{IDENTITY, Record, file};

const LIMITS: LogLimits = LogLimits { segment_bytes: 2048, batch_bytes_max: 600 };

fn sectors(segment: u64, first_sector: u32, header: bool, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, chunk) in (first_sector..).zip(data.chunks(507)) {
        let mark = match (header, index == first_sector) {
            (true, _) => 0x96,
            (false, true) => 0xA5,
            (false, false) => 0x5A,
        };
        let mut data = chunk.to_vec();
        data.resize(507, 0);
        let place = [&segment.to_be_bytes()[..], &index.to_be_bytes(), &[mark]].concat();
        let checksum = crc32fast::hash(&[place, data.clone()].concat());
        bytes.extend([data, checksum.to_be_bytes().to_vec(), vec![mark]].concat());
    }
    bytes
}

fn header(number: u64, first: u64, previous: &[u8]) -> Vec<u8> {
    let numbers = [number.to_be_bytes(), 2048_u64.to_be_bytes(), first.to_be_bytes()].concat();
    [&b"DTVNCLOG"[..], &1_u16.to_be_bytes(), &IDENTITY.0, &numbers, previous].concat()
}

fn batch(last_in_segment: u8, first: u64, durable: u64, records: &[Record], previous: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let records_bytes: Vec<u8> = records
        .iter()
        .flat_map(|(kind, payload)| [&[*kind][..], &(payload.len() as u32).to_be_bytes(), payload].concat())
        .collect();
    let length = (29 + records_bytes.len() as u32 + 40).to_be_bytes();
    let count = (records.len() as u32).to_be_bytes();
    let numbers = [first.to_be_bytes(), durable.to_be_bytes()].concat();
    let mut bytes =
        [b"DTVB", &[last_in_segment][..], &length, &count, &numbers, &records_bytes, &length, &count].concat();
    let hash = Sha256::digest([previous, &bytes].concat()).to_vec();
    bytes.extend(&hash);
    (bytes, hash)
}

/// Two segments: a commit of two records, an unsynced one over two sectors, an empty batch that finishes segment 1;
/// a commit in segment 2.
fn write() -> MemoryDisk {
    let mut log = Log::create(MemoryDisk::new(), IDENTITY, LIMITS).unwrap();
    log.append(1, b"proposal").unwrap();
    log.append(2, b"").unwrap();
    log.commit().unwrap();
    log.append(3, b"later").unwrap();
    log.write_unsynced().unwrap();
    log.append(4, &[0xC4; 500]).unwrap();
    log.commit().unwrap();
    log.into_disk()
}

#[test]
fn the_bytes_are_those_of_the_description() {
    let disk = write();
    let first_header = header(1, 1, &[0; 32]);
    let chain = Sha256::digest(&first_header).to_vec();
    let (one, chain) = batch(0, 1, 0, &[(1, b"proposal".to_vec()), (2, vec![])], &chain);
    let (two, chain) = batch(0, 3, 2, &[(3, b"later".to_vec())], &chain);
    let (end, chain) = batch(1, 4, 2, &[], &chain);
    let expected = [
        sectors(1, 0, true, &first_header),
        sectors(1, 1, false, &one),
        sectors(1, 2, false, &two),
        sectors(1, 3, false, &end),
    ];
    assert_eq!(disk.contents(&file(1)), expected.concat());

    let second_header = header(2, 4, &chain);
    let chain = Sha256::digest(&second_header).to_vec();
    let (three, _) = batch(0, 4, 3, &[(4, vec![0xC4; 500])], &chain);
    let expected = [sectors(2, 0, true, &second_header), sectors(2, 1, false, &three), vec![0; 512]];
    assert_eq!(disk.contents(&file(2)), expected.concat());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Change these only together with the format version.
#[test]
fn the_bytes_never_change() {
    let disk = write();
    let (one, two) = (disk.contents(&file(1)), disk.contents(&file(2)));
    assert_eq!(hex(&one[..98]), HEADER);
    assert_eq!(hex(&one[507..512]), HEADER_CHECK);
    assert_eq!(hex(&one[512..512 + 87]), BATCH);
    assert_eq!(hex(&one[1019..1024]), BATCH_CHECK);
    assert_eq!(hex(&Sha256::digest(&one)), SEGMENT_1);
    assert_eq!(hex(&Sha256::digest(&two)), SEGMENT_2);
}

const HEADER: &str = concat!(
    "4454564e434c4f470001abababababababababababababababababababababababababababababababab000000000000",
    "000100000000000008000000000000000001000000000000000000000000000000000000000000000000000000000000",
    "0000",
);
const HEADER_CHECK: &str = "9566a17a96";
const BATCH: &str = concat!(
    "4454564200000000570000000200000000000000010000000000000000010000000870726f706f73616c020000000000",
    "00005700000002321ccf3991037f7b1b122a70d35ef470278366470a40d68e7907ae68cd26a07b",
);
const BATCH_CHECK: &str = "ce430384a5";
const SEGMENT_1: &str = "59880b0767f41a86af8611fbe9112e1388b50e00a49949efe4174d4d5e5290ae";
const SEGMENT_2: &str = "37e46673c3ac50c1242b043c44ba57bccb1a6fd1c7d5c9c1dd58d5e16bfdf54a";
