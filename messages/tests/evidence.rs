//! Evidence of each kind: an example that is accepted, and what is one step away from it and refused.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::*;
use dtvn_messages::certificate::Signatures;
use dtvn_messages::evidence::{EpochContext, EvidenceError};
use dtvn_messages::*;

/// Who lies in all examples: validator 1, who leads view 3 of epoch 2.
const LIAR: u16 = 1;
const BASE: Height = Height(4);

fn set() -> ValidatorSet {
    set_of(&[1, 1, 1, 1])
}

fn judge(evidence: &Evidence) -> Result<(), EvidenceError> {
    let set = set();
    let context = EpochContext { set: &set, base: (BASE, Digest([0xba; 32])), rotation_interval: 100 };
    evidence.verify(&chain(), |epoch| (epoch == Epoch(2)).then_some(context), &Ed25519)
}

fn by<T: Statement>(signer: u16, body: T) -> Signed<T> {
    Signed::new(body, &chain(), ValidatorIndex(signer), &key_pair(signer))
}

fn vote(kind: VoteKind, view: u64, height: u64, digest: Digest) -> Vote {
    Vote { kind, epoch: Epoch(2), view: View(view), height: Height(height), digest }
}

/// A fresh block of view 3.
fn header(height: u64) -> Header {
    Header { proposer: ValidatorIndex(LIAR), proposed_in_view: View(3), ..header_at(height) }
}

fn vote_on(header: &Header, view: u64) -> Signed<Vote> {
    by(LIAR, vote(VoteKind::Prepare, view, header.height.0, header.digest(&chain())))
}

fn prepared(header: &Header, view: u64) -> PreparedCertificate {
    let vote = vote_for(header, VoteKind::Prepare, view);
    PreparedCertificate {
        header: header.clone(),
        certificate: Certificate { vote, signatures: signed_by(&vote, &[0, 1, 2]) },
    }
}

fn view_change(view: u64, prepared: Vec<PreparedCertificate>) -> ViewChange {
    ViewChange { epoch: Epoch(2), view: View(view), stable: None, committed: None, prepared }
}

/// A NEW-VIEW of view 7, which validator 1 leads, from these VIEW-CHANGEs of validators 0, 1 and 2.
fn new_view(view_changes: &[ViewChange]) -> NewView {
    let digests = view_changes.iter().zip(0u16..).map(|(it, signer)| (ValidatorIndex(signer), it.digest(&chain())));
    NewView { epoch: Epoch(2), view: View(7), view_changes: digests.collect() }
}

/// A certificate for the first height of the epoch, and the VIEW-CHANGEs of view 7 that show it.
fn story() -> (Header, Vec<ViewChange>) {
    let first = Header { parent: Digest([0xba; 32]), ..header(BASE.0 + 1) };
    let shows = view_change(7, vec![prepared(&first, 3)]);
    (first, vec![shows, view_change(7, Vec::new()), view_change(7, Vec::new())])
}

fn head(height: u64) -> Head {
    Head::of(&header_at(height), Digest([height as u8; 32]))
}

/// One example of each kind.
fn examples() -> Vec<Evidence> {
    let (first, shown) = story();
    let forged = {
        let mut certificate = prepared(&header(9), 3);
        certificate.certificate.signatures = Signatures(certificate.certificate.signatures.0[..2].to_vec());
        view_change(7, vec![certificate])
    };
    let below = header(8);
    let late = Header { parent: below.digest(&chain()), timestamp: below.timestamp, ..header(9) };
    vec![
        Evidence::TwoVotes(
            by(LIAR, vote(VoteKind::Prepare, 3, 9, Digest([1; 32]))),
            by(LIAR, vote(VoteKind::Commit, 3, 9, Digest([2; 32]))),
        ),
        Evidence::TwoHeads(by(LIAR, head(9)), by(LIAR, Head { log_root: Digest([1; 32]), ..head(9) })),
        Evidence::TwoViewChanges(Box::new(by(LIAR, shown[0].clone())), Box::new(by(LIAR, shown[1].clone()))),
        Evidence::TwoNewViews(by(LIAR, new_view(&shown)), by(LIAR, new_view(&shown[..2]))),
        Evidence::HiddenCertificate(
            by(LIAR, vote(VoteKind::Commit, 3, 9, Digest([1; 32]))),
            Box::new(by(LIAR, view_change(4, Vec::new()))),
        ),
        Evidence::BadNewView(by(LIAR, new_view(&shown[..2])), None),
        Evidence::AgainstNewView(
            by(LIAR, new_view(&shown)),
            shown.clone(),
            by(LIAR, vote(VoteKind::Prepare, 7, first.height.0, Digest([1; 32]))),
        ),
        Evidence::BadProposal(vote_on(&late, 3), Box::new(late), Some(Box::new(below))),
        Evidence::ForgedCertificate(Box::new(by(LIAR, forged))),
        Evidence::WrongResult(vote_on(&header(9), 3), Box::new(header(9)), 1, Digest([1; 32])),
    ]
}

