//! What waits to be written to one peer in one class: a bounded queue that knows what is superseded.
//!
//! consensus.md section 9: "what is superseded is dropped first and counted". The caller says what a frame supersedes
//! by giving it a [`Kind`]; a frame without one is never dropped, its sender is told `full` instead.

use std::collections::VecDeque;

use bytes::Bytes;

use super::class::QueueBounds;

/// A tag chosen by the caller: of two frames with the same kind, the later one makes the earlier one useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(pub u64);

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// It waits.
    Queued,
    /// It waits, and so many older ones of its kind were dropped for it.
    Replaced(usize),
    /// There is no room.
    Full,
}

#[derive(Debug)]
struct Entry {
    frame: Bytes,
    kind: Option<Kind>,
}

/// A bounded queue of frames. Holds references to their bytes, never copies.
#[derive(Debug)]
pub struct OutboundQueue {
    entries: VecDeque<Entry>,
    bytes: usize,
    bounds: QueueBounds,
}

impl OutboundQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new(bounds: QueueBounds) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bounds }
    }

    /// Appends a frame, if need be in place of older ones of the same kind. None is dropped in vain.
    pub fn push(&mut self, frame: &Bytes, kind: Option<Kind>) -> Push {
        let fits = self.fits(self.entries.len() + 1, self.bytes + frame.len());
        let dropped = match kind {
            _ if fits => 0,
            Some(kind) => self.make_room(frame.len(), kind),
            None => 0,
        };
        if !fits && dropped == 0 {
            return Push::Full;
        }
        self.bytes += frame.len();
        self.entries.push_back(Entry { frame: frame.clone(), kind });
        if dropped == 0 { Push::Queued } else { Push::Replaced(dropped) }
    }

    /// Takes frames from the front until `bytes_max` bytes are reached; the last one may exceed it.
    pub fn take(&mut self, bytes_max: usize, into: &mut Vec<Bytes>) {
        let mut taken = 0;
        while taken < bytes_max {
            let Some(entry) = self.entries.pop_front() else { break };
            self.bytes -= entry.frame.len();
            taken += entry.frame.len() + super::frame::HEADER_BYTES;
            into.push(entry.frame);
        }
    }

    /// Drops everything; gives how many frames that were.
    pub fn clear(&mut self) -> usize {
        let dropped = self.entries.len();
        self.entries = VecDeque::new();
        self.bytes = 0;
        dropped
    }

    /// How many frames wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    const fn fits(&self, frames: usize, bytes: usize) -> bool {
        frames <= self.bounds.frames && bytes <= self.bounds.bytes
    }

    /// Drops the oldest frames of a kind until another of `length` bytes fits; none if that would not be enough.
    fn make_room(&mut self, length: usize, kind: Kind) -> usize {
        let (mut dropped, mut freed) = (0, 0);
        for entry in self.entries.iter().filter(|entry| entry.kind == Some(kind)) {
            dropped += 1;
            freed += entry.frame.len();
            if self.fits(self.entries.len() + 1 - dropped, self.bytes + length - freed) {
                let mut left = dropped;
                self.entries.retain(|entry| {
                    let goes = left > 0 && entry.kind == Some(kind);
                    left -= usize::from(goes);
                    !goes
                });
                self.bytes -= freed;
                return dropped;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW_CHANGE: Option<Kind> = Some(Kind(1));
    const OTHER: Option<Kind> = Some(Kind(2));

    fn queue(frames: usize, bytes: usize) -> OutboundQueue {
        OutboundQueue::new(QueueBounds { frames, bytes })
    }

    fn frame(byte: u8, length: usize) -> Bytes {
        Bytes::from(vec![byte; length])
    }

    fn drain(queue: &mut OutboundQueue) -> Vec<u8> {
        let mut frames = Vec::new();
        queue.take(usize::MAX, &mut frames);
        frames.iter().map(|frame| frame[0]).collect()
    }

    #[test]
    fn both_bounds_hold() {
        let mut queue = queue(3, 100);
        assert_eq!(queue.push(&frame(1, 60), None), Push::Queued);
        assert_eq!(queue.push(&frame(2, 41), None), Push::Full);
        assert_eq!(queue.push(&frame(3, 20), None), Push::Queued);
        assert_eq!(queue.push(&frame(4, 20), None), Push::Queued);
        assert_eq!(queue.push(&frame(5, 0), None), Push::Full);
        assert_eq!(drain(&mut queue), [1, 3, 4]);
        assert_eq!(queue.push(&frame(6, 100), None), Push::Queued);
    }

    #[test]
    fn when_full_the_oldest_of_the_same_kind_goes_and_no_other() {
        let mut queue = queue(4, 1_000);
        for (byte, kind) in [(1, None), (2, VIEW_CHANGE), (3, OTHER), (4, VIEW_CHANGE)] {
            assert_eq!(queue.push(&frame(byte, 10), kind), Push::Queued);
        }
        assert_eq!(queue.push(&frame(5, 10), None), Push::Full);
        assert_eq!(queue.push(&frame(6, 10), VIEW_CHANGE), Push::Replaced(1));
        assert_eq!(drain(&mut queue), [1, 3, 4, 6]);
        assert_eq!(queue.len(), 0);
        assert_eq!(queue.push(&frame(7, 1_000), None), Push::Queued, "the bytes were given back");
    }

    #[test]
    fn several_go_for_a_long_one_but_none_in_vain() {
        let mut queue = queue(10, 100);
        for (byte, kind) in [(1, VIEW_CHANGE), (2, VIEW_CHANGE), (3, OTHER)] {
            assert_eq!(queue.push(&frame(byte, 30), kind), Push::Queued);
        }
        assert_eq!(queue.push(&frame(4, 80), VIEW_CHANGE), Push::Full, "even without both it does not fit");
        assert_eq!(queue.len(), 3);
        assert_eq!(queue.push(&frame(5, 60), VIEW_CHANGE), Push::Replaced(2));
        assert_eq!(drain(&mut queue), [3, 5]);
    }

    #[test]
    fn a_batch_ends_at_its_bytes() {
        let mut queue = queue(100, 10_000);
        for byte in 0..10 {
            queue.push(&frame(byte, 96), None);
        }
        let mut batch = Vec::new();
        queue.take(300, &mut batch);
        assert_eq!(batch.len(), 3);
        assert_eq!(queue.len(), 7);
    }

    #[test]
    fn frames_are_shared_not_copied() {
        let mut queue = queue(10, 10_000);
        let sent = frame(1, 5_000);
        queue.push(&sent, None);
        let mut batch = Vec::new();
        queue.take(1, &mut batch);
        assert_eq!(batch[0].as_ptr(), sent.as_ptr());
    }
}
