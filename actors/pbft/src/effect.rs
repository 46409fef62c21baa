//! What comes out of the core.

use std::sync::Arc;

use dtvn_messages::view_change::{SealedNewView, SealedViewChange};
use dtvn_messages::wire::Status;
use dtvn_messages::{
    Block, Certificate, Checkpoint, CommittedProof, Digest, Epoch, Height, NewView, PreparedCertificate, Signature,
    Signed, StableCheckpoint, Timestamp, ValidatorIndex, View, ViewChange, Vote,
};

use crate::input::{Durable, Timer};

/// A number that a record gets when it is handed to the disk. Once everything up to a ticket is durable, what waits for
/// it may leave (consensus.md section 4). 0 waits for nothing.
pub type Ticket = u64;

/// What is written to the consensus log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A proposal that was accepted in a view.
    Proposal {
        /// The view.
        view: View,
        /// The block.
        block: Arc<Block>,
    },
    /// A prepared certificate.
    Prepared(Arc<PreparedCertificate>),
    /// This replica's own VIEW-CHANGE.
    ViewChange(SealedViewChange),
    /// An adopted NEW-VIEW and the view changes that it names.
    NewView {
        /// The NEW-VIEW.
        new_view: SealedNewView,
        /// The view changes, in the order in which it names them.
        view_changes: Vec<SealedViewChange>,
    },
    /// This replica's own checkpoint vote.
    Checkpoint(Signed<Checkpoint>),
    /// A committed block; without a certificate of its own it is covered by the next that has one.
    Committed {
        /// The block.
        block: Arc<Block>,
        /// Its commit certificate.
        certificate: Option<Certificate>,
    },
    /// A stable checkpoint.
    Stable(Arc<StableCheckpoint>),
}

/// What is signed and then broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there are few at a time, and each is moved once")]
pub enum Say {
    /// A PREPARE or COMMIT.
    Vote(Vote),
    /// A VIEW-CHANGE; its exact bytes are persisted under the same ticket.
    ViewChange(ViewChange),
    /// A NEW-VIEW; its exact bytes and those of its view changes are persisted under the same ticket.
    NewView {
        /// The NEW-VIEW.
        new_view: NewView,
        /// The view changes that it names.
        view_changes: Vec<SealedViewChange>,
    },
    /// A checkpoint vote; its exact bytes are persisted under the same ticket.
    Checkpoint(Checkpoint),
}

/// What is sent without a signature of its own, because the link proves the sender and it promises nothing, or because
/// it carries signatures that others can check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsigned {
    /// A wish for a view.
    Wish {
        /// The epoch.
        epoch: Epoch,
        /// The view.
        view: View,
    },
    /// Where this replica stands.
    Status(Status),
    /// A proposal again, with its first signature.
    PrePrepare {
        /// The view.
        view: View,
        /// The block.
        block: Arc<Block>,
        /// The leader's signature over its PREPARE.
        signature: Signature,
    },
    /// A vote again, byte for byte.
    Vote(Signed<Vote>),
    /// A VIEW-CHANGE again, byte for byte, own or another's.
    ViewChange(SealedViewChange),
    /// A NEW-VIEW again, byte for byte, own or another's.
    NewView(SealedNewView),
    /// "I lack these view changes."
    FetchViewChanges {
        /// The view that they lead to.
        view: View,
        /// Their digests.
        digests: Vec<Digest>,
    },
    /// A checkpoint vote again, byte for byte.
    Checkpoint(Signed<Checkpoint>),
    /// A stable checkpoint.
    Stable(Arc<StableCheckpoint>),
    /// A prepared certificate.
    Prepared(Arc<PreparedCertificate>),
    /// A commit certificate.
    Committed(Arc<CommittedProof>),
    /// "I lack the bundle lists of these blocks."
    FetchBlocks(Vec<Digest>),
    /// A block.
    Block(Arc<Block>),
}

