//! Speculative execution (consensus.md section 2).
//!
//! Deviation (D): a block's header names the root of the transparency log after it, so a replica executes before it
//! votes, and refuses a block with another result. If a quorum prepared or committed that block, it is this replica
//! that is wrong: it has diverged, and stops voting (section 5).

use std::sync::Arc;

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::limits::{self, REPLICA_EXECUTE_AHEAD_MAX, REPLICA_ROOTS_AWAITED_MAX};
use dtvn_messages::{Block, Digest, Height, Succession, VoteKind};

use crate::bundles::{BundleMeta, Positions, follow};
use crate::chain::Link;
use crate::effect::{Cause, Effect, Record};
use crate::replica::Replica;
use crate::slot::{Proposal, Refusal};

impl Replica {
    /// Hands the next block to execution, if there is one and its bundles are here. First undoes what was executed and
    /// is no longer wanted.
    pub(crate) fn execute_next(&mut self, effects: &mut Vec<Effect>) -> bool {
        self.undo_unwanted(effects);
        let height = self.chain.top().next();
        let is_far = height.above(self.chain.committed()) > REPLICA_EXECUTE_AHEAD_MAX || self.is_above_windows(height);
        if self.diverged || is_far || self.lacks_roots() {
            return false;
        }
        let Some((block, digest)) = self.wanted_at(height) else { return false };
        let Some(parent) = self.chain.parent_for(height) else { return false };
        if parent.digest != block.header.parent {
            // Below lies a block that lost; or two different ones are proved, which no quorum system survives.
            return self.certified.contains_key(&height) && self.diverge(height, block.header.log_root, effects);
        }
        let metas: Option<Vec<BundleMeta>> =
            block.bundles.iter().map(|digest| self.bundles.get(digest).copied()).collect();
        let Some(metas) = metas else { return false };
        let mut positions = parent.positions;
        if let Some(why) = bundle_fault(&metas, &mut positions) {
            if self.is_proven(height, &digest) {
                return self.diverge(height, block.header.log_root, effects);
            }
            self.refuse(height, Refusal::Malformed, why, effects);
            return true;
        }
        if self.is_above_epoch(height) {
            // Nobody honest votes for it, so nobody can have proved it.
            self.refuse(height, Refusal::Malformed, "its block is above the end of its epoch", effects);
            return false;
        }
        let id = self.chain.next_execution();
        let empty_run = if block.bundles.is_empty() { parent.empty_run + 1 } else { 0 };
        let (timestamp, bundles) = (block.header.timestamp, block.bundles.clone());
        effects.push(Effect::Execute { id, height, timestamp, bundles: bundles.clone() });
        let known = Some((block, digest));
        let (log, succession) = (None, None);
        self.chain.push(Link { height, id, block: known, timestamp, bundles, positions, empty_run, log, succession });
        let slot = self.slots.get(&height).and_then(|slot| slot.proposal.as_ref());
        if slot.is_some_and(|proposal| proposal.digest == digest && proposal.may_execute()) {
            self.log_proposal(height, effects);
        }
        true
    }

    /// Whether a height is above the log window past every stable checkpoint that this replica knows. What a quorum
    /// committed there is proved by a checkpoint that its peers hold, and show with their status; until then the own log
    /// would grow by what no checkpoint covers. Who is not connected to a quorum, an observer or one that is left behind in
    /// an old epoch, is told of none: it would wait for ever.
    fn is_above_windows(&self, height: Height) -> bool {
        let ahead = self.stable_ahead.as_ref().map_or(Height(0), |stable| stable.height());
        let highest = self.stable_height().max(ahead);
        let is_told = self.config.me.is_some() && self.pace.is_quorum_connected();
        is_told && height > highest.plus(self.config.parameters.log_window)
    }

    /// Whether so many state roots are on their way that nothing more is executed until one is here: what leads to them is
    /// held in memory, and blocks that others proved may come faster than the map of the state is brought up to date.
    pub(crate) fn lacks_roots(&self) -> bool {
        let interval = self.config.parameters.checkpoint_interval;
        let ahead = self.chain.top().0 / interval - self.chain.committed().0 / interval;
        self.rooting.len() as u64 + ahead >= REPLICA_ROOTS_AWAITED_MAX
    }

    /// Undoes executions from the first block on that another one has taken the place of.
    fn undo_unwanted(&mut self, effects: &mut Vec<Effect>) {
        let mut height = self.chain.committed().next();
        while height <= self.chain.top() {
            let wanted = self.wanted_at(height).map(|(_, digest)| digest);
            if wanted.is_some() && wanted != self.chain.digest_at(height) {
                return self.roll_back_to(height.previous(), effects);
            }
            height = height.next();
        }
    }

    /// The block that belongs at a height, if it is known and may be executed: proved by others, or accepted here.
    fn wanted_at(&self, height: Height) -> Option<(Arc<Block>, Digest)> {
        if let Some(certified) = self.certified.get(&height) {
            return Some((Arc::clone(&certified.block), certified.digest));
        }
        let proposal = self.slots.get(&height)?.proposal.as_ref().filter(|proposal| proposal.may_execute())?;
        Some((Arc::clone(&proposal.block), proposal.digest))
    }

