//! Certificates: what a fault in each place gives, with real signatures.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::*;
use dtvn_messages::certificate::Signatures;
use dtvn_messages::*;

fn set() -> ValidatorSet {
    set_of(&[1, 1, 1, 1])
}

fn proof(kind: VoteKind, signers: &[u16]) -> (Header, Certificate) {
    let header = header_at(9);
    let vote = vote_for(&header, kind, 6);
    let signatures = signed_by(&vote, signers);
    (header, Certificate { vote, signatures })
}

fn prepared(signers: &[u16]) -> PreparedCertificate {
    let (header, certificate) = proof(VoteKind::Prepare, signers);
    PreparedCertificate { header, certificate }
}

fn committed(signers: &[u16]) -> CommittedProof {
    let (header, certificate) = proof(VoteKind::Commit, signers);
    CommittedProof { header, certificate }
}

fn stable(signers: &[u16]) -> StableCheckpoint {
    let header = header_at(256);
    let checkpoint = Checkpoint {
        epoch: header.epoch,
        height: header.height,
        block: header.digest(&chain()),
        state_root: header.log_root,
        next_epoch: header.epoch,
        next_set: set().hash(),
    };
    StableCheckpoint { header, checkpoint, signatures: signed_by(&checkpoint, signers) }
}

fn verify_all(signers: &[u16]) -> [Result<(), CertificateError>; 3] {
    [
        prepared(signers).verify(&chain(), &set(), &Ed25519),
        committed(signers).verify(&chain(), &set(), &Ed25519),
        stable(signers).verify(&chain(), &set(), &Ed25519),
    ]
}

#[test]
fn a_quorum_of_distinct_validators_proves() {
    for signers in [&[0, 1, 2][..], &[0, 1, 3], &[1, 2, 3], &[0, 1, 2, 3]] {
        assert_eq!(verify_all(signers), [const { Ok(()) }; 3], "{signers:?}");
    }
}

#[test]
fn too_little_power_proves_nothing() {
    for signers in [&[][..], &[0], &[2, 3]] {
        let power = signers.len() as u64;
        let expected = Err(CertificateError::TooFew { power, quorum: 3 });
        assert_eq!(verify_all(signers), [expected.clone(), expected.clone(), expected], "{signers:?}");
    }
}

#[test]
fn power_counts_and_not_heads() {
    let weighted = set_of(&[5, 1, 1, 1]);
    assert_eq!(prepared(&[0, 1]).verify(&chain(), &weighted, &Ed25519), Ok(()));
    let expected = Err(CertificateError::TooFew { power: 3, quorum: 6 });
    assert_eq!(prepared(&[1, 2, 3]).verify(&chain(), &weighted, &Ed25519), expected);
}

#[test]
fn a_signer_twice_or_out_of_order_is_refused() {
    for signers in [&[0, 1, 1][..], &[0, 0, 0], &[0, 2, 1], &[0, 1, 2, 2]] {
        assert_eq!(verify_all(signers), [const { Err(CertificateError::Order) }; 3], "{signers:?}");
    }
}

#[test]
fn a_stranger_is_refused_even_beside_a_quorum() {
    let stranger = || Err(CertificateError::Stranger(ValidatorIndex(4)));
    assert_eq!(verify_all(&[0, 1, 2, 4]), [stranger(), stranger(), stranger()]);
    assert_eq!(verify_all(&[0, 1, 4]), [stranger(), stranger(), stranger()]);
}

#[test]
fn a_bad_signature_at_each_position_is_named() {
    for position in 0..4usize {
        let bad = Err(CertificateError::BadSignature(ValidatorIndex(u16::try_from(position).unwrap())));
        let spoil = |signatures: &mut Signatures| signatures.0[position].1.0[40] ^= 1;
        let mut proof = prepared(&[0, 1, 2, 3]);
        spoil(&mut proof.certificate.signatures);
        assert_eq!(proof.verify(&chain(), &set(), &Ed25519), bad);
        assert_eq!(proof.check(&chain(), &set()), Ok(()), "check looks at everything but the signatures");
        let mut proof = committed(&[0, 1, 2, 3]);
        spoil(&mut proof.certificate.signatures);
        assert_eq!(proof.verify(&chain(), &set(), &Ed25519), bad);
        let mut proof = stable(&[0, 1, 2, 3]);
        spoil(&mut proof.signatures);
        assert_eq!(proof.verify(&chain(), &set(), &Ed25519), bad);
    }
}