/// Why a replica asks for another view: the counted causes of consensus.md section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The view has lasted its heights or its time.
    Planned,
    /// Work, but no proposal.
    NoProposal,
    /// A proposal, but no commit.
    NoQuorum,
    /// One bundle waits too long.
    Unfair,
    /// A proposal that no honest leader makes.
    BadProposal,
    /// No NEW-VIEW in time, or a bad one.
    BadNewView,
    /// Others asked for it.
    JoinedOthers,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 7] = [
        Self::Planned,
        Self::NoProposal,
        Self::NoQuorum,
        Self::Unfair,
        Self::BadProposal,
        Self::BadNewView,
        Self::JoinedOthers,
    ];

    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::NoProposal => "no_proposal",
            Self::NoQuorum => "no_quorum",
            Self::Unfair => "unfair",
            Self::BadProposal => "bad_proposal",
            Self::BadNewView => "bad_new_view",
            Self::JoinedOthers => "joined_others",
        }
    }
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a step makes few, and each is moved once")]
pub enum Effect {
    /// Append to the consensus log. Tickets ascend by one with each `Persist` and each `Say` that persists.
    Persist {
        /// The record's ticket.
        ticket: Ticket,
        /// The record.
        record: Record,
    },
    /// Sign; where [`Say`] says so, persist the exact bytes under `after`; once `after` is durable, broadcast, and hand
    /// it to this replica as [`Input::Own`](crate::Input::Own).
    Say {
        /// The ticket that it waits for.
        after: Ticket,
        /// What is said.
        say: Say,
    },
    /// Sign a PREPARE for this block; once `after` is durable, broadcast it as PRE-PREPARE, and hand the PREPARE to
    /// this replica as [`Input::Own`](crate::Input::Own).
    Propose {
        /// The ticket that it waits for.
        after: Ticket,
        /// The view.
        view: View,
        /// The block.
        block: Arc<Block>,
        /// Its digest.
        digest: Digest,
    },
    /// Send to all validators, now.
    Broadcast(Unsigned),
    /// Send to one validator, now.
    Tell {
        /// To whom.
        to: ValidatorIndex,
        /// What.
        what: Unsigned,
    },
    /// Hand [`Input::Durable`](crate::Input::Durable) back once `after` is durable.
    Notify {
        /// The ticket that it waits for.
        after: Ticket,
        /// What it is about.
        what: Durable,
    },
    /// Execute speculatively, directly above what was executed last; answer with
    /// [`Input::Executed`](crate::Input::Executed).
    Execute {
        /// The execution's number.
        id: u64,
        /// The height.
        height: Height,
        /// The block's agreed time.
        timestamp: Timestamp,
        /// The bundles, in their order.
        bundles: Vec<Digest>,
    },
    /// Undo every execution above this height.
    RollBack {
        /// The height that stays.
        to: Height,
    },
    /// The block at the next height is final. At a checkpoint height the root of the state after it is wanted, as
    /// [`Input::StateRoot`](crate::Input::StateRoot).
    Commit {
        /// The block.
        block: Arc<Block>,
        /// Its digest.
        digest: Digest,
        /// Its commit certificate, if it has one of its own.
        certificate: Option<Certificate>,
    },
    /// Fetch these bundles, from these validators in turn.
    Want {
        /// Their digests.
        digests: Vec<Digest>,
        /// Who should hold them, best first.
        holders: Vec<ValidatorIndex>,
        /// The leader whose proposal names them; none if a quorum voted for a block that does: prepared, or committed.
        proposer: Option<ValidatorIndex>,
    },
    /// What was wanted is not wanted any more: the view is over. What the next one needs is asked for again.
    WantNothing,
    /// These bundles have been pending for long: show them to everyone.
    Relay {
        /// Their digests.
        digests: Vec<Digest>,
        /// The leader, who needs them most.
        leader: ValidatorIndex,
    },
    /// Others have proved more than this replica holds: fetch committed blocks.
    Sync {
        /// The first height wanted.
        from: Height,
        /// The last height that is proved.
        to: Height,
        /// Who has shown to have it.
        holders: Vec<ValidatorIndex>,
    },
    /// A checkpoint became stable: everything at or below it may be collected once it is applied.
    Stable(Arc<StableCheckpoint>),
    /// The epoch is over: this replica does nothing more. The next one starts from these two certificates.
    EpochOver {
        /// The last block of the epoch.
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
    /// Send [`Input::Timer`](crate::Input::Timer) after this time.
    SetTimer {
        /// Which.
        timer: Timer,
        /// Its generation.
        generation: u64,
        /// After how many microseconds.
        after_us: u64,
    },
    /// The replica moved to a view; why, as far as it knows.
    Moved {
        /// The view.
        view: View,
        /// Why.
        cause: Cause,
    },
    /// The view is active: its NEW-VIEW is durable.
    Active {
        /// The view.
        view: View,
    },
    /// A bundle was ordered that this replica will not order again, or can never be ordered any more.
    Superseded {
        /// The origin.
        origin: ValidatorIndex,
        /// Its bundles that can never be ordered.
        digests: Vec<Digest>,
    },
    /// These bundles are given up, as [`Input::Release`](crate::Input::Release) asked: whoever needs them fetches them.
    Released {
        /// Their digests.
        digests: Vec<Digest>,
    },
    /// A peer broke the protocol.
    Blame {
        /// The peer.
        peer: ValidatorIndex,
        /// How, in words.
        why: &'static str,
    },
    /// A validator's checkpoint vote differs from the certified checkpoint: it has diverged, or lies.
    CheckpointDiffers {
        /// The validator.
        peer: ValidatorIndex,
        /// The height of the checkpoint.
        height: Height,
    },
    /// The leader's block has another result than its execution here: one of the two is wrong.
    WrongResult {
        /// The view of the proposal.
        view: View,
        /// Its height.
        height: Height,
        /// The digest of the block.
        digest: Digest,
        /// Size and root of the log by this replica's execution.
        own: (u64, Digest),
    },
    /// This replica's state differs from what a quorum certified: it stops voting.
    Diverged {
        /// The height.
        height: Height,
        /// The root, of the log or of the state, that a quorum certified.
        certified: Digest,
        /// This replica's root.
        own: Digest,
    },
}
