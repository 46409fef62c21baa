//! Counting votes: prepared, COMMIT, committed (consensus.md section 3).
//!
//! Deviations (D): a replica sends COMMIT for `h` only once `h - 1` is prepared in this view, or committed; and a commit
//! certificate commits all ancestors too. So the chain has no holes, and null requests are not needed. Own votes are
//! counted when they come back from the outbox, durable (section 4), like any other.

use std::sync::Arc;

use dtvn_messages::certificate::Signatures;
use dtvn_messages::{
    Certificate, Digest, Height, PreparedCertificate, Signature, Signed, ValidatorIndex, Vote, VoteKind,
};

use crate::effect::{Effect, Record, Say};
use crate::replica::{Recent, Replica};

impl Replica {
    pub(crate) fn vote(&self, kind: VoteKind, height: Height, digest: Digest) -> Vote {
        Vote { kind, epoch: self.config.epoch, view: self.view, height, digest }
    }

    /// A vote of the current view from its own signer.
    pub(crate) fn on_vote(&mut self, from: ValidatorIndex, vote: &Signed<Vote>, effects: &mut Vec<Effect>) {
        if vote.signer != from || vote.body.epoch != self.config.epoch || vote.body.view != self.view {
            return;
        }
        let height = vote.body.height;
        let lowest = self.chain.committed().min(self.selection.base);
        let highest = self.stable_height().plus(self.config.parameters.log_window);
        if height <= lowest || height > highest {
            return;
        }
        if !self.count(from, vote.body.kind, height, vote.body.digest, vote.signature) {
            effects.push(Effect::Blame { peer: from, why: "it voted for two blocks in one view and height" });
            return;
        }
        if vote.body.kind == VoteKind::Prepare {
            self.check_divergence(height, effects);
        }
    }

    /// This replica's own vote, durable.
    pub(crate) fn count_vote(&mut self, vote: &Signed<Vote>) {
        if vote.body.epoch == self.config.epoch && vote.body.view == self.view {
            self.count(vote.signer, vote.body.kind, vote.body.height, vote.body.digest, vote.signature);
        }
    }

    /// Counts a vote of the current view; false if its signer voted for another block before.
    pub(crate) fn count(
        &mut self,
        signer: ValidatorIndex,
        kind: VoteKind,
        height: Height,
        digest: Digest,
        signature: Signature,
    ) -> bool {
        if height <= self.chain.committed() && !self.slots.contains_key(&height) {
            return true;
        }
        let slot = self.slots.entry(height).or_default();
        let votes = match kind {
            VoteKind::Prepare => &mut slot.prepares,
            VoteKind::Commit => &mut slot.commits,
        };
        votes.entry(signer).or_insert((digest, signature)).0 == digest
    }

    /// The certificate for a block at a height, if votes of power `Q` are there.
    fn certificate(&self, kind: VoteKind, height: Height, digest: Digest) -> Option<Certificate> {
        let slot = self.slots.get(&height)?;
        let votes = match kind {
            VoteKind::Prepare => &slot.prepares,
            VoteKind::Commit => &slot.commits,
        };
        let mut power = 0;
        let mut signatures = Vec::new();
        for (signer, (voted, signature)) in votes {
            if *voted == digest && power < self.config.set.quorum() {
                power += self.config.set.power(*signer);
                signatures.push((*signer, *signature));
            }
        }
        (power >= self.config.set.quorum())
            .then(|| Certificate { vote: self.vote(kind, height, digest), signatures: Signatures(signatures) })
    }

    /// The accepted block with PREPAREs of power `Q`: prepared. The certificate itself goes to the log.
    pub(crate) fn become_prepared(&mut self, height: Height, effects: &mut Vec<Effect>) -> bool {
        let Some(slot) = self.slots.get(&height).filter(|slot| slot.prepared.is_none()) else { return false };
        let Some(proposal) = slot.proposal.as_ref() else { return false };
        if !self.is_settled(height, &proposal.digest) {
            return false;
        }
        let (digest, header) = (proposal.digest, proposal.block.header.clone());
        let Some(certificate) = self.certificate(VoteKind::Prepare, height, digest) else { return false };
        let prepared = Arc::new(PreparedCertificate { header, certificate });
        let ticket = self.keep_prepared(prepared, effects);
        if let Some(slot) = self.slots.get_mut(&height) {
            slot.prepared = Some(ticket);
        }
        true
    }

