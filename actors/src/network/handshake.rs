//! The first frame on every stream, in both directions: who speaks, on which chain, in which version.
//!
//! architecture.md section 7: "its hash is part of the handshake"; "a node started otherwise fails the handshake,
//! which says what differs". Each side sends its own [`Hello`] and compares the other one's by itself, so both sides
//! learn the difference. Layout (big-endian, messages' codec): version `u8`, chain id (text), genesis hash (32 bytes),
//! start `u64`, classes `u8`, summary of the validator set (bytes), node name (text). Only the first byte is the same
//! in all versions.

use std::fmt;
use std::io;

use bytes::Bytes;
use dtvn_messages::codec::{DecodeError, Layout, Reader, Writer};
use dtvn_messages::crypto::Digest;
use dtvn_messages::ids::{ChainId, NodeName};
use dtvn_messages::limits;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use thiserror::Error;

use super::class::ClassSet;

/// What a node says of itself when a stream opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The version of framing and contents.
    pub wire_version: u8,
    /// The chain.
    pub chain_id: ChainId,
    /// The hash of the chain's genesis.
    pub genesis: Digest,
    /// When this process started, wall time in microseconds: what tells two processes with one key apart.
    pub start: u64,
    /// The classes that the speaker is willing to share with the listener.
    pub classes: ClassSet,
    /// The speaker's epoch and validator set, in a form that the caller chooses and judges.
    pub summary: Bytes,
    /// The speaker's name.
    pub node_name: NodeName,
}

/// One thing in which two nodes differ that must not differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// They speak different versions.
    WireVersion {
        /// Our version.
        ours: u8,
        /// Theirs.
        theirs: u8,
    },
    /// They serve different chains.
    ChainId {
        /// Our chain.
        ours: ChainId,
        /// Theirs.
        theirs: ChainId,
    },
    /// They have different genesis files for the chain.
    Genesis {
        /// The hash of ours.
        ours: Digest,
        /// The hash of theirs.
        theirs: Digest,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WireVersion { ours, theirs } => write!(formatter, "wire version: ours {ours}, theirs {theirs}"),
            Self::ChainId { ours, theirs } => write!(formatter, "chain id: ours {ours}, theirs {theirs}"),
            Self::Genesis { ours, theirs } => write!(formatter, "genesis hash: ours {ours}, theirs {theirs}"),
        }
    }
}

/// Why a peer is not talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What differs: at least one thing.
    pub differences: Vec<Difference>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, difference) in self.differences.iter().enumerate() {
            if position > 0 {
                formatter.write_str("; ")?;
            }
            difference.fmt(formatter)?;
        }
        Ok(())
    }
}

/// Why a handshake came to nothing.
#[derive(Debug, Error)]
pub enum GreetingError {
    /// The stream broke or ended.
    #[error("the stream broke during the handshake: {0}")]
    Io(#[from] io::Error),
    /// The other side took too long.
    #[error("no handshake within {:?}", limits::SESSION_SETUP_TIMEOUT)]
    TimedOut,
    /// The announced length is above the limit.
    #[error("a handshake of {announced} bytes was announced, above the limit of {}", limits::HANDSHAKE_BYTES_MAX)]
    TooLong {
        /// What was announced.
        announced: usize,
    },
    /// The bytes are not a handshake.
    #[error("the handshake is malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// The peer belongs elsewhere.
    #[error("the peer belongs to another network: {0}")]
    Refused(Refusal),
}

impl Hello {
    fn to_frame(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(256);
        writer.u32(0);
        writer.u8(self.wire_version);
        self.chain_id.write(&mut writer);
        writer.fixed(&self.genesis.0);
        writer.u64(self.start);
        writer.u8(self.classes.bits());
        writer.bytes(&self.summary);
        self.node_name.write(&mut writer);
        let mut frame = writer.into_bytes();
        let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame
    }

    /// Reads another node's handshake and compares it with this one.
    ///
    /// # Errors
    /// [`GreetingError::Malformed`] or [`GreetingError::Refused`].
    fn judge(&self, bytes: &[u8]) -> Result<Self, GreetingError> {
        let mut reader = Reader::new(bytes);
        let wire_version = reader.u8()?;
        if wire_version != self.wire_version {
            let difference = Difference::WireVersion { ours: self.wire_version, theirs: wire_version };
            return Err(GreetingError::Refused(Refusal { differences: vec![difference] }));
        }
        let theirs = Self {
            wire_version,
            chain_id: ChainId::read(&mut reader)?,
            genesis: Digest(reader.array()?),
            start: reader.u64()?,
            classes: ClassSet::from_bits(reader.u8()?),
            summary: Bytes::copy_from_slice(
                reader.bytes("the validator set's summary", limits::HANDSHAKE_SUMMARY_BYTES_MAX)?,
            ),
            node_name: NodeName::read(&mut reader)?,
        };
        reader.finish()?;
        let differences = self.differences(&theirs);
        if differences.is_empty() { Ok(theirs) } else { Err(GreetingError::Refused(Refusal { differences })) }
    }

