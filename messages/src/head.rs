//! COSIGN: what a validator signs about a block that is committed and durable (consensus.md section 3, item 5).
//!
//! It is a C2SP `tlog-cosignature` (Ed25519) over a `tlog-checkpoint`, so that stock tools and outside witnesses can be
//! used. The checkpoint of a block:
//!
//! ```text
//! dtvn/<chain id>                    the origin: one log through all epochs
//! <size of the log after the block>
//! <root of the log after it, base64>
//! epoch <epoch>
//! height <height>
//! block <digest of the block, base64>
//! ```
//!
//! What is signed is `cosignature/v1`, a newline, `time <the block's time in seconds>`, a newline, and that text. This is
//! the one signed text without a length-prefixed tag: all others begin with a byte 0.

use crate::block::Header;
use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::{Digest, PublicKey, Signature};
use crate::ids::{ChainId, Epoch, Height, NodeName};
use crate::note::{NoteError, NoteSignature, decimal, decode_base64, encode_base64, key_id};
use crate::statement::Statement;

/// The head of the transparency log after a block. Layout: epoch `u64`, height `u64`, block digest (32 bytes), log size
/// `u64`, log root (32 bytes), time in seconds `u64` (below 2^63).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Head {
    /// The epoch of the block.
    pub epoch: Epoch,
    /// Its height.
    pub height: Height,
    /// Its digest.
    pub block: Digest,
    /// How many outcomes the log holds after it.
    pub log_size: u64,
    /// The RFC 6962 root of the log after it.
    pub log_root: Digest,
    /// Its agreed time, in whole seconds.
    pub time_seconds: u64,
}

/// The first line of every checkpoint of a chain.
#[must_use]
pub fn origin(chain: &ChainId) -> String {
    format!("dtvn/{chain}")
}

/// The name of a validator's key in notes.
#[must_use]
pub fn cosigner_name(chain: &ChainId, validator: &NodeName) -> String {
    format!("dtvn/{chain}/{validator}")
}

/// The chain in the name of a key, if it is that of a validator ([`cosigner_name`]): others have names of other forms.
#[must_use]
pub fn cosigner_chain(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("dtvn/")?;
    Some(rest.split_once('/').map_or(rest, |(chain, _)| chain))
}

impl Head {
    /// The head after a block with this header and digest.
    #[must_use]
    pub fn of(header: &Header, block: Digest) -> Self {
        Self {
            epoch: header.epoch,
            height: header.height,
            block,
            log_size: header.log_size,
            log_root: header.log_root,
            time_seconds: header.timestamp.seconds(),
        }
    }

    /// The checkpoint: the text of the note, with its final newline.
    #[must_use]
    pub fn checkpoint(&self, chain: &ChainId) -> String {
        format!(
            "{}\n{}\n{}\nepoch {}\nheight {}\nblock {}\n",
            origin(chain),
            self.log_size,
            encode_base64(&self.log_root.0),
            self.epoch,
            self.height,
            encode_base64(&self.block.0)
        )
    }

    /// Reads a checkpoint of a chain. The time is not in it: `time_seconds` is that of a cosignature.
    ///
    /// # Errors
    /// If it is not a checkpoint of this chain.
    pub fn from_checkpoint(text: &str, chain: &ChainId, time_seconds: u64) -> Result<Self, NoteError> {
        let text = text.strip_suffix('\n').ok_or(NoteError::Form("a checkpoint ends with a newline"))?;
        let lines: Vec<&str> = text.split('\n').collect();
        let [first, size, root, epoch, height, block] = lines[..] else {
            return Err(NoteError::Form("a checkpoint of this chain has six lines"));
        };
        let fail = |line, why| NoteError::Line { line, why };
        if first != origin(chain) {
            return Err(fail(1, "the checkpoint is of another log"));
        }
        let number = |line: &str, name: &str| line.strip_prefix(name).and_then(decimal);
        let hash = |text: &str| Some(Digest(decode_base64(text)?.try_into().ok()?));
        Ok(Self {
            log_size: number(size, "").ok_or(fail(2, "this is no size in decimal"))?,
            log_root: hash(root).ok_or(fail(3, "this is no hash in base64"))?,
            epoch: number(epoch, "epoch ").map(Epoch).ok_or(fail(4, "this is no line with an epoch"))?,
            height: number(height, "height ").map(Height).ok_or(fail(5, "this is no line with a height"))?,
            block: block
                .strip_prefix("block ")
                .and_then(hash)
                .ok_or(fail(6, "this is no line with a block's digest"))?,
            time_seconds,
        })
    }

    /// Whether one validator may sign both: they are about the same block, or the lower one has the smaller log in no
    /// later an epoch and no later time, and logs of equal size are equal. One that is committed never contradicts
    /// another.
    #[must_use]
    pub fn is_consistent_with(&self, other: &Self) -> bool {
        let (low, high) = if self.height <= other.height { (self, other) } else { (other, self) };
        if low.height == high.height {
            return low == high;
        }
        let is_in_order =
            low.epoch <= high.epoch && low.log_size <= high.log_size && low.time_seconds <= high.time_seconds;
        is_in_order && low.block != high.block && (low.log_size < high.log_size || low.log_root == high.log_root)
    }
}

/// The signature line of a cosignature: key id, time as 8 bytes, and the signature.
#[must_use]
pub fn cosignature_line(name: &str, key: &PublicKey, time_seconds: u64, signature: &Signature) -> NoteSignature {
    let mut payload = time_seconds.to_be_bytes().to_vec();
    payload.extend_from_slice(&signature.0);
    NoteSignature { name: name.to_owned(), key_id: key_id(name, key), payload }
}

/// Time and signature in the payload of a cosignature's line.
#[must_use]
pub fn read_cosignature(payload: &[u8]) -> Option<(u64, Signature)> {
    let (time, signature) = payload.split_first_chunk::<8>()?;
    let time_seconds = u64::from_be_bytes(*time);
    let signature = Signature(signature.try_into().ok()?);
    (time_seconds <= i64::MAX as u64).then_some((time_seconds, signature))
}

/// The signed text of a cosignature at a time over a checkpoint.
#[must_use]
pub fn cosigned_text(time_seconds: u64, checkpoint: &str) -> String {
    format!("cosignature/v1\ntime {time_seconds}\n{checkpoint}")
}

impl Statement for Head {
    fn tag(&self) -> &'static str {
        "cosignature/v1"
    }
    fn epoch(&self) -> Epoch {
        self.epoch
    }
    fn write_fields(&self, writer: &mut Writer) {
        self.height.write(writer);
        self.block.write(writer);
        writer.u64(self.log_size);
        self.log_root.write(writer);
        writer.u64(self.time_seconds);
    }

    /// C2SP's text form instead of a tagged layout.
    fn signed_bytes(&self, chain: &ChainId) -> Vec<u8> {
        cosigned_text(self.time_seconds, &self.checkpoint(chain)).into_bytes()
    }
}

impl Layout for Head {
    fn write(&self, writer: &mut Writer) {
        self.epoch.write(writer);
        self.write_fields(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let head = Self {
            epoch: Layout::read(reader)?,
            height: Layout::read(reader)?,
            block: Layout::read(reader)?,
            log_size: reader.u64()?,
            log_root: Layout::read(reader)?,
            time_seconds: reader.u64()?,
        };
        if head.time_seconds > i64::MAX as u64 {
            return Err(DecodeError::Invalid("the time of a head is beyond what a cosignature may say"));
        }
        Ok(head)
    }
}
