//! VIEW-CHANGE and NEW-VIEW (consensus.md section 6).
//!
//! Deviations (D): a NEW-VIEW names its VIEW-CHANGEs by hash, since they were broadcast; everyone computes the same
//! selection from them, and no block is proposed again: on the selected digests all send PREPARE, the leader and those
//! who committed them already included. A view is active once its NEW-VIEW is verified and durable.

use std::sync::Arc;

use dtvn_messages::view_change::{SealedNewView, SealedViewChange};
use dtvn_messages::{Block, Digest, Height, NewView, PreparedCertificate, ValidatorIndex, View, ViewChange};

use crate::effect::{Cause, Durable, Effect, Record, Say, Unsigned};
use crate::replica::{Proposal, Replica};
use crate::selection::select;

/// View changes of one sender that are kept, beside those that a NEW-VIEW names. The lowest view goes first.
const VIEW_CHANGES_PER_SENDER_MAX: usize = 4;

impl Replica {
    /// A VIEW-CHANGE, verified, from its signer or relayed.
    pub(crate) fn on_view_change(&mut self, view_change: SealedViewChange) {
        let body = &view_change.signed.body;
        if body.epoch != self.config.epoch || body.view == View(0) {
            return;
        }
        let signer = view_change.signed.signer;
        self.note_wish(signer, body.view);
        if let Some(committed) = &body.committed {
            self.note_proof(signer, Arc::new(committed.clone()));
        }
        if body.view < self.view {
            return;
        }
        let is_named = self
            .awaiting_new_view
            .as_ref()
            .is_some_and(|(new_view, _)| new_view.signed.body.view_changes.contains(&(signer, view_change.digest)));
        let kept = self.view_changes.entry(signer).or_default();
        if kept.iter().any(|known| known.digest == view_change.digest) {
            return;
        }
        if is_named {
            kept.insert(0, view_change);
        } else {
            kept.push(view_change);
        }
        kept.retain(|known| known.signed.body.view >= self.view);
        if kept.len() > VIEW_CHANGES_PER_SENDER_MAX {
            kept.truncate(VIEW_CHANGES_PER_SENDER_MAX);
        }
    }

    fn find_view_change(&self, signer: ValidatorIndex, digest: &Digest) -> Option<&SealedViewChange> {
        self.view_changes.get(&signer)?.iter().find(|known| known.digest == *digest)
    }

    /// A NEW-VIEW, its signature verified, from its leader or relayed.
    pub(crate) fn on_new_view(&mut self, from: ValidatorIndex, new_view: SealedNewView, effects: &mut Vec<Effect>) {
        let body = &new_view.signed.body;
        let is_news = body.view > self.view || (body.view == self.view && !self.active && self.adopting.is_none());
        if body.epoch != self.config.epoch || body.view == View(0) || !is_news {
            return;
        }
        let signer = new_view.signed.signer;
        if signer != self.config.set.leader(self.config.epoch, body.view) {
            effects.push(Effect::Blame { peer: signer, why: "it sent a NEW-VIEW without being that view's leader" });
            return;
        }
        if body.check(&self.config.set).is_err() {
            effects.push(Effect::Blame { peer: signer, why: "its NEW-VIEW names too few or repeated view changes" });
            self.pace.ask(Cause::BadNewView);
            return;
        }
        let later = self.awaiting_new_view.as_ref().is_none_or(|(waiting, _)| waiting.signed.body.view <= body.view);
        if later {
            let missing = self.missing_view_changes(body);
            if !missing.is_empty() {
                let view = body.view;
                self.tell(from, Unsigned::FetchViewChanges { view, digests: missing }, effects);
            }
            self.awaiting_new_view = Some((new_view, from));
        }
    }

    fn missing_view_changes(&self, new_view: &NewView) -> Vec<Digest> {
        let named = new_view.view_changes.iter();
        named
            .filter(|(signer, digest)| self.find_view_change(*signer, digest).is_none())
            .map(|(_, digest)| *digest)
            .collect()
    }

    /// A peer lacks view changes that this replica's NEW-VIEW names.
    pub(crate) fn on_fetch_view_changes(
        &mut self,
        from: ValidatorIndex,
        view: View,
        digests: &[Digest],
        effects: &mut Vec<Effect>,
    ) {
        let Some((_, view_changes)) = self.new_view.as_ref().filter(|_| view == self.view) else { return };
        for view_change in view_changes.iter().filter(|view_change| digests.contains(&view_change.digest)) {
            self.tell(from, Unsigned::ViewChange(Arc::clone(view_change)), effects);
        }
    }

