//! Adopting what others proved (consensus.md sections 3 and 7): certificates above the committed height, and the blocks
//! that they commit, which were accepted here or are fetched.

use std::sync::Arc;

use dtvn_messages::limits::{
    REPLICA_BEHIND_GRACE_MS, REPLICA_CERTIFIED_BLOCKS_MAX, REPLICA_CERTIFIED_BYTES_MAX, REPLICA_SYNC_AGAIN_MS,
    SYNC_BLOCKS_MAX,
};
use dtvn_messages::{CommittedProof, Digest, Height, StableCheckpoint, ValidatorIndex};

use crate::effect::Effect;
use crate::input::CertifiedBlock;
use crate::replica::Replica;

impl Replica {
    /// A commit certificate that somebody shows, verified.
    pub(crate) fn on_proof(&mut self, from: ValidatorIndex, proof: Arc<CommittedProof>) {
        if proof.header.epoch == self.config.epoch {
            self.note_proof(from, proof);
        }
    }

    /// Keeps the highest commit certificate above the committed height, and who showed one.
    pub(crate) fn note_proof(&mut self, from: ValidatorIndex, proof: Arc<CommittedProof>) {
        if proof.height() <= self.chain.committed() {
            return self.complete_tip(proof);
        }
        self.proved_by.insert(from);
        if self.proved.as_ref().is_none_or(|proved| proved.height() < proof.height()) {
            self.proved = Some(proof);
        }
    }

    /// The certificate of the last committed block, if that came without one: in a state that a peer gave, or below a block
    /// that had it. An epoch cannot end without.
    pub(crate) fn complete_tip(&mut self, proof: Arc<CommittedProof>) {
        let tip = self.chain.tip();
        if self.certificate_of_tip().is_none() && (proof.height(), proof.digest()) == (tip.height, tip.digest) {
            self.tip_proof = Some(proof);
        }
    }

    /// Keeps the highest stable checkpoint above the committed height: it proves that its height is committed.
    pub(crate) fn note_stable(&mut self, from: ValidatorIndex, stable: Arc<StableCheckpoint>) {
        if stable.height() <= self.chain.committed() {
            return;
        }
        self.proved_by.insert(from);
        if self.stable_ahead.as_ref().is_none_or(|ahead| ahead.height() < stable.height()) {
            self.stable_ahead = Some(stable);
        }
    }

    /// What is committed needs no proof by others any more.
    pub(crate) fn forget_proofs(&mut self, effects: &mut Vec<Effect>) {
        let committed = self.chain.committed();
        if let Some(stable) = self.stable_ahead.take_if(|stable| stable.height() <= committed) {
            self.become_stable(stable, effects);
        }
        self.proved.take_if(|proof| proof.height() <= committed);
        if self.proved.is_none() && self.stable_ahead.is_none() {
            self.proved_by.clear();
        }
    }

    /// The highest block that others proved committed above the committed height.
    fn proved_block(&self) -> Option<(Height, Digest)> {
        let by_votes = self.proved.as_ref().map(|proof| (proof.height(), proof.digest()));
        let by_checkpoint = self.stable_ahead.as_ref().map(|stable| (stable.height(), stable.checkpoint.block));
        by_votes.max(by_checkpoint)
    }

    /// The highest height that others proved committed.
    pub(crate) fn proved_height(&self) -> Height {
        let committed = self.chain.committed();
        self.proved_block().map_or(committed, |(height, _)| height).max(committed)
    }

    /// Whether others proved more than this replica can commit with what it has. What is executed here, or being
    /// executed, is a matter of moments.
    pub(crate) fn is_behind(&self) -> bool {
        self.proved_block().is_some_and(|(height, digest)| self.chain.digest_at(height) != Some(digest))
    }

    /// The last of the proved blocks that are here, or the committed tip.
    fn last_certified(&self) -> (Height, Digest) {
        let last = self.certified.last_key_value().map(|(height, certified)| (*height, certified.digest));
        last.unwrap_or((self.chain.committed(), self.chain.tip().digest))
    }

    /// Committed blocks from sync, verified, in ascending order.
    pub(crate) fn on_certified(&mut self, blocks: Vec<CertifiedBlock>, effects: &mut Vec<Effect>) {
        let first_new = self.last_certified().0.next();
        for block in blocks {
            self.take_certified(block);
        }
        self.trim_certified();
        let holders: Vec<ValidatorIndex> = self.proved_by.iter().copied().collect();
        for certified in self.certified.range(first_new..).map(|(_, certified)| certified) {
            self.sync_asked_us = None;
            self.want(&certified.block.bundles, holders.clone(), None, effects);
        }
    }

