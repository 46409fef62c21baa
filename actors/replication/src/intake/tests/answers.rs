//! Who is told what.

use super::*;

#[test]
fn outcomes_and_refusals_by_the_network_are_answered_in_their_places() {
    let mut world = World::new();
    let (first, again) = (validate("A"), keyed("another key for it", "A"));
    world.submit(1, vec![first, again]);
    let bundle = world.sign_last();
    let (results, effects) = world.order(&[&bundle]);
    assert!(results[0].outcome().verdict.is_accepted());
    assert_eq!(results[1].outcome().verdict.refusal(), Some(Reason::AlreadyValidated));
    assert_eq!(effects, [decided(1, 0, &results[0]), decided(1, 1, &results[1])]);
    assert_eq!(world.intake.usage(), super::super::IntakeUsage::default(), "nothing is left over");
}

#[test]
fn the_same_operation_joins_the_wait() {
    let mut world = World::new();
    let operation = validate("A");
    world.submit(1, vec![operation.clone()]);
    assert_eq!(world.submit(2, vec![operation.clone(), operation.clone()]), [], "no second bundle is cut");
    let bundle = world.sign_last();
    let (results, effects) = world.order(&[&bundle]);
    let result = &results[0];
    assert_eq!(effects, [decided(1, 0, result), decided(2, 0, result), decided(2, 1, result)]);
}

#[test]
fn the_same_key_with_another_payload_is_in_progress_until_the_first_is_decided() {
    let mut world = World::new();
    world.submit(1, vec![keyed("one key for two things", "A")]);
    let second = keyed("one key for two things", "B");
    assert_eq!(reasons(&world.submit(2, vec![second.clone()])), [(2, 0, Reason::InProgress)]);
    let bundle = world.sign_last();
    world.order(&[&bundle]);
    assert_eq!(world.submit(3, vec![second]).len(), 1, "now the network may judge");
    let bundle = world.sign_last();
    let (results, effects) = world.order(&[&bundle]);
    assert!(matches!(results[0], OperationResult::KeyReused { .. }));
    assert_eq!(effects, [decided(3, 0, &results[0])]);
}

#[test]
fn a_key_of_another_event_is_another_key() {
    let mut world = World::new();
    let mut elsewhere = keyed("one key for two things", "A");
    elsewhere.event = EventId::new("gala").unwrap();
    world.submit(1, vec![keyed("one key for two things", "A"), elsewhere]);
    assert_eq!(world.cut[0].operations.len(), 2);
}

#[test]
fn what_another_node_took_in_is_answered_once_it_is_decided_there() {
    let mut world = World::new();
    let operation = validate("A");
    world.submit(1, vec![operation.clone()]);
    let own = world.sign_last();
    let elsewhere = world.network.bundle_of(1, 0, vec![world.dated(&operation)]);
    let (results, effects) = world.order(&[&elsewhere]);
    assert_eq!(effects, [decided(1, 0, &results[0])]);
    let (results, effects) = world.order(&[&own]);
    assert!(matches!(results[0], OperationResult::Repeated(_)));
    assert_eq!(effects, [], "it is answered already");
    assert_eq!(world.intake.usage().bundles_on_way, 0);
}

#[test]
fn a_retry_while_its_first_copy_is_on_its_way_gets_the_repeated_outcome() {
    let mut world = World::new();
    let operation = validate("A");
    world.submit(1, vec![operation.clone()]);
    let own = world.sign_last();
    let elsewhere = world.network.bundle_of(1, 0, vec![world.dated(&operation)]);
    world.order(&[&elsewhere]);
    assert_eq!(world.submit(2, vec![operation]), [], "queued behind the bundle that holds it already");
    let (results, effects) = world.order(&[&own]);
    assert_eq!(effects, [decided(2, 0, &results[0])]);
    assert_eq!(world.intake.usage().queued_operations, 0, "and is not bundled again");
}

#[test]
fn what_another_node_did_with_the_key_decides_nothing_here() {
    let mut world = World::new();
    let (here, there) = (keyed("one key for two things", "A"), keyed("one key for two things", "B"));
    world.submit(1, vec![here]);
    let own = world.sign_last();
    let elsewhere = world.network.bundle_of(1, 0, vec![world.dated(&there)]);
    let (_, effects) = world.order(&[&elsewhere]);
    assert_eq!(effects, [], "that is not the outcome of this operation");
    let (results, effects) = world.order(&[&own]);
    assert!(matches!(results[0], OperationResult::KeyReused { .. }));
    assert_eq!(effects, [decided(1, 0, &results[0])]);
}

