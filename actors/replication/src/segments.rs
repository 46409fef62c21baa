//! Which segments of the consensus log are still needed.
//!
//! Architecture.md section 5: "Segments go only when RocksDB has durably passed them and a stable checkpoint covers
//! them." A record about a height is needed until then; a bundle as long as a record that names it; of what holds for the
//! view only the latest record of its kind. That, and a bundle that nothing names yet, because a later vote will say that
//! it is held, are carried over into the newest segment before an old one goes: no other copy may be on the disk yet. A
//! bundle that waits for longer than [`LOG_CARRIED_MAX`] segments is written again with the first record that names it.

use std::collections::BTreeMap;

use crate::log::{RecordNumber, RecordPosition, SegmentNumber};
use crate::record::Need;
use dtvn_messages::limits::LOG_CARRIED_MAX;
use dtvn_messages::{Digest, Height};

#[derive(Debug, Clone, Copy)]
struct Segment {
    first: RecordNumber,
    /// The highest height that a record in it is about, or that names a bundle in it.
    height: Height,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    position: RecordPosition,
    named: bool,
    carried: u8,
}

/// What each segment is needed for.
#[derive(Debug, Default)]
pub struct Segments {
    segments: BTreeMap<SegmentNumber, Segment>,
    bundles: BTreeMap<Digest, Held>,
    /// Where the latest record is of each kind of which only that is needed.
    latest: BTreeMap<u8, RecordPosition>,
}

impl Segments {
    /// A record of this kind was written there.
    pub fn note(&mut self, position: RecordPosition, kind: u8, need: &Need) {
        let fresh = Segment { first: position.number, height: Height(0) };
        let segment = self.segments.entry(position.segment).or_insert(fresh);
        match need {
            Need::Latest => {
                self.latest.insert(kind, position);
            }
            Need::Bundle(digest) => {
                let held = self.bundles.entry(*digest).or_insert(Held { position, named: false, carried: 0 });
                held.position = position;
            }
            Need::Height(height, bundles) => {
                segment.height = segment.height.max(*height);
                for digest in bundles {
                    let Some(held) = self.bundles.get_mut(digest) else { continue };
                    held.named = true;
                    if let Some(holder) = self.segments.get_mut(&held.position.segment) {
                        holder.height = holder.height.max(*height);
                    }
                }
            }
        }
    }

    /// Whether the log holds a bundle.
    #[must_use]
    pub fn holds(&self, bundle: &Digest) -> bool {
        self.bundles.contains_key(bundle)
    }

    /// The last of the oldest segments that are not needed above this height; never the newest.
    fn last_covered(&self, covered: Height) -> Option<SegmentNumber> {
        let newest = *self.segments.last_key_value()?.0;
        let is_covered =
            |(number, segment): &(&SegmentNumber, &Segment)| **number != newest && segment.height <= covered;
        self.segments.iter().take_while(is_covered).last().map(|(number, _)| *number)
    }

    /// The records that are to be written again before the segments up to this height may go, in their order.
    pub fn take_uncarried(&mut self, covered: Height) -> Vec<(RecordPosition, Need)> {
        let Some(last) = self.last_covered(covered) else { return Vec::new() };
        let mut carried = Vec::new();
        for (digest, held) in &mut self.bundles {
            if held.position.segment <= last && !held.named && held.carried < LOG_CARRIED_MAX {
                held.carried += 1;
                carried.push((held.position, Need::Bundle(*digest)));
            }
        }
        let latest = self.latest.values().filter(|position| position.segment <= last);
        carried.extend(latest.map(|position| (*position, Need::Latest)));
        carried.sort_by_key(|(position, _)| position.number);
        carried
    }

