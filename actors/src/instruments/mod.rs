//! The instruments that the actors of a node record with: OpenTelemetry meters, built once, cheap on the hot path.
//!
//! What can be read at any time (board, tree, network, store) is not recorded here but observed when somebody asks for
//! `/metrics`: see the node's `telemetry`. The names of both stand in [`table`].

pub mod table;

use std::sync::Arc;
use std::time::Duration;

use dtvn_messages::EvidenceKind;
use dtvn_pbft::Cause;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

/// All instruments of a node. Without a meter nothing is recorded.
#[derive(Clone, Default)]
pub struct Instruments(Option<Arc<Inner>>);

struct Inner {
    log_sync: Histogram<f64>,
    log_sync_records: Histogram<f64>,
    log_sync_bytes: Histogram<f64>,
    view_changes: Counter<u64>,
    causes: Vec<(Cause, [KeyValue; 1])>,
    block_bundles: Histogram<f64>,
    block_operations: Histogram<f64>,
    operations: Counter<u64>,
    phases: Histogram<f64>,
    phase_labels: [[KeyValue; 1]; 3],
    bundle: Histogram<f64>,
    blames: Counter<u64>,
    divergences: Counter<u64>,
    differing: Counter<u64>,
    installs: Counter<u64>,
    damages: Counter<u64>,
    evidence: Counter<u64>,
    evidence_kinds: Vec<(EvidenceKind, [KeyValue; 1])>,
}

/// A phase of a block's way, measured at one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// From the proposal's acceptance to its prepared certificate.
    Prepare,
    /// From there to the commit.
    Commit,
    /// From the proposal's acceptance to the commit.
    Whole,
}

/// One group commit of the consensus log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupCommit {
    /// How long writing and syncing took.
    pub time: Duration,
    /// Records that it made durable.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// Operations of a block that were decided alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decided {
    /// Their kind.
    pub kind: &'static str,
    /// `accepted`, `refused`, `repeated` or `key_reused`.
    pub verdict: &'static str,
    /// Why they were refused; `none` otherwise.
    pub reason: &'static str,
}

impl Instruments {
    /// The instruments of a node, made with its meter. Counters whose labels are known begin at 0, so that their first
    /// step is seen as one.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        let inner = Inner {
            log_sync: table::LOG_SYNC.histogram(meter),
            log_sync_records: table::LOG_SYNC_RECORDS.histogram(meter),
            log_sync_bytes: table::LOG_SYNC_BYTES.histogram(meter),
            view_changes: table::VIEW_CHANGES.counter(meter),
            causes: Cause::ALL.iter().map(|cause| (*cause, [KeyValue::new("cause", cause.name())])).collect(),
            block_bundles: table::BLOCK_BUNDLES.histogram(meter),
            block_operations: table::BLOCK_OPERATIONS.histogram(meter),
            operations: table::OPERATIONS.counter(meter),
            phases: table::PHASE.histogram(meter),
            phase_labels: ["prepare", "commit", "whole"].map(|phase| [KeyValue::new("phase", phase)]),
            bundle: table::BUNDLE.histogram(meter),
            blames: table::BLAMES.counter(meter),
            divergences: table::DIVERGENCES.counter(meter),
            differing: table::DIFFERING.counter(meter),
            installs: table::INSTALLS.counter(meter),
            damages: table::DAMAGES.counter(meter),
            evidence: table::EVIDENCE.counter(meter),
            evidence_kinds: EvidenceKind::ALL.map(|kind| (kind, [KeyValue::new("kind", kind.name())])).to_vec(),
        };
        inner.causes.iter().for_each(|(_, label)| inner.view_changes.add(0, label));
        for counter in [&inner.blames, &inner.divergences, &inner.differing, &inner.installs, &inner.damages] {
            counter.add(0, &[]);
        }
        inner.evidence_kinds.iter().for_each(|(_, label)| inner.evidence.add(0, label));
        Self(Some(Arc::new(inner)))
    }

    /// The consensus log was made durable.
    pub fn log_synced(&self, commit: GroupCommit) {
        if let Some(inner) = &self.0 {
            inner.log_sync.record(commit.time.as_secs_f64(), &[]);
            inner.log_sync_records.record(commit.records as f64, &[]);
            inner.log_sync_bytes.record(commit.bytes as f64, &[]);
        }
    }

    /// The replica moved to a view.
    pub fn view_changed(&self, cause: Cause) {
        if let Some(inner) = &self.0
            && let Some((_, label)) = inner.causes.iter().find(|(known, _)| *known == cause)
        {
            inner.view_changes.add(1, label);
        }
    }

    /// A block was committed.
    pub fn block_committed(&self, bundles: usize, operations: usize) {
        if let Some(inner) = &self.0 {
            inner.block_bundles.record(bundles as f64, &[]);
            inner.block_operations.record(operations as f64, &[]);
        }
    }

    /// So many operations were decided alike.
    pub fn operations_decided(&self, decided: Decided, count: u64) {
        if let Some(inner) = &self.0 {
            let Decided { kind, verdict, reason } = decided;
            let labels =
                [KeyValue::new("kind", kind), KeyValue::new("verdict", verdict), KeyValue::new("reason", reason)];
            inner.operations.add(count, &labels);
        }
    }

    /// A phase of a block took this long.
    pub fn phase(&self, phase: Phase, time: Duration) {
        if let Some(inner) = &self.0 {
            let label = match phase {
                Phase::Prepare => &inner.phase_labels[0],
                Phase::Commit => &inner.phase_labels[1],
                Phase::Whole => &inner.phase_labels[2],
            };
            inner.phases.record(time.as_secs_f64(), label);
        }
    }

    /// A bundle of this node was committed, so long after it was made.
    pub fn bundle_committed(&self, time: Duration) {
        if let Some(inner) = &self.0 {
            inner.bundle.record(time.as_secs_f64(), &[]);
        }
    }

    /// This node's state was found to differ from what a quorum certified.
    pub fn diverged(&self) {
        if let Some(inner) = &self.0 {
            inner.divergences.add(1, &[]);
        }
    }

    /// A validator's checkpoint vote was not the certified one.
    pub fn checkpoint_differed(&self) {
        if let Some(inner) = &self.0 {
            inner.differing.add(1, &[]);
        }
    }

    /// A state that peers sent was put in the place of this node's.
    pub fn installed(&self) {
        if let Some(inner) = &self.0 {
            inner.installs.add(1, &[]);
        }
    }

    /// The database was found damaged or gone, and set aside.
    pub fn damaged(&self) {
        if let Some(inner) = &self.0 {
            inner.damages.add(1, &[]);
        }
    }

    /// A validator was shown to lie.
    pub fn evidence(&self, kind: EvidenceKind) {
        if let Some(inner) = &self.0
            && let Some((_, label)) = inner.evidence_kinds.iter().find(|(known, _)| *known == kind)
        {
            inner.evidence.add(1, label);
        }
    }

    /// A peer broke the protocol.
    pub fn blamed(&self) {
        if let Some(inner) = &self.0 {
            inner.blames.add(1, &[]);
        }
    }
}
