//! Snapshots: the manifest that a peer shows, or that the archive of an earlier process holds, and parts of the state
//! as peers send them and the disk keeps them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_ledger::StateEntry;
use dtvn_messages::merkle::LogEdge;
use dtvn_messages::snapshot::{Manifest, decode_entries, encode_entries};
use dtvn_messages::state::Part;
use dtvn_messages::wire::{self, Class, PeerMessage};
use dtvn_messages::{Digest, Ed25519, limits};
use dtvn_replication::archive::Archived;

use super::layouts::Typed;
use super::{choice, trusted};
use crate::Judged;

/// The kinds that the first byte chooses from.
pub const PIECES: &[Typed] = &[("manifest", shown), ("part", part), ("archived", archived)];

/// A manifest, of a peer or of the archive, or a part.
pub(super) fn piece(input: &[u8]) -> Judged {
    let Some((of, bytes)) = choice(input, PIECES.len()) else { return Judged::Refused };
    PIECES[of].1(bytes)
}

/// What reads a part: where it is in the tree, and its entries.
#[must_use]
pub fn part_input(part: &Part, entries: &[u8]) -> Vec<u8> {
    [&[part.depth], &part.prefix.0[..], entries].concat()
}

/// The frame of a manifest; it is accepted if it holds for one who knows the validators of its first epoch.
fn shown(frame: &[u8]) -> Judged {
    let Ok(PeerMessage::Snapshot(manifest)) = wire::decode(frame, Class::Sync) else { return Judged::Refused };
    structures(&manifest);
    let genesis = trusted::genesis();
    let epoch = manifest.ends.first().map_or_else(|| manifest.stable.epoch(), |end| end.epoch());
    match Arc::clone(&manifest).check(genesis.chain_id(), (epoch, genesis.validators()), &Ed25519) {
        Ok(checked) => {
            assert_eq!(checked.parts.len(), manifest.cut.0.len());
            assert_eq!(checked.edge.frontier().root(), manifest.stable.header.log_root);
            Judged::Accepted
        }
        Err(_) => Judged::Refused,
    }
}

/// Whether the frame of a manifest may stand in the archive of a node of [`trusted`]'s network.
#[must_use]
pub fn is_archived(frame: &[u8]) -> bool {
    archived(frame) == Judged::Accepted
}

/// The file `archive/manifest`, which is the frame of a manifest; it is accepted if a node that has seen the epochs end
/// as it says takes it for a state that it may give to others. Its parts are lost: none of them is made up.
fn archived(frame: &[u8]) -> Judged {
    let Ok(PeerMessage::Snapshot(manifest)) = wire::decode(frame, Class::Sync) else { return Judged::Refused };
    let ends = manifest.ends.clone();
    let lost: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
    let opened = Archived::open(Arc::unwrap_or_clone(manifest), &ends, trusted::genesis(), &Ed25519, Arc::new(lost));
    let Ok(opened) = opened else { return Judged::Refused };
    let manifest = opened.manifest(Vec::new());
    assert_eq!((opened.hashes().count(), opened.height()), (manifest.cut.0.len(), opened.stable().height()));
    let parts = manifest.cut.parts(&manifest.stable.checkpoint.state_root).unwrap_or_default();
    assert!(parts.len() == manifest.cut.0.len() && parts.iter().all(|(part, _)| opened.part(part).is_none()));
    Judged::Accepted
}

/// Its cut and its edge, each by itself: behind signatures that do not hold nothing would come to them.
fn structures(manifest: &Manifest) {
    assert!(manifest.cut.0.len() <= limits::SNAPSHOT_PARTS_MAX && manifest.ends.len() <= limits::EPOCH_ENDS_MAX);
    if let Some(parts) = manifest.cut.parts(&manifest.stable.checkpoint.state_root) {
        assert!(parts.windows(2).all(|pair| pair[0].0.prefix < pair[1].0.prefix), "from left to right, each once");
    }
    let size = manifest.stable.header.log_size;
    if let Some(edge) = LogEdge::from_parts(size, manifest.edge.clone()) {
        assert_eq!((edge.size(), edge.levels()), (size, manifest.edge.as_slice()));
        let _root = edge.frontier().root();
    }
}

/// A part of the state; it is accepted if its entries are in their order, and in it.
fn part(input: &[u8]) -> Judged {
    let Some((depth, rest)) = input.split_first() else { return Judged::Refused };
    let Some((prefix, bytes)) = rest.split_first_chunk() else { return Judged::Refused };
    let part = Part { prefix: Digest(*prefix), depth: *depth };
    let Ok(entries) = decode_entries(bytes) else { return Judged::Refused };
    assert_eq!(encode_entries(&entries), bytes, "only the canonical form is accepted");
    for entry in &entries {
        if let Ok(read) = StateEntry::from_raw(entry) {
            assert_eq!(&read.to_raw(), entry);
            assert!(read.describe().len() < 1_024, "words, not the value");
        }
    }
    if part.hash_of(&entries).is_some() { Judged::Accepted } else { Judged::Refused }
}
