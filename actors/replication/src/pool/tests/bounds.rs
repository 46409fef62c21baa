//! Each bound, reached.

use super::*;

/// The length of a bundle of one operation with `data_bytes` of data.
fn length(data_bytes: usize) -> usize {
    World::new(4).bundle_of(1, 1, 0, "ticket", data_bytes).bytes.len()
}

#[test]
fn an_origin_has_its_share_in_bundles() {
    let mut world = World::with(4, |limits| limits.origin_bundles_max = 2);
    for number in 0..2 {
        assert_eq!(world.accept(1, &world.bundle(1, number)).len(), 3);
    }
    assert_eq!(world.step(received(1, &world.bundle(1, 2))), [refused(1, Refusal::ShareFull)]);
    assert_eq!(world.accept(2, &world.bundle(2, 0)).len(), 3, "another origin has its own share");
    world.step(ordered(1, &[world.bundle(1, 0).digest]));
    assert_eq!(world.accept(1, &world.bundle(1, 2)).len(), 3, "what is ordered makes room");
}

#[test]
fn the_share_holds_for_bundles_that_are_verified_at_the_same_time() {
    let mut world = World::with(4, |limits| limits.origin_bundles_max = 1);
    let (first, second) = (world.bundle(1, 0), world.bundle(1, 1));
    world.step(received(1, &first));
    world.step(received(1, &second));
    world.step(verified(1, &first, true));
    assert_eq!(world.step(verified(1, &second, true)), [refused(1, Refusal::ShareFull)]);
}

#[test]
fn an_origin_has_its_share_in_bytes() {
    let mut world = World::with(4, |limits| {
        limits.origin_bytes_max = 2 * length(100);
        limits.bundle_bytes_max = length(100);
    });
    for number in 0..2 {
        assert_eq!(world.accept(1, &world.bundle_of(1, 1, number, "ticket", 100)).len(), 3);
    }
    let least = world.bundle_of(1, 1, 2, "t", 0);
    assert_eq!(world.step(received(1, &least)), [refused(1, Refusal::ShareFull)]);
}

#[test]
fn shares_add_up_to_the_total() {
    let total = 8 * length(0) + 3;
    let mut world = World::with(4, |limits| {
        limits.bytes_max = total;
        limits.bundle_bytes_max = length(0);
    });
    for origin in 0..4 {
        for number in 0..10 {
            let bundle = world.bundle(origin, number);
            if origin != 0 {
                world.accept(origin, &bundle);
            } else if number < 2 {
                world.step(Input::Own(bundle));
            }
        }
    }
    let usage = world.pool.usage();
    assert_eq!((usage.pending_bundles, usage.pending_bytes), (8, 8 * length(0)), "two of each origin, and no more");
}

#[test]
fn accepted_bundles_stay_whatever_else_arrives() {
    let mut world = World::with(4, |limits| limits.origin_bundles_max = 2);
    let accepted = [world.bundle(1, 0), world.bundle(1, 1)];
    for bundle in &accepted {
        world.accept(1, bundle);
    }
    for number in 2..50 {
        world.step(received(1, &world.bundle(1, number)));
    }
    assert!(accepted.iter().all(|bundle| world.pool.bundle(&bundle.digest).is_some()));
}

#[test]
fn a_third_variant_is_only_taken_if_a_proposal_names_it() {
    let mut world = World::new(4);
    for ticket in ["a", "b"] {
        world.accept(1, &world.bundle_of(1, 1, 0, ticket, 0));
    }
    let third = world.bundle_of(1, 1, 0, "c", 0);
    assert_eq!(world.step(received(1, &third)), [refused(1, Refusal::TooManyVariants)]);
    world.step(want(&[third.digest], &[2]));
    let effects = world.accept(2, &third);
    assert!(effects.contains(&available(&third)), "{effects:?}");
}

