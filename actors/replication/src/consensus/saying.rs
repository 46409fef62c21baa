//! What the core says is signed, and kept back until it is durable (consensus.md section 4).

use std::collections::VecDeque;
use std::sync::Arc;

use dtvn_messages::view_change::Sealed;
use dtvn_messages::wire::{PeerMessage, PrePrepare};
use dtvn_messages::{Block, Bundle, Digest, Signed, Statement, ValidatorIndex, View};
use dtvn_pbft::{Input as CoreInput, Message, Own, Record, Say, Ticket, Unsigned};

use super::outbox::Waiting;
use super::{Consensus, Effect};
use crate::record::{Encoded, LogRecord};

impl Consensus {
    pub(super) fn persist(&mut self, ticket: Ticket, record: Record, effects: &mut Vec<Effect>) {
        self.outbox.issue(ticket);
        if let Record::Prepared(prepared) = &record {
            let signers = prepared.certificate.signatures.signers().collect();
            effects.push(Effect::Prepared { height: prepared.height(), signers });
        }
        if let Record::Committed { block, .. } = &record {
            self.undurable.push_back((ticket, block.header.height));
        }
        let record = Encoded { bundles: self.named_by(&record), ..LogRecord::Replica(record).encode() };
        effects.push(Effect::Append { ticket: Some(ticket), record });
    }

    /// The bundles that a record names, those of them that are not committed.
    fn named_by(&self, record: &Record) -> Vec<Arc<Bundle>> {
        let (Record::Proposal { block, .. } | Record::Committed { block, .. }) = record else { return Vec::new() };
        block.bundles.iter().filter_map(|digest| self.bundles.get(digest).cloned()).collect()
    }

    pub(super) fn hold(
        &mut self,
        after: Ticket,
        what: Waiting,
        inputs: &mut VecDeque<CoreInput>,
        effects: &mut Vec<Effect>,
    ) {
        match self.outbox.hold(after, what) {
            Some(Waiting::Broadcast(message)) => effects.push(Effect::Broadcast(message)),
            Some(Waiting::Return(input)) => inputs.push_back(*input),
            None => {}
        }
    }

    pub(super) fn sign<T: Statement>(&self, body: T) -> Signed<T> {
        let signature = self.signer.sign(&body.signed_bytes(&self.chain));
        Signed { body, signer: self.me(), signature }
    }

    pub(super) fn me(&self) -> ValidatorIndex {
        // The core asks for a signature only if it was told which validator it is.
        self.me.unwrap_or_default()
    }

    pub(super) fn say(&mut self, after: Ticket, say: Say, inputs: &mut VecDeque<CoreInput>, effects: &mut Vec<Effect>) {
        let (message, own) = match say {
            Say::Vote(vote) => {
                let vote = self.sign(vote);
                (PeerMessage::Vote(vote.clone()), Own::Vote(vote))
            }
            Say::ViewChange(view_change) => {
                let sealed = Sealed::new(self.sign(view_change), &self.chain);
                self.persist(after, Record::ViewChange(Arc::clone(&sealed)), effects);
                // A NEW-VIEW names it beside others'.
                self.see(&Message::ViewChange(Arc::clone(&sealed)), effects);
                (PeerMessage::ViewChange(Arc::new(sealed.signed.clone())), Own::ViewChange(sealed))
            }
            Say::NewView { new_view, view_changes } => {
                let sealed = Sealed::new(self.sign(new_view), &self.chain);
                let new_view = Arc::clone(&sealed);
                self.persist(after, Record::NewView { new_view, view_changes }, effects);
                (PeerMessage::NewView(Arc::new(sealed.signed.clone())), Own::NewView(sealed))
            }
            Say::Checkpoint(checkpoint) => {
                let vote = self.sign(checkpoint);
                self.persist(after, Record::Checkpoint(vote.clone()), effects);
                (PeerMessage::Checkpoint(vote.clone()), Own::Checkpoint(vote))
            }
        };
        self.hold(after, Waiting::Broadcast(message), inputs, effects);
        self.hold(after, Waiting::Return(Box::new(CoreInput::Own(own))), inputs, effects);
    }

    pub(super) fn propose(
        &mut self,
        after: Ticket,
        view: View,
        block: Arc<Block>,
        digest: Digest,
        inputs: &mut VecDeque<CoreInput>,
        effects: &mut Vec<Effect>,
    ) {
        let mut proposal = PrePrepare { view, block, signature: dtvn_messages::Signature([0; 64]) };
        let vote = self.sign(proposal.vote(digest));
        proposal.signature = vote.signature;
        self.hold(after, Waiting::Broadcast(PeerMessage::PrePrepare(Arc::new(proposal))), inputs, effects);
        self.hold(after, Waiting::Return(Box::new(CoreInput::Own(Own::Vote(vote)))), inputs, effects);
    }
}

/// How something without a signature of its own travels.
pub(super) fn on_the_wire(what: Unsigned) -> PeerMessage {
    match what {
        Unsigned::Wish { epoch, view } => PeerMessage::Wish { epoch, view },
        Unsigned::Status(status) => PeerMessage::Status(status),
        Unsigned::PrePrepare { view, block, signature } => {
            PeerMessage::PrePrepare(Arc::new(PrePrepare { view, block, signature }))
        }
        Unsigned::Vote(vote) => PeerMessage::Vote(vote),
        Unsigned::ViewChange(view_change) => PeerMessage::ViewChange(Arc::new(view_change.signed.clone())),
        Unsigned::NewView(new_view) => PeerMessage::NewView(Arc::new(new_view.signed.clone())),
        Unsigned::FetchViewChanges { view, digests } => PeerMessage::FetchViewChanges { view, digests },
        Unsigned::Checkpoint(vote) => PeerMessage::Checkpoint(vote),
        Unsigned::Stable(stable) => PeerMessage::StableCheckpoint(stable),
        Unsigned::Prepared(prepared) => PeerMessage::Prepared(prepared),
        Unsigned::Committed(proof) => PeerMessage::Committed(proof),
        Unsigned::FetchBlocks(digests) => PeerMessage::FetchBlocks(digests),
        Unsigned::Block(block) => PeerMessage::Block(block),
    }
}
