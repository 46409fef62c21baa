//! The recovery of a validator that lost its memory (consensus.md section 4).
//!
//! A validator whose log is damaged, or missing although its key is not new, may have signed what it does not know any
//! more. It signs nothing in this epoch but the wish for the next: `recover(i, nonce)`, shown to all, which take it in
//! like an operation of a client. In the epoch that its own nonce opened it cannot have signed anything, so there it
//! votes again.

use dtvn_messages::membership::{Membership, Nonce, Recovery, SignedRecovery};
use dtvn_messages::{Action, IdempotencyKey, NodeName, Operation, limits};
use dtvn_pbft::Config;

use crate::intake::{Input, RequestId};

/// How often a validator asks for its recovery.
pub(crate) const RECOVERY_AGAIN_US: u64 = limits::RECOVERY_AGAIN_MS * 1_000;

/// The request under which recoveries are taken in: no session has it.
const REQUEST: RequestId = RequestId(u64::MAX);

/// That a node lost its memory, and the name of the recovery that it asks for. On its disk before it asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amnesia {
    /// What was found, for people.
    pub why: String,
    /// Drawn when it was found.
    pub nonce: Nonce,
}

/// Whether a validator that lost its memory still has to ask for its recovery.
#[must_use]
pub fn is_wanted(held: &Membership, config: &Config, name: &NodeName, nonce: &Nonce) -> bool {
    let pending = held.pending.as_ref().filter(|_| held.epoch == config.epoch);
    pending.is_none_or(|pending| pending.recovering.get(name) != Some(nonce))
}

/// What the intake of another validator is told: the recovery as an operation, for which nobody waits. Its key is made
/// of the validator's name, the nonce and the epoch: so it has one outcome however many take it in, and another one in the
/// next epoch if this one ended meanwhile. Nobody else can use it up: [`dtvn_ledger::KeyScope::Recovery`].
#[must_use]
pub fn taken_in(recovery: SignedRecovery) -> [Input; 2] {
    let key = recovery_key(&recovery.body);
    let operation = Operation::new(key, Action::Recover(Box::new(recovery)));
    [
        Input::Submit { request: REQUEST, operations: vec![operation], wait_ms: limits::RECOVERY_AGAIN_MS },
        Input::Withdraw { request: REQUEST },
    ]
}

#[expect(clippy::expect_used, reason = "words, a name of at most 63 characters, 32 digits and a number: 16 to 128")]
fn recovery_key(recovery: &Recovery) -> IdempotencyKey {
    let Recovery { epoch, validator, nonce } = recovery;
    IdempotencyKey::new(&format!("recover-{validator}-{nonce}-in-{epoch}")).expect("at most 128 printable characters")
}

#[cfg(test)]
mod tests {
    use dtvn_messages::{Epoch, Signature};

    use super::*;

    fn key(epoch: u64, nonce: u8) -> IdempotencyKey {
        let validator = NodeName::new("node1").unwrap();
        let body = Recovery { epoch: Epoch(epoch), validator, nonce: Nonce([nonce; 16]) };
        match taken_in(SignedRecovery { body, signature: Signature([0; 64]) }) {
            [Input::Submit { mut operations, .. }, Input::Withdraw { .. }] => operations.remove(0).key,
            other => panic!("{other:?}"),
        }
    }

    /// An epoch may end while a recovery is on its way, which is refused then, for good under its key.
    #[test]
    fn a_recovery_has_one_key_in_an_epoch_and_another_in_the_next() {
        assert_eq!(key(3, 1), key(3, 1));
        assert_ne!(key(3, 1), key(4, 1));
        assert_ne!(key(3, 1), key(3, 2));
        key(u64::MAX, 255);
    }
}
