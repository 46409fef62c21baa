//! What clients do: keys used again, the same at all nodes at once, and retries elsewhere after a crash.

use dtvn_ledger::OperationResult;
use dtvn_messages::Outcome;
use dtvn_replication::intake::Answer;
use dtvn_simulation::{Scenario, Stage};

fn four() -> Stage {
    let mut stage = Stage::new(Scenario::story(4, 0, 0));
    stage.run(500);
    stage
}

fn decided(stage: &mut Stage, request: u64) -> OperationResult {
    stage.until("an outcome", 5_000, |stage| stage.answer(request).is_some());
    match stage.answer(request) {
        Some(Answer::Decided(result)) => result.clone(),
        other => panic!("{other:?}"),
    }
}

fn same(left: &Outcome, right: &Outcome) -> bool {
    left == right
}

#[test]
fn client_same_key_other_payload() {
    let mut stage = four();
    let first = stage.ask(0, "one and the same key", "first");
    let first = decided(&mut stage, first);
    let second = stage.ask(1, "one and the same key", "second");
    let second = decided(&mut stage, second);
    assert!(matches!(&second, OperationResult::KeyReused { .. }), "{second:?}");
    assert!(same(first.outcome(), second.outcome()), "it is told what the key was used for");
}

#[test]
fn client_same_operation_everywhere() {
    let mut stage = four();
    let requests: Vec<u64> = (0..4).map(|host| stage.ask(host, "one and the same key", "ticket")).collect();
    let results: Vec<OperationResult> = requests.into_iter().map(|request| decided(&mut stage, request)).collect();
    assert!(results.iter().all(|result| same(result.outcome(), results[0].outcome())), "one effect, one outcome");
    assert!(results[0].outcome().verdict.is_accepted());
    stage.settle(5_000);
    assert_eq!(stage.tickets(), 1);
}

#[test]
fn client_retry_elsewhere() {
    for after_ms in [0, 1, 2, 3, 5, 8, 13, 30, 100] {
        let mut stage = four();
        let first = stage.ask(0, "one and the same key", "ticket");
        stage.run(after_ms);
        // Whether it was decided or not: the node is gone, and the client asks another.
        let heard = stage.answer(first).cloned();
        stage.power_off(0);
        let again = stage.ask(2, "one and the same key", "ticket");
        let again = decided(&mut stage, again);
        assert!(again.outcome().verdict.is_accepted(), "after {after_ms} ms: a false refusal: {again:?}");
        if let Some(Answer::Decided(first)) = heard {
            assert!(same(first.outcome(), again.outcome()), "the first outcome stays");
        }
        stage.start(0);
        stage.settle(5_000);
    }
}

/// An operation that is illegal is an outcome like any other: it is recorded, and stalls nothing.
#[test]
fn leader_illegal_operation() {
    let mut stage = four();
    let first = stage.ask(0, "the first of two keys", "ticket");
    assert!(decided(&mut stage, first).outcome().verdict.is_accepted());
    let second = stage.ask(1, "the second of two keys", "ticket");
    let second = decided(&mut stage, second);
    assert!(matches!(&second, OperationResult::Recorded(outcome) if !outcome.verdict.is_accepted()), "{second:?}");
    assert_eq!(stage.view().0, 0, "no view ends for it");
}