#[test]
fn an_example_of_each_kind_holds_and_names_the_liar() {
    let examples = examples();
    let kinds: Vec<EvidenceKind> = examples.iter().map(Evidence::kind).collect();
    assert_eq!(kinds, EvidenceKind::ALL);
    for evidence in &examples {
        assert_eq!(judge(evidence), Ok(()), "{}", evidence.kind());
        assert_eq!(evidence.culprit(), ValidatorIndex(LIAR), "{}", evidence.kind());
        assert_eq!(evidence.kind().is_proof(), evidence.kind() != EvidenceKind::WrongResult);
        assert_eq!(Evidence::decode(&evidence.to_bytes()).as_ref(), Ok(evidence), "{}", evidence.kind());
    }
    let names: BTreeSet<Digest> = examples.iter().map(Evidence::name).collect();
    assert_eq!(names.len(), examples.len(), "each has a name of its own");
}

#[test]
fn one_changed_bit_anywhere_is_refused() {
    for evidence in examples() {
        let good = evidence.to_bytes();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            let Ok(changed) = Evidence::decode(&bytes) else { continue };
            // Only parts that nobody signed may differ: what the accuser's own execution gives, and, where it is enough
            // that one of them does not hold, the forged certificate that the liar signed cannot be touched either.
            let is_own = matches!(changed, Evidence::WrongResult(..)) && at >= good.len() - 40;
            assert!(judge(&changed).is_err() || is_own, "{} with byte {at} changed", evidence.kind());
        }
    }
}

#[test]
fn the_order_of_two_statements_does_not_matter() {
    for evidence in examples() {
        let swapped = match evidence.clone() {
            Evidence::TwoVotes(first, second) => Evidence::TwoVotes(second, first),
            Evidence::TwoHeads(first, second) => Evidence::TwoHeads(second, first),
            Evidence::TwoViewChanges(first, second) => Evidence::TwoViewChanges(second, first),
            Evidence::TwoNewViews(first, second) => Evidence::TwoNewViews(second, first),
            _ => continue,
        };
        assert_eq!(judge(&swapped), Ok(()));
        assert_eq!(swapped.name(), evidence.name());
    }
}

#[test]
fn statements_of_two_validators_accuse_nobody() {
    let one = vote(VoteKind::Prepare, 3, 9, Digest([1; 32]));
    let two = vote(VoteKind::Prepare, 3, 9, Digest([2; 32]));
    assert_eq!(judge(&Evidence::TwoVotes(by(1, one), by(2, two))), Err(EvidenceError::TwoSigners));
    // In the name of another, with the own key.
    let forged = Signed { signer: ValidatorIndex(2), ..by(1, two) };
    let forged = Evidence::TwoVotes(Signed { signer: ValidatorIndex(2), ..by(1, one) }, forged);
    assert_eq!(judge(&forged), Err(EvidenceError::BadSignature(ValidatorIndex(2))));
    let stranger = Signed { signer: ValidatorIndex(9), ..by(1, one) };
    let second = Signed { signer: ValidatorIndex(9), ..by(1, two) };
    assert_eq!(judge(&Evidence::TwoVotes(stranger, second)), Err(EvidenceError::Stranger(ValidatorIndex(9))));
}

fn is_harmless(evidence: Evidence) {
    let judged = judge(&evidence);
    assert!(matches!(judged, Err(EvidenceError::Harmless(_))), "{judged:?}: {evidence:?}");
}

