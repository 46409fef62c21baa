//! Proposals: checked, held, executed, and answered with PREPARE (consensus.md sections 2 and 3).
//!
//! Deviations (D): a proposal names bundles that travelled before it, so a vote also says "I hold the data"; its header
//! names the root of the transparency log after it, so a replica executes before it votes and refuses a block with
//! another result; and a replica accepts height `h` only after `h - 1`.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::{Block, Digest, Height, Now, Signature, Timestamp, ValidatorIndex, View, VoteKind, limits};

use crate::bundles::{BundleMeta, follow};
use crate::chain::Link;
use crate::effect::{Cause, Effect, Message, Record, Say, Timer};
use crate::replica::{Proposal, Replica};

/// How many messages of one sender wait for their turn.
const EARLY_PER_SENDER_MAX: usize = 64;
/// How far execution runs ahead of the committed height; what is above waits for commits.
const EXECUTE_AHEAD_MAX: u64 = 256;

impl Replica {
    /// Keeps a message that is too early: for a later view, or for this one before it is active. Says whether it did.
    /// Above the bound the message for the farthest future is dropped; what is lost is sent again (section 7).
    pub(crate) fn buffer_early(&mut self, from: ValidatorIndex, message: &Message) -> bool {
        let view = match message {
            Message::PrePrepare { view, .. } => *view,
            Message::Vote(vote) if vote.body.epoch == self.config.epoch => vote.body.view,
            _ => return false,
        };
        let is_early = view > self.view || (view == self.view && !self.active);
        if is_early {
            self.keep_early(from, message.clone());
        }
        is_early
    }

    pub(crate) fn keep_early(&mut self, from: ValidatorIndex, message: Message) {
        let waiting = self.early.entry(from).or_default();
        waiting.push(message);
        if waiting.len() > EARLY_PER_SENDER_MAX {
            let farthest = (0..waiting.len()).max_by_key(|position| waiting.get(*position).map(place_of));
            if let Some(farthest) = farthest {
                waiting.remove(farthest);
            }
        }
    }

    /// Looks again at what came too early. Says whether anything was taken.
    pub(crate) fn replay_early(&mut self, now: Now, effects: &mut Vec<Effect>) -> bool {
        if !self.active || self.early.is_empty() {
            return false;
        }
        let mut progress = false;
        for (from, waiting) in std::mem::take(&mut self.early) {
            for message in waiting {
                let (view, height) = place_of(&message);
                if view < self.view || (view == self.view && height <= self.chain.committed()) {
                    continue;
                }
                let is_next = view == self.view && self.proposal_is_next(height);
                match message {
                    Message::PrePrepare { view, block, digest, signature } if is_next => {
                        progress = true;
                        self.on_pre_prepare(now, from, view, block, digest, signature, effects);
                    }
                    Message::Vote(vote) if view == self.view => {
                        progress = true;
                        self.on_vote(from, &vote, effects);
                    }
                    message => self.keep_early(from, message),
                }
            }
        }
        progress
    }

