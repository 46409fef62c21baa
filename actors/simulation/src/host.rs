//! A host: a machine with a disk and a clock, and on it a node or what its last process left.

use std::collections::{BTreeMap, BTreeSet};

use dtvn_messages::{Now, Timestamp, ValidatorIndex};
use dtvn_replication::log::MemoryDisk;
use dtvn_replication::node::{Media, Node, Timed};

use crate::lies::Filter;
use crate::oracle::Promises;

/// How a host's clocks differ from true time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    /// How far its wall clock is ahead, in microseconds.
    pub(crate) ahead_us: i64,
}

/// A machine.
pub(crate) struct Host {
    pub(crate) index: ValidatorIndex,
    pub(crate) node: Option<Box<Node<MemoryDisk>>>,
    pub(crate) media: Option<Media<MemoryDisk>>,
    /// How many processes it had.
    pub(crate) incarnation: u64,
    /// What it says passes here first; none is honest.
    pub(crate) filter: Option<Filter>,
    /// Whether the oracle takes its word.
    pub(crate) is_honest: bool,
    /// Its log was found damaged: it follows for ever.
    pub(crate) is_damaged: bool,
    /// Damage was done to its log.
    pub(crate) may_forget: bool,
    /// What a disk that lies about its syncs has really kept.
    pub(crate) stale_disk: Option<MemoryDisk>,
    /// It never comes back.
    pub(crate) is_gone: bool,
    pub(crate) promises: Promises,
    pub(crate) clock: Clock,
    pub(crate) paused_until_us: u64,
    pub(crate) slow_disk: bool,
    /// The event of the timer that is set, for each.
    pub(crate) timers: BTreeMap<Timed, u64>,
    /// Until when execution and verification are busy: what they are given is done in order.
    pub(crate) busy_until_us: [u64; 2],
    /// Validators that its node believes connected.
    pub(crate) linked: BTreeSet<ValidatorIndex>,
    /// The first segment of its log, to see when some are dropped.
    pub(crate) first_segment: u64,
}

impl Host {
    pub(crate) fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// The time on this host.
    pub(crate) fn now(&self, start: Timestamp, now_us: u64) -> Now {
        let wall = start.0.saturating_add(now_us).saturating_add_signed(self.clock.ahead_us);
        Now { monotonic_us: now_us, wall: Timestamp(wall) }
    }
}
