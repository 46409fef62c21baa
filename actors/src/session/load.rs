//! What one connection has in flight: counted where a request begins and ends, judged by its session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a connection has in flight. Cheap to clone: all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Load {
    operations: Arc<AtomicUsize>,
    subscriptions: Arc<AtomicUsize>,
}

impl Load {
    /// Counts operations until the place is dropped: with the answer, or with the client that no longer waits for it.
    #[must_use]
    pub fn operations(&self, count: usize) -> Place {
        Place::take(&self.operations, count)
    }

    /// Counts a subscription until the place is dropped.
    #[must_use]
    pub fn subscription(&self) -> Place {
        Place::take(&self.subscriptions, 1)
    }

    /// How many operations are in flight.
    #[must_use]
    pub fn operations_in_flight(&self) -> usize {
        self.operations.load(Ordering::Relaxed)
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }
}

/// What is counted until this is dropped.
#[derive(Debug)]
pub struct Place {
    counter: Arc<AtomicUsize>,
    count: usize,
}

impl Place {
    fn take(counter: &Arc<AtomicUsize>, count: usize) -> Self {
        counter.fetch_add(count, Ordering::Relaxed);
        Self { counter: Arc::clone(counter), count }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.count, Ordering::Relaxed);
    }
}
