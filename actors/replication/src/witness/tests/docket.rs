//! What is done with evidence of peers, and how much of it is kept.

use super::*;

#[test]
fn there_is_one_proof_of_the_latest_epoch_against_each_for_peers_that_were_not_there() {
    let case = Case::new();
    let against = |signer: u16, epoch: u64, height: u64| {
        let vote = |byte| {
            let vote = case.witness.vote(VoteKind::Prepare, View(3), Height(height), digest(byte));
            case.by(signer, Vote { epoch: Epoch(epoch), ..vote })
        };
        Arc::new(Evidence::TwoVotes(vote(1), vote(2)))
    };
    let docket = Docket::default();
    for evidence in [against(1, 0, 1), against(1, 0, 2), against(2, 0, 1)] {
        assert!(docket.admit(&evidence));
    }
    assert_eq!(docket.proofs(Epoch(0)), [against(1, 0, 1), against(2, 0, 1)], "the first against each");
    assert_eq!(docket.proofs(Epoch(1)), []);
    assert!(docket.admit(&against(3, 1, 1)));
    assert_eq!(docket.proofs(Epoch(1)), [against(3, 1, 1)]);
    assert_eq!(docket.proofs(Epoch(0)), [], "indices may be others' now");
    // What is enough against one is not enough against another, nor against whoever has its index later.
    for height in 10..10 + limits::EVIDENCE_PER_CULPRIT_MAX as u64 {
        let _ = docket.admit(&against(1, 0, height));
    }
    assert!(!docket.wants(&against(1, 0, 5_000)));
    assert!(docket.wants(&against(2, 0, 5_000)) && docket.wants(&against(1, 1, 5_000)));
}

/// Evidence of two votes in a slot of view 3.
fn two_votes(case: &Case, height: u64) -> Evidence {
    let vote = |byte| case.by(LIAR, case.witness.vote(VoteKind::Prepare, View(3), Height(height), digest(byte)));
    Evidence::TwoVotes(vote(1), vote(2))
}

#[test]
fn evidence_of_a_peer_is_verified_before_anything_is_done_with_it() {
    let case = Case::new();
    let show =
        |evidence: Evidence| case.verifier.receipts(ValidatorIndex(2), PeerMessage::Evidence(Arc::new(evidence)));
    let good = two_votes(&case, 9);
    assert_eq!(show(good.clone()), Ok(Judged::Evidence(Arc::new(good.clone()))));
    let Evidence::TwoVotes(first, mut second) = good else { unreachable!() };
    assert!(show(Evidence::TwoVotes(first.clone(), first.clone())).is_err(), "one vote twice");
    second.signature.0[0] ^= 1;
    assert!(show(Evidence::TwoVotes(first, second)).is_err(), "a signature that does not hold");
}

#[test]
fn what_is_known_costs_nothing_and_there_is_enough_against_each() {
    let case = Case::new();
    let docket = case.verifier.evidence.docket.clone();
    let show = |evidence: &Evidence| {
        case.verifier.receipts(ValidatorIndex(2), PeerMessage::Evidence(Arc::new(evidence.clone())))
    };
    let first = Arc::new(two_votes(&case, 1));
    assert!(docket.admit(&first));
    assert!(!docket.admit(&first), "one piece for each culprit, kind and slot");
    let mut forged = (*first).clone();
    if let Evidence::TwoVotes(_, second) = &mut forged {
        second.signature.0[0] ^= 1;
    }
    assert_eq!(show(&forged), Ok(Judged::Nothing), "what is known is not even checked");
    let admitted = (2..1_000).filter(|height| docket.admit(&Arc::new(two_votes(&case, *height)))).count();
    assert_eq!(admitted + 1, dtvn_messages::limits::EVIDENCE_PER_CULPRIT_MAX);
    assert_eq!(show(&two_votes(&case, 5_000)), Ok(Judged::Nothing), "enough is known about its culprit");
}
