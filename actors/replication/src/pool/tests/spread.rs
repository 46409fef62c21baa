//! Large networks.

use std::collections::BTreeMap;

use super::super::spread::{origin_duty, relay_duty};
use super::*;

#[test]
fn everybody_gets_one_copy_in_two_hops_and_nobody_sends_more_than_the_root() {
    for validators in [2, 3, 17, 18, 50, 101, 128] {
        for number in 0..20 {
            let (name, origin) = (digest(number), peer(u16::try_from(number).unwrap() % 2));
            let duty = origin_duty(&name, origin, validators);
            let mut copies: BTreeMap<ValidatorIndex, usize> = BTreeMap::new();
            for relay in &duty.direct {
                *copies.entry(*relay).or_default() += 1;
                let passed_on = relay_duty(&name, origin, *relay, validators);
                assert!(passed_on.len() <= duty.direct.len(), "{validators}");
                passed_on.into_iter().for_each(|to| *copies.entry(to).or_default() += 1);
            }
            for told in &duty.announced {
                assert_eq!(relay_duty(&name, origin, *told, validators), [], "it is no relay");
            }
            assert!(!copies.contains_key(&origin));
            assert_eq!(copies.len(), validators - 1, "{validators} validators");
            assert!(copies.values().all(|count| *count == 1));
            let root = duty.direct.len();
            assert!(root * root >= validators - 1 && (root - 1) * (root - 1) < validators - 1);
        }
    }
}

#[test]
fn each_bundle_has_other_relays() {
    let relays: Vec<_> = (0..20).map(|number| origin_duty(&digest(number), peer(0), 50).direct).collect();
    let of_somebody = (1..50).filter(|index| relays.iter().any(|relays| relays.contains(&peer(*index)))).count();
    assert!(of_somebody > 40, "only {of_somebody} of 49 validators ever relay");
}

#[test]
fn above_sixteen_validators_the_origin_sends_to_some_and_tells_the_rest() {
    let mut world = World::new(16);
    let bundle = world.bundle(0, 0);
    assert_eq!(world.step(Input::Own(Arc::clone(&bundle)))[2..], [Effect::Broadcast(whole(&bundle))]);

    let mut world = World::new(17);
    let bundle = world.bundle(0, 0);
    let duty = origin_duty(&bundle.digest, peer(0), 17);
    let mut expected = vec![log(&bundle), available(&bundle)];
    expected.extend(duty.direct.iter().map(|to| send_bundle(to.0, &bundle)));
    expected.extend(duty.announced.iter().map(|to| announce(to.0, &[bundle.digest])));
    assert_eq!(world.step(Input::Own(Arc::clone(&bundle))), expected);
    assert_eq!((duty.direct.len(), duty.announced.len()), (4, 12));
}

#[test]
fn a_relay_passes_on_what_comes_from_the_origin_once_it_is_verified() {
    let mut world = World::new(17);
    let relayed = (0..)
        .map(|number| world.bundle(1, number))
        .find(|bundle| origin_duty(&bundle.digest, peer(1), 17).direct.contains(&peer(0)));
    let bundle = relayed.unwrap();
    let mut expected = vec![log(&bundle), available(&bundle)];
    let duty = relay_duty(&bundle.digest, peer(1), peer(0), 17);
    assert!(!duty.is_empty());
    expected.extend(duty.iter().map(|to| send_bundle(to.0, &bundle)));
    assert_eq!(world.step(received(1, &bundle)), [verify(1, &bundle)], "not before");
    assert_eq!(world.step(verified(1, &bundle, true)), expected);

    let mut world = World::new(17);
    world.step(received(2, &bundle));
    let effects = world.step(verified(2, &bundle, true));
    assert_eq!(effects, [log(&bundle), available(&bundle)], "what another sent is not passed on");
}
