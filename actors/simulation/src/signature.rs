//! A stand-in for signatures that costs next to nothing: anyone could compute anyone's. No liar of the simulator does,
//! because each is only given its own signer.

use dtvn_messages::{PublicKey, Scheme, Signature, Signer};

/// Signs in the name of a public key.
#[derive(Debug, Clone, Copy)]
pub struct FastSigner(pub PublicKey);

/// Checks what [`FastSigner`] signs.
#[derive(Debug, Clone, Copy, Default)]
pub struct FastScheme;

impl Signer for FastSigner {
    fn public(&self) -> PublicKey {
        self.0
    }

    fn sign(&self, message: &[u8]) -> Signature {
        stand_in(&self.0, message)
    }
}

impl Scheme for FastScheme {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        stand_in(key, message) == *signature
    }
}

fn mix(state: u64, word: u64) -> u64 {
    let mixed = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn stand_in(key: &PublicKey, message: &[u8]) -> Signature {
    let mut state = key.0.chunks(8).fold(message.len() as u64, |state, chunk| mix(state, word(chunk)));
    let mut chunks = message.chunks_exact(8);
    for chunk in chunks.by_ref() {
        let bytes = chunk.first_chunk::<8>().copied().unwrap_or_default();
        state = mix(state, u64::from_le_bytes(bytes));
    }
    state = mix(state, word(chunks.remainder()));
    let mut signature = [0; 64];
    for (number, part) in signature.chunks_mut(8).enumerate() {
        state = mix(state, number as u64 + 1);
        part.copy_from_slice(&state.to_be_bytes());
    }
    Signature(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_for_its_message_and_key_only() {
        let (ours, theirs) = (FastSigner(PublicKey([1; 32])), FastSigner(PublicKey([2; 32])));
        for message in [&b""[..], b"a", b"12345678", b"123456789"] {
            let signature = ours.sign(message);
            assert!(FastScheme.verify(&ours.public(), message, &signature));
            assert!(!FastScheme.verify(&theirs.public(), message, &signature));
            assert!(!FastScheme.verify(&ours.public(), b"another", &signature));
        }
        assert_ne!(ours.sign(b"1234567"), ours.sign(b"1234567\0"));
    }
}
