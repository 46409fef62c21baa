//! Batches in bincode: the fast lane's smaller and cheaper form, with the very types of the JSON form.

use bincode::config::{Configuration, Limit};
use dtvn_messages::limits;
use thiserror::Error;

use super::{BatchAnswer, OperationRequest};

/// The media type of a batch in bincode: a `Vec<OperationRequest>` one way, a `Vec<BatchAnswer>` the other, in bincode's
/// standard configuration (variable-length little-endian integers).
pub const OPERATIONS_BINCODE: &str = "application/vnd.dtvn.operations+bincode";

const CONFIGURATION: Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    Limit<{ limits::API_BATCH_BYTES_MAX }>,
> = bincode::config::standard().with_limit::<{ limits::API_BATCH_BYTES_MAX }>();

/// Why bytes are no batch.
#[derive(Debug, Error)]
pub enum CompactError {
    /// Not bincode, or above the limit.
    #[error("the batch cannot be read: {0}")]
    Decode(#[from] bincode::error::DecodeError),
    /// More items than a batch may have; what is beyond their number is not even read.
    #[error("the batch has {0} items, at most {max} are allowed", max = limits::API_BATCH_OPERATIONS_MAX)]
    TooMany(u64),
    /// Bytes remain.
    #[error("{0} bytes remain after the batch")]
    Trailing(usize),
    /// It cannot be written.
    #[error("the batch cannot be written: {0}")]
    Encode(#[from] bincode::error::EncodeError),
}

/// Writes requests.
///
/// # Errors
/// If bincode cannot write them; it always can.
pub fn encode_requests(requests: &[OperationRequest]) -> Result<Vec<u8>, CompactError> {
    Ok(bincode::encode_to_vec(requests, CONFIGURATION)?)
}

/// Reads requests.
///
/// # Errors
/// If the bytes are not a batch, are too many, or bytes remain.
pub fn decode_requests(bytes: &[u8]) -> Result<Vec<OperationRequest>, CompactError> {
    decode(bytes)
}

/// Writes answers.
///
/// # Errors
/// If bincode cannot write them; it always can.
pub fn encode_answers(answers: &[BatchAnswer]) -> Result<Vec<u8>, CompactError> {
    Ok(bincode::encode_to_vec(answers, CONFIGURATION)?)
}

/// Reads answers.
///
/// # Errors
/// If the bytes are not answers, are too many, or bytes remain.
pub fn decode_answers(bytes: &[u8]) -> Result<Vec<BatchAnswer>, CompactError> {
    decode(bytes)
}

/// A list as bincode writes a `Vec`: a count, then the items. Item by item, so that a count alone allocates nothing.
fn decode<T: bincode::Decode<()>>(bytes: &[u8]) -> Result<Vec<T>, CompactError> {
    let (count, mut used): (u64, usize) = bincode::decode_from_slice(bytes, CONFIGURATION)?;
    if count > limits::API_BATCH_OPERATIONS_MAX as u64 {
        return Err(CompactError::TooMany(count));
    }
    let mut items = Vec::new();
    for _ in 0..count {
        let (item, length) = decode_item(&bytes[used..])?;
        items.push(item);
        used += length;
    }
    if used == bytes.len() { Ok(items) } else { Err(CompactError::Trailing(bytes.len() - used)) }
}

/// An item at the beginning of these bytes, and its length. bincode reserves what a text's length promises before it reads
/// the text, up to a limit; a number counts against that with up to 8 bytes, however short it is written. So the limit is 8
/// to 32 times what is there.
fn decode_item<T: bincode::Decode<()>>(bytes: &[u8]) -> Result<(T, usize), bincode::error::DecodeError> {
    match bytes.len() {
        ..=0x200 => bincode::decode_from_slice(bytes, CONFIGURATION.with_limit::<0x1000>()),
        0x201..=0x800 => bincode::decode_from_slice(bytes, CONFIGURATION.with_limit::<0x4000>()),
        0x801..=0x2000 => bincode::decode_from_slice(bytes, CONFIGURATION.with_limit::<0x1_0000>()),
        0x2001..=0x8000 => bincode::decode_from_slice(bytes, CONFIGURATION.with_limit::<0x4_0000>()),
        0x8001..=0x2_0000 => bincode::decode_from_slice(bytes, CONFIGURATION.with_limit::<0x10_0000>()),
        _ => bincode::decode_from_slice(bytes, CONFIGURATION),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;

    #[test]
    fn a_list_is_read_item_by_item_as_bincode_reads_it_whole() {
        let requests = vec![OperationRequest::seed(None, None); 300];
        let bytes = encode_requests(&requests).unwrap();
        assert_eq!(decode_requests(&bytes).unwrap(), requests);
        let (whole, used): (Vec<OperationRequest>, usize) = bincode::decode_from_slice(&bytes, CONFIGURATION).unwrap();
        assert_eq!((whole, used), (requests, bytes.len()));
        assert_eq!(decode_requests(&[0]).unwrap(), []);
    }

    #[test]
    fn a_text_that_cannot_be_there_is_given_no_room() {
        // One request of which a text has 256 KiB, and of that 100 bytes.
        let long = OperationRequest { reason: Some("x".repeat(1 << 18).into()), ..OperationRequest::seed(None, None) };
        let bytes = encode_requests(std::slice::from_ref(&long)).unwrap();
        assert_eq!(decode_requests(&bytes).unwrap(), [long]);
        let cut = decode_requests(&bytes[..200]).unwrap_err();
        assert!(matches!(cut, CompactError::Decode(bincode::error::DecodeError::LimitExceeded)), "{cut}");
        // However much of it is numbers, what is whole is read.
        for count in [1, 3, 9, 30, 300, limits::API_BATCH_OPERATIONS_MAX] {
            let requests = vec![OperationRequest::seed(None, None); count];
            assert_eq!(decode_requests(&encode_requests(&requests).unwrap()).unwrap(), requests);
        }
    }

    #[test]
    fn a_count_without_items_and_bytes_behind_them_are_refused() {
        let promised = [253, 0, 0, 0, 0, 0, 0, 0, 128];
        assert!(matches!(decode_requests(&promised), Err(CompactError::TooMany(count)) if count == 1 << 63));
        assert!(matches!(decode_requests(&[200]), Err(CompactError::Decode(_))));
        let mut longer = encode_requests(&[OperationRequest::seed(None, None)]).unwrap();
        longer.push(Kind::Seed as u8);
        assert!(matches!(decode_requests(&longer), Err(CompactError::Trailing(1))));
    }
}
