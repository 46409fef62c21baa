//! What a node is told, and what comes out.

use std::sync::Arc;

use dtvn_ledger::BlockEffects;
use dtvn_messages::wire::{Class, PeerMessage};
use dtvn_messages::{
    Bundle, Digest, Epoch, Evidence, Height, Operation, PublicKey, ReceiptCertificate, Succession, ValidatorIndex, View,
};
use dtvn_pbft::{Cause, Ticket};

use crate::consensus::{self, Committed};
use crate::intake::{Answer, RequestId};
use crate::log::{Opened, RecordNumber};
use crate::record::Encoded;

/// What a node is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// A frame of a peer, as the network received it.
    Frame {
        /// The peer.
        from: ValidatorIndex,
        /// The stream that it came on.
        class: Class,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A peer's message that needs no decoding; everything else about it is checked.
    Message {
        /// The peer.
        from: ValidatorIndex,
        /// The message.
        message: PeerMessage,
    },
    /// A message of a peer that is no validator of this node's epoch: it may ask for blocks and states, and answer where it
    /// was asked; nothing else that it says is looked at.
    Stranger {
        /// The peer.
        peer: PublicKey,
        /// The message.
        message: PeerMessage,
    },
    /// A link to a validator came up, on which votes travel: both ends are validators in the epochs of both.
    PeerUp(ValidatorIndex),
    /// A link to a validator went down.
    PeerDown(ValidatorIndex),
    /// A link to a peer came up that is no validator of this node's epoch.
    StrangerUp(PublicKey),
    /// A link to such a peer went down.
    StrangerDown(PublicKey),
    /// A client asks for operations. Each gets an [`Effect::Answer`], unless the intake is lost meanwhile.
    Submit {
        /// The request; no two that are under way have one name.
        request: RequestId,
        /// The operations.
        operations: Vec<Operation>,
        /// How long to wait for their outcomes.
        wait_ms: u64,
    },
    /// Work that an [`Effect::Work`] announced is done.
    Done(Work),
    /// A timer fired.
    Timer(Timer),
    /// A part of the node failed and is started again, as its supervisor does.
    Restart(Part),
}

/// Work that takes time elsewhere: on the disk's thread, in the ledger, in the pool of verifiers. Each kind comes back in
/// the order in which it was announced.
#[derive(Debug, Clone)]
pub enum Work {
    /// The consensus log is synced.
    Sync {
        /// The incarnation of the log's thread that asked.
        incarnation: u64,
    },
    /// A block is executed.
    Execute(Executed),
    /// A bundle's signature is checked.
    Verify(Checked),
}

/// The result of an execution, on its way to the replica that asked.
#[derive(Debug, Clone)]
pub struct Executed {
    pub(super) incarnation: u64,
    pub(super) id: u64,
    pub(super) log_size: u64,
    pub(super) log_root: Digest,
    pub(super) succession: Succession,
}

/// The result of a check, on its way to the pool that asked.
#[derive(Debug, Clone)]
pub struct Checked {
    pub(super) from: ValidatorIndex,
    pub(super) bundle: Arc<Bundle>,
    pub(super) ok: bool,
}

/// A timer with the generation that it was set for, and for whom. A later one of the same [`Timer::name`] replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    pub(super) of: Timed,
    pub(super) incarnation: u64,
    pub(super) generation: u64,
}

/// Whose timer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timed {
    /// The replica's.
    Replica(consensus::Timer),
    /// The pool's.
    Pool,
    /// The sync planner's.
    Sync,
    /// The intake's.
    Intake,
    /// That of a validator that lost its memory.
    Recovery,
    /// That of a node to which nobody says what is committed.
    Follow,
}

impl Timer {
    /// Whose it is. A node has one of each; a new one replaces the old one.
    #[must_use]
    pub const fn name(&self) -> Timed {
        self.of
    }
}

/// A part of a node that is started again by itself (architecture.md section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Storage, and all of the core after it.
    Core,
    /// State machine, replica and sync.
    StateMachine,
    /// Replica and sync.
    Replica,
    /// The sync planner.
    Sync,
    /// The bundle pool.
    Gossip,
    /// The intake.
    Intake,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 6] = [Self::Core, Self::StateMachine, Self::Replica, Self::Sync, Self::Gossip, Self::Intake];
}

/// What follows from an input.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Send to all other validators.
    Broadcast(PeerMessage),
    /// Send to one validator.
    Send {
        /// To whom.
        to: ValidatorIndex,
        /// What.
        message: PeerMessage,
    },
    /// Send to a peer that is no validator of this node's epoch.
    SendToStranger {
        /// The peer.
        to: PublicKey,
        /// What.
        message: PeerMessage,
    },
    /// Come back with [`Input::Done`] when this is done.
    Work(Work),
    /// Come back with [`Input::Timer`].
    SetTimer {
        /// The timer.
        timer: Timer,
        /// After how long.
        after_us: u64,
    },
    /// One operation of a client has its answer.
    Answer {
        /// The request.
        request: RequestId,
        /// The operation's place in it.
        index: usize,
        /// The answer.
        answer: Answer,
    },
    /// The consensus log was opened; none: it was made anew, because there was none or it was damaged.
    Opened(Option<Opened>),
    /// A record was appended to the consensus log: durable once [`crate::log::Log::durable`] reaches its number.
    Logged {
        /// Its number.
        number: RecordNumber,
        /// The record.
        record: Encoded,
    },
    /// A block is final.
    Committed {
        /// The block.
        committed: Arc<Committed>,
        /// What it changed.
        effects: Arc<BlockEffects>,
    },
    /// A validator is shown to lie.
    Evidence(Arc<Evidence>),
    /// A committed block has its receipt certificate.
    Certified(Arc<ReceiptCertificate>),
    /// Executions above this height were undone.
    RolledBack(Height),
    /// A checkpoint is stable.
    Stable(Height),
    /// Committed blocks of a peer were handed to the replica.
    CaughtUp {
        /// How many.
        blocks: usize,
    },
    /// The replica moved to a view.
    Moved {
        /// The view.
        view: View,
        /// Why.
        cause: Cause,
    },
    /// The view is active.
    Active(View),
    /// A peer broke the rules.
    Blame {
        /// The peer.
        peer: ValidatorIndex,
        /// How.
        why: String,
    },
    /// A peer that is no validator of this node's epoch broke the rules.
    BlameStranger {
        /// The peer.
        peer: PublicKey,
        /// How.
        why: String,
    },
    /// An origin signed two bundles under one number.
    Conflict {
        /// The origin.
        origin: ValidatorIndex,
    },
    /// An epoch is over and the next one begins: validators have other indices, so links are to be announced anew.
    EpochBegan(Epoch),
    /// The node lost its memory, and its own recovery opened the epoch: it votes again.
    Recovered,
    /// The node's state differs from what a quorum certified. It is healed: [`Effect::Installed`].
    Diverged(Height),
    /// Another state was put in the place of this node's, certified by a stable checkpoint, or that of the genesis.
    Installed {
        /// The height of the state.
        height: Height,
        /// The digest of its block.
        digest: Digest,
        /// The first entry in which this node's own state at that height differed, in words.
        difference: Option<String>,
    },
    /// The node cannot go on: its process ends, non-zero.
    Failed(String),
}

/// What waits for the thread of the consensus log.
#[derive(Debug)]
pub(super) enum LogWork {
    /// A record that nobody waits for.
    Append(Encoded),
    /// A record of the replica, with its ticket.
    Record(Option<Ticket>, Encoded),
    /// Make durable what is there.
    Flush,
    /// A stable checkpoint and the store cover this height.
    Covered(Height),
}