    /// Takes a proved block, if it is the next one and builds on the one before.
    pub(crate) fn take_certified(&mut self, block: CertifiedBlock) {
        let height = block.block.header.height;
        if let Some(known) = self.certified.get_mut(&height) {
            if known.digest == block.digest && known.certificate.is_none() {
                known.certificate = block.certificate;
            }
            return;
        }
        let (last, digest) = self.last_certified();
        let is_of_epoch = block.block.header.epoch == self.config.epoch;
        // What the own log holds is bounded by the log.
        let has_room = self.certified.len() < REPLICA_CERTIFIED_BLOCKS_MAX || !self.started;
        if is_of_epoch && height == last.next() && height > last && block.block.header.parent == digest && has_room {
            self.certified.insert(height, block);
        }
    }

    /// A block without a commit certificate at or above it is not proved.
    pub(crate) fn trim_certified(&mut self) {
        while self.certified.last_key_value().is_some_and(|(_, last)| last.certificate.is_none()) {
            self.certified.pop_last();
        }
    }

    /// Blocks that were accepted here once and that a commit certificate covers need no sync.
    pub(crate) fn certify_known(&mut self) -> bool {
        let Some(proof) = self.proved.clone().filter(|_| self.is_behind()) else { return false };
        let (last, last_digest) = self.last_certified();
        let (mut height, mut digest) = (proof.height(), proof.digest());
        let mut found = Vec::new();
        while height > last {
            let Some(block) = self.known.get(&(height, digest)).cloned() else { return false };
            let certificate = (height == proof.height()).then(|| proof.certificate.clone());
            let parent = block.header.parent;
            found.push(CertifiedBlock { block, digest, certificate });
            (height, digest) = (height.previous(), parent);
        }
        if digest != last_digest || found.is_empty() {
            return false;
        }
        let before = self.certified.len();
        found.into_iter().rev().for_each(|block| self.take_certified(block));
        self.trim_certified();
        self.certified.len() > before
    }

    /// The proved block that execution waits for, if its bundles are not here. Peers keep those of ordered blocks only
    /// until a checkpoint covers them; after that they come with the block itself, by sync.
    fn next_without_bundles(&self) -> Option<Height> {
        let next = self.chain.top().next();
        let bundles = &self.certified.get(&next)?.block.bundles;
        bundles.iter().any(|digest| self.bundles.get(digest).is_none()).then_some(next)
    }

    /// Whether one more answer may be held until it is executed.
    fn has_room_for_blocks(&self) -> bool {
        let bundles = self.certified.values().flat_map(|certified| &certified.block.bundles);
        let bytes: usize = bundles.filter_map(|digest| self.bundles.get(digest)).map(|meta| meta.bytes).sum();
        self.certified.len() + SYNC_BLOCKS_MAX <= REPLICA_CERTIFIED_BLOCKS_MAX && bytes < REPLICA_CERTIFIED_BYTES_MAX
    }

    /// Asks for the blocks up to the proved height, unless that was done a moment ago.
    pub(crate) fn ask_for_sync(&mut self, effects: &mut Vec<Effect>) {
        if !self.is_behind() || self.diverged {
            self.behind_since_us = None;
            return;
        }
        let now_us = self.now.monotonic_us;
        let since_us = *self.behind_since_us.get_or_insert(now_us);
        let unserved = self.next_without_bundles();
        let have = unserved.map_or(self.last_certified().0, Height::previous);
        let to = self.proved_height();
        let is_near = to.above(self.chain.committed()) <= self.config.parameters.pipeline;
        let is_recent = now_us < since_us.saturating_add(REPLICA_BEHIND_GRACE_MS * 1_000);
        let again_us = REPLICA_SYNC_AGAIN_MS * 1_000;
        let was_asked = self.sync_asked_us.is_some_and(|asked_us| now_us < asked_us.saturating_add(again_us));
        if have >= to || was_asked || (is_near && is_recent) || !(unserved.is_some() || self.has_room_for_blocks()) {
            return;
        }
        self.sync_asked_us = Some(now_us);
        let shown_by = |validator: &ValidatorIndex| self.proved_by.contains(validator);
        let others = self.config.set.iter().map(|(index, _)| index).filter(|index| Some(*index) != self.config.me);
        let (mut holders, rest): (Vec<_>, Vec<_>) = others.partition(shown_by);
        if holders.is_empty() {
            holders = rest;
        }
        if !holders.is_empty() {
            effects.push(Effect::Sync { from: have.next(), to, holders });
        }
    }
}
