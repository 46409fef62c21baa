//! What goes into the replica with its outbox, and what comes out.

use std::sync::Arc;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    Block, Bundle, Certificate, CommittedProof, Digest, Epoch, EpochEnd, Evidence, Height, ReceiptCertificate,
    StableCheckpoint, Succession, Timestamp, ValidatorIndex, View,
};
use dtvn_pbft::{Cause, Message, Ticket};

use crate::receipts;
use crate::record::Encoded;
use crate::verify::CheckedBlocks;

/// The timers. Each has one generation at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// One of the core's.
    Core(dtvn_pbft::Timer),
    /// That of the receipts.
    Receipts,
}

/// What goes in.
#[derive(Debug, Clone)]
pub enum Input {
    /// A peer's message, checked.
    Message {
        /// The peer.
        from: ValidatorIndex,
        /// The message.
        message: Message,
    },
    /// A peer's word about receipts, checked.
    Receipts {
        /// The peer.
        from: ValidatorIndex,
        /// What it says.
        said: receipts::Said,
    },
    /// Evidence of a peer, checked.
    Evidence(Arc<Evidence>),
    /// A bundle is available: verified and logged.
    Bundle(Arc<Bundle>),
    /// The pool has no room for a bundle that a proposal names: it can do without these, if the replica can.
    PoolFull(Vec<Digest>),
    /// The result of an [`Effect::Execute`].
    Executed {
        /// The execution's number.
        id: u64,
        /// The size of the transparency log after it.
        log_size: u64,
        /// The root of the transparency log after it.
        log_root: Digest,
        /// Whether its epoch is about to end, and what holds above it.
        succession: Succession,
    },
    /// The root of the state after a committed block at a checkpoint height.
    StateRoot {
        /// The height.
        height: Height,
        /// The root.
        root: Digest,
    },
    /// Records up to this ticket are on disk.
    Durable(Ticket),
    /// A timer fired.
    Timer {
        /// Which.
        timer: Timer,
        /// Its generation.
        generation: u64,
    },
    /// Committed blocks from sync.
    Synced(CheckedBlocks),
    /// How the replica's epoch ended, checked; whoever showed it.
    EpochEnd(Arc<EpochEnd>),
    /// A link to a validator came up.
    PeerUp(ValidatorIndex),
    /// Whether a quorum is connected.
    QuorumConnected(bool),
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Append to the consensus log; `ticket` is none for what nobody waits for by number.
    Append {
        /// The record's ticket.
        ticket: Option<Ticket>,
        /// The record.
        record: Encoded,
    },
    /// Make durable what was appended, and come back with [`Input::Durable`].
    Flush {
        /// At least up to this ticket.
        ticket: Ticket,
    },
    /// Send to all validators.
    Broadcast(PeerMessage),
    /// Send to one validator.
    Send {
        /// To whom.
        to: ValidatorIndex,
        /// What.
        message: PeerMessage,
    },
    /// Execute speculatively, directly above what was executed last; come back with [`Input::Executed`].
    Execute {
        /// The execution's number.
        id: u64,
        /// The height.
        height: Height,
        /// The agreed time.
        timestamp: Timestamp,
        /// The bundles, in order.
        bundles: Vec<Arc<Bundle>>,
    },
    /// Undo executions above this height.
    RollBack {
        /// The height that stays.
        to: Height,
    },
    /// The block at the next height is final.
    Commit(Box<Committed>),
    /// A validator is shown to lie; once for each culprit, kind and slot.
    Evidence(Arc<Evidence>),
    /// A committed block has its receipt certificate.
    Certified(Arc<ReceiptCertificate>),
    /// Fetch these bundles.
    Want {
        /// Their digests.
        digests: Vec<Digest>,
        /// Who should hold them, best first.
        holders: Vec<ValidatorIndex>,
        /// The leader whose proposal names them; none if a quorum voted for a block that does: prepared, or committed.
        proposer: Option<ValidatorIndex>,
    },
    /// These bundles are not wanted any more.
    Unwant {
        /// Their digests.
        digests: Vec<Digest>,
    },
    /// The replica can do without these bundles: they make room in the pool.
    Release {
        /// Their digests.
        digests: Vec<Digest>,
    },
    /// Show these bundles to everyone.
    Relay {
        /// Their digests.
        digests: Vec<Digest>,
        /// The leader.
        leader: ValidatorIndex,
    },
    /// Fetch committed blocks.
    Sync {
        /// The first height.
        from: Height,
        /// The last height that is proved.
        to: Height,
        /// Who has shown to have it.
        holders: Vec<ValidatorIndex>,
    },
    /// A checkpoint became stable.
    Stable(Arc<StableCheckpoint>),
    /// The epoch is over: nothing follows any more. The next one begins with another value of this type.
    EpochOver {
        /// Its last block.
        committed: Arc<CommittedProof>,
        /// The checkpoint there.
        stable: Arc<StableCheckpoint>,
    },
    /// Show a validator that is behind how its epoch ended.
    ShowEpochEnd {
        /// To whom.
        to: ValidatorIndex,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Come back with [`Input::Timer`].
    SetTimer {
        /// Which.
        timer: Timer,
        /// Its generation.
        generation: u64,
        /// After how long.
        after_us: u64,
    },
    /// A block became prepared here: news for the record of how this node saw it.
    Prepared {
        /// Its height.
        height: Height,
        /// Whose PREPAREs are in the certificate.
        signers: Vec<ValidatorIndex>,
    },
    /// The replica moved to a view.
    Moved {
        /// The view.
        view: View,
        /// Why.
        cause: Cause,
    },
    /// The view is active.
    Active {
        /// The view.
        view: View,
    },
    /// A validator's checkpoint vote differs from the certified checkpoint: it has diverged, or lies.
    CheckpointDiffers {
        /// The validator.
        peer: ValidatorIndex,
        /// The height of the checkpoint.
        height: Height,
    },
    /// A peer broke the protocol.
    Blame {
        /// The peer.
        peer: ValidatorIndex,
        /// How.
        why: &'static str,
    },
    /// This replica's state differs from what a quorum certified.
    Diverged {
        /// The height.
        height: Height,
        /// The certified root, of the log or of the state.
        certified: Digest,
        /// This replica's.
        own: Digest,
    },
}

/// A block that is final, with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The block.
    pub block: Arc<Block>,
    /// Its digest.
    pub digest: Digest,
    /// Its commit certificate, if it has one of its own.
    pub certificate: Option<Certificate>,
    /// Its bundles, in order.
    pub bundles: Vec<Arc<Bundle>>,
}