#[test]
fn what_a_proposal_names_is_taken_from_the_reserve_until_that_is_full() {
    let mut world = World::with(4, |limits| {
        limits.origin_bundles_max = 1;
        limits.reserve_bytes_max = 0;
        limits.reserve_part_bytes_min = 2 * length(0);
        limits.reserved_bytes_min = 0;
    });
    world.accept(1, &world.bundle(1, 0));
    let beyond: Vec<_> = (1..4).map(|number| world.bundle(1, number)).collect();
    world.step(want(&beyond.iter().map(|bundle| bundle.digest).collect::<Vec<_>>(), &[2]));
    for bundle in &beyond[..2] {
        assert_eq!(world.accept(2, bundle)[1..], [log(bundle), available(bundle)]);
    }
    assert_eq!(world.pool.usage().reserve_bytes, 2 * length(0));
    let held = sorted(&[&beyond[0], &beyond[1]]);
    let full = [Effect::ReserveFull { held }, refused(2, Refusal::ReserveFull)];
    assert_eq!(world.accept(2, &beyond[2])[1..], full);
    world.step(ordered(1, &[world.bundle(1, 0).digest, beyond[0].digest]));
    assert_eq!(world.pool.usage().reserve_bytes, length(0), "what is ordered makes room");
    assert_eq!(world.pass_ms(250), [ask(2, &[beyond[2].digest])], "it is still wanted");
    assert_eq!(world.accept(2, &beyond[2])[1..], [log(&beyond[2]), available(&beyond[2])]);
}

#[test]
fn what_a_quorum_voted_for_is_taken_although_a_liar_has_filled_share_and_reserve() {
    let mut world = World::with(4, |limits| {
        limits.origin_bundles_max = 1;
        limits.reserve_bytes_max = 0;
        limits.reserve_part_bytes_min = length(0);
        limits.reserved_bytes_min = 0;
    });
    // Its share, with a number that nothing can ever come before; and the reserve, by a proposal that was never good.
    world.accept(1, &world.bundle(1, 7));
    let (junk, voted) = (world.bundle(1, 9), world.bundle(1, 0));
    world.step(want(&[junk.digest], &[1]));
    assert_eq!(world.accept(1, &junk)[1..], [log(&junk), available(&junk)]);
    world.step(want_for(Some(1), &[voted.digest], &[1]));
    let full = [Effect::ReserveFull { held: vec![junk.digest] }, refused(1, Refusal::ReserveFull)];
    assert_eq!(world.accept(1, &voted)[1..], full, "as long as it is a leader's word only");
    world.step(want_for(None, &[voted.digest], &[2]));
    assert_eq!(world.pass_ms(250), [ask(2, &[voted.digest])]);
    assert_eq!(world.accept(2, &voted)[1..], [log(&voted), available(&voted)]);
    let next = world.bundle(1, 1);
    world.step(want_for(Some(3), &[next.digest], &[3]));
    assert!(world.accept(3, &next).contains(&available(&next)), "what is proved takes no leader's part");
}

#[test]
fn what_one_leader_had_fetched_leaves_the_others_their_parts_of_the_reserve() {
    let mut world = World::with(4, |limits| {
        limits.origin_bundles_max = 1;
        limits.reserve_bytes_max = 8 * length(0);
        limits.reserve_part_bytes_min = 0;
        limits.reserved_bytes_min = 0;
    });
    world.accept(1, &world.bundle(1, 7));
    let [first, second, third, good] = [8, 9, 10, 0].map(|number| world.bundle(1, number));
    // All of it is vouched for: the replica gives none of it up.
    world.step(want_for(Some(1), &[first.digest, second.digest, third.digest], &[1]));
    assert!(world.accept(1, &first).contains(&available(&first)));
    assert!(world.accept(1, &second).contains(&available(&second)));
    assert!(world.accept(1, &third).contains(&refused(1, Refusal::ReserveFull)), "a quarter of the reserve is full");
    world.step(Input::Unwant { digests: vec![third.digest] });
    world.step(want_for(Some(2), &[good.digest], &[2]));
    assert!(world.accept(2, &good).contains(&available(&good)), "what an honest leader proposes finds room");
    // Named by two leaders, it is the last one's.
    world.step(want_for(Some(1), &[third.digest], &[1]));
    world.step(want_for(Some(3), &[third.digest], &[3]));
    assert!(world.accept(3, &third).contains(&available(&third)));
}

