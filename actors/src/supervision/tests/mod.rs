//! Trees of real actors. What a supervisor decides is tested in `machine/tests/`; here it is tested that actors really
//! start, end, and are awaited as it decides.

mod boot;
mod commands;
mod context;
mod ends;
mod escalation;
mod kit;
mod shutdown;
mod snapshot;
mod stress;

pub(crate) use kit::{Journal, PATIENCE, Plan, Say, Stage, gate, soon};

/// A small seeded generator (SplitMix64), so that a failing test can be told by its seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }
}
