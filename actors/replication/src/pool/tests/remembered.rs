use super::super::remembered::{Memory, Remembered};
use super::*;

#[test]
fn the_digest_not_heard_of_for_longest_is_forgotten_first() {
    let mut memory = Remembered::new(3, 1_000, 16, 1);
    for number in 0..3 {
        memory.remember(digest(number));
    }
    assert_eq!(memory.look(&digest(0)), Memory::Yes, "asking keeps it");
    memory.remember(digest(3));
    assert_eq!(memory.exact_count(), 3);
    let remembered = [0, 1, 2, 3].map(|number| memory.look(&digest(number)));
    assert_eq!(remembered, [Memory::Yes, Memory::Perhaps, Memory::Yes, Memory::Yes]);
    assert_eq!(memory.look(&digest(4)), Memory::No);
}

#[test]
fn the_filter_remembers_one_to_two_generations() {
    let mut memory = Remembered::new(0, 100, 16, 1);
    for number in 0..300 {
        memory.remember(digest(number));
        let oldest = (number + 1).saturating_sub(100);
        for known in oldest..=number {
            assert_eq!(memory.look(&digest(known)), Memory::Perhaps, "{known} of {number}");
        }
    }
    let old = (0..100).filter(|number| memory.look(&digest(*number)) == Memory::Perhaps).count();
    assert!(old <= 2, "{old} of a hundred are remembered after two more generations");
}

#[test]
fn the_filter_seldom_errs() {
    let limits = PoolLimits::default();
    let mut memory = Remembered::new(0, 20_000, limits.bloom_bits_per_digest, 1);
    for number in 0..40_000 {
        memory.remember(digest(number));
    }
    let errors = (40_000..60_000).filter(|number| memory.look(&digest(*number)) != Memory::No).count();
    assert!(errors <= 60, "{errors} of 20,000 are taken for old, at most one in 333 is expected of two generations");
}

#[test]
fn another_seed_errs_elsewhere() {
    let errors = |seed| {
        let mut memory = Remembered::new(0, 1_000, 4, seed);
        (0..1_000).for_each(|number| memory.remember(digest(number)));
        (1_000..5_000).filter(|number| memory.look(&digest(*number)) != Memory::No).collect::<Vec<_>>()
    };
    assert!(!errors(1).is_empty());
    assert_ne!(errors(1), errors(2));
}
