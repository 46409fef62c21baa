//! Relays, peers that come back, checkpoints, restarts and epochs.

use super::*;

#[test]
fn a_relayed_bundle_is_sent_to_the_leader_and_announced_to_all() {
    let mut world = World::new(4);
    let bundle = world.bundle(1, 0);
    world.accept(1, &bundle);
    let relay = Input::Relay { digests: vec![bundle.digest, digest(9)], leader: peer(3) };
    let to_all = Effect::Broadcast(PeerMessage::AnnounceBundles(vec![bundle.digest]));
    assert_eq!(world.step(relay.clone()), [send_bundle(3, &bundle), to_all.clone()]);
    let own_turn = Input::Relay { digests: vec![bundle.digest], leader: peer(0) };
    assert_eq!(world.step(own_turn), std::slice::from_ref(&to_all), "this node is the leader");
    world.step(announced(3, &[bundle.digest]));
    assert_eq!(world.step(relay), [to_all], "a leader that has it is spared the copy");
}

#[test]
fn a_relay_sends_the_leader_no_more_than_its_share_of_an_interval() {
    let mut world = World::new(4);
    let bundles = [world.bundle(1, 0), world.bundle(1, 1)];
    world = World::with(4, |limits| limits.serve_interval_bytes_max = bundles[0].bytes.len());
    bundles.iter().for_each(|bundle| drop(world.accept(1, bundle)));
    let digests = bundles.each_ref().map(|bundle| bundle.digest).to_vec();
    let effects = world.step(Input::Relay { digests: digests.clone(), leader: peer(3) });
    let to_all = Effect::Broadcast(PeerMessage::AnnounceBundles(digests));
    assert_eq!(effects, [send_bundle(3, &bundles[0]), to_all], "it can fetch the rest");
}

#[test]
fn what_is_ordered_is_not_relayed() {
    let mut world = World::new(4);
    let bundle = world.bundle(1, 0);
    world.accept(1, &bundle);
    world.step(ordered(1, &[bundle.digest]));
    assert_eq!(world.step(Input::Relay { digests: vec![bundle.digest], leader: peer(3) }), []);
}

#[test]
fn a_peer_that_comes_up_gets_the_own_bundles_and_hears_of_the_others() {
    let mut world = World::new(4);
    let (own, second, third) = (world.bundle(0, 0), world.bundle(2, 0), world.bundle(3, 0));
    let done = world.bundle(1, 0);
    world.step(Input::Own(Arc::clone(&own)));
    for (origin, bundle) in [(2, &second), (3, &third), (1, &done)] {
        world.accept(origin, bundle);
    }
    world.step(ordered(1, &[done.digest]));
    assert_eq!(
        world.step(Input::PeerUp(peer(2))),
        [send_bundle(2, &own), announce(2, &[third.digest])],
        "it is not told of its own, nor of what is ordered"
    );
    assert_eq!(world.step(Input::PeerUp(peer(0))), [], "this node is no peer");
    assert_eq!(world.step(Input::PeerUp(peer(4))), [], "a stranger is no peer");
}

#[test]
fn a_peer_that_comes_up_may_have_lost_what_it_held() {
    let mut world = World::new(4);
    let bundle = world.bundle(1, 0);
    world.accept(1, &bundle);
    world.step(announced(3, &[bundle.digest]));
    world.step(Input::PeerUp(peer(3)));
    let effects = world.step(Input::Relay { digests: vec![bundle.digest], leader: peer(3) });
    assert_eq!(effects[0], send_bundle(3, &bundle));
}

#[test]
fn ordered_bundles_are_served_until_their_checkpoint_is_stable() {
    let mut world = World::new(4);
    let (low, high) = (world.bundle(1, 0), world.bundle(1, 1));
    for (height, bundle) in [(7, &low), (8, &high)] {
        world.accept(1, bundle);
        world.step(ordered(height, &[bundle.digest]));
    }
    let fetch = || Input::Fetch { from: peer(2), digests: vec![low.digest, high.digest] };
    assert_eq!(world.step(fetch()), [send_bundle(2, &low), send_bundle(2, &high)]);
    world.step(Input::Stable { height: Height(7) });
    assert_eq!(world.step(fetch()), [send_bundle(2, &high)]);
    assert_eq!(world.pool.usage().retained_bytes, high.bytes.len());
}

