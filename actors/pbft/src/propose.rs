//! The leader's blocks (consensus.md section 3, items 6 and 7).
//!
//! Deviation (D): the leader executes before it proposes, because the header names the result. It cuts a block as soon
//! as there is work and a free slot; while the pipeline is full, work gathers, so batches grow with load by themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use dtvn_messages::block::bundles_root;
use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::{Block, Digest, Header, Height, ValidatorIndex, limits};

use crate::bundles::{Room, follow};
use crate::chain::Link;
use crate::effect::{Effect, Record};
use crate::replica::Replica;
use crate::slot::Proposal;

impl Replica {
    /// The height at which this replica, as leader, may propose now.
    fn height_to_propose(&self) -> Option<Height> {
        if !self.is_leader() || !self.active || !self.may_vote() || self.lacks_roots() {
            return None;
        }
        let (committed, top) = (self.chain.committed(), self.chain.top());
        let height = top.next();
        let is_open = committed >= self.selection.base
            && height > self.selection.end
            && self.certified.is_empty()
            && self.proved_height() <= top;
        let is_in_bounds = height <= self.last_height_of_view()
            && height.above(committed) <= self.config.parameters.pipeline
            && height <= self.window_end();
        if !is_open || !is_in_bounds || self.slots.get(&height).is_some_and(|slot| slot.proposal.is_some()) {
            return None;
        }
        // Everything below is accepted in this view: nothing is executed above what this view knows.
        let mut below = (committed.0 + 1..=top.0).map(Height);
        let is_known = below.all(|below| {
            let slot = self.slots.get(&below).and_then(|slot| slot.proposal.as_ref());
            slot.is_some_and(|proposal| Some(proposal.digest) == self.chain.digest_at(below))
        });
        is_known.then_some(height)
    }

    /// Cuts a block, if there is work and a free slot, and hands it to execution.
    pub(crate) fn propose(&mut self, effects: &mut Vec<Effect>) -> bool {
        if self.bundles.is_empty() && !self.has_end_to_reach() {
            return false;
        }
        let Some(height) = self.height_to_propose() else { return false };
        let Some(parent) = self.chain.parent_for(height) else { return false };
        let ends = parent.succession.and_then(|succession| succession.ends);
        if ends.is_some_and(|end| height > end) && !planted(Canary::EpochEndIgnored) {
            return false;
        }
        let is_cautious = self.pace.is_cautious(self.chain.committed().next());
        let room = Room {
            bundles: if is_cautious { 1 } else { limits::BLOCK_BUNDLES_MAX },
            operations: limits::BLOCK_OPERATIONS_MAX,
            bytes: limits::BLOCK_BYTES_MAX,
        };
        let choose = |left_out: &BTreeSet<ValidatorIndex>| self.bundles.choose(&parent.positions, room, left_out);
        let left_out = self.pace.left_out().into_iter().filter(|_| is_cautious);
        let careful = left_out.map(|left_out| choose(&left_out)).find(|chosen| !chosen.is_empty());
        let is_new_round = is_cautious && careful.is_none() && height == self.chain.committed().next();
        let chosen = careful.unwrap_or_else(|| choose(&BTreeSet::new()));
        if is_new_round {
            self.pace.start_over();
        }
        let mut positions = parent.positions;
        // Empty blocks lead to the end of an epoch, and to nothing else.
        let may_be_empty = ends.is_some() && parent.empty_run < self.config.parameters.checkpoint_interval;
        if (chosen.is_empty() && !may_be_empty) || !follow(&mut positions, chosen.iter()) {
            return false;
        }
        let empty_run = if chosen.is_empty() { parent.empty_run + 1 } else { 0 };
        let timestamp = self.now.wall.max(parent.timestamp.plus_micros(1));
        let bundles: Vec<Digest> = chosen.iter().map(|meta| meta.digest).collect();
        let id = self.chain.next_execution();
        effects.push(Effect::Execute { id, height, timestamp, bundles: bundles.clone() });
        let (log, succession) = (None, None);
        self.chain.push(Link { height, id, block: None, timestamp, bundles, positions, empty_run, log, succession });
        true
    }

    /// The result of a block of this leader is there: it becomes a proposal. The view that it was cut for is still the
    /// current one: a move drops what is unfinished.
    pub(crate) fn finish_proposal(
        &mut self,
        height: Height,
        log_size: u64,
        log_root: Digest,
        effects: &mut Vec<Effect>,
    ) {
        let is_free = self.slots.get(&height).is_none_or(|slot| slot.proposal.is_none());
        let may_propose = self.is_leader() && self.active && self.may_vote() && is_free;
        let (Some(me), Some(parent), Some(link)) =
            (self.config.me.filter(|_| may_propose), self.chain.parent_for(height), self.chain.link(height))
        else {
            return self.roll_back_to(height.previous(), effects);
        };
        let header = Header {
            epoch: self.config.epoch,
            rules_version: self.config.rules_version,
            height,
            parent: parent.digest,
            proposer: me,
            proposed_in_view: self.view,
            timestamp: link.timestamp,
            bundles_root: bundles_root(&link.bundles),
            log_size,
            log_root,
        };
        let block = Arc::new(Block { header, bundles: link.bundles.clone() });
        let digest = block.header.digest(&self.config.chain);
        self.chain.set_block(height, Arc::clone(&block), digest);
        self.remember_block(&block, digest);
        self.vouch_for(&block);
        let (view, ticket) = (self.view, self.next_ticket());
        let slot = self.slots.entry(height).or_default();
        slot.prepare_said = true;
        slot.proposal =
            Some(Proposal { block: Arc::clone(&block), digest, logged: Some(ticket), refused: None, is_held: false });
        effects.push(Effect::Persist { ticket, record: Record::Proposal { view, block: Arc::clone(&block) } });
        effects.push(Effect::Propose { after: ticket, view, block, digest });
    }
}
