//! Bringing the state map up to date with a checkpoint (consensus.md section 5): work that can be done elsewhere.

use std::sync::Arc;

use dtvn_ledger::{BlockEffects, StateMap};
use dtvn_messages::merkle::LogEdge;
use dtvn_messages::{Block, Certificate};

/// A checkpoint that is committed, and what leads to the state after it.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) block: Arc<Block>,
    pub(super) certificate: Option<Certificate>,
    pub(super) edge: LogEdge,
    pub(super) changes: Vec<Arc<BlockEffects>>,
}

/// Bringing the state map up to date with a checkpoint: work of some milliseconds, by itself.
#[derive(Debug)]
pub struct Rooting {
    pub(super) map: StateMap,
    pub(super) due: Due,
}

/// The map after [`Rooting`].
#[derive(Debug)]
pub struct Rooted {
    pub(super) map: StateMap,
    pub(super) due: Due,
}

impl Rooting {
    /// Does the work.
    #[must_use]
    pub fn run(mut self) -> Rooted {
        self.map.apply(&self.due.changes);
        Rooted { map: self.map, due: self.due }
    }
}
