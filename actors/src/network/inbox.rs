//! Where received frames go: the sink that a caller gives for each class, and a ready-made fair one.
//!
//! architecture.md section 4 and faults.md: "junk at line rate from one peer (others' latency at most 1.5x)". A sink
//! refuses a frame when *its peer* has used up its share; the reader of that stream then stops reading, the peer's
//! window fills and the peer is slowed, while others pass. [`FairInbox`] holds one bounded lane per peer and serves the
//! lanes in turn, so a flood delays another peer's frame by one frame per flooding peer.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dtvn_messages::ids::ValidatorIndex;
use futures::future::BoxFuture;
use libp2p::PeerId;
use tokio::sync::Notify;

use super::class::{Class, QueueBounds};

/// A received frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundFrame {
    /// Who sent it: the identity that its connection proved.
    pub peer: PeerId,
    /// The sender's index in the validator set in force when it was read; none for an observer (class sync only).
    pub validator: Option<ValidatorIndex>,
    /// Its class.
    pub class: Class,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Why a sink did not take a frame.
#[derive(Debug)]
pub enum OfferError {
    /// The peer has used up its share: wait for [`FrameSink::room`], then offer it again.
    Full(InboundFrame),
    /// Nobody receives any more.
    Closed,
}

/// Takes the received frames of one class. Bounded per peer.
pub trait FrameSink: Send + Sync + 'static {
    /// Takes a frame without waiting.
    ///
    /// # Errors
    /// If the frame's peer has no room, or nobody receives any more.
    fn offer(&self, frame: InboundFrame) -> Result<(), OfferError>;

    /// Resolves when the next of the peer's frames has been taken, or nobody receives any more; at once if none waits.
    fn room(&self, peer: PeerId) -> BoxFuture<'_, ()>;
}

/// The three sinks of a node.
#[derive(Clone)]
pub struct FrameSinks {
    /// Takes consensus frames.
    pub consensus: Arc<dyn FrameSink>,
    /// Takes bundle frames.
    pub bundles: Arc<dyn FrameSink>,
    /// Takes sync frames.
    pub sync: Arc<dyn FrameSink>,
}

impl FrameSinks {
    pub(crate) fn of(&self, class: Class) -> Arc<dyn FrameSink> {
        match class {
            Class::Consensus => Arc::clone(&self.consensus),
            Class::Bundles => Arc::clone(&self.bundles),
            Class::Sync => Arc::clone(&self.sync),
        }
    }
}

#[derive(Debug, Default)]
struct Lane {
    frames: VecDeque<InboundFrame>,
    bytes: usize,
    room: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<PeerId, Lane>,
    /// Peers with frames, in the order in which they are served. Each at most once.
    turns: VecDeque<PeerId>,
    closed: bool,
}

/// The sending half of a fair inbox: a bounded lane for each peer.
#[derive(Debug)]
pub struct FairInbox {
    state: Mutex<State>,
    filled: Notify,
    bounds: QueueBounds,
}

/// The receiving half. Dropping it closes the inbox.
#[derive(Debug)]
pub struct FairReceiver {
    inbox: Arc<FairInbox>,
}

/// A fair inbox: each peer may have `bounds` waiting in it.
#[must_use]
pub fn fair_inbox(bounds: QueueBounds) -> (Arc<FairInbox>, FairReceiver) {
    let inbox = Arc::new(FairInbox { state: Mutex::default(), filled: Notify::new(), bounds });
    (Arc::clone(&inbox), FairReceiver { inbox })
}

impl FairInbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, lane: &Lane, length: usize) -> bool {
        lane.frames.len() < self.bounds.frames && lane.bytes + length <= self.bounds.bytes
    }

    /// How many frames wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.lock().lanes.values().map(|lane| lane.frames.len()).sum()
    }
}

impl FrameSink for FairInbox {
    fn offer(&self, frame: InboundFrame) -> Result<(), OfferError> {
        let mut state = self.lock();
        if state.closed {
            return Err(OfferError::Closed);
        }
        let peer = frame.peer;
        let lane = state.lanes.entry(peer).or_default();
        // A frame longer than the whole lane passes alone, rather than never.
        if !lane.frames.is_empty() && !self.has_room(lane, frame.bytes.len()) {
            return Err(OfferError::Full(frame));
        }
        let first = lane.frames.is_empty();
        lane.bytes += frame.bytes.len();
        lane.frames.push_back(frame);
        if first {
            state.turns.push_back(peer);
        }
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    fn room(&self, peer: PeerId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let room = {
                let state = self.lock();
                let lane = state.lanes.get(&peer).filter(|lane| !lane.frames.is_empty());
                // Created under the lock: it hears of every frame taken from now on.
                lane.map(|lane| Arc::clone(&lane.room).notified_owned())
            };
            if let Some(room) = room {
                room.await;
            }
        })
    }
}

