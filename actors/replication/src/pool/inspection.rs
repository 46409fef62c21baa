//! Bundles whose signature is being checked, bounded per sender: what somebody claims to be signed by another counts
//! against the claimant, not against the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_messages::{Bundle, BundlePosition, Digest, ValidatorIndex};

use super::settings::PoolLimits;

/// Origin and position first, so that copies of one bundle are found together.
type Key = (ValidatorIndex, BundlePosition, Digest, ValidatorIndex);

#[derive(Debug)]
struct Inspected {
    bundle: Arc<Bundle>,
    solicited: bool,
    deadline_us: u64,
}

#[derive(Debug, Default)]
struct Load {
    unsolicited: usize,
    bytes: usize,
}

/// What is being verified.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    under_way: BTreeMap<Key, Inspected>,
    deadlines: BTreeSet<(u64, Key)>,
    loads: BTreeMap<ValidatorIndex, Load>,
    digests: BTreeMap<Digest, usize>,
}

fn key(bundle: &Bundle, from: ValidatorIndex) -> Key {
    (bundle.body.origin, bundle.position(), bundle.digest, from)
}

impl Inspection {
    /// Takes a bundle for verification; refuses if its sender has too many, or the same one, under way.
    pub(super) fn admit(
        &mut self,
        bundle: &Arc<Bundle>,
        from: ValidatorIndex,
        solicited: bool,
        deadline_us: u64,
        limits: &PoolLimits,
    ) -> bool {
        let key = key(bundle, from);
        let load = self.loads.entry(from).or_default();
        let too_many = !solicited && load.unsolicited >= limits.unverified_bundles_per_peer_max;
        let too_much = load.bytes + bundle.bytes.len() > limits.unverified_bytes_per_peer_max;
        if too_many || too_much || self.under_way.contains_key(&key) {
            return false;
        }
        load.unsolicited += usize::from(!solicited);
        load.bytes += bundle.bytes.len();
        self.deadlines.insert((deadline_us, key));
        *self.digests.entry(bundle.digest).or_default() += 1;
        self.under_way.insert(key, Inspected { bundle: Arc::clone(bundle), solicited, deadline_us });
        true
    }

    /// A verification is over.
    pub(super) fn finish(&mut self, bundle: &Bundle, from: ValidatorIndex) {
        self.remove(key(bundle, from));
    }

    /// Gives up everything: whoever was verifying some of it has lost that. The digests.
    pub(super) fn forget_all(&mut self) -> Vec<Digest> {
        std::mem::take(self).digests.into_keys().collect()
    }

    /// Gives up what was not verified in time.
    pub(super) fn expire(&mut self, now_us: u64) {
        while let Some((deadline_us, key)) = self.deadlines.first().copied()
            && deadline_us <= now_us
        {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: Key) {
        let Some(inspected) = self.under_way.remove(&key) else { return };
        self.deadlines.remove(&(inspected.deadline_us, key));
        if let Some(load) = self.loads.get_mut(&key.3) {
            load.unsolicited -= usize::from(!inspected.solicited);
            load.bytes -= inspected.bundle.bytes.len();
        }
        if let Some(copies) = self.digests.get_mut(&key.2) {
            *copies -= 1;
            if *copies == 0 {
                self.digests.remove(&key.2);
            }
        }
    }

    /// Whether a bundle of this name is being verified.
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.digests.contains_key(digest)
    }

    /// Whether these very bytes are being verified.
    pub(super) fn has_copy(&self, origin: ValidatorIndex, position: BundlePosition, bytes: &[u8]) -> bool {
        let least = (origin, position, Digest([0; 32]), ValidatorIndex(0));
        let greatest = (origin, position, Digest([0xff; 32]), ValidatorIndex(u16::MAX));
        self.under_way.range(least..=greatest).any(|(_, inspected)| inspected.bundle.bytes == *bytes)
    }

    /// When the next one is given up.
    pub(super) fn deadline_us(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline_us, _)| *deadline_us)
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }
}
