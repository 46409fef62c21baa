//! What peers send each other: a version byte and a bincode message.
//!
//! Signed things travel as their own canonical layout, a byte string inside the message; they are never re-encoded to
//! be hashed or checked. bincode is used within a limit that grows with the frame, so that a short frame cannot promise
//! much, and a frame with bytes left over is refused.

mod frame;

use std::sync::Arc;

use bincode::de::Decoder;
use bincode::de::read::Reader as _;

use crate::block::Block;
use crate::certificate::{Certificate, CommittedProof, PreparedCertificate, StableCheckpoint};
use crate::checkpoint::Checkpoint;
use crate::codec::Layout;
use crate::crypto::{Digest, Signature};
use crate::evidence::Evidence;
use crate::head::Head;
use crate::ids::{Epoch, Height, View};
use crate::limits;
use crate::membership::{EpochEnd, SignedRecovery};
use crate::receipt::ReceiptCertificate;
use crate::snapshot::Manifest;
use crate::state::Part;
use crate::statement::Signed;
use crate::view_change::{NewView, ViewChange};
use crate::vote::{Vote, VoteKind};

pub use frame::{WireError, decode, encode};

/// The version of the frame; a peer with another is refused at the handshake.
pub const WIRE_VERSION: u8 = 1;

/// Reads a byte string where it lies, without a copy, as a canonical layout. Works on slices, not on streams.
fn decode_layout<T: Layout, D: Decoder>(decoder: &mut D) -> Result<T, bincode::error::DecodeError> {
    let length = <u64 as bincode::Decode<D::Context>>::decode(decoder)?;
    let length = usize::try_from(length).map_err(|_| bincode::error::DecodeError::LimitExceeded)?;
    decoder.claim_bytes_read(length)?;
    let short = bincode::error::DecodeError::UnexpectedEnd { additional: length };
    let bytes = decoder.reader().peek_read(length).ok_or(short)?;
    let value = T::from_bytes(bytes).map_err(|error| bincode::error::DecodeError::OtherString(error.to_string()))?;
    decoder.reader().consume(length);
    Ok(value)
}

/// Travels and is stored as its canonical layout inside a bincode message.
macro_rules! as_layout {
    ($($type:ty),* $(,)?) => {$(
        impl bincode::Encode for $type {
            fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
                self.to_bytes().encode(encoder)
            }
        }
        impl<C> bincode::Decode<C> for $type {
            fn decode<D: bincode::de::Decoder<Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                decode_layout(decoder)
            }
        }
        impl<'de, C> bincode::BorrowDecode<'de, C> for $type {
            fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                <Self as bincode::Decode<C>>::decode(decoder)
            }
        }
    )*};
}

as_layout!(
    Block,
    Certificate,
    CommittedProof,
    PreparedCertificate,
    StableCheckpoint,
    Signed<Vote>,
    Signed<Checkpoint>,
    Signed<Head>,
    ReceiptCertificate,
    Evidence,
    Signed<ViewChange>,
    Signed<NewView>,
    crate::operation::Operation,
    crate::outcome::Outcome,
    crate::validators::ValidatorSet,
    SignedRecovery,
    EpochEnd,
);

/// PRE-PREPARE: a proposal with the leader's ordinary PREPARE signature (consensus.md section 3). The signer is the
/// leader of `view`.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct PrePrepare {
    /// The view in which it is proposed.
    pub view: View,
    /// The block.
    pub block: Arc<Block>,
    /// The leader's signature over PREPARE(view, height, digest).
    pub signature: Signature,
}

impl PrePrepare {
    /// The vote that the signature is over.
    #[must_use]
    pub fn vote(&self, digest: Digest) -> Vote {
        let header = &self.block.header;
        Vote { kind: VoteKind::Prepare, epoch: header.epoch, view: self.view, height: header.height, digest }
    }
}