#[test]
fn what_the_replica_can_do_without_makes_room_in_the_reserve_and_may_come_again() {
    let mut world = World::with(4, |limits| {
        limits.origin_bundles_max = 1;
        limits.reserve_bytes_max = 0;
        limits.reserve_part_bytes_min = 2 * length(0);
        limits.reserved_bytes_min = 0;
    });
    world.accept(1, &world.bundle(1, 7));
    let junk = [world.bundle(1, 8), world.bundle(1, 9)];
    let good = world.bundle(1, 0);
    world.step(want(&[junk[0].digest, junk[1].digest], &[1]));
    junk.iter().for_each(|junk| drop(world.accept(1, junk)));
    world.step(want_for(Some(1), &[good.digest], &[2]));
    let held = sorted(&[&junk[0], &junk[1]]);
    let is_asked = |effects: Vec<Effect>| effects.contains(&Effect::ReserveFull { held: held.clone() });
    assert!(is_asked(world.accept(2, &good)));
    world.pass_ms(world.pool.limits.room_asked_ms - 1);
    assert!(!is_asked(world.accept(2, &good)), "it takes a look at everything: not again at once");
    world.pass_ms(1);
    assert!(is_asked(world.accept(2, &good)), "the replica may not have been there");
    world.step(Input::Release { digests: vec![junk[0].digest] });
    assert_eq!(world.pool.usage().reserve_bytes, length(0));
    assert_eq!(world.pool.bundle(&junk[0].digest), None);
    assert_eq!(world.pool.bundle(&junk[1].digest), Some(&junk[1]), "this one it needs");
    world.pass_ms(250);
    assert!(world.accept(2, &good).contains(&available(&good)));
    world.step(ordered(1, &[good.digest]));
    world.step(want(&[junk[0].digest], &[1]));
    assert!(world.accept(1, &junk[0]).contains(&available(&junk[0])), "a later proposal may name it after all");
}

#[test]
fn very_many_short_bundles_fill_the_reserve_like_long_ones() {
    let mut world = World::with(4, |limits| {
        limits.origin_bundles_max = 1;
        limits.reserve_bytes_max = 0;
        limits.reserve_part_bytes_min = 10 * limits.reserved_bytes_min;
    });
    world.accept(1, &world.bundle(1, 0));
    let junk: Vec<_> = (1..20).map(|number| world.bundle(1, number)).collect();
    world.step(want(&junk.iter().map(|bundle| bundle.digest).collect::<Vec<_>>(), &[2]));
    let taken = junk.iter().filter(|bundle| world.accept(2, bundle).contains(&available(bundle))).count();
    assert_eq!(taken, 10);
    assert_eq!(world.pool.usage().reserve_bytes, world.pool.limits.reserve_part_bytes_min);
    world.step(Input::Release { digests: junk.iter().map(|bundle| bundle.digest).collect() });
    assert_eq!(world.pool.usage().reserve_bytes, 0);
}

#[test]
fn what_is_in_its_origins_share_is_not_released_and_what_is_held_is_told_again_to_who_wants_it() {
    let mut world = World::new(4);
    let held = world.bundle(1, 0);
    world.accept(1, &held);
    world.step(Input::Release { digests: vec![held.digest] });
    assert_eq!(world.pool.bundle(&held.digest), Some(&held));
    assert_eq!(world.step(want(&[held.digest], &[2])), [available(&held)]);
    world.step(ordered(1, &[held.digest]));
    assert_eq!(world.step(want(&[held.digest], &[2])), []);
}

fn sorted(bundles: &[&Arc<Bundle>]) -> Vec<Digest> {
    let mut digests: Vec<Digest> = bundles.iter().map(|bundle| bundle.digest).collect();
    digests.sort();
    digests
}

