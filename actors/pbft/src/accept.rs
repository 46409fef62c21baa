//! Fresh proposals: checked, held, and put into their slot (consensus.md sections 2 and 3).
//!
//! Deviations (D): a proposal names bundles that travelled before it, so a vote also says "I hold the data"; and a
//! replica accepts height `h` only after `h - 1`. How far a proposal may be behind the clock on arrival doubles with
//! each view that fails, up to the longest view timeout: else a network whose delay is above the drift would end one view
//! after the other, for ever. Agreed time still only rises.

use std::collections::BTreeSet;
use std::sync::Arc;

use dtvn_messages::block::bundles_root;
use dtvn_messages::{Block, Digest, Header, Height, Signature, Timestamp, ValidatorIndex, View, VoteKind, limits};

use crate::effect::{Cause, Effect};
use crate::input::{Message, Timer};
use crate::replica::Replica;
use crate::slot::{Proposal, Refusal};

/// The shortest time for which a proposal is held.
const HOLD_US_MIN: u64 = limits::REPLICA_HOLD_MS_MIN * 1_000;

/// What a fresh block builds on.
struct Below {
    digest: Digest,
    timestamp: Timestamp,
    /// How many empty blocks end there.
    empty_run: u64,
}

impl Replica {
    #[expect(clippy::too_many_arguments, reason = "the parts of one message, and when it came")]
    pub(crate) fn on_pre_prepare(
        &mut self,
        from: ValidatorIndex,
        view: View,
        block: Arc<Block>,
        digest: Digest,
        signature: Signature,
        arrived: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let height = block.header.height;
        if view != self.view || !self.active || block.header.epoch != self.config.epoch {
            return;
        }
        if from != self.leader() {
            effects.push(Effect::Blame { peer: from, why: "it proposed a block without being the leader" });
            return;
        }
        if height <= self.chain.committed() || height > self.window_end() {
            return;
        }
        if !self.count(from, VoteKind::Prepare, height, digest, signature) {
            effects.push(Effect::Blame { peer: from, why: "it voted for two blocks in one view and height" });
        }
        // Selected blocks are not proposed again: what the leader sends for them is its PREPARE.
        if height <= self.selection.end {
            return;
        }
        if let Some(proposal) = self.slots.get(&height).and_then(|slot| slot.proposal.as_ref()) {
            if proposal.digest != digest {
                effects.push(Effect::Blame { peer: from, why: "it proposed two blocks for one view and height" });
            }
            return;
        }
        if !self.can_build(height) {
            self.keep_early(from, arrived, Message::PrePrepare { view, block, digest, signature });
            return;
        }
        self.accept(from, block, digest, arrived, effects);
    }

    /// Whether the block below this height is there to build on: committed, selected, or accepted in this very view. A
    /// replica below the base of its view first syncs to it.
    pub(crate) fn can_build(&self, height: Height) -> bool {
        let below = height.previous();
        let committed = self.chain.committed();
        committed >= self.selection.base
            && (below <= committed.max(self.selection.end)
                || self.slots.get(&below).and_then(|slot| slot.proposal.as_ref()).is_some_and(Proposal::is_accepted))
    }

    /// Puts a fresh proposal into its slot, whose predecessor is there.
    fn accept(
        &mut self,
        from: ValidatorIndex,
        block: Arc<Block>,
        digest: Digest,
        arrived: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let height = block.header.height;
        if self.is_overtaken(&block) {
            return;
        }
        let drift_us = self.drift_us();
        let timestamp = block.header.timestamp;
        // What a quorum prepared was in time for a quorum.
        let is_prepared = self.has_quorum(VoteKind::Prepare, height, &digest);
        if timestamp.plus_micros(self.pace.lateness_us(drift_us)) < arrived && !is_prepared {
            return;
        }
        let fault = self.fault_of(&block);
        let is_held = fault.is_none() && !is_prepared && timestamp > self.now.wall.plus_micros(drift_us);
        let refused = fault.map(|_| Refusal::Malformed);
        if refused.is_none() {
            self.remember_block(&block, digest);
        }
        self.accepted += 1;
        let slot = self.slots.entry(height).or_default();
        slot.proposal = Some(Proposal { block, digest, logged: None, refused, is_held });
        if let Some(why) = fault {
            effects.push(Effect::Blame { peer: from, why });
            self.pace.ask(Cause::BadProposal);
        } else if is_held {
            self.set_hold_timer(effects);
        } else {
            self.want_bundles_of(height, effects);
        }
    }

