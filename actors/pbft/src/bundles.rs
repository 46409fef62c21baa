//! Bundles that are here and not yet committed, and which of them may be ordered next (consensus.md section 2).
//!
//! An origin's bundles are ordered by (start, number) without gaps, so the replicated state needs to remember one
//! position per origin to keep an old bundle from being ordered again (D). A bundle whose forerunner is missing cannot
//! be ordered by any leader: it is no work, or one origin that leaves a gap could end every view.

use std::collections::{BTreeMap, BTreeSet};

use dtvn_messages::bundle::BundlePosition;
use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::{Digest, ValidatorIndex};

/// What consensus needs to know of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleMeta {
    /// Its digest.
    pub digest: Digest,
    /// Who made it.
    pub origin: ValidatorIndex,
    /// Its place among those of its origin.
    pub position: BundlePosition,
    /// How many operations it has.
    pub operations: usize,
    /// How long it is.
    pub bytes: usize,
}

/// The last ordered bundle of each origin.
pub type Positions = BTreeMap<ValidatorIndex, BundlePosition>;

/// Whether the bundles may be ordered in this order after `positions`, which is brought up to date.
pub fn follow<'a>(positions: &mut Positions, bundles: impl Iterator<Item = &'a BundleMeta>) -> bool {
    for bundle in bundles {
        let follows = bundle.position.follows(positions.get(&bundle.origin).copied());
        if !follows && !planted(Canary::BundleOrderIgnored) {
            return false;
        }
        positions.insert(bundle.origin, bundle.position);
    }
    true
}

/// The bundles of one origin, by position, then arrival.
type Queue = BTreeSet<(BundlePosition, u64, Digest)>;

/// How much of what is pending fits into a block.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bundles.
    pub bundles: usize,
    /// Operations of all of them; the first bundle is taken however large.
    pub operations: usize,
    /// Bytes of all of them; the first bundle is taken however large.
    pub bytes: usize,
}

#[derive(Debug, Clone)]
struct Pending {
    meta: BundleMeta,
    arrival: u64,
    arrived_us: u64,
    is_relayed: bool,
}

/// The bundles that are here and not committed.
#[derive(Debug, Default)]
pub struct Bundles {
    held: BTreeMap<Digest, Pending>,
    by_origin: BTreeMap<ValidatorIndex, Queue>,
    by_arrival: BTreeMap<u64, Digest>,
    unrelayed: BTreeSet<u64>,
    /// Those that were relayed and can be ordered, by arrival, with the time since when both are so.
    work: BTreeMap<u64, (Digest, u64)>,
    arrivals: u64,
}

impl Bundles {
    /// Takes a bundle; one that is here already changes nothing. `last` is the last ordered one of its origin.
    pub fn insert(&mut self, meta: BundleMeta, last: Option<BundlePosition>, now_us: u64) {
        if self.held.contains_key(&meta.digest) {
            return;
        }
        let arrival = self.arrivals;
        self.arrivals += 1;
        self.by_arrival.insert(arrival, meta.digest);
        self.unrelayed.insert(arrival);
        let queue = self.by_origin.entry(meta.origin).or_default();
        let is_last = queue.last().is_none_or(|(position, ..)| *position < meta.position);
        queue.insert((meta.position, arrival, meta.digest));
        self.held.insert(meta.digest, Pending { meta, arrival, arrived_us: now_us, is_relayed: false });
        // It may fill a gap before others; behind them it changes nothing, as it was not relayed yet.
        if !is_last {
            self.update_work(meta.origin, last, now_us);
        }
    }

    /// What is known of a bundle.
    pub fn get(&self, digest: &Digest) -> Option<&BundleMeta> {
        self.held.get(digest).map(|pending| &pending.meta)
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some(pending) = self.held.remove(digest) {
            self.by_arrival.remove(&pending.arrival);
            self.unrelayed.remove(&pending.arrival);
            self.work.remove(&pending.arrival);
            if let Some(queue) = self.by_origin.get_mut(&pending.meta.origin) {
                queue.remove(&(pending.meta.position, pending.arrival, *digest));
            }
        }
    }

    /// Removes bundles that are given up. `positions` are the last ordered bundles.
    pub fn release(&mut self, digests: &[Digest], positions: &Positions, now_us: u64) {
        let origins: BTreeSet<ValidatorIndex> =
            digests.iter().filter_map(|digest| self.get(digest).map(|meta| meta.origin)).collect();
        digests.iter().for_each(|digest| self.remove(digest));
        // What comes behind them cannot be ordered any more, for now.
        for origin in origins {
            self.update_work(origin, positions.get(&origin).copied(), now_us);
        }
    }