    /// Keeps and logs a prepared certificate of a higher view than the one that is kept; returns the ticket to wait for.
    pub(crate) fn keep_prepared(&mut self, prepared: Arc<PreparedCertificate>, effects: &mut Vec<Effect>) -> u64 {
        let height = prepared.height();
        let kept = self.prepared.get(&height);
        if kept.is_some_and(|kept| kept.view() >= prepared.view()) {
            // Only after a restart: the log has it already.
            return 0;
        }
        self.prepared.insert(height, Arc::clone(&prepared));
        if !self.voting {
            return 0;
        }
        let ticket = self.next_ticket();
        effects.push(Effect::Persist { ticket, record: Record::Prepared(prepared) });
        ticket
    }

    /// COMMIT once prepared, in order.
    pub(crate) fn say_commit(&mut self, height: Height, effects: &mut Vec<Effect>) -> bool {
        let Some(slot) = self.slots.get(&height) else { return false };
        let (Some(after), Some(proposal)) = (slot.prepared, slot.proposal.as_ref()) else { return false };
        let below = height.previous();
        let in_order =
            below <= self.chain.committed() || self.slots.get(&below).is_some_and(|below| below.prepared.is_some());
        if slot.commit_said || !in_order || !self.may_vote() {
            return false;
        }
        let vote = self.vote(VoteKind::Commit, height, proposal.digest);
        if let Some(slot) = self.slots.get_mut(&height) {
            slot.commit_said = true;
        }
        effects.push(Effect::Say { after, say: Say::Vote(vote) });
        true
    }

    /// Commits up to the highest block that has a commit certificate and is executed.
    pub(crate) fn commit_ready(&mut self, effects: &mut Vec<Effect>) -> bool {
        let mut best: Option<(Height, Certificate)> = None;
        let mut height = self.chain.committed().next();
        while height <= self.chain.top() {
            let Some(digest) = self.chain.digest_at(height) else { break };
            if !self.chain.is_executed(height, &digest) {
                break;
            }
            if let Some(certificate) = self.commit_certificate(height, digest) {
                best = Some((height, certificate));
            }
            height = height.next();
        }
        let Some((height, certificate)) = best else { return false };
        self.commit_to(height, certificate, effects);
        true
    }

    /// A commit certificate for the executed block at a height: by votes counted here, or shown by others.
    fn commit_certificate(&self, height: Height, digest: Digest) -> Option<Certificate> {
        if let Some(certified) = self.certified.get(&height).filter(|certified| certified.digest == digest)
            && certified.certificate.is_some()
        {
            return certified.certificate.clone();
        }
        if let Some(proof) = self.proved.as_ref().filter(|proof| proof.height() == height && proof.digest() == digest) {
            return Some(proof.certificate.clone());
        }
        self.certificate(VoteKind::Commit, height, digest)
    }

    fn commit_to(&mut self, height: Height, certificate: Certificate, effects: &mut Vec<Effect>) {
        let mut has_work = false;
        while self.chain.committed() < height {
            let Some((block, digest)) = self.chain.commit_lowest() else { return };
            let own = block.header.height;
            let certificate = if own == height {
                Some(certificate.clone())
            } else {
                self.commit_certificate(own, digest).filter(|certificate| certificate.vote.digest == digest)
            };
            has_work |= !block.bundles.is_empty();
            self.set_tip_proof(&block, certificate.as_ref());
            let positions = &self.chain.tip().positions;
            for (origin, digests) in self.bundles.committed(&block.bundles, positions) {
                for digest in &digests {
                    self.bundle_tries.remove(digest);
                }
                effects.push(Effect::Superseded { origin, digests });
            }
            for digest in &block.bundles {
                self.bundle_tries.remove(digest);
            }
            let ticket = self.next_ticket();
            let record = Record::Committed { block: Arc::clone(&block), certificate: certificate.clone() };
            effects.push(Effect::Persist { ticket, record });
            effects.push(Effect::Commit { block: Arc::clone(&block), digest, certificate });
            self.certified.remove(&own);
            if own > self.selection.end {
                self.slots.remove(&own);
            }
            self.recent.insert(own, Recent { block, digest });
            self.checkpoint_if_due(own, digest, effects);
        }
        self.trim_recent();
        self.pace.committed(has_work, self.config.parameters.pipeline, &mut self.timers);
    }

    /// Recent blocks are kept until a stable checkpoint covers them, and at most one window of them.
    fn trim_recent(&mut self) {
        let window = self.config.parameters.log_window;
        let floor = self.stable_height().max(Height(self.chain.committed().0.saturating_sub(window)));
        self.recent = self.recent.split_off(&floor.next());
    }
}
