//! Cosignatures, receipts and evidence (consensus.md section 3 item 5, and section 8).

use core::time::Duration;

use super::VALIDATORS_MAX;

/// Signature lines of one signed note: all validators, and as many outside witnesses. More are refused.
pub const NOTE_SIGNATURES_MAX: usize = 2 * VALIDATORS_MAX;
/// Bytes of one signed note or policy: a line for each signature has at most some 300. A longer one is refused.
pub const NOTE_BYTES_MAX: usize = 128 * 1024;
/// Bytes of one receipt: the largest outcome in base64, 64 hashes, and a note. A longer one is refused.
pub const RECEIPT_BYTES_MAX: usize = NOTE_BYTES_MAX + 64 * 1024;
/// Cosignatures in one message. The sender sends more messages; more from a peer are malformed.
pub const COSIGN_HEADS_MAX: usize = 256;
/// Receipt certificates in one answer: at most 1.1 MB with the largest set. More are malformed.
pub const RECEIPTS_SENT_MAX: usize = 128;
/// Heights at and below the committed one for which cosignatures are held: a peer that was away for that long finds
/// the certificates of later heads, which prove what the earlier ones would. Older ones go.
pub const RECEIPTS_KEPT_HEIGHTS: u64 = 256;
/// Heights above the committed one for which cosignatures are held, one for each validator. What is farther in the
/// future is dropped, and asked for when this node is there.
pub const RECEIPTS_AHEAD_HEIGHTS: u64 = 256;
/// The least time between two messages with cosignatures: under load what comes meanwhile goes together. The first one
/// after a pause leaves at once.
pub const COSIGN_INTERVAL_MS: u64 = 10;
/// How long a committed block waits for somebody else's sync before one is asked for: a vote's sync is never behind
/// that of a cosignature.
pub const COSIGN_FLUSH_AFTER_MS: u64 = 5;
/// How long cosignatures may take before others are asked for them. Doubles with each try.
pub const RECEIPTS_FETCH_AFTER_MS: u64 = 500;
/// How often others are asked, one after the other. Then the height stays without a certificate of its own.
pub const RECEIPTS_FETCH_TRIES_MAX: u32 = 8;
/// How long a request waits for the cosignatures of an outcome. Then it is answered without them.
pub const RECEIPT_WAIT: Duration = Duration::from_secs(2);
/// Bytes of one piece of evidence: the largest hold VIEW-CHANGEs. A larger one is not made, and refused.
pub const EVIDENCE_BYTES_MAX: usize = 1024 * 1024;
/// VIEW-CHANGEs in one piece of evidence: all that a NEW-VIEW may name.
pub const EVIDENCE_VIEW_CHANGES_MAX: usize = VALIDATORS_MAX;
/// Pieces of evidence against one validator that are kept and told: one is enough to know it. Further ones are dropped.
pub const EVIDENCE_PER_CULPRIT_MAX: usize = 64;
/// Slots in which votes of one validator are remembered to prove a contradiction: 1 MB. Beyond it the farthest future is
/// forgotten, so that a flood hides nothing that counts now, of its sender or of another.
pub const WITNESS_VOTES_PER_SENDER_MAX: usize = 4_096;
/// Heights below the committed one for which votes are remembered.
pub const WITNESS_KEPT_HEIGHTS: u64 = 256;
/// Headers of one leader's proposals that are remembered to prove a bad one: 100 kB. Beyond it the farthest future is
/// forgotten. Those of committed blocks are remembered beside, for [`WITNESS_KEPT_HEIGHTS`].
pub const WITNESS_HEADERS_PER_SENDER_MAX: usize = 512;
/// Bytes that are looked at in all, for a proof against the signer of one remembered VIEW-CHANGE or NEW-VIEW, which is then
/// looked at as a whole: a short one often, so that nobody uses up the looks before its lie. One proof is enough.
pub const WITNESS_LOOKED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// VIEW-CHANGEs, and NEW-VIEWs, of one validator that are remembered: the latest views.
pub const WITNESS_VIEW_CHANGES_PER_SENDER_MAX: usize = 4;
/// The least time between two answers to one peer that lacks receipts; what it asks meanwhile is dropped.
pub const RECEIPTS_ANSWER_INTERVAL_MS: u64 = 100;