#[test]
fn a_refusal_that_uses_up_no_key_decides_only_the_copy_that_it_is_about() {
    let mut world = World::new();
    let operation = validate("A");
    world.submit(1, vec![operation.clone()]);
    let own = world.sign_last();
    let mut outdated = world.dated(&operation);
    outdated.valid_until = Timestamp(WALL - 1);
    let elsewhere = world.network.bundle_of(1, 0, vec![outdated]);
    let (results, effects) = world.order(&[&elsewhere]);
    assert_eq!(results[0].outcome().verdict.refusal(), Some(Reason::OperationExpired));
    assert_eq!(effects, [], "the own copy may still take effect");
    let (results, effects) = world.order(&[&own]);
    assert!(results[0].outcome().verdict.is_accepted());
    assert_eq!(effects, [decided(1, 0, &results[0])]);
}

#[test]
fn the_own_copy_that_uses_up_no_key_is_answered() {
    let mut world = World::new();
    world.network = Network::new(0);
    world.submit(1, vec![validate("A")]);
    let own = world.sign_last();
    let (results, effects) = world.order(&[&own]);
    assert_eq!(results[0].outcome().verdict.refusal(), Some(Reason::LedgerFull));
    assert_eq!(effects, [decided(1, 0, &results[0])]);
}

#[test]
fn a_bundled_operation_is_unknown_when_the_wait_is_over_and_goes_on() {
    let mut world = World::new();
    let operation = validate("A");
    world.submit(1, vec![operation.clone()]);
    let own = world.sign_last();
    assert_eq!(world.pass_ms(19_999), []);
    assert_eq!(world.pass_ms(1), [unknown(1, 0)]);
    assert_eq!(world.submit(2, vec![operation]), [], "a retry joins");
    let (results, effects) = world.order(&[&own]);
    assert_eq!(effects, [decided(2, 0, &results[0])]);
}

