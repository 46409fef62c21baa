//! Digests of bundles that are finished: ordered, or never to be ordered (architecture.md section 6: "Duplicate
//! suppression: an LRU of digests and a rotating Bloom filter").
//!
//! The recent ones are known exactly; of older ones the filter says "perhaps". It only decides whether an announced
//! bundle is worth a fetch. Whether a bundle that has arrived is stale is told from its position, without doubt.

use std::collections::BTreeMap;

use dtvn_messages::Digest;

/// Whether a digest was remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// It never was, or long ago.
    No,
    /// By the Bloom filter, which errs now and then.
    Perhaps,
    /// It was.
    Yes,
}

/// The memory of finished digests.
#[derive(Debug)]
pub(super) struct Remembered {
    last_use: BTreeMap<Digest, u64>,
    by_use: BTreeMap<u64, Digest>,
    uses: u64,
    exact_max: usize,
    bloom: Bloom,
}

impl Remembered {
    pub(super) fn new(exact_max: usize, bloom_digests_max: usize, bits_per_digest: usize, seed: u64) -> Self {
        let bloom = Bloom::new(bloom_digests_max, bits_per_digest, seed);
        Self { last_use: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0, exact_max, bloom }
    }

    /// Remembers a digest.
    pub(super) fn remember(&mut self, digest: Digest) {
        if self.touch(&digest) {
            return;
        }
        self.bloom.insert(&digest);
        self.last_use.insert(digest, self.uses);
        self.by_use.insert(self.uses, digest);
        self.uses += 1;
        if self.last_use.len() > self.exact_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.last_use.remove(&oldest);
        }
    }

    /// Whether a digest was remembered; asking keeps it from being forgotten.
    pub(super) fn look(&mut self, digest: &Digest) -> Memory {
        if self.touch(digest) {
            Memory::Yes
        } else if self.bloom.contains(digest) {
            Memory::Perhaps
        } else {
            Memory::No
        }
    }

    fn touch(&mut self, digest: &Digest) -> bool {
        let Some(last_use) = self.last_use.get_mut(digest) else { return false };
        self.by_use.remove(last_use);
        *last_use = self.uses;
        self.by_use.insert(self.uses, *digest);
        self.uses += 1;
        true
    }

    #[cfg(test)]
    pub(super) fn exact_count(&self) -> usize {
        assert_eq!(self.last_use.len(), self.by_use.len());
        self.last_use.len()
    }
}

const PROBES: u64 = 7;

/// Two generations of a Bloom filter: when the younger is full, the older is cleared and takes its place.
#[derive(Debug)]
struct Bloom {
    young: Vec<u64>,
    old: Vec<u64>,
    inserted: usize,
    digests_max: usize,
    seed: u64,
}

impl Bloom {
    fn new(digests_max: usize, bits_per_digest: usize, seed: u64) -> Self {
        let words = (digests_max * bits_per_digest).div_ceil(64).max(1);
        Self { young: vec![0; words], old: vec![0; words], inserted: 0, digests_max, seed }
    }

    fn insert(&mut self, digest: &Digest) {
        if self.inserted >= self.digests_max {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.fill(0);
            self.inserted = 0;
        }
        for bit in self.bits(digest) {
            self.young[bit / 64] |= 1 << (bit % 64);
        }
        self.inserted += 1;
    }

    fn contains(&self, digest: &Digest) -> bool {
        let all_in = |words: &[u64]| self.bits(digest).all(|bit| words[bit / 64] & (1 << (bit % 64)) != 0);
        all_in(&self.young) || all_in(&self.old)
    }

    /// The probes: double hashing over two words of the digest, mixed with the seed.
    fn bits(&self, digest: &Digest) -> impl Iterator<Item = usize> + use<> {
        let bits = self.young.len() as u64 * 64;
        let first = mix(self.seed ^ word(digest, 0));
        let second = mix(self.seed.rotate_left(32) ^ word(digest, 8)) | 1;
        (0..PROBES).map(move |probe| (first.wrapping_add(probe.wrapping_mul(second)) % bits) as usize)
    }
}

/// Eight bytes of a digest as a number.
pub(super) fn word(digest: &Digest, from: usize) -> u64 {
    digest.0[from..from + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The output function of SplitMix64 (Steele, Lea and Flood, OOPSLA '14).
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
