//! What an intake is told, and what comes out.

use std::sync::Arc;

use dtvn_ledger::{BlockEffects, OperationResult};
use dtvn_messages::{Bundle, BundleBody, BundlePosition, Epoch, Operation, Reason, ValidatorIndex};

/// A request of a client, named by its session; no two that are under way have one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What an intake is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// A client asks for operations. Each gets exactly one [`Effect::Answer`], unless the request is withdrawn.
    Submit {
        /// The request.
        request: RequestId,
        /// The operations; what they say as `valid_until` is replaced.
        operations: Vec<Operation>,
        /// How long to wait for their outcomes, in milliseconds.
        wait_ms: u64,
    },
    /// Nobody waits for this request's answers any more; its operations go on. Right after [`Input::Submit`] it makes a
    /// request whose operations are not waited for: what is refused has been answered by then.
    Withdraw {
        /// The request.
        request: RequestId,
    },
    /// A bundle that was cut is signed; it goes to the pool at the same time.
    Signed(Arc<Bundle>),
    /// A block is committed.
    Decided {
        /// Its bundles, in their order.
        bundles: Vec<Arc<Bundle>>,
        /// What became of their operations.
        effects: Arc<BlockEffects>,
    },
    /// A bundle of this node, of whatever start, can never be ordered.
    BundleGone {
        /// The bundle.
        bundle: Arc<Bundle>,
        /// This validator's last ordered position in the epoch, if there is one; none also says that the bundle's epoch
        /// is over.
        last: Option<BundlePosition>,
    },
    /// A bundle of an earlier start of this node is still pending: retries of its operations join it.
    Restored(Arc<Bundle>),
    /// The pool lost what it held.
    PoolRestarted,
    /// Whether validators of a quorum, this one included, are connected.
    Quorum(bool),
    /// Whether this node is catching up, or may not sign for another reason.
    Syncing(bool),
    /// Whether the pool has no room for bundles of this node.
    PoolFull(bool),
    /// The node stops: nothing new is taken, what is in no bundle is refused, outcomes are waited for.
    Stopping,
    /// The end: whoever still waits hears that the outcome is unknown.
    Close,
    /// Another epoch began. Comes before the [`Input::BundleGone`] of the last one's bundles.
    Epoch {
        /// The epoch.
        epoch: Epoch,
        /// This node's place among its validators.
        origin: Option<ValidatorIndex>,
    },
    /// A new start number was made durable: the answer to [`Effect::Outrun`].
    Started {
        /// The number, above all that this validator used before.
        start: u64,
    },
    /// The timer of this generation fired. Those of earlier generations change nothing.
    Timer {
        /// The generation.
        generation: u64,
    },
}

/// What a client is told of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The network decided.
    Decided(OperationResult),
    /// Not taken: it is in no bundle because of this request. (For `in_progress`, another is under way with its key.)
    Refused {
        /// Why.
        reason: Reason,
        /// In words, where the reason alone says too little.
        detail: Option<String>,
    },
    /// It may happen, or have happened: `outcome_unknown`.
    Unknown,
}

/// What follows from an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Sign this bundle; hand it to the pool and back as [`Input::Signed`].
    Cut(BundleBody),
    /// Hand this bundle to the pool again.
    Offer(Arc<Bundle>),
    /// Answer one operation of a request.
    Answer {
        /// The request.
        request: RequestId,
        /// The operation's place in it.
        index: usize,
        /// The answer.
        answer: Answer,
    },
    /// A later start of this validator has bundles ordered: another process uses this key. Nothing is cut until
    /// [`Input::Started`] brings a number above it.
    Outrun {
        /// That start.
        start: u64,
    },
    /// Send [`Input::Timer`] after this time. It replaces the timer set before.
    SetTimer {
        /// The generation to hand back.
        generation: u64,
        /// After how many milliseconds.
        after_ms: u64,
    },
}

/// How much is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IntakeUsage {
    /// Operations that wait for a bundle.
    pub queued_operations: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Operations that wait for a bundle or are in one.
    pub operations: usize,
    /// Bundles of this start that were cut and are not decided.
    pub bundles_on_way: usize,
    /// Requests that wait for answers.
    pub requests: usize,
    /// Answers that they wait for.
    pub waiters: usize,
}