#[test]
fn a_restored_bundle_is_available_without_being_logged_again() {
    let mut world = World::with(4, |limits| limits.origin_bundles_max = 1);
    world.accept(1, &world.bundle(1, 1));
    let bundle = world.bundle(1, 0);
    assert_eq!(world.step(Input::Restored(Arc::clone(&bundle))), [available(&bundle)], "whatever the bounds say");
    assert_eq!(world.step(Input::Restored(Arc::clone(&bundle))), [], "once");
    assert_eq!(world.pool.usage().reserve_bytes, bundle.bytes.len().max(world.pool.limits.reserved_bytes_min));
    world.step(Input::Release { digests: vec![bundle.digest, world.bundle(1, 1).digest] });
    assert_eq!(world.pool.usage().reserve_bytes, 0, "what was beyond the share may be given up as before");
    world.step(positions(&[(peer(2), position(1, 4))]));
    assert_eq!(world.step(Input::Restored(world.bundle(2, 4))), [], "it is over");
}

#[test]
fn positions_drop_what_they_pass_and_report_it() {
    let mut world = World::new(4);
    let bundles =
        [world.bundle_of(1, 1, 3, "a", 0), world.bundle_of(1, 2, 0, "b", 0), world.bundle_of(1, 2, 1, "c", 0)];
    bundles.iter().for_each(|bundle| drop(world.accept(1, bundle)));
    let last = position(2, 0);
    assert_eq!(
        world.step(positions(&[(peer(1), last)])),
        [superseded(&bundles[0], Some(last)), superseded(&bundles[1], Some(last))]
    );
    assert_eq!(world.step(received(1, &bundles[0])), [refused(1, Refusal::Superseded)]);
    assert_eq!(world.step(positions(&[(peer(1), position(1, 0))])), [], "positions never go back");
    assert_eq!(world.step(received(1, &bundles[1])), [refused(1, Refusal::Superseded)]);
}

#[test]
fn an_own_bundle_that_comes_too_late_is_reported() {
    let mut world = World::new(4);
    let last = position(2, 0);
    world.step(positions(&[(peer(0), last)]));
    let bundle = world.bundle(0, 5);
    assert_eq!(world.step(Input::Own(Arc::clone(&bundle))), [superseded(&bundle, Some(last))]);
}

#[test]
fn a_restarted_replica_hears_of_all_that_is_pending() {
    let mut world = World::new(4);
    let (own, other, done) = (world.bundle(0, 0), world.bundle(2, 0), world.bundle(1, 0));
    world.step(Input::Own(Arc::clone(&own)));
    world.accept(2, &other);
    world.accept(1, &done);
    world.step(ordered(1, &[done.digest]));
    assert_eq!(world.step(Input::ReplicaRestarted), [available(&own), available(&other)]);
}

#[test]
fn a_new_epoch_begins_with_nothing_pending() {
    let mut world = World::new(4);
    let (own, other, done) = (world.bundle(0, 0), world.bundle(2, 0), world.bundle(1, 0));
    world.step(Input::Own(Arc::clone(&own)));
    world.accept(2, &other);
    world.accept(1, &done);
    world.step(ordered(1, &[done.digest]));
    world.step(want(&[digest(1)], &[1]));
    let (late, validators) = (world.bundle(3, 0), Arc::new(genesis(4).validators().clone()));
    world.step(received(3, &late));
    let effects = world.step(Input::Epoch { epoch: Epoch(1), validators, own: Some(peer(0)) });
    assert_eq!(effects, [superseded(&own, None), superseded(&other, None)]);
    assert!(world.pool.bundle(&done.digest).is_some(), "what was ordered is still served");
    assert_eq!(world.step(verified(3, &late, true)), [refused(3, Refusal::OtherEpoch)]);
    assert_eq!(world.pass_ms(10_000), [], "nothing of the old epoch is looked for");
    let mut body = done.body.clone();
    body.epoch = Epoch(1);
    let first = Bundle::sign(body, &world.chain, &KeyPair::development(SEED, "node1"));
    assert_eq!(world.accept(1, &first).len(), 3, "positions count anew");
}

