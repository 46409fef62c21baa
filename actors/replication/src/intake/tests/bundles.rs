//! When bundles are cut, and what happens to them.

use super::*;

#[test]
fn an_idle_node_cuts_at_once_and_dates_the_operation() {
    let mut world = World::new();
    let operation = validate("A");
    let expected = world.cut(0, &[&operation]);
    assert_eq!(world.submit(1, vec![operation]), [expected]);
}

#[test]
fn an_operation_lives_no_longer_than_keys_are_remembered() {
    let mut world = World::new();
    world.intake.key_retention_ms = 1_500;
    world.submit(1, vec![validate("A")]);
    assert_eq!(world.cut[0].operations[0].valid_until, Timestamp(WALL + 1_500_000));
}

#[test]
fn while_a_bundle_is_on_its_way_the_next_one_gathers() {
    let mut world = World::new();
    let [a, b, c] = ["A", "B", "C"].map(validate);
    world.submit(1, vec![a]);
    assert_eq!(world.submit(2, vec![b.clone()]), []);
    assert_eq!(world.submit(3, vec![c.clone()]), []);
    let first = world.sign_last();
    let expected = world.cut(1, &[&b, &c]);
    let (results, effects) = world.order(&[&first]);
    assert_eq!(effects, [decided(1, 0, &results[0]), expected]);
}

#[test]
fn full_bundles_are_cut_early_up_to_a_bound() {
    let mut world = World::with(|limits| {
        limits.bundle_operations_max = 2;
        limits.bundles_on_way_max = 3;
    });
    let operations: Vec<Operation> = (0..9).map(|number| validate(&format!("T{number}"))).collect();
    assert_eq!(world.submit(1, vec![operations[0].clone()]), [world.cut(0, &[&operations[0]])]);
    assert_eq!(world.submit(2, vec![operations[1].clone()]), [], "not full");
    assert_eq!(world.submit(3, vec![operations[2].clone()]), [world.cut(1, &[&operations[1], &operations[2]])]);
    let rest = world.submit(4, operations[3..].to_vec());
    assert_eq!(rest, [world.cut(2, &[&operations[3], &operations[4]])], "three are on their way");
    assert_eq!(world.intake.usage().queued_operations, 4);
    let bundles: Vec<_> = world.cut.clone().into_iter().map(|body| world.network.sign(body)).collect();
    bundles.iter().for_each(|bundle| drop(world.step(Input::Signed(Arc::clone(bundle)))));
    let (_, effects) = world.order(&[&bundles[0]]);
    assert_eq!(effects[1..], [world.cut(3, &[&operations[5], &operations[6]])], "a place is free");
}

#[test]
fn a_bundle_is_full_in_bytes_too() {
    let operations: Vec<Operation> = (0..4).map(|number| validate(&format!("T{number}"))).collect();
    let two = World::new().network.bundle_of(0, 0, operations[..2].to_vec()).bytes.len();
    for (bytes_max, in_first) in [(two - 1, 1), (two, 2), (two + 1, 2)] {
        let mut world = World::with(|limits| {
            limits.bundle_bytes_max = bytes_max;
            limits.bundles_on_way_max = 1;
        });
        world.submit(1, operations.clone());
        assert_eq!(world.cut[0].operations.len(), in_first, "{bytes_max} bytes");
        assert!(world.network.sign(world.cut[0].clone()).bytes.len() <= bytes_max);
    }
}

#[test]
fn operations_of_a_superseded_bundle_go_into_the_next_one_first() {
    let mut world = World::new();
    let [a, b, c] = ["A", "B", "C"].map(validate);
    world.submit(1, vec![a.clone(), b.clone()]);
    let lost = world.sign_last();
    world.submit(2, vec![c.clone()]);
    let expected = world.cut(1, &[&a, &c, &b]);
    assert_eq!(world.step(gone(&lost, Some(position(1, 0)))), [expected]);
    let next = world.sign_last();
    let (results, effects) = world.order(&[&world.network.bundle_of(0, 0, vec![validate("X")]), &next]);
    let expected = [decided(1, 0, &results[1]), decided(2, 0, &results[2]), decided(1, 1, &results[3])];
    assert_eq!(effects, expected);
}

