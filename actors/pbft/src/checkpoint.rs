//! Checkpoints (consensus.md section 5): every `checkpoint_interval` heights each replica signs what it has; equal
//! votes of power `Q` make a stable checkpoint, and what it covers is collected.
//!
//! The state root is that of the state map after the block itself ([`dtvn_messages::state`]). It is asked for by the commit
//! and comes some time later ([`Input::StateRoot`](crate::Input::StateRoot)), as bringing the map up to date is no work
//! for the way of a vote; execution may be ahead of it. A stable checkpoint that is there before this replica's own root
//! waits for it: what is collected was compared before.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::certificate::Signatures;
use dtvn_messages::limits::{REPLICA_CHECKPOINT_VOTES_PER_SENDER_MAX, REPLICA_STATE_ROOTS_MAX};
use dtvn_messages::{Checkpoint, Digest, Header, Height, Signed, StableCheckpoint, Succession, ValidatorIndex};

use crate::effect::{Effect, Record, Say};
use crate::replica::Replica;

impl Replica {
    fn is_checkpoint(&self, height: Height) -> bool {
        height > self.config.epoch_base && height.0.is_multiple_of(self.config.parameters.checkpoint_interval)
    }

    /// A block is committed: at a checkpoint height its state root will come.
    pub(crate) fn await_root(&mut self, height: Height) {
        if self.is_checkpoint(height) {
            self.rooting.insert(height);
        }
    }

    /// The state root after a committed checkpoint height is here: the vote, and the judgement of what was stable before.
    pub(crate) fn on_state_root(&mut self, height: Height, root: Digest, effects: &mut Vec<Effect>) {
        self.rooting.remove(&height);
        if self.is_checkpoint(height) && height > self.stable_height() && height <= self.chain.committed() {
            self.roots.insert(height, root);
            while self.roots.len() > REPLICA_STATE_ROOTS_MAX {
                self.roots.pop_first();
            }
            self.checkpoint_if_due(height, effects);
            self.try_stable(height, effects);
        }
        if let Some(stable) = self.unjudged.take_if(|stable| stable.height() <= height) {
            self.become_stable(stable, effects);
        }
    }

    /// Votes for a checkpoint, if it is due: its block is committed, and the root of the state after it is known. The
    /// record of the commit is in the log before it, so one ticket covers both.
    pub(crate) fn checkpoint_if_due(&mut self, height: Height, effects: &mut Vec<Effect>) {
        let was_said = self.config.me.is_some_and(|me| self.checkpoint_vote(height, me).is_some());
        if !self.is_checkpoint(height) || !self.may_vote() || was_said || height <= self.stable_height() {
            return;
        }
        let Some(state_root) = self.roots.get(&height).copied() else { return };
        let Some(block) = self.committed_digest(height) else { return };
        let Some(Succession { next_epoch, next_set, .. }) = self.own_succession(height) else { return };
        let checkpoint = Checkpoint { epoch: self.config.epoch, height, block, state_root, next_epoch, next_set };
        let after = self.next_ticket();
        effects.push(Effect::Say { after, say: Say::Checkpoint(checkpoint) });
    }

    fn checkpoint_vote(&self, height: Height, signer: ValidatorIndex) -> Option<&Signed<Checkpoint>> {
        self.checkpoint_votes.get(&height)?.get(&signer)
    }

    /// A checkpoint vote from its own signer.
    pub(crate) fn on_checkpoint(&mut self, from: ValidatorIndex, vote: Signed<Checkpoint>, effects: &mut Vec<Effect>) {
        if vote.signer == from && vote.body.epoch == self.config.epoch && self.is_checkpoint(vote.body.height) {
            self.compare_with_certified(&vote, effects);
            self.count_checkpoint(vote, effects);
        }
    }

    /// Says of a validator whose vote is not what was certified at that height that it has diverged, or lies: once for each
    /// stable checkpoint.
    fn compare_with_certified(&mut self, vote: &Signed<Checkpoint>, effects: &mut Vec<Effect>) {
        let Some(stable) = self.stable.as_ref().filter(|stable| stable.epoch() == self.config.epoch) else { return };
        let (height, peer) = (vote.body.height, vote.signer);
        if height == stable.height() && vote.body != stable.checkpoint && self.differing.insert(peer) {
            effects.push(Effect::CheckpointDiffers { peer, height });
        }
    }

    /// Counts a checkpoint vote, and sees whether its checkpoint has become stable.
    pub(crate) fn count_checkpoint(&mut self, vote: Signed<Checkpoint>, effects: &mut Vec<Effect>) {
        let (height, signer, body) = (vote.body.height, vote.signer, vote.body);
        self.keep_checkpoint(vote);
        let kept = self.checkpoint_vote(height, signer);
        if kept.is_some_and(|kept| kept.body != body) && Some(signer) != self.config.me {
            effects.push(Effect::Blame { peer: signer, why: "it signed two checkpoints at one height" });
        }
        self.try_stable(height, effects);
    }

