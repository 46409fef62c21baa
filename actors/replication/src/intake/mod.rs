//! Intake: from the operations of clients to bundles, and from decided blocks to answers.
//!
//! Consensus.md section 2: a bundle "is cut as soon as none of this node's is on its way; what arrives meanwhile is the
//! next one". So nothing waits for a timer: an idle node cuts at once, and under load bundles grow by themselves. Only
//! when full ones wait are several on their way. A bundle takes one operation of each waiting request in turn, so that a
//! batch of a thousand does not hold up a single scan.
//!
//! Api.md section 2: "503 and 429 promise that the operation is in no bundle. Once it is in one, the only answers are its
//! outcome or 504 `outcome_unknown`, also when intake restarts or the quorum is lost." So:
//!
//! * An operation that is under way here is joined *before* anything is refused: while its first copy is in a bundle, a
//!   second one cannot be answered 503, whatever state the node is in.
//! * An operation that waits for its bundle is refused when the quorum is lost or its time is over, unless somebody else
//!   relies on it: then that is an unknown outcome.
//! * A key that is under way with another payload is `in_progress`: which of the two takes effect is the network's
//!   decision, and it is not made yet. `key_reused` would claim that the first one was decided. Nothing of the second
//!   one is kept, so it can be sent again once the first one has its outcome.
//!
//! A bundle that was cut must come back: as [`Input::Signed`], and then in [`Input::Decided`] or as
//! [`Input::BundleGone`]. Operations of the latter go into the next bundle under the same keys, so they cannot happen
//! twice.

mod admit;
mod bundles;
mod decide;
mod flights;
mod messages;
mod queue;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use dtvn_messages::{BundlePosition, Epoch, NodeName, Now, Reason, ValidatorIndex, limits};
use dtvn_pbft::ReplicaView;

pub use messages::{Answer, Effect, Input, IntakeUsage, RequestId};

use bundles::Bundles;
use flights::Flights;
use queue::Queue;
use requests::Requests;

/// What an intake is made with.
#[derive(Debug, Clone)]
pub struct IntakeSettings {
    /// The current epoch.
    pub epoch: Epoch,
    /// This node's place among the validators of that epoch; without one every operation is refused.
    pub origin: Option<ValidatorIndex>,
    /// Which start of this node it is: made durable before, and never used by an intake before, also not by one that
    /// was restarted within its process.
    pub start: u64,
    /// How long the network remembers a key, in milliseconds (`key_retention_ms` of the genesis).
    pub key_retention_ms: u64,
    /// The bounds.
    pub limits: IntakeLimits,
}

/// The bounds of an intake; each field is the constant of the same name of `limits`, unless a test wants it small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is documented in limits")]
pub struct IntakeLimits {
    pub bundles_on_way_max: usize,
    pub bundle_operations_max: usize,
    pub bundle_bytes_max: usize,
    pub request_operations_max: usize,
    pub operations_max: usize,
    pub queued_bytes_max: usize,
    pub waiters_per_operation_max: usize,
    pub waiters_max: usize,
    pub wait_ms_max: u64,
    pub operation_lifetime_ms: u64,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        Self {
            bundles_on_way_max: limits::INTAKE_BUNDLES_ON_WAY_MAX,
            bundle_operations_max: limits::BUNDLE_OPERATIONS_MAX,
            bundle_bytes_max: limits::BUNDLE_BYTES_MAX,
            request_operations_max: limits::INTAKE_REQUEST_OPERATIONS_MAX,
            operations_max: limits::INTAKE_OPERATIONS_MAX,
            queued_bytes_max: limits::INTAKE_QUEUED_BYTES_MAX,
            waiters_per_operation_max: limits::INTAKE_WAITERS_PER_OPERATION_MAX,
            waiters_max: limits::INTAKE_WAITERS_MAX,
            wait_ms_max: limits::INTAKE_WAIT_MS_MAX,
            operation_lifetime_ms: limits::INTAKE_OPERATION_LIFETIME_MS,
        }
    }
}

/// Why nothing new is taken at the moment.
#[derive(Debug, Clone, Copy, Default)]
struct Gate {
    quorum: bool,
    syncing: bool,
    pool_full: bool,
    stopping: bool,
    /// A later start of this very validator is at work: nothing that this one cuts can be ordered.
    outrun: bool,
    /// The epoch is over and the next one is not known here yet.
    epoch_over: bool,
}

impl Gate {
    /// The reason of a refusal that is not about room.
    fn refusal(self, origin: Option<ValidatorIndex>) -> Option<Reason> {
        if self.stopping || self.outrun {
            Some(Reason::Restarting)
        } else if origin.is_none() {
            Some(Reason::NotPermitted)
        } else if self.syncing {
            Some(Reason::Syncing)
        } else if !self.quorum {
            Some(Reason::NoQuorum)
        } else {
            None
        }
    }
}

/// Whether a node is catching up, or may not vote: it takes nothing meanwhile.
#[must_use]
pub fn is_syncing(replica: &ReplicaView) -> bool {
    replica.proved.above(replica.committed) > limits::INTAKE_SYNCING_BLOCKS || !replica.voting
}