#[test]
fn votes_that_an_honest_validator_casts_are_harmless() {
    let first = vote(VoteKind::Prepare, 3, 9, Digest([1; 32]));
    let other = Digest([2; 32]);
    for second in [
        Vote { kind: VoteKind::Commit, ..first },
        Vote { view: View(4), digest: other, ..first },
        Vote { height: Height(10), digest: other, ..first },
        Vote { epoch: Epoch(3), digest: other, ..first },
    ] {
        is_harmless(Evidence::TwoVotes(by(LIAR, first), by(LIAR, second)));
    }
    is_harmless(Evidence::TwoHeads(by(LIAR, head(9)), by(LIAR, head(9))));
    is_harmless(Evidence::TwoHeads(by(LIAR, head(9)), by(LIAR, head(10))));
}

#[test]
fn who_shows_a_certificate_or_a_commit_hides_nothing() {
    let commit = |view| by(LIAR, vote(VoteKind::Commit, view, 9, header(9).digest(&chain())));
    let hides =
        |commit: Signed<Vote>, shown: ViewChange| Evidence::HiddenCertificate(commit, Box::new(by(LIAR, shown)));
    assert_eq!(judge(&hides(commit(4), view_change(7, vec![prepared(&header(9), 3)]))), Ok(()), "an older one");
    assert_eq!(judge(&hides(commit(3), view_change(7, vec![prepared(&header(10), 3)]))), Ok(()), "one elsewhere");
    is_harmless(hides(commit(3), view_change(7, vec![prepared(&header(9), 3)])));
    is_harmless(hides(commit(3), view_change(7, vec![prepared(&header(9), 5)])));
    is_harmless(hides(commit(7), view_change(7, Vec::new())));
    is_harmless(hides(commit(8), view_change(7, Vec::new())));
    is_harmless(hides(by(LIAR, vote(VoteKind::Prepare, 3, 9, Digest([1; 32]))), view_change(7, Vec::new())));
    for height in [9, 10] {
        let vote = vote_for(&header(height), VoteKind::Commit, 3);
        let certificate = Certificate { vote, signatures: signed_by(&vote, &[0, 1, 2]) };
        let committed = Some(CommittedProof { header: header(height), certificate });
        is_harmless(hides(commit(3), ViewChange { committed, ..view_change(7, Vec::new()) }));
    }
}

#[test]
fn new_views_that_an_honest_leader_makes_are_harmless() {
    let (first, shown) = story();
    is_harmless(Evidence::BadNewView(by(LIAR, new_view(&shown)), None));
    is_harmless(Evidence::BadNewView(by(LIAR, new_view(&shown)), Some(Box::new(shown[0].clone()))));
    is_harmless(Evidence::BadNewView(by(LIAR, new_view(&shown)), Some(Box::new(view_change(6, Vec::new())))));
    is_harmless(Evidence::TwoNewViews(by(LIAR, new_view(&shown)), by(LIAR, new_view(&shown))));
    // Of another leader, from another view's changes, or from forged ones.
    let foreign = Evidence::BadNewView(by(2, new_view(&shown)), None);
    assert_eq!((judge(&foreign), foreign.culprit()), (Ok(()), ValidatorIndex(2)));
    let late = [view_change(6, Vec::new()), shown[1].clone(), shown[2].clone()];
    assert_eq!(judge(&Evidence::BadNewView(by(LIAR, new_view(&late)), Some(Box::new(late[0].clone())))), Ok(()));
    let mut certificate = prepared(&first, 3);
    certificate.certificate.signatures.0.pop();
    let forged = [view_change(7, vec![certificate]), shown[1].clone(), shown[2].clone()];
    assert_eq!(judge(&Evidence::BadNewView(by(LIAR, new_view(&forged)), Some(Box::new(forged[0].clone())))), Ok(()));
    // What it selects, what it leaves free, and what is up to the last height of the view.
    let against = |height: u64, digest| {
        let vote = by(LIAR, vote(VoteKind::Prepare, 7, height, digest));
        Evidence::AgainstNewView(by(LIAR, new_view(&shown)), shown.clone(), vote)
    };
    let end = first.height.0;
    is_harmless(against(end, first.digest(&chain())));
    is_harmless(against(end + 1, Digest([1; 32])));
    is_harmless(against(end + 100, Digest([1; 32])));
    assert_eq!(judge(&against(end + 101, Digest([1; 32]))), Ok(()), "above the last height of the view");
    let in_another = by(LIAR, vote(VoteKind::Prepare, 3, end, Digest([1; 32])));
    is_harmless(Evidence::AgainstNewView(by(LIAR, new_view(&shown)), shown.clone(), in_another));
    let fewer = shown[..2].to_vec();
    let vote = by(LIAR, vote(VoteKind::Prepare, 7, end, Digest([1; 32])));
    is_harmless(Evidence::AgainstNewView(by(LIAR, new_view(&shown)), fewer, vote));
}

