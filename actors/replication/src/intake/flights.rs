//! Operations that are under way: queued for a bundle or in one, each with those who wait for its outcome.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use dtvn_ledger::KeyScope;
use dtvn_messages::{BundlePosition, Digest, Epoch, IdempotencyKey, Layout, Operation, Writer, sha256};

use super::messages::RequestId;

/// An operation under way, for as long as this intake lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlightId(u64);

/// Which bundle of this validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BundleTag {
    pub(super) epoch: Epoch,
    pub(super) position: BundlePosition,
}

/// Where an operation is.
#[derive(Debug)]
pub(super) enum Place {
    /// It waits for a bundle.
    Queued(Box<Operation>),
    /// It is in a bundle.
    Bundled(BundleTag),
}

/// One place in a request that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) request: RequestId,
    pub(super) index: usize,
}

/// What names an operation: two with the same key and payload are one. The hash of the key comes first, so that names
/// are mostly compared as numbers, and those of one key are neighbours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    key_hash: u64,
    payload: Digest,
    key: IdempotencyKey,
}

impl Name {
    pub(super) fn new(key: &IdempotencyKey, payload: Digest) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self { key_hash: hasher.finish(), payload, key: key.clone() }
    }

    /// The least or greatest name of a key with this hash.
    fn with_payload(&self, payload: Digest) -> Self {
        Self { payload, ..self.clone() }
    }
}

#[derive(Debug)]
pub(super) struct Flight {
    pub(super) name: Name,
    pub(super) scope: KeyScope,
    /// The length of its layout.
    pub(super) bytes: usize,
    pub(super) place: Place,
    pub(super) waiters: Vec<Waiter>,
    /// It was in a bundle, or its client went away and relies on it: it is never refused.
    pub(super) promised: bool,
}

/// An operation's payload digest ([`Operation::payload_digest`]) and the length of its layout, from one encoding.
pub(super) fn measure(operation: &Operation) -> (Digest, usize) {
    let mut writer = Writer::with_capacity(256);
    operation.write(&mut writer);
    let layout = writer.as_bytes();
    // The key (a length and its bytes) and `valid_until` are not part of the payload.
    let payload = &layout[4 + operation.key.as_str().len() + 8..];
    (sha256(&[b"dtvn/payload/1", payload]), layout.len())
}

/// The operations under way.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: BTreeMap<FlightId, Flight>,
    names: BTreeMap<Name, FlightId>,
    next: u64,
}

impl Flights {
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn insert(&mut self, flight: Flight) -> FlightId {
        let id = FlightId(self.next);
        self.next += 1;
        let before = self.names.insert(flight.name.clone(), id);
        assert!(before.is_none(), "an operation is under way twice: {:?}", flight.name.key);
        self.flights.insert(id, flight);
        id
    }

    pub(super) fn get(&self, id: FlightId) -> Option<&Flight> {
        self.flights.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: FlightId) -> Option<&mut Flight> {
        self.flights.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: FlightId) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        self.names.remove(&flight.name);
        Some(flight)
    }

    pub(super) fn find(&self, name: &Name) -> Option<FlightId> {
        self.names.get(name).copied()
    }

    /// Whether the key is under way in the same scope with another payload.
    pub(super) fn is_key_under_way(&self, name: &Name, scope: &KeyScope) -> bool {
        let range = name.with_payload(Digest([0; 32]))..=name.with_payload(Digest([0xff; 32]));
        let neighbours = self.names.range(range).filter(|(other, _)| other.key == name.key);
        neighbours.filter_map(|(_, id)| self.get(*id)).any(|flight| flight.scope == *scope)
    }
}
