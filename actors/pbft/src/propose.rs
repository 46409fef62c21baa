//! The leader's blocks (consensus.md section 3, items 6 and 7).
//!
//! Deviation (D): the leader executes before it proposes, because the header names the result. It cuts a block as soon as
//! there is work and a free slot; while the pipeline is full, work gathers, so batches grow with load by themselves.

use std::sync::Arc;

use dtvn_messages::block::bundles_root;
use dtvn_messages::{Block, Digest, Header, Height, Now, Timestamp, limits};

use crate::bundles::follow;
use crate::chain::Link;
use crate::effect::{Effect, Record};
use crate::replica::{Proposal, Replica};

/// After this many failed views at one height a leader proposes one bundle per block.
const FAILED_VIEWS_BEFORE_SINGLE: u32 = 2;

impl Replica {
    /// The height at which this replica, as leader, may propose now.
    fn height_to_propose(&self) -> Option<Height> {
        if !self.is_leader() || !self.active || self.adopting.is_some() || !self.may_vote() {
            return None;
        }
        let top = self.chain.top();
        let height = top.next();
        let parameters = &self.config.parameters;
        let in_order = self.chain.committed() >= self.selection.base
            && height > self.selection.end
            && self.certified.is_empty()
            && self.proved_height() <= top;
        let in_bounds = height <= self.last_height_of_view()
            && height.above(self.chain.committed()) <= parameters.pipeline
            && height <= self.stable_height().plus(parameters.log_window);
        // Everything below is accepted in this view: nothing is executed above what this view knows.
        let slots_agree = (self.chain.committed().0 + 1..=top.0).all(|below| {
            let slot = self.slots.get(&Height(below)).and_then(|slot| slot.proposal.as_ref());
            slot.is_some_and(|proposal| Some(proposal.digest) == self.chain.digest_at(Height(below)))
        });
        let is_free = !self.slots.get(&height).is_some_and(|slot| slot.proposal.is_some());
        (in_order && in_bounds && slots_agree && is_free).then_some(height)
    }

    /// Cuts a block, if there is work and a free slot, and hands it to execution.
    pub(crate) fn propose(&mut self, now: Now, effects: &mut Vec<Effect>) -> bool {
        if self.bundles.is_empty() {
            return false;
        }
        let Some(height) = self.height_to_propose() else { return false };
        let Some(parent) = self.chain.parent_for(height) else { return false };
        let tried = |digest: &Digest| self.bundle_tries.get(digest).copied().unwrap_or(0);
        let is_cautious = self.pace.failed_views() >= FAILED_VIEWS_BEFORE_SINGLE;
        let count_max = if is_cautious { 1 } else { limits::BLOCK_BUNDLES_MAX };
        let skip = self.bundle_tries.iter().max_by_key(|(_, tries)| **tries).map(|(digest, _)| *digest);
        let skip = skip.filter(|digest| is_cautious && tried(digest) >= FAILED_VIEWS_BEFORE_SINGLE);
        let (operations_max, bytes_max) = (limits::BLOCK_OPERATIONS_MAX, limits::BLOCK_BYTES_MAX);
        let choose =
            |skip: Option<&Digest>| self.bundles.choose(&parent.positions, count_max, operations_max, bytes_max, skip);
        let mut chosen = choose(skip.as_ref());
        if chosen.is_empty() && skip.is_some() {
            chosen = choose(None);
        }
        if chosen.is_empty() {
            return false;
        }
        let timestamp = now.wall.max(parent.timestamp.plus_micros(1));
        let mut positions = parent.positions;
        let ordered = follow(&mut positions, chosen.iter());
        assert!(ordered, "bundles are chosen in the order of their numbers");
        let bundles: Vec<Digest> = chosen.iter().map(|meta| meta.digest).collect();
        let id = self.chain.next_execution();
        effects.push(Effect::Execute { id, height, timestamp, bundles: bundles.clone() });
        self.chain.push(Link { height, id, block: None, timestamp, bundles, positions, empty_run: 0, log: None });
        true
    }

    /// The result of a block of this leader is there: it becomes a proposal.
    pub(crate) fn finish_proposal(
        &mut self,
        height: Height,
        log_size: u64,
        log_root: Digest,
        effects: &mut Vec<Effect>,
    ) {
        let Some(me) = self.config.me.filter(|_| self.is_leader() && self.active && self.may_vote()) else {
            return self.roll_back_to(height.previous(), effects);
        };
        let Some(parent) = self.chain.parent_for(height) else { return };
        let Some(link) = self.chain.link(height) else { return };
        let header = Header {
            epoch: self.config.epoch,
            rules_version: self.config.rules_version,
            height,
            parent: parent.digest,
            proposer: me,
            proposed_in_view: self.view,
            timestamp: Timestamp(link.timestamp.0),
            bundles_root: bundles_root(&link.bundles),
            log_size,
            log_root,
        };
        let block = Arc::new(Block { header, bundles: link.bundles.clone() });
        let digest = block.header.digest(&self.config.chain);
        self.chain.set_block(height, Arc::clone(&block), digest);
        self.remember_block(&block, digest);
        let ticket = self.next_ticket();
        let view = self.view;
        let slot = self.slots.entry(height).or_default();
        slot.prepare_said = true;
        slot.proposal =
            Some(Proposal { block: Arc::clone(&block), digest, logged: Some(ticket), refused: false, held: false });
        effects.push(Effect::Persist { ticket, record: Record::Proposal { view, block: Arc::clone(&block) } });
        effects.push(Effect::Propose { after: ticket, view, block, digest });
    }
}
