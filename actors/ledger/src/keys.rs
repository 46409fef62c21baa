//! The table of idempotency keys: which keys took effect, and with what outcome (consensus.md section 2).
//!
//! **Why no operation takes effect twice.** Let `R` be the retention of the table (`key_retention_ms` of the genesis).
//! An operation is decided in a block of agreed time `t` only if `t <= valid_until <= t + R`; outside of that it is
//! refused as `operation_expired`. Its key is then held through every block of a time up to and including `t + R`. A
//! second copy of that operation, by whatever way it gets into another block, either meets the held key, or comes after
//! `t + R >= valid_until` and is refused. No entry is ever dropped before its time: a full table refuses new keys
//! (`ledger_full`). Some are dropped later: a block drops at most
//! [`LEDGER_KEYS_EXPIRED_MAX`](dtvn_messages::limits::LEDGER_KEYS_EXPIRED_MAX), so that the first one after a quiet day is
//! no slower than others, and what is still there answers as before.
//!
//! **Only execution refuses for a full table**, and no node does so on its own before it takes an operation in. What is
//! sent again under a key that is held must get its first outcome for as long as the table is full, which may be a day;
//! and an intake, which knows what is on its way and not what was decided, could not tell it from a new one.
//!
//! **No validator fills the table for others.** Above half of it, a validator that took in its even part of all keys that
//! are held is refused new ones (`ledger_full`), and the others go on: a liar could write refused operations of its own
//! without end. So the liars of a network hold at most half and one part for each but the first. Changes of the
//! validators and recoveries are decided however full the table is, or a liar could keep them from removing it; refused
//! ones use up no key then.
//!
//! Copies that differ in `valid_until`, which is what retries of a client through several nodes are, are one operation:
//! they have one payload, and whichever is ordered first decides. So a client may repeat a key through any nodes for
//! the time `R` from the first decision, less what its node adds as `valid_until`; after `R` the key is free again, and
//! using it is a new request.
//!
//! **What is not remembered.** `operation_expired` and `ledger_full` are leaves of the log like every decision, but use
//! up no key: they had no effect, and a client that repeats the key through another node (with a new `valid_until`) must
//! be able to succeed. For a date too far ahead, remembering would even be wrong: the entry would have to outlive `t +
//! R`, and one faulty node could fill the table for ever. A key that is held is looked up *before* the date is checked:
//! who comes too late with a key that took effect learns the first outcome, not a refusal.
//!
//! Agreed time rises from block to block and `R` is constant, so keys expire in the order in which they were used: a
//! queue is enough. Keys are found by a hash, which is compared without following a pointer and is also a handy name for
//! a database.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::membership::Recovery;
use dtvn_messages::{
    Action, DecodeError, Digest, EventId, IdempotencyKey, Layout, NodeName, Operation, Outcome, Reader, Timestamp,
    Writer, sha256,
};

use crate::ledger::Bounds;

/// To whom a key belongs. Keys of different scopes never meet.
///
/// Layout: kind `u8`, then the owner. Devices with keys of their own will be another kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum KeyScope {
    /// 1: the event, for all clients without a device key. The event need not exist.
    Event(EventId),
    /// 2: what a validator that lost its memory asks for. Its key is known to all as soon as it asks, so nothing else may
    /// use it up; and a refused recovery uses up none, for anybody can forge one.
    Recovery(Recovery),
}

impl KeyScope {
    /// The scope of an operation's key.
    #[must_use]
    pub fn of(operation: &Operation) -> Self {
        Self::of_recovery(&operation.action).unwrap_or_else(|| Self::Event(operation.event.clone()))
    }

    pub(crate) fn of_recovery(action: &Action) -> Option<Self> {
        match action {
            Action::Recover(signed) => Some(Self::Recovery(signed.body.clone())),
            _ => None,
        }
    }

    /// The name of a key in this scope: SHA-256 of the text `dtvn/key/1`, the scope and the key (text).
    #[must_use]
    pub fn digest(&self, key: &IdempotencyKey) -> Digest {
        let mut writer = Writer::with_capacity(320);
        self.write(&mut writer);
        key.write(&mut writer);
        sha256(&[b"dtvn/key/1", writer.as_bytes()])
    }
}

impl Layout for KeyScope {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Event(event) => {
                writer.u8(1);
                event.write(writer);
            }
            Self::Recovery(recovery) => {
                writer.u8(2);
                recovery.write(writer);
            }
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            1 => Ok(Self::Event(Layout::read(reader)?)),
            2 => Ok(Self::Recovery(Layout::read(reader)?)),
            _ => Err(DecodeError::Invalid("the scope of a key is not an event (1) or a recovery (2)")),
        }
    }
}

