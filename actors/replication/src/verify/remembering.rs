//! A scheme that remembers which signatures held: votes come again inside certificates, and certificates inside view
//! changes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use dtvn_messages::limits::VERIFIER_REMEMBERED_MAX;
use dtvn_messages::{Digest, PublicKey, Scheme, Signature, sha256};

/// A scheme that remembers what held.
pub struct Remembering<S> {
    scheme: S,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    known: BTreeSet<Digest>,
    order: VecDeque<Digest>,
}

impl<S> Remembering<S> {
    /// Puts a memory in front of a scheme.
    pub fn new(scheme: S) -> Self {
        Self { scheme, held: Mutex::default() }
    }
}

impl<S: Scheme> Scheme for Remembering<S> {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let name = sha256(&[&key.0, &signature.0, message]);
        if self.held.lock().unwrap_or_else(PoisonError::into_inner).known.contains(&name) {
            return true;
        }
        let holds = self.scheme.verify(key, message, signature);
        if holds {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if held.known.insert(name) {
                held.order.push_back(name);
            }
            if held.order.len() > VERIFIER_REMEMBERED_MAX
                && let Some(oldest) = held.order.pop_front()
            {
                held.known.remove(&oldest);
            }
        }
        holds
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Every signature holds, and is counted.
    struct Counting(AtomicUsize);

    impl Scheme for Counting {
        fn verify(&self, _: &PublicKey, _: &[u8], _: &Signature) -> bool {
            self.0.fetch_add(1, Ordering::Relaxed);
            true
        }
    }

    #[test]
    fn the_signature_that_was_checked_first_is_forgotten_first_and_checked_again() {
        let scheme = Remembering::new(Counting(AtomicUsize::new(0)));
        let verify = |number: usize| scheme.verify(&PublicKey([0; 32]), &number.to_be_bytes(), &Signature([0; 64]));
        let checked = |scheme: &Remembering<Counting>| scheme.scheme.0.load(Ordering::Relaxed);
        (0..=VERIFIER_REMEMBERED_MAX).for_each(|number| assert!(verify(number)));
        assert_eq!(checked(&scheme), VERIFIER_REMEMBERED_MAX + 1);
        assert_eq!(scheme.held.lock().unwrap().known.len(), VERIFIER_REMEMBERED_MAX);
        assert!(verify(1) && verify(VERIFIER_REMEMBERED_MAX));
        assert_eq!(checked(&scheme), VERIFIER_REMEMBERED_MAX + 1, "they are remembered");
        assert!(verify(0));
        assert_eq!(checked(&scheme), VERIFIER_REMEMBERED_MAX + 2, "it was forgotten");
    }
}
