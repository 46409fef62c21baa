//! One listener's events in their order and without a gap: from the store until it is at the tip, then live; what the
//! live queue lacks is read from the store, too.

use std::sync::Arc;
use std::time::Duration;

use dtvn_actors::mailbox::CallError;
use dtvn_actors::storage::store::{StoreError, View};
use dtvn_messages::{Reason, limits};
use tokio_util::sync::CancellationToken;

use super::actor::{EventsMessage, Listening};
use super::hub::{Batch, Line, Subscription};
use super::position::Position;
use crate::http::problem::{Refusal, of_store};
use crate::http::{READ_WAIT, Services};

/// How long the hub may take to answer.
const HUB_WAIT: Duration = Duration::from_secs(5);

/// Why a feed ended. It can be resumed after the last event in each case, at another node if it is gone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeedEnd {
    /// The listener did not keep up.
    Slow,
    /// The hub or the store is restarting.
    Restarting,
    /// The store is too far behind what is committed.
    Behind,
    /// This node has taken over a state, and what came before it is not in its store.
    Gone,
}

/// One listener's events.
pub(super) struct Feed {
    services: Services,
    /// The index of the next event of the log.
    next: u64,
    /// The last event that was handed out, or the one after which the feed began.
    last: Position,
    /// None while the feed is far from the tip.
    live: Option<Subscription>,
    /// Up to where, exclusively, the store has what the live queue has not.
    stored_until: u64,
    /// Taken out of the live queue, to be handed out when what is before it was.
    waiting: Option<Arc<Batch>>,
}

impl Feed {
    /// A feed of what comes after `since`; of what comes from now on without it.
    ///
    /// # Errors
    /// If `since` is no event of this chain, or hub or store are not up.
    pub(super) async fn open(services: Services, since: Option<Position>) -> Result<Self, Refusal> {
        if let Some(since) = since {
            check(&services, since).await?;
            let next = since.next_index();
            return Ok(Self { services, next, last: since, live: None, stored_until: 0, waiting: None });
        }
        let restarting = |_| Refusal::new(Reason::Restarting, "the hub of events is starting");
        let live = subscribe(&services).await.map_err(restarting)?;
        let last = match live.after {
            Some(last) => last,
            None => newest(&services).await?,
        };
        let next = last.next_index();
        Ok(Self { services, next, last, live: Some(live), stored_until: next, waiting: None })
    }

    /// The last event that was handed out, or the one after which the feed began: where to resume.
    pub(super) fn last(&self) -> Position {
        self.last
    }

    /// Cancelled when the listener was too slow and is cut off; none while it reads from the store, where it may take its
    /// time.
    pub(super) fn slow(&self) -> Option<CancellationToken> {
        self.live.as_ref().map(|live| live.slow.clone())
    }

    /// The next events, at least one.
    ///
    /// # Errors
    /// When the feed has ended.
    pub(super) async fn next(&mut self) -> Result<Vec<Line>, FeedEnd> {
        loop {
            let Some(live) = &mut self.live else {
                let lines = self.stored(None).await?;
                if !lines.is_empty() {
                    return Ok(self.hand_out(lines));
                }
                let live = subscribe(&self.services).await.map_err(|_| FeedEnd::Restarting)?;
                // What was committed between that reading and this subscription.
                self.stored_until = live.after.map_or(0, Position::next_index);
                self.live = Some(live);
                continue;
            };
            let until = self.waiting.as_ref().map_or(self.stored_until, |batch| batch.first_index);
            if self.next < until {
                let lines = self.stored(Some(until)).await?;
                if lines.is_empty() {
                    return Err(FeedEnd::Behind);
                }
                return Ok(self.hand_out(lines));
            }
            if let Some(batch) = self.waiting.take() {
                let is_new = |line: &&Line| line.position.is_none_or(|position| position.index >= self.next);
                let lines: Vec<Line> = batch.lines.iter().filter(is_new).cloned().collect();
                if !lines.is_empty() {
                    return Ok(self.hand_out(lines));
                }
                continue;
            }
            let batch = live.next().await;
            let end = if live.slow.is_cancelled() { FeedEnd::Slow } else { FeedEnd::Restarting };
            self.waiting = Some(batch.ok_or(end)?);
        }
    }

    fn hand_out(&mut self, lines: Vec<Line>) -> Vec<Line> {
        if let Some(last) = lines.iter().rev().find_map(|line| line.position) {
            self.last = last;
            self.next = last.next_index();
        }
        lines
    }

    /// Events from the store: up to the index `until`, which the store is waited for, or to its tip. Empty at the tip.
    async fn stored(&self, until: Option<u64>) -> Result<Vec<Line>, FeedEnd> {
        let limit = until.map_or(u64::MAX, |until| until - self.next);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(limits::EVENT_PAGE_MAX);
        if let Some(until) = until {
            let store = self.services.store.get().ok_or(FeedEnd::Restarting)?;
            let mut applied = store.applied_watch();
            let caught_up = applied.wait_for(|applied| applied.log.size() >= until);
            match tokio::time::timeout(READ_WAIT, caught_up).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Err(FeedEnd::Restarting),
                Err(_) => return Err(FeedEnd::Behind),
            }
        }
        let next = self.next;
        let read = self.services.read(move |view| Ok((view.installed()?.log_size, view.outcomes(next, limit)?))).await;
        let (_, (begin, outcomes)) = read.map_err(|refusal| match refusal.0.reason {
            Reason::Overloaded => FeedEnd::Behind,
            _ => FeedEnd::Restarting,
        })?;
        if next < begin {
            return Err(FeedEnd::Gone);
        }
        Ok(outcomes.iter().map(Line::of_outcome).collect())
    }
}

async fn subscribe(services: &Services) -> Result<Subscription, CallError> {
    let Listening(live) = services.events.call(HUB_WAIT, EventsMessage::Subscribe).await?;
    Ok(live)
}

fn newest_in(view: &View<'_>) -> Result<Position, StoreError> {
    let Some(index) = view.applied().log.size().checked_sub(1) else { return Ok(Position::BEGIN) };
    Ok(match view.outcome(index)? {
        Some(outcome) => Position::from(&outcome),
        // The last one of a state that was taken over.
        None => Position { height: view.installed()?.height, index },
    })
}

async fn newest(services: &Services) -> Result<Position, Refusal> {
    let (_, newest) = services.read(newest_in).await?;
    Ok(newest)
}

/// Whether an event of this chain is at that position, as far as this node can know: a client may have heard more from
/// another node.
async fn check(services: &Services, since: Position) -> Result<(), Refusal> {
    let (height, (found, installed)) =
        services.read(move |view| Ok((view.outcome(since.index)?, view.installed()?))).await?;
    if since.next_index() < installed.log_size {
        let detail = format!(
            "this node took over the state of height {} and has no events before it: ask another node",
            installed.height
        );
        return Err(Refusal::new(Reason::Gone, detail));
    }
    let is_known = match found {
        _ if since == Position::BEGIN => true,
        Some(outcome) => outcome.height == since.height,
        // It may be the very last one that this store does not reach back to.
        None if since.next_index() == installed.log_size => since.height <= installed.height,
        None => since.height > height,
    };
    if is_known { Ok(()) } else { Err(of_store(&StoreError::BadCursor)) }
}