#[test]
fn what_another_node_decided_meanwhile_is_not_offered_again() {
    let mut world = World::new();
    let [a, b] = ["A", "B"].map(validate);
    world.submit(1, vec![a.clone(), b.clone()]);
    let lost = world.sign_last();
    let elsewhere = world.network.bundle_of(1, 0, vec![world.dated(&a)]);
    let (results, effects) = world.order(&[&elsewhere]);
    assert_eq!(effects, [decided(1, 0, &results[0])]);
    let expected = world.cut(1, &[&b]);
    assert_eq!(world.step(gone(&lost, Some(position(1, 0)))), [expected]);
}

#[test]
fn a_bundle_of_an_earlier_start_is_offered_again_without_anybody_waiting() {
    let mut world = World::new();
    let operation = world.dated(&validate("A"));
    let mut body = world.network.bundle_of(0, 7, vec![operation.clone()]).body.clone();
    body.start = 0;
    let old = world.network.sign(body);
    let expected = world.cut(0, &[&operation]);
    assert_eq!(world.step(gone(&old, Some(position(0, 7)))), [expected]);
    world.sign_last();
    assert_eq!(world.step(gone(&old, Some(position(0, 7)))), [], "it is under way");
    assert_eq!(world.intake.usage().queued_operations, 0, "in the new bundle, and only there");
}

#[test]
fn a_retry_joins_a_restored_bundle_and_gets_its_outcome() {
    let mut world = World::new();
    let operation = world.dated(&validate("A"));
    let mut body = world.network.bundle_of(0, 0, vec![operation.clone()]).body.clone();
    body.start = 0;
    let restored = world.network.sign(body);
    assert_eq!(world.step(Input::Restored(Arc::clone(&restored))), []);
    assert_eq!(world.submit(1, vec![validate("A")]), [], "no second bundle");
    assert_eq!(world.submit(2, vec![validate("B")]).len(), 1, "a restored bundle does not hold up new ones");
    let (results, effects) = world.order(&[&restored]);
    assert_eq!(effects, [decided(1, 0, &results[0])]);
}

#[test]
fn a_bundle_of_another_validator_is_not_restored_as_its_own() {
    let mut world = World::new();
    let operation = world.dated(&validate("A"));
    let others = world.network.bundle_of(1, 0, vec![operation]);
    assert_eq!(world.step(Input::Restored(others)), []);
    assert_eq!(world.submit(1, vec![validate("A")]).len(), 1, "whether the other's is decided it does not wait for");
}

#[test]
fn a_later_start_of_the_same_validator_stops_this_one_until_it_has_a_new_number() {
    let mut world = World::new();
    let [a, b, c] = ["A", "B", "C"].map(validate);
    world.submit(1, vec![a.clone()]);
    let lost = world.sign_last();
    world.submit(2, vec![b.clone()]);
    let effects = world.step(gone(&lost, Some(position(3, 0))));
    assert_eq!(effects, [Effect::Outrun { start: 3 }, refused(2, 0, Reason::Restarting)]);
    assert_eq!(world.submit(3, vec![c]), [refused(3, 0, Reason::Restarting)]);
    assert_eq!(world.step(Input::Started { start: 1 }), [], "that is no later start");
    let body = |operation| BundleBody {
        epoch: Epoch(0),
        origin: ValidatorIndex(0),
        start: 4,
        number: 0,
        operations: vec![world.dated(operation)],
    };
    let expected = Effect::Cut(body(&a));
    assert_eq!(world.step(Input::Started { start: 4 }), [expected], "numbers count anew");
}

#[test]
fn numbers_go_on_behind_what_a_twin_has_used() {
    let mut world = World::new();
    let a = validate("A");
    world.submit(1, vec![a.clone()]);
    let lost = world.sign_last();
    let expected = world.cut(6, &[&a]);
    assert_eq!(world.step(gone(&lost, Some(position(1, 5)))), [expected]);
}

