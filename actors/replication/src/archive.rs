//! The archived state: a snapshot that outlives the process (consensus.md section 7).
//!
//! A node that starts has the present state only, and serves that of a checkpoint from the next one on. Were that all, a
//! network whose nodes all started again could give nothing to one that is late by more than the blocks that they keep;
//! and if it needs that one for its quorum, there would be no next checkpoint. So each validator writes a stable state to
//! its disk every [`every`] blocks, and collects no block above the last one that it wrote, within a bound
//! ([`collectable`]): state and blocks together lead from nothing to the tip.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use dtvn_messages::genesis::ConsensusParameters;
use dtvn_messages::snapshot::{CheckedManifest, Manifest, ManifestError, decode_entries};
use dtvn_messages::state::Part;
use dtvn_messages::{Digest, Epoch, EpochEnd, Genesis, Height, Scheme, StableCheckpoint, limits};

use crate::execution::{Shelf, Snapshot};
use crate::sync::manifest_of;

/// Where the parts of an archived state are.
pub trait Source: Debug + Send + Sync {
    /// The part with this hash, as it travels; none if it is gone.
    ///
    /// # Errors
    /// If it cannot be read now.
    fn read(&self, hash: &Digest) -> std::io::Result<Option<Vec<u8>>>;

    /// A part is gone, or another than was written: the state is to be written again.
    fn lost(&self, hash: &Digest);
}

impl Source for BTreeMap<Digest, Vec<u8>> {
    fn read(&self, hash: &Digest) -> std::io::Result<Option<Vec<u8>>> {
        Ok(self.get(hash).cloned())
    }

    fn lost(&self, _hash: &Digest) {}
}

/// A state in the archive.
#[derive(Debug, Clone)]
pub struct Archived {
    /// Without ends of epochs: they are added for whoever asks.
    manifest: Manifest,
    parts: BTreeMap<Part, Digest>,
    source: Arc<dyn Source>,
}

impl Archived {
    /// A state that was just written.
    ///
    /// # Errors
    /// If the parts are not those of the state.
    pub fn new(manifest: Manifest, source: Arc<dyn Source>) -> Result<Self, ManifestError> {
        let parts = manifest.cut.parts(&manifest.stable.checkpoint.state_root);
        let parts = parts.ok_or(ManifestError::Mismatch("the parts are not the state that was signed"))?;
        Ok(Self { manifest, parts: parts.into_iter().collect(), source })
    }

    /// A state that an earlier process wrote. Its manifest is checked like that of a stranger: what is on a disk may be
    /// damaged, or another chain's. `ends` are those of the epochs that this node has seen end.
    ///
    /// # Errors
    /// If it does not hold.
    pub fn open(
        mut manifest: Manifest,
        ends: &[Arc<EpochEnd>],
        genesis: &Genesis,
        scheme: &dyn Scheme,
        source: Arc<dyn Source>,
    ) -> Result<Self, ManifestError> {
        let epoch = manifest.stable.epoch();
        manifest.ends = ends.iter().filter(|end| end.epoch() < epoch).cloned().collect();
        let known = (Epoch(0), genesis.validators());
        let CheckedManifest { manifest, .. } = Arc::new(manifest).check(genesis.chain_id(), known, scheme)?;
        let mut manifest = Arc::unwrap_or_clone(manifest);
        manifest.ends.clear();
        Self::new(manifest, source)
    }

    /// The height of its checkpoint.
    #[must_use]
    pub fn height(&self) -> Height {
        self.manifest.stable.height()
    }

    /// The certificate of its checkpoint.
    #[must_use]
    pub fn stable(&self) -> &StableCheckpoint {
        &self.manifest.stable
    }

    /// The hashes of its parts.
    pub fn hashes(&self) -> impl Iterator<Item = &Digest> {
        self.parts.values()
    }

    /// Its manifest, for one to whom these ends of epochs are news.
    #[must_use]
    pub fn manifest(&self, ends: Vec<Arc<EpochEnd>>) -> Manifest {
        Manifest { ends, ..self.manifest.clone() }
    }

    /// A part as it travels; none if it is none of those in the manifest, or lost, or cannot be read now. It is compared with
    /// its hash: whoever passed on what a disk made of it would be taken for a liar.
    #[must_use]
    pub fn part(&self, part: &Part) -> Option<Vec<u8>> {
        let hash = self.parts.get(part)?;
        let bytes = self.source.read(hash).ok()?;
        let is_right = |bytes: &Vec<u8>| decode_entries(bytes).is_ok_and(|raw| part.hash_of(&raw) == Some(*hash));
        let bytes = bytes.filter(is_right);
        if bytes.is_none() {
            self.source.lost(hash);
        }
        bytes
    }
}

