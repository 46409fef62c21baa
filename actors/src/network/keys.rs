//! Keys: one Ed25519 key signs a validator's votes and is its network identity.
//!
//! architecture.md section 7; consensus.md section 1: "Validator `i` has an Ed25519 key, which is also its libp2p
//! identity". A peer id of such a key contains the key itself.

use dtvn_messages::crypto::{KeyPair, PublicKey};
use libp2p::PeerId;
use libp2p::identity::{self, Keypair, ed25519};
use thiserror::Error;

/// Bytes that are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the public key {0} is not an Ed25519 public key")]
pub struct KeyError(pub PublicKey);

/// The network identity of a key pair.
#[must_use]
pub fn identity(key: &KeyPair) -> Keypair {
    let mut seed = key.seed();
    #[expect(clippy::expect_used, reason = "any 32 bytes are an Ed25519 seed; the conversion only checks the length")]
    let secret = ed25519::SecretKey::try_from_bytes(&mut seed).expect("32 bytes");
    Keypair::from(ed25519::Keypair::from(secret))
}

/// The peer id of a validator's public key.
///
/// # Errors
/// If the bytes are not a public key.
pub fn peer_id(key: &PublicKey) -> Result<PeerId, KeyError> {
    let public = ed25519::PublicKey::try_from_bytes(&key.0).map_err(|_| KeyError(*key))?;
    Ok(PeerId::from_public_key(&identity::PublicKey::from(public)))
}

/// The public key in a peer id; none if it is of another kind than this network's.
#[must_use]
pub fn public_key(peer: &PeerId) -> Option<PublicKey> {
    let key = identity::PublicKey::try_decode_protobuf(peer.as_ref().digest()).ok()?;
    let key = PublicKey(key.try_into_ed25519().ok()?.to_bytes());
    (peer_id(&key) == Ok(*peer)).then_some(key)
}

#[cfg(test)]
mod tests {
    use dtvn_messages::crypto::DEVELOPMENT_SEED;

    use super::*;

    #[test]
    fn development_identities_are_those_of_the_original_network() {
        let keypair = identity(&KeyPair::development(DEVELOPMENT_SEED, "node0"));
        let expected = "12D3KooWLtBkKrip2jyaRzhUphqYyVXGUPMMbmpBWHZMYXaueb9C";
        assert_eq!(keypair.public().to_peer_id().to_string(), expected);
    }

    #[test]
    fn a_public_key_and_its_peer_id_belong_together() {
        let key = KeyPair::development("another seed", "node7");
        assert_eq!(peer_id(&key.public()).unwrap(), identity(&key).public().to_peer_id());
        assert_eq!(public_key(&identity(&key).public().to_peer_id()), Some(key.public()));
        assert_eq!(public_key(&PeerId::random()), None, "a hash");
        let other = KeyPair::development("another seed", "node8");
        assert_ne!(peer_id(&key.public()), peer_id(&other.public()));
    }

    #[test]
    fn bytes_off_the_curve_are_no_key() {
        let mut bytes = [0xff; 32];
        bytes[0] = 2;
        let key = PublicKey(bytes);
        assert_eq!(peer_id(&key), Err(KeyError(key)));
    }
}