#[test]
fn a_signature_under_another_name_or_of_another_statement_does_not_hold() {
    let mut swapped = prepared(&[0, 1, 2]);
    let second = swapped.certificate.signatures.0[1].1;
    swapped.certificate.signatures.0[2].1 = second;
    let bad = |signer| Err(CertificateError::BadSignature(ValidatorIndex(signer)));
    assert_eq!(swapped.verify(&chain(), &set(), &Ed25519), bad(2));
    // COMMITs where PREPAREs should be, of the very same block and view.
    let mut disguised = prepared(&[0, 1, 2]);
    disguised.certificate.signatures = committed(&[0, 1, 2]).certificate.signatures;
    assert_eq!(disguised.verify(&chain(), &set(), &Ed25519), bad(0));
    let other_chain = ChainId::new("other").unwrap();
    let vote = prepared(&[0, 1, 2]).certificate;
    assert_eq!(vote.verify(&other_chain, &set(), &Ed25519), bad(0), "a vote of another chain is no vote");
    let other_set = ValidatorSet::new(
        (4..8u16)
            .map(|position| Validator {
                name: NodeName::new(&format!("w{position}")).unwrap(),
                public_key: key_pair(position).public(),
                power: 1,
            })
            .collect(),
    );
    assert_eq!(vote.verify(&chain(), &other_set.unwrap(), &Ed25519), bad(0));
}

fn mismatch(result: Result<(), CertificateError>) -> &'static str {
    match result {
        Err(CertificateError::Mismatch(what)) => what,
        other => panic!("a mismatch was expected, not {other:?}"),
    }
}

#[test]
fn votes_about_something_else_than_the_header_are_refused() {
    let kind = PreparedCertificate { header: header_at(9), certificate: committed(&[0, 1, 2]).certificate };
    assert!(mismatch(kind.verify(&chain(), &set(), &Ed25519)).contains("other kind"));
    let kind = CommittedProof { header: header_at(9), certificate: prepared(&[0, 1, 2]).certificate };
    assert!(mismatch(kind.check(&chain(), &set())).contains("other kind"));
    let mut height = committed(&[0, 1, 2]);
    height.header.height = Height(10);
    assert!(mismatch(height.verify(&chain(), &set(), &Ed25519)).contains("epoch or height"));
    let mut epoch = committed(&[0, 1, 2]);
    epoch.header.epoch = Epoch(3);
    assert!(mismatch(epoch.check(&chain(), &set())).contains("epoch or height"));
    let mut block = committed(&[0, 1, 2]);
    block.header.log_size += 1;
    assert!(mismatch(block.verify(&chain(), &set(), &Ed25519)).contains("another block"));
    let other_chain = ChainId::new("other").unwrap();
    assert!(mismatch(committed(&[0, 1, 2]).check(&other_chain, &set())).contains("another block"));
}

#[test]
fn checkpoints_about_something_else_than_the_header_are_refused() {
    let check = |damage: &dyn Fn(&mut StableCheckpoint)| {
        let mut proof = stable(&[0, 1, 2]);
        damage(&mut proof);
        mismatch(proof.verify(&chain(), &set(), &Ed25519))
    };
    assert!(check(&|proof| proof.header.height = Height(512)).contains("epoch or height"));
    assert!(check(&|proof| proof.header.epoch = Epoch(3)).contains("epoch or height"));
    assert!(check(&|proof| proof.header.timestamp.0 += 1).contains("another block"));
    let mut root = stable(&[0, 1, 2]);
    root.checkpoint.state_root = Digest([9; 32]);
    let bad = Err(CertificateError::BadSignature(ValidatorIndex(0)));
    assert_eq!(root.verify(&chain(), &set(), &Ed25519), bad, "the state root is signed");
}

fn prepared_at(height: u64, view: u64) -> PreparedCertificate {
    let header = header_at(height);
    let vote = vote_for(&header, VoteKind::Prepare, view);
    PreparedCertificate { header, certificate: Certificate { vote, signatures: signed_by(&vote, &[0, 1, 2]) } }
}

fn view_change() -> ViewChange {
    let (epoch, view) = (Epoch(2), View(8));
    let prepared = vec![prepared_at(10, 6), prepared_at(11, 7)];
    ViewChange { epoch, view, stable: Some(stable(&[1, 2, 3])), committed: Some(committed(&[0, 1, 3])), prepared }
}

#[test]
fn a_view_change_is_checked_in_every_part() {
    let check = |damage: &dyn Fn(&mut ViewChange)| {
        let mut change = view_change();
        damage(&mut change);
        change.verify(&chain(), &set(), &Ed25519)
    };
    assert_eq!(check(&|_| {}), Ok(()));
    assert_eq!(check(&|change| (change.stable, change.committed) = (None, None)), Ok(()));
    assert!(mismatch(check(&|change| change.epoch = Epoch(3))).contains("another epoch"));
    assert!(mismatch(check(&|change| change.view = View(7))).contains("moves to"));
    assert!(mismatch(check(&|change| change.prepared.swap(0, 1))).contains("ascending"));
    assert!(mismatch(check(&|change| change.prepared[1] = change.prepared[0].clone())).contains("ascending"));
    assert!(mismatch(check(&|change| change.prepared[0] = prepared_at(9, 6))).contains("above the commit"));
    let few = |power| Err(CertificateError::TooFew { power, quorum: 3 });
    assert_eq!(check(&|change| change.stable = Some(stable(&[1, 2]))), few(2));
    assert_eq!(check(&|change| change.committed = Some(committed(&[1]))), few(1));
    let bad = Err(CertificateError::BadSignature(ValidatorIndex(1)));
    assert_eq!(check(&|change| change.prepared[1].certificate.signatures.0[1].1.0[0] ^= 1), bad);
}

