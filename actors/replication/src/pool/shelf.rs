//! The bundles that are held, by digest and by position, and what they count against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_messages::{Bundle, BundlePosition, Digest, Height, ValidatorIndex};

use super::settings::PoolLimits;

/// Why there is no place for a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It is of another epoch.
    OtherEpoch,
    /// It can never be ordered: its origin's last ordered bundle is at its position or beyond.
    Superseded,
    /// Its origin has its share of the pool pending.
    ShareFull,
    /// There are two at its position already.
    TooManyVariants,
    /// Its sender has too much under verification.
    TooManyUnverified,
    /// A proposal names it, but its leader's part of the reserve is full.
    ReserveFull,
}

impl Refusal {
    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OtherEpoch => "other_epoch",
            Self::Superseded => "superseded",
            Self::ShareFull => "share_full",
            Self::TooManyVariants => "too_many_variants",
            Self::TooManyUnverified => "too_many_unverified",
            Self::ReserveFull => "reserve_full",
        }
    }
}

/// What a pending bundle counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Its origin's share.
    Share,
    /// The reserve.
    Reserve {
        /// Whose part of it: the leader's whose proposal names it. None if a quorum voted for a block that does.
        proposer: Option<ValidatorIndex>,
        /// For how many bytes.
        charged: usize,
    },
}

#[derive(Debug)]
enum Stage {
    Pending(Room),
    Ordered,
}

#[derive(Debug)]
struct Held {
    bundle: Arc<Bundle>,
    stage: Stage,
    /// Peers that showed that they hold it: a bit for each index.
    holders: u128,
}

impl Held {
    fn is_reserved(&self) -> bool {
        matches!(self.stage, Stage::Pending(Room::Reserve { .. }))
    }
}

/// What is pending of one origin.
#[derive(Debug, Default)]
struct Origin {
    pending: BTreeSet<(BundlePosition, Digest)>,
    bundles: usize,
    bytes: usize,
    last: Option<BundlePosition>,
}

/// The bundles that are held.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    held: BTreeMap<Digest, Held>,
    origins: BTreeMap<ValidatorIndex, Origin>,
    ordered: BTreeSet<(Height, Digest)>,
    pending_bytes: usize,
    reserve_bytes: usize,
    /// Of the reserve, what the proposals of each leader take.
    reserve_parts: BTreeMap<ValidatorIndex, usize>,
    retained_bytes: usize,
}

impl Shelf {
    pub(super) fn get(&self, digest: &Digest) -> Option<&Arc<Bundle>> {
        self.held.get(digest).map(|held| &held.bundle)
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.held.contains_key(digest)
    }

    /// The bundle if it waits to be ordered.
    pub(super) fn get_pending(&self, digest: &Digest) -> Option<&Arc<Bundle>> {
        self.held.get(digest).filter(|held| matches!(held.stage, Stage::Pending(_))).map(|held| &held.bundle)
    }

