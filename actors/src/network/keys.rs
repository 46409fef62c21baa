//! Keys: one Ed25519 key signs a validator's votes and is its network identity.
//!
//! architecture.md section 7; consensus.md section 1: "Validator `i` has an Ed25519 key, which is also its libp2p
//! identity". A peer id of such a key contains the key itself, so either can be had from the other.

use dtvn_messages::crypto::{PublicKey, sha256};
use libp2p::PeerId;
use libp2p::identity::{self, Keypair, ed25519};
use thiserror::Error;

/// The seed of the development keys when `DTVN_KEY_SEED` is not set. Anybody can derive them.
pub const DEVELOPMENT_KEY_SEED: &str = "dtvn-validator-key-v1";

/// Bytes that are not a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The bytes are not a point on the curve.
    #[error("the public key {0} is not an Ed25519 public key")]
    NotAPublicKey(PublicKey),
    /// The identity is not an Ed25519 key.
    #[error("the network identity is not an Ed25519 key")]
    NotEd25519,
}

/// The network identity of a private Ed25519 seed (RFC 8032's 32 secret bytes).
#[must_use]
pub fn keypair_from_seed(mut seed: [u8; 32]) -> Keypair {
    // The conversion only checks the length, and clears the seed.
    #[expect(clippy::expect_used, reason = "any 32 bytes are an Ed25519 seed")]
    let secret = ed25519::SecretKey::try_from_bytes(&mut seed).expect("32 bytes");
    Keypair::from(ed25519::Keypair::from(secret))
}

/// The private seed of a node of the development network: SHA-256 of the seed text and the node id, nothing between.
#[must_use]
pub fn development_seed(seed: &str, node_id: &str) -> [u8; 32] {
    sha256(&[seed.as_bytes(), node_id.as_bytes()]).0
}

/// The network identity of a node of the development network.
#[must_use]
pub fn development_keypair(seed: &str, node_id: &str) -> Keypair {
    keypair_from_seed(development_seed(seed, node_id))
}

/// The public key of a network identity.
///
/// # Errors
/// If it is not an Ed25519 key.
pub fn public_key(keypair: &Keypair) -> Result<PublicKey, KeyError> {
    let key = keypair.public().try_into_ed25519().map_err(|_| KeyError::NotEd25519)?;
    Ok(PublicKey(key.to_bytes()))
}

/// The peer id of a validator's public key.
///
/// # Errors
/// If the bytes are not a public key.
pub fn peer_id(key: &PublicKey) -> Result<PeerId, KeyError> {
    let public = ed25519::PublicKey::try_from_bytes(&key.0).map_err(|_| KeyError::NotAPublicKey(*key))?;
    Ok(PeerId::from_public_key(&identity::PublicKey::from(public)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn development_keys_are_those_of_the_original_network() {
        let keypair = development_keypair(DEVELOPMENT_KEY_SEED, "node0");
        let expected = "12D3KooWLtBkKrip2jyaRzhUphqYyVXGUPMMbmpBWHZMYXaueb9C";
        assert_eq!(keypair.public().to_peer_id().to_string(), expected);
    }

    #[test]
    fn a_public_key_and_its_peer_id_belong_together() {
        let keypair = development_keypair("another seed", "node7");
        let key = public_key(&keypair).unwrap();
        assert_eq!(peer_id(&key).unwrap(), keypair.public().to_peer_id());
        assert_ne!(key, public_key(&development_keypair("another seed", "node8")).unwrap());
    }

    #[test]
    fn bytes_off_the_curve_are_no_key() {
        let mut bytes = [0xff; 32];
        bytes[0] = 2;
        let key = PublicKey(bytes);
        assert_eq!(peer_id(&key), Err(KeyError::NotAPublicKey(key)));
    }
}
