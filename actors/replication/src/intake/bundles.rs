//! Bundles of this validator that are on their way.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::{Bundle, Digest, Epoch};

use super::flights::{BundleTag, FlightId};

/// A signed bundle and its operations, in its order.
#[derive(Debug)]
struct OnWay {
    bundle: Arc<Bundle>,
    flights: Vec<FlightId>,
}

/// The bundles.
#[derive(Debug, Default)]
pub(super) struct Bundles {
    /// Cut in this epoch and start, not signed yet; by number.
    unsigned: BTreeMap<u64, Vec<FlightId>>,
    /// Signed; those of earlier starts and epochs too.
    signed: BTreeMap<Digest, OnWay>,
}

pub(super) fn tag(bundle: &Bundle) -> BundleTag {
    BundleTag { epoch: bundle.body.epoch, position: bundle.position() }
}

impl Bundles {
    /// How many of this epoch and start are on their way.
    pub(super) fn on_way(&self, epoch: Epoch, start: u64) -> usize {
        let signed = self.signed.values().filter(|on_way| is_of(&on_way.bundle, epoch, start));
        self.unsigned.len() + signed.count()
    }

    pub(super) fn cut(&mut self, number: u64, flights: Vec<FlightId>) {
        self.unsigned.insert(number, flights);
    }

    /// A bundle that was cut is signed. One of an epoch or start that is over comes back as gone.
    pub(super) fn signed(&mut self, bundle: Arc<Bundle>, epoch: Epoch, start: u64) {
        if is_of(&bundle, epoch, start)
            && let Some(flights) = self.unsigned.remove(&bundle.body.number)
        {
            self.signed.insert(bundle.digest, OnWay { bundle, flights });
        }
    }

    /// A bundle of an earlier start.
    pub(super) fn restored(&mut self, bundle: Arc<Bundle>, flights: Vec<FlightId>) {
        self.signed.insert(bundle.digest, OnWay { bundle, flights });
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.signed.contains_key(digest)
    }

    /// A bundle is no longer on its way: its operations.
    pub(super) fn remove(&mut self, digest: &Digest) -> Option<Vec<FlightId>> {
        self.signed.remove(digest).map(|on_way| on_way.flights)
    }

    /// The epoch or start is over.
    pub(super) fn forget_unsigned(&mut self) {
        self.unsigned.clear();
    }

    /// All that may be handed to a pool.
    pub(super) fn signed_ones(&self) -> impl Iterator<Item = Arc<Bundle>> {
        self.signed.values().map(|on_way| Arc::clone(&on_way.bundle))
    }
}

fn is_of(bundle: &Bundle, epoch: Epoch, start: u64) -> bool {
    bundle.body.epoch == epoch && bundle.body.start == start
}