    /// Keeps a checkpoint vote above the stable one; the first of a signer at a height stays. Above the bound the
    /// farthest future goes first: the nearest checkpoints are those that can become stable.
    pub(crate) fn keep_checkpoint(&mut self, vote: Signed<Checkpoint>) {
        let (height, signer) = (vote.body.height, vote.signer);
        if height <= self.stable_height() {
            return;
        }
        self.checkpoint_votes.entry(height).or_default().entry(signer).or_insert(vote);
        let of_signer = self.checkpoint_votes.iter().filter(|(_, votes)| votes.contains_key(&signer));
        let heights: Vec<Height> = of_signer.map(|(height, _)| *height).collect();
        if heights.len() > REPLICA_CHECKPOINT_VOTES_PER_SENDER_MAX
            && let Some(farthest) = heights.last()
            && let Some(votes) = self.checkpoint_votes.get_mut(farthest)
        {
            votes.remove(&signer);
            if votes.is_empty() {
                self.checkpoint_votes.remove(farthest);
            }
        }
    }

    /// The header of a committed block that no stable checkpoint covers, with its digest.
    fn committed_header(&self, height: Height) -> Option<(&Header, Digest)> {
        if let Some(recent) = self.recent.get(&height) {
            return Some((&recent.block.header, recent.digest));
        }
        let proof = self.certificate_of_tip().filter(|proof| proof.height() == height)?;
        Some((&proof.header, proof.digest()))
    }

    /// What follows a committed block that no stable checkpoint covers, by this replica's own execution.
    fn own_succession(&self, height: Height) -> Option<Succession> {
        if height == self.chain.committed() {
            return Some(self.chain.tip().succession);
        }
        self.recent.get(&height).map(|recent| recent.succession)
    }

    /// Whether equal votes of power `Q` for a block that is committed here make a stable checkpoint.
    pub(crate) fn try_stable(&mut self, height: Height, effects: &mut Vec<Effect>) {
        let Some((header, _)) = self.committed_header(height) else { return };
        let Some(votes) = self.checkpoint_votes.get(&height) else { return };
        let mut groups: BTreeMap<Checkpoint, Vec<&Signed<Checkpoint>>> = BTreeMap::new();
        for vote in votes.values() {
            groups.entry(vote.body).or_default().push(vote);
        }
        let quorum = self.config.set.quorum();
        let stable = groups.into_iter().find_map(|(checkpoint, votes)| {
            let power = self.config.set.power_of(votes.iter().map(|vote| vote.signer));
            let signatures = Signatures(votes.iter().map(|vote| (vote.signer, vote.signature)).collect());
            (power >= quorum).then(|| StableCheckpoint { header: header.clone(), checkpoint, signatures })
        });
        if let Some(stable) = stable {
            self.become_stable(Arc::new(stable), effects);
        }
    }

    /// A stable checkpoint that somebody shows, verified.
    pub(crate) fn on_stable(&mut self, from: ValidatorIndex, stable: Arc<StableCheckpoint>, effects: &mut Vec<Effect>) {
        if stable.epoch() != self.config.epoch || stable.height() <= self.stable_height() {
            return;
        }
        if stable.height() <= self.chain.committed() {
            self.become_stable(stable, effects);
        } else {
            // The blocks and their certificates come by sync.
            self.note_stable(from, stable);
        }
    }

    /// A checkpoint at or below the committed height is stable: what it covers is collected. A replica that has another
    /// block or another state there has diverged, and keeps what it has.
    pub(crate) fn become_stable(&mut self, stable: Arc<StableCheckpoint>, effects: &mut Vec<Effect>) {
        let height = stable.height();
        if height <= self.stable_height() {
            return;
        }
        if self.rooting.contains(&height) {
            self.unjudged = Some(stable);
            return;
        }
        let own_block = self.committed_header(height).map(|(_, digest)| digest);
        let root = self.roots.get(&height).copied();
        let Checkpoint { block, state_root: certified, next_epoch, next_set, .. } = stable.checkpoint;
        let is_other = own_block.is_some_and(|own| own != block)
            || root.is_some_and(|own| own != certified)
            || self.own_succession(height).is_some_and(|own| (own.next_epoch, own.next_set) != (next_epoch, next_set));
        if is_other {
            self.diverge_to(height, certified, root.unwrap_or(Digest::ZERO), effects);
            return;
        }
        self.stable = Some(Arc::clone(&stable));
        self.differing.clear();
        for vote in self.checkpoint_votes.remove(&height).unwrap_or_default().into_values() {
            if Some(vote.signer) != self.config.me {
                self.compare_with_certified(&vote, effects);
            }
        }
        let above = height.next();
        self.roots = self.roots.split_off(&above);
        self.rooting = self.rooting.split_off(&above);
        self.checkpoint_votes = self.checkpoint_votes.split_off(&above);
        self.recent = self.recent.split_off(&above);
        self.prepared = self.prepared.split_off(&above);
        self.known = self.known.split_off(&(above, Digest::ZERO));
        self.slots = self.slots.split_off(&above);
        let ticket = self.next_ticket();
        effects.push(Effect::Persist { ticket, record: Record::Stable(Arc::clone(&stable)) });
        self.persist_view_again(effects);
        effects.push(Effect::Stable(stable));
    }

    /// Old segments of the log go once a checkpoint covers them; what holds for the current view moves on. What is on
    /// its way to the disk meanwhile follows when it is there.
    pub(crate) fn persist_view_again(&mut self, effects: &mut Vec<Effect>) {
        self.view_was_collected = true;
        if let Some(view_change) = self.own_view_change.clone() {
            let ticket = self.next_ticket();
            effects.push(Effect::Persist { ticket, record: Record::ViewChange(view_change) });
        }
        if let Some((new_view, view_changes)) = self.new_view.clone() {
            let ticket = self.next_ticket();
            effects.push(Effect::Persist { ticket, record: Record::NewView { new_view, view_changes } });
        }
    }
}