    fn differences(&self, theirs: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        if self.chain_id != theirs.chain_id {
            differences.push(Difference::ChainId { ours: self.chain_id.clone(), theirs: theirs.chain_id.clone() });
        }
        if self.genesis != theirs.genesis {
            differences.push(Difference::Genesis { ours: self.genesis, theirs: theirs.genesis });
        }
        differences
    }
}

/// Exchanges handshakes on a fresh stream. Who opened the stream speaks first; the other side answers even if it will
/// refuse, so that both learn why.
///
/// # Errors
/// Any [`GreetingError`] except `TimedOut`, which is the caller's to add.
pub async fn greet<S>(stream: &mut S, ours: &Hello, opened_by_us: bool) -> Result<Hello, GreetingError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if opened_by_us {
        send(stream, ours).await?;
    }
    let frame = receive(stream).await?;
    if !opened_by_us {
        send(stream, ours).await?;
    }
    ours.judge(&frame)
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, ours: &Hello) -> io::Result<()> {
    stream.write_all(&ours.to_frame()).await?;
    stream.flush().await
}

async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, GreetingError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > limits::HANDSHAKE_BYTES_MAX {
        return Err(GreetingError::TooLong { announced: length });
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;

    use dtvn_messages::wire::WIRE_VERSION;

    use super::*;

    fn hello() -> Hello {
        Hello {
            wire_version: WIRE_VERSION,
            chain_id: ChainId::new("dtvn-dev-4").unwrap(),
            genesis: Digest([7; 32]),
            start: 3,
            classes: ClassSet::VALIDATORS,
            summary: Bytes::from_static(b"epoch 0"),
            node_name: NodeName::new("node0").unwrap(),
        }
    }

    fn judged(theirs: &Hello) -> Result<Hello, GreetingError> {
        hello().judge(&theirs.to_frame()[4..])
    }

    fn refusal(theirs: &Hello) -> String {
        match judged(theirs) {
            Err(GreetingError::Refused(refusal)) => refusal.to_string(),
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn a_peer_of_the_same_chain_is_understood_whole() {
        let theirs = Hello {
            start: 9,
            classes: ClassSet::OBSERVERS,
            node_name: NodeName::new("node1").unwrap(),
            summary: Bytes::from(vec![5; limits::HANDSHAKE_SUMMARY_BYTES_MAX]),
            ..hello()
        };
        assert_eq!(judged(&theirs).unwrap(), theirs);
        assert!(theirs.to_frame().len() - 4 <= limits::HANDSHAKE_BYTES_MAX);
    }

    #[test]
    fn the_refusal_names_each_field_that_differs_and_no_other() {
        let chain = Hello { chain_id: ChainId::new("dtvn-dev-7").unwrap(), ..hello() };
        assert_eq!(refusal(&chain), "chain id: ours dtvn-dev-4, theirs dtvn-dev-7");
        let genesis = Hello { genesis: Digest([8; 32]), ..hello() };
        assert_eq!(refusal(&genesis), format!("genesis hash: ours {}, theirs {}", "07".repeat(32), "08".repeat(32)));
        let both = refusal(&Hello { chain_id: chain.chain_id, genesis: genesis.genesis, ..hello() });
        assert!(both.contains("chain id") && both.contains("genesis hash"), "{both}");
    }

    #[test]
    fn another_version_is_named_even_if_nothing_else_can_be_read() {
        match hello().judge(&[WIRE_VERSION + 1, 0xff]) {
            Err(GreetingError::Refused(refusal)) => {
                assert_eq!(
                    refusal.to_string(),
                    format!("wire version: ours {WIRE_VERSION}, theirs {}", WIRE_VERSION + 1)
                );
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn trailing_and_missing_bytes_are_malformed() {
        let frame = hello().to_frame();
        let mut longer = frame[4..].to_vec();
        longer.push(0);
        assert!(matches!(hello().judge(&longer), Err(GreetingError::Malformed(DecodeError::Trailing(1)))));
        for length in 0..frame.len() - 4 {
            assert!(matches!(hello().judge(&frame[4..4 + length]), Err(GreetingError::Malformed(_))), "{length}");
        }
    }

    #[test]
    fn an_announced_length_above_the_limit_is_refused_unread() {
        let announced = u32::try_from(limits::HANDSHAKE_BYTES_MAX + 1).unwrap();
        let mut stream = Cursor::new(announced.to_be_bytes().to_vec());
        let result = block_on(receive(&mut stream));
        assert!(matches!(result, Err(GreetingError::TooLong { announced: length }) if length == announced as usize));
    }
}
