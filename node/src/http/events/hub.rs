//! Who listens, and what each has waiting: a plain value.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytestring::ByteString;
use dtvn_client::api::Event;
use dtvn_ledger::{BlockEffects, OperationResult};
use dtvn_messages::{Outcome, limits};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::position::Position;

/// One event, encoded.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Its place; none for what is not in the log.
    pub(super) position: Option<Position>,
    /// Its JSON.
    pub(super) text: ByteString,
}

impl Line {
    pub(super) fn of_outcome(outcome: &Outcome) -> Self {
        Self { position: Some(Position::from(outcome)), text: encode(&Event::from(outcome)) }
    }

    pub(super) fn local(event: &Event) -> Self {
        Self { position: None, text: encode(event) }
    }
}

fn encode(event: &Event) -> ByteString {
    // An event is plain data: its encoding cannot fail.
    ByteString::from(serde_json::to_string(event).unwrap_or_default())
}

/// Events that belong together: of one block, or one that is not in the log.
#[derive(Debug)]
pub(super) struct Batch {
    /// The index of the first event of the log in it.
    pub(super) first_index: u64,
    /// The events.
    pub(super) lines: Vec<Line>,
}

impl Batch {
    /// The events of a committed block: one for each outcome that is new in the log.
    fn of_block(effects: &BlockEffects) -> Self {
        let lines = recorded(effects).map(Line::of_outcome).collect();
        Self { first_index: effects.log.first_index, lines }
    }
}

fn recorded(effects: &BlockEffects) -> impl Iterator<Item = &Outcome> {
    effects.results.iter().filter_map(|result| match result {
        OperationResult::Recorded(outcome) => Some(&**outcome),
        // Decided before: told then.
        OperationResult::Repeated(_) | OperationResult::KeyReused { .. } => None,
    })
}

/// The hub's side of a subscription.
#[derive(Debug)]
struct Subscriber {
    queue: mpsc::Sender<Arc<Batch>>,
    waiting: Arc<AtomicUsize>,
    slow: CancellationToken,
}

/// The listener's side of a subscription. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Subscription {
    queue: mpsc::Receiver<Arc<Batch>>,
    waiting: Arc<AtomicUsize>,
    /// Cancelled when the listener was too slow, and was cut off.
    pub(super) slow: CancellationToken,
    /// The last event before those that will be told; none if the hub has not seen any.
    pub(super) after: Option<Position>,
}

impl Subscription {
    /// The next events; none once the hub has ended, or has cut this listener off.
    pub(super) async fn next(&mut self) -> Option<Arc<Batch>> {
        let batch = self.queue.recv().await?;
        self.waiting.fetch_sub(batch.lines.len(), Ordering::Relaxed);
        Some(batch)
    }
}

/// Who listens.
#[derive(Debug, Default)]
pub(super) struct Hub {
    subscribers: Vec<Subscriber>,
    last: Option<Position>,
}

impl Hub {
    /// One more listener.
    pub(super) fn subscribe(&mut self) -> Subscription {
        let (sender, queue) = mpsc::channel(limits::EVENT_QUEUE_BLOCKS_MAX);
        let (waiting, slow) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        self.subscribers.push(Subscriber { queue: sender, waiting: Arc::clone(&waiting), slow: slow.clone() });
        Subscription { queue, waiting, slow, after: self.last }
    }

    /// Tells the events of a committed block.
    pub(super) fn committed(&mut self, effects: &BlockEffects) {
        let Some(last) = recorded(effects).last() else { return };
        self.last = Some(Position::from(last));
        // Who left is noticed here: nothing is encoded for nobody.
        self.subscribers.retain(|subscriber| !subscriber.queue.is_closed());
        if !self.subscribers.is_empty() {
            self.publish(&Arc::new(Batch::of_block(effects)));
        }
    }

    /// Tells something that is not in the log.
    pub(super) fn tell(&mut self, event: &Event) {
        let first_index = self.last.map_or(0, Position::next_index);
        self.publish(&Arc::new(Batch { first_index, lines: vec![Line::local(event)] }));
    }

    /// Puts events into each queue. A listener whose queue is full is cut off.
    fn publish(&mut self, batch: &Arc<Batch>) {
        self.subscribers.retain(|subscriber| {
            let waiting = subscriber.waiting.fetch_add(batch.lines.len(), Ordering::Relaxed);
            let fits = waiting == 0 || waiting + batch.lines.len() <= limits::EVENT_QUEUE_EVENTS_MAX;
            let sent = fits && subscriber.queue.try_send(Arc::clone(batch)).is_ok();
            if !sent && !subscriber.queue.is_closed() {
                subscriber.slow.cancel();
            }
            sent
        });
    }

    /// How many listen.
    pub(super) fn len(&self) -> usize {
        self.subscribers.len()
    }
}
