//! Chance: one pinned generator (ChaCha with 8 rounds) for each concern of a seed, so that switching one concern off does
//! not reshuffle the others, and the same numbers come on every machine. Ranges are drawn here, not by a library whose
//! next version may draw them otherwise.

use dtvn_messages::sha256;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What the numbers are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// What kind of network a seed stands for.
    Scenario,
    /// Loss, repetition and delay of messages.
    Network,
    /// How long disks and other work take, and what a crash keeps.
    Disk,
    /// Clocks.
    Clock,
    /// What liars say.
    Lies,
    /// What clients ask for.
    Workload,
    /// When what breaks.
    Faults,
}

/// A generator.
pub struct Random(ChaCha8Rng);

impl Random {
    /// The generator of one concern of a seed.
    #[must_use]
    pub fn new(seed: u64, concern: Concern) -> Self {
        let name = format!("{concern:?}");
        Self(ChaCha8Rng::from_seed(sha256(&[b"dtvn/simulation/1", &seed.to_be_bytes(), name.as_bytes()]).0))
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: biased by less than bound / 2^64.
        ((u128::from(self.any()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True in so many of 1,000 cases.
    pub fn permille(&mut self, of_thousand: u64) -> bool {
        self.below(1_000) < of_thousand
    }

    /// True in so many of a million cases.
    pub fn ppm(&mut self, of_million: u64) -> bool {
        self.below(1_000_000) < of_million
    }

    /// One of several.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// A time that is mostly short and sometimes many times as long: `typical` divided by two to times sixteen.
    pub fn around(&mut self, typical: u64) -> u64 {
        let scale = match self.below(100) {
            0..80 => 1,
            80..95 => 3,
            _ => 16,
        };
        typical * scale / 2 + self.below(typical * scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_on_every_machine_and_forever() {
        let mut random = Random::new(7, Concern::Network);
        let first: Vec<u64> = (0..3).map(|_| random.any()).collect();
        assert_eq!(first, PINNED);
        let mut other = Random::new(7, Concern::Disk);
        assert_ne!(other.any(), first[0], "each concern has its own");
    }

    const PINNED: [u64; 3] = [4_451_170_531_171_144_902, 8_858_834_817_319_361_994, 9_636_593_315_001_641_086];

    #[test]
    fn numbers_keep_within_their_bounds() {
        let mut random = Random::new(1, Concern::Disk);
        for _ in 0..10_000 {
            assert!(random.below(7) < 7);
            assert!((3..=5).contains(&random.between(3, 5)));
            assert!(random.around(100) < 2_400);
        }
        assert_eq!((random.below(0), random.between(9, 9)), (0, 9));
        let met = (0..10_000).filter(|_| random.permille(250)).count();
        assert!((2_300..2_700).contains(&met), "{met}");
    }
}