#[test]
fn proposals_that_an_honest_leader_makes_are_harmless() {
    let below = header(8);
    let good = Header { parent: below.digest(&chain()), timestamp: below.timestamp.plus_micros(1), ..header(9) };
    let with_parent = |header: &Header, view| {
        Evidence::BadProposal(vote_on(header, view), Box::new(header.clone()), Some(Box::new(below.clone())))
    };
    let alone = |header: &Header, view| Evidence::BadProposal(vote_on(header, view), Box::new(header.clone()), None);
    is_harmless(alone(&good, 3));
    is_harmless(with_parent(&good, 3));
    let is_bad = |header: Header| {
        assert_eq!(judge(&with_parent(&header, 3)), Ok(()), "{header:?}");
        // Selected in a later view: who votes then never saw it as fresh.
        is_harmless(with_parent(&header, 6));
    };
    is_bad(Header { timestamp: below.timestamp, ..good.clone() });
    is_bad(Header { height: Height(10), ..good.clone() });
    is_bad(Header { log_size: below.log_size - 1, ..good.clone() });
    // On another parent nothing can be said.
    is_harmless(with_parent(&Header { parent: Digest([1; 32]), timestamp: below.timestamp, ..good.clone() }, 3));
    let not_leader = Header { proposer: ValidatorIndex(2), ..good.clone() };
    assert_eq!(judge(&alone(&not_leader, 3)), Ok(()));
    is_harmless(alone(&not_leader, 6));
    assert_eq!(judge(&alone(&good, 2)), Ok(()), "proposed in a later view than the vote's");
    let first_view = |height| Header { proposed_in_view: View(0), proposer: ValidatorIndex(2), ..header(height) };
    is_harmless(alone(&first_view(BASE.0 + 100), 0));
    assert_eq!(judge(&alone(&first_view(BASE.0 + 101), 0)), Ok(()), "above the last height of view 0");
    let elsewhere = Evidence::BadProposal(vote_on(&good, 3), Box::new(not_leader), None);
    is_harmless(elsewhere);
}

#[test]
fn certificates_that_hold_are_harmless() {
    let (_, shown) = story();
    is_harmless(Evidence::ForgedCertificate(Box::new(by(LIAR, shown[0].clone()))));
    let same = Evidence::TwoViewChanges(Box::new(by(LIAR, shown[0].clone())), Box::new(by(LIAR, shown[0].clone())));
    is_harmless(same);
    let later =
        Evidence::TwoViewChanges(Box::new(by(LIAR, shown[0].clone())), Box::new(by(LIAR, view_change(8, Vec::new()))));
    is_harmless(later);
}

#[test]
fn an_accusation_is_of_the_leaders_own_block() {
    let own = header(9);
    is_harmless(Evidence::WrongResult(vote_on(&own, 3), Box::new(own.clone()), own.log_size, own.log_root));
    let follower = by(2, vote_on(&own, 3).body);
    is_harmless(Evidence::WrongResult(follower, Box::new(own), 1, Digest([1; 32])));
}

#[test]
fn what_is_unknown_or_too_large_is_refused() {
    let set = set();
    let context = EpochContext { set: &set, base: (BASE, Digest([0xba; 32])), rotation_interval: 100 };
    let evidence = &examples()[0];
    let judged = evidence.verify(&chain(), |epoch| (epoch == Epoch(0)).then_some(context), &Ed25519);
    assert_eq!(judged, Err(EvidenceError::Epoch(Epoch(2))));
    let elsewhere = ChainId::new("elsewhere").unwrap();
    assert!(evidence.verify(&elsewhere, |_| Some(context), &Ed25519).is_err());
    let large = vec![1; limits::EVIDENCE_BYTES_MAX + 1];
    assert!(matches!(Evidence::decode(&large), Err(DecodeError::TooLarge { .. })));
    assert!(Evidence::decode(&[99]).is_err());
}
