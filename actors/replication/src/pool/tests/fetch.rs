//! How a bundle that is missing is found.

use super::*;

#[test]
fn a_wanted_bundle_may_still_arrive_then_it_is_fetched() {
    let mut world = World::new(4);
    assert_eq!(world.step(want(&[digest(1)], &[2])), []);
    assert_eq!(world.pass_ms(9), []);
    assert_eq!(world.pass_ms(1), [ask(2, &[digest(1)])]);
}

#[test]
fn holders_are_asked_in_turn_then_everybody_then_again() {
    let mut world = World::new(4);
    world.step(want(&[digest(1)], &[2, 1]));
    let mut asked = Vec::new();
    for effect in world.pass_ms(10 + 6 * 250) {
        match effect {
            Effect::Send { to, message: PeerMessage::FetchBundles(digests) } => {
                assert_eq!(digests, [digest(1)]);
                asked.push(to.0);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(asked, [2, 1, 3, 2, 1, 3, 2]);
}

#[test]
fn this_node_and_strangers_are_never_asked() {
    let mut world = World::new(3);
    world.step(want(&[digest(1)], &[0, 9, 2]));
    assert_eq!(world.pass_ms(10), [ask(2, &[digest(1)])]);
}

#[test]
fn what_arrives_is_asked_for_no_more() {
    let mut world = World::new(4);
    let bundle = world.bundle(1, 0);
    world.step(want(&[bundle.digest], &[2]));
    world.pass_ms(10);
    assert_eq!(world.accept(2, &bundle), [verify(2, &bundle), log(&bundle), available(&bundle)]);
    assert_eq!(world.pass_ms(10_000), []);
}

#[test]
fn nothing_is_fetched_while_it_is_verified() {
    let mut world = World::new(4);
    let bundle = world.bundle(1, 0);
    world.step(received(1, &bundle));
    world.step(want(&[bundle.digest], &[2]));
    assert_eq!(world.pass_ms(249), []);
    assert_eq!(world.step(verified(1, &bundle, true)), [log(&bundle), available(&bundle)]);
    assert_eq!(world.pass_ms(10_000), []);
}

#[test]
fn a_bad_answer_makes_the_next_holder_asked_at_once() {
    let mut world = World::new(4);
    let bundle = world.bundle(1, 0);
    let forged = resigned(&bundle, &world.chain);
    world.step(want(&[bundle.digest], &[2, 3]));
    world.pass_ms(10);
    world.step(received(2, &forged));
    let effects = world.step(verified(2, &forged, false));
    assert_eq!(effects, [blame(2, BlameReason::BadSignature), ask(3, &[bundle.digest])]);
}

#[test]
fn a_holder_that_goes_away_is_replaced_at_once() {
    let mut world = World::new(4);
    world.step(want(&[digest(1)], &[2, 3]));
    world.pass_ms(10);
    assert_eq!(world.step(Input::PeerDown(peer(2))), [ask(3, &[digest(1)])]);
    assert_eq!(world.pass_ms(250), [ask(1, &[digest(1)])]);
    assert_eq!(world.pass_ms(250), [ask(3, &[digest(1)])], "who is away is passed over");
    world.step(Input::PeerUp(peer(2)));
    let asked = world.pass_ms(750);
    assert!(asked.contains(&ask(2, &[digest(1)])), "{asked:?}");
}

#[test]
fn the_search_goes_on_while_nobody_can_be_reached() {
    let mut world = World::new(2);
    world.step(Input::PeerDown(peer(1)));
    world.step(want(&[digest(1)], &[1]));
    assert_eq!(world.pass_ms(60_000), []);
    assert_eq!(world.step(Input::PeerUp(peer(1))), [ask(1, &[digest(1)])]);
}

#[test]
fn what_is_no_longer_wanted_is_asked_for_no_more() {
    let mut world = World::new(4);
    world.step(want(&[digest(1), digest(2)], &[2]));
    world.step(Input::Unwant { digests: vec![digest(1)] });
    assert_eq!(world.pass_ms(10), [ask(2, &[digest(2)])]);
}

#[test]
fn when_nothing_is_wanted_only_what_was_announced_is_asked_for() {
    let mut world = World::new(4);
    world.step(want(&[digest(1), digest(2)], &[2]));
    world.step(announced(3, &[digest(3)]));
    world.step(Input::WantNothing);
    assert_eq!(world.pass_ms(10_000), [ask(3, &[digest(3)])]);
}

#[test]
fn what_was_ordered_meanwhile_is_asked_for_no_more() {
    let mut world = World::new(4);
    world.step(want(&[digest(1)], &[2]));
    world.step(ordered(1, &[digest(1)]));
    assert_eq!(world.pass_ms(10_000), []);
}

#[test]
fn wanting_again_does_not_keep_the_others_from_their_turn() {
    let mut world = World::new(4);
    let mut asked = Vec::new();
    for _ in 0..30 {
        world.step(want(&[digest(1)], &[2]));
        asked.extend(world.pass_ms(100));
    }
    assert!(asked.contains(&ask(1, &[digest(1)])) && asked.contains(&ask(3, &[digest(1)])), "{asked:?}");
}

#[test]
fn a_new_holder_is_asked_next() {
    let mut world = World::new(5);
    world.step(want(&[digest(1)], &[2]));
    world.pass_ms(10);
    world.step(want(&[digest(1)], &[4]));
    assert_eq!(world.pass_ms(250), [ask(4, &[digest(1)])]);
}

#[test]
fn a_fetch_names_no_more_digests_than_a_frame_takes() {
    let mut world = World::with(2, |limits| limits.fetches_per_peer_max = 5_000);
    let digests: Vec<Digest> = (0..1_500).map(digest).collect();
    world.step(want(&digests, &[1]));
    let counts: Vec<usize> = world
        .pass_ms(10)
        .iter()
        .map(|effect| match effect {
            Effect::Send { message: PeerMessage::FetchBundles(digests), .. } => digests.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, [1_024, 476]);
}

#[test]
fn an_announced_bundle_is_fetched_unless_it_arrives_by_itself() {
    let mut world = World::new(4);
    let (comes, stays_away) = (world.bundle(1, 0), digest(1));
    assert_eq!(world.step(announced(1, &[comes.digest, stays_away])), []);
    world.pass_ms(40);
    world.accept(2, &comes);
    assert_eq!(world.pass_ms(10), [ask(1, &[stays_away])]);
}

#[test]
fn an_announced_bundle_is_asked_for_once_of_each_that_announced_it() {
    let mut world = World::new(4);
    world.step(announced(1, &[digest(1)]));
    world.step(announced(3, &[digest(1)]));
    assert_eq!(world.pass_ms(10_000), [ask(1, &[digest(1)]), ask(3, &[digest(1)])]);
    assert_eq!(world.pool.usage().searches, 0, "then it is forgotten");
}

#[test]
fn finished_bundles_are_not_fetched_again() {
    let mut world = World::new(4);
    let bundle = world.bundle(1, 0);
    world.accept(1, &bundle);
    world.step(ordered(1, &[bundle.digest]));
    world.step(Input::Stable { height: Height(1) });
    world.step(announced(2, &[bundle.digest]));
    assert_eq!(world.pass_ms(10_000), []);
}

#[test]
fn what_is_only_perhaps_finished_is_fetched_once_two_announce_it() {
    let mut world = World::with(4, |limits| limits.remembered_max = 0);
    world.step(ordered(1, &[digest(1)]));
    world.step(announced(2, &[digest(1)]));
    assert_eq!(world.pass_ms(9_999), []);
    world.step(announced(3, &[digest(1)]));
    assert_eq!(world.pass_ms(50), [ask(2, &[digest(1)])]);
}

#[test]
fn what_only_one_announced_and_is_perhaps_finished_is_forgotten() {
    let mut world = World::with(4, |limits| limits.remembered_max = 0);
    world.step(ordered(1, &[digest(1)]));
    world.step(announced(2, &[digest(1)]));
    world.step(announced(2, &[digest(1)]));
    assert_eq!(world.pass_ms(20_000), []);
    assert_eq!(world.pool.usage().searches, 0);
}

#[test]
fn what_was_announced_can_be_wanted() {
    let mut world = World::new(4);
    world.step(announced(3, &[digest(1)]));
    world.step(want(&[digest(1)], &[2]));
    assert_eq!(world.pass_ms(10), [ask(2, &[digest(1)])]);
    assert_eq!(world.pass_ms(250), [ask(3, &[digest(1)])], "before those who said nothing");
    assert_eq!(world.pass_ms(250), [ask(1, &[digest(1)])]);
}

#[test]
fn a_timer_of_an_earlier_generation_changes_nothing() {
    let mut world = World::new(4);
    world.step(announced(1, &[digest(1)]));
    let (earlier, _) = world.timer.unwrap();
    world.step(want(&[digest(2)], &[2]));
    let (later, _) = world.timer.unwrap();
    assert!(later > earlier, "the nearer deadline set a timer of its own");
    world.now_us += 60_000;
    assert_eq!(world.step(Input::Timer { generation: earlier }), []);
    assert_eq!(world.step(Input::Timer { generation: later }), [ask(1, &[digest(1)]), ask(2, &[digest(2)])]);
}

#[test]
fn whoever_becomes_free_is_asked_for_what_waited() {
    let mut world = World::with(2, |limits| limits.fetches_per_peer_max = 1);
    let bundles = [world.bundle(1, 0), world.bundle(1, 1)];
    world.step(want(&[bundles[0].digest], &[1]));
    assert_eq!(world.pass_ms(10), [ask(1, &[bundles[0].digest])]);
    world.step(want(&[bundles[1].digest], &[1]));
    assert_eq!(world.pass_ms(10), []);
    assert_eq!(world.step(received(1, &bundles[0])), [verify(1, &bundles[0]), ask(1, &[bundles[1].digest])]);
}

#[test]
fn what_nobody_has_does_not_keep_the_rest_from_its_turn() {
    let mut world = World::with(3, |limits| limits.fetches_per_peer_max = 1);
    let digests: Vec<Digest> = (0..6).map(digest).collect();
    world.step(want(&digests, &[1]));
    let asked = world.pass_ms(6 * 250 + 10);
    for digest in digests {
        for holder in [1, 2] {
            assert!(asked.contains(&ask(holder, &[digest])), "{holder} was never asked for {digest}");
        }
    }
}

#[test]
fn a_forger_is_asked_no_more_and_cannot_make_this_node_ask_and_ask() {
    let mut world = World::with(3, |limits| limits.fetches_per_peer_max = 1);
    let (bundle, other) = (world.bundle(1, 0), digest(1));
    let forged = resigned(&bundle, &world.chain);
    world.step(want(&[other], &[2]));
    world.pass_ms(10);
    world.step(want(&[bundle.digest], &[1]));
    assert_eq!(world.pass_ms(10), [ask(1, &[bundle.digest])]);
    world.step(received(1, &forged));
    let effects = world.step(verified(1, &forged, false));
    assert_eq!(effects, [blame(1, BlameReason::BadSignature)], "the only other holder is busy");
    let asked = world.pass_ms(2_000);
    assert!(asked.contains(&ask(2, &[bundle.digest])) && !asked.contains(&ask(1, &[bundle.digest])), "{asked:?}");
}

#[test]
fn so_many_of_those_that_wait_are_looked_at_in_one_step() {
    let mut world = World::with(2, |limits| limits.waiting_served_max = 2);
    let mut digests: Vec<Digest> = (0..5).map(digest).collect();
    digests.sort();
    world.step(Input::PeerDown(peer(1)));
    world.step(want(&digests, &[1]));
    assert_eq!(world.pass_ms(10), [], "nobody can be asked");
    assert_eq!(world.step(Input::PeerUp(peer(1))), [ask(1, &digests[..2])]);
    let another = || Input::Stable { height: Height(0) };
    assert_eq!(world.step(another()), [ask(1, &digests[2..4])]);
    assert_eq!(world.step(another()), [ask(1, &digests[4..])], "nothing is lost");
}
