//! What the tests share: a genesis, fake signatures, messages of other validators, and a replica under test. Whole networks
//! under any schedule are the simulator's (actors/simulation): it runs the same core with all that is around it.
#![allow(dead_code, reason = "the benchmark uses a part")]

pub mod build;
pub mod fake;
pub mod under;

use dtvn_messages::genesis::ConsensusParameters;
use dtvn_messages::{ChainId, Genesis, PublicKey, Scheme, Signature, Signed, Statement, ValidatorIndex, sha256};

/// Signatures that cost nothing: a hash of the key and the message. The core never checks one.
pub struct FakeScheme;

impl Scheme for FakeScheme {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        fake_signature(key, message) == *signature
    }
}

fn fake_signature(key: &PublicKey, message: &[u8]) -> Signature {
    let half = sha256(&[b"fake signature", &key.0, message]).0;
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&half);
    bytes[32..].copy_from_slice(&half);
    Signature(bytes)
}

/// Signs as the validator at an index.
pub fn sign<T: Statement>(genesis: &Genesis, signer: ValidatorIndex, body: T) -> Signed<T> {
    let key = genesis.validators().key(signer).unwrap();
    let signature = fake_signature(&key, &body.signed_bytes(genesis.chain_id()));
    Signed { body, signer, signature }
}

/// A genesis of `count` validators of power 1, with parameters changed as wanted.
pub fn genesis(count: usize, change: impl FnOnce(&mut ConsensusParameters)) -> Genesis {
    genesis_with_powers(&vec![1; count], change)
}

/// A genesis of validators with these powers.
pub fn genesis_with_powers(powers: &[u32], change: impl FnOnce(&mut ConsensusParameters)) -> Genesis {
    let mut file = Genesis::development(powers.len(), "pbft-tests", false).unwrap().file().clone();
    file.chain_id = ChainId::new("pbft-tests").unwrap();
    for (validator, power) in file.validators.iter_mut().zip(powers) {
        validator.power = *power;
    }
    change(&mut file.consensus);
    Genesis::new(file).unwrap()
}
