//! The whole state as entries, and back: what a snapshot carries (consensus.md section 7).

use dtvn_messages::{DecodeError, Digest, Genesis, Height, Membership, Timestamp};
use std::sync::Arc;
use thiserror::Error;

use super::{LogState, StateEntry, StateMap};
use crate::image::LedgerImage;

/// Why entries are no state of this chain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// An entry cannot be read.
    #[error("an entry of the state cannot be read: {0}")]
    Entry(#[from] DecodeError),
    /// Its events are not those of the genesis.
    #[error("the events of the state are not those of the genesis")]
    Events,
    /// There is not exactly one log.
    #[error("the state has no transparency log, or two of them")]
    Log,
    /// There is not exactly one set of validators.
    #[error("the state does not say who is a validator, or says it twice")]
    Membership,
}

impl LedgerImage {
    /// All entries of the state.
    pub fn entries<'a>(&'a self, genesis: &'a Genesis) -> impl Iterator<Item = StateEntry> + 'a {
        let log = LogState { frontier: self.log.clone(), accepted: self.accepted };
        let events = genesis.file().events.iter().map(|policy| StateEntry::Event(policy.clone()));
        let tickets = self.tickets.iter().map(|ticket| StateEntry::Ticket(Arc::clone(ticket)));
        let keys = self.keys.iter().map(|key| StateEntry::Key(key.clone()));
        let bundles = self.last_bundles.iter().map(|(origin, last)| StateEntry::LastBundle(origin.clone(), *last));
        let first = || Arc::new(Membership::first(genesis));
        let membership = StateEntry::Membership(self.membership.clone().unwrap_or_else(first));
        [StateEntry::Log(Arc::new(log)), membership].into_iter().chain(events).chain(tickets).chain(keys).chain(bundles)
    }

    /// The state map of this state.
    #[must_use]
    pub fn state_map(&self, genesis: &Genesis) -> StateMap {
        StateMap::of(self.entries(genesis))
    }

    /// The root of this state.
    #[must_use]
    pub fn state_root(&self, genesis: &Genesis) -> Digest {
        self.state_map(genesis).root()
    }

    /// The state that has these entries, after a block of this height and agreed time.
    ///
    /// # Errors
    /// If they are no state of this chain.
    pub fn from_entries(
        genesis: &Genesis,
        height: Height,
        timestamp: Timestamp,
        entries: impl IntoIterator<Item = StateEntry>,
    ) -> Result<Self, SnapshotError> {
        let (mut tickets, mut keys, mut last_bundles) = (Vec::new(), Vec::new(), Vec::new());
        let (mut events, mut log, mut membership) = (Vec::new(), None, None);
        for entry in entries {
            match entry {
                StateEntry::Ticket(ticket) => tickets.push(ticket),
                StateEntry::Event(policy) => events.push(policy),
                StateEntry::Key(key) => keys.push(key),
                StateEntry::LastBundle(origin, last) => last_bundles.push((origin, last)),
                StateEntry::Log(state) if log.is_none() => log = Some(state),
                StateEntry::Log(_) => return Err(SnapshotError::Log),
                StateEntry::Membership(state) if membership.is_none() => membership = Some(state),
                StateEntry::Membership(_) => return Err(SnapshotError::Membership),
            }
        }
        let mut expected = genesis.file().events.clone();
        expected.sort_by(|left, right| left.id.cmp(&right.id));
        events.sort_by(|left, right| left.id.cmp(&right.id));
        if events != expected {
            return Err(SnapshotError::Events);
        }
        let log = log.ok_or(SnapshotError::Log)?;
        let membership = Some(membership.ok_or(SnapshotError::Membership)?).filter(|state| !state.is_first());
        tickets.sort_by(|left, right| (&left.event, &left.id).cmp(&(&right.event, &right.id)));
        keys.sort_by_key(|key| key.outcome.index);
        last_bundles.sort();
        let (log, accepted) = (log.frontier.clone(), log.accepted);
        Ok(Self { height, timestamp, tickets, keys, log, accepted, last_bundles, membership })
    }
}