    /// All that waits to be ordered, by origin and position.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Arc<Bundle>> {
        self.origins
            .values()
            .flat_map(|origin| origin.pending.iter())
            .filter_map(|(_, digest)| self.held.get(digest).map(|held| &held.bundle))
    }

    /// The pending bundles of one origin at one position, in the order of their digests.
    pub(super) fn variants(
        &self,
        origin: ValidatorIndex,
        position: BundlePosition,
    ) -> impl Iterator<Item = &Arc<Bundle>> {
        let range = (position, Digest([0; 32]))..=(position, Digest([0xff; 32]));
        let pending = self.origins.get(&origin).into_iter().flat_map(move |origin| origin.pending.range(range.clone()));
        pending.filter_map(|(_, digest)| self.held.get(digest).map(|held| &held.bundle))
    }

    /// The last ordered position of an origin.
    pub(super) fn last(&self, origin: ValidatorIndex) -> Option<BundlePosition> {
        self.origins.get(&origin).and_then(|origin| origin.last)
    }

    /// Why a bundle that no proposal names has no place here, if it has none.
    pub(super) fn refusal(
        &self,
        origin: ValidatorIndex,
        position: BundlePosition,
        bytes: usize,
        share_bytes: usize,
        limits: &PoolLimits,
    ) -> Option<Refusal> {
        if self.last(origin).is_some_and(|last| position <= last) {
            Some(Refusal::Superseded)
        } else if self.variants(origin, position).count() >= limits.variants_max {
            Some(Refusal::TooManyVariants)
        } else if !self.fits_share(origin, bytes, share_bytes, limits) {
            Some(Refusal::ShareFull)
        } else {
            None
        }
    }

    pub(super) fn fits_share(
        &self,
        origin: ValidatorIndex,
        bytes: usize,
        share_bytes: usize,
        limits: &PoolLimits,
    ) -> bool {
        let (bundles, used) = self.origins.get(&origin).map_or((0, 0), |origin| (origin.bundles, origin.bytes));
        bundles < limits.origin_bundles_max && used + bytes <= share_bytes
    }

    pub(super) fn fits_reserve(&self, leader: ValidatorIndex, bytes: usize, part_bytes: usize) -> bool {
        self.reserve_parts.get(&leader).copied().unwrap_or(0) + bytes <= part_bytes
    }

    /// Takes a bundle that is not held.
    pub(super) fn insert(&mut self, bundle: Arc<Bundle>, room: Room) {
        let bytes = bundle.bytes.len();
        let origin = self.origins.entry(bundle.body.origin).or_default();
        origin.pending.insert((bundle.position(), bundle.digest));
        match room {
            Room::Share => {
                origin.bundles += 1;
                origin.bytes += bytes;
                self.pending_bytes += bytes;
            }
            Room::Reserve { proposer, charged } => {
                self.reserve_bytes += charged;
                if let Some(leader) = proposer {
                    *self.reserve_parts.entry(leader).or_default() += charged;
                }
            }
        }
        let digest = bundle.digest;
        let before = self.held.insert(digest, Held { bundle, stage: Stage::Pending(room), holders: 0 });
        assert!(before.is_none(), "a bundle is held twice: {digest}");
    }

    /// A bundle is ordered: it is kept for peers, and no longer pending. Its origin and position, if it was pending.
    pub(super) fn order(&mut self, digest: &Digest, height: Height) -> Option<(ValidatorIndex, BundlePosition)> {
        let bundle = Arc::clone(self.get_pending(digest)?);
        self.unlist(&bundle);
        self.retained_bytes += bundle.bytes.len();
        self.ordered.insert((height, *digest));
        if let Some(held) = self.held.get_mut(digest) {
            held.stage = Stage::Ordered;
        }
        Some((bundle.body.origin, bundle.position()))
    }

    /// The last ordered position of an origin is known; what is pending up to there can never be ordered and goes.
    pub(super) fn advance(&mut self, origin: ValidatorIndex, last: BundlePosition) -> Vec<Arc<Bundle>> {
        let entry = self.origins.entry(origin).or_default();
        entry.last = entry.last.max(Some(last));
        let over = entry.pending.range(..=(last, Digest([0xff; 32]))).map(|(_, digest)| *digest).collect::<Vec<_>>();
        self.drop_pending(&over)
    }

    /// Another epoch: nothing that is pending can be ordered any more, and positions count anew.
    pub(super) fn clear_pending(&mut self) -> Vec<Arc<Bundle>> {
        let all: Vec<Digest> = self.pending().map(|bundle| bundle.digest).collect();
        let dropped = self.drop_pending(&all);
        self.origins.clear();
        dropped
    }

    /// What the reserve holds.
    pub(super) fn reserved(&self) -> Vec<Digest> {
        let held = self.held.iter().filter(|(_, held)| held.is_reserved());
        held.map(|(digest, _)| *digest).collect()
    }

    /// Nobody here needs these any more, and whoever does fetches them: they may come again.
    pub(super) fn release(&mut self, digests: &[Digest]) {
        let is_reserved = |digest: &&Digest| self.held.get(digest).is_some_and(Held::is_reserved);
        let reserved: Vec<Digest> = digests.iter().filter(is_reserved).copied().collect();
        self.drop_pending(&reserved);
    }

    fn drop_pending(&mut self, digests: &[Digest]) -> Vec<Arc<Bundle>> {
        let mut dropped = Vec::new();
        for digest in digests {
            if let Some(bundle) = self.get_pending(digest).cloned() {
                self.unlist(&bundle);
                self.held.remove(digest);
                dropped.push(bundle);
            }
        }
        dropped
    }

    /// Takes a pending bundle out of the accounts.
    fn unlist(&mut self, bundle: &Bundle) {
        let bytes = bundle.bytes.len();
        let Some(held) = self.held.get(&bundle.digest) else { return };
        let Stage::Pending(room) = held.stage else { return };
        let origin = self.origins.entry(bundle.body.origin).or_default();
        origin.pending.remove(&(bundle.position(), bundle.digest));
        match room {
            Room::Share => {
                origin.bundles -= 1;
                origin.bytes -= bytes;
                self.pending_bytes -= bytes;
            }
            Room::Reserve { proposer, charged } => {
                self.reserve_bytes -= charged;
                if let Some(part) = proposer.and_then(|leader| self.reserve_parts.get_mut(&leader)) {
                    *part -= charged;
                }
            }
        }
    }

    /// Nobody needs ordered bundles up to this height any more.
    pub(super) fn collect(&mut self, stable: Height) {
        while self.ordered.first().is_some_and(|(height, _)| *height <= stable) {
            self.drop_lowest_ordered();
        }
    }

    /// Drops the ordered bundles of the lowest heights until the rest fits.
    pub(super) fn trim_retained(&mut self, bytes_max: usize) {
        while self.retained_bytes > bytes_max {
            self.drop_lowest_ordered();
        }
    }

    fn drop_lowest_ordered(&mut self) {
        if let Some((_, digest)) = self.ordered.pop_first()
            && let Some(held) = self.held.remove(&digest)
        {
            self.retained_bytes -= held.bundle.bytes.len();
        }
    }

    /// A peer showed that it holds a bundle. Whether it is held here.
    pub(super) fn note_holder(&mut self, digest: &Digest, peer: ValidatorIndex) -> bool {
        match self.held.get_mut(digest) {
            Some(held) => {
                held.holders |= bit(peer);
                true
            }
            None => false,
        }
    }

    pub(super) fn is_holder(&self, digest: &Digest, peer: ValidatorIndex) -> bool {
        self.held.get(digest).is_some_and(|held| held.holders & bit(peer) != 0)
    }

    /// A peer may have lost what it held.
    pub(super) fn forget_holder(&mut self, peer: ValidatorIndex) {
        for held in self.held.values_mut() {
            held.holders &= !bit(peer);
        }
    }

    /// Indices changed their meaning.
    pub(super) fn forget_holders(&mut self) {
        for held in self.held.values_mut() {
            held.holders = 0;
        }
    }

    pub(super) fn pending_count(&self) -> usize {
        self.held.len() - self.ordered.len()
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    pub(super) fn reserve_bytes(&self) -> usize {
        self.reserve_bytes
    }

    pub(super) fn retained_bytes(&self) -> usize {
        self.retained_bytes
    }
}

/// A validator set has at most 128 members.
fn bit(peer: ValidatorIndex) -> u128 {
    1_u128.checked_shl(u32::from(peer.0)).unwrap_or(0)
}
