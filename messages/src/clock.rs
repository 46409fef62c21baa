//! Vector clocks: for each validator, how many accepted operations on a ticket it took in (api.md section 1).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::ids::NodeName;
use crate::limits;

/// A counter for each validator that ever counted. Layout: count `u32`, then for each, in ascending order of the name,
/// the name (text) and the counter `u64`, which is above 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
#[serde(transparent)]
pub struct VectorClock(BTreeMap<NodeName, u64>);

impl VectorClock {
    /// Counts one more for `node`.
    pub fn increment(&mut self, node: &NodeName) {
        match self.0.get_mut(node) {
            Some(counter) => *counter = counter.saturating_add(1),
            None => {
                self.0.insert(node.clone(), 1);
            }
        }
    }

    /// The counter of `node`; 0 if it never counted.
    #[must_use]
    pub fn get(&self, node: &NodeName) -> u64 {
        self.0.get(node).copied().unwrap_or(0)
    }

    /// The least clock that is not before either.
    pub fn merge(&mut self, other: &Self) {
        for (node, counter) in &other.0 {
            let own = self.0.entry(node.clone()).or_insert(0);
            *own = (*own).max(*counter);
        }
    }

    /// Whether this clock has seen all that `other` has.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(node, counter)| self.get(node) >= *counter)
    }

    /// The names and counters, in ascending order of the name.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeName, u64)> {
        self.0.iter().map(|(node, counter)| (node, *counter))
    }
}

impl PartialOrd for VectorClock {
    /// Before, equal, after; none if the clocks are concurrent. A missing entry counts as 0.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.covers(other), other.covers(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}

impl Layout for VectorClock {
    fn write(&self, writer: &mut Writer) {
        writer.count(self.0.len());
        for (node, counter) in &self.0 {
            node.write(writer);
            writer.u64(*counter);
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.count("the number of entries of a vector clock", limits::VALIDATORS_MAX, 13)?;
        let mut clock = BTreeMap::new();
        for _ in 0..count {
            let node = NodeName::read(reader)?;
            let counter = reader.u64()?;
            if counter == 0 || clock.last_key_value().is_some_and(|(last, _)| *last >= node) {
                return Err(DecodeError::Invalid("the entries of a vector clock are not ascending, or one is 0"));
            }
            clock.insert(node, counter);
        }
        Ok(Self(clock))
    }
}
