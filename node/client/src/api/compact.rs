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

fn decode<T: bincode::Decode<()>>(bytes: &[u8]) -> Result<T, CompactError> {
    let (value, used) = bincode::decode_from_slice(bytes, CONFIGURATION)?;
    if used == bytes.len() { Ok(value) } else { Err(CompactError::Trailing(bytes.len() - used)) }
}