#[test]
fn what_a_verifier_that_was_restarted_has_lost_is_asked_for_again_at_once() {
    let mut world = World::new(4);
    let (wanted, other) = (world.bundle(1, 0), world.bundle(2, 0));
    world.step(want(&[wanted.digest], &[1, 3]));
    assert_eq!(world.pass_ms(10), [ask(1, &[wanted.digest])]);
    assert_eq!(world.step(received(1, &wanted)), [verify(1, &wanted)]);
    assert_eq!(world.step(received(2, &other)), [verify(2, &other)]);
    assert_eq!(world.step(Input::VerifierRestarted), []);
    assert_eq!(world.pass_ms(0), [ask(3, &[wanted.digest])]);
    assert_eq!(world.step(received(3, &wanted)), [verify(3, &wanted)]);
    assert_eq!(world.step(received(2, &other)), [verify(2, &other)], "a copy is looked at again");
    // What another worker had checked meanwhile is as good.
    let effects = world.step(verified(1, &wanted, true));
    assert_eq!(effects, [log(&wanted), available(&wanted)]);
}

#[test]
fn a_signature_that_was_judged_in_another_epoch_is_nobodys_lie() {
    let mut world = World::new(4);
    let bundle = world.bundle(1, 0);
    world.step(received(1, &bundle));
    let validators = Arc::new(genesis(4).validators().clone());
    world.step(Input::Epoch { epoch: Epoch(1), validators, own: Some(peer(0)) });
    assert_eq!(world.step(verified(1, &bundle, false)), [refused(1, Refusal::OtherEpoch)]);
}

#[test]
fn the_epoch_that_it_is_in_already_changes_nothing() {
    let mut world = World::new(4);
    let own = world.bundle(0, 0);
    world.step(Input::Own(Arc::clone(&own)));
    let validators = Arc::new(genesis(4).validators().clone());
    assert_eq!(world.step(Input::Epoch { epoch: Epoch(0), validators, own: Some(peer(0)) }), []);
    assert_eq!(world.step(Input::ReplicaRestarted), [available(&own)]);
}

#[test]
fn positions_of_another_epoch_say_nothing() {
    let mut world = World::new(4);
    let validators = Arc::new(genesis(4).validators().clone());
    world.step(Input::Epoch { epoch: Epoch(1), validators, own: Some(peer(0)) });
    let mut body = world.bundle(0, 0).body.clone();
    body.epoch = Epoch(1);
    let first = Bundle::sign(body, &world.chain, &KeyPair::development(SEED, "node0"));
    world.step(positions(&[(peer(0), position(1, 7))]));
    assert_eq!(
        world.step(Input::Own(Arc::clone(&first))),
        [log(&first), available(&first), Effect::Broadcast(whole(&first))]
    );
}

#[test]
fn an_own_bundle_of_the_next_epoch_waits_for_it() {
    let mut world = World::new(4);
    let mut body = world.bundle(0, 0).body.clone();
    body.epoch = Epoch(1);
    let early = Bundle::sign(body, &world.chain, &KeyPair::development(SEED, "node0"));
    assert_eq!(world.step(Input::Own(Arc::clone(&early))), []);
    let validators = Arc::new(genesis(4).validators().clone());
    let effects = world.step(Input::Epoch { epoch: Epoch(1), validators, own: Some(peer(0)) });
    assert_eq!(effects, [log(&early), available(&early), Effect::Broadcast(whole(&early))]);
}

#[test]
fn an_own_bundle_of_an_epoch_that_is_over_is_reported() {
    let mut world = World::new(4);
    let late = world.bundle(0, 0);
    let validators = Arc::new(genesis(4).validators().clone());
    world.step(Input::Epoch { epoch: Epoch(1), validators, own: Some(peer(0)) });
    assert_eq!(world.step(Input::Own(Arc::clone(&late))), [superseded(&late, None)]);
}