    /// Everything up to this height is applied for good and covered by a stable checkpoint: the oldest segment that must be
    /// kept, and its first record. What was not carried over holds its segment back.
    pub fn keep_from(&mut self, covered: Height) -> Option<(SegmentNumber, RecordNumber)> {
        let uncarried = self.bundles.values().filter(|held| !held.named && held.carried < LOG_CARRIED_MAX);
        let uncarried = uncarried.map(|held| held.position.segment);
        let held_back = self.latest.values().map(|position| position.segment).chain(uncarried).min();
        let last =
            self.segments.keys().copied().take_while(|number| held_back.is_none_or(|back| *number < back)).last();
        if let Some(last) = self.last_covered(covered).min(last) {
            self.segments.retain(|number, _| *number > last);
            self.bundles.retain(|_, held| held.position.segment > last);
        }
        self.segments.first_key_value().map(|(number, segment)| (*number, segment.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64, segment: u64) -> RecordPosition {
        let (number, segment) = (RecordNumber(number), SegmentNumber(segment));
        RecordPosition { number, segment, offset: 0, payload_bytes: 1 }
    }

    fn height(height: u64, bundles: &[Digest]) -> Need {
        Need::Height(Height(height), bundles.to_vec())
    }

    fn kept_from(segments: &mut Segments, covered: u64) -> Option<RecordNumber> {
        segments.keep_from(Height(covered)).map(|(_, record)| record)
    }

    const BUNDLE: Digest = Digest([7; 32]);

    #[test]
    fn a_segment_goes_when_all_its_heights_are_covered() {
        let mut segments = Segments::default();
        segments.note(at(1, 1), 3, &height(5, &[]));
        segments.note(at(2, 2), 3, &height(9, &[]));
        segments.note(at(3, 3), 3, &height(10, &[]));
        assert_eq!(kept_from(&mut segments, 4), Some(RecordNumber(1)));
        assert_eq!(kept_from(&mut segments, 5), Some(RecordNumber(2)));
        assert_eq!(kept_from(&mut segments, 100), Some(RecordNumber(3)), "the newest stays");
    }

    #[test]
    fn a_bundle_is_needed_as_long_as_a_block_that_names_it() {
        let mut segments = Segments::default();
        segments.note(at(1, 1), 2, &Need::Bundle(BUNDLE));
        segments.note(at(2, 2), 3, &height(20, &[BUNDLE]));
        segments.note(at(3, 3), 3, &height(30, &[]));
        assert!(segments.take_uncarried(Height(19)).is_empty());
        assert_eq!(kept_from(&mut segments, 19), Some(RecordNumber(1)));
        assert_eq!(kept_from(&mut segments, 20), Some(RecordNumber(3)));
    }

    #[test]
    fn a_bundle_that_nothing_names_is_carried_over_before_its_segment_goes() {
        let mut segments = Segments::default();
        segments.note(at(1, 1), 2, &Need::Bundle(BUNDLE));
        segments.note(at(2, 2), 3, &height(20, &[]));
        assert_eq!(segments.take_uncarried(Height(10)), [(at(1, 1), Need::Bundle(BUNDLE))]);
        segments.note(at(3, 2), 2, &Need::Bundle(BUNDLE));
        assert_eq!(kept_from(&mut segments, 10), Some(RecordNumber(2)));
        segments.note(at(4, 3), 3, &height(40, &[BUNDLE]));
        segments.note(at(5, 4), 3, &height(41, &[]));
        assert_eq!(kept_from(&mut segments, 39), Some(RecordNumber(2)), "the copy is needed as the first was");
    }

    #[test]
    fn a_bundle_that_nothing_ever_names_is_carried_over_so_often_and_then_goes() {
        let mut segments = Segments::default();
        segments.note(at(1, 1), 2, &Need::Bundle(BUNDLE));
        let mut carried = 0;
        for segment in 1..100 {
            segments.note(at(2 * segment, segment), 3, &height(segment, &[]));
            segments.note(at(2 * segment + 1, segment + 1), 3, &height(segment + 1, &[]));
            for (_, need) in segments.take_uncarried(Height(segment)) {
                carried += 1;
                segments.note(at(2 * segment + 1, segment + 1), 2, &need);
            }
            segments.keep_from(Height(segment));
        }
        assert_eq!(carried, LOG_CARRIED_MAX);
        assert!(segments.bundles.is_empty());
    }

    #[test]
    fn the_latest_record_of_a_kind_is_carried_over_before_its_segment_goes() {
        let mut segments = Segments::default();
        segments.note(at(1, 1), 5, &Need::Latest);
        segments.note(at(2, 1), 6, &Need::Latest);
        segments.note(at(3, 1), 5, &Need::Latest);
        segments.note(at(4, 2), 3, &height(20, &[]));
        let carried = segments.take_uncarried(Height(10));
        assert_eq!(carried, [at(2, 1), at(3, 1)].map(|at| (at, Need::Latest)), "the first of kind 5 is superseded");
        segments.note(at(5, 2), 6, &Need::Latest);
        segments.note(at(6, 2), 5, &Need::Latest);
        assert!(segments.take_uncarried(Height(10)).is_empty());
        assert_eq!(kept_from(&mut segments, 10), Some(RecordNumber(4)));
    }

    #[test]
    fn what_was_not_carried_over_holds_its_segment_back() {
        let mut segments = Segments::default();
        segments.note(at(1, 1), 3, &height(5, &[]));
        segments.note(at(2, 2), 5, &Need::Latest);
        segments.note(at(3, 3), 3, &height(6, &[]));
        assert_eq!(kept_from(&mut segments, 100), Some(RecordNumber(2)));
        segments.note(at(4, 3), 5, &Need::Latest);
        assert_eq!(kept_from(&mut segments, 100), Some(RecordNumber(3)));
    }
}