    /// Whether the block below this height is there to build on.
    fn proposal_is_next(&self, height: Height) -> bool {
        let below = height.previous();
        below <= self.chain.committed().max(self.selection.end)
            || self.slots.get(&below).and_then(|slot| slot.proposal.as_ref()).is_some_and(|below| !below.refused)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    pub(crate) fn on_pre_prepare(
        &mut self,
        now: Now,
        from: ValidatorIndex,
        view: View,
        block: Arc<Block>,
        digest: Digest,
        signature: Signature,
        effects: &mut Vec<Effect>,
    ) {
        let height = block.header.height;
        if view < self.view || block.header.epoch != self.config.epoch || height <= self.chain.committed() {
            return;
        }
        if from != self.leader() {
            effects.push(Effect::Blame { peer: from, why: "it proposed a block without being the leader" });
            return;
        }
        if height > self.stable_height().plus(self.config.parameters.log_window) {
            return;
        }
        self.count(from, VoteKind::Prepare, height, digest, signature);
        if height <= self.selection.end {
            return;
        }
        if let Some(proposal) = self.slots.get(&height).and_then(|slot| slot.proposal.as_ref()) {
            if proposal.digest != digest {
                effects.push(Effect::Blame { peer: from, why: "it proposed two blocks for one view and height" });
            }
            return;
        }
        if !self.proposal_is_next(height) {
            self.keep_early(from, Message::PrePrepare { view, block, digest, signature });
            return;
        }
        self.accept(now, from, block, digest, effects);
    }

    /// Puts a fresh proposal into its slot, whose predecessor is there.
    fn accept(&mut self, now: Now, from: ValidatorIndex, block: Arc<Block>, digest: Digest, effects: &mut Vec<Effect>) {
        let drift_us = self.config.parameters.max_clock_drift_ms * 1_000;
        let timestamp = block.header.timestamp;
        if timestamp.plus_micros(drift_us) < now.wall {
            effects.push(Effect::Blame { peer: from, why: "its block's time is too far behind" });
            return;
        }
        let fault = self.fault_of(&block);
        let held = fault.is_none() && timestamp > now.wall.plus_micros(drift_us);
        let refused = fault.is_some();
        let height = block.header.height;
        if !refused {
            self.remember_block(&block, digest);
        }
        let slot = self.slots.entry(height).or_default();
        slot.proposal = Some(Proposal { block, digest, logged: None, refused, held });
        if let Some(why) = fault {
            effects.push(Effect::Blame { peer: from, why });
            self.pace.ask(Cause::BadProposal);
        } else if held {
            let wait_us = timestamp.0.saturating_sub(now.wall.0.saturating_add(drift_us));
            self.set_timer(Timer::Hold, now, wait_us, effects);
        } else {
            self.want_bundles_of(height, effects);
        }
    }

    /// What is wrong with a fresh proposal that no honest leader would make so.
    fn fault_of(&self, block: &Block) -> Option<&'static str> {
        let header = &block.header;
        let Some((parent, parent_time, parent_empty_run)) = self.below(header.height) else {
            return Some("its block builds on nothing that is known");
        };
        let parameters = &self.config.parameters;
        let empty_run = if block.bundles.is_empty() { parent_empty_run + 1 } else { 0 };
        let faults = [
            (header.parent != parent, "its block does not build on the block below"),
            (header.rules_version != self.config.rules_version, "its block is made under other rules"),
            (header.proposer != self.leader(), "its block names another proposer"),
            (header.proposed_in_view != self.view, "its block names another view"),
            (header.height > self.last_height_of_view(), "its block is above the last height of its view"),
            (header.timestamp <= parent_time, "its block's time does not increase"),
            (block.bundles.len() > limits::BLOCK_BUNDLES_MAX, "its block has too many bundles"),
            (!block.is_consistent(), "its block has other bundles than its header says"),
            (empty_run > parameters.checkpoint_interval, "its block is one empty block too many"),
            (has_repetition(&block.bundles), "its block names a bundle twice"),
        ];
        faults.into_iter().find(|(is_fault, _)| *is_fault).map(|(_, why)| why)
    }

    /// Digest, time and run of empty blocks of the block below a height, as accepted in this view, selected or committed.
    fn below(&self, height: Height) -> Option<(Digest, Timestamp, u64)> {
        let below = height.previous();
        if below == self.chain.committed() {
            let tip = self.chain.tip();
            return Some((tip.digest, tip.timestamp, tip.empty_run));
        }
        if let Some(selected) = self.selection.blocks.get(&below) {
            return Some((selected.digest, selected.header.timestamp, 0));
        }
        let proposal = self.slots.get(&below)?.proposal.as_ref().filter(|proposal| !proposal.refused)?;
        let empty_run = match proposal.block.bundles.is_empty() {
            true => self.below(below).map_or(1, |(.., run)| run + 1),
            false => 0,
        };
        Some((proposal.digest, proposal.block.header.timestamp, empty_run))
    }

    /// Asks for the bundles of the block at a height that are not here: from the leader first, for a selected block from
    /// the signers of its certificate.
    pub(crate) fn want_bundles_of(&self, height: Height, effects: &mut Vec<Effect>) {
        let Some(proposal) = self.slots.get(&height).and_then(|slot| slot.proposal.as_ref()) else { return };
        let holders = match self.selection.blocks.get(&height) {
            Some(selected) => selected.holders.clone(),
            None => vec![self.leader()],
        };
        self.want(&proposal.block.bundles, holders, effects);
    }

    pub(crate) fn want(&self, bundles: &[Digest], mut holders: Vec<ValidatorIndex>, effects: &mut Vec<Effect>) {
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
        effects.push(Effect::Want { digests, holders });
    }

