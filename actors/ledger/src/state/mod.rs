//! The state map (consensus.md section 5: "The state root (a Merkle map) commits to the whole replicated state"): the
//! entries that make up the state, and a persistent Merkle tree over them. What is hashed is laid down in
//! [`dtvn_messages::state`], where a verifier finds it.
//!
//! **Why not a library.** `jmt` (the Jellyfish Merkle tree, Apache-2.0, kept) was judged first. It has the same shape of
//! tree and equally short proofs. But each version writes its new nodes to a key-value store and leaves the superseded
//! ones to be pruned; this node rebuilds the tree from RocksDB at a start on purpose, so that a value that was altered on
//! disk is found at the next checkpoint, and stored nodes would be dead weight. Its restore takes chunks in ascending
//! order of keys from one side, so that several peers cannot serve one snapshot at the same time, and cuts by count, not
//! by bytes, so that a client who grinds keys decides how long a chunk is. What is left of it is the tree itself, some two
//! hundred lines, and those must share their values with the ledger, or each ticket would be in memory twice.
//!
//! **What it costs.** Nothing on the way of a block: a checkpoint takes the effects of the blocks since the last one and
//! brings the tree up to date in one sweep, each changed node hashed once; who has a thread to spare does it there. An old
//! version shares all that did not change, so a checkpoint's snapshot stays readable for free while the state goes on.

mod map;
mod snapshot;

use std::sync::Arc;

use dtvn_messages::genesis::EventPolicy;
use dtvn_messages::merkle::Frontier;
use dtvn_messages::state::{RawEntry, kind, path};
use dtvn_messages::{
    BundlePosition, DecodeError, Digest, Epoch, EventId, IdempotencyKey, LastBundle, Layout, Membership, NodeName,
    Outcome, Reader, Ticket, TicketId, Writer,
};

use crate::keys::{KeyEntry, KeyScope};

pub use map::{Difference, StateMap};
pub use snapshot::SnapshotError;

/// The transparency log, as the state holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// Its frontier.
    pub frontier: Frontier,
    /// How many of its outcomes are accepted ones.
    pub accepted: u64,
}

/// An entry of the state. Its parts are shared with the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateEntry {
    /// A ticket.
    Ticket(Arc<Ticket>),
    /// An event.
    Event(EventPolicy),
    /// An idempotency key that is held.
    Key(KeyEntry),
    /// The last ordered bundle of a validator.
    LastBundle(NodeName, LastBundle),
    /// The transparency log.
    Log(Arc<LogState>),
    /// The validators.
    Membership(Arc<Membership>),
}

impl StateEntry {
    /// Its kind: [`kind`].
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Ticket(_) => kind::TICKET,
            Self::Event(_) => kind::EVENT,
            Self::Key(_) => kind::KEY,
            Self::LastBundle(..) => kind::LAST_BUNDLE,
            Self::Log(_) => kind::LOG,
            Self::Membership(_) => kind::MEMBERSHIP,
        }
    }

    fn name(&self) -> Vec<u8> {
        match self {
            Self::Ticket(ticket) => ticket_name(&ticket.event, &ticket.id),
            Self::Event(policy) => policy.id.to_bytes(),
            Self::Key(entry) => key_name(&entry.scope, &entry.outcome.key),
            Self::LastBundle(origin, _) => origin.to_bytes(),
            Self::Log(_) | Self::Membership(_) => Vec::new(),
        }
    }

    /// Where it is in the tree.
    #[must_use]
    pub fn path(&self) -> Digest {
        path(self.kind(), &self.name())
    }

    /// As it is hashed and travels.
    #[must_use]
    pub fn to_raw(&self) -> RawEntry {
        let value = match self {
            Self::Ticket(ticket) => ticket.to_bytes(),
            Self::Event(policy) => vec![1, u8::from(policy.auto_issue)],
            Self::Key(entry) => entry.outcome.to_bytes(),
            Self::LastBundle(_, last) => write(|writer| {
                last.epoch.write(writer);
                writer.u64(last.position.start);
                writer.u64(last.position.number);
            }),
            Self::Log(log) => write(|writer| {
                writer.u64(log.frontier.size());
                writer.u64(log.accepted);
                writer.list(log.frontier.peaks());
            }),
            Self::Membership(membership) => membership.to_bytes(),
        };
        RawEntry { kind: self.kind(), name: self.name(), value }
    }

    /// The entry that travelled so. An entry under another name than its value says is refused.
    ///
    /// # Errors
    /// If it is none of those that this program knows, or not what encoding would give.
    pub fn from_raw(raw: &RawEntry) -> Result<Self, DecodeError> {
        let mut value = Reader::new(&raw.value);
        let entry = match raw.kind {
            kind::TICKET => Self::Ticket(Arc::new(Ticket::read(&mut value)?)),
            kind::EVENT => {
                let id = EventId::from_bytes(&raw.name)?;
                let auto_issue = match (value.u8()?, value.u8()?) {
                    (1, marker @ (0 | 1)) => marker == 1,
                    _ => return Err(DecodeError::Invalid("an event's policy is of another version")),
                };
                Self::Event(EventPolicy { id, auto_issue })
            }
            kind::KEY => {
                let outcome = Arc::new(Outcome::read(&mut value)?);
                let scope = KeyScope::read(&mut Reader::new(&raw.name))?;
                Self::Key(KeyEntry { scope, outcome })
            }
            kind::LAST_BUNDLE => {
                let epoch = Epoch::read(&mut value)?;
                let position = BundlePosition { start: value.u64()?, number: value.u64()? };
                Self::LastBundle(NodeName::from_bytes(&raw.name)?, LastBundle { epoch, position })
            }
            kind::LOG => {
                let (size, accepted) = (value.u64()?, value.u64()?);
                let peaks = value.list("the peaks of the log", 64, 32)?;
                let frontier = Frontier::from_parts(size, peaks);
                let frontier = frontier.ok_or(DecodeError::Invalid("the log has not as many peaks as its size"))?;
                Self::Log(Arc::new(LogState { frontier, accepted }))
            }
            kind::MEMBERSHIP => Self::Membership(Arc::new(Membership::read(&mut value)?)),
            _ => return Err(DecodeError::Invalid("an entry of the state is of no known kind")),
        };
        value.finish()?;
        if entry.name() == raw.name { Ok(entry) } else { Err(DecodeError::Invalid("an entry is not under its name")) }
    }

    /// What it is, in words: for the message that names what differs.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Ticket(ticket) => {
                format!("ticket {} of event {} ({}, version {})", ticket.id, ticket.event, ticket.state, ticket.version)
            }
            Self::Event(policy) => format!("event {}", policy.id),
            Self::Key(entry) => format!("idempotency key {} (outcome {})", entry.outcome.key, entry.outcome.index),
            Self::LastBundle(origin, LastBundle { position, .. }) => {
                format!("last bundle of {origin} (number {} of start {})", position.number, position.start)
            }
            Self::Membership(membership) => format!("validators of epoch {}", membership.epoch),
            Self::Log(log) => format!("transparency log of {} outcomes", log.frontier.size()),
        }
    }
}

fn write(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64);
    fill(&mut writer);
    writer.into_bytes()
}

/// The name of a ticket's entry.
#[must_use]
pub fn ticket_name(event: &EventId, id: &TicketId) -> Vec<u8> {
    write(|writer| {
        event.write(writer);
        id.write(writer);
    })
}

/// The name of a key's entry.
#[must_use]
pub fn key_name(scope: &KeyScope, key: &IdempotencyKey) -> Vec<u8> {
    write(|writer| {
        scope.write(writer);
        key.write(writer);
    })
}
