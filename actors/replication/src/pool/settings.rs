//! What a pool is made with.

use std::sync::Arc;

use dtvn_messages::{ChainId, Epoch, ValidatorIndex, ValidatorSet, limits};

/// Who this node is, whom it talks to, and how much it holds.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// The chain: part of what bundles are signed over.
    pub chain: ChainId,
    /// The current epoch. Bundles of another are not taken.
    pub epoch: Epoch,
    /// The validators of that epoch.
    pub validators: Arc<ValidatorSet>,
    /// This node's place among them; none for an observer.
    pub own: Option<ValidatorIndex>,
    /// Any number that others do not know: it keeps them from choosing digests that the Bloom filter takes for old.
    pub seed: u64,
    /// The bounds.
    pub limits: PoolLimits,
}

/// The bounds of a pool; each field is the constant of the same name of `limits`, unless a test wants it small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is documented in limits")]
pub struct PoolLimits {
    pub direct_validators_max: usize,
    pub origin_bundles_max: usize,
    pub origin_bytes_max: usize,
    pub bytes_max: usize,
    pub bundle_bytes_max: usize,
    pub reserve_bytes_max: usize,
    pub reserve_part_bytes_min: usize,
    pub reserved_bytes_min: usize,
    pub room_asked_ms: u64,
    pub retained_bytes_max: usize,
    pub variants_max: usize,
    pub wants_max: usize,
    pub want_grace_ms: u64,
    pub fetches_per_peer_max: usize,
    pub waiting_served_max: usize,
    pub fetch_timeout_ms: u64,
    pub announced_per_peer_max: usize,
    pub announce_grace_ms: u64,
    pub announce_doubt_ms: u64,
    pub unverified_bundles_per_peer_max: usize,
    pub unverified_bytes_per_peer_max: usize,
    pub verify_timeout_ms: u64,
    pub serve_answer_bytes_max: usize,
    pub serve_interval_bytes_max: usize,
    pub serve_interval_ms: u64,
    pub remembered_max: usize,
    pub bloom_digests_max: usize,
    pub bloom_bits_per_digest: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            direct_validators_max: limits::POOL_DIRECT_VALIDATORS_MAX,
            origin_bundles_max: limits::POOL_ORIGIN_BUNDLES_MAX,
            origin_bytes_max: limits::POOL_ORIGIN_BYTES_MAX,
            bytes_max: limits::POOL_BYTES_MAX,
            bundle_bytes_max: limits::BUNDLE_BYTES_MAX,
            reserve_bytes_max: limits::POOL_RESERVE_BYTES_MAX,
            reserve_part_bytes_min: limits::POOL_RESERVE_PART_BYTES_MIN,
            reserved_bytes_min: limits::POOL_RESERVED_BYTES_MIN,
            room_asked_ms: limits::POOL_ROOM_ASKED_MS,
            retained_bytes_max: limits::POOL_RETAINED_BYTES_MAX,
            variants_max: limits::POOL_VARIANTS_MAX,
            wants_max: limits::POOL_WANTS_MAX,
            want_grace_ms: limits::POOL_WANT_GRACE_MS,
            fetches_per_peer_max: limits::POOL_FETCHES_PER_PEER_MAX,
            waiting_served_max: limits::POOL_WAITING_SERVED_MAX,
            fetch_timeout_ms: limits::POOL_FETCH_TIMEOUT_MS,
            announced_per_peer_max: limits::POOL_ANNOUNCED_PER_PEER_MAX,
            announce_grace_ms: limits::POOL_ANNOUNCE_GRACE_MS,
            announce_doubt_ms: limits::POOL_ANNOUNCE_DOUBT_MS,
            unverified_bundles_per_peer_max: limits::POOL_UNVERIFIED_BUNDLES_PER_PEER_MAX,
            unverified_bytes_per_peer_max: limits::POOL_UNVERIFIED_BYTES_PER_PEER_MAX,
            verify_timeout_ms: limits::POOL_VERIFY_TIMEOUT_MS,
            serve_answer_bytes_max: limits::POOL_SERVE_ANSWER_BYTES_MAX,
            serve_interval_bytes_max: limits::POOL_SERVE_INTERVAL_BYTES_MAX,
            serve_interval_ms: limits::POOL_SERVE_INTERVAL_MS,
            remembered_max: limits::POOL_REMEMBERED_MAX,
            bloom_digests_max: limits::POOL_BLOOM_DIGESTS_MAX,
            bloom_bits_per_digest: limits::POOL_BLOOM_BITS_PER_DIGEST,
        }
    }
}

impl PoolLimits {
    /// The bytes that one of `validators` origins may have pending: shares add up to no more than the total.
    #[must_use]
    pub fn share_bytes(&self, validators: usize) -> usize {
        self.origin_bytes_max.min(self.bytes_max / validators.max(1))
    }

    /// The bytes that the proposals of one of `validators` leaders may have in the reserve: an even part, and one block at
    /// least.
    #[must_use]
    pub fn reserve_part_bytes(&self, validators: usize) -> usize {
        self.reserve_part_bytes_min.max(self.reserve_bytes_max / validators.max(1))
    }
}
