//! One peer's outbound queues, one lane per class: where frames wait for the class's writer.
//!
//! architecture.md section 4: each queue is bounded and "has a policy when full (wait, refuse, drop superseded)".
//! A lane is open only while a session with the peer stands. Without one, frames are refused at once and nothing is
//! kept: what was under way when a connection broke is lost in any case, so a caller that must have its frames arrive
//! offers them again when the peer is back (`NetworkEvent::Connected`).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dtvn_messages::ids::ValidatorIndex;
use dtvn_messages::limits;
use libp2p::PeerId;
use thiserror::Error;
use tokio::sync::Notify;

use super::class::{Class, PerClass};
use super::metrics::Traffic;
use super::queue::{Kind, OutboundQueue, Push};

/// Why a frame was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// The peer's queue has no room; try later, or let it go.
    #[error("the peer's queue is full")]
    Full,
    /// No session with the peer stands.
    #[error("the peer is not connected")]
    Disconnected,
    /// The receiver would close the stream.
    #[error("the frame has {length} bytes, its class allows {limit}")]
    TooLong {
        /// The frame's length in bytes.
        length: usize,
        /// The class's limit in bytes.
        limit: usize,
    },
    /// There is no such validator, or it is this node.
    #[error("there is no such peer")]
    UnknownPeer,
}

/// What the writer got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Frames to write.
    Frames,
    /// Nothing waits: flush, then wait.
    Nothing,
    /// Nothing waits and nothing will come: flush and close.
    Finished,
    /// The session is over.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Closed,
    Open,
    Draining,
}

#[derive(Debug)]
struct LaneState {
    queue: OutboundQueue,
    gate: Gate,
}

#[derive(Debug)]
struct Lane {
    state: Mutex<LaneState>,
    /// Wakes the writer: frames or a change of the gate.
    work: Notify,
    /// Wakes senders that wait for room.
    room: Notify,
}