/// What a replica tells its peers of itself, so that each finds out what the other lacks (consensus.md section 7).
/// Never evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Status {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its view.
    pub view: View,
    /// Whether that view is active: its NEW-VIEW is there.
    pub active: bool,
    /// Its highest committed height.
    pub committed: Height,
    /// Its stable checkpoint.
    pub stable: Height,
    /// The view that it wishes for, or its own.
    pub wish: View,
    /// Whether it waits for something: then its peers send what it lacks.
    pub pending: bool,
}

/// A committed block as it is synced: header and bundle list, COMMITs, and the bundles in their order.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct CommittedBlock {
    /// The block.
    pub block: Arc<Block>,
    /// Its COMMITs, or those of a block above it in the same answer: then none.
    pub certificate: Option<Certificate>,
    /// The bundles as they travel ([`crate::Bundle::bytes`]).
    pub bundles: Vec<Arc<Vec<u8>>>,
}

/// Everything that a peer may say.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum PeerMessage {
    /// A proposal.
    PrePrepare(Arc<PrePrepare>),
    /// A PREPARE or COMMIT.
    Vote(Signed<Vote>),
    /// "I wish for this view": promises nothing.
    Wish {
        /// The epoch.
        epoch: Epoch,
        /// The view.
        view: View,
    },
    /// A move to another view.
    ViewChange(Arc<Signed<ViewChange>>),
    /// The start of a view.
    NewView(Arc<Signed<NewView>>),
    /// "I lack these view changes, which your NEW-VIEW names."
    FetchViewChanges {
        /// The view.
        view: View,
        /// The digests of the view changes.
        digests: Vec<Digest>,
    },
    /// A checkpoint vote.
    Checkpoint(Signed<Checkpoint>),
    /// A stable checkpoint, for one who lacks it.
    StableCheckpoint(Arc<StableCheckpoint>),
    /// A prepared certificate, for one who lacks it.
    Prepared(Arc<PreparedCertificate>),
    /// A commit certificate, for one who lacks it.
    Committed(Arc<CommittedProof>),
    /// "I lack the bundle lists of these blocks."
    FetchBlocks(Vec<Digest>),
    /// A block's bundle list, for one who has only its header.
    Block(Arc<Block>),
    /// Where the sender stands.
    Status(Status),
    /// A bundle as it travels.
    Bundle(Arc<Vec<u8>>),
    /// "I lack these bundles."
    FetchBundles(Vec<Digest>),
    /// "I hold these bundles": for large networks.
    AnnounceBundles(Vec<Digest>),
    /// "Send me the committed blocks from here on."
    SyncRequest {
        /// The first height wanted.
        from: Height,
        /// The last height wanted.
        to: Height,
    },
    /// "I lost my memory: end the epoch, so that I may vote again."
    Recover(Box<SignedRecovery>),
    /// How an epoch ended: to who asks for the first block above that end, and may be in that epoch.
    EpochEnd(Arc<EpochEnd>),
    /// Committed blocks in ascending order; the last has a certificate, if there is any. Empty: the sender does not have
    /// the first of them, or not any more.
    SyncBlocks(Vec<CommittedBlock>),
    /// "Send me the manifest of your snapshot at this height, or else of your latest one."
    SnapshotRequest {
        /// The height.
        height: Height,
        /// One below this height is of no use.
        at_least: Height,
        /// The latest epoch whose validators the asker knows: it is shown how the epochs from there on ended.
        epoch: Epoch,
    },
    /// A snapshot's manifest.
    Snapshot(Arc<Manifest>),
    /// "Send me this part of the snapshot at this height."
    PartRequest {
        /// The height of the checkpoint.
        height: Height,
        /// The part.
        part: Part,
    },
    /// A part of a snapshot.
    Part {
        /// The height of the checkpoint.
        height: Height,
        /// The part.
        part: Part,
        /// Its entries: [`crate::snapshot::encode_entries`].
        entries: Arc<Vec<u8>>,
    },
    /// "I have no snapshot at this height or above, or not any more."
    SnapshotRefused {
        /// The height that was asked for.
        height: Height,
    },
    /// The sender's cosignatures over heads of the transparency log, ascending.
    Cosign(Vec<Signed<Head>>),
    /// "I lack the receipt certificates above this height."
    FetchReceipts {
        /// The height.
        above: Height,
    },
    /// Receipt certificates, for one who lacks them.
    Receipts(Vec<ReceiptCertificate>),
    /// Proof that a validator lies.
    Evidence(Arc<Evidence>),
    /// How epochs ended, from the one on that a request for a snapshot named: more of them lie before the snapshot than one
    /// answer shows. Who asked asks again from the last of them on.
    EpochEnds(Vec<Arc<EpochEnd>>),
}

