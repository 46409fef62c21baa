//! PREPARE, prepared, COMMIT (consensus.md section 3).
//!
//! Deviation (D): a replica sends COMMIT for `h` only once every height below that is not committed is prepared in this
//! view, with its certificate on the disk. So the ancestors of a committed block are prepared at a quorum, the chain
//! has no holes, and null requests are not needed. Own votes are counted when they come back from the outbox, durable
//! (section 4), like any other.

use std::sync::Arc;

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::certificate::Signatures;
use dtvn_messages::{
    Certificate, Digest, Height, PreparedCertificate, Signature, Signed, ValidatorIndex, Vote, VoteKind,
};

use crate::effect::{Effect, Record, Say, Ticket};
use crate::replica::Replica;
use crate::slot::Kept;

impl Replica {
    pub(crate) fn vote(&self, kind: VoteKind, height: Height, digest: Digest) -> Vote {
        Vote { kind, epoch: self.config.epoch, view: self.view, height, digest }
    }

    /// A vote from its own signer; one for a later view, or before the view is active, was put by.
    pub(crate) fn on_vote(&mut self, from: ValidatorIndex, vote: &Signed<Vote>, effects: &mut Vec<Effect>) {
        let height = vote.body.height;
        let is_current = vote.body.epoch == self.config.epoch && vote.body.view == self.view && self.active;
        let is_foreign = vote.signer != from && !planted(Canary::SignaturesIgnored);
        if is_foreign || !is_current || height > self.window_end() {
            return;
        }
        let signer = vote.signer;
        if !self.count(signer, vote.body.kind, height, vote.body.digest, vote.signature) {
            effects.push(Effect::Blame { peer: signer, why: "it voted for two blocks in one view and height" });
            return;
        }
        if vote.body.kind == VoteKind::Prepare {
            self.check_divergence(height, effects);
            self.release_prepared(height, effects);
        }
    }

    /// This replica's own vote, durable.
    pub(crate) fn count_own_vote(&mut self, vote: &Signed<Vote>) {
        if vote.body.epoch == self.config.epoch && vote.body.view == self.view && self.active {
            self.count(vote.signer, vote.body.kind, vote.body.height, vote.body.digest, vote.signature);
        }
    }

    /// Counts a vote of the current view; false if its signer voted for another block before. Heights up to the base of
    /// the view take nothing but commit certificates.
    pub(crate) fn count(
        &mut self,
        signer: ValidatorIndex,
        kind: VoteKind,
        height: Height,
        digest: Digest,
        signature: Signature,
    ) -> bool {
        let is_over = height <= self.chain.committed() && !self.slots.contains_key(&height);
        if height <= self.selection.base || is_over {
            return true;
        }
        let slot = self.slots.entry(height).or_default();
        let (votes, others) = match kind {
            VoteKind::Prepare => (&mut slot.prepares, &slot.commits),
            VoteKind::Commit => (&mut slot.commits, &slot.prepares),
        };
        let is_same = others.get(&signer).is_none_or(|(other, _)| *other == digest);
        votes.entry(signer).or_insert((digest, signature)).0 == digest && is_same
    }

    /// Whether votes of power `Q` for this block are there.
    pub(crate) fn has_quorum(&self, kind: VoteKind, height: Height, digest: &Digest) -> bool {
        let Some(slot) = self.slots.get(&height) else { return false };
        let is_counted = |voted: &Digest| voted == digest || planted(Canary::VotesWithoutDigest);
        let votes = slot.votes(kind).iter().filter(|(_, (voted, _))| is_counted(voted));
        self.config.set.power_of(votes.map(|(signer, _)| *signer)) >= self.config.set.quorum()
    }

    /// The certificate for a block at a height, if votes of power `Q` are there.
    pub(crate) fn certificate(&self, kind: VoteKind, height: Height, digest: Digest) -> Option<Certificate> {
        if !self.has_quorum(kind, height, &digest) {
            return None;
        }
        let mut power = 0;
        let mut signatures = Vec::new();
        for (signer, (voted, signature)) in self.slots.get(&height)?.votes(kind) {
            let is_counted = *voted == digest || planted(Canary::VotesWithoutDigest);
            if is_counted && power < self.config.set.quorum() {
                power += self.config.set.power(*signer);
                signatures.push((*signer, *signature));
            }
        }
        Some(Certificate { vote: self.vote(kind, height, digest), signatures: Signatures(signatures) })
    }

    /// Sends PREPARE for what was executed with the result that its header names, and COMMIT for what is prepared.
    pub(crate) fn vote_on_executed(&mut self, effects: &mut Vec<Effect>) -> bool {
        if !self.active {
            return false;
        }
        let first = self.selection.base.next();
        let last = self.chain.top();
        let heights: Vec<Height> = match first <= last {
            true => self.slots.range(first..=last).map(|(height, _)| *height).collect(),
            false => Vec::new(),
        };
        let mut progress = false;
        for height in heights {
            progress |= self.say_prepare(height, effects);
            progress |= self.become_prepared(height, effects);
            progress |= self.say_commit(height, effects);
        }
        progress
    }

