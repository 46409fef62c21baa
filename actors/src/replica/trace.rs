//! How this node saw each block on its way: for `/consensus/logs`, `explain`, and the phase metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use dtvn_messages::{Height, Timestamp, ValidatorIndex, View};
use dtvn_replication::consensus::Committed;

use crate::instruments::{Instruments, Phase};
use crate::storage::store::LocalView;

#[derive(Debug, Default)]
struct Seen {
    proposed_at: Option<Timestamp>,
    prepared_at: Option<Timestamp>,
    prepared_by: Vec<ValidatorIndex>,
}

/// What is known of blocks that are not committed yet. As many as may be in flight.
#[derive(Debug, Default)]
pub(super) struct Trace {
    seen: BTreeMap<Height, Seen>,
}

impl Trace {
    /// A block was handed to execution.
    pub(super) fn executing(&mut self, height: Height, now: Timestamp) {
        self.seen.entry(height).or_default().proposed_at.get_or_insert(now);
    }

    /// A block became prepared.
    pub(super) fn prepared(&mut self, height: Height, signers: Vec<ValidatorIndex>, now: Timestamp) {
        let seen = self.seen.entry(height).or_default();
        seen.prepared_at = Some(now);
        seen.prepared_by = signers;
    }

    /// A block is committed: what was seen of it.
    pub(super) fn committed(
        &mut self,
        committed: &Committed,
        view: View,
        now: Timestamp,
        instruments: &Instruments,
    ) -> LocalView {
        let height = committed.block.header.height;
        let seen = self.seen.remove(&height).unwrap_or_default();
        self.seen = self.seen.split_off(&height);
        let between = |from: Option<Timestamp>, to: Option<Timestamp>| {
            from.zip(to).map(|(from, to)| Duration::from_micros(to.0.saturating_sub(from.0)))
        };
        let phases = [
            (Phase::Prepare, between(seen.proposed_at, seen.prepared_at)),
            (Phase::Commit, between(seen.prepared_at, Some(now))),
            (Phase::Whole, between(seen.proposed_at, Some(now))),
        ];
        for (phase, time) in phases {
            if let Some(time) = time {
                instruments.phase(phase, time);
            }
        }
        let certificate = committed.certificate.as_ref();
        LocalView {
            view: certificate.map_or(view, |certificate| certificate.vote.view),
            proposed_at: seen.proposed_at,
            prepared_at: seen.prepared_at,
            committed_at: Some(now),
            prepared_by: seen.prepared_by,
            committed_by: certificate.map(|it| it.signatures.signers().collect()).unwrap_or_default(),
        }
    }
}
