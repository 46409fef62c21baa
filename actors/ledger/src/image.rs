//! The whole state as a store keeps it, and back (architecture.md section 5).

use std::sync::Arc;

use dtvn_messages::merkle::Frontier;
use dtvn_messages::{
    EventId, Genesis, Height, IdempotencyKey, LastBundle, Membership, NodeName, Ticket, TicketId, Timestamp,
};
use thiserror::Error;

use crate::keys::{KeyEntry, KeyScope, held_until};
use crate::ledger::{Bounds, Ledger, Point};

/// The state after a committed block. What [`crate::BlockEffects`] says, block by block, adds up to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerImage {
    /// The height of the block.
    pub height: Height,
    /// Its agreed time.
    pub timestamp: Timestamp,
    /// All tickets. [`Ledger::image`] gives them ascending by event and id; in that order they load fastest.
    pub tickets: Vec<Arc<Ticket>>,
    /// All keys that are held, in any order. [`Ledger::image`] gives the oldest first.
    pub keys: Vec<KeyEntry>,
    /// The frontier of the transparency log.
    pub log: Frontier,
    /// How many of its outcomes are accepted ones.
    pub accepted: u64,
    /// For each validator that ever had a bundle ordered, the last of them.
    pub last_bundles: Vec<(NodeName, LastBundle)>,
    /// The validator set and what was agreed about it; none is that of the genesis.
    pub membership: Option<Arc<Membership>>,
}

/// Why an image is not a state that a ledger can have: the store is damaged or of another chain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoadError {
    /// The image is older than the chain.
    #[error("the stored state is of {found} microseconds, before the genesis at {genesis}")]
    BeforeGenesis {
        /// The image's time.
        found: Timestamp,
        /// The time of the genesis.
        genesis: Timestamp,
    },
    /// A ticket of an event that the genesis does not have.
    #[error("the stored ticket {ticket} belongs to the event {event}, which the genesis does not have")]
    UnknownEvent {
        /// The event.
        event: EventId,
        /// The ticket.
        ticket: TicketId,
    },
    /// A ticket is there twice.
    #[error("the ticket {ticket} of the event {event} is stored twice")]
    SameTicket {
        /// The event.
        event: EventId,
        /// The ticket.
        ticket: TicketId,
    },
    /// A key is there twice, or two keys share an outcome.
    #[error("the idempotency key {0} is stored twice, or two keys share its outcome")]
    SameKey(IdempotencyKey),
    /// A key's outcome is not one that a key of this state can have.
    #[error("the stored outcome of the idempotency key {key} cannot be: {fault}")]
    KeyOutcome {
        /// The key.
        key: IdempotencyKey,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A validator is there twice.
    #[error("the last bundle of {0} is stored twice")]
    SameOrigin(NodeName),
}

impl LedgerImage {
    /// This state as the one that another chain begins with: at its time and height, with its validators, and without what
    /// belongs to a chain's own bundles. Keys whose time is over then are dropped.
    #[must_use]
    pub fn under(mut self, genesis: &Genesis) -> Self {
        (self.height, self.timestamp) = (genesis.base(), genesis.file().time);
        self.last_bundles.clear();
        self.membership = None;
        let retention_micros = genesis.parameters().key_retention_ms.saturating_mul(1_000);
        self.keys.retain(|entry| held_until(entry, retention_micros) >= self.timestamp);
        self.keys.sort_by_key(|entry| entry.outcome.index);
        self
    }
}

impl Ledger {
    /// The ledger of a stored state: it continues exactly as the one that was stored.
    ///
    /// # Errors
    /// If the image is inconsistent in itself or with the genesis.
    pub fn load(genesis: &Genesis, image: LedgerImage) -> Result<Self, LoadError> {
        Self::load_with_bounds(genesis, image, Bounds::default())
    }

    /// As [`Ledger::load`], with bounds other than the product's.
    ///
    /// # Errors
    /// As [`Ledger::load`].
    pub fn load_with_bounds(genesis: &Genesis, image: LedgerImage, bounds: Bounds) -> Result<Self, LoadError> {
        let mut ledger = Self::empty(genesis, bounds);
        if image.timestamp < genesis.file().time {
            return Err(LoadError::BeforeGenesis { found: image.timestamp, genesis: genesis.file().time });
        }
        if let Some(membership) = image.membership {
            ledger.membership = membership;
        }
        let log = (image.log, image.accepted);
        ledger.committed = Point::new(image.height, image.timestamp, log, &ledger.membership);
        image.tickets.into_iter().try_for_each(|ticket| ledger.load_ticket(ticket))?;
        ledger.load_keys(image.keys)?;
        for (origin, last) in image.last_bundles {
            if ledger.last_bundles.insert(origin.clone(), last).is_some() {
                return Err(LoadError::SameOrigin(origin));
            }
        }
        Ok(ledger)
    }

    /// The whole state at the tip. For a store or a snapshot take it when the tip is committed.
    #[must_use]
    pub fn image(&self) -> LedgerImage {
        let tip = self.tip_point();
        LedgerImage {
            height: tip.height,
            timestamp: tip.timestamp,
            tickets: self.tickets.iter().cloned().collect(),
            keys: self.keys.iter().cloned().collect(),
            log: tip.log.clone(),
            accepted: tip.accepted,
            last_bundles: self.last_bundles.iter().map(|(origin, last)| (origin.clone(), *last)).collect(),
            membership: (!self.membership.is_first()).then(|| Arc::clone(&self.membership)),
        }
    }

    fn load_ticket(&mut self, ticket: Arc<Ticket>) -> Result<(), LoadError> {
        let (name, id) = (ticket.event.clone(), ticket.id.clone());
        match self.tickets.event(&name) {
            None => Err(LoadError::UnknownEvent { event: name, ticket: id }),
            Some(event) if self.tickets.load(event, ticket) => Ok(()),
            Some(_) => Err(LoadError::SameTicket { event: name, ticket: id }),
        }
    }

    fn load_keys(&mut self, mut keys: Vec<KeyEntry>) -> Result<(), LoadError> {
        keys.sort_by_key(|entry| entry.outcome.index);
        let mut youngest: Option<(u64, Timestamp)> = None;
        for entry in keys {
            let outcome = &entry.outcome;
            let wrong = |fault| Err(LoadError::KeyOutcome { key: outcome.key.clone(), fault });
            if outcome.index >= self.committed.log.size() {
                return wrong("its leaf is beyond the end of the log");
            }
            if outcome.height > self.committed.height || outcome.agreed_time > self.committed.timestamp {
                return wrong("it is from a later block than the state");
            }
            let is_recovery = matches!(entry.scope, KeyScope::Recovery(_));
            if !outcome.verdict.refusal().is_none_or(|reason| reason.is_remembered() && !is_recovery) {
                return wrong("a refusal for this reason uses up no key");
            }
            let digest = entry.digest();
            if self.keys.get(&digest).is_some() || youngest.is_some_and(|(index, _)| index == outcome.index) {
                return Err(LoadError::SameKey(outcome.key.clone()));
            }
            if youngest.is_some_and(|(_, time)| outcome.agreed_time < time) {
                return wrong("it is earlier than that of a leaf before it");
            }
            youngest = Some((outcome.index, outcome.agreed_time));
            self.keys.insert(digest, entry);
        }
        Ok(())
    }
}