    fn drift_us(&self) -> u64 {
        self.config.parameters.max_clock_drift_ms * 1_000
    }

    /// Whether a proposal builds on a block that lost: another one is committed there, in a later view than this one. That
    /// is no fault of this view's leader, who could not know.
    fn is_overtaken(&self, block: &Block) -> bool {
        let tip = self.chain.tip();
        let view = self.certificate_of_tip().map(|proof| proof.certificate.vote.view);
        block.header.height == tip.height.next()
            && block.header.parent != tip.digest
            && tip.height > self.config.epoch_base
            && view.is_none_or(|view| view > self.view)
    }

    /// What is wrong with a fresh proposal that no honest leader would make so.
    fn fault_of(&self, block: &Block) -> Option<&'static str> {
        let header = &block.header;
        let Some(below) = self.below(header.height) else {
            return Some("its block builds on nothing that is known");
        };
        let empty_run = if block.bundles.is_empty() { below.empty_run + 1 } else { 0 };
        let faults = [
            (header.parent != below.digest, "its block does not build on the block below"),
            (header.rules_version != self.config.rules_version, "its block is made under other rules"),
            (header.proposer != self.leader(), "its block names another proposer"),
            (header.proposed_in_view != self.view, "its block names another view"),
            (header.height > self.last_height_of_view(), "its block is above the last height of its view"),
            (header.timestamp <= below.timestamp, "its block's time does not increase"),
            (block.bundles.len() > limits::BLOCK_BUNDLES_MAX, "its block has too many bundles"),
            (!block.is_consistent(), "its block has other bundles than its header says"),
            (empty_run > self.config.parameters.checkpoint_interval, "its block is one empty block too many"),
            (has_repetition(&block.bundles), "its block names a bundle twice"),
        ];
        faults.into_iter().find(|(is_fault, _)| *is_fault).map(|(_, why)| why)
    }

    /// The block below a height, as accepted in this view, selected or committed.
    fn below(&self, height: Height) -> Option<Below> {
        let below = height.previous();
        if below == self.chain.committed() {
            let tip = self.chain.tip();
            return Some(Below { digest: tip.digest, timestamp: tip.timestamp, empty_run: tip.empty_run });
        }
        let (header, digest): (&Header, Digest) = match self.selection.blocks.get(&below) {
            Some(selected) => (&selected.header, selected.digest),
            None => {
                let proposal = self.slots.get(&below)?.proposal.as_ref().filter(|proposal| proposal.is_accepted())?;
                (&proposal.block.header, proposal.digest)
            }
        };
        let empty_run = match header.bundles_root == bundles_root(&[]) {
            true => self.below(below).map_or(0, |lower| lower.empty_run) + 1,
            false => 0,
        };
        Some(Below { digest, timestamp: header.timestamp, empty_run })
    }

    /// Takes back the hold on a block that a quorum prepared: no clock is asked about it any more.
    pub(crate) fn release_prepared(&mut self, height: Height, effects: &mut Vec<Effect>) {
        let held = self.slots.get(&height).and_then(|slot| slot.proposal.as_ref()).filter(|proposal| proposal.is_held);
        if held.is_some_and(|held| self.has_quorum(VoteKind::Prepare, height, &held.digest)) {
            self.release(height, effects);
        }
    }

    fn release(&mut self, height: Height, effects: &mut Vec<Effect>) {
        if let Some(proposal) = self.slots.get_mut(&height).and_then(|slot| slot.proposal.as_mut()) {
            proposal.is_held = false;
        }
        self.want_bundles_of(height, effects);
    }

    /// The clock may have reached the time of proposals that are held.
    pub(crate) fn release_held(&mut self, effects: &mut Vec<Effect>) {
        let limit = self.now.wall.plus_micros(self.drift_us());
        let is_due = |proposal: &Proposal| proposal.is_held && proposal.block.header.timestamp <= limit;
        let due: Vec<Height> = (self.slots.iter())
            .filter(|(_, slot)| slot.proposal.as_ref().is_some_and(is_due))
            .map(|(height, _)| *height)
            .collect();
        for height in due {
            self.release(height, effects);
        }
        self.set_hold_timer(effects);
    }

    /// Sets the timer for the first of the proposals that are held.
    fn set_hold_timer(&mut self, effects: &mut Vec<Effect>) {
        let limit = self.now.wall.plus_micros(self.drift_us());
        let held = self.slots.values().filter_map(|slot| slot.proposal.as_ref()).filter(|proposal| proposal.is_held);
        if let Some(first) = held.map(|proposal| proposal.block.header.timestamp).min() {
            // Not at once again, if the clock stands still.
            let after_us = first.0.saturating_sub(limit.0).max(HOLD_US_MIN);
            self.set_timer(Timer::Hold, after_us, effects);
        }
    }

    /// Asks for the bundles of the block at a height that are not here: from the leader first, for a selected block
    /// from the signers of its certificate.
    pub(crate) fn want_bundles_of(&self, height: Height, effects: &mut Vec<Effect>) {
        let Some(proposal) = self.slots.get(&height).and_then(|slot| slot.proposal.as_ref()) else { return };
        let selected = self.selection.blocks.get(&height);
        let holders = selected.map_or_else(|| vec![self.leader()], |selected| selected.holders.clone());
        let proposer = selected.is_none().then(|| self.leader());
        self.want(&proposal.block.bundles, holders, proposer, effects);
    }

    /// `proposer`: the leader whose proposal names them; none if a quorum voted for the block.
    pub(crate) fn want(
        &self,
        bundles: &[Digest],
        mut holders: Vec<ValidatorIndex>,
        proposer: Option<ValidatorIndex>,
        effects: &mut Vec<Effect>,
    ) {
        let digests: Vec<Digest> =
            bundles.iter().filter(|digest| self.bundles.get(digest).is_none()).copied().collect();
        if digests.is_empty() {
            return;
        }
        for (index, _) in self.config.set.iter() {
            if !holders.contains(&index) {
                holders.push(index);
            }
        }
        holders.retain(|holder| Some(*holder) != self.config.me);
        effects.push(Effect::Want { digests, holders, proposer });
    }

    /// Asks again for the bundles of all blocks that are to be executed: after a move, which takes back what was
    /// wanted, after a restart, and now and then because the pool may have had no room.
    pub(crate) fn want_again(&self, effects: &mut Vec<Effect>) {
        let holders: Vec<ValidatorIndex> = self.proved_by.iter().copied().collect();
        for certified in self.certified.values().take(limits::REPLICA_STATUS_HEIGHTS_MAX) {
            self.want(&certified.block.bundles, holders.clone(), None, effects);
        }
        let open = self.slots.range(self.chain.committed().next()..);
        let open = open.filter(|(_, slot)| slot.proposal.as_ref().is_some_and(Proposal::may_execute));
        for (height, _) in open.take(limits::REPLICA_STATUS_HEIGHTS_MAX) {
            self.want_bundles_of(*height, effects);
        }
    }
}

fn has_repetition(digests: &[Digest]) -> bool {
    let distinct: BTreeSet<&Digest> = digests.iter().collect();
    distinct.len() < digests.len()
}
