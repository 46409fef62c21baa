//! VIEW-CHANGE and NEW-VIEW (consensus.md section 6).
//!
//! Deviations (D): a NEW-VIEW names its VIEW-CHANGEs by hash, since they were broadcast; everyone computes the same
//! selection from them, and no block is proposed again: on the selected digests all send PREPARE, the leader and those
//! who committed them already included. A view is active once its NEW-VIEW is verified and durable.

use std::sync::Arc;

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::limits::REPLICA_VIEW_CHANGES_PER_SENDER_MAX;
use dtvn_messages::view_change::{SealedNewView, SealedViewChange};
use dtvn_messages::{CommittedProof, Digest, NewView, PreparedCertificate, ValidatorIndex, View, ViewChange};

use crate::effect::{Cause, Effect, Record, Say, Unsigned};
use crate::input::Durable;
use crate::replica::Replica;
use crate::slot::Ask;

impl Replica {
    /// The view change that this replica would send for its current view.
    pub(crate) fn view_change(&self) -> ViewChange {
        let committed = self.tip_proof.as_ref().filter(|proof| proof.header.epoch == self.config.epoch);
        let floor = committed.map_or(self.config.epoch_base, |proof| proof.height());
        let above = self.prepared.range(floor.next()..).filter(|(_, kept)| kept.certificate.view() < self.view);
        let above = above.filter(|_| !planted(Canary::ViewChangeWithoutProofs));
        ViewChange {
            epoch: self.config.epoch,
            view: self.view,
            stable: self.stable.as_deref().filter(|stable| stable.epoch() == self.config.epoch).cloned(),
            committed: committed.map(|proof| CommittedProof::clone(proof)),
            prepared: above.map(|(_, kept)| PreparedCertificate::clone(&kept.certificate)).collect(),
        }
    }

