//! Wishes, and how long to wait (consensus.md section 6).

use std::collections::{BTreeMap, BTreeSet};

use dtvn_messages::{Digest, Height, ValidatorIndex, View};

use crate::config::Config;
use crate::effect::Cause;
use crate::input::Timer;
use crate::timers::Timers;

/// `fairness_timeout` is this many times the view timeout.
const FAIRNESS_FACTOR: u64 = 8;
/// After this many failed views at one height a leader proposes one bundle per block.
const FAILED_VIEWS_BEFORE_SINGLE: u32 = 2;
/// Doublings beyond this reach any cap.
const DOUBLINGS_MAX: u32 = 32;

/// The block at the next height that a view failed with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed {
    /// The origin of its bundle, if it had one only.
    pub alone: Option<ValidatorIndex>,
    /// Whether it was this replica's own proposal.
    pub is_own: bool,
}

/// Views that failed while one height was the next to be committed.
#[derive(Debug, Default)]
struct Tries {
    height: Height,
    failed: u32,
    /// The origin of the bundle of the last block that failed there, if that had one only.
    suspect: Option<ValidatorIndex>,
    /// The origins of the bundles that this replica, as leader, tried there one at a time.
    tried: BTreeSet<ValidatorIndex>,
}

/// The highest wish of everyone, the length of the view timeout, and what failed.
#[derive(Debug)]
pub(crate) struct Pace {
    base_us: u64,
    cap_us: u64,
    doublings: u32,
    commits_in_view: u64,
    wishes: BTreeMap<ValidatorIndex, View>,
    own_wish: View,
    /// Why this replica wants the view to end, until it moves.
    asked: Option<Cause>,
    tries: Tries,
    quorum_connected: bool,
    pub rotation_due: bool,
    /// When the current view began, on the monotonic clock.
    pub view_since_us: u64,
    /// The bundle that the fairness timer runs for.
    pub fair_to: Option<Digest>,
    /// What was left of the view timer when this replica found itself behind.
    pub stopped_us: Option<u64>,
}

