//! Whoever lies so that it can be proved is found, and nobody else: networks in which one validator tells one kind of lie.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use dtvn_simulation::lies::Behaviour;
use dtvn_simulation::run::simulate_scenario;
use dtvn_simulation::scenario::Changes;
use dtvn_simulation::{Coverage, End, Scenario};

/// What some seeds met with one liar of this kind. The oracle judges each piece of evidence: it must hold, and accuse the
/// liar.
fn met(seeds: std::ops::Range<u64>, behaviour: Behaviour) -> Coverage {
    let mut coverage = Coverage::default();
    for seed in seeds {
        let mut scenario = Scenario::draw(seed, &Changes::default());
        if scenario.validators < 4 {
            continue;
        }
        scenario.liars = vec![(seed as usize % scenario.validators, behaviour)];
        let report = simulate_scenario(scenario);
        // A network that tolerates one fault may be asked for more by the seed's crashes: then it waits.
        assert!(matches!(report.end, End::Good | End::Stalled(_)), "{behaviour:?}: {report}");
        coverage.add(&report.coverage);
    }
    coverage
}

#[test]
fn liars_leave_evidence_of_their_kind() {
    let two_votes = met(0..12, Behaviour::TwoVotes);
    assert!(two_votes.two_votes > 0, "{two_votes:?}");
    let two_blocks = met(0..12, Behaviour::TwoBlocks);
    assert!(two_blocks.two_votes > 0, "{two_blocks:?}");
    let hidden = met(0..20, Behaviour::HiddenCertificate);
    assert!(hidden.two_view_changes + hidden.evidence > 0, "{hidden:?}");
    let wrong = met(0..12, Behaviour::WrongRoot);
    assert!(wrong.accusations > 0, "{wrong:?}");
    let twins = met(0..40, Behaviour::Twin);
    assert!(twins.evidence > 0, "{twins:?}");
}

#[test]
fn who_only_fails_leaves_none() {
    let silent = met(0..12, Behaviour::Silent);
    let withholding = met(0..12, Behaviour::WithheldBundle);
    assert_eq!((silent.evidence, withholding.evidence), (0, 0));
    assert_eq!((silent.accusations, withholding.accusations), (0, 0));
}