    /// A VIEW-CHANGE, verified, from its signer or relayed. It counts as a wish, and proves what it shows.
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
        if let Some(stable) = &body.stable {
            self.note_stable(signer, Arc::new(stable.clone()));
        }
        if body.view >= self.view {
            self.keep_view_change(view_change);
        }
    }

    /// Keeps a VIEW-CHANGE. Above the bound one goes that no waiting NEW-VIEW names and that is not the first of its
    /// signer for the current view, the lowest view first. What the NEW-VIEW of the current view names stays in any case:
    /// liars who lead later views may have named so many others.
    fn keep_view_change(&mut self, view_change: SealedViewChange) {
        let (view, signer) = (self.view, view_change.signed.signer);
        let leader = self.leader();
        let awaiting = &self.awaiting_new_views;
        let is_needed = |known: &SealedViewChange| {
            let current = awaiting.get(&leader).map(|(new_view, _)| &new_view.signed.body);
            let current = current.filter(|new_view| new_view.view == view);
            current.is_some_and(|new_view| new_view.view_changes.contains(&(signer, known.digest)))
        };
        let is_named = |known: &SealedViewChange| {
            let name = (signer, known.digest);
            awaiting.values().any(|(new_view, _)| new_view.signed.body.view_changes.contains(&name))
        };
        let kept = self.view_changes.entry(signer).or_default();
        if kept.iter().any(|known| known.digest == view_change.digest) {
            return;
        }
        kept.retain(|known| known.signed.body.view >= view);
        kept.push(view_change);
        if kept.len() <= REPLICA_VIEW_CHANGES_PER_SENDER_MAX {
            return;
        }
        let first = kept.iter().position(|known| known.signed.body.view == view);
        let ranked = (0..kept.len()).filter(|at| Some(*at) != first && !kept.get(*at).is_some_and(is_needed));
        let rank = |at: &usize| kept.get(*at).map(|known| (is_named(known), known.signed.body.view));
        if let Some(least) = ranked.min_by_key(rank) {
            kept.remove(least);
        }
    }

    fn find_view_change(&self, signer: ValidatorIndex, digest: &Digest) -> Option<&SealedViewChange> {
        self.view_changes.get(&signer)?.iter().find(|known| known.digest == *digest)
    }

    /// The VIEW-CHANGEs that a NEW-VIEW names, if all are here.
    fn named_view_changes(&self, new_view: &NewView) -> Option<Vec<SealedViewChange>> {
        let named = new_view.view_changes.iter();
        named.map(|(signer, digest)| self.find_view_change(*signer, digest).cloned()).collect()
    }

    /// A NEW-VIEW, its signature verified, from its leader or relayed. One waits for each leader, so that none can hide
    /// another's.
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
            self.blame_new_view(body.view, signer, "its NEW-VIEW names too few or repeated view changes", effects);
            return;
        }
        // Of two views the nearer one: it is the one that may be needed next. Of two for one view the one that came
        // last.
        let waiting = self.awaiting_new_views.get(&signer).map(|(waiting, _)| waiting.signed.body.view);
        if waiting.is_some_and(|waiting| waiting < body.view && waiting >= self.view) {
            return;
        }
        self.fetch_missing(from, body, effects);
        self.awaiting_new_views.insert(signer, (new_view, from));
    }

    /// A bad NEW-VIEW of the current view ends it; one of another view only shows its leader.
    fn blame_new_view(&mut self, view: View, leader: ValidatorIndex, why: &'static str, effects: &mut Vec<Effect>) {
        effects.push(Effect::Blame { peer: leader, why });
        if view == self.view && !self.active {
            self.pace.ask(Cause::BadNewView);
        }
    }

    fn fetch_missing(&self, from: ValidatorIndex, new_view: &NewView, effects: &mut Vec<Effect>) {
        let missing: Vec<Digest> = (new_view.view_changes.iter())
            .filter(|(signer, digest)| self.find_view_change(*signer, digest).is_none())
            .map(|(_, digest)| *digest)
            .collect();
        if !missing.is_empty() {
            self.tell(from, Unsigned::FetchViewChanges { view: new_view.view, digests: missing }, effects);
        }
    }

    /// Asks again for what the NEW-VIEW of the current view lacks.
    pub(crate) fn fetch_missing_again(&self, effects: &mut Vec<Effect>) {
        if let Some((new_view, from)) = self.awaiting_new_views.get(&self.leader())
            && new_view.signed.body.view == self.view
        {
            self.fetch_missing(*from, &new_view.signed.body, effects);
        }
    }

    /// A peer lacks view changes that this replica's NEW-VIEW names.
    pub(crate) fn on_fetch_view_changes(
        &mut self,
        from: ValidatorIndex,
        view: View,
        digests: &[Digest],
        effects: &mut Vec<Effect>,
    ) {
        if view != self.view || self.new_view.is_none() || !self.may_answer(from, Ask::ViewChanges) {
            return;
        }
        let Some((_, view_changes)) = &self.new_view else { return };
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

    /// As leader of the view: NEW-VIEW, once VIEW-CHANGEs of power `Q` are there, this replica's own among them.
    fn say_new_view(&mut self, effects: &mut Vec<Effect>) -> bool {
        let may_say = self.is_leader() && self.may_vote() && self.own_view_change.is_some();
        if !may_say || self.said_new_view.is_some() {
            return false;
        }
        let view = self.view;
        let for_view = |known: &&SealedViewChange| known.signed.body.view == view;
        let mut view_changes: Vec<SealedViewChange> =
            self.view_changes.values().filter_map(|known| known.iter().find(for_view)).cloned().collect();
        if self.power_of(&view_changes) < self.config.set.quorum() {
            return false;
        }
        self.leave_out_the_longest(&mut view_changes);
        let named = view_changes.iter().map(|view_change| (view_change.signed.signer, view_change.digest));
        let new_view = NewView { epoch: self.config.epoch, view, view_changes: named.collect() };
        self.said_new_view = Some(view_changes.clone());
        let after = self.next_ticket();
        effects.push(Effect::Say { after, say: Say::NewView { new_view, view_changes } });
        true
    }

    fn power_of(&self, view_changes: &[SealedViewChange]) -> u64 {
        self.config.set.power_of(view_changes.iter().map(|view_change| view_change.signed.signer))
    }

    /// A liar may show as many certificates as there are heights in a window, and all that a NEW-VIEW names becomes one
    /// record: where others are enough, the longest are not named.
    fn leave_out_the_longest(&self, view_changes: &mut Vec<SealedViewChange>) {
        let shown = |view_change: &SealedViewChange| view_change.signed.body.prepared.len();
        let window = usize::try_from(self.config.parameters.log_window).unwrap_or(usize::MAX);
        while view_changes.iter().map(shown).sum::<usize>() > window {
            let others = view_changes.iter().enumerate();
            let others = others.filter(|(_, view_change)| Some(view_change.signed.signer) != self.config.me);
            let Some((longest, _)) = others.max_by_key(|(_, view_change)| shown(view_change)) else { return };
            let left_out = view_changes.remove(longest);
            if self.power_of(view_changes) < self.config.set.quorum() {
                view_changes.insert(longest, left_out);
                return;
            }
        }
    }

    /// This leader's own NEW-VIEW is durable and on its way.
    pub(crate) fn on_own_new_view(&mut self, new_view: SealedNewView, effects: &mut Vec<Effect>) {
        if new_view.signed.body.view != self.view || self.active {
            return;
        }
        let Some(view_changes) = self.said_new_view.clone() else { return };
        if self.view_was_collected {
            let ticket = self.next_ticket();
            let record = Record::NewView { new_view: Arc::clone(&new_view), view_changes: view_changes.clone() };
            effects.push(Effect::Persist { ticket, record });
        }
        self.adopting = None;
        self.new_view = Some((new_view, view_changes));
        self.activate(effects);
    }

    /// This replica's own VIEW-CHANGE is durable and on its way.
    pub(crate) fn on_own_view_change(&mut self, view_change: SealedViewChange, effects: &mut Vec<Effect>) {
        if view_change.signed.body.view == self.view {
            self.own_view_change = Some(Arc::clone(&view_change));
            if self.view_was_collected {
                let ticket = self.next_ticket();
                effects.push(Effect::Persist { ticket, record: Record::ViewChange(Arc::clone(&view_change)) });
            }
        }
        self.on_view_change(view_change);
    }

    /// Adopts the NEW-VIEW of the current view, if all its view changes are here: first to the disk.
    fn adopt_new_view(&mut self, effects: &mut Vec<Effect>) -> bool {
        let leader = self.leader();
        let Some((new_view, _)) = self.awaiting_new_views.get(&leader) else { return false };
        let new_view = Arc::clone(new_view);
        if new_view.signed.body.view != self.view || self.said_new_view.is_some() {
            return false;
        }
        let Some(view_changes) = self.named_view_changes(&new_view.signed.body) else { return false };
        self.awaiting_new_views.remove(&leader);
        if view_changes.iter().any(|view_change| view_change.signed.body.view != self.view) {
            self.blame_new_view(self.view, leader, "its NEW-VIEW names other views' changes", effects);
            return true;
        }
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
}
