//! Each bound, reached.

use super::*;

#[test]
fn an_operation_with_parts_that_are_too_large_is_refused() {
    let mut world = World::new();
    let mut operation = validate("A");
    operation.gate = Some("g".repeat(129).into());
    let effects = world.submit(1, vec![operation, validate("B")]);
    let Effect::Answer { answer: Answer::Refused { reason: Reason::TooLarge, detail: Some(detail) }, .. } = &effects[0]
    else {
        panic!("{effects:?}")
    };
    assert!(detail.contains("the gate's name"), "{detail}");
    assert_eq!(world.cut[0].operations.len(), 1, "the other is taken");
}

#[test]
fn a_request_has_so_many_operations() {
    let mut world = World::with(|limits| limits.request_operations_max = 2);
    let operations = ["A", "B", "C"].map(validate).to_vec();
    let too_large = |index| (1, index, Reason::TooLarge);
    assert_eq!(reasons(&world.submit(1, operations.clone())), [too_large(0), too_large(1), too_large(2)]);
    assert_eq!(world.submit(2, operations[..2].to_vec()).len(), 1, "these are cut");
}

#[test]
fn so_many_operations_are_under_way() {
    let mut world = World::with(|limits| limits.operations_max = 2);
    world.submit(1, vec![validate("A")]);
    let own = world.sign_last();
    assert_eq!(world.submit(2, vec![validate("B"), validate("C")]), [refused(2, 1, Reason::Overloaded)]);
    assert_eq!(world.submit(3, vec![validate("B")]), [], "who joins takes no place");
    world.order(&[&own]);
    assert_eq!(world.submit(4, vec![validate("C")]), [], "what is decided makes room");
}

#[test]
fn so_many_bytes_are_queued() {
    let (_, bytes) = measure(&validate("A"));
    let mut world = World::with(|limits| limits.queued_bytes_max = 2 * bytes);
    world.submit(1, vec![validate("A")]);
    let effects = world.submit(2, ["B", "C", "D"].map(validate).to_vec());
    assert_eq!(effects, [refused(2, 2, Reason::Overloaded)]);
    assert_eq!(world.intake.usage().queued_bytes, 2 * bytes);
}

#[test]
fn so_many_wait_for_one_operation() {
    let mut world = World::with(|limits| limits.waiters_per_operation_max = 2);
    let operation = validate("A");
    for request in 1..=2 {
        world.submit(request, vec![operation.clone()]);
    }
    let effects = world.submit(3, vec![operation.clone()]);
    assert_eq!(reasons(&effects), [(3, 0, Reason::InProgress)], "503 would say that it is in no bundle");
    world.step(Input::Withdraw { request: RequestId(1) });
    assert_eq!(world.submit(4, vec![operation]), [], "there is a place again");
}

#[test]
fn so_many_places_wait() {
    let mut world = World::with(|limits| limits.waiters_max = 2);
    let effects = world.submit(1, ["A", "B", "C", "A"].map(validate).to_vec());
    assert_eq!(reasons(&effects), [(1, 2, Reason::Overloaded), (1, 3, Reason::InProgress)]);
    assert_eq!(world.intake.usage().waiters, 2);
}

#[test]
fn operations_that_are_given_up_while_nothing_moves_leave_nothing_behind() {
    let mut world = World::new();
    world.submit(0, vec![validate("the first")]);
    for request in 1..5_000 {
        let operations = vec![validate(&format!("T{request}"))];
        world.step(Input::Submit { request: RequestId(request), operations, wait_ms: 1 });
        world.pass_ms(1);
    }
    assert_eq!(world.intake.usage().operations, 1);
    assert!(world.intake.queue.listed() <= 1_024, "{} dead entries", world.intake.queue.listed());
}

#[test]
#[should_panic(expected = "is under way already")]
fn two_requests_never_have_one_name() {
    let mut world = World::new();
    world.submit(1, vec![validate("A")]);
    world.submit(1, vec![validate("B")]);
}

#[test]
#[should_panic(expected = "one result for each operation")]
fn a_block_whose_results_do_not_fit_its_bundles_is_a_broken_invariant() {
    let mut world = World::new();
    world.submit(1, vec![validate("A")]);
    let own = world.sign_last();
    let (effects, _) = world.network.order(WALL, vec![own]);
    world.step(Input::Decided { bundles: Vec::new(), effects });
}

#[test]
fn the_limits_of_the_product_fit_together() {
    use dtvn_messages::limits::*;
    const { assert!(INTAKE_OPERATIONS_MAX >= 2 * INTAKE_BUNDLES_ON_WAY_MAX * BUNDLE_OPERATIONS_MAX) };
    const { assert!(INTAKE_QUEUED_BYTES_MAX >= INTAKE_BUNDLES_ON_WAY_MAX * BUNDLE_BYTES_MAX) };
    const { assert!(INTAKE_WAITERS_MAX >= INTAKE_OPERATIONS_MAX) };
    const { assert!(BUNDLE_OPERATIONS_MAX <= BLOCK_OPERATIONS_MAX && BUNDLE_BYTES_MAX <= BLOCK_BYTES_MAX) };
}

/// What a validator's wish to be recovered is taken in as.
fn recovery(validator: &str, nonce: u8) -> Vec<Input> {
    let body = Recovery { epoch: Epoch(0), validator: NodeName::new(validator).unwrap(), nonce: Nonce([nonce; 16]) };
    crate::recovery::taken_in(SignedRecovery { body, signature: Signature([1; 64]) }).into()
}

#[test]
fn a_validator_that_asks_for_recoveries_without_end_takes_one_place_and_hinders_nobody() {
    let mut world = World::with(|limits| limits.operations_max = 4);
    world.submit(1, vec![validate("A")]);
    let take = |world: &mut World, inputs: Vec<Input>| inputs.into_iter().for_each(|input| drop(world.step(input)));
    for nonce in 0..200 {
        take(&mut world, recovery("node1", nonce));
    }
    assert_eq!(world.intake.usage().operations, 2, "that of a client, and one recovery");
    take(&mut world, recovery("node2", 0));
    assert_eq!(world.intake.usage().operations, 3, "another validator has its own place, also with the same nonce");
    assert_eq!(world.submit(2, vec![validate("B")]), [], "clients find room");
    let own = world.sign_last();
    world.order(&[&own]);
    world.pass_ms(limits::RECOVERY_TAKEN_INTERVAL_MS);
    let before = world.intake.usage().operations;
    take(&mut world, recovery("node1", 201));
    assert_eq!(world.intake.usage().operations, before + 1, "later it may ask again");
}

#[test]
fn a_node_that_is_behind_by_more_than_so_many_blocks_or_may_not_vote_takes_nothing() {
    let genesis = dtvn_messages::Genesis::development(4, "behind", false).unwrap();
    let config = dtvn_pbft::Config::from_genesis(&genesis, None);
    let shown = dtvn_pbft::Replica::new(config, dtvn_pbft::Base::genesis(&genesis), false).show();
    for (behind, voting, expected) in [
        (0, true, false),
        (limits::INTAKE_SYNCING_BLOCKS, true, false),
        (limits::INTAKE_SYNCING_BLOCKS + 1, true, true),
        (limits::INTAKE_SYNCING_BLOCKS + 2, true, true),
        (0, false, true),
    ] {
        let shown = dtvn_pbft::ReplicaView { proved: shown.committed.plus(behind), voting, ..shown };
        assert_eq!(crate::intake::is_syncing(&shown), expected, "{behind} blocks behind");
    }
}
