//! What `dtvn verify` reads, whoever it comes from: receipts, checkpoints with their cosignatures, policies, keys.

use dtvn_messages::note::{SignedNote, read_verifier_key, verifier_key};
use dtvn_messages::policy::Policy;
use dtvn_messages::{Ed25519, Head, Receipt};

use super::client::Named;
use super::{choice, trusted};
use crate::Judged;

/// The texts that the first byte chooses from.
pub const TEXTS: &[Named] =
    &[("receipt", receipt), ("note", note), ("checkpoint", checkpoint), ("policy", policy), ("verifier-key", key)];

/// Any of them.
pub(super) fn text(input: &[u8]) -> Judged {
    let Some((of, bytes)) = choice(input, TEXTS.len()) else { return Judged::Refused };
    let Ok(text) = std::str::from_utf8(bytes) else { return Judged::Refused };
    TEXTS[of].1(text)
}

/// A receipt: canonical. What is made of a true one proves nothing else.
fn receipt(text: &str) -> Judged {
    let Ok(receipt) = Receipt::parse(text) else { return Judged::Refused };
    assert_eq!(receipt.to_text(), text, "only the canonical form is accepted");
    let genesis = trusted::genesis();
    if let Ok(verified) = receipt.verify(genesis.chain_id(), |_| Some(genesis.validators()), &Ed25519) {
        assert_eq!(verified.outcome.index, receipt.index);
        assert!(verified.power.is_some_and(|(power, quorum)| power >= quorum));
    }
    Judged::Accepted
}

fn note(text: &str) -> Judged {
    let Ok(note) = SignedNote::parse(text) else { return Judged::Refused };
    assert_eq!(note.to_text(), text, "only the canonical form is accepted");
    Judged::Accepted
}

fn checkpoint(text: &str) -> Judged {
    let chain = trusted::genesis().chain_id();
    let Ok(head) = Head::from_checkpoint(text, chain, 0) else { return Judged::Refused };
    assert_eq!(head.checkpoint(chain), text, "only the canonical form is accepted");
    Judged::Accepted
}

/// A policy: more cosignatures never meet it less.
fn policy(text: &str) -> Judged {
    let Ok(policy) = Policy::parse(text) else { return Judged::Refused };
    let asks_for_nothing = policy.is_met(|_| false);
    assert!(policy.is_met(|_| true), "all witnesses together are enough");
    assert!(!asks_for_nothing || policy.witnesses().all(|(label, ..)| policy.is_met(|other| other == label)));
    Judged::Accepted
}

fn key(text: &str) -> Judged {
    let Some((name, key)) = read_verifier_key(text) else { return Judged::Refused };
    assert_eq!(verifier_key(name, &key), text, "only the canonical form is accepted");
    Judged::Accepted
}
