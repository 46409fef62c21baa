//! One incarnation's queue: the envelope that ractor carries, the permits that bound it, and its figures.
//!
//! The permit lies in the envelope, so that whatever becomes of the envelope (handled, dropped with a dead actor's
//! queue, never sent) gives it back. Each incarnation has its own semaphore: nothing that a dead one left behind can
//! take a place from its successor.

use crate::mailbox::{FullPolicy, Mail, SendError};
use ractor::{ActorRef, MessagingErr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// What travels through ractor to an actor of ours.
pub(crate) enum Envelope<M> {
    /// A message and its place in the mailbox.
    Mail { message: M, permit: OwnedSemaphorePermit },
    /// Fault injection: the handler panics with this text.
    Crash(String),
    /// A task or thread of the actor failed, for this reason: the actor fails, too.
    Failed(String),
    /// The supervisor's stop behind everything that was queued before it.
    Drained,
}

/// A mailbox's figures, readable at any time. They belong to the place in the tree and survive restarts.
#[derive(Debug)]
pub(crate) struct Gauge {
    bound: usize,
    permits: RwLock<Option<Arc<Semaphore>>>,
    high_water: AtomicUsize,
    refused: AtomicU64,
    dropped: AtomicU64,
}

impl Gauge {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            bound,
            permits: RwLock::new(None),
            high_water: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Fresh permits, which the depth is read from until the next ones.
    pub(crate) fn open(&self) -> Arc<Semaphore> {
        let permits = Arc::new(Semaphore::new(self.bound));
        *self.permits.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&permits));
        permits
    }

    /// Nobody gets any of these permits any more, and nobody's depth is read from them.
    pub(crate) fn shut(&self, permits: &Arc<Semaphore>) {
        permits.close();
        let mut shown = self.permits.write().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref().is_some_and(|shown| Arc::ptr_eq(shown, permits)) {
            *shown = None;
        }
    }

    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// Messages accepted and not yet opened, of the present incarnation.
    pub(crate) fn depth(&self) -> usize {
        let permits = self.permits.read().unwrap_or_else(PoisonError::into_inner);
        permits.as_ref().map_or(0, |permits| self.bound.saturating_sub(permits.available_permits()))
    }

    pub(crate) fn high_water(&self) -> usize {
        self.high_water.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn note_depth(&self, depth: usize) {
        if depth > self.high_water.load(Ordering::Relaxed) {
            self.high_water.fetch_max(depth, Ordering::Relaxed);
        }
    }
}

/// The mailbox of one incarnation, as its senders see it.
pub(crate) struct Mailbox<M> {
    incarnation: u64,
    target: ActorRef<Envelope<M>>,
    permits: Arc<Semaphore>,
    gauge: Arc<Gauge>,
}

impl<M: Mail> Mailbox<M> {
    pub(crate) fn open(incarnation: u64, target: ActorRef<Envelope<M>>, gauge: Arc<Gauge>) -> Self {
        let permits = gauge.open();
        Self { incarnation, target, permits, gauge }
    }

    /// Nothing enters any more, and those who wait for a place learn that the actor is down.
    pub(crate) fn close(&self) {
        self.gauge.shut(&self.permits);
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.permits.is_closed()
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    pub(crate) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// Takes a place at once or applies the message's policy.
    pub(crate) fn try_send(&self, message: M) -> Result<(), SendError<M>> {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => self.post(message, permit),
            Err(TryAcquireError::Closed) => Err(SendError::Down(message)),
            Err(TryAcquireError::NoPermits) => self.full(message),
        }
    }

    /// Waits for a place, whatever the message's policy says.
    pub(crate) async fn send_waiting(&self, message: M) -> Result<(), SendError<M>> {
        match Arc::clone(&self.permits).acquire_owned().await {
            Ok(permit) => self.post(message, permit),
            Err(_closed) => Err(SendError::Down(message)),
        }
    }

    /// Sends what needs no place: crash injection, a task's failure, the drain mark. At most a few per incarnation.
    pub(crate) fn send_unmetered(&self, envelope: Envelope<M>) -> bool {
        self.target.send_message(envelope).is_ok()
    }

    fn post(&self, message: M, permit: OwnedSemaphorePermit) -> Result<(), SendError<M>> {
        self.gauge.note_depth(self.gauge.bound.saturating_sub(self.permits.available_permits()));
        match self.target.send_message(Envelope::Mail { message, permit }) {
            Ok(()) => Ok(()),
            Err(MessagingErr::SendErr(Envelope::Mail { message, .. })) => Err(SendError::Down(message)),
            Err(other) => unreachable!("ractor hands a message back that it could not deliver, but said: {other}"),
        }
    }

    fn full(&self, message: M) -> Result<(), SendError<M>> {
        match message.policy() {
            FullPolicy::DropNewest => {
                self.gauge.dropped.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            FullPolicy::Wait | FullPolicy::Refuse => {
                self.gauge.refused.fetch_add(1, Ordering::Relaxed);
                Err(SendError::Full(message))
            }
            FullPolicy::Must => {
                self.gauge.refused.fetch_add(1, Ordering::Relaxed);
                Err(SendError::Overrun(message))
            }
        }
    }
}
