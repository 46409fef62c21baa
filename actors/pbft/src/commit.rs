//! Committing (consensus.md section 3): a commit certificate, counted here or shown by others, commits its block and
//! all its ancestors (D).

use std::sync::Arc;

use dtvn_messages::{Block, Certificate, CommittedProof, Digest, Height, VoteKind};

use crate::effect::{Effect, Record};
use crate::replica::Replica;
use crate::slot::Recent;

impl Replica {
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
        self.commit_to(height, &certificate, effects);
        true
    }

    /// A commit certificate for the block at a height: by votes counted here, or shown by others.
    fn commit_certificate(&self, height: Height, digest: Digest) -> Option<Certificate> {
        let certified = self.certified.get(&height).filter(|certified| certified.digest == digest);
        if let Some(certificate) = certified.and_then(|certified| certified.certificate.as_ref()) {
            return Some(certificate.clone());
        }
        if let Some(proof) = self.proved.as_ref().filter(|proof| proof.height() == height && proof.digest() == digest) {
            return Some(proof.certificate.clone());
        }
        self.certificate(VoteKind::Commit, height, digest)
    }

    fn commit_to(&mut self, height: Height, certificate: &Certificate, effects: &mut Vec<Effect>) {
        let mut blocks_with_work = 0;
        while self.chain.committed() < height {
            let Some((block, digest)) = self.chain.commit_lowest() else { return };
            let own = block.header.height;
            // Up to the end of an epoch empty blocks are the work.
            let is_to_the_end = self.epoch_ends().is_some();
            let certificate = match own == height {
                true => Some(certificate.clone()),
                false => self.commit_certificate(own, digest),
            };
            blocks_with_work += u64::from(!block.bundles.is_empty() || is_to_the_end);
            self.commit_block(block, digest, certificate, effects);
        }
        self.trim_recent();
        self.pace.committed(blocks_with_work, self.config.parameters.pipeline, &mut self.timers);
        self.forget_proofs(effects);
    }

    fn commit_block(
        &mut self,
        block: Arc<Block>,
        digest: Digest,
        certificate: Option<Certificate>,
        effects: &mut Vec<Effect>,
    ) {
        let height = block.header.height;
        self.set_tip_proof(&block, certificate.as_ref());
        let positions = &self.chain.tip().positions;
        for (origin, digests) in self.bundles.committed(&block.bundles, positions, self.now.monotonic_us) {
            effects.push(Effect::Superseded { origin, digests });
        }
        let ticket = self.next_ticket();
        let record = Record::Committed { block: Arc::clone(&block), certificate: certificate.clone() };
        effects.push(Effect::Persist { ticket, record });
        effects.push(Effect::Commit { block: Arc::clone(&block), digest, certificate });
        self.certified.remove(&height);
        self.vouched.retain(|_, vouched| *vouched > height);
        // On selected blocks all vote again, those who committed them too.
        if height > self.selection.end {
            self.slots.remove(&height);
        }
        let succession = self.chain.tip().succession;
        self.recent.insert(height, Recent { block, digest, succession });
        self.await_root(height);
        self.try_stable(height, effects);
    }

    /// The commit certificate of the last committed block, if it has one of its own.
    pub(crate) fn certificate_of_tip(&self) -> Option<&Arc<CommittedProof>> {
        let committed = self.chain.committed();
        self.tip_proof.as_ref().filter(|proof| proof.height() == committed)
    }

    fn set_tip_proof(&mut self, block: &Block, certificate: Option<&Certificate>) {
        if let Some(certificate) = certificate {
            let proof = CommittedProof { header: block.header.clone(), certificate: certificate.clone() };
            self.tip_proof = Some(Arc::new(proof));
        }
    }

    /// Recent blocks are kept until a stable checkpoint covers them, and at most one window of them.
    fn trim_recent(&mut self) {
        let window = self.config.parameters.log_window;
        let floor = self.stable_height().max(Height(self.chain.committed().0.saturating_sub(window)));
        self.recent = self.recent.split_off(&floor.next());
    }
}
