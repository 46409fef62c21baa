//! One peer's link as the rest of the node sees it: outbound queues, one lane per class, where frames wait for the
//! class's writer; counters; and how the peer is.
//!
//! architecture.md section 4: each queue is bounded and "has a policy when full (wait, refuse, drop superseded)".
//! A lane is open only while a session with the peer stands. Without one, frames are refused at once and nothing is
//! kept: what was under way when a connection broke is lost in any case, so a caller that must have its frames arrive
//! offers them again when the peer is back (`NetworkEvent::Connected`).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use dtvn_messages::ids::ValidatorIndex;
use dtvn_messages::limits;
use libp2p::PeerId;
use thiserror::Error;
use tokio::sync::Notify;

use super::class::{Class, ClassSet, PerClass};
use super::metrics::{NetworkMetrics, Traffic};
use super::queue::{Kind, OutboundQueue, Push};
use super::status::{PeerStatus, Role};

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

/// One peer's link, shared by its senders, its readers and writers, and whoever owns the peer. It outlives sessions
/// and restarts.
#[derive(Debug)]
pub struct Link {
    peer: PeerId,
    index: AtomicU32,
    lanes: PerClass<Lane>,
    traffic: Traffic,
    metrics: Arc<NetworkMetrics>,
    role: Mutex<Role>,
    status: Mutex<PeerStatus>,
    /// When it was last asked for what is committed.
    asked: Mutex<Option<Instant>>,
}

impl Link {
    pub(crate) fn new(peer: PeerId, metrics: Arc<NetworkMetrics>) -> Self {
        Self {
            peer,
            index: AtomicU32::new(NO_INDEX),
            lanes: PerClass::build(Lane::new),
            traffic: Traffic::default(),
            metrics,
            role: Mutex::default(),
            status: Mutex::default(),
            asked: Mutex::default(),
        }
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

    /// What the peer is to this node.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_role(&self, role: Role) {
        let index = role.validator.as_ref().map_or(NO_INDEX, |(index, _)| u32::from(index.0));
        self.index.store(index, Ordering::Relaxed);
        *self.role.lock().unwrap_or_else(PoisonError::into_inner) = role;
    }

    /// What went through this link since the node started.
    #[must_use]
    pub const fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Both places where traffic is counted: here and for all links together.
    pub(crate) fn count(&self, count: impl Fn(&Traffic)) {
        count(&self.traffic);
        count(&self.metrics.traffic);
    }

    /// How the peer is.
    #[must_use]
    pub fn status(&self) -> PeerStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn publish(&self, status: PeerStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Queues a request for blocks or a state: for a while the answer of one that is no validator may be long.
    ///
    /// # Errors
    /// Those of [`Link::push`].
    pub fn ask(&self, frame: &Bytes) -> Result<(), SendError> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.push(Class::Sync, frame, None)
    }