#[test]
fn a_sender_has_so_many_bundles_under_verification() {
    let mut world = World::with(4, |limits| limits.unverified_bundles_per_peer_max = 2);
    for number in 0..2 {
        world.step(received(2, &world.bundle(1, number)));
    }
    let third = world.bundle(1, 2);
    assert_eq!(world.step(received(2, &third)), [refused(2, Refusal::TooManyUnverified)]);
    assert_eq!(world.step(received(1, &third)), [verify(1, &third)], "another sender is not held up");
    world.step(verified(2, &world.bundle(1, 0), false));
    let fourth = world.bundle(1, 3);
    assert_eq!(world.step(received(2, &fourth)), [verify(2, &fourth)], "what is verified makes room");
}

#[test]
fn what_was_asked_for_only_counts_in_bytes() {
    let mut world = World::with(4, |limits| {
        limits.unverified_bundles_per_peer_max = 0;
        limits.unverified_bytes_per_peer_max = 2 * length(0);
    });
    let bundles: Vec<_> = (0..3).map(|number| world.bundle(1, number)).collect();
    world.step(want(&bundles.iter().map(|bundle| bundle.digest).collect::<Vec<_>>(), &[2]));
    assert_eq!(world.step(received(2, &bundles[0])), [verify(2, &bundles[0])]);
    assert_eq!(world.step(received(2, &bundles[1])), [verify(2, &bundles[1])]);
    assert_eq!(world.step(received(2, &bundles[2])), [refused(2, Refusal::TooManyUnverified)]);
    assert_eq!(world.pass_ms(250), [ask(2, &[bundles[2].digest])], "it is still wanted");
}

#[test]
fn a_verification_that_never_ends_is_given_up() {
    let mut world = World::with(4, |limits| limits.unverified_bundles_per_peer_max = 1);
    world.step(received(1, &world.bundle(1, 0)));
    let second = world.bundle(1, 1);
    world.pass_ms(4_999);
    assert_eq!(world.step(received(1, &second)), [refused(1, Refusal::TooManyUnverified)]);
    world.pass_ms(1);
    assert_eq!(world.step(received(1, &second)), [verify(1, &second)]);
}

#[test]
fn ordered_bundles_beyond_the_bound_go_lowest_height_first() {
    let mut world = World::with(4, |limits| limits.retained_bytes_max = 2 * length(0));
    for number in 0..3 {
        let bundle = world.bundle(1, number);
        world.accept(1, &bundle);
        world.step(ordered(number + 1, &[bundle.digest]));
    }
    let held = |number| world.pool.bundle(&world.bundle(1, number).digest).is_some();
    assert_eq!([held(0), held(1), held(2)], [false, true, true]);
    assert_eq!(world.pool.usage().retained_bytes, 2 * length(0));
}

#[test]
fn the_replica_is_told_what_it_wants_too_much() {
    let mut world = World::with(4, |limits| limits.wants_max = 2);
    world.step(want(&[digest(1)], &[1]));
    let refused = Effect::WantRefused { digests: vec![digest(3)] };
    assert_eq!(world.step(want(&[digest(1), digest(2), digest(3)], &[1])), [refused]);
    world.step(Input::Unwant { digests: vec![digest(1)] });
    assert_eq!(world.step(want(&[digest(3)], &[1])), [], "there is room again");
}

#[test]
fn a_peer_is_asked_for_so_many_bundles_at_once() {
    let mut world = World::with(3, |limits| limits.fetches_per_peer_max = 2);
    let digests: Vec<Digest> = (0..5).map(digest).collect();
    world.step(want(&digests, &[1]));
    let mut expected = digests.clone();
    expected.sort();
    let asks = world.pass_ms(10);
    assert_eq!(asks, [ask(1, &expected[..2]), ask(2, &expected[2..4])], "what is too much for one is asked of others");
}

