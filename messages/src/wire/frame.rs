//! Frames: a version byte and a message, within the limits of its class.

use thiserror::Error;

use super::{Class, PeerMessage, WIRE_VERSION};
use crate::limits;

/// Why a frame is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// The frame has no bytes.
    #[error("the frame is empty")]
    Empty,
    /// The frame is of another version.
    #[error("the frame has version {0}, this node speaks {WIRE_VERSION}")]
    Version(u8),
    /// The frame is longer than its class allows.
    #[error("the frame has {found} bytes, the limit of its class is {limit}")]
    TooLong {
        /// Its length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The frame does not hold a message.
    #[error("the frame holds no message: {0}")]
    Malformed(String),
    /// Bytes are left over behind the message.
    #[error("{0} bytes are left over behind the message")]
    Trailing(usize),
    /// The message belongs to another class.
    #[error("a {0} message does not belong on this stream")]
    WrongClass(&'static str),
}

/// A frame of a message.
///
/// # Errors
/// If the message is longer than its class allows.
pub fn encode(message: &PeerMessage) -> Result<Vec<u8>, WireError> {
    let mut frame = vec![WIRE_VERSION];
    bincode::encode_into_std_write(message, &mut frame, bincode::config::standard())
        .map_err(|error| WireError::Malformed(error.to_string()))?;
    let limit = message.class().frame_bytes_max();
    if frame.len() > limit {
        return Err(WireError::TooLong { found: frame.len(), limit });
    }
    Ok(frame)
}

/// The message in a frame that came on a stream of `class`.
///
/// # Errors
/// If the frame is too long, of another version or class, malformed, or has bytes left over.
pub fn decode(frame: &[u8], class: Class) -> Result<PeerMessage, WireError> {
    let limit = class.frame_bytes_max();
    if frame.len() > limit {
        return Err(WireError::TooLong { found: frame.len(), limit });
    }
    let (version, body) = frame.split_first().ok_or(WireError::Empty)?;
    if *version != WIRE_VERSION {
        return Err(WireError::Version(*version));
    }
    let (message, used) = decode_body(body).map_err(|error| WireError::Malformed(error.to_string()))?;
    if used != body.len() {
        return Err(WireError::Trailing(body.len() - used));
    }
    if message.class() != class {
        return Err(WireError::WrongClass(message.name()));
    }
    check_counts(&message)?;
    Ok(message)
}

/// Decodes within a limit of some multiple of the body's length. bincode counts against it what a length promises,
/// before it allocates, and every number as if it were written in full: no honest message has more than eight times its
/// length, and none may have more than 32 times. (The limit is part of a type, so there are steps.)
fn decode_body(body: &[u8]) -> Result<(PeerMessage, usize), bincode::error::DecodeError> {
    const KIB: usize = 1_024;
    const LARGEST: usize = 2 * limits::SYNC_FRAME_BYTES_MAX;
    let standard = bincode::config::standard();
    match body.len() {
        0..512 => bincode::decode_from_slice(body, standard.with_limit::<{ 4 * KIB }>()),
        512..2_048 => bincode::decode_from_slice(body, standard.with_limit::<{ 16 * KIB }>()),
        2_048..8_192 => bincode::decode_from_slice(body, standard.with_limit::<{ 64 * KIB }>()),
        8_192..32_768 => bincode::decode_from_slice(body, standard.with_limit::<{ 256 * KIB }>()),
        32_768..131_072 => bincode::decode_from_slice(body, standard.with_limit::<{ 1_024 * KIB }>()),
        131_072..524_288 => bincode::decode_from_slice(body, standard.with_limit::<{ 4_096 * KIB }>()),
        524_288..2_097_152 => bincode::decode_from_slice(body, standard.with_limit::<{ 16_384 * KIB }>()),
        _ => bincode::decode_from_slice(body, standard.with_limit::<LARGEST>()),
    }
}

fn check_counts(message: &PeerMessage) -> Result<(), WireError> {
    let (what, found, limit) = match message {
        PeerMessage::FetchBundles(digests)
        | PeerMessage::AnnounceBundles(digests)
        | PeerMessage::FetchBlocks(digests)
        | PeerMessage::FetchViewChanges { digests, .. } => ("digests", digests.len(), limits::FETCH_DIGESTS_MAX),
        PeerMessage::SyncBlocks(blocks) => ("blocks", blocks.len(), limits::SYNC_BLOCKS_MAX),
        PeerMessage::Cosign(heads) => ("cosignatures", heads.len(), limits::COSIGN_HEADS_MAX),
        PeerMessage::Receipts(list) => ("receipt certificates", list.len(), limits::RECEIPTS_SENT_MAX),
        PeerMessage::EpochEnds(ends) => ("ends of epochs", ends.len(), limits::EPOCH_ENDS_MAX),
        PeerMessage::Snapshot(manifest) if manifest.ends.len() > limits::EPOCH_ENDS_MAX => {
            ("ends of epochs", manifest.ends.len(), limits::EPOCH_ENDS_MAX)
        }
        PeerMessage::Snapshot(manifest) => ("parts", manifest.cut.0.len(), limits::SNAPSHOT_PARTS_MAX),
        PeerMessage::Part { entries, .. } => ("bytes", entries.len(), limits::SNAPSHOT_PART_BYTES_MAX as usize + 4),
        _ => return Ok(()),
    };
    if found > limit {
        Err(WireError::Malformed(format!("{found} {what}, at most {limit} are allowed")))
    } else {
        Ok(())
    }
}
