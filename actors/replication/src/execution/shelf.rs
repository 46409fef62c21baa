//! Former states that are kept: those that may become stable, and the latest stable ones, which are served to others
//! (consensus.md sections 5 and 7).

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_ledger::StateMap;
use dtvn_messages::merkle::LogEdge;
use dtvn_messages::{Block, Certificate, EpochEnd, Height, StableCheckpoint, limits};

/// The state after a committed block at a checkpoint height, as it stays readable.
#[derive(Debug, Clone)]
pub struct Version {
    /// The block.
    pub block: Arc<Block>,
    /// Its own commit certificate, if it has one.
    pub certificate: Option<Certificate>,
    /// The right edge of the transparency log after it.
    pub edge: LogEdge,
    /// The state after it.
    pub map: StateMap,
}

/// The state at a stable checkpoint, for those who lack it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The certificate of the checkpoint.
    pub stable: Arc<StableCheckpoint>,
    /// The state.
    pub version: Arc<Version>,
}

/// What is kept of former states.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// The states after checkpoint heights that are not stable, or not yet.
    pub versions: BTreeMap<Height, Arc<Version>>,
    /// The latest stable states.
    pub snapshots: BTreeMap<Height, Arc<Snapshot>>,
    /// How each epoch before the present one ended, from the first on.
    pub ends: Vec<Arc<EpochEnd>>,
}

impl Shelf {
    pub(super) fn put(&mut self, version: Arc<Version>) {
        self.versions.insert(version.block.header.height, version);
        while self.versions.len() > limits::STATE_VERSIONS_MAX {
            self.versions.pop_first();
        }
    }

    pub(super) fn stable(&mut self, stable: &Arc<StableCheckpoint>) {
        let height = stable.height();
        let checkpoint = &stable.checkpoint;
        let same = |version: &&Arc<Version>| version.map.root() == checkpoint.state_root;
        if let Some(version) = self.versions.get(&height).filter(same) {
            let snapshot = Snapshot { stable: Arc::clone(stable), version: Arc::clone(version) };
            self.snapshots.insert(height, Arc::new(snapshot));
            while self.snapshots.len() > limits::SNAPSHOTS_SERVED_MAX {
                self.snapshots.pop_first();
            }
            self.versions = self.versions.split_off(&height.next());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::sync::tests::header;
    use crate::sync::{serve_manifest, serve_part};
    use dtvn_ledger::StateEntry;
    use dtvn_messages::certificate::Signatures;
    use dtvn_messages::state::Part;
    use dtvn_messages::wire::PeerMessage;
    use dtvn_messages::{BundlePosition, Checkpoint, Digest, Epoch, LastBundle, NodeName};

    /// The state after a checkpoint height, and the checkpoint that makes it stable.
    fn state(height: u64) -> (Arc<Version>, Arc<StableCheckpoint>) {
        let header = header(height);
        let position = BundlePosition { start: 1, number: height };
        let entry = StateEntry::LastBundle(NodeName::new("n0").unwrap(), LastBundle { epoch: Epoch(0), position });
        let map = StateMap::of([entry]);
        let checkpoint = Checkpoint {
            epoch: Epoch(0),
            height: Height(height),
            block: Digest::ZERO,
            state_root: map.root(),
            next_epoch: Epoch(0),
            next_set: Digest::ZERO,
        };
        let stable = StableCheckpoint { header: header.clone(), checkpoint, signatures: Signatures(Vec::new()) };
        let block = Arc::new(Block { header, bundles: Vec::new() });
        (Arc::new(Version { block, certificate: None, edge: LogEdge::new(), map }), Arc::new(stable))
    }

    /// A shelf on which the states at these heights became stable.
    pub(crate) fn shelf_of(heights: &[u64]) -> Shelf {
        let mut shelf = Shelf::default();
        for height in heights {
            let (version, stable) = state(*height);
            shelf.put(version);
            shelf.stable(&stable);
        }
        shelf
    }

    #[test]
    fn states_that_do_not_become_stable_are_kept_up_to_a_bound_and_the_oldest_goes() {
        let mut shelf = Shelf::default();
        let count = limits::STATE_VERSIONS_MAX as u64 + 3;
        (1..=count).for_each(|height| shelf.put(state(height).0));
        assert_eq!(shelf.versions.len(), limits::STATE_VERSIONS_MAX);
        assert_eq!(shelf.versions.first_key_value().map(|(height, _)| *height), Some(Height(4)));
        shelf.stable(&state(2).1);
        assert!(shelf.snapshots.is_empty(), "what is not kept is not served");
        shelf.stable(&state(count).1);
        assert_eq!(shelf.snapshots.keys().copied().collect::<Vec<_>>(), [Height(count)]);
        assert!(shelf.versions.is_empty(), "those below a stable one are superseded");
    }

    #[test]
    fn the_latest_stable_states_are_served_and_older_ones_are_refused() {
        let count = limits::SNAPSHOTS_SERVED_MAX as u64 + 2;
        let shelf = shelf_of(&(1..=count).collect::<Vec<_>>());
        assert_eq!(shelf.snapshots.len(), limits::SNAPSHOTS_SERVED_MAX);
        let refused = PeerMessage::SnapshotRefused { height: Height(2) };
        assert_eq!(serve_part(&shelf, None, Height(2), Part::WHOLE), refused);
        assert!(matches!(serve_part(&shelf, None, Height(3), Part::WHOLE), PeerMessage::Part { .. }));
        let PeerMessage::Snapshot(manifest) = serve_manifest(&shelf, None, Height(2), Height(1), Epoch(0)) else {
            panic!("who asks for one that is gone gets the latest")
        };
        assert_eq!(manifest.stable.height(), Height(count));
    }
}
