//! Hashes, keys and signatures.
//!
//! The pure crates never call Ed25519 by name: they take a [`Scheme`] to verify and hand what is to be signed to their
//! shell. So the simulator may run with a cheap stand-in, and the product with the real thing.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::codec::{DecodeError, Layout, Reader, Writer};

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// Reads lower or upper case hexadecimal.
            ///
            /// # Errors
            /// If the text is not exactly that many hexadecimal bytes.
            pub fn from_hex(text: &str) -> Result<Self, DecodeError> {
                let mut bytes = [0; $length];
                hex::decode_to_slice(text, &mut bytes)
                    .map_err(|_| DecodeError::Invalid(concat!(stringify!($length), " bytes in hexadecimal are expected")))?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}..", hex::encode(&self.0[..4]))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&hex::encode(self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::from_hex(&text).map_err(serde::de::Error::custom)
            }
        }

        impl Layout for $name {
            fn write(&self, writer: &mut Writer) {
                writer.fixed(&self.0);
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self(reader.array()?))
            }
        }
    };
}

fixed_bytes!(
    /// A SHA-256 hash.
    Digest, 32
);
fixed_bytes!(
    /// An Ed25519 public key (RFC 8032 section 5.1.5).
    PublicKey, 32
);
fixed_bytes!(
    /// An Ed25519 signature (RFC 8032 section 5.1.6).
    Signature, 64
);

impl Digest {
    /// Thirty-two zero bytes: never the hash of anything.
    pub const ZERO: Self = Self([0; 32]);
}

/// SHA-256 of the parts, one after the other.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> Digest {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Digest(hasher.finalize().into())
}

/// A way to check signatures. The answer must be the same on every replica.
pub trait Scheme: Send + Sync {
    /// Whether `signature` is `key`'s over `message`.
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool;
}

/// Somebody who can sign. The core's shell holds one; the core never sees it.
pub trait Signer: Send + Sync {
    /// The public key under which its signatures verify.
    fn public(&self) -> PublicKey;
    /// Signs. Deterministic: the same message gives the same signature, so that a repeat is byte for byte the same.
    fn sign(&self, message: &[u8]) -> Signature;
}

impl Signer for KeyPair {
    fn public(&self) -> PublicKey {
        self.public
    }
    fn sign(&self, message: &[u8]) -> Signature {
        KeyPair::sign(self, message)
    }
}

/// Ed25519 under strict verification: `S` below the group order, `R` compared by its bytes, no small-order points, and the
/// equation without the cofactor (RFC 8032 section 5.1.7, and the stricter rule of ed25519-dalek's `verify_strict`). Signatures
/// are checked one by one: a check of many at once judges some keys by the equation with the cofactor, and replicas would differ.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ed25519;

impl Scheme for Ed25519 {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&key.0) else {
            return false;
        };
        key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok()
    }
}

/// An Ed25519 key pair. Its `Debug` shows the public key only; the secret is wiped when dropped.
#[derive(Clone)]
pub struct KeyPair {
    signing: SigningKey,
    public: PublicKey,
}

