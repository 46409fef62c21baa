//! The instruments that the actors of a node record with: OpenTelemetry meters, built once, cheap on the hot path.

use std::sync::Arc;
use std::time::Duration;

use dtvn_pbft::Cause;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

/// All instruments of a node. Without a meter nothing is recorded.
#[derive(Clone, Default)]
pub struct Instruments(Option<Arc<Inner>>);

struct Inner {
    storage_sync: Histogram<f64>,
    view_changes: Counter<u64>,
    causes: Vec<(Cause, [KeyValue; 1])>,
    block_bundles: Histogram<u64>,
    block_operations: Histogram<u64>,
    operations: Counter<u64>,
    phases: Histogram<f64>,
    phase_labels: [[KeyValue; 1]; 3],
    blames: Counter<u64>,
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

impl Instruments {
    /// The instruments of a node, made with its meter.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        let seconds = |name: &'static str, what: &'static str| {
            meter.f64_histogram(name).with_unit("s").with_description(what).build()
        };
        Self(Some(Arc::new(Inner {
            storage_sync: seconds("dtvn.storage.sync", "Time of one group commit of the consensus log."),
            view_changes: meter.u64_counter("dtvn.consensus.view_changes").with_description("Moves to a view.").build(),
            causes: Cause::ALL.iter().map(|cause| (*cause, [KeyValue::new("cause", cause.name())])).collect(),
            block_bundles: meter
                .u64_histogram("dtvn.consensus.block.bundles")
                .with_description("Bundles in a committed block.")
                .build(),
            block_operations: meter
                .u64_histogram("dtvn.consensus.block.operations")
                .with_description("Operations in a committed block.")
                .build(),
            operations: meter
                .u64_counter("dtvn.ledger.operations")
                .with_description("Operations decided, by kind and verdict.")
                .build(),
            phases: seconds("dtvn.consensus.phase", "Time of a block's phases at this replica."),
            phase_labels: ["prepare", "commit", "whole"].map(|phase| [KeyValue::new("phase", phase)]),
            blames: meter
                .u64_counter("dtvn.consensus.blames")
                .with_description("Times that a peer broke the protocol.")
                .build(),
        })))
    }

    /// One group commit of the consensus log took this long.
    pub fn storage_synced(&self, time: Duration) {
        if let Some(inner) = &self.0 {
            inner.storage_sync.record(time.as_secs_f64(), &[]);
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
            inner.block_bundles.record(bundles as u64, &[]);
            inner.block_operations.record(operations as u64, &[]);
        }
    }

    /// So many operations of a kind were decided in one way.
    pub fn operations_decided(&self, kind: &'static str, verdict: &'static str, count: u64) {
        if let Some(inner) = &self.0 {
            inner.operations.add(count, &[KeyValue::new("kind", kind), KeyValue::new("verdict", verdict)]);
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

    /// A peer broke the protocol.
    pub fn blamed(&self) {
        if let Some(inner) = &self.0 {
            inner.blames.add(1, &[]);
        }
    }
}