#[test]
fn the_base_of_a_view_change_is_the_highest_proven_height() {
    let change = view_change();
    assert_eq!(change.base(Height(0)), Height(256));
    assert_eq!(ViewChange { stable: None, ..change.clone() }.base(Height(0)), Height(9));
    assert_eq!(ViewChange { stable: None, committed: None, ..change.clone() }.base(Height(4)), Height(4));
    assert_eq!(change.base(Height(300)), Height(300));
}

#[test]
fn a_new_view_names_view_changes_of_a_quorum() {
    let named = |signers: &[u16]| {
        let view_changes = signers.iter().map(|signer| (ValidatorIndex(*signer), Digest([1; 32]))).collect();
        NewView { epoch: Epoch(2), view: View(8), view_changes }.check(&set())
    };
    assert_eq!(named(&[0, 2, 3]), Ok(()));
    assert_eq!(named(&[0, 2]), Err(CertificateError::TooFew { power: 2, quorum: 3 }));
    assert_eq!(named(&[0, 2, 2]), Err(CertificateError::Order));
    assert_eq!(named(&[2, 0, 3]), Err(CertificateError::Order));
    assert_eq!(named(&[0, 1, 2, 7]), Err(CertificateError::Stranger(ValidatorIndex(7))));
}

#[test]
fn a_signed_statement_holds_for_its_signer_only() {
    let vote = vote_for(&header_at(9), VoteKind::Prepare, 6);
    let signed = Signed::new(vote, &chain(), ValidatorIndex(2), &key_pair(2));
    let holds = |signed: &Signed<Vote>| signed.verify(&chain(), &set(), &Ed25519);
    assert!(holds(&signed));
    assert!(!holds(&Signed { signer: ValidatorIndex(1), ..signed.clone() }));
    assert!(!holds(&Signed { signer: ValidatorIndex(4), ..signed.clone() }), "a stranger's signature never holds");
    assert!(!holds(&Signed { body: Vote { view: View(7), ..vote }, ..signed.clone() }));
    assert!(!signed.verify(&ChainId::new("other").unwrap(), &set(), &Ed25519));
}

#[test]
fn a_bundle_holds_for_its_origin_only() {
    let operation = Operation {
        valid_until: Timestamp(1),
        ..Operation::new(IdempotencyKey::new("sixteen-letters!").unwrap(), Action::Seed)
    };
    let body = |origin| BundleBody {
        epoch: Epoch(2),
        origin: ValidatorIndex(origin),
        start: 1,
        number: 0,
        operations: vec![operation.clone()],
    };
    assert!(Bundle::sign(body(1), &chain(), &key_pair(1)).verify(&chain(), &set(), &Ed25519));
    assert!(!Bundle::sign(body(1), &chain(), &key_pair(2)).verify(&chain(), &set(), &Ed25519));
    assert!(!Bundle::sign(body(4), &chain(), &key_pair(4)).verify(&chain(), &set(), &Ed25519));
    assert!(!Bundle::sign(body(1), &ChainId::new("other").unwrap(), &key_pair(1)).verify(&chain(), &set(), &Ed25519));
    let empty = BundleBody { operations: Vec::new(), ..body(1) };
    assert!(Bundle::from_bytes(&Bundle::sign(empty, &chain(), &key_pair(1)).bytes, &chain()).is_err());
}

#[test]
fn bundles_of_an_origin_follow_each_other() {
    let at = |epoch, start, number| LastBundle { epoch: Epoch(epoch), position: BundlePosition { start, number } };
    let body = |last: LastBundle| BundleBody {
        epoch: last.epoch,
        origin: ValidatorIndex(0),
        start: last.position.start,
        number: last.position.number,
        operations: Vec::new(),
    };
    let follows = |last: Option<LastBundle>, next: LastBundle| {
        assert_eq!(body(next).as_last(), next);
        body(next).may_follow(last)
    };
    assert!(follows(None, at(0, 7, 0)) && !follows(None, at(0, 7, 1)));
    let last = Some(at(2, 7, 4));
    let allowed = [at(2, 7, 5), at(2, 8, 0), at(2, 100, 0), at(3, 7, 0), at(3, 1, 0)];
    let refused = [at(2, 7, 4), at(2, 7, 3), at(2, 7, 6), at(2, 7, 0), at(2, 8, 1), at(2, 6, 0), at(2, 6, 5)];
    assert!(allowed.into_iter().all(|next| follows(last, next)));
    assert!(!refused.into_iter().any(|next| follows(last, next)));
    assert!(!follows(last, at(1, 9, 0)) && !follows(last, at(3, 7, 5)), "each epoch begins anew, none comes back");
    assert!(!follows(Some(at(2, 7, u64::MAX)), at(2, 7, 0)), "numbers do not wrap around");
}