#[test]
fn what_a_peer_announces_beyond_the_bound_is_ignored() {
    let mut world = World::with(4, |limits| limits.announced_per_peer_max = 2);
    world.step(announced(1, &[digest(1), digest(2), digest(3)]));
    assert_eq!(world.pool.usage().searches, 2);
    world.step(announced(2, &[digest(3)]));
    assert_eq!(world.pool.usage().searches, 3, "another peer is not held up");
    // What has come counts no longer.
    let come = [world.bundle(1, 0), world.bundle(1, 1)];
    world.step(announced(3, &[come[0].digest, come[1].digest, digest(4)]));
    assert_eq!(world.pool.usage().searches, 5);
    come.iter().for_each(|bundle| drop(world.accept(3, bundle)));
    world.step(announced(3, &[digest(5), digest(6), digest(7)]));
    assert_eq!(world.pool.usage().searches, 5);
}

#[test]
fn one_answer_has_so_many_bytes() {
    let mut world = World::with(4, |limits| limits.serve_answer_bytes_max = 2 * length(0) + 1);
    let bundles: Vec<_> = (0..3).map(|number| world.bundle(0, number)).collect();
    bundles.iter().for_each(|bundle| drop(world.step(Input::Own(Arc::clone(bundle)))));
    let digests = bundles.iter().map(|bundle| bundle.digest).collect();
    let answer = world.step(Input::Fetch { from: peer(2), digests });
    assert_eq!(answer, [send_bundle(2, &bundles[0]), send_bundle(2, &bundles[1])]);
}

#[test]
fn a_peer_is_served_so_many_bytes_in_an_interval() {
    let mut world = World::with(4, |limits| limits.serve_interval_bytes_max = 2 * length(0));
    let bundle = world.bundle(0, 0);
    world.step(Input::Own(Arc::clone(&bundle)));
    let fetch = |from| Input::Fetch { from: peer(from), digests: vec![bundle.digest] };
    for _ in 0..2 {
        assert_eq!(world.step(fetch(2)), [send_bundle(2, &bundle)]);
    }
    assert_eq!(world.step(fetch(2)), []);
    assert_eq!(world.step(fetch(3)), [send_bundle(3, &bundle)], "another peer is not held up");
    world.pass_ms(999);
    assert_eq!(world.step(fetch(2)), []);
    world.pass_ms(1);
    assert_eq!(world.step(fetch(2)), [send_bundle(2, &bundle)]);
}

#[test]
fn intake_hears_when_its_share_is_full_and_when_not() {
    let mut world = World::with(4, |limits| {
        limits.origin_bytes_max = 3 * length(0);
        limits.bundle_bytes_max = length(0);
    });
    for number in 0..2 {
        assert_eq!(world.step(Input::Own(world.bundle(0, number))).len(), 3);
    }
    let third = world.bundle(0, 2);
    let told = world.step(Input::Own(Arc::clone(&third)));
    assert_eq!(told[..2], [log(&third), available(&third)], "an own bundle is taken: its number may not be left out");
    assert_eq!(told[3..], [Effect::Full(true)]);
    assert_eq!(world.step(ordered(1, &[world.bundle(0, 0).digest])), [Effect::Full(false)]);
}

#[test]
fn the_limits_of_the_product_fit_together() {
    use dtvn_messages::limits::*;
    let limits = PoolLimits::default();
    for validators in 1..=VALIDATORS_MAX {
        let share = limits.share_bytes(validators);
        assert!(share >= 2 * BUNDLE_BYTES_MAX, "{validators} validators: full bundles fit");
        assert!(share * validators <= POOL_BYTES_MAX);
    }
    const { assert!(POOL_SERVE_ANSWER_BYTES_MAX >= BLOCK_BYTES_MAX, "one answer serves one block") };
    // The most that a block counts: all its bytes in a few long bundles, and as many short ones as it may have beside them.
    let long = BLOCK_BYTES_MAX / BUNDLE_BYTES_MAX;
    let block = BLOCK_BYTES_MAX + (BLOCK_BUNDLES_MAX - long) * POOL_RESERVED_BYTES_MIN;
    for validators in 1..=VALIDATORS_MAX {
        assert!(limits.reserve_part_bytes(validators) >= block, "{validators} validators: any block fits");
    }
    const { assert!(POOL_ORIGIN_BUNDLES_MAX >= INTAKE_BUNDLES_ON_WAY_MAX) };
}
