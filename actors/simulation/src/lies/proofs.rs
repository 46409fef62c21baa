//! Lying witnesses: cosignatures over what nobody committed, receipts that nobody cosigned, evidence against the honest.

use std::sync::Arc;

use dtvn_messages::certificate::Signatures;
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{Evidence, Head, ReceiptCertificate, Signature, Signed, Statement, ValidatorIndex, Vote, sha256};

use super::{Behaviour, Filter, Lie, Moment, also, any_digest, one};

impl Filter {
    pub(super) fn say_of_proofs(&self, behaviour: Behaviour, message: &PeerMessage, moment: &mut Moment<'_>) -> Lie {
        match (behaviour, message) {
            (Behaviour::WrongHead, PeerMessage::Cosign(heads)) => one(self.cosign_others(heads)),
            // These would hold its true cosignatures, and show that it lies.
            (Behaviour::WrongHead, PeerMessage::Receipts(_)) => Some(Vec::new()),
            (Behaviour::TwoHeads, PeerMessage::Cosign(heads)) => {
                let others = self.cosign_others(heads);
                let both = if moment.is_even() { [message.clone(), others] } else { [others, message.clone()] };
                Some(both.map(Into::into).into())
            }
            (Behaviour::ForgedReceipt, PeerMessage::Cosign(heads)) => {
                let forged = heads.iter().map(|signed| self.forged_receipt(other_head(&signed.body), moment));
                also(message, [PeerMessage::Receipts(forged.collect())])
            }
            (Behaviour::ForgedReceipt, PeerMessage::Receipts(receipts)) => {
                let other = |receipt: &ReceiptCertificate| {
                    let head = other_head(&receipt.head);
                    ReceiptCertificate { head, ..receipt.clone() }
                };
                one(PeerMessage::Receipts(receipts.iter().map(other).collect()))
            }
            (Behaviour::FalseEvidence, PeerMessage::Status(_)) => {
                also(message, [PeerMessage::Evidence(Arc::new(self.false_evidence(moment)?))])
            }
            _ => None,
        }
    }

    /// Cosignatures over other heads than the true ones, the same at all times.
    fn cosign_others(&self, heads: &[Signed<Head>]) -> PeerMessage {
        let other = |signed: &Signed<Head>| {
            let body = other_head(&signed.body);
            Signed { body, signer: signed.signer, signature: self.cosignature(&body) }
        };
        PeerMessage::Cosign(heads.iter().map(other).collect())
    }

    fn cosignature(&self, head: &Head) -> Signature {
        self.signer.sign(&head.signed_bytes(self.chain()))
    }

    /// A receipt certificate without a quorum: of itself alone, of itself in everybody's name, or of itself many times.
    fn forged_receipt(&self, head: Head, moment: &mut Moment<'_>) -> ReceiptCertificate {
        let own = self.cosignature(&head);
        let everybody = (0..self.set.len() as u16).map(ValidatorIndex);
        let signatures = match moment.random.below(3) {
            0 => vec![(self.me, own)],
            1 => everybody.map(|signer| (signer, own)).collect(),
            _ => everybody.map(|_| (self.me, own)).collect(),
        };
        ReceiptCertificate { head, signatures: Signatures(signatures) }
    }

    /// Evidence against one that did nothing wrong, made of what it did say.
    fn false_evidence(&self, moment: &mut Moment<'_>) -> Option<Evidence> {
        let said = self.heard.vote.clone()?;
        let other = self.sign(Vote { digest: any_digest(moment.random), ..said.body });
        Some(match moment.random.below(4) {
            // The second signature is not its own.
            0 => Evidence::TwoVotes(said, Signed { signer: self.victim(), ..other }),
            // The second vote is another's.
            1 => Evidence::TwoVotes(said, other),
            // It voted once.
            2 => Evidence::TwoVotes(said.clone(), said),
            // Everything in it holds.
            _ => {
                let mut of_victim = self.heard.view_changes.values().filter(|signed| signed.signer == self.victim());
                Evidence::ForgedCertificate(Box::new(Signed::clone(of_victim.next_back()?)))
            }
        })
    }
}

/// Another head for the same block: of a log that nobody has.
fn other_head(head: &Head) -> Head {
    Head { log_root: sha256(&[b"another log", &head.height.0.to_be_bytes()]), ..*head }
}