/// What is to be written of a snapshot: its manifest, and the parts with their hashes.
pub fn contents(snapshot: &Snapshot) -> (Manifest, impl Iterator<Item = (Part, Digest)>) {
    let manifest = manifest_of(snapshot, Vec::new());
    let parts = manifest.cut.parts(&snapshot.stable.checkpoint.state_root).unwrap_or_default();
    (manifest, parts.into_iter())
}

/// A part of a snapshot as it travels.
#[must_use]
pub fn bytes_of(snapshot: &Snapshot, part: &Part) -> Option<Vec<u8>> {
    let entries = snapshot.version.map.part(part, limits::SNAPSHOT_PART_BYTES_MAX)?;
    Some(dtvn_messages::snapshot::encode_entries(&entries))
}

/// Every so many blocks a state is archived: half of what is kept of blocks, in whole checkpoints, so that it is done
/// before blocks are to be collected that only it makes superfluous. The same on all nodes, so that they archive the same
/// states, and several serve the parts of one.
#[must_use]
pub fn every(parameters: &ConsensusParameters) -> u64 {
    let interval = parameters.checkpoint_interval.max(1);
    (parameters.retain_blocks / 2 / interval * interval).max(interval)
}

/// The height of a state that this node can give to one that has nothing, and from which its blocks lead on without a gap:
/// that in the archive, or the one that the chain begins with. None if there is neither, as after a state was taken over
/// from others. No block above it is to be collected.
#[must_use]
pub fn reach(archived: Option<Height>, base: Height, first_block: Height) -> Option<Height> {
    archived.into_iter().chain([base]).find(|height| height.next() >= first_block)
}

/// The state on the shelf that is to be archived, if one is: the first one that is due, so that all nodes archive the same,
/// or the latest where there is nothing to go on from.
#[must_use]
pub fn due(shelf: &Shelf, reach: Option<Height>, every: u64) -> Option<&Arc<Snapshot>> {
    let mut snapshots = shelf.snapshots.iter();
    let due = match reach {
        Some(reach) => snapshots.find(|(height, _)| height.0 / every > reach.0 / every),
        None => snapshots.next_back(),
    };
    due.map(|(_, snapshot)| snapshot)
}