/// The intake of one node. It starts without a quorum: until it is told of one, everything is refused.
#[derive(Debug)]
pub struct Intake {
    epoch: Epoch,
    origin: Option<ValidatorIndex>,
    start: u64,
    next_number: u64,
    key_retention_ms: u64,
    limits: IntakeLimits,
    gate: Gate,
    flights: Flights,
    queue: Queue,
    bundles: Bundles,
    requests: Requests,
    /// When the last recovery of a validator was taken in; those that are long ago are forgotten.
    recoveries_us: BTreeMap<NodeName, u64>,
    generation: u64,
    /// When the timer that is set will fire.
    armed_us: Option<u64>,
}

impl Intake {
    /// An intake that nobody has asked anything yet.
    #[must_use]
    pub fn new(settings: IntakeSettings) -> Self {
        Self {
            epoch: settings.epoch,
            origin: settings.origin,
            start: settings.start,
            next_number: 0,
            key_retention_ms: settings.key_retention_ms,
            limits: settings.limits,
            gate: Gate::default(),
            flights: Flights::default(),
            queue: Queue::default(),
            bundles: Bundles::default(),
            requests: Requests::default(),
            recoveries_us: BTreeMap::new(),
            generation: 0,
            armed_us: None,
        }
    }

    /// How much is under way, for gauges and for an orderly stop.
    #[must_use]
    pub fn usage(&self) -> IntakeUsage {
        IntakeUsage {
            queued_operations: self.queue.operations(),
            queued_bytes: self.queue.bytes(),
            operations: self.flights.len(),
            bundles_on_way: self.bundles.on_way(self.epoch, self.start),
            requests: self.requests.len(),
            waiters: self.requests.places(),
        }
    }

    /// Takes one input and appends what follows from it.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Submit { request, operations, wait_ms } => {
                self.on_submit(now, request, operations, wait_ms, effects);
            }
            Input::Withdraw { request } => self.on_withdraw(request),
            Input::Signed(bundle) => self.bundles.signed(bundle, self.epoch, self.start),
            Input::Decided { bundles, effects: decided } => self.on_decided(&bundles, &decided, effects),
            Input::BundleGone { bundle, last } => self.on_bundle_gone(&bundle, last, effects),
            Input::Restored(bundle) => self.on_restored(bundle),
            Input::PoolRestarted => effects.extend(self.bundles.signed_ones().map(Effect::Offer)),
            Input::Quorum(quorum) => self.on_gate(effects, |gate| gate.quorum = quorum),
            Input::Syncing(syncing) => self.on_gate(effects, |gate| gate.syncing = syncing),
            Input::PoolFull(full) => self.on_gate(effects, |gate| gate.pool_full = full),
            Input::Stopping => self.on_gate(effects, |gate| gate.stopping = true),
            Input::Close => self.on_close(effects),
            Input::Epoch { epoch, origin } => self.on_epoch(epoch, origin, effects),
            Input::Started { start } => self.on_started(start),
            Input::Timer { generation } => self.on_timer(now.monotonic_us, generation, effects),
        }
        self.cut_bundles(effects);
        self.set_timer(now.monotonic_us, effects);
    }

    /// Something changed about what may be taken: what is in no bundle is refused if it may not go into one.
    fn on_gate(&mut self, effects: &mut Vec<Effect>, change: impl FnOnce(&mut Gate)) {
        change(&mut self.gate);
        if let Some(reason) = self.gate.refusal(self.origin) {
            self.refuse_queued(reason, effects);
        }
    }

    fn on_epoch(&mut self, epoch: Epoch, origin: Option<ValidatorIndex>, effects: &mut Vec<Effect>) {
        // Whoever started in it may be told of it once more; its numbers go on.
        if epoch == self.epoch {
            return;
        }
        self.epoch = epoch;
        self.origin = origin;
        self.next_number = 0;
        self.bundles.forget_unsigned();
        self.on_gate(effects, |gate| gate.epoch_over = false);
        self.give_up_if_no_validator(effects);
    }

    /// Numbers of another start count from 0.
    fn on_started(&mut self, start: u64) {
        if start > self.start {
            self.start = start;
            self.next_number = 0;
            self.gate.outrun = false;
            self.bundles.forget_unsigned();
        }
    }

    /// What the last ordered bundle of this validator says about the numbers of this start.
    fn learn_position(&mut self, last: BundlePosition, effects: &mut Vec<Effect>) {
        if last.start == self.start {
            self.next_number = self.next_number.max(last.number.saturating_add(1));
        } else if last.start > self.start && !self.gate.outrun {
            effects.push(Effect::Outrun { start: last.start });
            self.on_gate(effects, |gate| gate.outrun = true);
        }
    }

    fn on_timer(&mut self, now_us: u64, generation: u64, effects: &mut Vec<Effect>) {
        if generation == self.generation {
            self.armed_us = None;
            while let Some(request) = self.requests.first_due(now_us) {
                self.give_up(request, effects);
            }
        }
    }

    /// Sets the timer for the earliest deadline, unless one is set that fires by then.
    fn set_timer(&mut self, now_us: u64, effects: &mut Vec<Effect>) {
        let Some(deadline_us) = self.requests.deadline_us() else { return };
        if self.armed_us.is_none_or(|armed_us| armed_us > deadline_us) {
            let after_ms = deadline_us.saturating_sub(now_us).div_ceil(1_000);
            self.armed_us = Some(deadline_us);
            self.generation += 1;
            effects.push(Effect::SetTimer { generation: self.generation, after_ms });
        }
    }
}