#[test]
fn a_queued_operation_is_overloaded_when_the_wait_is_over_and_is_never_bundled() {
    let mut world = World::new();
    world.submit(1, vec![validate("A")]);
    world.submit(2, vec![validate("B")]);
    let own = world.sign_last();
    let effects = world.pass_ms(20_000);
    let [first, Effect::Answer { request: RequestId(2), index: 0, answer }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(*first, unknown(1, 0));
    let Answer::Refused { reason: Reason::Overloaded, detail: Some(detail) } = answer else { panic!("{answer:?}") };
    assert!(detail.contains("got into no bundle"), "it is not this node that has too much: {detail}");
    world.order(&[&own]);
    assert_eq!(world.cut.len(), 1);
    assert_eq!(world.intake.usage(), super::super::IntakeUsage::default());
}

#[test]
fn a_wait_is_never_longer_than_the_bound() {
    let mut world = World::with(|limits| limits.wait_ms_max = 100);
    world.submit(1, vec![validate("A")]);
    assert_eq!(world.pass_ms(100), [unknown(1, 0)]);
}

#[test]
fn a_queued_operation_that_another_waits_for_longer_is_unknown_to_the_first() {
    let mut world = World::new();
    let operation = validate("B");
    world.submit(1, vec![validate("A")]);
    let own = world.sign_last();
    world.submit(2, vec![operation.clone()]);
    world.pass_ms(10_000);
    world.submit(3, vec![operation]);
    assert_eq!(world.pass_ms(10_000), [unknown(1, 0), unknown(2, 0)], "it may still be bundled");
    let (_, effects) = world.order(&[&own]);
    assert_eq!(effects.len(), 1, "it is: {effects:?}");
}

#[test]
fn after_a_withdrawal_nobody_is_answered_and_the_operations_go_on() {
    let mut world = World::new();
    let [a, b] = ["A", "B"].map(validate);
    world.submit(1, vec![a]);
    let own = world.sign_last();
    world.submit(2, vec![b.clone()]);
    world.step(Input::Withdraw { request: RequestId(1) });
    world.step(Input::Withdraw { request: RequestId(2) });
    assert_eq!(world.pass_ms(30_000), []);
    assert_eq!(world.step(Input::Quorum(false)), []);
    assert_eq!(world.step(Input::Quorum(true)), []);
    let (_, effects) = world.order(&[&own]);
    assert!(matches!(&effects[..], [Effect::Cut(body)] if body.operations[0].key == b.key), "{effects:?}");
}

#[test]
fn whoever_joins_what_a_client_left_behind_is_never_told_that_it_is_in_no_bundle() {
    let mut world = World::new();
    let operation = validate("B");
    world.submit(1, vec![validate("A")]);
    world.submit(2, vec![operation.clone()]);
    world.step(Input::Withdraw { request: RequestId(2) });
    world.submit(3, vec![operation]);
    assert_eq!(world.step(Input::Quorum(false)), [], "the first client relies on it");
    assert_eq!(world.pass_ms(20_000), [unknown(1, 0), unknown(3, 0)]);
}

#[test]
fn the_gate_says_why_it_is_closed() {
    type Change = (Input, Reason);
    let cases: [Change; 4] = [
        (Input::Quorum(false), Reason::NoQuorum),
        (Input::Syncing(true), Reason::Syncing),
        (Input::PoolFull(true), Reason::Overloaded),
        (Input::Stopping, Reason::Restarting),
    ];
    for (input, reason) in cases {
        let mut world = World::new();
        world.submit(1, vec![validate("A")]);
        assert_eq!(world.step(input.clone()), [], "what is bundled is not refused: {input:?}");
        assert_eq!(world.submit(2, vec![validate("B")]), [refused(2, 0, reason)]);
        assert_eq!(world.submit(3, vec![validate("A")]), [], "what is bundled is joined: {input:?}");
        let own = world.sign_last();
        let (results, effects) = world.order(&[&own]);
        assert_eq!(effects, [decided(1, 0, &results[0]), decided(3, 0, &results[0])], "{input:?}");
    }
}

#[test]
fn an_intake_begins_without_a_quorum() {
    let mut world = World::closed(|_| {});
    assert_eq!(world.submit(1, vec![validate("A")]), [refused(1, 0, Reason::NoQuorum)]);
}

#[test]
fn what_is_queued_is_refused_when_the_gate_closes() {
    for (input, reason) in [
        (Input::Quorum(false), Reason::NoQuorum),
        (Input::Syncing(true), Reason::Syncing),
        (Input::Stopping, Reason::Restarting),
    ] {
        let mut world = World::new();
        world.submit(1, vec![validate("A")]);
        world.submit(2, vec![validate("B"), validate("C")]);
        world.submit(3, vec![validate("B")]);
        let expected = [refused(2, 0, reason), refused(3, 0, reason), refused(2, 1, reason)];
        assert_eq!(world.step(input), expected);
        assert_eq!(world.intake.usage().queued_operations, 0);
    }
}

#[test]
fn a_full_pool_keeps_what_is_queued_and_cuts_nothing() {
    let mut world = World::new();
    world.submit(1, vec![validate("A")]);
    world.submit(2, vec![validate("B")]);
    let own = world.sign_last();
    world.step(Input::PoolFull(true));
    let (results, effects) = world.order(&[&own]);
    assert_eq!(effects, [decided(1, 0, &results[0])]);
    assert_eq!(world.step(Input::PoolFull(false)), [world.cut(1, &[&validate("B")])]);
}

#[test]
fn what_was_bundled_once_is_not_refused_when_it_is_queued_again() {
    let mut world = World::new();
    world.submit(1, vec![validate("A")]);
    let lost = world.sign_last();
    assert_eq!(world.step(Input::Quorum(false)), []);
    assert_eq!(world.step(gone(&lost, Some(position(1, 0)))), [], "nothing is cut without a quorum");
    assert_eq!(world.step(Input::Syncing(true)), []);
    assert_eq!(world.step(Input::Syncing(false)), []);
    assert_eq!(world.pass_ms(20_000), [unknown(1, 0)]);
    assert_eq!(world.step(Input::Quorum(true)).len(), 1, "it still goes on");
}

#[test]
fn at_the_end_whoever_waits_hears_that_the_outcome_is_unknown() {
    let mut world = World::new();
    world.submit(1, vec![validate("A"), validate("B")]);
    world.submit(2, vec![validate("C")]);
    let effects = world.step(Input::Close);
    assert_eq!(effects, [refused(2, 0, Reason::Restarting), unknown(1, 0), unknown(1, 1)]);
    assert_eq!(world.intake.usage().waiters, 0);
}

#[test]
fn a_timer_of_an_earlier_generation_changes_nothing() {
    let mut world = World::new();
    world.submit(1, vec![validate("A")]);
    let (earlier, _) = world.timer.unwrap();
    world.step(Input::Submit { request: RequestId(2), operations: vec![validate("A")], wait_ms: 10 });
    let (later, _) = world.timer.unwrap();
    assert!(later > earlier);
    world.now_us += 60_000_000;
    assert_eq!(world.step(Input::Timer { generation: earlier }), []);
    assert_eq!(world.step(Input::Timer { generation: later }), [unknown(2, 0), unknown(1, 0)]);
}
