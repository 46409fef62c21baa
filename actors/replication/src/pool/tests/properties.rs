//! What holds whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const VALIDATORS: u16 = 5;

/// A bundle by its origin, number and variant.
type Which = (u16, u64, u8);

#[derive(Debug, Clone)]
enum Move {
    Own(u64),
    Receive(u16, Which, bool),
    Verdict(usize, bool),
    Announce(u16, Which),
    Want(Which, u16),
    Unwant(Which),
    Fetch(u16, Which),
    Relay(Which, u16),
    Order(Which),
    Position(u16, u64),
    Stable(u64),
    Up(u16),
    Down(u16),
    Restore(Which),
    Pass(u64),
}

fn which() -> impl Strategy<Value = Which> {
    (1..VALIDATORS, 0_u64..6, 0_u8..3)
}

fn a_move() -> impl Strategy<Value = Move> {
    let peer = || 1..VALIDATORS;
    prop_oneof![
        2 => (0_u64..6).prop_map(Move::Own),
        8 => (peer(), which(), any::<bool>()).prop_map(|(from, which, forged)| Move::Receive(from, which, forged)),
        8 => (0_usize..8, prop::bool::weighted(0.8)).prop_map(|(place, ok)| Move::Verdict(place, ok)),
        2 => (peer(), which()).prop_map(|(from, which)| Move::Announce(from, which)),
        3 => (which(), peer()).prop_map(|(which, holder)| Move::Want(which, holder)),
        1 => which().prop_map(Move::Unwant),
        1 => (peer(), which()).prop_map(|(from, which)| Move::Fetch(from, which)),
        1 => (which(), 0..VALIDATORS).prop_map(|(which, leader)| Move::Relay(which, leader)),
        3 => which().prop_map(Move::Order),
        1 => (0..VALIDATORS, 0_u64..6).prop_map(|(origin, number)| Move::Position(origin, number)),
        1 => (0_u64..40).prop_map(Move::Stable),
        1 => peer().prop_map(Move::Up),
        1 => peer().prop_map(Move::Down),
        1 => which().prop_map(Move::Restore),
        3 => (0_u64..400).prop_map(Move::Pass),
    ]
}

fn small(limits: &mut PoolLimits) {
    limits.origin_bundles_max = 3;
    limits.origin_bytes_max = 3_000;
    limits.reserve_bytes_max = 0;
    limits.reserve_part_bytes_min = 500;
    limits.retained_bytes_max = 1_500;
    limits.wants_max = 6;
    limits.fetches_per_peer_max = 2;
    limits.announced_per_peer_max = 3;
    limits.unverified_bundles_per_peer_max = 2;
    limits.unverified_bytes_per_peer_max = 1_500;
    limits.verify_timeout_ms = 700;
    limits.remembered_max = 4;
    limits.bloom_digests_max = 8;
    limits.reserved_bytes_min = 0;
}

/// What a bystander knows from effects alone.
#[derive(Default)]
struct Bystander {
    logged: BTreeSet<Digest>,
    pending: BTreeMap<Digest, Arc<Bundle>>,
    verifying: Vec<(u16, Arc<Bundle>)>,
    height: u64,
}

impl Bystander {
    fn watch(&mut self, effects: &[Effect], pool: &Pool, is_want: bool) {
        for effect in effects {
            match effect {
                Effect::Log(bundle) => {
                    assert!(!self.pending.contains_key(&bundle.digest), "logged though it is pending");
                    self.logged.insert(bundle.digest);
                }
                Effect::Available(meta) => {
                    assert!(self.logged.contains(&meta.digest), "available before it is logged");
                    let bundle = pool.bundle(&meta.digest).expect("available means held");
                    // Who wants what is held is told again.
                    let before = self.pending.insert(meta.digest, Arc::clone(bundle));
                    assert!(before.is_none() || is_want, "available twice");
                }
                Effect::Superseded { bundle, last } => {
                    assert!(last.is_some_and(|last| bundle.position() <= last));
                    self.pending.remove(&bundle.digest);
                }
                Effect::Verify { from, bundle } => self.verifying.push((from.0, Arc::clone(bundle))),
                Effect::Send { to, message: PeerMessage::Bundle(bytes) } => {
                    assert_ne!(to.0, 0, "sent to itself");
                    assert!(!bytes.is_empty());
                }
                Effect::Send { to, .. } => assert_ne!(to.0, 0, "sent to itself"),
                _ => {}
            }
        }
    }

    /// Nothing that is available is lost, nothing is counted wrong, and no bound is passed.
    fn check(&self, world: &World) {
        let limits = &world.pool.limits;
        let mut shares: BTreeMap<u16, (usize, usize)> = BTreeMap::new();
        for (digest, bundle) in &self.pending {
            assert_eq!(world.pool.bundle(digest), Some(bundle), "an available bundle was evicted");
            let share = shares.entry(bundle.body.origin.0).or_default();
            *share = (share.0 + 1, share.1 + bundle.bytes.len());
        }
        let usage = world.pool.usage();
        assert_eq!(usage.pending_bundles, self.pending.len());
        let all: usize = shares.values().map(|(_, bytes)| bytes).sum();
        assert_eq!(usage.pending_bytes + usage.reserve_bytes, all);
        assert!(usage.reserve_bytes <= usize::from(VALIDATORS) * limits.reserve_part_bytes_min);
        assert!(usage.retained_bytes <= limits.retained_bytes_max);
        assert!(usage.unverified_bundles <= usize::from(VALIDATORS) * 6);
        let announced_max = usize::from(VALIDATORS) * limits.announced_per_peer_max;
        assert!(usage.searches <= limits.wants_max + announced_max);
    }
}

