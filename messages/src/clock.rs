//! Vector clocks: for each validator, how many accepted operations on a ticket it took in (api.md section 1).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::ids::NodeName;
use crate::limits;

/// A counter for each validator that ever counted. Layout: count `u32`, then for each, in ascending order of the name,
/// the name (text) and the counter `u64`, which is above 0.
///
/// A ticket has few entries and there are many tickets: a sorted list, not a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VectorClock(Vec<(NodeName, u64)>);

const NOT_ASCENDING: &str = "the entries of a vector clock are not ascending, or one is 0";

impl VectorClock {
    /// Counts one more for `node`.
    pub fn increment(&mut self, node: &NodeName) {
        match self.position(node) {
            Ok(position) => self.0[position].1 = self.0[position].1.saturating_add(1),
            Err(position) => self.0.insert(position, (node.clone(), 1)),
        }
    }

    /// Counts one less for `node`.
    pub fn take_back(&mut self, node: &NodeName) {
        if let Ok(position) = self.position(node) {
            self.0[position].1 -= 1;
            if self.0[position].1 == 0 {
                self.0.remove(position);
            }
        }
    }

    /// The counter of `node`; 0 if it never counted.
    #[must_use]
    pub fn get(&self, node: &NodeName) -> u64 {
        self.position(node).map_or(0, |position| self.0[position].1)
    }

    /// The least clock that is not before either.
    pub fn merge(&mut self, other: &Self) {
        for (node, counter) in &other.0 {
            match self.position(node) {
                Ok(position) => self.0[position].1 = self.0[position].1.max(*counter),
                Err(position) => self.0.insert(position, (node.clone(), *counter)),
            }
        }
    }

    /// Whether this clock has seen all that `other` has.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(node, counter)| self.get(node) >= *counter)
    }

    /// The names and counters, in ascending order of the name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&NodeName, u64)> {
        self.0.iter().map(|(node, counter)| (node, *counter))
    }

    /// Where the entry of `node` is, or where it would have to be.
    fn position(&self, node: &NodeName) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| own.cmp(node))
    }

    fn checked(entries: Vec<(NodeName, u64)>) -> Option<Self> {
        let ascending = entries.is_sorted_by(|left, right| left.0 < right.0);
        (ascending && entries.iter().all(|(_, counter)| *counter > 0)).then_some(Self(entries))
    }
}

impl FromIterator<(NodeName, u64)> for VectorClock {
    /// A counter of 0 is no entry; of two for one name the last counts.
    fn from_iter<I: IntoIterator<Item = (NodeName, u64)>>(entries: I) -> Self {
        let entries: BTreeMap<NodeName, u64> = entries.into_iter().collect();
        Self(entries.into_iter().filter(|(_, counter)| *counter > 0).collect())
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
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push((NodeName::read(reader)?, reader.u64()?));
        }
        Self::checked(entries).ok_or(DecodeError::Invalid(NOT_ASCENDING))
    }
}

impl Serialize for VectorClock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for VectorClock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::<NodeName, u64>::deserialize(deserializer)?.into_iter().collect())
    }
}

impl bincode::Encode for VectorClock {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
        self.0.encode(encoder)
    }
}

impl<C> bincode::Decode<C> for VectorClock {
    fn decode<D: bincode::de::Decoder<Context = C>>(decoder: &mut D) -> Result<Self, bincode::error::DecodeError> {
        Self::checked(Vec::decode(decoder)?).ok_or(bincode::error::DecodeError::Other(NOT_ASCENDING))
    }
}

impl<'de, C> bincode::BorrowDecode<'de, C> for VectorClock {
    fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        <Self as bincode::Decode<C>>::decode(decoder)
    }
}
