//! What a new view starts from (consensus.md section 6): computed by everyone from the same VIEW-CHANGEs, from headers
//! alone.
//!
//! Deviation (D): the selection stops at the first height whose prepared block does not build on the block selected
//! below it. Such a block cannot have been committed: a replica sends COMMIT for a height only when every height below
//! is prepared in the same view or committed, so among any quorum of VIEW-CHANGEs there is an honest one that shows
//! prepared certificates for every ancestor of a committed block.

use std::collections::BTreeMap;

use crate::block::Header;
use crate::canary::{Canary, planted};
use crate::certificate::{CommittedProof, PreparedCertificate, StableCheckpoint};
use crate::crypto::Digest;
use crate::ids::{Height, ValidatorIndex};
use crate::view_change::ViewChange;

/// A block that a new view takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Its header.
    pub header: Header,
    /// Its digest.
    pub digest: Digest,
    /// Who prepared it, and so holds its bundles.
    pub holders: Vec<ValidatorIndex>,
}

/// What a view starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The highest height that is proved committed.
    pub base: Height,
    /// The digest of the block there; none at the start of an epoch.
    pub base_digest: Option<Digest>,
    /// The last selected height.
    pub end: Height,
    /// The selected blocks, at `base + 1 ..= end`.
    pub blocks: BTreeMap<Height, Selected>,
    /// The commit certificate of `base`, if a VIEW-CHANGE showed one.
    pub proof: Option<CommittedProof>,
    /// The stable checkpoint at `base`, if that is what proves it.
    pub stable: Option<StableCheckpoint>,
}

impl Selection {
    /// View 0 of an epoch starts from the epoch's base, without NEW-VIEW.
    #[must_use]
    pub fn start(base: Height) -> Self {
        Self { base, base_digest: None, end: base, blocks: BTreeMap::new(), proof: None, stable: None }
    }
}

/// The selection of a view. `floor` is the start of the epoch and the digest of its base.
#[must_use]
pub fn select(view_changes: &[&ViewChange], floor: (Height, Digest)) -> Selection {
    let proof = view_changes
        .iter()
        .filter_map(|view_change| view_change.committed.as_ref())
        .filter(|proof| proof.height() > floor.0)
        .max_by_key(|proof| proof.height());
    let stable = view_changes
        .iter()
        .filter_map(|view_change| view_change.stable.as_ref())
        .filter(|stable| stable.height() > floor.0 && proof.is_none_or(|proof| proof.height() < stable.height()))
        .max_by_key(|stable| stable.height());
    let (base, base_digest) = match (stable, proof) {
        (Some(stable), _) => (stable.height(), stable.checkpoint.block),
        (None, Some(proof)) => (proof.height(), proof.digest()),
        (None, None) => floor,
    };
    let mut selection = Selection {
        base,
        base_digest: Some(base_digest),
        end: base,
        blocks: BTreeMap::new(),
        proof: proof.filter(|proof| proof.height() == base).cloned(),
        stable: stable.cloned(),
    };
    let prepared = highest_views(view_changes, base);
    let mut below = base_digest;
    while let Some(best) = prepared
        .get(&selection.end.next())
        .filter(|best| best.header.parent == below || planted(Canary::StopRuleDropped))
    {
        let (height, holders) = (best.height(), best.certificate.signatures.signers().collect());
        below = best.digest();
        selection.blocks.insert(height, Selected { header: best.header.clone(), digest: below, holders });
        selection.end = height;
    }
    selection
}

/// For each height above `base` the prepared certificate of the highest view.
fn highest_views<'a>(view_changes: &[&'a ViewChange], base: Height) -> BTreeMap<Height, &'a PreparedCertificate> {
    let mut highest: BTreeMap<Height, &PreparedCertificate> = BTreeMap::new();
    let shown = view_changes.iter().flat_map(|view_change| &view_change.prepared);
    for prepared in shown.filter(|prepared| prepared.height() > base) {
        let rank = |prepared: &PreparedCertificate| (prepared.view(), prepared.digest());
        let best = highest.entry(prepared.height()).or_insert(prepared);
        let is_better =
            if planted(Canary::OldestCertificate) { rank(prepared) < rank(best) } else { rank(prepared) > rank(best) };
        if is_better {
            *best = prepared;
        }
    }
    highest
}
