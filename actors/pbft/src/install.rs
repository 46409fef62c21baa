//! Taking over a selection (consensus.md section 6): what is not selected is rolled back, selected blocks go into their
//! slots, and bundle lists that are not here are fetched by digest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_messages::limits::REPLICA_FETCH_BLOCKS_MAX;
use dtvn_messages::{Block, Digest, Height, ValidatorIndex, ViewChange};

use crate::effect::{Effect, Unsigned};
use crate::replica::Replica;
use crate::slot::{Ask, Proposal};
use dtvn_messages::selection::select;

impl Replica {
    /// Takes over what the view changes of the adopted NEW-VIEW prove: blocks that are not selected are rolled back,
    /// and their bundles are pending again.
    pub(crate) fn install_selection(&mut self, effects: &mut Vec<Effect>) {
        let Some((new_view, view_changes)) = self.new_view.clone() else { return };
        let bodies: Vec<&ViewChange> = view_changes.iter().map(|view_change| &view_change.signed.body).collect();
        self.selection = select(&bodies, (self.config.epoch_base, self.config.epoch_base_digest));
        self.halt_on_contradiction();
        let from = new_view.signed.signer;
        if let Some(proof) = self.selection.proof.clone() {
            self.note_proof(from, Arc::new(proof));
        }
        if let Some(stable) = self.selection.stable.clone() {
            self.note_stable(from, Arc::new(stable));
        }
        let mut agreed = self.chain.committed();
        while agreed < self.chain.top() {
            let height = agreed.next();
            let selected = self.selection.blocks.get(&height).map(|selected| selected.digest);
            // What lies below the base may be what was committed there: its certificate will tell.
            if height > self.selection.base && (selected.is_none() || selected != self.chain.digest_at(height)) {
                break;
            }
            agreed = height;
        }
        self.roll_back_to(agreed, effects);
        self.fill_selected(effects);
    }

    /// Two different committed blocks at one height: no quorum system survives that, so nothing must go on as if. A selected
    /// block contradicts one that was committed before its NEW-VIEW only: a NEW-VIEW that an older view left behind may have
    /// selected another one, which a later view did not, and may be shown to whoever is still in that view.
    fn halt_on_contradiction(&self) {
        let view = self.certificate_of_tip().map(|proof| proof.certificate.vote.view);
        let is_of_earlier_view = view.is_some_and(|view| view < self.view);
        for (height, selected) in self.selection.blocks.iter().filter(|_| is_of_earlier_view) {
            if let Some(own) = self.committed_digest(*height) {
                assert!(
                    own == selected.digest,
                    "committed block {own} at height {height} contradicts the valid NEW-VIEW of view {}: it selects {}",
                    self.view,
                    selected.digest
                );
            }
        }
        if let (Some(base), Some(own)) = (self.selection.base_digest, self.committed_digest(self.selection.base)) {
            assert!(
                own == base,
                "committed block {own} at height {} contradicts the base {base} of the valid NEW-VIEW of view {}",
                self.selection.base,
                self.view
            );
        }
    }

    /// Puts the selected blocks into their slots, as far as their bundle lists are known; asks the signers of their
    /// certificates for the others.
    pub(crate) fn fill_selected(&mut self, effects: &mut Vec<Effect>) {
        let mut missing: BTreeMap<ValidatorIndex, Vec<Digest>> = BTreeMap::new();
        let heights: Vec<Height> = self.selection.blocks.keys().copied().collect();
        for height in heights {
            let is_filled = self.has_proposal(height) || self.fill(height, effects);
            let Some(selected) = self.selection.blocks.get(&height).filter(|_| !is_filled) else { continue };
            // What is committed here is not needed again: others get its certificate.
            if height > self.chain.committed() {
                for holder in &selected.holders {
                    missing.entry(*holder).or_default().push(selected.digest);
                }
            }
        }
        for (holder, mut digests) in missing {
            digests.truncate(REPLICA_FETCH_BLOCKS_MAX);
            self.tell(holder, Unsigned::FetchBlocks(digests), effects);
        }
    }