    /// Whether it was asked a short while ago.
    pub(crate) fn is_asked(&self) -> bool {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.is_some_and(|asked| asked.elapsed() < limits::STRANGER_ANSWER_WITHIN)
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
                self.count(|traffic| traffic.lost.get(class).add(1));
                return Err(SendError::Disconnected);
            }
            state.queue.push(frame, kind)
        };
        match pushed {
            Push::Queued => {}
            Push::Replaced(dropped) => self.count(|traffic| traffic.superseded.get(class).add(dropped as u64)),
            Push::Full => {
                self.count(|traffic| traffic.queue_full.get(class).add(1));
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

    /// The classes that its session shares; none without a session.
    #[must_use]
    pub fn classes(&self) -> ClassSet {
        let is_open = |class: &Class| self.lanes.get(*class).lock().gate == Gate::Open;
        Class::ALL.iter().filter(|class| is_open(class)).fold(ClassSet::NONE, |all, class| all.with(*class))
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
                let lost = state.queue.clear() as u64;
                self.count(|traffic| traffic.lost.get(class).add(lost));
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
    use dtvn_messages::ids::NodeName;

    use super::*;

    fn validator(index: u16) -> Role {
        Role { validator: Some((ValidatorIndex(index), NodeName::new("node").unwrap())), ..Role::default() }
    }

    fn link() -> Link {
        Link::new(PeerId::random(), Arc::default())
    }

    fn frame(byte: u8) -> Bytes {
        Bytes::from(vec![byte; 100])
    }

    fn open_link() -> Arc<Link> {
        let link = Arc::new(link());
        link.set_role(validator(2));
        Class::ALL.iter().for_each(|class| link.open(*class));
        link
    }

    fn take_all(link: &Link, class: Class) -> (usize, Taken) {
        let (mut frames, mut batch) = (0, Vec::new());
        loop {
            match link.take(class, &mut batch) {
                Taken::Frames => frames += batch.drain(..).len(),
                end => return (frames, end),
            }
        }
    }

    #[test]
    fn nothing_is_accepted_without_a_session() {
        let link = link();
        assert_eq!(link.push(Class::Consensus, &frame(1), None), Err(SendError::Disconnected));
        link.open(Class::Consensus);
        assert_eq!(link.push(Class::Consensus, &frame(1), None), Ok(()));
        assert_eq!(link.push(Class::Bundles, &frame(1), None), Err(SendError::Disconnected), "not in this session");
        link.close();
        assert_eq!(link.push(Class::Consensus, &frame(1), None), Err(SendError::Disconnected));
        assert_eq!(take_all(&link, Class::Consensus), (0, Taken::Closed), "what waited is gone");
        assert_eq!(link.traffic.lost.get(Class::Consensus).get(), 3);
    }

    #[test]
    fn draining_accepts_nothing_and_keeps_what_waits() {
        let link = open_link();
        link.push(Class::Bundles, &frame(1), None).unwrap();
        link.drain(Class::Bundles);
        assert_eq!(link.push(Class::Bundles, &frame(2), None), Err(SendError::Disconnected));
        assert_eq!(take_all(&link, Class::Bundles), (1, Taken::Finished));
    }

    #[test]
    fn a_frame_above_the_classes_limit_is_refused_here() {
        let link = open_link();
        let long = Bytes::from(vec![0; Class::Sync.frame_bytes_max() + 1]);
        assert!(matches!(link.push(Class::Sync, &long, None), Err(SendError::TooLong { .. })));
    }

    #[tokio::test]
    async fn who_waits_for_room_gets_it_and_learns_of_the_end() {
        let link = open_link();
        while link.push(Class::Sync, &frame(1), None).is_ok() {}
        let waiting = tokio::spawn({
            let link = Arc::clone(&link);
            async move { link.push_when_room(Class::Sync, &frame(2), None).await }
        });
        let (mut batch, mut taken) = (Vec::new(), 0);
        while taken < limits::OUTBOUND_SYNC_FRAMES_MAX + 1 {
            match link.take(Class::Sync, &mut batch) {
                Taken::Frames => taken += batch.drain(..).len(),
                _ => link.work(Class::Sync).await,
            }
        }
        assert_eq!(waiting.await.unwrap(), Ok(()));
        while link.push(Class::Sync, &frame(1), None).is_ok() {}
        let waiting = tokio::spawn({
            let link = Arc::clone(&link);
            async move { link.push_when_room(Class::Sync, &frame(2), None).await }
        });
        tokio::task::yield_now().await;
        link.close();
        assert_eq!(waiting.await.unwrap(), Err(SendError::Disconnected));
    }

    #[test]
    fn the_index_follows_the_epoch() {
        let link = open_link();
        assert_eq!(link.index(), Some(ValidatorIndex(2)));
        link.set_role(validator(0));
        assert_eq!(link.index(), Some(ValidatorIndex(0)));
        link.set_role(Role::default());
        assert_eq!(link.index(), None);
    }
}