    /// Starts the view as its leader, or adopts the NEW-VIEW that waits. Says whether it did.
    pub(crate) fn start_view(&mut self, effects: &mut Vec<Effect>) -> bool {
        if self.active || self.adopting.is_some() {
            return false;
        }
        self.say_new_view(effects) || self.adopt_new_view(effects)
    }

    /// As leader of the view: NEW-VIEW, once VIEW-CHANGEs of power `Q` are there.
    fn say_new_view(&mut self, effects: &mut Vec<Effect>) -> bool {
        if !self.is_leader() || !self.may_vote() || self.new_view_said || self.own_view_change.is_none() {
            return false;
        }
        let view = self.view;
        let for_view = |known: &&SealedViewChange| known.signed.body.view == view;
        let view_changes: Vec<SealedViewChange> =
            self.view_changes.values().filter_map(|known| known.iter().find(for_view)).cloned().collect();
        let power = self.config.set.power_of(view_changes.iter().map(|view_change| view_change.signed.signer));
        if power < self.config.set.quorum() {
            return false;
        }
        let named = view_changes.iter().map(|view_change| (view_change.signed.signer, view_change.digest));
        let new_view = NewView { epoch: self.config.epoch, view, view_changes: named.collect() };
        self.new_view_said = true;
        let after = self.next_ticket();
        effects.push(Effect::Say { after, say: Say::NewView { new_view, view_changes } });
        true
    }

    /// This leader's own NEW-VIEW is durable and on its way.
    pub(crate) fn on_own_new_view(&mut self, new_view: SealedNewView, effects: &mut Vec<Effect>) {
        let body = &new_view.signed.body;
        if body.view != self.view || self.active {
            return;
        }
        let found: Option<Vec<SealedViewChange>> =
            body.view_changes.iter().map(|(signer, digest)| self.find_view_change(*signer, digest).cloned()).collect();
        // They were there when the message was made, and are kept while the view is current.
        if let Some(view_changes) = found {
            self.new_view = Some((new_view, view_changes));
            self.activate(effects);
        }
    }

    /// Adopts the NEW-VIEW of the current view, if all its view changes are here: first to the disk.
    fn adopt_new_view(&mut self, effects: &mut Vec<Effect>) -> bool {
        let Some((new_view, _)) = self.awaiting_new_view.as_ref() else { return false };
        let body = &new_view.signed.body;
        if body.view != self.view {
            return false;
        }
        let found: Option<Vec<SealedViewChange>> =
            body.view_changes.iter().map(|(signer, digest)| self.find_view_change(*signer, digest).cloned()).collect();
        let Some(view_changes) = found else { return false };
        if view_changes.iter().any(|view_change| view_change.signed.body.view != self.view) {
            effects
                .push(Effect::Blame { peer: new_view.signed.signer, why: "its NEW-VIEW names other views' changes" });
            self.pace.ask(Cause::BadNewView);
            self.awaiting_new_view = None;
            return true;
        }
        let new_view = Arc::clone(new_view);
        self.awaiting_new_view = None;
        self.adopting = Some(self.view);
        self.new_view = Some((Arc::clone(&new_view), view_changes.clone()));
        let after = self.next_ticket();
        effects.push(Effect::Persist { ticket: after, record: Record::NewView { new_view, view_changes } });
        effects.push(Effect::Notify { after, what: Durable::NewView(self.view) });
        true
    }

    /// The adopted NEW-VIEW is on the disk: from here on its view is active.
    pub(crate) fn on_new_view_durable(&mut self, view: View, effects: &mut Vec<Effect>) {
        if self.adopting == Some(view) && self.view == view {
            self.adopting = None;
            self.activate(effects);
        }
    }

    fn activate(&mut self, effects: &mut Vec<Effect>) {
        self.install_selection(effects);
        self.active = true;
        effects.push(Effect::Active { view: self.view });
    }