    /// Whether a quorum prepared or committed this block.
    fn is_proven(&self, height: Height, digest: &Digest) -> bool {
        self.certified.get(&height).is_some_and(|certified| certified.digest == *digest)
            || self.selection.blocks.get(&height).is_some_and(|selected| selected.digest == *digest)
            || self.proved.as_ref().is_some_and(|proof| proof.height() == height && proof.digest() == *digest)
            || self.has_quorum(VoteKind::Prepare, height, digest)
    }

    /// Writes the accepted proposal to the log, at the same time as it is executed: the vote waits for both.
    pub(crate) fn log_proposal(&mut self, height: Height, effects: &mut Vec<Effect>) {
        let (view, may_vote, ticket) = (self.view, self.may_vote(), self.tickets + 1);
        let Some(proposal) = self.slots.get_mut(&height).and_then(|slot| slot.proposal.as_mut()) else { return };
        if proposal.logged.is_none() && may_vote {
            proposal.logged = Some(ticket);
            let block = Arc::clone(&proposal.block);
            effects.push(Effect::Persist { ticket, record: Record::Proposal { view, block } });
            self.tickets = ticket;
        }
    }

    /// Undoes executions above a height.
    pub(crate) fn roll_back_to(&mut self, height: Height, effects: &mut Vec<Effect>) {
        if self.chain.truncate_above(height) {
            effects.push(Effect::RollBack { to: height });
        }
    }

    fn refuse(&mut self, height: Height, refusal: Refusal, why: &'static str, effects: &mut Vec<Effect>) {
        let leader = self.leader();
        if let Some(proposal) = self.slots.get_mut(&height).and_then(|slot| slot.proposal.as_mut()) {
            proposal.refused = Some(refusal);
            effects.push(Effect::Blame { peer: leader, why });
            self.pace.ask(Cause::BadProposal);
        }
    }

    pub(crate) fn on_executed(
        &mut self,
        id: u64,
        (log_size, log_root): (u64, Digest),
        succession: Succession,
        effects: &mut Vec<Effect>,
    ) {
        let Some(link) = self.chain.executing(id) else { return };
        link.log = Some((log_size, log_root));
        link.succession = Some(succession);
        let (height, block) = (link.height, link.block.clone());
        // What was executed above it in the meantime is above the end of the epoch.
        if succession.ends == Some(height) && !planted(Canary::EpochEndIgnored) {
            self.roll_back_to(height, effects);
        }
        let Some((block, digest)) = block else {
            return self.finish_proposal(height, log_size, log_root, effects);
        };
        if (block.header.log_size, block.header.log_root) == (log_size, log_root) || planted(Canary::LogRootIgnored) {
            return;
        }
        if self.is_proven(height, &digest) {
            self.diverge(height, block.header.log_root, effects);
            return;
        }
        self.roll_back_to(height.previous(), effects);
        effects.push(Effect::WrongResult { view: self.view, height, digest, own: (log_size, log_root) });
        self.refuse(height, Refusal::Result(log_root), "its block has another log root than its execution", effects);
    }

    /// A quorum prepared a block whose result this replica does not get: then it is this replica that is wrong.
    pub(crate) fn check_divergence(&mut self, height: Height, effects: &mut Vec<Effect>) {
        let Some(proposal) = self.slots.get(&height).and_then(|slot| slot.proposal.as_ref()) else { return };
        let is_wrong = matches!(proposal.refused, Some(Refusal::Result(_)));
        if is_wrong && self.has_quorum(VoteKind::Prepare, height, &proposal.digest) {
            let certified = proposal.block.header.log_root;
            self.diverge(height, certified, effects);
        }
    }

    /// This replica's state differs from what a quorum certified: it stops voting and says so, once. Always false: it
    /// is no progress.
    pub(crate) fn diverge(&mut self, height: Height, certified: Digest, effects: &mut Vec<Effect>) -> bool {
        let refused = self.slots.get(&height).and_then(|slot| slot.proposal.as_ref()?.refused);
        let own = match (self.chain.link(height).and_then(|link| link.log), refused) {
            (Some((_, root)), _) | (None, Some(Refusal::Result(root))) => root,
            (None, _) => self.recent.get(&height).map_or(Digest::ZERO, |recent| recent.block.header.log_root),
        };
        self.diverge_to(height, certified, own, effects);
        false
    }

    /// As [`Self::diverge`], with this replica's root.
    pub(crate) fn diverge_to(&mut self, height: Height, certified: Digest, own: Digest, effects: &mut Vec<Effect>) {
        if !self.diverged {
            self.diverged = true;
            effects.push(Effect::Diverged { height, certified, own });
        }
    }

    /// Whether the block in the slot at a height was executed with the right result, or is committed.
    pub(crate) fn is_settled(&self, height: Height, proposal: &Proposal) -> bool {
        proposal.refused.is_none()
            && (self.chain.is_executed(height, &proposal.digest)
                || self.committed_digest(height) == Some(proposal.digest))
    }
}

/// What is wrong with the bundles of a block; `positions` are brought up to date.
fn bundle_fault(metas: &[BundleMeta], positions: &mut Positions) -> Option<&'static str> {
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
