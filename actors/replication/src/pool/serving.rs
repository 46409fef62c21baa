//! How much a peer may be served: so many bytes in each interval, whatever it asks for.

use std::collections::BTreeMap;

use dtvn_messages::ValidatorIndex;

#[derive(Debug, Default)]
struct Interval {
    began_us: u64,
    bytes: usize,
}

/// What was served to each peer in its current interval.
#[derive(Debug, Default)]
pub(super) struct Serving {
    intervals: BTreeMap<ValidatorIndex, Interval>,
}

impl Serving {
    /// Counts `bytes` for `peer` if they fit into its interval.
    pub(super) fn take(
        &mut self,
        now_us: u64,
        peer: ValidatorIndex,
        bytes: usize,
        interval_ms: u64,
        bytes_max: usize,
    ) -> bool {
        let interval = self.intervals.entry(peer).or_insert(Interval { began_us: now_us, bytes: 0 });
        if now_us.saturating_sub(interval.began_us) >= interval_ms * 1_000 {
            *interval = Interval { began_us: now_us, bytes: 0 };
        }
        let fits = interval.bytes + bytes <= bytes_max;
        if fits {
            interval.bytes += bytes;
        }
        fits
    }
}