impl KeyPair {
    /// The pair of a 32-byte secret seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(seed);
        let public = PublicKey(signing.verifying_key().to_bytes());
        Self { signing, public }
    }

    /// The key of a validator of the development network: SHA-256 of the seed text and the node id, without a
    /// separator, as secret seed (architecture.md section 7). Whoever knows the seed text is that validator.
    #[must_use]
    pub fn development(seed: &str, node: &str) -> Self {
        Self::from_seed(&sha256(&[seed.as_bytes(), node.as_bytes()]).0)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The secret seed, for a key file.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.signing.to_bytes()
    }

    /// Signs `message`. Deterministic: the same message gives the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.signing.sign(message).to_bytes())
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The seed text of development keys when `DTVN_KEY_SEED` is not set. Public: anyone can be anyone.
pub const DEVELOPMENT_SEED: &str = "dtvn-validator-key-v1";

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use sha2::Sha512;

    use super::*;

    #[test]
    fn a_signature_holds_for_its_message_and_key_only() {
        let key = KeyPair::from_seed(&[7; 32]);
        let other = KeyPair::from_seed(&[8; 32]);
        let signature = key.sign(b"enter");
        assert!(Ed25519.verify(&key.public(), b"enter", &signature));
        assert!(!Ed25519.verify(&key.public(), b"leave", &signature));
        assert!(!Ed25519.verify(&other.public(), b"enter", &signature));
    }

    #[test]
    fn a_small_order_key_signs_nothing() {
        // The identity point: under lax rules this key accepts a signature over any message.
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!Ed25519.verify(&PublicKey(identity), b"anything", &Signature(signature)));
    }

    fn number(bytes: &[u8]) -> BigUint {
        BigUint::from_bytes_le(bytes)
    }

    fn bytes(number: &BigUint) -> [u8; 32] {
        let mut bytes = number.to_bytes_le();
        bytes.resize(32, 0);
        bytes.try_into().unwrap()
    }

    /// 2^255 - 19.
    fn prime() -> BigUint {
        (BigUint::from(1u8) << 255u8) - 19u8
    }

    /// The order of the base point: 2^252 + 27742317777372353535851937790883648493.
    fn order() -> BigUint {
        (BigUint::from(1u8) << 252u8) + 27_742_317_777_372_353_535_851_937_790_883_648_493u128
    }

    #[test]
    fn a_signature_has_one_form() {
        let key = KeyPair::from_seed(&[7; 32]);
        let good = key.sign(b"enter");
        let (r, s) = good.0.split_at(32);
        // The same scalar, written as one that is not below the order.
        let more = bytes(&(number(s) + order()));
        let malleable = Signature([r, &more[..]].concat().try_into().unwrap());
        assert!(Ed25519.verify(&key.public(), b"enter", &good));
        assert!(!Ed25519.verify(&key.public(), b"enter", &malleable));
        // R as the identity, in its two encodings: of small order.
        for identity in [BigUint::from(1u8), prime() + 1u8] {
            let forged = Signature([&bytes(&identity)[..], s].concat().try_into().unwrap());
            assert!(!Ed25519.verify(&key.public(), b"enter", &forged));
            assert!(!Ed25519.verify(&PublicKey(bytes(&identity)), b"enter", &good));
        }
    }

    /// A key of mixed order is the sum of a usual one and a point of order 2, here (0, -1): both coordinates are negated.
    /// Its owner can make signatures that hold with the cofactor always, and without it for every other message. All replicas
    /// judge without it, so they judge alike.
    #[test]
    fn a_key_of_mixed_order_is_judged_without_the_cofactor() {
        let pair = KeyPair::from_seed(&[7; 32]);
        let usual = pair.public().0;
        let mut y = usual;
        y[31] &= 0x7f;
        let mut mixed = bytes(&(prime() - number(&y)));
        mixed[31] |= !usual[31] & 0x80;
        let secret = {
            let mut half: [u8; 32] = Sha512::digest([7; 32])[..32].try_into().unwrap();
            half[0] &= 248;
            half[31] = (half[31] & 127) | 64;
            number(&half)
        };
        let challenge = |r: &[u8], key: &[u8], message: &[u8]| {
            number(&Sha512::new().chain_update(r).chain_update(key).chain_update(message).finalize()) % order()
        };
        let (mut good, mut bad) = (0, 0);
        for message in 0..32u8 {
            let message = [message];
            let usual_signature = pair.sign(&message).0;
            let (r, s) = usual_signature.split_at(32);
            // The nonce of the usual signature, and with it the signature for the other key.
            let product = challenge(r, &usual, &message) * &secret % order();
            let nonce = (number(s) + order() - product) % order();
            let asked = challenge(r, &mixed, &message);
            let scalar = (nonce + &asked * &secret) % order();
            let signature = Signature([r, &bytes(&scalar)[..]].concat().try_into().unwrap());
            let holds = !asked.bit(0);
            assert_eq!(Ed25519.verify(&PublicKey(mixed), &message, &signature), holds, "{message:?}");
            (good, bad) = (good + u32::from(holds), bad + u32::from(!holds));
        }
        assert!(good > 0 && bad > 0, "{good} {bad}");
    }

    #[test]
    fn sha256_is_the_standard_one() {
        assert_eq!(
            sha256(&[b"a", b"bc"]).to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        let key = KeyPair::from_seed(&[0x5a; 32]);
        assert!(!format!("{key:?}").contains("5a5a"));
    }
}
