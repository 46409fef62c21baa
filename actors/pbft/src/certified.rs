//! Adopting what others proved (consensus.md sections 3 and 7): commit certificates above the committed height, and the
//! blocks that sync fetches for them.

use std::sync::Arc;

use dtvn_messages::{CommittedProof, Height, Now, ValidatorIndex};

use crate::effect::{CertifiedBlock, Effect};
use crate::replica::Replica;

/// Certified blocks that wait for their bundles and their execution. Sync asks for no more at a time.
const CERTIFIED_MAX: usize = 2 * dtvn_messages::limits::SYNC_BLOCKS_MAX;
/// A replica that is a few blocks behind for less than this is about to catch up by itself.
const BEHIND_GRACE_US: u64 = 100_000;
/// Sync is asked again after this time if nothing moved.
const SYNC_AGAIN_US: u64 = 500_000;

impl Replica {
    /// A commit certificate that somebody shows, verified.
    pub(crate) fn on_proof(&mut self, from: ValidatorIndex, proof: Arc<CommittedProof>) {
        if proof.header.epoch == self.config.epoch {
            self.note_proof(from, proof);
        }
    }

    /// Keeps the highest proof above the committed height, and who showed one.
    pub(crate) fn note_proof(&mut self, from: ValidatorIndex, proof: Arc<CommittedProof>) {
        let height = proof.height();
        let known = self.peer_committed.entry(from).or_insert(height);
        *known = (*known).max(height);
        if height <= self.chain.committed() {
            return;
        }
        self.proved_by.insert(from);
        if self.proved.as_ref().is_none_or(|proved| proved.height() < height) {
            self.proved = Some(proof);
        }
    }

    /// The highest height that others proved committed.
    pub(crate) fn proved_height(&self) -> Height {
        let committed = self.chain.committed();
        self.proved.as_ref().map_or(committed, |proof| proof.height()).max(committed)
    }

    /// Whether others proved more than this replica can commit with what it has.
    pub(crate) fn is_behind(&self) -> bool {
        let proved = self.proved_height();
        if proved == self.chain.committed() {
            return false;
        }
        let digest = self.proved.as_ref().map(|proof| proof.digest());
        // Executed, or being executed: the commit is a matter of moments.
        self.chain.digest_at(proved) != digest
    }

    /// Committed blocks from sync, verified, in ascending order.
    pub(crate) fn on_certified(&mut self, blocks: Vec<CertifiedBlock>, effects: &mut Vec<Effect>) {
        self.sync_asked = None;
        for block in blocks {
            let height = block.block.header.height;
            if height > self.chain.committed() && self.certified.len() < CERTIFIED_MAX {
                let holders = self.proved_by.iter().copied().collect();
                self.want(&block.block.bundles, holders, effects);
                self.certified.insert(height, block);
            }
        }
    }

    /// Asks for the blocks up to the proved height, unless that was done a moment ago; and for the bundles of the blocks
    /// that are here.
    pub(crate) fn ask_for_sync(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let committed = self.chain.committed();
        if self.proved.as_ref().is_some_and(|proof| proof.height() <= committed) {
            self.proved = None;
            self.proved_by.clear();
        }
        if !self.is_behind() || self.diverged {
            self.behind_since_us = None;
            return;
        }
        let now_us = now.monotonic_us;
        let since_us = *self.behind_since_us.get_or_insert(now_us);
        let have = self.certified.last_key_value().map_or(committed, |(height, _)| *height);
        let to = self.proved_height();
        let is_near = to.above(committed) <= self.config.parameters.pipeline;
        let has_enough = have >= to || self.certified.len() >= CERTIFIED_MAX / 2;
        let was_asked = self.sync_asked.is_some_and(|(_, when)| now_us < when.saturating_add(SYNC_AGAIN_US));
        if has_enough || was_asked || (is_near && now_us < since_us.saturating_add(BEHIND_GRACE_US)) {
            return;
        }
        self.sync_asked = Some((to, now_us));
        let holders = self.proved_by.iter().copied().filter(|holder| Some(*holder) != self.config.me).collect();
        effects.push(Effect::Sync { from: have.next(), to, holders });
    }
}
