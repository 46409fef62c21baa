//! The ends of epochs: what leads from the validators of the genesis to the present ones (consensus.md section 10).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::*;
use dtvn_messages::membership::follow;
use dtvn_messages::*;

fn first() -> ValidatorSet {
    set_of(&[1, 1, 1, 1])
}

/// The end of epoch 2 at height 256, which leads to `next`.
fn end(next: &ValidatorSet, signers: &[u16]) -> EpochEnd {
    let header = header_at(256);
    let checkpoint = Checkpoint {
        epoch: header.epoch,
        height: header.height,
        block: header.digest(&chain()),
        state_root: Digest([7; 32]),
        next_epoch: header.epoch.next(),
        next_set: next.hash(),
    };
    let vote = vote_for(&header, VoteKind::Commit, 6);
    let certificate = Certificate { vote, signatures: signed_by(&vote, signers) };
    EpochEnd {
        committed: CommittedProof { header: header.clone(), certificate },
        stable: StableCheckpoint { header, checkpoint, signatures: signed_by(&checkpoint, signers) },
        next: next.clone(),
    }
}

/// As [`end`], with a checkpoint that was changed and signed.
fn changed(change: impl FnOnce(&mut Checkpoint)) -> EpochEnd {
    let mut end = end(&set_of(&[2, 1]), &[0, 1, 2]);
    change(&mut end.stable.checkpoint);
    end.stable.signatures = signed_by(&end.stable.checkpoint, &[0, 1, 2]);
    end
}

#[test]
fn an_end_is_proved_by_the_set_that_it_ends_and_names_the_next() {
    let next = set_of(&[2, 1]);
    assert_eq!(end(&next, &[0, 1, 2]).verify(&chain(), &first(), &Ed25519), Ok(()));
    let too_few = end(&next, &[0, 1]).verify(&chain(), &first(), &Ed25519);
    assert_eq!(too_few, Err(CertificateError::TooFew { power: 2, quorum: 3 }));
    let mut forged = end(&next, &[0, 1, 2]);
    forged.next = set_of(&[1, 2]);
    assert!(matches!(forged.verify(&chain(), &first(), &Ed25519), Err(CertificateError::Mismatch(_))));
    let going_on = changed(|checkpoint| checkpoint.next_epoch = checkpoint.epoch);
    assert!(matches!(going_on.verify(&chain(), &first(), &Ed25519), Err(CertificateError::Mismatch(_))));
    let mut elsewhere = end(&next, &[0, 1, 2]);
    elsewhere.committed.header = header_at(512);
    assert!(matches!(elsewhere.verify(&chain(), &first(), &Ed25519), Err(CertificateError::Mismatch(_))));
    let mut unsigned = end(&next, &[0, 1, 2]);
    unsigned.committed.certificate.signatures.0[1].1.0[5] ^= 1;
    assert_eq!(unsigned.verify(&chain(), &first(), &Ed25519), Err(CertificateError::BadSignature(ValidatorIndex(1))));
}

#[test]
fn ends_are_followed_one_after_the_other() {
    let next = set_of(&[2, 1]);
    let end = end(&next, &[0, 1, 2]);
    let from = || (Epoch(2), first());
    assert_eq!(follow(&chain(), from(), [], &Ed25519), Ok(from()));
    assert_eq!(follow(&chain(), from(), [&end], &Ed25519), Ok((Epoch(3), next)));
    assert!(matches!(follow(&chain(), (Epoch(1), first()), [&end], &Ed25519), Err(CertificateError::Mismatch(_))));
    assert!(matches!(follow(&chain(), from(), [&end, &end], &Ed25519), Err(CertificateError::Mismatch(_))));
}

#[test]
fn a_membership_goes_over_to_the_next_epoch_with_what_was_agreed() {
    let genesis = Genesis::development(4, "seed", false).unwrap();
    let set = std::sync::Arc::new(genesis.validators().clone());
    let mut membership = Membership::first(&genesis);
    assert_eq!(membership.next(), None);
    assert_eq!(membership.succession(Height(9)), Succession::steady(Epoch(0), set.hash()));
    let name = |text: &str| NodeName::new(text).unwrap();
    let next = std::sync::Arc::new(set_of(&[2, 1]));
    let recovered = |at| membership::LastRecovery { at: Timestamp(at), wait_us: 7 };
    membership.recoveries = [(name("v0"), recovered(5)), (name("node3"), recovered(6))].into();
    membership.pending = Some(membership::PendingEnd {
        ends: Height(12),
        set: Some(std::sync::Arc::clone(&next)),
        recovering: [(name("v0"), Nonce([1; 16]))].into(),
    });
    let ends = Some(Height(12));
    let steady = Succession::steady(Epoch(0), set.hash());
    assert_eq!(membership.succession(Height(11)), Succession { ends, ..steady });
    let last = Succession { ends, next_epoch: Epoch(1), next_set: next.hash() };
    assert_eq!(membership.succession(Height(12)), last);
    let after = membership.next().unwrap();
    assert_eq!((after.epoch, after.base, after.set, after.pending), (Epoch(1), Height(12), next, None));
    assert_eq!(after.opened_by, [(name("v0"), Nonce([1; 16]))].into());
    assert_eq!(after.recoveries, [(name("v0"), recovered(5))].into(), "who is no validator any more is forgotten");
}

#[test]
fn recoveries_of_one_validator_grow_rarer_up_to_a_bound_and_are_forgiven_slowly() {
    use membership::LastRecovery;
    let interval_us = 60_000_000;
    let longest_us = interval_us * limits::RECOVERY_WAITS_MAX;
    let mut last = LastRecovery::after(None, Timestamp(1), interval_us);
    assert_eq!(last, LastRecovery { at: Timestamp(1), wait_us: interval_us });
    let mut waits = Vec::new();
    for _ in 0..12 {
        assert!(!last.is_over(Timestamp(last.at.0 + last.wait_us - 1)));
        let soonest = last.at.plus_micros(last.wait_us);
        assert!(last.is_over(soonest));
        last = LastRecovery::after(Some(&last), soonest, interval_us);
        waits.push(last.wait_us / interval_us);
    }
    // Who waits as long as the longest wait is forgiven a part of it: the tenth time comes after just so long.
    assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 512, 1_024]);
    let mut forgiven = Vec::new();
    for _ in 0..12 {
        last = LastRecovery::after(Some(&last), last.at.plus_micros(longest_us), interval_us);
        forgiven.push(last.wait_us / interval_us);
    }
    assert_eq!(forgiven, [512, 256, 128, 64, 32, 16, 8, 4, 2, 1, 1, 1]);
    let free = LastRecovery::after(None, Timestamp(1), 0);
    assert_eq!(LastRecovery::after(Some(&free), free.at, 0).wait_us, 0, "without an interval nothing waits");
}
