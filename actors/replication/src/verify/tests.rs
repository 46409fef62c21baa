//! What one node of four takes of the others.

use dtvn_messages::certificate::{Certificate, CertificateError, PreparedCertificate, Signatures};
use dtvn_messages::crypto::DEVELOPMENT_SEED;
use dtvn_messages::membership::{Recovery, SignedRecovery};
use dtvn_messages::{BundleBody, Ed25519, Genesis, Height, KeyPair, NodeName, Nonce, View, ViewChange, Vote, VoteKind};

use super::*;

fn key(number: u16) -> KeyPair {
    KeyPair::development(DEVELOPMENT_SEED, &format!("node{number}"))
}

fn verifier() -> (Verifier, Genesis) {
    let genesis = Genesis::development(4, DEVELOPMENT_SEED, false).unwrap();
    let config = Config::from_genesis(&genesis, Some(&key(0).public()));
    (Verifier::of(&config, Arc::new(Ed25519)), genesis)
}

#[test]
fn a_recovery_is_of_this_epoch_said_by_its_own_validator_and_signed_by_it() {
    let (verifier, genesis) = verifier();
    let recovery = |epoch: u64, name: u16, signer: u16| {
        let validator = NodeName::new(&format!("node{name}")).unwrap();
        let body = Recovery { epoch: Epoch(epoch), validator, nonce: Nonce([1; 16]) };
        let signature = key(signer).sign(&body.signed_bytes(genesis.chain_id()));
        SignedRecovery { body, signature }
    };
    let from = ValidatorIndex(2);
    assert_eq!(verifier.recovery(from, &recovery(0, 2, 2)), Ok(true));
    assert_eq!(verifier.recovery(from, &recovery(1, 2, 2)), Ok(false), "of another epoch: nobody is to blame");
    assert_eq!(verifier.recovery(from, &recovery(0, 1, 1)), Err(Fault::Foreign("recover")));
    assert_eq!(verifier.recovery(from, &recovery(0, 9, 2)), Err(Fault::Foreign("recover")));
    assert_eq!(verifier.recovery(from, &recovery(0, 2, 1)), Err(Fault::Signature("recover")));
}

#[test]
fn a_bundle_is_signed_by_its_origin() {
    let (verifier, genesis) = verifier();
    for (origin, signer, holds) in [(1, 1, true), (1, 2, false), (4, 1, false)] {
        let origin = ValidatorIndex(origin);
        let body = BundleBody { epoch: Epoch(0), origin, start: 1, number: 0, operations: Vec::new() };
        assert_eq!(verifier.bundle(&Bundle::sign(body, genesis.chain_id(), &key(signer))), holds);
    }
}

#[test]
fn a_view_change_shows_no_more_than_a_window_of_heights() {
    let (verifier, genesis) = verifier();
    let shown = |count: u64| {
        let prepared = (1..=count).map(|height| {
            let header = crate::sync::tests::header(height);
            let digest = header.digest(genesis.chain_id());
            let vote = Vote { kind: VoteKind::Prepare, epoch: Epoch(0), view: View(0), height: Height(height), digest };
            let sign = |signer: u16| {
                (ValidatorIndex(signer), Signed::new(vote, genesis.chain_id(), ValidatorIndex(signer), &key(signer)))
            };
            let signatures = Signatures((0..3).map(sign).map(|(signer, signed)| (signer, signed.signature)).collect());
            PreparedCertificate { header, certificate: Certificate { vote, signatures } }
        });
        let body =
            ViewChange { epoch: Epoch(0), view: View(1), stable: None, committed: None, prepared: prepared.collect() };
        let signed = Signed::new(body, genesis.chain_id(), ValidatorIndex(2), &key(2));
        verifier.consensus(ValidatorIndex(2), PeerMessage::ViewChange(Arc::new(signed)))
    };
    let window = genesis.parameters().log_window;
    assert!(matches!(shown(window), Ok(Some(Message::ViewChange(_)))));
    assert!(matches!(shown(window + 1), Err(Fault::Certificate(CertificateError::Mismatch(_)))));
}