    /// Takes over what the view changes prove: blocks that are not selected are rolled back, and their bundles are
    /// pending again.
    pub(crate) fn install_selection(&mut self, effects: &mut Vec<Effect>) {
        let Some((new_view, view_changes)) = self.new_view.clone() else { return };
        let bodies: Vec<&ViewChange> = view_changes.iter().map(|view_change| &view_change.signed.body).collect();
        let floor = (self.config.epoch_base, self.epoch_base_digest());
        self.selection = select(&bodies, floor);
        self.halt_on_contradiction();
        if let Some(proof) = self.selection.proof.clone() {
            let from = new_view.signed.signer;
            self.note_proof(from, Arc::new(proof));
        }
        let committed = self.chain.committed();
        let mut agreed = committed.max(self.selection.base).min(self.chain.top());
        let mut height = committed.next();
        while height <= self.chain.top() {
            let selected = self.selection.blocks.get(&height).map(|selected| selected.digest);
            let is_open = height <= self.selection.base;
            if !is_open && (selected.is_none() || selected != self.chain.digest_at(height)) {
                break;
            }
            agreed = agreed.max(height);
            height = height.next();
        }
        self.roll_back_to(agreed.max(committed), effects);
        let heights: Vec<Height> = self.selection.blocks.keys().copied().collect();
        for height in heights {
            self.fill_selected(height, effects);
        }
    }

    fn epoch_base_digest(&self) -> Digest {
        // In the first epoch the base is the genesis.
        self.config.genesis_hash
    }

    /// Two different committed blocks at one height: no quorum system survives that, so nothing must go on as if.
    fn halt_on_contradiction(&self) {
        for (height, selected) in &self.selection.blocks {
            if let Some(own) = self.committed_digest(*height) {
                assert!(
                    own == selected.digest,
                    "committed block {own} at height {height} contradicts the valid NEW-VIEW of view {}, which selects {}",
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

    /// Puts a selected block into its slot, once its bundle list is known; asks for it otherwise.
    fn fill_selected(&mut self, height: Height, effects: &mut Vec<Effect>) {
        let Some(selected) = self.selection.blocks.get(&height) else { return };
        if self.slots.get(&height).is_some_and(|slot| slot.proposal.is_some()) {
            return;
        }
        let digest = selected.digest;
        let known = self.known.get(&(height, digest)).cloned();
        let known = known.or_else(|| {
            self.recent.get(&height).filter(|recent| recent.digest == digest).map(|recent| Arc::clone(&recent.block))
        });
        match known {
            Some(block) => {
                let slot = self.slots.entry(height).or_default();
                slot.proposal = Some(Proposal { block, digest, logged: None, refused: false, held: false });
                self.want_bundles_of(height, effects);
            }
            None => {
                for holder in selected.holders.clone() {
                    self.tell(holder, Unsigned::FetchBlocks(vec![digest]), effects);
                }
            }
        }
    }

    /// A peer lacks the bundle lists of blocks.
    pub(crate) fn on_fetch_blocks(&mut self, from: ValidatorIndex, digests: &[Digest], effects: &mut Vec<Effect>) {
        let known = self.known.iter().filter(|((_, digest), _)| digests.contains(digest));
        let recent = self.recent.values().filter(|recent| digests.contains(&recent.digest));
        let blocks: Vec<Arc<Block>> = known
            .map(|(_, block)| Arc::clone(block))
            .chain(recent.map(|recent| Arc::clone(&recent.block)))
            .take(digests.len())
            .collect();
        for block in blocks {
            self.tell(from, Unsigned::Block(block), effects);
        }
    }

    /// A block that was asked for: only a selected one is taken.
    pub(crate) fn on_block(&mut self, block: Arc<Block>, digest: Digest) {
        let height = block.header.height;
        let is_selected = self.selection.blocks.get(&height).is_some_and(|selected| selected.digest == digest);
        if is_selected && block.is_consistent() {
            self.remember_block(&block, digest);
            self.selected_arrived = true;
        }
    }

    /// Fills the slots of selected blocks that have arrived; asks again for those that have not, when `again`.
    pub(crate) fn fill_all_selected(&mut self, again: bool, effects: &mut Vec<Effect>) -> bool {
        if !self.active || !(again || std::mem::take(&mut self.selected_arrived)) {
            return false;
        }
        let heights: Vec<Height> = self.selection.blocks.keys().copied().collect();
        for height in heights {
            self.fill_selected(height, effects);
        }
        true
    }

    /// A prepared certificate that somebody shows, verified: kept if it is of a higher view.
    pub(crate) fn on_prepared(&mut self, prepared: Arc<PreparedCertificate>, effects: &mut Vec<Effect>) {
        let height = prepared.height();
        let window = self.stable_height().plus(self.config.parameters.log_window);
        if prepared.header.epoch == self.config.epoch && height > self.stable_height() && height <= window {
            self.keep_prepared(prepared, effects);
        }
    }
}