impl Pace {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            base_us: config.parameters.view_timeout_ms * 1_000,
            cap_us: config.parameters.view_timeout_cap_ms * 1_000,
            doublings: 0,
            commits_in_view: 0,
            wishes: BTreeMap::new(),
            own_wish: View(0),
            asked: None,
            tries: Tries::default(),
            quorum_connected: false,
            rotation_due: false,
            view_since_us: 0,
            fair_to: None,
            stopped_us: None,
        }
    }

    /// How long the current view may take.
    pub(crate) fn timeout_us(&self) -> u64 {
        self.base_us.saturating_mul(1 << self.doublings.min(DOUBLINGS_MAX)).min(self.cap_us)
    }

    /// How late a proposal may come: the clock's drift, twice that after a view that failed, and so on up to the longest view
    /// timeout. In a network that is slower than the drift no view would ever get anywhere else.
    pub(crate) fn lateness_us(&self, drift_us: u64) -> u64 {
        drift_us.saturating_mul(1 << self.doublings.min(DOUBLINGS_MAX)).min(self.cap_us.max(drift_us))
    }

    /// How long a bundle may wait: it grows with the view timeout, or a slow network would never have the time.
    pub(crate) fn fairness_us(&self) -> u64 {
        self.timeout_us().saturating_mul(FAIRNESS_FACTOR)
    }

    /// How long a bundle may be pending before it is shown to everyone.
    pub(crate) fn relay_us(&self) -> u64 {
        self.base_us / 2
    }

    /// Notes why this replica wants the view to end; the first cause stays.
    pub(crate) fn ask(&mut self, cause: Cause) {
        self.asked.get_or_insert(cause);
    }

    pub(crate) fn asked(&self) -> Option<Cause> {
        self.asked
    }

    pub(crate) fn own_wish(&self) -> View {
        self.own_wish
    }

    /// Raises this replica's own wish.
    pub(crate) fn wish(&mut self, me: Option<ValidatorIndex>, view: View) {
        self.own_wish = self.own_wish.max(view);
        if let Some(me) = me {
            self.note_wish(me, view);
        }
    }

    /// Keeps the highest wish of a validator.
    pub(crate) fn note_wish(&mut self, from: ValidatorIndex, view: View) {
        let wish = self.wishes.entry(from).or_insert(view);
        *wish = (*wish).max(view);
    }

    /// The highest view such that wishes for it or a later one have at least this power.
    pub(crate) fn reached(&self, config: &Config, power: u64) -> Option<View> {
        let mut wishes: Vec<(View, ValidatorIndex)> =
            self.wishes.iter().map(|(wisher, view)| (*view, *wisher)).collect();
        wishes.sort_unstable_by(|left, right| right.cmp(left));
        let mut reached = 0;
        wishes.into_iter().find_map(|(view, wisher)| {
            reached += config.set.power(wisher);
            (reached >= power).then_some(view)
        })
    }

    /// Blocks were committed, so many of them not empty.
    pub(crate) fn committed(&mut self, blocks_with_work: u64, pipeline: u64, timers: &mut Timers) {
        if blocks_with_work == 0 {
            return;
        }
        timers.cancel(Timer::View);
        self.stopped_us = None;
        let halvings = (self.commits_in_view + blocks_with_work) / pipeline - self.commits_in_view / pipeline;
        self.commits_in_view += blocks_with_work;
        self.doublings = self.doublings.saturating_sub(u32::try_from(halvings).unwrap_or(u32::MAX));
    }

    /// The current view failed while `next` was the next height to be committed.
    pub(crate) fn failed(&mut self, next: Height, what: Option<Failed>) {
        self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
        if self.tries.height != next {
            self.tries = Tries { height: next, ..Tries::default() };
        }
        self.tries.failed = self.tries.failed.saturating_add(1);
        let Some(failed) = what else { return };
        // Whose it is may not be known here, because it never came: then what is known stays.
        self.tries.suspect = failed.alone.or(self.tries.suspect);
        if failed.is_own {
            self.tries.tried.extend(failed.alone);
        }
    }

    /// Whether a leader proposes one bundle per block: two views failed at the next height.
    pub(crate) fn is_cautious(&self, next: Height) -> bool {
        self.tries.height == next && self.tries.failed >= FAILED_VIEWS_BEFORE_SINGLE
    }

    /// The origins that a cautious leader leaves out, the best choice first: the one whose bundle the last try failed at,
    /// and those that this replica tried before. Liars may show each leader another bundle that the others cannot get, and
    /// more of them as they are tried: who tries the oldest again and again never comes to an honest one. Nor may a liar
    /// that tries an honest bundle before each turn of an honest leader keep it out, so the own tries come next.
    pub(crate) fn left_out(&self) -> [BTreeSet<ValidatorIndex>; 2] {
        let tried = self.tries.tried.clone();
        [tried.iter().copied().chain(self.tries.suspect).collect(), tried]
    }

    /// Everything was tried: another round.
    pub(crate) fn start_over(&mut self) {
        self.tries.tried.clear();
    }

    /// What a move ends.
    pub(crate) fn enter_view(&mut self) {
        self.asked = None;
        self.rotation_due = false;
        self.commits_in_view = 0;
        self.fair_to = None;
        self.stopped_us = None;
    }

    /// Whether a quorum is connected, as far as this replica was told.
    pub(crate) const fn is_quorum_connected(&self) -> bool {
        self.quorum_connected
    }

    /// A quorum that was lost is connected again: patience that grew meanwhile is not needed any more.
    pub(crate) fn quorum_connected(&mut self, connected: bool, timers: &mut Timers) {
        if connected && !self.quorum_connected {
            self.doublings = 0;
            self.stopped_us = None;
            timers.cancel(Timer::View);
        }
        self.quorum_connected = connected;
    }
}