/// Below this height blocks may be collected, of which so many are kept in any case. Those above the archived state are
/// kept as well, but never more than twice as many: where no state can be archived, for want of space above all, blocks do
/// not fill the disk in its stead. A node without a vote is shown no stable checkpoint, and archives nothing: nobody waits
/// for what it alone has.
#[must_use]
pub fn collectable(covered: Height, retain_blocks: u64, is_validator: bool, reach: Option<Height>) -> Height {
    let old = Height(covered.0.saturating_sub(retain_blocks));
    if !is_validator {
        return old;
    }
    let oldest = Height(covered.0.saturating_sub(retain_blocks.saturating_mul(2)));
    old.min(reach.map_or(Height(0), Height::next)).max(oldest)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use dtvn_messages::wire::PeerMessage;

    use super::*;
    use crate::execution::shelf_of;
    use crate::sync::{serve_manifest, serve_part};

    fn parameters(retain_blocks: u64, checkpoint_interval: u64) -> ConsensusParameters {
        ConsensusParameters { retain_blocks, checkpoint_interval, ..ConsensusParameters::default() }
    }

    #[test]
    fn a_state_is_archived_twice_in_the_time_that_a_block_is_kept() {
        for (retain_blocks, interval, expected) in [(10_000, 128, 4_992), (12, 4, 4), (16, 4, 8), (5, 2, 2), (3, 1, 1)]
        {
            assert_eq!(every(&parameters(retain_blocks, interval)), expected, "{retain_blocks} and {interval}");
        }
        let shelf = shelf_of(&[8, 12]);
        let due = |reach: Option<u64>| due(&shelf, reach.map(Height), 8).map(|snapshot| snapshot.stable.height().0);
        assert_eq!([due(None), due(Some(0)), due(Some(7))], [12, 8, 8].map(Some));
        assert_eq!(
            [due(Some(8)), due(Some(12))],
            [None; 2],
            "all nodes do it at the same heights, whenever they began"
        );
        assert!(super::due(&Shelf::default(), None, 8).is_none());
    }

    #[test]
    fn blocks_above_the_archived_state_are_kept_for_twice_as_long_and_no_longer() {
        let base = Height(100);
        assert_eq!(reach(None, base, Height(101)), Some(base), "all blocks of the chain are here");
        assert_eq!(
            reach(None, base, Height(102)),
            None,
            "a state was taken over, or a node without a vote collected them"
        );
        assert_eq!(reach(Some(Height(108)), base, Height(109)), Some(Height(108)));
        assert_eq!(reach(Some(Height(108)), base, Height(110)), None, "blocks are missing above it");
        assert_eq!(collectable(Height(130), 10, true, Some(Height(124))), Height(120));
        assert_eq!(collectable(Height(130), 10, true, Some(Height(111))), Height(112));
        for reach in [None, Some(Height(108))] {
            assert_eq!(collectable(Height(130), 10, true, reach), Height(110), "and never more than twice as many");
            assert_eq!(collectable(Height(130), u64::MAX, true, reach), Height(0));
        }
        assert_eq!(collectable(Height(130), 10, false, None), Height(120), "it archives nothing");
    }

    #[derive(Debug)]
    struct Damaged {
        parts: BTreeMap<Digest, Vec<u8>>,
        lost: Mutex<Vec<Digest>>,
    }

    impl Source for Damaged {
        fn read(&self, hash: &Digest) -> std::io::Result<Option<Vec<u8>>> {
            self.parts.read(hash)
        }
        fn lost(&self, hash: &Digest) {
            self.lost.lock().unwrap().push(*hash);
        }
    }

    /// The state at the highest of these heights, archived; with what is given out of its parts.
    fn archived(heights: &[u64], damage: impl Fn(&mut Vec<u8>)) -> (Archived, Arc<Damaged>) {
        let shelf = shelf_of(heights);
        let (_, snapshot) = shelf.snapshots.last_key_value().unwrap();
        let (manifest, parts) = contents(snapshot);
        let bytes = |part: &Part| {
            let mut bytes = bytes_of(snapshot, part).unwrap();
            damage(&mut bytes);
            bytes
        };
        let parts = parts.map(|(part, hash)| (hash, bytes(&part))).collect();
        let source = Arc::new(Damaged { parts, lost: Mutex::default() });
        (Archived::new(manifest, source.clone()).unwrap(), source)
    }

    #[test]
    fn what_is_archived_is_served_where_nothing_later_is_or_somebody_is_fetching_it() {
        let (archived, source) = archived(&[8], |_| {});
        let height = |shelf: &Shelf, wanted, at_least| match serve_manifest(
            shelf,
            Some(&archived),
            Height(wanted),
            Height(at_least),
            Epoch(0),
        ) {
            PeerMessage::Snapshot(manifest) => Some(manifest.stable.height().0),
            PeerMessage::SnapshotRefused { .. } => None,
            other => panic!("{other:?}"),
        };
        let (nothing, later) = (Shelf::default(), shelf_of(&[12, 16]));
        assert_eq!([height(&nothing, 3, 3), height(&nothing, 9, 9)], [Some(8), None]);
        assert_eq!([height(&later, 3, 3), height(&later, 8, 8), height(&later, 12, 9)], [Some(16), Some(8), Some(12)]);
        let part = |shelf: &Shelf, height| match serve_part(shelf, Some(&archived), Height(height), Part::WHOLE) {
            PeerMessage::Part { height, entries, .. } => Some((height.0, entries)),
            _ => None,
        };
        let (fresh, kept) = (part(&shelf_of(&[8]), 8), part(&later, 8));
        assert!(kept.is_some() && kept == fresh, "the same bytes");
        assert_eq!(part(&later, 12).map(|(height, _)| height), Some(12));
        assert_eq!(part(&nothing, 12), None);
        let other = Part::WHOLE.half(true).unwrap();
        let refused = PeerMessage::SnapshotRefused { height: Height(8) };
        assert_eq!(serve_part(&nothing, Some(&archived), Height(8), other), refused, "it is cut otherwise");
        assert_eq!(*source.lost.lock().unwrap(), []);
    }

    #[test]
    fn a_part_that_the_disk_changed_is_not_passed_on() {
        let damages: [fn(&mut Vec<u8>); 3] =
            [|bytes| *bytes.last_mut().unwrap() ^= 1, Vec::clear, |bytes| bytes.push(0)];
        for damage in damages {
            let (archived, source) = archived(&[8], damage);
            let refused = PeerMessage::SnapshotRefused { height: Height(8) };
            assert_eq!(serve_part(&Shelf::default(), Some(&archived), Height(8), Part::WHOLE), refused);
            assert_eq!(*source.lost.lock().unwrap(), archived.hashes().copied().collect::<Vec<_>>());
        }
    }
}
