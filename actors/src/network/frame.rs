//! Frames on a stream: a big-endian `u32` length, then that many bytes.
//!
//! consensus.md section 9: "a frame above the wire limit closes the stream and counts against the peer. No peer can
//! make a replica allocate more than a fixed amount." The announced length alone allocates nothing: a long frame's
//! buffer starts at one chunk and doubles as bytes arrive. Each frame owns exactly its bytes, so keeping a vote does
//! not keep a whole read buffer alive.

use bytes::Bytes;
use dtvn_messages::limits;
use thiserror::Error;

/// The length in front of each frame, in bytes.
pub const HEADER_BYTES: usize = 4;

/// A frame's announced length is above its class's limit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a frame of {announced} bytes was announced, above the limit of {limit}")]
pub struct FrameTooLong {
    /// What the peer announced.
    pub announced: usize,
    /// What the class allows.
    pub limit: usize,
}

/// The header of a frame of so many bytes; the queues admit none that a `u32` could not say.
#[must_use]
pub fn header(length: usize) -> [u8; HEADER_BYTES] {
    debug_assert!(u32::try_from(length).is_ok());
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// Cuts a stream of bytes, read in any pieces, into frames.
#[derive(Debug)]
pub struct FrameReader {
    limit: usize,
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    body: Option<Body>,
}

#[derive(Debug)]
struct Body {
    length: usize,
    bytes: Vec<u8>,
}

impl FrameReader {
    /// A reader of frames of at most `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, header: [0; HEADER_BYTES], header_filled: 0, body: None }
    }

    /// From the next announced frame on another limit holds.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes from the front of `chunk` until a frame is whole or the chunk is used up.
    ///
    /// # Errors
    /// If a frame above the limit is announced; the stream cannot be read on after that.
    pub fn next(&mut self, chunk: &mut &[u8]) -> Result<Option<Bytes>, FrameTooLong> {
        let Some(mut body) = self.begin(chunk)? else { return Ok(None) };
        let missing = body.length - body.bytes.len();
        if body.bytes.is_empty() && chunk.len() >= missing {
            return Ok(Some(Bytes::copy_from_slice(take(chunk, missing))));
        }
        let part = take(chunk, missing.min(chunk.len()));
        grow(&mut body.bytes, part.len(), body.length);
        body.bytes.extend_from_slice(part);
        if body.bytes.len() == body.length {
            return Ok(Some(Bytes::from(body.bytes)));
        }
        self.body = Some(body);
        Ok(None)
    }

    /// Whether the stream may end here: between two frames.
    #[must_use]
    pub const fn is_between_frames(&self) -> bool {
        self.header_filled == 0 && self.body.is_none()
    }

    /// The frame being read, once its header is whole.
    fn begin(&mut self, chunk: &mut &[u8]) -> Result<Option<Body>, FrameTooLong> {
        if let Some(body) = self.body.take() {
            return Ok(Some(body));
        }
        let part = take(chunk, (HEADER_BYTES - self.header_filled).min(chunk.len()));
        self.header[self.header_filled..self.header_filled + part.len()].copy_from_slice(part);
        self.header_filled += part.len();
        if self.header_filled < HEADER_BYTES {
            return Ok(None);
        }
        self.header_filled = 0;
        let announced = u32::from_be_bytes(self.header) as usize;
        if announced > self.limit {
            return Err(FrameTooLong { announced, limit: self.limit });
        }
        Ok(Some(Body { length: announced, bytes: Vec::new() }))
    }
}

/// Makes room for `additional` bytes of a frame of `length`: one chunk first, then twice as much, never above the frame.
fn grow(bytes: &mut Vec<u8>, additional: usize, length: usize) {
    let needed = bytes.len() + additional;
    if needed > bytes.capacity() {
        let capacity = needed.max(bytes.capacity() * 2).max(limits::READ_CHUNK_BYTES_MAX).min(length);
        bytes.reserve_exact(capacity - bytes.len());
    }
}

fn take<'a>(chunk: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (head, tail) = chunk.split_at(length);
    *chunk = tail;
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream_of(frames: &[Vec<u8>]) -> Vec<u8> {
        frames.iter().flat_map(|frame| header(frame.len()).into_iter().chain(frame.iter().copied())).collect()
    }

    fn read_in_pieces(stream: &[u8], piece: usize, limit: usize) -> Result<Vec<Bytes>, FrameTooLong> {
        let mut reader = FrameReader::new(limit);
        let mut frames = Vec::new();
        for mut chunk in stream.chunks(piece) {
            while !chunk.is_empty() {
                frames.extend(reader.next(&mut chunk)?);
            }
        }
        assert!(reader.is_between_frames());
        Ok(frames)
    }

    #[test]
    fn frames_come_whole_and_in_order_however_they_are_cut() {
        let frames = vec![vec![1; 200], vec![], vec![2; 100_000], vec![3], vec![], vec![4; 70_000]];
        let stream = stream_of(&frames);
        for piece in [1, 2, 3, 5, 7, 204, 4_096, 65_536, stream.len()] {
            assert_eq!(read_in_pieces(&stream, piece, 100_000).unwrap(), frames, "pieces of {piece}");
        }
    }

    #[test]
    fn the_limit_itself_passes_and_one_more_does_not() {
        assert_eq!(read_in_pieces(&stream_of(&[vec![9; 64]]), 10, 64).unwrap().len(), 1);
        let error = read_in_pieces(&stream_of(&[vec![9; 65]]), 10, 64).unwrap_err();
        assert_eq!(error, FrameTooLong { announced: 65, limit: 64 });
    }

    #[test]
    fn an_announced_length_allocates_no_more_than_a_chunk() {
        let mut reader = FrameReader::new(limits::CONSENSUS_FRAME_BYTES_MAX);
        let mut stream = header(limits::CONSENSUS_FRAME_BYTES_MAX).to_vec();
        stream.extend([0; 10]);
        assert_eq!(reader.next(&mut stream.as_slice()).unwrap(), None);
        let body = reader.body.as_ref().unwrap();
        assert!(body.bytes.capacity() <= limits::READ_CHUNK_BYTES_MAX, "{}", body.bytes.capacity());
        assert!(!reader.is_between_frames());
    }

    #[test]
    fn a_long_frame_grows_to_its_length_and_no_further() {
        let length = 1_000_000;
        let mut reader = FrameReader::new(length);
        let stream = stream_of(&[vec![8; length]]);
        let mut largest = 0;
        for mut chunk in stream.chunks(1_000) {
            let whole = reader.next(&mut chunk).unwrap();
            match &reader.body {
                Some(body) => {
                    assert!(body.bytes.capacity() <= (2 * body.bytes.len()).max(limits::READ_CHUNK_BYTES_MAX));
                    largest = largest.max(body.bytes.capacity());
                }
                None => assert_eq!(whole.unwrap().len(), length),
            }
        }
        assert!(largest <= length);
    }
}