    /// Hands the next block to execution, if there is one and its bundles are here. First undoes what was executed and
    /// is no longer wanted.
    pub(crate) fn execute_next(&mut self, effects: &mut Vec<Effect>) -> bool {
        let mut height = self.chain.committed().next();
        while height <= self.chain.top() {
            let wanted = self.wanted_at(height).map(|(_, digest)| digest);
            let have = self.chain.digest_at(height);
            if wanted.is_some() && wanted != have {
                self.roll_back_to(height.previous(), effects);
                break;
            }
            height = height.next();
        }
        let height = self.chain.top().next();
        if height.above(self.chain.committed()) > EXECUTE_AHEAD_MAX {
            return false;
        }
        let Some((block, digest)) = self.wanted_at(height) else { return false };
        let Some(parent) = self.chain.parent_for(height) else { return false };
        let is_certified = self.certified.contains_key(&height);
        if parent.digest != block.header.parent {
            return is_certified && self.undo_conflict(height, &block, effects);
        }
        let metas: Option<Vec<BundleMeta>> =
            block.bundles.iter().map(|digest| self.bundles.get(digest).copied()).collect();
        let Some(metas) = metas else { return false };
        let mut positions = parent.positions;
        if !is_certified && let Some(why) = bundle_fault(&metas, &mut positions.clone()) {
            return self.refuse(height, why, effects);
        }
        assert!(
            follow(&mut positions, metas.iter()),
            "a certified block orders bundles as their origins numbered them"
        );
        let id = self.chain.next_execution();
        let empty_run = if block.bundles.is_empty() { parent.empty_run + 1 } else { 0 };
        effects.push(Effect::Execute { id, height, timestamp: block.header.timestamp, bundles: block.bundles.clone() });
        let (timestamp, bundles) = (block.header.timestamp, block.bundles.clone());
        let known = Some((Arc::clone(&block), digest));
        self.chain.push(Link { height, id, block: known, timestamp, bundles, positions, empty_run, log: None });
        if !is_certified {
            self.log_proposal(height, effects);
        }
        true
    }

    /// A certified block does not build on what is below it here: that was speculation, or this replica has diverged.
    fn undo_conflict(&mut self, height: Height, block: &Block, effects: &mut Vec<Effect>) -> bool {
        if height.previous() == self.chain.committed() {
            return self.diverge(height, block.header.log_root, effects);
        }
        self.roll_back_to(height.previous().previous(), effects);
        false
    }

    /// The block that belongs at a height, if it is known and may be executed: proved by others, or accepted here.
    fn wanted_at(&self, height: Height) -> Option<(Arc<Block>, Digest)> {
        if let Some(certified) = self.certified.get(&height) {
            return Some((Arc::clone(&certified.block), certified.digest));
        }
        let proposal = self.slots.get(&height)?.proposal.as_ref()?;
        (!proposal.refused && !proposal.held).then(|| (Arc::clone(&proposal.block), proposal.digest))
    }

    /// Writes the accepted proposal to the log, at the same time as it is executed: the vote waits for both.
    fn log_proposal(&mut self, height: Height, effects: &mut Vec<Effect>) {
        let ticket = self.tickets + 1;
        let view = self.view;
        let voting = self.may_vote();
        let Some(proposal) = self.slots.get_mut(&height).and_then(|slot| slot.proposal.as_mut()) else { return };
        if proposal.logged.is_none() && voting {
            proposal.logged = Some(ticket);
            let record = Record::Proposal { view, block: Arc::clone(&proposal.block) };
            effects.push(Effect::Persist { ticket, record });
            self.tickets = ticket;
        }
    }

    /// Undoes executions above a height.
    pub(crate) fn roll_back_to(&mut self, height: Height, effects: &mut Vec<Effect>) {
        if self.chain.truncate_above(height) {
            effects.push(Effect::RollBack { to: height });
        }
    }

    fn refuse(&mut self, height: Height, why: &'static str, effects: &mut Vec<Effect>) -> bool {
        let leader = self.leader();
        if let Some(proposal) = self.slots.get_mut(&height).and_then(|slot| slot.proposal.as_mut()) {
            proposal.refused = true;
            effects.push(Effect::Blame { peer: leader, why });
            self.pace.ask(Cause::BadProposal);
        }
        true
    }