impl Lane {
    fn new(class: Class) -> Self {
        let state = LaneState { queue: OutboundQueue::new(class.outbound_bounds()), gate: Gate::Closed };
        Self { state: Mutex::new(state), work: Notify::new(), room: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, LaneState> {
        // Nothing panics while the lock is held; were it so, the queue would still be a queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The index of a peer that is no validator.
const NO_INDEX: u32 = u32::MAX;

/// The outbound side of one peer, shared by its senders, its writers and the peer manager.
#[derive(Debug)]
pub struct Outbox {
    peer: PeerId,
    index: AtomicU32,
    lanes: PerClass<Lane>,
    /// What went through this peer's link since the node started.
    pub traffic: Traffic,
}

impl Outbox {
    pub(crate) fn new(peer: PeerId, index: Option<ValidatorIndex>) -> Self {
        let outbox = Self {
            peer,
            index: AtomicU32::new(NO_INDEX),
            lanes: PerClass::build(Lane::new),
            traffic: Traffic::default(),
        };
        outbox.set_index(index);
        outbox
    }

    /// The peer.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// The peer's index in the current validator set, if it is in it.
    #[must_use]
    pub fn index(&self) -> Option<ValidatorIndex> {
        u16::try_from(self.index.load(Ordering::Relaxed)).ok().map(ValidatorIndex)
    }

    pub(crate) fn set_index(&self, index: Option<ValidatorIndex>) {
        self.index.store(index.map_or(NO_INDEX, |index| u32::from(index.0)), Ordering::Relaxed);
    }

    /// Queues a frame for the class's writer; the bytes are shared, not copied.
    ///
    /// # Errors
    /// Any [`SendError`] except `UnknownPeer`.
    pub fn push(&self, class: Class, frame: &Bytes, kind: Option<Kind>) -> Result<(), SendError> {
        if frame.len() > class.frame_bytes_max() {
            return Err(SendError::TooLong { length: frame.len(), limit: class.frame_bytes_max() });
        }
        let lane = self.lanes.get(class);
        let pushed = {
            let mut state = lane.lock();
            if state.gate != Gate::Open {
                self.traffic.lost.get(class).add(1);
                return Err(SendError::Disconnected);
            }
            state.queue.push(frame, kind)
        };
        match pushed {
            Push::Queued => {}
            Push::Replaced(dropped) => self.traffic.superseded.get(class).add(dropped as u64),
            Push::Full => {
                self.traffic.queue_full.get(class).add(1);
                return Err(SendError::Full);
            }
        }
        lane.work.notify_one();
        Ok(())
    }

    /// Queues a frame, waiting for room as long as the session stands.
    ///
    /// # Errors
    /// `Disconnected` or `TooLong`.
    pub async fn push_when_room(&self, class: Class, frame: &Bytes, kind: Option<Kind>) -> Result<(), SendError> {
        let lane = self.lanes.get(class);
        loop {
            // Created before the attempt, so that room made in between is not missed.
            let room = lane.room.notified();
            match self.push(class, frame, kind) {
                Err(SendError::Full) => room.await,
                other => return other,
            }
        }
    }

    /// How many frames wait in a class.
    #[must_use]
    pub fn depth(&self, class: Class) -> usize {
        self.lanes.get(class).lock().queue.len()
    }

    /// A session stands: frames of these classes are accepted.
    pub(crate) fn open(&self, class: Class) {
        self.lanes.get(class).lock().gate = Gate::Open;
    }

    /// No more frames are accepted in a class; its writer finishes what waits.
    pub(crate) fn drain(&self, class: Class) {
        self.set_gate(class, Gate::Draining);
    }

    /// The session is over: what waits is dropped.
    pub(crate) fn close(&self) {
        Class::ALL.iter().for_each(|class| self.set_gate(*class, Gate::Closed));
    }

    fn set_gate(&self, class: Class, gate: Gate) {
        let lane = self.lanes.get(class);
        {
            let mut state = lane.lock();
            if gate == Gate::Draining && state.gate != Gate::Open {
                return;
            }
            state.gate = gate;
            if gate == Gate::Closed {
                self.traffic.lost.get(class).add(state.queue.clear() as u64);
            }
        }
        lane.work.notify_one();
        lane.room.notify_waiters();
    }

    /// Takes the next batch for a class's writer.
    pub(crate) fn take(&self, class: Class, batch: &mut Vec<Bytes>) -> Taken {
        let lane = self.lanes.get(class);
        let gate = {
            let mut state = lane.lock();
            state.queue.take(limits::WRITE_BATCH_BYTES_MAX, batch);
            state.gate
        };
        if !batch.is_empty() {
            lane.room.notify_waiters();
            return Taken::Frames;
        }
        match gate {
            Gate::Open => Taken::Nothing,
            Gate::Draining => Taken::Finished,
            Gate::Closed => Taken::Closed,
        }
    }

    /// Resolves when there may be something to take.
    pub(crate) async fn work(&self, class: Class) {
        self.lanes.get(class).work.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn frame(byte: u8) -> Bytes {
        Bytes::from(vec![byte; 100])
    }

    fn open_outbox() -> Arc<Outbox> {
        let outbox = Arc::new(Outbox::new(PeerId::random(), Some(ValidatorIndex(2))));
        Class::ALL.iter().for_each(|class| outbox.open(*class));
        outbox
    }

    fn take_all(outbox: &Outbox, class: Class) -> (usize, Taken) {
        let (mut frames, mut batch) = (0, Vec::new());
        loop {
            match outbox.take(class, &mut batch) {
                Taken::Frames => frames += batch.drain(..).len(),
                end => return (frames, end),
            }
        }
    }

    #[test]
    fn nothing_is_accepted_without_a_session() {
        let outbox = Outbox::new(PeerId::random(), None);
        assert_eq!(outbox.push(Class::Consensus, &frame(1), None), Err(SendError::Disconnected));
        outbox.open(Class::Consensus);
        assert_eq!(outbox.push(Class::Consensus, &frame(1), None), Ok(()));
        assert_eq!(outbox.push(Class::Bundles, &frame(1), None), Err(SendError::Disconnected), "not in this session");
        outbox.close();
        assert_eq!(outbox.push(Class::Consensus, &frame(1), None), Err(SendError::Disconnected));
        assert_eq!(take_all(&outbox, Class::Consensus), (0, Taken::Closed), "what waited is gone");
        assert_eq!(outbox.traffic.lost.get(Class::Consensus).get(), 3);
    }

    #[test]
    fn draining_accepts_nothing_and_keeps_what_waits() {
        let outbox = open_outbox();
        outbox.push(Class::Bundles, &frame(1), None).unwrap();
        outbox.drain(Class::Bundles);
        assert_eq!(outbox.push(Class::Bundles, &frame(2), None), Err(SendError::Disconnected));
        assert_eq!(take_all(&outbox, Class::Bundles), (1, Taken::Finished));
    }

    #[test]
    fn a_frame_above_the_classes_limit_is_refused_here() {
        let outbox = open_outbox();
        let long = Bytes::from(vec![0; Class::Sync.frame_bytes_max() + 1]);
        assert!(matches!(outbox.push(Class::Sync, &long, None), Err(SendError::TooLong { .. })));
    }

    #[tokio::test]
    async fn who_waits_for_room_gets_it_and_learns_of_the_end() {
        let outbox = open_outbox();
        while outbox.push(Class::Sync, &frame(1), None).is_ok() {}
        let waiting = tokio::spawn({
            let outbox = Arc::clone(&outbox);
            async move { outbox.push_when_room(Class::Sync, &frame(2), None).await }
        });
        let (mut batch, mut taken) = (Vec::new(), 0);
        while taken < limits::OUTBOUND_SYNC_FRAMES_MAX + 1 {
            match outbox.take(Class::Sync, &mut batch) {
                Taken::Frames => taken += batch.drain(..).len(),
                _ => outbox.work(Class::Sync).await,
            }
        }
        assert_eq!(waiting.await.unwrap(), Ok(()));
        while outbox.push(Class::Sync, &frame(1), None).is_ok() {}
        let waiting = tokio::spawn({
            let outbox = Arc::clone(&outbox);
            async move { outbox.push_when_room(Class::Sync, &frame(2), None).await }
        });
        tokio::task::yield_now().await;
        outbox.close();
        assert_eq!(waiting.await.unwrap(), Err(SendError::Disconnected));
    }

    #[test]
    fn the_index_follows_the_epoch() {
        let outbox = open_outbox();
        assert_eq!(outbox.index(), Some(ValidatorIndex(2)));
        outbox.set_index(None);
        assert_eq!(outbox.index(), None);
    }
}
