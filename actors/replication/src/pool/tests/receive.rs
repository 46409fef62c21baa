use super::*;

#[test]
fn an_own_bundle_is_logged_then_available_then_broadcast() {
    let mut world = World::new(4);
    let bundle = world.bundle(0, 0);
    let effects = world.step(Input::Own(Arc::clone(&bundle)));
    assert_eq!(effects, [log(&bundle), available(&bundle), Effect::Broadcast(whole(&bundle))]);
    assert_eq!(world.step(Input::Own(Arc::clone(&bundle))), [], "the second time it is known");
}

#[test]
fn a_peers_bundle_is_verified_then_logged_then_available() {
    let mut world = World::new(4);
    let bundle = world.bundle(1, 0);
    assert_eq!(world.step(received(1, &bundle)), [verify(1, &bundle)]);
    assert!(world.pool.bundle(&bundle.digest).is_none(), "what is not verified is not held");
    assert_eq!(world.step(verified(1, &bundle, true)), [log(&bundle), available(&bundle)]);
    assert_eq!(world.pool.bundle(&bundle.digest), Some(&bundle));
}

#[test]
fn a_copy_costs_nothing() {
    let mut world = World::new(4);
    let bundle = world.bundle(1, 0);
    assert_eq!(world.step(received(1, &bundle)), [verify(1, &bundle)]);
    assert_eq!(world.step(received(2, &bundle)), [], "these bytes are being verified");
    assert_eq!(world.step(verified(1, &bundle, true)), [log(&bundle), available(&bundle)]);
    assert_eq!(world.step(received(3, &bundle)), [], "these bytes are held");
    let other_signature = resigned(&bundle, &world.chain);
    assert_eq!(world.step(received(3, &other_signature)), [], "this content is held");
    assert_eq!(world.step(verified(2, &bundle, true)), [], "a late verification");
}

#[test]
fn what_no_honest_peer_sends_is_blamed_on_the_sender() {
    let good = World::new(4).bundle(1, 0).bytes.clone();
    let stranger = World::new(4).bundle(4, 0).bytes.clone();
    let cases = [
        ("nothing", Vec::new(), BlameReason::MalformedBundle),
        ("an end that is cut off", good[..120].to_vec(), BlameReason::MalformedBundle),
        ("bytes left over", [&good[..], &[0]].concat(), BlameReason::MalformedBundle),
        ("an origin that is no validator", stranger, BlameReason::UnknownOrigin),
    ];
    for (what, bytes, why) in cases {
        let mut world = World::new(4);
        let input = Input::Received { from: peer(2), bytes: Arc::new(bytes) };
        assert_eq!(world.step(input), [blame(2, why)], "{what}");
    }
}

#[test]
fn a_signature_that_does_not_hold_is_blamed_on_the_sender_not_on_the_origin() {
    let mut world = World::new(4);
    let bundle = world.bundle(1, 0);
    world.step(received(2, &bundle));
    assert_eq!(world.step(verified(2, &bundle, false)), [blame(2, BlameReason::BadSignature)]);
    assert_eq!(world.accept(1, &bundle).len(), 3, "the true one is still taken");
}

#[test]
fn a_forged_copy_does_not_keep_out_the_true_one() {
    let mut world = World::new(4);
    let bundle = world.bundle(1, 0);
    let forged = resigned(&bundle, &world.chain);
    assert_eq!(world.step(received(2, &forged)), [verify(2, &forged)]);
    assert_eq!(world.step(received(1, &bundle)), [verify(1, &bundle)], "though one of this name is being verified");
    assert_eq!(world.step(verified(2, &forged, false)), [blame(2, BlameReason::BadSignature)]);
    assert_eq!(world.step(verified(1, &bundle, true)), [log(&bundle), available(&bundle)]);
}

#[test]
fn bundles_of_another_epoch_are_not_taken_and_not_blamed() {
    let mut world = World::new(4);
    let mut body = world.bundle(1, 0).body.clone();
    body.epoch = Epoch(1);
    let bundle = Bundle::sign(body, &world.chain, &KeyPair::development(SEED, "node1"));
    assert_eq!(world.step(received(1, &bundle)), [refused(1, Refusal::OtherEpoch)]);
}

#[test]
fn a_bundle_at_or_below_the_last_ordered_position_is_not_taken() {
    let mut world = World::new(4);
    assert_eq!(world.step(positions(&[(peer(1), position(2, 5))])), []);
    for (start, number, taken) in [(1, 9, false), (2, 5, false), (2, 6, true), (3, 0, true)] {
        let bundle = world.bundle_of(1, start, number, "ticket", 0);
        let expected = if taken { verify(1, &bundle) } else { refused(1, Refusal::Superseded) };
        assert_eq!(world.step(received(1, &bundle)), [expected], "start {start}, number {number}");
    }
}

#[test]
fn both_bundles_of_an_equivocating_origin_are_available_and_noted() {
    let mut world = World::new(4);
    let (first, second) = (world.bundle_of(1, 1, 0, "left", 0), world.bundle_of(1, 1, 0, "right", 0));
    world.accept(1, &first);
    world.step(received(1, &second));
    let conflict = Effect::Conflict { first: Arc::clone(&first), second: Arc::clone(&second) };
    assert_eq!(world.step(verified(1, &second, true)), [conflict, log(&second), available(&second)]);
}

#[test]
fn once_one_variant_is_ordered_the_other_is_dropped_and_reported() {
    let mut world = World::new(4);
    let (first, second) = (world.bundle_of(1, 1, 0, "left", 0), world.bundle_of(1, 1, 0, "right", 0));
    let next = world.bundle(1, 1);
    for bundle in [&first, &second, &next] {
        world.accept(1, bundle);
    }
    let effects = world.step(ordered(1, &[second.digest]));
    assert_eq!(effects, [superseded(&first, Some(position(1, 0)))]);
    assert!(world.pool.bundle(&first.digest).is_none());
    assert!(world.pool.bundle(&second.digest).is_some(), "the ordered one is kept for peers");
    assert_eq!(world.pool.usage().pending_bundles, 1, "the next one still waits");
}
