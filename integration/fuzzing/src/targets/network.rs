//! What comes before a peer's messages: frames and the handshake.

use bytes::Bytes;
use dtvn_actors::network::{ClassSet, FrameReader, Hello, greet};
use dtvn_messages::wire::WIRE_VERSION;
use dtvn_messages::{ChainId, Digest, NodeName};
use futures::executor::block_on;
use futures::io::Cursor;

use crate::Judged;

const FRAME_BYTES_MAX: usize = 64 * 1_024;

/// The node that the other one speaks to.
#[must_use]
#[expect(clippy::expect_used, reason = "the names are valid ones")]
pub fn hello() -> Hello {
    Hello {
        wire_version: WIRE_VERSION,
        chain_id: ChainId::new("dtvn-fuzzing").expect("a valid name"),
        genesis: Digest([7; 32]),
        start: 3,
        classes: ClassSet::VALIDATORS,
        summary: Bytes::from_static(b"epoch 0"),
        node_name: NodeName::new("node0").expect("a valid name"),
    }
}

/// A stream that holds a handshake, with its length in front; we opened it.
pub(super) fn handshake(input: &[u8]) -> Judged {
    let ours = hello();
    // What we say goes in front of what we hear: a cursor has one place for both.
    let mut said = Cursor::new(Vec::new());
    let Ok(()) = block_on(async {
        let _refused = greet(&mut said, &ours, true).await;
        Ok::<(), std::io::Error>(())
    }) else {
        return Judged::Refused;
    };
    let own = said.into_inner().len();
    let mut stream = vec![0; own];
    stream.extend_from_slice(input);
    match block_on(greet(&mut Cursor::new(stream), &ours, true)) {
        Ok(theirs) => {
            assert_eq!(theirs.genesis, ours.genesis);
            Judged::Accepted
        }
        Err(error) => {
            assert!(error.to_string().len() < 1_024, "a peer's words do not fill our log");
            Judged::Refused
        }
    }
}

/// A stream of frames, cut into pieces as the first byte says: what comes out does not depend on the pieces, and is
/// what went in.
pub(super) fn frames(input: &[u8]) -> Judged {
    let Some((piece, stream)) = input.split_first() else { return Judged::Refused };
    let whole = cut(stream, stream.len().max(1));
    assert_eq!(cut(stream, usize::from(*piece).max(1)), whole);
    assert!(stream.starts_with(&whole.0) && (!whole.1 || whole.0.len() == stream.len()));
    if whole.1 { Judged::Accepted } else { Judged::Refused }
}

/// The frames, each behind its length again, and whether the stream was good to its end.
fn cut(stream: &[u8], piece: usize) -> (Vec<u8>, bool) {
    let mut reader = FrameReader::new(FRAME_BYTES_MAX);
    let mut frames = Vec::with_capacity(stream.len());
    for mut chunk in stream.chunks(piece) {
        while !chunk.is_empty() {
            match reader.next(&mut chunk) {
                Ok(Some(frame)) => {
                    frames.extend_from_slice(&(frame.len() as u32).to_be_bytes());
                    frames.extend_from_slice(&frame);
                }
                Ok(None) => {}
                Err(_too_long) => return (frames, false),
            }
        }
    }
    (frames, reader.is_between_frames())
}
