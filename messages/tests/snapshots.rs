//! The manifest of a snapshot (consensus.md section 7), with real signatures: what it must prove by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::*;
use dtvn_messages::block::bundles_root;
use dtvn_messages::merkle::{LogEdge, leaf_hash};
use dtvn_messages::snapshot::{Manifest, ManifestError};
use dtvn_messages::state::{Cut, NOTHING};
use dtvn_messages::*;

fn set() -> ValidatorSet {
    set_of(&[1, 1, 1, 1])
}

/// The manifest of an empty state at height 256 of epoch 2, whose block has a certificate of its own. The height above is
/// of `next_epoch`.
fn manifest(next_epoch: u64) -> Manifest {
    let mut edge = LogEdge::new();
    (0u64..77).for_each(|number| edge.append(leaf_hash(&number.to_be_bytes())));
    let (log_size, log_root) = (edge.size(), edge.frontier().root());
    let header = Header { bundles_root: bundles_root(&[]), log_size, log_root, ..header_at(256) };
    let checkpoint = Checkpoint {
        epoch: header.epoch,
        height: header.height,
        block: header.digest(&chain()),
        state_root: NOTHING,
        next_epoch: Epoch(next_epoch),
        next_set: set().hash(),
    };
    let signatures = signed_by(&checkpoint, &[0, 1, 2]);
    let vote = vote_for(&header, VoteKind::Commit, 6);
    Manifest {
        stable: Arc::new(StableCheckpoint { header: header.clone(), checkpoint, signatures }),
        block: Arc::new(Block { header, bundles: Vec::new() }),
        certificate: Some(Certificate { vote, signatures: signed_by(&vote, &[1, 2, 3]) }),
        cut: Cut(vec![(0, NOTHING)]),
        edge: edge.levels().to_vec(),
        ends: Vec::new(),
    }
}

/// The height of the checkpoint, if the manifest holds for one who is in epoch 2.
fn check(manifest: Manifest) -> Result<Height, ManifestError> {
    let checked = Arc::new(manifest).check(&chain(), (Epoch(2), &set()), &Ed25519);
    checked.map(|checked| checked.height())
}

/// The end of an epoch takes both certificates: who installs that state could not go over to the next one.
#[test]
fn at_the_end_of_an_epoch_the_block_needs_a_certificate_of_its_own() {
    assert_eq!(check(manifest(3)), Ok(Height(256)));
    let without = check(Manifest { certificate: None, ..manifest(3) });
    let why = "the block ends its epoch, and has no certificate of its own";
    assert_eq!(without, Err(ManifestError::Mismatch(why)));
}

#[test]
fn within_an_epoch_the_checkpoint_is_proof_enough() {
    assert_eq!(check(manifest(2)), Ok(Height(256)));
    assert_eq!(check(Manifest { certificate: None, ..manifest(2) }), Ok(Height(256)));
}

#[test]
fn a_certificate_that_is_shown_must_hold_wherever_it_is() {
    for next_epoch in [2, 3] {
        let with = |change: &dyn Fn(&mut Certificate)| {
            let mut manifest = manifest(next_epoch);
            change(manifest.certificate.as_mut().unwrap());
            check(manifest)
        };
        let few = CertificateError::TooFew { power: 2, quorum: 3 };
        assert_eq!(with(&|it| _ = it.signatures.0.pop()), Err(ManifestError::Certificate(few)));
        let bad = CertificateError::BadSignature(ValidatorIndex(2));
        assert_eq!(with(&|it| it.signatures.0[1].1.0[40] ^= 1), Err(ManifestError::Certificate(bad)));
        let other = with(&|it| it.vote.digest = Digest([9; 32]));
        assert!(matches!(other, Err(ManifestError::Certificate(CertificateError::Mismatch(_)))), "{other:?}");
        let prepared = with(&|it| it.vote.kind = VoteKind::Prepare);
        assert!(matches!(prepared, Err(ManifestError::Certificate(CertificateError::Mismatch(_)))), "{prepared:?}");
    }
}