/// The class of a message: each has a stream of its own, and consensus goes first (architecture.md section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Proposals, votes, view changes, checkpoints, status.
    Consensus,
    /// Bundles, cosignatures, and what asks for them.
    Bundles,
    /// Committed blocks for those who are behind.
    Sync,
}

impl PeerMessage {
    /// The class of stream that it travels on.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Bundle(_) | Self::FetchBundles(_) | Self::AnnounceBundles(_) => Class::Bundles,
            // Nothing waits for them, so they wait for votes.
            Self::Cosign(_) | Self::FetchReceipts { .. } | Self::Receipts(_) | Self::Evidence(_) => Class::Bundles,
            Self::SyncRequest { .. }
            | Self::SyncBlocks(_)
            | Self::EpochEnd(_)
            | Self::EpochEnds(_)
            | Self::SnapshotRequest { .. }
            | Self::Snapshot(_)
            | Self::PartRequest { .. }
            | Self::Part { .. }
            | Self::SnapshotRefused { .. } => Class::Sync,
            _ => Class::Consensus,
        }
    }

    /// Whether it asks for blocks or a state, and an answer is sent to whoever it is.
    #[must_use]
    pub const fn is_sync_request(&self) -> bool {
        matches!(self, Self::SyncRequest { .. } | Self::SnapshotRequest { .. } | Self::PartRequest { .. })
    }

    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PrePrepare(_) => "pre_prepare",
            Self::Vote(vote) => match vote.body.kind {
                VoteKind::Prepare => "prepare",
                VoteKind::Commit => "commit",
            },
            Self::Wish { .. } => "wish",
            Self::ViewChange(_) => "view_change",
            Self::NewView(_) => "new_view",
            Self::FetchViewChanges { .. } => "fetch_view_changes",
            Self::Checkpoint(_) => "checkpoint",
            Self::StableCheckpoint(_) => "stable_checkpoint",
            Self::Prepared(_) => "prepared",
            Self::Committed(_) => "committed",
            Self::FetchBlocks(_) => "fetch_blocks",
            Self::Block(_) => "block",
            Self::Status(_) => "status",
            Self::Bundle(_) => "bundle",
            Self::FetchBundles(_) => "fetch_bundles",
            Self::AnnounceBundles(_) => "announce_bundles",
            Self::Recover(_) => "recover",
            Self::EpochEnd(_) => "epoch_end",
            Self::EpochEnds(_) => "epoch_ends",
            Self::Cosign(_) => "cosign",
            Self::FetchReceipts { .. } => "fetch_receipts",
            Self::Receipts(_) => "receipts",
            Self::Evidence(_) => "evidence",
            Self::SyncRequest { .. } => "sync_request",
            Self::SyncBlocks(_) => "sync_blocks",
            Self::SnapshotRequest { .. } => "snapshot_request",
            Self::Snapshot(_) => "snapshot",
            Self::PartRequest { .. } => "part_request",
            Self::Part { .. } => "part",
            Self::SnapshotRefused { .. } => "snapshot_refused",
        }
    }
}

impl Class {
    /// The largest frame of this class, in bytes.
    #[must_use]
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Self::Consensus => limits::CONSENSUS_FRAME_BYTES_MAX,
            Self::Bundles => limits::BUNDLE_FRAME_BYTES_MAX,
            Self::Sync => limits::SYNC_FRAME_BYTES_MAX,
        }
    }

    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Bundles => "bundles",
            Self::Sync => "sync",
        }
    }
}