/// A key that is used up, with the outcome that answers every repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// To whom the key belongs.
    pub scope: KeyScope,
    /// The outcome of the first operation with the key; it holds the key itself and the payload's digest.
    pub outcome: Arc<Outcome>,
}

impl KeyEntry {
    /// The name of the key: [`KeyScope::digest`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.scope.digest(&self.outcome.key)
    }
}

/// A digest as two numbers, which compare faster than bytes.
type Name = (u128, u128);

fn name(digest: &Digest) -> Name {
    let number = u128::from_be_bytes;
    let (mut high, mut low) = ([0; 16], [0; 16]);
    high.copy_from_slice(&digest.0[..16]);
    low.copy_from_slice(&digest.0[16..]);
    (number(high), number(low))
}

/// The table.
#[derive(Debug, Clone)]
pub(crate) struct KeyTable {
    entries: BTreeMap<Name, Arc<Outcome>>,
    by_age: VecDeque<KeyEntry>,
    /// How many of them each validator took in; none where it would be 0.
    by_origin: BTreeMap<NodeName, usize>,
    retention_micros: u64,
    bounds: Bounds,
}

impl KeyTable {
    pub(crate) fn new(retention_micros: u64, bounds: Bounds) -> Self {
        let (entries, by_age, by_origin) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new());
        Self { entries, by_age, by_origin, retention_micros, bounds }
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<&Arc<Outcome>> {
        self.entries.get(&name(digest))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.bounds.keys_max
    }

    /// Whether no new key is taken of this origin, one of so many validators: the table is full, or half full, and the
    /// origin has its part.
    pub(crate) fn is_full_for(&self, origin: &NodeName, validators: usize) -> bool {
        let part = self.bounds.keys_max.div_ceil(validators.max(1));
        let has_its_part = || self.by_origin.get(origin).is_some_and(|held| *held >= part);
        self.is_full() || (self.len() >= self.bounds.keys_max.div_ceil(2) && has_its_part())
    }

    /// All entries, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &KeyEntry> {
        self.by_age.iter()
    }

    /// The last agreed time at which a key is held that is used at `used`; also the latest `valid_until` allowed then.
    pub(crate) fn held_until(&self, used: Timestamp) -> Timestamp {
        used.plus_micros(self.retention_micros)
    }

    /// Whether an operation may be decided at `now`: it is not over, and its key will be held until it is.
    pub(crate) fn allows(&self, valid_until: Timestamp, now: Timestamp) -> bool {
        now <= valid_until && valid_until <= self.held_until(now)
    }

    /// Takes a key that was not there. `entry` must be younger than all others.
    pub(crate) fn insert(&mut self, digest: Digest, entry: KeyEntry) {
        let before = self.entries.insert(name(&digest), Arc::clone(&entry.outcome));
        assert!(
            before.is_none() || planted(Canary::KeyTableIgnored),
            "a key that took effect takes effect again: {:?}",
            entry.outcome.key
        );
        self.count(&entry);
        self.by_age.push_back(entry);
    }

    fn count(&mut self, entry: &KeyEntry) {
        *self.by_origin.entry(entry.outcome.origin.clone()).or_insert(0) += 1;
    }

    fn forget(&mut self, entry: &KeyEntry) {
        self.entries.remove(&name(&entry.digest()));
        if let Some(held) = self.by_origin.get_mut(&entry.outcome.origin) {
            *held -= 1;
            if *held == 0 {
                self.by_origin.remove(&entry.outcome.origin);
            }
        }
    }

    /// Drops, oldest first, keys whose time is over at `now`: as many as one block may.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<KeyEntry> {
        let mut expired = Vec::new();
        while expired.len() < self.bounds.keys_expired_max
            && let Some(entry) = self.by_age.pop_front_if(|oldest| held_until(oldest, self.retention_micros) < now)
        {
            self.forget(&entry);
            expired.push(entry);
        }
        expired
    }

    /// Undoes the insertion of the `added` youngest keys, then the expiry of `expired`.
    pub(crate) fn roll_back(&mut self, added: usize, expired: &[KeyEntry]) {
        for _ in 0..added {
            if let Some(entry) = self.by_age.pop_back() {
                self.forget(&entry);
            }
        }
        for entry in expired.iter().rev() {
            self.entries.insert(name(&entry.digest()), Arc::clone(&entry.outcome));
            self.count(entry);
            self.by_age.push_front(entry.clone());
        }
    }
}

pub(crate) fn held_until(entry: &KeyEntry, retention_micros: u64) -> Timestamp {
    entry.outcome.agreed_time.plus_micros(retention_micros)
}