impl State {
    fn pop(&mut self) -> Option<InboundFrame> {
        let peer = self.turns.pop_front()?;
        let Entry::Occupied(mut entry) = self.lanes.entry(peer) else { return None };
        let lane = entry.get_mut();
        let frame = lane.frames.pop_front()?;
        lane.bytes -= frame.bytes.len();
        lane.room.notify_waiters();
        if lane.frames.is_empty() {
            // Peers come and go; a lane is cheap to make anew.
            entry.remove();
        } else {
            self.turns.push_back(peer);
        }
        Some(frame)
    }
}

impl FairReceiver {
    /// The next frame, by turns among the peers; waits for one. Cancelling loses nothing.
    pub async fn receive(&mut self) -> InboundFrame {
        loop {
            if let Some(frame) = self.try_receive() {
                return frame;
            }
            self.inbox.filled.notified().await;
        }
    }

    /// At least one frame, and up to `frames_max` that wait already, by turns among the peers.
    pub async fn receive_many(&mut self, into: &mut Vec<InboundFrame>, frames_max: usize) {
        into.push(self.receive().await);
        let mut state = self.inbox.lock();
        for _ in 1..frames_max {
            let Some(frame) = state.pop() else { break };
            into.push(frame);
        }
    }

    /// The next frame, if one waits.
    pub fn try_receive(&mut self) -> Option<InboundFrame> {
        self.inbox.lock().pop()
    }
}

impl Drop for FairReceiver {
    fn drop(&mut self) {
        let mut state = self.inbox.lock();
        state.closed = true;
        state.turns.clear();
        for (_, lane) in state.lanes.drain() {
            lane.room.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const BOUNDS: QueueBounds = QueueBounds { frames: 100, bytes: 1_000 };

    fn frame(peer: PeerId, byte: u8, length: usize) -> InboundFrame {
        InboundFrame { peer, validator: None, class: Class::Bundles, bytes: Bytes::from(vec![byte; length]) }
    }

    #[test]
    fn a_flood_delays_another_peers_frame_by_one_frame() {
        let (inbox, mut receiver) = fair_inbox(BOUNDS);
        let (flooder, honest) = (PeerId::random(), PeerId::random());
        let mut flooded = 0;
        while inbox.offer(frame(flooder, 1, 10)).is_ok() {
            flooded += 1;
        }
        assert_eq!(flooded, 100);
        inbox.offer(frame(honest, 2, 10)).unwrap();
        assert_eq!(receiver.try_receive().unwrap().peer, flooder);
        assert_eq!(receiver.try_receive().unwrap().peer, honest);
        assert_eq!(inbox.depth(), 99);
    }

    #[test]
    fn both_bounds_are_the_peers_own_and_order_is_kept() {
        let (inbox, mut receiver) = fair_inbox(BOUNDS);
        let (one, other) = (PeerId::random(), PeerId::random());
        inbox.offer(frame(one, 1, 600)).unwrap();
        inbox.offer(frame(one, 2, 400)).unwrap();
        assert!(matches!(inbox.offer(frame(one, 3, 1)), Err(OfferError::Full(frame)) if frame.bytes[0] == 3));
        inbox.offer(frame(other, 4, 1_000)).unwrap();
        let order: Vec<u8> = std::iter::from_fn(|| receiver.try_receive()).map(|frame| frame.bytes[0]).collect();
        assert_eq!(order, [1, 4, 2]);
        inbox.offer(frame(one, 5, 5_000)).expect("a frame longer than the lane passes alone");
    }

    #[test]
    fn room_resolves_when_the_peers_lane_moves_and_when_nobody_receives() {
        let (inbox, mut receiver) = fair_inbox(QueueBounds { frames: 1, bytes: 1_000 });
        let peer = PeerId::random();
        assert!(inbox.room(peer).now_or_never().is_some(), "a peer without frames has room");
        inbox.offer(frame(peer, 1, 1)).unwrap();
        let mut room = inbox.room(peer);
        assert!((&mut room).now_or_never().is_none());
        receiver.try_receive().unwrap();
        assert!((&mut room).now_or_never().is_some());
        inbox.offer(frame(peer, 2, 1)).unwrap();
        let mut room = inbox.room(peer);
        assert!((&mut room).now_or_never().is_none());
        drop(receiver);
        assert!((&mut room).now_or_never().is_some());
        assert!(matches!(inbox.offer(frame(peer, 3, 1)), Err(OfferError::Closed)));
    }

    #[tokio::test]
    async fn a_receiver_that_waits_is_woken_and_many_come_at_once() {
        let (inbox, mut receiver) = fair_inbox(BOUNDS);
        let peer = PeerId::random();
        let waiting = tokio::spawn(async move {
            let mut frames = Vec::new();
            while frames.len() < 5 {
                receiver.receive_many(&mut frames, 3).await;
            }
            frames
        });
        tokio::task::yield_now().await;
        (0..5).for_each(|byte| inbox.offer(frame(peer, byte, 10)).unwrap());
        let bytes: Vec<u8> = waiting.await.unwrap().iter().map(|frame| frame.bytes[0]).collect();
        assert_eq!(bytes, [0, 1, 2, 3, 4]);
    }
}
