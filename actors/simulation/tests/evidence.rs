//! Whoever lies so that it can be proved is found, and nobody else: networks in which one validator tells one kind of lie.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::ops::Range;

use dtvn_messages::EvidenceKind;
use dtvn_simulation::lies::Behaviour;
use dtvn_simulation::run::simulate_scenario;
use dtvn_simulation::scenario::Changes;
use dtvn_simulation::{Coverage, End, Scenario};

/// Seeds within which a lie leaves evidence of its kind: most do at once.
const SEEDS: u64 = 60;

/// What a seed met with one liar of this kind, if there may be one. The oracle judges each piece of evidence: it must
/// hold, and accuse the liar.
fn met(seed: u64, behaviour: Behaviour) -> Option<Coverage> {
    let mut scenario = Scenario::draw(seed, &Changes::default());
    if scenario.validators < 4 {
        return None;
    }
    scenario.liars = vec![(seed as usize % scenario.validators, behaviour)];
    let report = simulate_scenario(scenario);
    // A network that tolerates one fault may be asked for more by the seed's crashes: then it waits.
    assert!(matches!(report.end, End::Good | End::Stalled(_)), "{behaviour:?}: {report}");
    Some(report.coverage)
}

/// What these seeds met together.
fn met_by_all(seeds: Range<u64>, behaviour: Behaviour) -> Coverage {
    let mut coverage = Coverage::default();
    seeds.filter_map(|seed| met(seed, behaviour)).for_each(|met| coverage.add(&met));
    coverage
}

/// Whether some seed meets this with one liar of this kind.
fn is_met(behaviour: Behaviour, what: impl Fn(&Coverage) -> bool) -> bool {
    (0..SEEDS).filter_map(|seed| met(seed, behaviour)).any(|met| what(&met))
}

/// Lies, and the evidence that they leave.
const LEFT: [(Behaviour, EvidenceKind); 12] = [
    (Behaviour::TwoVotes, EvidenceKind::TwoVotes),
    (Behaviour::TwoBlocks, EvidenceKind::TwoVotes),
    (Behaviour::TwoHeads, EvidenceKind::TwoHeads),
    (Behaviour::HiddenCertificate, EvidenceKind::TwoViewChanges),
    (Behaviour::HiddenCertificate, EvidenceKind::HiddenCertificate),
    (Behaviour::TwoNewViews, EvidenceKind::TwoNewViews),
    (Behaviour::TooFewChanges, EvidenceKind::BadNewView),
    (Behaviour::WrongLeader, EvidenceKind::BadNewView),
    (Behaviour::AlteredBlock, EvidenceKind::AgainstNewView),
    (Behaviour::TimeStill, EvidenceKind::BadProposal),
    (Behaviour::ForgedCertificate, EvidenceKind::ForgedCertificate),
    (Behaviour::WrongRoot, EvidenceKind::WrongResult),
];

#[test]
fn liars_leave_evidence_of_their_kind() {
    for (behaviour, kind) in LEFT {
        let is_left = is_met(behaviour, |met| met.pieces(kind) > 0);
        assert!(is_left, "{}: no evidence of {kind} in {SEEDS} seeds", behaviour.name());
    }
    assert!(is_met(Behaviour::Twin, |met| met.evidence > 0), "twins leave no evidence");
    let without: Vec<EvidenceKind> =
        EvidenceKind::ALL.into_iter().filter(|kind| LEFT.iter().all(|(_, left)| left != kind)).collect();
    assert!(without.is_empty(), "no lie leaves evidence of {without:?}");
}

#[test]
fn who_only_fails_leaves_none() {
    let failing = [Behaviour::Silent, Behaviour::WithheldBundle].map(|behaviour| met_by_all(0..12, behaviour));
    assert!(failing.iter().all(|met| met.told.total() > 0));
    assert_eq!(failing.map(|met| (met.evidence, met.accusations)), [(0, 0); 2]);
}

/// What proves nothing is believed of nobody: neither against the honest one whom it names, nor against who made it up.
#[test]
fn what_is_made_up_against_others_leaves_none() {
    for behaviour in [Behaviour::FalseEvidence, Behaviour::ForgedReceipt, Behaviour::WrongHead] {
        let met = met_by_all(0..12, behaviour);
        assert!(met.told.0[behaviour as usize] > 0 && met.receipts > 0, "{}", behaviour.name());
        assert_eq!((met.evidence, met.accusations), (0, 0), "{}", behaviour.name());
        assert_eq!(met.blamed > 0, behaviour != Behaviour::WrongHead, "{}", behaviour.name());
    }
}