    fn say_prepare(&mut self, height: Height, effects: &mut Vec<Effect>) -> bool {
        let Some(slot) = self.slots.get(&height).filter(|slot| !slot.prepare_said) else { return false };
        let Some(proposal) = slot.proposal.as_ref() else { return false };
        if !self.may_vote() || !self.is_settled(height, proposal) {
            return false;
        }
        // A selected block that was executed or committed in an earlier view is logged for this one now.
        self.log_proposal(height, effects);
        let Some(slot) = self.slots.get_mut(&height) else { return false };
        let Some(proposal) = slot.proposal.as_ref() else { return false };
        let Some(after) = proposal.logged else { return false };
        let (block, digest) = (Arc::clone(&proposal.block), proposal.digest);
        slot.prepare_said = true;
        self.vouch_for(&block);
        if self.is_leader() && height > self.selection.end {
            // After a restart: the proposal was logged, and perhaps never left.
            effects.push(Effect::Propose { after, view: self.view, block, digest });
        } else {
            let vote = self.vote(VoteKind::Prepare, height, digest);
            effects.push(Effect::Say { after, say: Say::Vote(vote) });
        }
        true
    }

    /// The accepted block with PREPAREs of power `Q`: prepared. The certificate itself goes to the log.
    fn become_prepared(&mut self, height: Height, effects: &mut Vec<Effect>) -> bool {
        let Some(slot) = self.slots.get(&height).filter(|slot| slot.prepared.is_none()) else { return false };
        let Some(proposal) = slot.proposal.as_ref() else { return false };
        if !self.is_settled(height, proposal) {
            return false;
        }
        let (digest, header) = (proposal.digest, proposal.block.header.clone());
        let Some(certificate) = self.certificate(VoteKind::Prepare, height, digest) else { return false };
        let ticket = self.keep_prepared(Arc::new(PreparedCertificate { header, certificate }), effects);
        if let Some(slot) = self.slots.get_mut(&height) {
            slot.prepared = Some(ticket);
        }
        true
    }

    /// Keeps and logs a prepared certificate of a higher view than the one that is kept; returns the ticket of the one
    /// that is kept then.
    pub(crate) fn keep_prepared(&mut self, certificate: Arc<PreparedCertificate>, effects: &mut Vec<Effect>) -> Ticket {
        let height = certificate.height();
        if let Some(kept) = self.prepared.get(&height).filter(|kept| kept.certificate.view() >= certificate.view()) {
            return kept.ticket;
        }
        let mut ticket = 0;
        if self.voting {
            ticket = self.next_ticket();
            effects.push(Effect::Persist { ticket, record: Record::Prepared(Arc::clone(&certificate)) });
        }
        self.prepared.insert(height, Kept { certificate, ticket });
        ticket
    }

    /// A prepared certificate that somebody shows, verified: kept if it is of a higher view, and its PREPAREs are
    /// counted if they are of this view. One of a later view would be hidden by a VIEW-CHANGE for a view in between: it
    /// waits for its sender to show it again.
    pub(crate) fn on_prepared(&mut self, certificate: &Arc<PreparedCertificate>, effects: &mut Vec<Effect>) {
        let (height, view) = (certificate.height(), certificate.view());
        let is_wanted = certificate.header.epoch == self.config.epoch
            && height > self.stable_height()
            && height <= self.window_end()
            && view <= self.view;
        if !is_wanted {
            return;
        }
        self.keep_prepared(Arc::clone(certificate), effects);
        if view == self.view && self.active {
            let digest = certificate.digest();
            for (signer, signature) in &certificate.certificate.signatures.0 {
                if Some(*signer) != self.config.me {
                    self.count(*signer, VoteKind::Prepare, height, digest, *signature);
                }
            }
            self.check_divergence(height, effects);
            self.release_prepared(height, effects);
        }
    }

    /// COMMIT once prepared, in order: after the COMMIT for the height below, unless that is committed. It waits for
    /// the certificates of all of them.
    fn say_commit(&mut self, height: Height, effects: &mut Vec<Effect>) -> bool {
        let Some(slot) = self.slots.get(&height).filter(|slot| slot.commit_after.is_none()) else { return false };
        let (Some(prepared), Some(proposal)) = (slot.prepared, slot.proposal.as_ref()) else { return false };
        let digest = proposal.digest;
        // The certificate may have come before the block was accepted here: COMMIT does not overtake PREPARE.
        let Some(logged) = proposal.logged.filter(|_| slot.prepare_said) else { return false };
        let below = height.previous();
        let below_after = match below <= self.chain.committed() || planted(Canary::CommitOutOfOrder) {
            true => Some(0),
            false => self.slots.get(&below).and_then(|slot| slot.commit_after),
        };
        let Some(below_after) = below_after.filter(|_| self.may_vote()) else { return false };
        let prepared = if planted(Canary::CertificateNotDurable) { 0 } else { prepared };
        let after = prepared.max(logged).max(below_after);
        if let Some(slot) = self.slots.get_mut(&height) {
            slot.commit_after = Some(after);
        }
        let vote = self.vote(VoteKind::Commit, height, digest);
        effects.push(Effect::Say { after, say: Say::Vote(vote) });
        true
    }
}
