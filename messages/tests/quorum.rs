//! Quorum arithmetic (consensus.md section 1): the table, and what it must give for every set of powers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::*;
use dtvn_messages::validators::ValidatorSetError;
use dtvn_messages::*;
use proptest::prelude::*;

#[test]
fn equal_powers_from_1_to_21() {
    // n, Q, F
    let table = [
        (1, 1, 1),
        (2, 2, 1),
        (3, 3, 1),
        (4, 3, 2),
        (5, 4, 2),
        (6, 5, 2),
        (7, 5, 3),
        (8, 6, 3),
        (9, 7, 3),
        (10, 7, 4),
        (11, 8, 4),
        (12, 9, 4),
        (13, 9, 5),
        (14, 10, 5),
        (15, 11, 5),
        (16, 11, 6),
        (17, 12, 6),
        (18, 13, 6),
        (19, 13, 7),
        (20, 14, 7),
        (21, 15, 7),
    ];
    for (count, quorum, weak) in table {
        let set = set_of(&vec![1; count]);
        assert_eq!((set.quorum(), set.weak_quorum()), (quorum, weak), "{count} validators");
        let faults = (count as u64 - 1) / 3;
        if count % 3 == 1 {
            assert_eq!((quorum, weak), (2 * faults + 1, faults + 1), "the paper's numbers for n = 3f + 1");
        }
    }
}

#[test]
fn weighted_sets() {
    let table: [(&[u32], u64, u64); 5] = [
        (&[1, 2, 3], 5, 2),
        (&[10, 1, 1, 1], 9, 5),
        (&[100, 100, 100, 1], 201, 101),
        (&[u32::MAX], 2_863_311_531, 1_431_655_765),
        (&[3, 3, 3, 3, 3], 11, 5),
    ];
    for (powers, quorum, weak) in table {
        let set = set_of(powers);
        assert_eq!((set.quorum(), set.weak_quorum()), (quorum, weak), "{powers:?}");
    }
}

/// What safety and liveness rest on, for total power `W`, where less than a third of it is faulty.
#[test]
fn the_arithmetic_holds_for_every_total_power() {
    for total in (1..=3_000u32).chain([u32::MAX - 2, u32::MAX - 1, u32::MAX]) {
        let set = set_of(&[total]);
        let (quorum, weak, total) = (set.quorum(), set.weak_quorum(), u64::from(total));
        let faulty_most = (total - 1) / 3;
        assert!(3 * quorum > 2 * total && 3 * (quorum - 1) <= 2 * total, "{total}: the least above two thirds");
        assert!(2 * quorum - total > faulty_most, "{total}: two quorums share more than all that is faulty");
        assert!(2 * quorum - total >= weak, "{total}: a fork names culprits of power F");
        assert!(total - faulty_most >= quorum, "{total}: the honest are a quorum");
        assert!(weak > faulty_most, "{total}: a weak quorum holds an honest one");
        assert!(weak - 1 <= faulty_most, "{total}: and is the least that does");
    }
}

/// The indices in a bit set.
fn members(bits: u32) -> impl Iterator<Item = ValidatorIndex> {
    (0..32u16).filter(move |position| bits & (1 << position) != 0).map(ValidatorIndex)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every pair of subsets of every small weighted set.
    #[test]
    fn any_two_quorums_share_power_above_the_faulty(powers in proptest::collection::vec(1..20u32, 1..9)) {
        let set = set_of(&powers);
        let all = 1u32 << powers.len();
        let quorums: Vec<u32> = (0..all).filter(|bits| set.power_of(members(*bits)) >= set.quorum()).collect();
        prop_assert!(quorums.contains(&(all - 1)), "all together are a quorum");
        for left in &quorums {
            for right in &quorums {
                let shared = set.power_of(members(left & right));
                prop_assert!(3 * shared > set.total_power() || powers.len() == 1);
                prop_assert!(shared >= set.weak_quorum());
            }
        }
        for bits in 0..all {
            // A set without which the others are still a quorum may fail; only such sets are below F.
            let power = set.power_of(members(bits));
            if 3 * power < set.total_power() {
                prop_assert!(set.power_of(members(!bits & (all - 1))) >= set.quorum());
                prop_assert!(power < set.weak_quorum());
            }
        }
    }

    #[test]
    fn leaders_take_turns(powers in proptest::collection::vec(1..5u32, 1..8), epoch in any::<u64>(), view in any::<u64>()) {
        let set = set_of(&powers);
        let count = powers.len() as u128;
        let expected = (u128::from(epoch) + u128::from(view)) % count;
        prop_assert_eq!(u128::from(set.leader(Epoch(epoch), View(view)).0), expected);
        let turns: std::collections::BTreeSet<_> =
            (0..powers.len() as u64).map(|turn| set.leader(Epoch(0), View(view % 1_000 + turn))).collect();
        prop_assert_eq!(turns.len(), powers.len());
    }
}

#[test]
fn sets_are_refused_each_with_its_reason() {
    let of = |entries: &[(&str, u8, u32)]| {
        let validator = |(name, key, power): &(&str, u8, u32)| Validator {
            name: NodeName::new(name).unwrap(),
            public_key: PublicKey([*key; 32]),
            power: *power,
        };
        ValidatorSet::new(entries.iter().map(validator).collect()).map(|_| ())
    };
    let name = |text: &str| NodeName::new(text).unwrap();
    assert_eq!(of(&[]), Err(ValidatorSetError::Empty));
    assert_eq!(of(&[("a", 1, 0)]), Err(ValidatorSetError::NoPower(name("a"))));
    assert_eq!(of(&[("a", 1, 1), ("a", 2, 1)]), Err(ValidatorSetError::SameName(name("a"))));
    assert_eq!(of(&[("a", 1, 1), ("b", 1, 1)]), Err(ValidatorSetError::SameKey(name("b"))));
    assert_eq!(of(&[("a", 1, u32::MAX), ("b", 2, 1)]), Err(ValidatorSetError::TooMuchPower(1 << 32)));
    assert_eq!(of(&[("a", 1, u32::MAX - 1), ("b", 2, 1)]), Ok(()));
    let many: Vec<String> = (0..129).map(|number| format!("v{number}")).collect();
    let entries: Vec<_> = (0u8..129).zip(&many).map(|(key, name)| (name.as_str(), key, 1)).collect();
    assert_eq!(of(&entries), Err(ValidatorSetError::TooMany(129)));
    assert_eq!(of(&entries[..128]), Ok(()));
}

#[test]
fn the_hash_of_a_set_depends_on_every_part_and_the_order() {
    let base = set_of(&[1, 2, 3]);
    let members = |set: &ValidatorSet| set.iter().map(|(_, member)| member.clone()).collect::<Vec<_>>();
    let mut variations = vec![members(&set_of(&[1, 2])), members(&set_of(&[1, 2, 4])), members(&base)];
    variations[2].swap(0, 1);
    let mut renamed = members(&base);
    renamed[0].name = NodeName::new("w0").unwrap();
    variations.push(renamed);
    let mut rekeyed = members(&base);
    rekeyed[0].public_key = key_pair(9).public();
    variations.push(rekeyed);
    for variation in variations {
        assert_ne!(ValidatorSet::new(variation).unwrap().hash(), base.hash());
    }
}