fn bundle_of(world: &World, (origin, number, variant): Which) -> Arc<Bundle> {
    world.bundle_of(origin, 1, number, &format!("ticket {variant}"), usize::from(variant) * 100)
}

fn input(world: &World, bystander: &mut Bystander, step: &Move) -> Option<Input> {
    let bundle = |which: &Which| bundle_of(world, *which);
    Some(match step {
        Move::Own(number) => Input::Own(bundle(&(0, *number, 0))),
        Move::Receive(from, which, false) => received(*from, &bundle(which)),
        Move::Receive(from, which, true) => received(*from, &resigned(&bundle(which), &world.chain)),
        Move::Verdict(place, ok) if *place < bystander.verifying.len() => {
            let (from, bundle) = bystander.verifying.swap_remove(*place);
            verified(from, &bundle, *ok)
        }
        Move::Verdict(..) => return None,
        Move::Announce(from, which) => announced(*from, &[bundle(which).digest]),
        Move::Want(which, holder) => want(&[bundle(which).digest], &[*holder]),
        Move::Unwant(which) => Input::Unwant { digests: vec![bundle(which).digest] },
        Move::Fetch(from, which) => Input::Fetch { from: peer(*from), digests: vec![bundle(which).digest] },
        Move::Relay(which, leader) => Input::Relay { digests: vec![bundle(which).digest], leader: peer(*leader) },
        Move::Order(which) => {
            let digest = bundle(which).digest;
            bystander.height += 1;
            bystander.pending.remove(&digest);
            ordered(bystander.height, &[digest])
        }
        Move::Position(origin, number) => positions(&[(peer(*origin), position(1, *number))]),
        Move::Stable(height) => Input::Stable { height: Height((*height).min(bystander.height)) },
        Move::Up(index) => Input::PeerUp(peer(*index)),
        Move::Down(index) => Input::PeerDown(peer(*index)),
        Move::Restore(which) => {
            let bundle = bundle(which);
            bystander.logged.insert(bundle.digest);
            Input::Restored(bundle)
        }
        Move::Pass(_) => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_available_is_lost_and_no_bound_is_passed(moves in prop::collection::vec(a_move(), 1..200)) {
        let mut world = World::with(usize::from(VALIDATORS), small);
        let mut bystander = Bystander::default();
        for step in &moves {
            let effects = match step {
                Move::Pass(time_ms) => world.pass_ms(*time_ms),
                _ => match input(&world, &mut bystander, step) {
                    Some(input) => world.step(input),
                    None => continue,
                },
            };
            bystander.watch(&effects, &world.pool, matches!(step, Move::Want(..)));
            bystander.check(&world);
        }
    }

    /// Whoever holds it, however many are silent, forge or are away: a wanted bundle gets here.
    #[test]
    fn every_wanted_bundle_arrives_if_anybody_answers(
        holders in prop::collection::vec(1..VALIDATORS, 1..20),
        liars in prop::collection::btree_set(1..VALIDATORS, 0..3),
        named in prop::collection::vec(1..VALIDATORS, 0..4),
        outstanding in 1_usize..4,
    ) {
        let mut world = World::with(usize::from(VALIDATORS), |limits| {
            limits.fetches_per_peer_max = outstanding;
            limits.reserve_part_bytes_min = 500;
            limits.origin_bundles_max = 100;
        });
        let missing: Vec<(u16, Arc<Bundle>)> = holders
            .iter()
            .filter(|holder| !liars.contains(holder))
            .enumerate()
            .map(|(number, holder)| (*holder, world.bundle(1, number as u64)))
            .collect();
        let digests: Vec<Digest> = missing.iter().map(|(_, bundle)| bundle.digest).collect();
        world.step(want(&digests, &named));
        let mut found = BTreeSet::new();
        for _ in 0..400 {
            let mut effects = world.pass_ms(50);
            while let Some(effect) = effects.pop() {
                match effect {
                    Effect::Send { to, message: PeerMessage::FetchBundles(digests) } => {
                        for (holder, bundle) in missing.iter().filter(|(_, bundle)| digests.contains(&bundle.digest)) {
                            if *holder == to.0 {
                                effects.extend(world.step(received(to.0, bundle)));
                            } else if liars.contains(&to.0) {
                                effects.extend(world.step(received(to.0, &resigned(bundle, &world.chain))));
                            }
                        }
                    }
                    Effect::Verify { from, bundle } => {
                        let ok = !liars.contains(&from.0);
                        effects.extend(world.step(verified(from.0, &bundle, ok)));
                    }
                    Effect::Available(meta) => {
                        found.insert(meta.digest);
                    }
                    _ => {}
                }
            }
        }
        prop_assert_eq!(found, digests.into_iter().collect::<BTreeSet<_>>());
        prop_assert_eq!(world.pool.usage().searches, 0);
    }
}
