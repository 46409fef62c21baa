//! The bundle pool: each origin has its own share, and nothing that was accepted is evicted (consensus.md section 9).

use super::{BLOCK_BUNDLES_MAX, BLOCK_BYTES_MAX};

/// Up to so many validators a bundle goes from its origin to each of them directly; above it through about the square
/// root of their number.
pub const POOL_DIRECT_VALIDATORS_MAX: usize = 16;
/// Pending bundles of one origin: an honest one has [`INTAKE_BUNDLES_ON_WAY_MAX`](super::INTAKE_BUNDLES_ON_WAY_MAX) on their way, more only after restarts.
/// A peer's bundle beyond it is not taken; a proposal may still name it, then it is fetched.
pub const POOL_ORIGIN_BUNDLES_MAX: usize = 64;
/// Bytes of the pending bundles of one origin, at most an even share of [`POOL_BYTES_MAX`]. Beyond it as above; this
/// node's own intake refuses operations as `overloaded` before.
pub const POOL_ORIGIN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of all pending bundles without the reserve. Each origin has its share, so nobody can fill another's.
pub const POOL_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Bytes beyond an origin's share that may be taken because a proposal names them: eight blocks. Each leader has an even
/// part of it for what its proposals name. Beyond it a bundle is not taken until there is room, and is asked for again;
/// what nothing needs any more makes room.
pub const POOL_RESERVE_BYTES_MAX: usize = 8 * BLOCK_BYTES_MAX;
/// A leader's part of the reserve at least, in networks of more than four: any one block fits, whatever its bundles count.
pub const POOL_RESERVE_PART_BYTES_MIN: usize = BLOCK_BYTES_MAX + BLOCK_BUNDLES_MAX * POOL_RESERVED_BYTES_MIN;
/// What a bundle in the reserve counts at least: as many as blocks of the longest bundles have fit, so that nobody fills it
/// with very many short ones.
pub const POOL_RESERVED_BYTES_MIN: usize = 32 * 1024;
/// While the reserve is full the replica is asked no sooner than after this time again what of it can go: it looks at all
/// of it.
pub const POOL_ROOM_ASKED_MS: u64 = 250;
/// Bytes of ordered bundles that are kept for peers. Beyond it the lowest heights go first: they are in the consensus
/// log, and whoever lacks them syncs.
pub const POOL_RETAINED_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Bundles of one origin at one position: two prove that it equivocates, more prove nothing else. A third is not taken
/// unless a proposal names it.
pub const POOL_VARIANTS_MAX: usize = 2;
/// Bundles that the replica may want at once: the largest pipeline of the largest blocks. Beyond it the replica is told
/// so, and asks again with its next proposal.
pub const POOL_WANTS_MAX: usize = 64 * BLOCK_BUNDLES_MAX;
/// How long a bundle that is wanted may still arrive by itself before it is fetched: proposals overtake bundles, and a
/// fetch sends the same bytes again.
pub const POOL_WANT_GRACE_MS: u64 = 10;
/// Bundles asked for and not yet answered by one peer. Beyond it the next holder is asked, or this one later.
pub const POOL_FETCHES_PER_PEER_MAX: usize = 1_024;
/// Of the bundles that wait until somebody may be asked, so many are looked at in one step: it bounds the step. The others
/// wait behind them, at most [`POOL_FETCH_TIMEOUT_MS`] for each round.
pub const POOL_WAITING_SERVED_MAX: usize = 64;
/// After this time the next holder is asked for a bundle: a quarter of the default view timeout.
pub const POOL_FETCH_TIMEOUT_MS: u64 = 250;
/// Announced bundles, first heard of from one peer, that are looked for. What it announces beyond is ignored.
pub const POOL_ANNOUNCED_PER_PEER_MAX: usize = 1_024;
/// How long an announced bundle may still arrive by itself before it is fetched.
pub const POOL_ANNOUNCE_GRACE_MS: u64 = 50;
/// How long a second peer may take to announce a bundle that the Bloom filter takes for an old one. Then it is forgotten.
pub const POOL_ANNOUNCE_DOUBT_MS: u64 = 10_000;
/// Bundles that one peer sent unasked and that are not verified yet. More are not taken.
pub const POOL_UNVERIFIED_BUNDLES_PER_PEER_MAX: usize = 16;
/// Bytes of the bundles of one peer, asked for or not, that are not verified yet: two blocks. More are not taken; those
/// that are wanted are asked for again.
pub const POOL_UNVERIFIED_BYTES_PER_PEER_MAX: usize = 2 * BLOCK_BYTES_MAX;
/// How long a verification may take. Then it is given up: the verifier was restarted.
pub const POOL_VERIFY_TIMEOUT_MS: u64 = 5_000;
/// Bytes in answer to one fetch: one block. What is left over is asked for again, elsewhere.
pub const POOL_SERVE_ANSWER_BYTES_MAX: usize = BLOCK_BYTES_MAX;
/// Bytes served to one peer in [`POOL_SERVE_INTERVAL_MS`]. Beyond it nothing is served until the next interval.
pub const POOL_SERVE_INTERVAL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The interval of that bound.
pub const POOL_SERVE_INTERVAL_MS: u64 = 1_000;
/// Digests of finished bundles that are remembered exactly. The one not heard of for longest goes first.
pub const POOL_REMEMBERED_MAX: usize = 16_384;
/// Digests in one generation of the Bloom filter, which remembers the last one to two generations of finished bundles.
pub const POOL_BLOOM_DIGESTS_MAX: usize = 131_072;
/// Bits of the Bloom filter for each of them: with seven probes one in two thousand is taken for old by mistake.
pub const POOL_BLOOM_BITS_PER_DIGEST: usize = 16;