    pub(crate) fn on_executed(&mut self, id: u64, log_size: u64, log_root: Digest, effects: &mut Vec<Effect>) {
        let Some(link) = self.chain.executing(id) else { return };
        link.log = Some((log_size, log_root));
        let height = link.height;
        let Some((block, digest)) = link.block.clone() else {
            return self.finish_proposal(height, log_size, log_root, effects);
        };
        if (block.header.log_size, block.header.log_root) == (log_size, log_root) {
            return;
        }
        let is_certified = self.certified.get(&height).is_some_and(|certified| certified.digest == digest);
        if is_certified {
            self.diverge(height, block.header.log_root, effects);
            return;
        }
        self.roll_back_to(height.previous(), effects);
        self.refuse(height, "its block has another log root than its execution", effects);
        self.check_divergence(height, effects);
    }

    /// A quorum prepared a block whose result this replica does not get: then it is this replica that is wrong.
    pub(crate) fn check_divergence(&mut self, height: Height, effects: &mut Vec<Effect>) {
        let Some(slot) = self.slots.get(&height) else { return };
        let Some(proposal) = slot.proposal.as_ref().filter(|proposal| proposal.refused) else { return };
        let signers = slot.prepares.iter().filter(|(_, (digest, _))| *digest == proposal.digest);
        let power = self.config.set.power_of(signers.map(|(signer, _)| *signer));
        if power >= self.config.set.quorum() {
            let certified = proposal.block.header.log_root;
            self.diverge(height, certified, effects);
        }
    }

    pub(crate) fn diverge(&mut self, height: Height, certified: Digest, effects: &mut Vec<Effect>) -> bool {
        if !self.diverged {
            self.diverged = true;
            let own = self.chain.link(height).and_then(|link| link.log).map_or(Digest::ZERO, |(_, root)| root);
            effects.push(Effect::Diverged { height, certified, own });
        }
        false
    }

    /// Sends PREPARE for what was executed with the result that its header names, and COMMIT for what is prepared.
    pub(crate) fn vote_on_executed(&mut self, effects: &mut Vec<Effect>) -> bool {
        if !self.active || self.adopting.is_some() {
            return false;
        }
        let heights: Vec<Height> = self.slots.keys().copied().collect();
        let mut progress = false;
        for height in heights {
            progress |= self.say_prepare(height, effects);
            progress |= self.become_prepared(height, effects);
            progress |= self.say_commit(height, effects);
        }
        progress
    }

    /// Whether the block in the slot at a height was executed with the right result, or is committed.
    pub(crate) fn is_settled(&self, height: Height, digest: &Digest) -> bool {
        self.chain.is_executed(height, digest) || self.committed_digest(height).as_ref() == Some(digest)
    }

    fn say_prepare(&mut self, height: Height, effects: &mut Vec<Effect>) -> bool {
        let Some(slot) = self.slots.get(&height) else { return false };
        let Some(proposal) = slot.proposal.as_ref() else { return false };
        if slot.prepare_said || !self.may_vote() || !self.is_settled(height, &proposal.digest) {
            return false;
        }
        let digest = proposal.digest;
        if proposal.logged.is_none() {
            // A selected block that this replica committed in an earlier view.
            self.log_proposal(height, effects);
        }
        let Some(slot) = self.slots.get_mut(&height) else { return false };
        let after = slot.proposal.as_ref().and_then(|proposal| proposal.logged).unwrap_or(0);
        slot.prepare_said = true;
        let vote = self.vote(VoteKind::Prepare, height, digest);
        effects.push(Effect::Say { after, say: Say::Vote(vote) });
        true
    }
}

/// The view and height that a message is about.
fn place_of(message: &Message) -> (View, Height) {
    match message {
        Message::PrePrepare { view, block, .. } => (*view, block.header.height),
        Message::Vote(vote) => (vote.body.view, vote.body.height),
        _ => (View(0), Height(0)),
    }
}

fn has_repetition(digests: &[Digest]) -> bool {
    let mut seen = BTreeMap::new();
    digests.iter().any(|digest| seen.insert(digest, ()).is_some())
}

/// What is wrong with the bundles of a block.
fn bundle_fault(metas: &[BundleMeta], positions: &mut crate::bundles::Positions) -> Option<&'static str> {
    if !follow(positions, metas.iter()) {
        return Some("its block orders bundles against their numbers");
    }
    let operations: usize = metas.iter().map(|meta| meta.operations).sum();
    let bytes: usize = metas.iter().map(|meta| meta.bytes).sum();
    if metas.len() > 1 && (operations > limits::BLOCK_OPERATIONS_MAX || bytes > limits::BLOCK_BYTES_MAX) {
        return Some("its block has too many operations or bytes");
    }
    None
}