    /// Puts the selected block at a height into its slot; false if its bundle list is not known.
    fn fill(&mut self, height: Height, effects: &mut Vec<Effect>) -> bool {
        let Some(digest) = self.selection.blocks.get(&height).map(|selected| selected.digest) else { return false };
        let Some(block) = self.find_block(height, &digest) else { return false };
        let slot = self.slots.entry(height).or_default();
        slot.proposal = Some(Proposal { block, digest, logged: None, refused: None, is_held: false });
        self.accepted += 1;
        self.want_bundles_of(height, effects);
        true
    }

    fn has_proposal(&self, height: Height) -> bool {
        self.slots.get(&height).is_some_and(|slot| slot.proposal.is_some())
    }

    fn find_block(&self, height: Height, digest: &Digest) -> Option<Arc<Block>> {
        if let Some(block) = self.known.get(&(height, *digest)) {
            return Some(Arc::clone(block));
        }
        let recent = self.recent.get(&height).filter(|recent| recent.digest == *digest)?;
        Some(Arc::clone(&recent.block))
    }

    /// Keeps a block's bundle list. Above the bound one goes that no slot, selection or certificate names: one that is
    /// committed or has lost first, then the highest.
    pub(crate) fn remember_block(&mut self, block: &Arc<Block>, digest: Digest) {
        self.known.insert((block.header.height, digest), Arc::clone(block));
        let bound = 2 * usize::try_from(self.config.parameters.log_window).unwrap_or(usize::MAX);
        if self.known.len() <= bound {
            return;
        }
        let committed = self.chain.committed();
        let unused = |key: &&(Height, Digest)| !self.is_named(key.0, &key.1);
        let over = self.known.keys().take_while(|(height, _)| *height <= committed).find(unused);
        let over = over.or_else(|| self.known.keys().rev().find(unused)).copied();
        if let Some(key) = over.filter(|key| *key != (block.header.height, digest)) {
            self.known.remove(&key);
        }
    }

    fn is_named(&self, height: Height, digest: &Digest) -> bool {
        let slot = self.slots.get(&height).and_then(|slot| slot.proposal.as_ref());
        slot.is_some_and(|proposal| proposal.digest == *digest)
            || self.promised.get(&height).is_some_and(|promised| promised.digest == *digest)
            || self.selection.blocks.get(&height).is_some_and(|selected| selected.digest == *digest)
            || self.prepared.get(&height).is_some_and(|kept| kept.certificate.digest() == *digest)
    }

    /// A peer lacks the bundle lists of blocks.
    pub(crate) fn on_fetch_blocks(&mut self, from: ValidatorIndex, digests: &[Digest], effects: &mut Vec<Effect>) {
        if !self.may_answer(from, Ask::Blocks) {
            return;
        }
        let wanted: BTreeSet<&Digest> = digests.iter().take(REPLICA_FETCH_BLOCKS_MAX).collect();
        let known = self.known.iter().filter(|((_, digest), _)| wanted.contains(digest));
        let mut found: BTreeMap<Digest, Arc<Block>> =
            known.map(|((_, digest), block)| (*digest, Arc::clone(block))).collect();
        let recent = self.recent.values().filter(|recent| wanted.contains(&recent.digest));
        found.extend(recent.map(|recent| (recent.digest, Arc::clone(&recent.block))));
        for block in found.into_values() {
            self.tell(from, Unsigned::Block(block), effects);
        }
    }

    /// A block that was asked for: only a selected one is taken.
    pub(crate) fn on_block(&mut self, block: &Arc<Block>, digest: Digest, effects: &mut Vec<Effect>) {
        let height = block.header.height;
        let is_selected = self.selection.blocks.get(&height).is_some_and(|selected| selected.digest == digest);
        if self.active && is_selected && !self.has_proposal(height) && block.is_consistent() {
            self.remember_block(block, digest);
            self.fill(height, effects);
        }
    }
}