    /// A block's bundles are committed, and `positions` are the last of each origin. Removes them and all that can
    /// never be ordered any more, which are returned with their origin.
    pub fn committed(
        &mut self,
        digests: &[Digest],
        positions: &Positions,
        now_us: u64,
    ) -> BTreeMap<ValidatorIndex, Vec<Digest>> {
        let origins: BTreeSet<ValidatorIndex> =
            digests.iter().filter_map(|digest| self.get(digest).map(|meta| meta.origin)).collect();
        for digest in digests {
            self.remove(digest);
        }
        let mut superseded = BTreeMap::new();
        for origin in origins {
            let Some(last) = positions.get(&origin) else { continue };
            let queue = self.by_origin.get(&origin).into_iter().flatten();
            let stale: Vec<Digest> =
                queue.take_while(|(position, ..)| position <= last).map(|(.., digest)| *digest).collect();
            for digest in &stale {
                self.remove(digest);
            }
            if !stale.is_empty() {
                superseded.insert(origin, stale);
            }
            self.update_work(origin, Some(*last), now_us);
        }
        superseded
    }

    /// The bundles that may be ordered next after `positions`, first come, first served. Those of the origins
    /// `left_out` are not looked at.
    pub fn choose(&self, positions: &Positions, room: Room, left_out: &BTreeSet<ValidatorIndex>) -> Vec<BundleMeta> {
        let mut positions = positions.clone();
        let mut heads = BTreeMap::new();
        for origin in self.by_origin.keys().filter(|origin| !left_out.contains(origin)) {
            self.push_head(&mut heads, &positions, *origin);
        }
        let (mut chosen, mut operations, mut bytes) = (Vec::new(), 0, 0);
        while let Some((_, meta)) = heads.pop_first() {
            operations += meta.operations;
            bytes += meta.bytes;
            if !chosen.is_empty() && (operations > room.operations || bytes > room.bytes) {
                break;
            }
            positions.insert(meta.origin, meta.position);
            chosen.push(meta);
            if chosen.len() >= room.bundles {
                break;
            }
            self.push_head(&mut heads, &positions, meta.origin);
        }
        chosen
    }

    /// Adds the first bundle of `origin` that may follow `positions`, keyed by its arrival.
    fn push_head(&self, heads: &mut BTreeMap<u64, BundleMeta>, positions: &Positions, origin: ValidatorIndex) {
        let last = positions.get(&origin).copied();
        let lowest = (last.unwrap_or(BundlePosition { start: 0, number: 0 }), 0, Digest::ZERO);
        let Some(queue) = self.by_origin.get(&origin) else { return };
        let found = queue
            .range(lowest..)
            .find(|(position, _, _)| position.follows(last) || planted(Canary::BundleOrderIgnored));
        if let Some((_, arrival, digest)) = found
            && let Some(pending) = self.held.get(digest)
        {
            heads.insert(*arrival, pending.meta);
        }
    }

    /// Marks as relayed all that arrived at or before `until_us`, and returns them. `positions` are the last ordered
    /// bundles.
    pub fn relay(&mut self, until_us: u64, positions: &Positions, now_us: u64) -> Vec<Digest> {
        let mut relayed = Vec::new();
        let mut origins = BTreeSet::new();
        while let Some(arrival) = self.unrelayed.first().copied() {
            let Some(pending) = self.by_arrival.get(&arrival).and_then(|digest| self.held.get_mut(digest)) else {
                self.unrelayed.remove(&arrival);
                continue;
            };
            if pending.arrived_us > until_us {
                break;
            }
            pending.is_relayed = true;
            relayed.push(pending.meta.digest);
            origins.insert(pending.meta.origin);
            self.unrelayed.remove(&arrival);
        }
        for origin in origins {
            self.update_work(origin, positions.get(&origin).copied(), now_us);
        }
        relayed
    }

    /// When the oldest bundle that was not yet relayed arrived.
    pub fn oldest_unrelayed_us(&self) -> Option<u64> {
        let arrival = self.unrelayed.first()?;
        self.by_arrival.get(arrival).and_then(|digest| self.held.get(digest)).map(|pending| pending.arrived_us)
    }

    /// The oldest bundle that everyone can know and that can be ordered, and since when that is so.
    pub fn oldest_work(&self) -> Option<(Digest, u64)> {
        self.work.values().next().copied()
    }

    /// Finds out anew which bundles of an origin are work, after its last ordered one.
    fn update_work(&mut self, origin: ValidatorIndex, last: Option<BundlePosition>, now_us: u64) {
        let Some(queue) = self.by_origin.get(&origin) else { return };
        // The run of numbers that can be ordered one after the other: its start, and the number that it lacks next.
        let mut run = last.map_or((0, 0), |last| (last.start, last.number.saturating_add(1)));
        for (position, arrival, digest) in queue {
            if position.start != run.0 {
                run = (position.start, 0);
            }
            let can_be_ordered = last.is_none_or(|last| *position > last) && position.number <= run.1;
            if can_be_ordered && position.number == run.1 {
                run.1 = run.1.saturating_add(1);
            }
            let is_relayed = self.held.get(digest).is_some_and(|pending| pending.is_relayed);
            if can_be_ordered && is_relayed {
                self.work.entry(*arrival).or_insert((*digest, now_us));
            } else {
                self.work.remove(arrival);
            }
        }
    }
}