#[test]
fn a_new_epoch_counts_anew_and_takes_over_what_is_undecided() {
    let mut world = World::new();
    let [a, b, c] = ["A", "B", "C"].map(validate);
    world.submit(1, vec![a.clone()]);
    let old = world.sign_last();
    world.submit(2, vec![b.clone()]);
    let body = |number, operations: &[&Operation]| {
        let operations = operations.iter().map(|operation| world.dated(operation)).collect();
        Effect::Cut(BundleBody { epoch: Epoch(1), origin: ValidatorIndex(2), start: 1, number, operations })
    };
    let (first, second) = (body(0, &[&b]), body(1, &[&a, &c]));
    let epoch = Input::Epoch { epoch: Epoch(1), origin: Some(ValidatorIndex(2)) };
    assert_eq!(world.step(epoch), [first]);
    assert_eq!(world.step(gone(&old, None)), []);
    world.submit(3, vec![c.clone()]);
    let bundle = world.sign_last();
    let (_, effects) = world.order(&[&bundle]);
    assert_eq!(effects[1..], [second]);
}

#[test]
fn nothing_is_cut_between_the_end_of_an_epoch_and_the_news_of_the_next() {
    let mut world = World::new();
    let a = validate("A");
    world.submit(1, vec![a.clone()]);
    let old = world.sign_last();
    assert_eq!(world.step(gone(&old, None)), [], "it would be of the old epoch again, without end");
    let effects = world.step(Input::Epoch { epoch: Epoch(1), origin: Some(ValidatorIndex(0)) });
    assert!(matches!(&effects[..], [Effect::Cut(body)] if body.epoch == Epoch(1) && body.number == 0), "{effects:?}");
}

#[test]
fn the_numbers_go_on_when_it_hears_once_more_of_the_epoch_that_it_is_in() {
    let mut world = World::new();
    world.submit(1, vec![validate("A")]);
    let first = world.sign_last();
    assert_eq!(world.step(Input::Epoch { epoch: Epoch(0), origin: Some(ValidatorIndex(0)) }), []);
    world.submit(2, vec![validate("B")]);
    let (_, effects) = world.order(&[&first]);
    let cut = effects.iter().find_map(|effect| if let Effect::Cut(body) = effect { Some(body) } else { None });
    assert_eq!(cut.map(|body| (body.epoch, body.number)), Some((Epoch(0), 1)), "{effects:?}");
}

#[test]
fn a_bundle_that_is_signed_after_its_epoch_comes_back_as_gone() {
    let mut world = World::new();
    world.submit(1, vec![validate("A")]);
    let late = world.network.sign(world.cut[0].clone());
    world.step(Input::Epoch { epoch: Epoch(1), origin: Some(ValidatorIndex(0)) });
    assert_eq!(world.step(Input::Signed(Arc::clone(&late))), []);
    let effects = world.step(gone(&late, None));
    assert!(matches!(&effects[..], [Effect::Cut(body)] if body.epoch == Epoch(1)), "{effects:?}");
}

#[test]
fn who_is_no_validator_any_more_says_so_and_knows_nothing_of_what_was_bundled() {
    let mut world = World::new();
    world.submit(1, vec![validate("A")]);
    let old = world.sign_last();
    world.submit(2, vec![validate("B")]);
    let epoch = Input::Epoch { epoch: Epoch(1), origin: None };
    assert_eq!(world.step(epoch), [refused(2, 0, Reason::NotPermitted)]);
    assert_eq!(world.step(gone(&old, None)), [unknown(1, 0)]);
    assert_eq!(world.submit(3, vec![validate("C")]), [refused(3, 0, Reason::NotPermitted)]);
    assert_eq!(world.intake.usage().operations, 0);
}

#[test]
fn a_restarted_pool_is_offered_what_is_on_its_way() {
    let mut world = World::new();
    world.submit(1, vec![validate("A")]);
    let first = world.sign_last();
    assert_eq!(world.step(Input::PoolRestarted), [Effect::Offer(Arc::clone(&first))]);
    world.order(&[&first]);
    assert_eq!(world.step(Input::PoolRestarted), []);
}
