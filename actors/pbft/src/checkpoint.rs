//! Checkpoints (consensus.md section 5): every `checkpoint_interval` heights each replica signs what it has; equal votes
//! of power `Q` make a stable checkpoint, and what it covers is collected.
//!
//! Under rules version 1 the state root is the root of the transparency log, of which the state is a function.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::certificate::Signatures;
use dtvn_messages::{Checkpoint, Digest, Height, Signed, StableCheckpoint, ValidatorIndex};

use crate::effect::{Effect, Record, Say};
use crate::replica::Replica;

/// Checkpoint votes of one sender that are kept; the lowest goes first.
const CHECKPOINT_VOTES_PER_SENDER_MAX: usize = 8;

impl Replica {
    /// Votes for a checkpoint at a height that was just committed, if there is one due. The record of the commit is in
    /// the log before it, so one ticket covers both.
    pub(crate) fn checkpoint_if_due(&mut self, height: Height, digest: Digest, effects: &mut Vec<Effect>) {
        if !height.0.is_multiple_of(self.config.parameters.checkpoint_interval) || !self.may_vote() {
            return;
        }
        let (_, log_root) = self.chain.tip().log;
        let checkpoint = Checkpoint {
            epoch: self.config.epoch,
            height,
            block: digest,
            state_root: log_root,
            next_set: self.config.set.hash(),
        };
        let after = self.next_ticket();
        effects.push(Effect::Say { after, say: Say::Checkpoint(checkpoint) });
    }

    /// A checkpoint vote from its own signer.
    pub(crate) fn on_checkpoint(&mut self, from: ValidatorIndex, vote: Signed<Checkpoint>, effects: &mut Vec<Effect>) {
        let checkpoint = &vote.body;
        let is_due = checkpoint.height.0.is_multiple_of(self.config.parameters.checkpoint_interval);
        if vote.signer != from || checkpoint.epoch != self.config.epoch || !is_due {
            return;
        }
        self.count_checkpoint(vote, effects);
    }

    /// Counts a checkpoint vote; the first of a signer at a height stays.
    pub(crate) fn count_checkpoint(&mut self, vote: Signed<Checkpoint>, effects: &mut Vec<Effect>) {
        let height = vote.body.height;
        if height <= self.stable_height() {
            return;
        }
        let signer = vote.signer;
        self.checkpoint_votes.entry(height).or_default().entry(signer).or_insert(vote);
        let of_signer: Vec<Height> = (self.checkpoint_votes.iter())
            .filter(|(_, votes)| votes.contains_key(&signer))
            .map(|(height, _)| *height)
            .collect();
        // The farthest future goes first: the nearest checkpoints are those that can become stable.
        if of_signer.len() > CHECKPOINT_VOTES_PER_SENDER_MAX
            && let Some(votes) = of_signer.last().and_then(|farthest| self.checkpoint_votes.get_mut(farthest))
        {
            votes.remove(&signer);
        }
        if let Some(stable) = self.stable_from_votes(height) {
            self.become_stable(Arc::new(stable), effects);
        }
    }

    /// The stable checkpoint at a height, if equal votes of power `Q` for the block that is committed here are there.
    fn stable_from_votes(&self, height: Height) -> Option<StableCheckpoint> {
        let recent = self.recent.get(&height)?;
        let mut groups: BTreeMap<Checkpoint, Vec<&Signed<Checkpoint>>> = BTreeMap::new();
        for vote in self.checkpoint_votes.get(&height)?.values() {
            groups.entry(vote.body).or_default().push(vote);
        }
        let quorum = self.config.set.quorum();
        let (checkpoint, votes) = groups.into_iter().find(|(checkpoint, votes)| {
            checkpoint.block == recent.digest
                && self.config.set.power_of(votes.iter().map(|vote| vote.signer)) >= quorum
        })?;
        let signatures = Signatures(votes.iter().map(|vote| (vote.signer, vote.signature)).collect());
        Some(StableCheckpoint { header: recent.block.header.clone(), checkpoint, signatures })
    }

    /// A stable checkpoint that somebody shows, verified.
    pub(crate) fn on_stable(&mut self, from: ValidatorIndex, stable: Arc<StableCheckpoint>, effects: &mut Vec<Effect>) {
        if stable.epoch() != self.config.epoch || stable.height() <= self.stable_height() {
            return;
        }
        if stable.height() <= self.chain.committed() {
            self.become_stable(stable, effects);
        } else {
            // It proves that its height is committed; the blocks and their certificates come by sync.
            self.proved_by.insert(from);
            let height = self.peer_committed.entry(from).or_insert(stable.height());
            *height = (*height).max(stable.height());
        }
    }

    /// A checkpoint at or below the committed height is stable: what it covers is collected.
    fn become_stable(&mut self, stable: Arc<StableCheckpoint>, effects: &mut Vec<Effect>) {
        let height = stable.height();
        if let Some(recent) = self.recent.get(&height)
            && recent.digest == stable.checkpoint.block
        {
            let own = self.own_checkpoint(height);
            if own.is_some_and(|own| own != stable.checkpoint) {
                let certified = stable.checkpoint.state_root;
                self.diverge(height, certified, effects);
            }
        }
        self.stable = Some(Arc::clone(&stable));
        let above = height.next();
        self.checkpoint_votes = self.checkpoint_votes.split_off(&above);
        self.recent = self.recent.split_off(&above);
        self.prepared = self.prepared.split_off(&above);
        self.known = self.known.split_off(&(above, Digest::ZERO));
        let keep = above.min(self.chain.committed().next());
        self.slots = self.slots.split_off(&keep);
        let ticket = self.next_ticket();
        effects.push(Effect::Persist { ticket, record: Record::Stable(Arc::clone(&stable)) });
        self.persist_view_again(effects);
        effects.push(Effect::Stable(stable));
    }

    fn own_checkpoint(&self, height: Height) -> Option<Checkpoint> {
        let votes = self.checkpoint_votes.get(&height)?;
        votes.get(&self.config.me?).map(|vote| vote.body)
    }

    /// Old segments of the log go once a checkpoint covers them; what holds for the current view moves on.
    fn persist_view_again(&mut self, effects: &mut Vec<Effect>) {
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
